"""What is shipped and what it says on rows that it has not seen: for each scheme, two and three classes, further heads."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from datasets import KINDS, plan_of, rows_of

from walkforward_core.api.recipe import Calibration, ClassShares, Scheme, Selection
from walkforward_trainer import fit as fitting
from walkforward_trainer import heads, parallel
from walkforward_trainer.errors import BadConfiguration, BadData, Reason
from walkforward_trainer.fit import Fitted, fit
from walkforward_trainer.golden import make_golden
from walkforward_trainer.graph import base_graph
from walkforward_trainer.heads import conformal_width, head_metrics, head_records
from walkforward_trainer.metrics.classes import area
from walkforward_trainer.parity import check_parity
from walkforward_trainer.resolved import Head, Join, Model, Target, Validation
from walkforward_trainer.runtime import run, run_all
from walkforward_trainer.splits import Split
from walkforward_trainer.weighing import weighed

if TYPE_CHECKING:
    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.plan import Plan

SMALL = Model(trees=20, depth=3)
FOLDS = Validation(folds=3, embargo="24h")
HELD = Validation(scheme=Scheme.HOLDOUT, folds=3, train_share=0.6, calibration_share=0.2)
SCHEMES = {
    "folds": FOLDS,
    "pairs": replace(FOLDS, folds=5),
    "forward": replace(FOLDS, scheme=Scheme.WALK_FORWARD),
    "held": HELD,
    "tested": replace(HELD, calibration_share=0.0),
}


def small(classes: int = 2, scheme: str = "folds", models: tuple[str, ...] = ("xgboost", "linear"), **fields: Any) -> Plan:
    return plan_of(models, KINDS[classes], **({"validation": SCHEMES[scheme], "model": SMALL} | fields))


def knows(rows: Dataset, fitted: Fitted) -> float:
    at = np.flatnonzero(rows.known & np.isfinite(fitted.unseen))
    return area(rows.y[at], fitted.unseen_p[at])


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_every_scheme_finds_what_is_there_and_nothing_else(classes: int, scheme: str) -> None:
    rows, plan = rows_of(classes), small(classes, scheme)
    fitted = fit(rows, plan)
    tested = np.isfinite(fitted.unseen)
    assert tested.sum() == sum(len(split.test) for split in fitted.splits)
    assert tested.mean() == {"folds": 1.0, "pairs": 1.0, "forward": 0.75}.get(
        scheme, pytest.approx(0.2 if scheme == "held" else 0.4, abs=0.03)
    )
    np.testing.assert_allclose(fitted.unseen_p[tested].sum(axis=1), 1.0, atol=1e-6)
    assert np.isfinite(fitted.score).all()
    assert knows(rows, fitted) > 0.68
    noise = rows_of(classes, edge=0.0)
    assert 0.35 < knows(noise, fit(noise, plan)) < 0.62
    parity = check_parity(rows.x, fitted)
    assert parity.max_abs <= 1e-6
    assert parity.rows > len(rows)
    golden = make_golden(rows.x, fitted, plan)
    assert len(golden.p[0]) == classes
    assert set(golden.position) <= {-1.0, 0.0, 1.0}


@pytest.mark.parametrize("scheme", ["held", "tested"])
def test_the_very_model_that_was_tested_is_shipped(scheme: str) -> None:
    rows = rows_of(3)
    fitted = fit(rows, small(3, scheme))
    (split,) = fitted.splits
    np.testing.assert_array_equal(fitted.unseen_p[split.test].astype(np.float32), run(fitted.model, rows.x[split.test]))
    assert split.train.max() == int(0.6 * len(rows)) - 1
    gap = rows.t0[split.test[0]] - rows.t1[split.train].max()
    assert gap > 24 * 3_600_000


@pytest.mark.parametrize("scheme", ["folds", "pairs", "forward"])
def test_what_is_tested_has_no_say_in_its_own_prediction(scheme: str) -> None:
    """Turning the answers of a test block around leaves what is said about it: base models, meta model and calibrator have not seen it."""
    rows, plan = rows_of(count=800), small(scheme=scheme, model=Model(trees=8, depth=2))
    before = fit(rows, plan)
    test = before.splits[-1].test
    y = rows.y.copy()
    y[test] = 1 - y[test]
    after = fit(replace(rows, y=y), plan)
    np.testing.assert_array_equal(after.unseen_p[test], before.unseen_p[test])
    assert after.model != before.model


def test_in_a_holdout_each_part_learns_from_its_own_rows_alone() -> None:
    """Lies told about later rows change nothing that was fitted on earlier ones."""
    rows, plan = rows_of(), small(scheme="held")
    honest = fit(rows, plan)

    def told(at: slice) -> Fitted:
        y = rows.y.copy()
        y[at] = np.where(np.isnan(y[at]), np.nan, 1 - y[at])
        return fit(replace(rows, y=y), plan)

    test = honest.splits[0].test
    assert told(slice(int(test[0]), None)).model == honest.model
    calibration = told(slice(760, 940))
    assert [base_graph([base.part], 5) for base in calibration.bases] == [base_graph([base.part], 5) for base in honest.bases]
    assert calibration.tail.join.describe() == honest.tail.join.describe()
    assert calibration.tail.describe() != honest.tail.describe()
    assert told(slice(0, 300)).tail.join.describe() != honest.tail.join.describe()


def test_how_many_work_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, plan = rows_of(3, count=600), small(3, models=("forest", "xgboost", "lightgbm", "linear"))
    found = []
    for at_once in (1, 4):
        monkeypatch.setattr(parallel, "workers", lambda at_once=at_once: at_once)
        fitted = fit(rows, plan)
        found.append((fitted.model, fitted.unseen_p.tobytes(), fitted.score.tobytes()))
    assert found[0] == found[1]


def test_the_class_target_moves_what_is_predicted() -> None:
    rows = rows_of(3, edge=0.5)
    plain = small(3, scheme="held")
    shares = ClassShares(down=0.45, neutral=0.10, up=0.45)
    wanted = replace(plain, target=replace(plain.target, class_target=shares))
    predicted = [np.bincount(np.nanargmax(fit(rows, plan).unseen_p[-200:], axis=1), minlength=3) / 200 for plan in (plain, wanted)]
    assert predicted[0][1] > 0.1 > predicted[1][1]
    weight = weighed(rows, wanted, np.flatnonzero(rows.known))
    found = [weight[rows.y[rows.known] == one].sum() / weight.sum() for one in range(3)]
    assert found == pytest.approx([0.45, 0.10, 0.45])


def test_the_rows_of_a_fit_weigh_one_on_average_and_by_their_own_classes() -> None:
    """Penalties and the least weight of a leaf are measured in rows: a fold of light rows is not regularised more than another."""
    plain, at = small(3), np.arange(100, 400)
    light = replace(rows_of(3), weight=np.linspace(0.1, 0.4, 1_200))
    np.testing.assert_allclose(weighed(light, plain, at), light.weight[at] / light.weight[at].mean())
    wanted = replace(plain, target=replace(plain.target, class_target=ClassShares(down=0.45, neutral=0.10, up=0.45)))
    rows = replace(rows_of(3), y=np.where(np.arange(1_200) < 400, np.arange(1_200) % 5 // 2, 1.0))
    weight = weighed(rows, wanted, at)
    assert weight.mean() == pytest.approx(1.0)
    assert [weight[rows.y[at] == one].sum() / 300 for one in range(3)] == pytest.approx([0.45, 0.10, 0.45])


def test_weights_of_rows_count_in_every_part() -> None:
    """Rows of next to no weight may lie: neither base models nor meta model nor calibrator believe them."""
    rows = rows_of(count=1_600)
    lies = np.arange(len(rows)) % 2 == 0
    told = replace(rows, y=np.where(lies, 1 - rows.y, rows.y))
    weight = np.where(lies, 1e-6, 1.0)
    for scheme in ("folds", "held"):
        fitted = fit(replace(told, weight=weight / weight.mean()), small(scheme=scheme))
        assert knows(replace(rows, y=np.where(lies, np.nan, rows.y)), fitted) > 0.75
        deaf = fit(told, small(scheme=scheme))
        assert knows(replace(rows, y=np.where(lies, np.nan, rows.y)), deaf) < 0.65


def test_features_that_were_not_chosen_are_not_read() -> None:
    rows = rows_of(features=6)
    fitted = fit(rows, small(models=("xgboost", "linear", "lightgbm"), selection=Selection(best=2)))
    used = np.sum([base.importance() for base in fitted.bases], axis=0) > 0
    assert 1 <= used.sum() <= 2
    other = rows.x.copy()
    other[:, ~used] = 7.0
    np.testing.assert_array_equal(run(fitted.model, rows.x), run(fitted.model, other))
    assert check_parity(rows.x, fitted).max_abs <= 1e-6


PRICE = Head("price", Target(kind="Price"), coverage=0.9)
RISK = Head("risk", Target(kind="Risk"))


class TestHeads:
    """Further outputs of the same graph."""

    def rows(self, **fields: Any) -> Dataset:
        rows = rows_of(**fields)
        targets = {"price": rows.returns.copy(), "risk": (np.abs(rows.returns) > 0.012).astype(float)}
        targets["price"][-3:] = np.nan
        return replace(rows, targets=targets)

    @pytest.mark.parametrize("scheme", list(SCHEMES))
    def test_intervals_hold_what_they_promise(self, scheme: str) -> None:
        rows = self.rows(count=2_400)
        fitted = fit(rows, small(scheme=scheme, models=("xgboost",), heads=(PRICE, RISK)))
        found = head_metrics(rows, fitted.heads)
        assert found["priceR2"] > 0.15
        assert found["riskAuc"] > 0.5
        assert found["priceCoverage"] == pytest.approx(0.9, abs=0.05)
        # rows that no part of the fit has seen
        fresh = self.rows(count=4_000, seed=99)
        p, price, lower, upper, risk = run_all(fitted.model, fresh.x, [])
        inside = (fresh.returns >= lower[:, 0]) & (fresh.returns <= upper[:, 0])
        assert inside.mean() == pytest.approx(0.9, abs=0.05)
        np.testing.assert_allclose(upper - lower, found["priceWidth"], rtol=1e-5)
        np.testing.assert_allclose((upper + lower) / 2, price, atol=1e-6)
        assert risk.shape == p.shape
        assert [(head.name, head.target, head.columns) for head in head_records(fitted.heads)] == [
            ("price", "Price", 1),
            ("price_lower", "Lower", 1),
            ("price_upper", "Upper", 1),
            ("risk", "Risk", 2),
        ]
        assert check_parity(rows.x, fitted).max_abs <= 1e-6

    def test_heads_do_not_touch_the_decision(self) -> None:
        rows = self.rows()
        with_heads, without = (fit(rows, small(heads=heads)) for heads in ((PRICE, RISK), ()))
        np.testing.assert_array_equal(with_heads.unseen_p, without.unseen_p)
        np.testing.assert_array_equal(run(with_heads.model, rows.x), run(without.model, rows.x))

    def test_one_answer_only_is_refused_by_name(self) -> None:
        rows = self.rows()
        rows = replace(rows, targets=rows.targets | {"risk": np.zeros(len(rows))})
        with pytest.raises(BadData, match=r"head risk: the training rows hold \d+ labels, none of class 1") as caught:
            fit(rows, small(heads=(RISK,)))
        assert caught.value.reason is Reason.ONE_CLASS

    def test_an_interval_needs_rows_to_show_it(self) -> None:
        rows = self.rows(count=200)
        head = replace(PRICE, coverage=0.999)
        with pytest.raises(BadData, match=r"cannot show a coverage of 100%|cannot show a coverage"):
            fit(rows, small(heads=(head,)))


@pytest.mark.parametrize(("count", "coverage"), [(9, 0.9), (99, 0.9), (250, 0.8)])
def test_the_width_covers_at_least_its_share(count: int, coverage: float) -> None:
    """Over many draws, of any distribution: the promise of split-conformal intervals, and that they are not wider than need be."""
    rng = np.random.default_rng(count)
    draws = rng.standard_t(3, (4_000, count + 1))
    inside = [abs(row[-1]) <= conformal_width(row[:-1], coverage) for row in draws]
    assert coverage - 0.015 <= np.mean(inside) <= coverage + 1 / (count + 1) + 0.015


@pytest.mark.parametrize("classes", [2, 3])
def test_a_class_that_never_occurs_is_refused(classes: int) -> None:
    rows = rows_of(classes)
    gone = replace(rows, y=np.where(rows.y == classes - 1, 0.0, rows.y))
    names = {2: "1", 3: r"2 \(up\)"}[classes]
    with pytest.raises(BadData, match=rf"the window hold \d+ labels, none of class {names}") as caught:
        fit(gone, small(classes))
    assert caught.value.reason is Reason.ONE_CLASS


def test_rows_that_an_embargo_leaves_nothing_of_are_refused() -> None:
    plan = small(scheme="held", validation=replace(HELD, embargo_rows=0.3))
    with pytest.raises(BadConfiguration, match=r"0 rows are left to calibrate on after an embargo of \d+"):
        fit(rows_of(), plan)


def test_the_longer_embargo_applies_and_is_on_record() -> None:
    rows = rows_of()
    assert fit(rows, small()).embargo_ms == 24 * 3_600_000
    longer = fit(rows, small(validation=replace(FOLDS, embargo_rows=0.1)))
    assert longer.embargo_ms == pytest.approx(0.1 * 1_199 * 3_600_000)
    assert longer.splits[0].embargoed > fit(rows, small()).splits[0].embargoed


def test_blocks_are_left_out_in_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five folds: the shipped model, one a fold, and one for each of the ten pairs."""
    asked = []
    genuine = fitting.learn
    monkeypatch.setattr(fitting, "learn", lambda *given, **more: asked.append(given[2]) or genuine(*given, **more))
    rows = rows_of(count=600)
    fitted = fit(rows, small(scheme="pairs", model=Model(trees=4, depth=2)))
    assert len(asked) == 1 + 5 + 10
    hidden = [{index for index, split in enumerate(fitted.splits) if not np.isin(split.test, train).any()} for train in asked]
    assert sorted(map(len, hidden)) == [0] + [1] * 5 + [2] * 10
    asked.clear()
    fit(rows, small(scheme="pairs", models=("linear",), join=Join.VOTE, calibration=Calibration.NONE))
    assert len(asked) == 1 + 5


