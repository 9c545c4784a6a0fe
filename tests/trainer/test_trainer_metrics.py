"""Metrics, decisions and the backtest against values worked out by hand or by scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trainer_runs import eurusd, random_bars, run_document, spec

from walkforward_core.api.offline import DistributionGate
from walkforward_core.bundle import Decision, DecisionKind
from walkforward_core.offline import distribution_metric
from walkforward_trainer.backtest import PROFIT_FACTOR_CAP, backtest, filter_table
from walkforward_trainer.decision import base_position, position
from walkforward_trainer.metrics import classes
from walkforward_trainer.metrics.probability import auc, auc_error, calibration_curve, chance_error, ece, precision_at_k
from walkforward_trainer.plan import make_plan

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86_400_000


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), count=st.integers(2, 300), ties=st.booleans())
def test_auc_and_losses_equal_scikit_learn(seed: int, count: int, *, ties: bool) -> None:
    from sklearn.metrics import brier_score_loss, roc_auc_score
    from sklearn.metrics import log_loss as theirs

    rng = np.random.default_rng(seed)
    p = rng.random(count)
    if ties:
        p = np.round(p, 1)
    y = (rng.random(count) < 0.4).astype(float)
    y[:2] = [0, 1]
    assert auc(y, p) == pytest.approx(roc_auc_score(y, p), abs=1e-12)
    both = np.column_stack((1 - p, p))
    assert classes.brier(y, both) == pytest.approx(brier_score_loss(y, p))
    assert classes.log_loss(y, both) == pytest.approx(theirs(y, np.clip(p, 1e-7, 1 - 1e-7)))


def test_auc_of_one_class_is_not_a_number() -> None:
    assert np.isnan(auc(np.ones(3), np.arange(3.0)))


def test_auc_error_grows_with_the_overlap_of_labels() -> None:
    y = np.repeat([0.0, 1.0], 500)
    alone = auc_error(0.7, y, 1)
    assert alone == pytest.approx(0.0164, abs=5e-4)  # Hanley & McNeil's table, 500 and 500 cases
    assert auc_error(0.7, y, 5) == pytest.approx(alone * 5**0.5, rel=0.05)
    # by hand: 3 ones, 5 zeros, A = 0.8; Q1 = 0.8/1.2, Q2 = 1.28/1.8
    few = (0.8 * 0.2 + 2 * (0.8 / 1.2 - 0.64) + 4 * (1.28 / 1.8 - 0.64)) / 15
    assert auc_error(0.8, np.repeat([0.0, 1.0], [5, 3]), 1) == pytest.approx(few**0.5)


def test_standard_errors_above_chance_are_those_of_mann_and_whitney() -> None:
    from scipy.stats import mannwhitneyu, norm

    rng = np.random.default_rng(6)
    y, score = np.repeat([0.0, 1.0], [40, 60]), rng.normal(size=100)
    score[y == 1] += 0.4
    theirs = mannwhitneyu(score[y == 1], score[y == 0], alternative="greater", method="asymptotic", use_continuity=False).pvalue
    p = np.column_stack((-score, score))
    assert norm.sf(classes.above_chance(y, p, 1)) == pytest.approx(theirs)
    assert classes.above_chance(y, p, 4) == pytest.approx(classes.above_chance(y, p, 1) / 2, rel=0.02)
    assert np.isnan(chance_error(np.ones(5), 1))
    assert np.isnan(classes.above_chance(np.ones(100), p, 1))


@pytest.mark.parametrize(("count", "horizon"), [(2, 1), (2, 5), (3, 1), (3, 10)])
def test_scores_that_know_nothing_are_seldom_far_above_chance(count: int, horizon: int) -> None:
    """The null of the gate: labels of overlapping bars, scores that change slowly, few rows. 2.5 standard errors once in 160."""
    rng = np.random.default_rng(7)
    far = rows = 0
    for _ in range(1_500):
        step = rng.standard_t(4, 250 + horizon)
        ahead = np.convolve(step, np.ones(horizon), "valid")[1:251]
        slow = np.cumsum(rng.normal(size=(250, count)), axis=0)
        slow = slow - np.linspace(0, 1, 250)[:, None] * slow[-1]
        p = np.exp(slow / 8)
        p /= p.sum(axis=1, keepdims=True)
        y = (ahead > 0).astype(float) if count == 2 else np.digitize(ahead, np.quantile(ahead, [0.45, 0.6])).astype(float)
        far += classes.above_chance(y, p, horizon) > 2.5
        rows += 1
    # 0.62 % and three standard errors of that measurement
    assert far / rows < 0.0062 + 3 * (0.0062 / rows) ** 0.5


def test_precision_at_k_is_a_mean_over_days_and_ties_go_to_the_earlier_row() -> None:
    time = np.array([0, 1, 2, DAY, DAY + 1])
    y = np.array([1.0, 0.0, 1.0, 0.0, 1.0])
    score = np.array([0.5, 0.5, 0.1, 0.9, 0.2])
    assert precision_at_k(y, score, time, 1) == 0.5
    assert precision_at_k(y, score, time, 2) == 0.5
    assert precision_at_k(y, score, time, 99) == pytest.approx((2 / 3 + 1 / 2) / 2)


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 120), k=st.integers(1, 9))
def test_precision_at_k_is_its_definition_day_by_day(seed: int, count: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    time = np.sort(rng.integers(0, 6 * DAY, count))
    y, score = rng.integers(0, 2, count).astype(float), rng.integers(0, 5, count) / 4
    shares = []
    for day in sorted(set((time // DAY).tolist())):
        best = sorted(np.flatnonzero(time // DAY == day).tolist(), key=lambda row: (-score[row], row))[:k]
        shares.append(y[best].mean())
    assert precision_at_k(y, score, time, k) == pytest.approx(np.mean(shares))


def test_ece_and_its_curve() -> None:
    p = np.array([0.2] * 10 + [0.8] * 10)
    y = np.array([1.0] * 2 + [0.0] * 8 + [1.0] * 6 + [0.0] * 4)
    assert calibration_curve(y, p, 2) == [(pytest.approx(0.2), 0.2, 10), (pytest.approx(0.8), 0.6, 10)]
    assert ece(y, p, bins=2) == pytest.approx(0.1)


@pytest.mark.parametrize("count", [7, 15, 100, 301])
def test_ece_is_of_fifteen_bins_of_equal_mass_whatever_the_order_of_the_rows(count: int) -> None:
    """As the reference defines it; rows come in the order of time, bins in that of the probabilities."""
    rng = np.random.default_rng(count)
    p = rng.permutation(np.linspace(0.01, 0.99, count))
    y = (rng.random(count) < p**2).astype(float)
    pairs, apart, start = sorted(zip(p.tolist(), y.tolist(), strict=True)), 0.0, 0
    for number in range(min(15, count)):
        size = count // 15 + (number < count % 15)
        apart += abs(sum(stated - seen for stated, seen in pairs[start : start + size]))
        start += size
    assert start == count
    assert ece(y, p) == pytest.approx(apart / count)
    assert sum(rows * abs(stated - seen) for stated, seen, rows in calibration_curve(y, p)) == pytest.approx(apart)


def test_a_round_trip_costs_once_by_its_size() -> None:
    outcome = backtest(np.array([1.0, -0.5, 0.0, 1.0]), np.array([0.01, 0.02, 0.05, -0.01]), 0.001)
    np.testing.assert_allclose(outcome.net, [0.009, -0.0105, 0.0, -0.011])
    assert outcome.outcomes == 4
    assert outcome.traded == 0.75
    assert outcome.expectancy == pytest.approx(-0.0125 / 4)
    assert outcome.sharpe == pytest.approx(outcome.net.mean() / outcome.net.std())
    assert outcome.hit_rate == pytest.approx(1 / 3)
    assert outcome.drawdown == pytest.approx(0.0215)
    assert outcome.break_even == pytest.approx((0.01 - 0.01 - 0.01) / 2.5)


def test_what_is_lost_from_the_first_trade_on_is_a_drawdown() -> None:
    """The running sum begins at zero, before any trade."""
    assert backtest(np.ones(3), np.array([-0.01, -0.02, 0.005]), 0.0).drawdown == pytest.approx(0.03)


def test_a_round_trip_is_charged_for_both_sides(tmp_path: Path) -> None:
    """A planted error: costs of one side only. Two sides of fee and slippage, by the spec's own numbers."""
    plan = make_plan(run_document(spec(eurusd(), tmp_path, costs={"feeBps": 1.0, "slippage": {"bps": 2.0, "multiplier": 1.5}})))
    outcome = backtest(np.array([1.0]), np.array([0.0]), plan.round_trip)
    assert outcome.expectancy == pytest.approx(-2 * (1.0 + 2.0 * 1.5) / 10_000)


