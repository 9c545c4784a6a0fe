"""Evidence: what the gates read of two and three classes, weights, folds; and that no tested row has had a say."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from trainer_datasets import START, dataset, plan_of
from trainer_runs import HOUR

from walkforward_core.api.offline import OfflineGates, ShareGate
from walkforward_core.api.recipe import Calibration, ClassShares, Scheme, Selection, Sizing, Tuning
from walkforward_core.bundle import Decision, DecisionKind
from walkforward_core.decision import decision_score
from walkforward_trainer import baseline
from walkforward_trainer.costs import RunCosts
from walkforward_trainer.dataset import FixedColumns
from walkforward_trainer.evaluate import Evidence, evaluate
from walkforward_trainer.fit import fit
from walkforward_trainer.metrics import classes as metrics
from walkforward_trainer.metrics.probability import auc, ece, precision_at_k
from walkforward_trainer.metrics.sharpe import probabilistic
from walkforward_trainer.metrics.sizing import stake
from walkforward_trainer.resolved import Model
from walkforward_trainer.specfile import timestamp
from walkforward_trainer.splits import evaluation_splits, purged_k_fold
from walkforward_trainer.tuning import tune
from walkforward_trainer.unseen import Unseen


def answers(count: int, rows: int = 400, seed: int = 0, **changes: Any) -> tuple[Any, Any]:
    """Return rows of ``count`` classes and what a model said of them, the last twentieth untested."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, count, rows).astype(float)
    p = rng.dirichlet(np.ones(count), rows)
    p[np.arange(rows), y.astype(int)] += 0.7
    p /= p.sum(axis=1, keepdims=True)
    p[-rows // 20 :] = np.nan
    y[5] = np.nan
    data = dataset(np.zeros((rows, 1), np.float32), y, horizon=5, returns=rng.normal(0, 0.01, rows), **changes)
    splits, tail = purged_k_fold(data.t0, data.t1, 4, 0), SimpleNamespace(neutral=1.0)
    fitted = SimpleNamespace(unseen=decision_score(p[:, -1], p[:, 0], count), unseen_p=p, splits=splits, tail=tail)
    return data, fitted


def evidence(count: int, plan: dict[str, Any] | None = None, **changes: Any) -> Evidence:
    data, fitted = answers(count, **changes)
    decision = Decision(kind=DecisionKind.SIGN, threshold=0.6)
    return evaluate(data, fitted, plan_of(**({"classes": count, "decision": decision} | (plan or {}))))


@pytest.mark.parametrize("count", [2, 3])
def test_only_labelled_rows_that_were_tested_count(count: int) -> None:
    found = evidence(count)
    assert found.row.tolist() == [row for row in range(380) if row != 5]
    assert found.metrics["outcomes"] == 379
    assert found.metrics["independent"] == found.independent == 76
    assert found.confusion.sum() == 379


@pytest.mark.parametrize("count", [2, 3])
def test_every_metric_of_the_gates_is_there_and_is_that_of_its_function(count: int) -> None:
    found = evidence(count)
    wanted = {"auc", "accuracy", "f1", "precisionAtK", "sharpePerOutcome", "expectancy", "profitFactor", "hitRate"}
    assert wanted <= set(found.metrics)
    y, p = found.y, found.classes
    assert found.metrics["auc"] == metrics.area(y, p)
    assert found.metrics["f1"] == metrics.f1(metrics.confusion(y, p))
    assert found.hit.tolist() == (y == count - 1).tolist()
    np.testing.assert_array_equal(found.p, p[:, -1])
    assert all(np.isfinite(value) for value in found.metrics.values())


@pytest.mark.parametrize("count", [2, 3])
def test_rows_that_overlap_count_once_in_every_error(count: int) -> None:
    """379 rows whose answers span five are 76: each class has its share of these, by the formulae of the two errors."""
    found = evidence(count)
    independent = [(found.y == one).sum() * 76 / 379 for one in range(count)]
    chance = [((76 + 1) / (12 * some * (76 - some))) ** 0.5 for some in independent]
    assert found.metrics["aucAboveChance"] == pytest.approx((found.metrics["auc"] - 0.5) / np.mean(chance))
    area, ones, zeros = auc(found.hit, found.p), independent[-1], 76 - independent[-1]
    q1, q2 = area / (2 - area) - area**2, 2 * area**2 / (1 + area) - area**2
    assert found.metrics["aucError"] ** 2 == pytest.approx((area * (1 - area) + (ones - 1) * q1 + (zeros - 1) * q2) / (ones * zeros))
    assert found.moments is not None
    assert found.metrics["probabilisticSharpe"] == probabilistic(found.moments, 76)


@pytest.mark.parametrize("count", [2, 3])
def test_what_is_counted_is_the_positive_class_and_the_score_of_the_decision(count: int) -> None:
    found = evidence(count)
    up, p = found.y == count - 1, found.classes[:, -1]
    assert found.metrics["baseRate"] == up.mean()
    assert found.metrics["precisionAtK"] == precision_at_k(up.astype(float), p, START + HOUR * found.row, 20)
    certain = p.copy()
    certain[:5], certain[5:] = 0.6, 0.1
    data, fitted = answers(count)
    fitted.unseen[found.row] = certain
    said = evaluate(data, fitted, plan_of(classes=count, decision=Decision(kind=DecisionKind.SIGN, threshold=0.6)))
    assert said.metrics["pAboveThreshold"] == 0.0, "a score that just reaches the threshold is not traded"
    assert evidence(count).metrics["pAboveThreshold"] == np.mean(found.score > 0.6) > 0


def test_both_strategies_pay_for_what_they_trade() -> None:
    found = evidence(3, {"costs": RunCosts(fee_bps=2.0, slippage_bps=3.0, multiplier=1.0)}, base=np.tile([1.0, -1.0, 0.0, 0.5], 100))
    data, _ = answers(3)
    for one in (found.model, found.base):
        np.testing.assert_allclose(one.net, one.position * data.returns[found.row] - np.abs(one.position) * 0.001)
    np.testing.assert_array_equal(found.base.position, np.tile([1.0, -1.0, 0.0, 0.5], 100)[found.row])


def test_of_three_classes_a_filter_blocks_what_may_rise() -> None:
    """Its bad outcomes are the rows of the last class, and no others."""
    found = evidence(3, {"decision": Decision(kind=DecisionKind.FILTER, threshold=0.5)})
    assert found.table["rulesOnly"]["badTrades"] == (found.y == 2).sum()
    assert found.table["rulesAndModel"]["badTrades"] == ((found.y == 2) & (found.score <= 0.5)).sum()


@pytest.mark.parametrize("count", [2, 3])
def test_a_row_that_weighs_three_is_three_rows(count: int) -> None:
    times = np.random.default_rng(4).integers(1, 4, 400)
    seen = evidence(count, weight=times.astype(float))
    many = np.repeat(np.arange(len(seen.row)), times[seen.row])
    y, p = seen.y[many], seen.classes[many]
    table = metrics.confusion(y, p)
    expected = {
        "auc": metrics.area(y, p),
        "accuracy": metrics.accuracy(table),
        "f1": metrics.f1(table),
        "brier": metrics.brier(y, p),
        "logLoss": metrics.log_loss(y, p),
    }
    assert {name: seen.metrics[f"weighted.{name}"] for name in expected} == pytest.approx(expected)
    # bins are of rows, not of weights: there is no such repetition of them
    assert seen.metrics["weighted.ece"] == pytest.approx(ece(seen.hit, seen.p, times[seen.row].astype(float)))
    assert seen.metrics["weighted.ece"] != seen.metrics["ece"]


def test_where_neutral_counts_twice_its_rows_do() -> None:
    data, fitted = answers(3)
    fitted.tail = SimpleNamespace(neutral=2.0)
    found = evaluate(data, fitted, plan_of(classes=3, decision=Decision(kind=DecisionKind.SIGN, threshold=0.6)))
    assert found.metrics["neutralFactor"] == 2.0
    twice = found.confusion * np.array([[1.0], [2.0], [1.0]])
    assert found.metrics["weighted.accuracy"] == pytest.approx(metrics.accuracy(twice))


@pytest.mark.parametrize("count", [2, 3])
def test_the_area_of_a_fold_is_that_of_its_labelled_rows(count: int) -> None:
    data, fitted = answers(count)
    found = evidence(count)
    assert len(found.folds) == 4
    first = np.setdiff1d(fitted.splits[0].test, [5])
    assert found.folds[0] == metrics.area(data.y[first], fitted.unseen_p[first])


def test_three_classes_have_a_distribution_and_two_do_not() -> None:
    three, two = evidence(3), evidence(2)
    assert {f"distribution.{name}" for name in metrics.distribution(three.classes, 0.6)} < set(three.metrics)
    assert three.metrics["distribution.eligibilityPct"] == metrics.distribution(three.classes, 0.6)["eligibilityPct"]
    assert "aucUpDown" in three.metrics
    assert not any(name.startswith("distribution.") for name in two.metrics)


def test_three_classes_are_traded_where_up_or_down_is_probable_enough() -> None:
    found = evidence(3)
    down, up = found.classes[:, 0], found.classes[:, 2]
    np.testing.assert_array_equal(found.model.position, np.where(up > 0.6, 1.0, np.where(down > 0.6, -1.0, 0.0)))


def test_metrics_are_taken_with_the_weights_of_the_fit_too() -> None:
    """A planted error: weights in the fit and not in what is said of it. Both numbers are there, under names that differ."""
    alike = evidence(3)
    assert not any(name.startswith("weighted.") for name in alike.metrics)
    shares = plan_of().target
    asked = replace(shares, class_target=ClassShares(down=0.45, neutral=0.1, up=0.45))
    weighted = evidence(3, {"target": asked})
    assert weighted.metrics["accuracy"] == alike.metrics["accuracy"]
    table = weighted.confusion
    factor = np.array([0.45, 0.1, 0.45]) / (table.sum(axis=1) / table.sum())
    assert weighted.metrics["weighted.accuracy"] == pytest.approx(metrics.accuracy(table * factor[:, None]))
    own = evidence(2, weight=np.linspace(0.5, 1.5, 400))
    assert own.metrics["weighted.brier"] != own.metrics["brier"]


def test_a_filter_has_its_table_and_kelly_only_who_asks() -> None:
    decision = Decision(kind=DecisionKind.FILTER, threshold=0.5)
    found = evidence(2, {"decision": decision, "sizing": Sizing()})
    assert found.table["rulesOnly"]["tradeCount"] == 379
    assert found.table["rulesAndModel"]["tradeCount"] == float(found.model.trades) < 379
    assert found.table["rulesAndModel"]["badTrades"] < found.table["rulesOnly"]["badTrades"]
    taken = found.model.net[found.model.position != 0]
    theirs = stake(taken, found.independent * found.model.traded, Sizing())
    assert theirs is not None
    assert found.metrics["kelly"] == theirs.kelly
    assert "kelly" not in evidence(2).metrics
    assert evidence(2).table == {}


def test_numbers_that_cannot_be_had_are_left_out() -> None:
    never = evidence(2, {"decision": Decision(kind=DecisionKind.SIGN, threshold=1.0)})
    assert {"sharpePerOutcome", "hitRate", "profitFactor", "probabilisticSharpe"} & set(never.metrics) == set()
    assert never.metrics["trades"] == 0
    data, fitted = answers(2)
    won = evaluate(
        replace(data, returns=np.full(400, 0.01), base=np.ones(400)), fitted, plan_of(decision=Decision(kind=DecisionKind.FILTER))
    )
    assert (won.metrics["profitFactor"], won.metrics["profitFactorCapped"]) == (100.0, 1.0)


CASES = [
    (Scheme.HOLDOUT, {"train_share": 0.7, "calibration_share": 0.15}),
    (Scheme.HOLDOUT, {"train_share": 0.7, "calibration_share": 0.0}),
    (Scheme.WALK_FORWARD, {"folds": 3}),
    (Scheme.PURGED_K_FOLD, {"folds": 3}),
]


@pytest.mark.parametrize(("scheme", "changes"), CASES)
@pytest.mark.parametrize("calibration", [Calibration.ISOTONIC, Calibration.PLATT])
def test_what_is_tested_has_no_say_in_the_model_that_tests_it(scheme: Scheme, changes: dict[str, Any], calibration: Calibration) -> None:
    """Planted errors: scaling, choosing, tuning, stopping, joining or calibrating on tested rows.

    Every answer of the last test block is turned round, and of the rows after it; what the model says there stays the same to the bit.
    """
    rng = np.random.default_rng(3)
    x = rng.normal(size=(420, 4)).astype(np.float32)
    y = ((x[:, 0] + rng.normal(0, 1.0, 420)) > 0).astype(float)
    plan = plan_of(
        model=Model(trees=100, depth=3), calibration=calibration, selection=Selection(best=3), embargo_ms=0, tuning=Tuning(trials=1)
    )
    plan = replace(plan, validation=replace(plan.validation, scheme=scheme, **changes))

    def said(answers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = dataset(x, answers)
        splits = evaluation_splits(rows, plan)
        tuned = tune(rows, plan, splits).plan
        # the shipped model may know every row: only what tests is held to this
        return fit(rows, replace(tuned, model=plan.model, fold_models=tuned.fold_models)).unseen_p, splits[-1].test

    before, test = said(y)
    turned = y.copy()
    turned[test] = 1.0 - turned[test]
    after, _ = said(turned)
    np.testing.assert_array_equal(before[test], after[test])
    earlier = y.copy()
    earlier[: test[0] // 2] = 1.0 - earlier[: test[0] // 2]
    assert not np.array_equal(said(earlier)[0][test], before[test]), "rows that train do have a say"


def described(data: Any, plan: Any, as_of_row: int, **changes: Any) -> Any:
    """Return the manifest of a live model that answers the question of ``plan`` and whose data end at a row."""
    fields: dict[str, Any] = {
        "data": SimpleNamespace(as_of=timestamp(int(data.t0[as_of_row])), timeframe=plan.data.timeframe),
        "decision": plan.decision,
        "horizon": SimpleNamespace(bars=plan.target.horizon_bars),
        "input": SimpleNamespace(features=("x0",)),
        "output": SimpleNamespace(classes=tuple(range(plan.classes))),
    }
    return SimpleNamespace(**(fields | changes))


class TestLiveModel:
    """The live model on the candidate's own unseen rows."""

    def compared(
        self, monkeypatch: pytest.MonkeyPatch, theirs: Any, count: int = 2, as_of_row: int = 100, gates: Any = None, **manifest: Any
    ) -> baseline.Comparison:
        data, fitted = answers(count)
        plan = plan_of(classes=count, decision=Decision(kind=DecisionKind.SIGN, threshold=0.6), embargo_ms=0)
        plan = plan if gates is None else replace(plan, gates=gates)
        found = evaluate(data, fitted, plan)
        monkeypatch.setattr(baseline, "run", lambda _model, x: theirs(found)[-len(x) :])
        live = baseline.LiveModel(manifest=described(data, plan, as_of_row, **manifest), model=b"")
        return baseline.compare(live, data, found, plan)

    @pytest.mark.parametrize("count", [2, 3])
    def test_the_same_model_differs_by_nothing(self, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
        same = self.compared(monkeypatch, lambda found: found.classes, count)
        assert (same.metrics["degradation"], same.metrics["delta"], same.metrics["disagreement"]) == (0.0, 0.0, 0.0)
        assert same.metrics["baselineRows"] == len(same.at) == 279
        assert same.note == ""

    def test_delta_is_the_mean_difference_and_degradation_is_relative(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def further(found: Evidence) -> np.ndarray:
            p = found.classes[:, 1] + np.where(found.y == 1, 0.03, -0.03)
            return np.column_stack((1.0 - p, p))

        better = self.compared(monkeypatch, further)
        assert better.metrics["delta"] == pytest.approx(0.03)
        assert better.metrics["baselineAuc"] > better.metrics["candidateAuc"]
        assert better.metrics["degradation"] == pytest.approx(1.0 - better.metrics["candidateAuc"] / better.metrics["baselineAuc"])

    def test_the_largest_loss_of_what_is_a_gate_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A live model that knows everything: what is lost to it is what the candidate lacks."""

        def everything(found: Evidence) -> np.ndarray:
            return np.column_stack((found.y == 0, found.y == 1)).astype(float)

        gate = ShareGate(min=0.1)
        every = [OfflineGates(), OfflineGates(f1=gate), OfflineGates(accuracy=gate), OfflineGates(f1=gate, accuracy=gate)]
        found = [self.compared(monkeypatch, everything, gates=gates).metrics for gates in every]
        lost = {name: 1.0 - found[0][f"candidate{name}"] for name in ("Auc", "F1", "Accuracy")}
        assert lost["Auc"] < lost["Accuracy"] != lost["F1"] > lost["Auc"]
        expected = [lost["Auc"], lost["F1"], lost["Accuracy"], max(lost.values())]
        assert [one["degradation"] for one in found] == pytest.approx(expected)

    @pytest.mark.parametrize(("zeros", "ones", "few"), [(40, 10, False), (10, 40, False), (39, 10, True), (200, 9, True), (9, 200, True)])
    def test_fifty_rows_and_ten_of_each_answer_say_something(self, zeros: int, ones: int, *, few: bool) -> None:
        assert baseline._few(np.repeat([0.0, 1.0], [zeros, ones]), plan_of(classes=2)) is few

    def test_of_three_classes_it_is_half_of_what_is_moved(self, monkeypatch: pytest.MonkeyPatch) -> None:
        said: list[np.ndarray] = []
        moved = self.compared(monkeypatch, lambda found: said.append(found.classes) or found.classes + np.array([0.02, -0.05, 0.03]), 3)
        assert moved.metrics["delta"] == pytest.approx(0.05)
        # another most probable class: only where neutral was ahead by less than was moved
        down, neutral, up = said[0][moved.at].T
        turned = (neutral > np.maximum(down, up)) & (neutral - 0.05 < np.maximum(down + 0.02, up + 0.03))
        turned |= (down > np.maximum(neutral, up)) & (down + 0.02 < up + 0.03)
        assert moved.metrics["disagreement"] == turned.mean() > 0

    def test_rows_that_it_has_learned_from_are_left_out_and_too_few_are_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        few = self.compared(monkeypatch, lambda found: found.classes, as_of_row=350)
        assert set(few.metrics) == {"baselineRows"}
        assert "29 rows lie after the baseline's data" in few.note

    def test_it_is_asked_for_the_rows_after_its_data_and_the_embargo(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Ten hours after the hundredth row, which was its last: row 111 is the first, and the untested rows are none."""
        data, fitted = answers(2)
        data = replace(data, columns=FixedColumns(np.arange(400, dtype=np.float32)[:, None], ("x0",)))
        plan = plan_of(classes=2, decision=Decision(kind=DecisionKind.SIGN, threshold=0.6), embargo_ms=10 * HOUR)
        asked: list[np.ndarray] = []
        monkeypatch.setattr(baseline, "run", lambda _model, x: asked.append(x) or np.full((len(x), 2), 0.5))
        live = baseline.LiveModel(described(data, plan, 100), b"")
        found = baseline.compare(live, data, evaluate(data, fitted, plan), plan)
        (x,) = asked
        assert x[:, 0].tolist() == list(range(111, 380))
        assert found.metrics["baselineRows"] == 269

    def test_a_few_new_rows_are_compared_beside_those_out_of_fold(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """29 rows after its data, and 300 that its bundle has answers to, of which one has no label here."""
        data, fitted = answers(2)
        plan = plan_of(classes=2, decision=Decision(kind=DecisionKind.SIGN, threshold=0.6), embargo_ms=0)
        monkeypatch.setattr(baseline, "run", lambda _model, x: np.tile([0.1, 0.9], (len(x), 1)))
        said = Unseen(symbols=("EURUSD",), symbol=(0,) * 300, time=tuple(data.t0[:300].tolist()), p=((0.8, 0.2),) * 300)
        found = evaluate(data, fitted, plan)
        both = baseline.compare(baseline.LiveModel(described(data, plan, 350), b"", said), data, found, plan)
        assert found.row[both.at].tolist() == [row for row in (*range(300), *range(351, 380)) if row != 5]
        assert both.p[:, 1].tolist() == [0.2] * 299 + [0.9] * 29
        assert (both.metrics["baselineRows"], both.metrics["baselineRowsOutOfFold"]) == (29, 299)
        assert "degradation" in both.metrics
        assert "delta" not in both.metrics, "that is of the models that serve"

    def test_another_question_is_not_compared(self, monkeypatch: pytest.MonkeyPatch) -> None:
        three = self.compared(monkeypatch, lambda found: found.classes, output=SimpleNamespace(classes=(0, 1, 2)))
        assert three.note == "the baseline knows 3 classes, the candidate 2"
        other = self.compared(monkeypatch, lambda found: found.classes, input=SimpleNamespace(features=("unheard",)))
        assert "unheard" in other.note