def test_evaluation_splits_have_their_own_hyper_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search on the training rows of a split decides for that split alone."""
    asked = []
    genuine = fitting.learn

    def noted(rows: Dataset, plan: Plan, train: Any, where: str, parameters: Model, **more: Any) -> Any:
        asked.append((where, parameters.trees))
        return genuine(rows, plan, train, where, parameters, **more)

    monkeypatch.setattr(fitting, "learn", noted)
    own = tuple(replace(SMALL, trees=trees) for trees in (3, 4, 5))
    fit(rows_of(), small(scheme="forward", fold_models=own))
    assert ("the window", 20) in asked
    # the shipped model and the inner folds of its calibrator; of each split its own model and three inner folds
    assert sorted(trees for _, trees in asked) == [3] * 4 + [4] * 4 + [5] * 4 + [20] * 4


def test_coverage_is_measured_by_widths_of_other_blocks() -> None:
    """Residuals of one block are 1, of the other 10: the first is wholly within the other's width, the second not at all."""
    answers = np.repeat([1.0, 10.0], 10)
    splits = [Split(np.arange(0), np.arange(10), 0, 0), Split(np.arange(0), np.arange(10, 20), 0, 0)]
    anything: Any = None
    width, covered = heads._interval(answers, np.zeros(20), 0.5, anything, anything, heads.HeadFits(splits, [], {}, None))
    assert (width, covered) == (10.0, 0.5)
