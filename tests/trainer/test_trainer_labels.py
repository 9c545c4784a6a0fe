"""Labels: what is asked, when it is known, and what has no answer."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trainer_runs import HOUR, random_bars

from walkforward_core.api.recipe import ClassShares, VolatilityScale
from walkforward_trainer.labels import label, warmup_of
from walkforward_trainer.resolved import Target
from walkforward_trainer.weighing import class_weights

if TYPE_CHECKING:
    from walkforward_core.features import Bars

DIRECTION = Target(kind="Direction", horizon_bars=5)
RISK = Target(kind="Risk", horizon_bars=5, threshold=1.5, volatility_bars=100)


def naive_risk(bars: Bars, row: int, target: Target) -> float:
    returns = np.diff(np.log(bars.close[row - target.volatility_bars : row + 1]))
    ahead = slice(row + 1, row + 1 + target.horizon_bars)
    reach = max(np.log(bars.high[ahead].max() / bars.close[row]), np.log(bars.close[row] / bars.low[ahead].min()))
    return float(reach > target.threshold * returns.std() * np.sqrt(target.horizon_bars))


@settings(max_examples=15)
@given(seed=st.integers(0, 1_000), horizon=st.integers(1, 12), threshold=st.floats(0.5, 2.0))
def test_risk_is_the_larger_excursion(seed: int, horizon: int, threshold: float) -> None:
    bars = random_bars(seed, 180)
    target = Target(kind="Risk", horizon_bars=horizon, threshold=threshold, volatility_bars=100)
    labels = label(bars, target, HOUR, 100)
    known = np.flatnonzero(labels.known)
    assert known.tolist() == list(range(80 - horizon))
    assert labels.y[known].tolist() == [naive_risk(bars, 100 + row, target) for row in known]


def test_direction_and_returns() -> None:
    bars = random_bars(2, 60)
    labels = label(bars, DIRECTION, HOUR, 10)
    ahead = bars.close[15:] / bars.close[10:-5] - 1
    np.testing.assert_allclose(labels.returns[:-5], ahead)
    np.testing.assert_array_equal(labels.y[:-5], (ahead > 0).astype(float))
    assert np.isnan(labels.y[-5:]).all()
    assert np.isnan(labels.returns[-5:]).all()


@pytest.mark.parametrize("target", [DIRECTION, RISK])
def test_a_label_is_decided_between_the_decision_and_the_horizon(target: Target) -> None:
    """No bar outside [t0, t1] moves a label, beyond the volatility before t0; any close at t1 may."""
    bars, other = random_bars(3, 200), random_bars(4, 200)
    labels = label(bars, target, HOUR, 100)
    np.testing.assert_array_equal(labels.t1 - labels.t0, 5 * HOUR)
    for row in (0, 40, 90):
        later = bars[: 100 + row + 6].append(other[100 + row + 6 :])
        assert label(later, target, HOUR, 100).y[row] == labels.y[row]


@pytest.mark.parametrize("target", [DIRECTION, RISK])
def test_labels_that_cross_a_market_gap_are_dropped(target: Target) -> None:
    bars = random_bars(5, 200)
    weekend = dataclasses.replace(bars, time=bars.time + np.where(np.arange(200) >= 150, 48 * HOUR, 0))
    labels = label(weekend, target, HOUR, 100)
    assert np.flatnonzero(~labels.known).tolist() == [*range(45, 50), *range(95, 100)]
    assert np.isnan(labels.returns[45:50]).all()


def test_the_volatility_knows_no_later_bar() -> None:
    """With a shock after the decision the expected move must not grow: that would hide the very event."""
    bars = random_bars(6, 140)
    shock = dataclasses.replace(bars, high=bars.high * np.where(np.arange(140) == 122, 1.05, 1.0))
    assert label(shock, RISK, HOUR, 100).y[17:22].tolist() == [1.0] * 5


DAY = 24 * HOUR


def test_daily_bars_of_a_five_day_market_have_labels_across_the_weekend() -> None:
    """Five daily bars are a week, and that is what the horizon says to whoever reports outcomes."""
    bars = random_bars(7, 250)
    day = np.arange(250)
    market = dataclasses.replace(bars, time=bars.time[0] + (day + 2 * (day // 5)) * DAY)
    labels = label(market, DIRECTION, DAY, 100)
    assert labels.known.sum() == 145
    assert (labels.t1 - labels.t0)[labels.known].tolist() == [7 * DAY] * 145
    assert labels.horizon_ms == 7 * DAY
    np.testing.assert_allclose(labels.returns[:145], bars.close[105:] / bars.close[100:-5] - 1)
    closed = dataclasses.replace(market, time=market.time + np.where(day >= 150, 7 * DAY, 0))
    assert np.flatnonzero(~label(closed, DIRECTION, DAY, 100).known).tolist() == [*range(45, 50), *range(145, 150)]


def test_intraday_horizons_are_the_bars_own() -> None:
    assert label(random_bars(7, 200), DIRECTION, HOUR, 100).horizon_ms == 5 * HOUR


@pytest.mark.parametrize(("scale", "factor"), [(VolatilityScale.BAR, 1.0), (VolatilityScale.HORIZON, 5**0.5)])
def test_adaptive_classes_follow_the_volatility_that_was_known(scale: VolatilityScale, factor: float) -> None:
    bars = random_bars(8, 400)
    labels = label(bars, Target(kind="Adaptive", threshold=1.5, volatility_scale=scale), HOUR, 101)
    logs = np.log(bars.close)
    for row in range(0, 290, 7):
        at = row + 101
        limit = 1.5 * np.diff(logs[at - 100 : at + 1]).std() * factor
        move = logs[at + 5] - logs[at]
        assert labels.y[row] == (2 if move > limit else 0 if move < -limit else 1)
    assert set(labels.y[labels.known].tolist()) == {0.0, 1.0, 2.0}
    wild = dataclasses.replace(bars, close=bars.close * np.where(np.arange(400) >= 301, 3.0, 1.0))
    np.testing.assert_array_equal(
        label(wild, Target(kind="Adaptive"), HOUR, 101).y[:195], label(bars, Target(kind="Adaptive"), HOUR, 101).y[:195]
    )


def test_the_further_targets_of_five_models() -> None:
    bars = random_bars(9, 60)
    logs = np.log(bars.close)
    found = {kind: label(bars, Target(kind=kind, horizon_bars=5), HOUR, 10).y for kind in ("Price", "Momentum", "Volatility")}
    for row in (0, 17, 44):
        at = row + 10
        assert found["Price"][row] == pytest.approx(logs[at + 5] - logs[at])
        assert found["Momentum"][row] == float((logs[at + 5] - logs[at]) * (logs[at] - logs[at - 5]) > 0)
        assert found["Volatility"][row] == pytest.approx(np.sqrt(np.mean(np.diff(logs[at : at + 6]) ** 2)))
    for kind in found:
        assert np.isnan(found[kind][-5:]).all()


@pytest.mark.parametrize(("kind", "answer"), [("Direction", 0.0), ("Risk", 0.0), ("Adaptive", 1.0), ("Momentum", 0.0), ("Volatility", 0.0)])
def test_a_market_that_stands_still_neither_rises_nor_moves(kind: str, answer: float) -> None:
    bars = random_bars(10, 60)
    still = dataclasses.replace(bars, open=bars.open * 0 + 7, high=bars.high * 0 + 7, low=bars.low * 0 + 7, close=bars.close * 0 + 7)
    assert label(still, Target(kind=kind, horizon_bars=5, volatility_bars=20), HOUR, 25).y[:-5].tolist() == [answer] * 30


@pytest.mark.parametrize("kind", ["Direction", "Risk", "Adaptive", "Price", "Momentum", "Volatility"])
def test_history_is_as_long_as_the_first_answer_needs(kind: str) -> None:
    target = Target(kind=kind, horizon_bars=7, volatility_bars=20)
    bars, history = random_bars(11, 80), warmup_of(target)
    assert label(bars, target, HOUR, history).known[0]
    assert history == 0 or not label(bars, target, HOUR, history - 1).known[0]


def test_a_weekend_between_two_holidays_is_no_gap_and_a_day_more_is() -> None:
    bars = random_bars(12, 60)
    for days, lost in ((5, []), (6, list(range(25, 30)))):
        closed = dataclasses.replace(bars, time=bars.time[0] + (np.arange(60) + np.where(np.arange(60) >= 40, days - 1, 0)) * DAY)
        assert np.flatnonzero(~label(closed, DIRECTION, DAY, 10).known[:-5]).tolist() == lost


def test_the_usual_horizon_is_that_of_the_rows_and_not_of_their_history() -> None:
    """A market that traded every day and now rests at weekends."""
    bars, day = random_bars(13, 200), np.arange(200)
    market = dataclasses.replace(bars, time=bars.time[0] + (day + 2 * (np.maximum(day - 120, 0) // 5)) * DAY)
    assert label(market, DIRECTION, DAY, 0).horizon_ms == 5 * DAY
    assert label(market, DIRECTION, DAY, 130).horizon_ms == 7 * DAY


def test_class_weights_lead_to_the_target() -> None:
    rng = np.random.default_rng(1)
    y = rng.choice(3, 500, p=[0.05, 0.9, 0.05]).astype(float)
    weights = class_weights(y, ClassShares(down=0.4, neutral=0.2, up=0.4))
    assert weights.mean() == pytest.approx(1.0)
    assert [weights[y == c].sum() / 500 for c in range(3)] == pytest.approx([0.4, 0.2, 0.4])
    two = class_weights(np.array([0.0, 2.0, 2.0, 2.0]), ClassShares(down=0.4, neutral=0.2, up=0.4))
    assert [two[:1].sum() / 4, two[1:].sum() / 4] == pytest.approx([0.5, 0.5])