def test_profit_factor_is_capped_and_never_infinite() -> None:
    ones = np.ones(4)
    assert backtest(ones, np.array([0.02, 0.01, -0.01, -0.005]), 0.0).profit_factor == pytest.approx(2.0)
    assert backtest(ones, np.full(4, 0.01), 0.0).profit_factor == PROFIT_FACTOR_CAP
    assert backtest(ones, np.array([0.9, 0.9, 0.9, -1e-9]), 0.0).profit_factor == PROFIT_FACTOR_CAP
    assert np.isnan(backtest(np.zeros(4), ones, 0.0).profit_factor)


def test_numbers_of_trades_leave_out_what_was_not_traded() -> None:
    outcome = backtest(np.array([1.0, 0.0, -1.0, 0.0]), np.array([0.02, 0.5, 0.01, -0.5]), 0.001)
    taken = np.array([0.019, -0.011])
    assert outcome.trades == 2
    assert outcome.trade_expectancy == pytest.approx(taken.mean())
    assert outcome.trade_sharpe == pytest.approx(taken.mean() / taken.std())
    assert outcome.hit_rate == 0.5


def test_a_trade_that_comes_out_even_is_a_trade_and_no_win() -> None:
    outcome = backtest(np.ones(4), np.array([0.25, 0.5, -0.25, 0.0]), 0.25)
    assert outcome.net.tolist() == [0.0, 0.25, -0.5, -0.25]
    assert (outcome.trades, outcome.traded, outcome.hit_rate) == (4, 1.0, 0.25)


