"""Labels: what is asked, when it is known, and what has no answer."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trainer_runs import HOUR, random_bars

from walkforward_trainer.labels import label
from walkforward_trainer.resolved import Target

if TYPE_CHECKING:
    from walkforward_core.features import Bars

DIRECTION = Target(kind="Direction", horizon_bars=5)
RISK = Target(kind="Risk", horizon_bars=5, threshold=1.5, volatility_bars=100)


def naive_risk(bars: Bars, row: int, target: Target) -> float:
    returns = np.diff(np.log(bars.close[row - target.volatility_bars : row + 1]))
    ahead = slice(row + 1, row + 1 + target.horizon_bars)
    reach = max(np.log(bars.high[ahead].max() / bars.close[row]), np.log(bars.close[row] / bars.low[ahead].min()))
    return float(reach > target.threshold * returns.std() * np.sqrt(target.horizon_bars))


@settings(max_examples=15, deadline=None)
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