def test_a_filter_counts_the_bad_trades_of_either_side() -> None:
    base = backtest(np.array([1.0, -1.0, -0.5, 0.0]), np.full(4, 0.01), 0.0)
    assert filter_table(base, base, np.ones(4))["rulesOnly"]["badTrades"] == 3


def test_the_table_of_a_filter() -> None:
    """Ten trades of which three are bad; the filter blocks two of them and one good one."""
    returns = np.array([0.02, -0.03, 0.01, -0.04, 0.02, 0.01, -0.02, 0.03, 0.01, 0.02])
    bad = (returns < 0).astype(float)
    blocked = np.isin(np.arange(10), [1, 3, 8])
    table = filter_table(backtest(np.ones(10), returns, 0.0), backtest(np.where(blocked, 0.0, 1.0), returns, 0.0), bad)
    assert table["rulesOnly"] == pytest.approx(
        {"tradeCount": 10, "badTrades": 3, "winRate": 0.7, "expectancy": 0.003, "maxDrawdown": -0.06}
    )
    assert table["rulesAndModel"] == pytest.approx(
        {"tradeCount": 7, "badTrades": 1, "winRate": 6 / 7, "expectancy": 0.09 / 7, "maxDrawdown": -0.02}
    )


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), count=st.integers(2, 3), weighted=st.booleans())
def test_metrics_of_classes_equal_scikit_learn(seed: int, count: int, *, weighted: bool) -> None:
    from sklearn import metrics as theirs

    rng = np.random.default_rng(seed)
    n = int(rng.integers(20, 300))
    p = np.round(rng.dirichlet(np.ones(count), n), 2)
    p[:, 0] = 1 - p[:, 1:].sum(axis=1)
    y = rng.integers(0, count, n).astype(float)
    y[:count] = np.arange(count)
    weight = rng.uniform(0.1, 3.0, n) if weighted else None
    top = p.argmax(axis=1)
    table = classes.confusion(y, p, weight)
    np.testing.assert_allclose(table, theirs.confusion_matrix(y, top, labels=range(count), sample_weight=weight))
    assert classes.accuracy(table) == pytest.approx(theirs.accuracy_score(y, top, sample_weight=weight))
    average = "binary" if count == 2 else "macro"
    assert classes.f1(table) == pytest.approx(theirs.f1_score(y, top, average=average, labels=None, sample_weight=weight, zero_division=0))
    scores = p[:, 1] if count == 2 else p
    if count == 2 or not weighted:
        assert classes.area(y, p, weight) == pytest.approx(theirs.roc_auc_score(y, scores, multi_class="ovr", sample_weight=weight))
    assert classes.log_loss(y, p, weight) == pytest.approx(
        -np.average(np.log(np.clip(p[np.arange(n), y.astype(int)], 1e-7, 1 - 1e-7)), weights=weight)
    )
    if count == 3:
        assert classes.brier(y, p, weight) == pytest.approx(
            sum(theirs.brier_score_loss(y == c, p[:, c].clip(0, 1), sample_weight=weight) for c in range(3))
        )
        moved = y != 1
        if len(set(y[moved])) == 2:
            assert classes.tradable_area(y, p) == pytest.approx(theirs.roc_auc_score(y[moved] == 2, (p[:, 2] - p[:, 0])[moved]))


def test_weights_count_as_so_many_rows() -> None:
    rng = np.random.default_rng(3)
    p, y, times = rng.random(90), rng.integers(0, 2, 90).astype(float), rng.integers(1, 4, 90)
    many_y, many_p = np.repeat(y, times), np.repeat(p, times)
    assert auc(y, p, times.astype(float)) == pytest.approx(auc(many_y, many_p))
    assert ece(y, p, times.astype(float), bins=1) == pytest.approx(ece(many_y, many_p, bins=1))


def test_the_distribution_of_three_classes() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.2, 0.6, 0.2], [0.1, 0.25, 0.65], [0.45, 0.1, 0.45], [0.3, 0.3, 0.4], [0.2, 0.15, 0.65]])
    seen = classes.distribution(p, 0.65)
    assert seen == pytest.approx(
        {
            "downPct": 2 / 6,  # of equal probabilities the lower class counts
            "upPct": 3 / 6,
            "neutralPct": 1 / 6,
            "confMean": (0.7 + 0.6 + 0.65 + 0.45 + 0.4 + 0.65) / 6,
            "pctAboveConf060": 3 / 6,  # 0.6 itself is not above
            "alphaMean": (0.6 + 0.0 + 0.55 + 0.0 + 0.1 + 0.45) / 6,
            "eligibilityPct": 3 / 6,  # the confidence floor itself is enough, an alpha of 0 is not
        }
    )
    assert {distribution_metric(name) for name in msgspec.to_builtins(DistributionGate())} == {f"distribution.{name}" for name in seen}


def test_an_alpha_of_just_012_may_be_traded() -> None:
    """At least, not more than: 0.5 - 0.38 is the very number that 0.12 is."""
    assert classes.distribution(np.array([[0.38, 0.12, 0.5]]), 0.5)["eligibilityPct"] == 1.0
    assert classes.distribution(np.array([[0.381, 0.119, 0.5]]), 0.5)["eligibilityPct"] == 0.0


def test_a_decision_that_never_trades_has_no_sharpe() -> None:
    outcome = backtest(np.zeros(5), np.ones(5), 0.001)
    assert np.isnan(outcome.sharpe)
    assert np.isnan(outcome.hit_rate)
    assert np.isnan(outcome.break_even)
    assert (outcome.expectancy, outcome.traded, outcome.drawdown) == (0.0, 0.0, 0.0)


def test_positions_are_those_of_the_server() -> None:
    """The table of contract C5, at and around the threshold."""
    p, base = np.array([0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 1.0]), np.array([1.0, -1.0, 0.5, 1.0, -0.5, 1.0, 1.0])
    asked = {kind: position(Decision(kind=kind, threshold=0.6), p, base).tolist() for kind in DecisionKind}
    assert asked[DecisionKind.SIGN] == [-1, -1, 0, 0, 0, 1, 1]
    assert asked[DecisionKind.FILTER] == [1, -1, 0.5, 1, -0.5, 0, 0]
    assert asked[DecisionKind.SIZE] == pytest.approx([-1, -0.4, -0.2, 0, 0.2, 0.4, 1])


def test_base_rules() -> None:
    bars = random_bars(1, 60)
    momentum = base_position("momentum:20", bars)
    assert np.isnan(momentum[:20]).all()
    assert momentum[20:].tolist() == np.sign(bars.close[20:] - bars.close[:-20]).tolist()
    assert base_position("long", bars).tolist() == [1.0] * 60
