"""PSR, DSR, track record, PBO and Kelly against purgedcv, scipy and the values that their authors published."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from purgedcv import (
    deflated_sharpe_ratio,
    min_track_record_length,
    probabilistic_sharpe_ratio,
    probability_of_backtest_overfitting,
)
from scipy.stats import binomtest

from walkforward_core.api.recipe import Sizing
from walkforward_trainer.metrics.overfitting import overfitting
from walkforward_trainer.metrics.sharpe import Moments, deflated, disjoint, expected_maximum, moments, probabilistic, track_record
from walkforward_trainer.metrics.sizing import kelly_binary, kelly_continuous, lower_bound, stake


def returns(seed: int, count: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_t(5, count) * 0.01 + rng.normal(0, 0.002)


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), count=st.integers(30, 400), trials=st.integers(1, 500), variance=st.floats(0, 0.05))
def test_psr_dsr_and_track_record_equal_purgedcv(seed: int, count: int, trials: int, variance: float) -> None:
    net = returns(seed, count)
    found = moments(net)
    assert found is not None
    assert probabilistic(found, count) == pytest.approx(probabilistic_sharpe_ratio(net, 0.0), abs=1e-9)
    assert deflated(found, count, trials, variance) == pytest.approx(deflated_sharpe_ratio(net, trials, variance), abs=1e-9)
    theirs = min_track_record_length(found.sharpe, 0.0, 0.05, found.skew, found.kurtosis)
    assert track_record(found) == (theirs if math.isinf(theirs) else pytest.approx(theirs))


def test_published_psr() -> None:
    """Bailey & López de Prado 2012: two years of months, Sharpe ratio 0.458, skew -2.448, kurtosis 10.164; 0.982 if they were normal."""
    assert probabilistic(Moments(0.458, -2.448, 10.164), 24) == pytest.approx(0.913, abs=1e-3)
    assert probabilistic(Moments(0.458, 0.0, 3.0), 24) == pytest.approx(0.982, abs=1e-3)


def test_published_dsr() -> None:
    """Bailey & López de Prado 2014: 2.5 a year over 1,250 days, skew -3, kurtosis 10, variance 1/2 a year: 0.9004 of 100 trials."""
    found = Moments(2.5 / math.sqrt(250), -3.0, 10.0)
    assert expected_maximum(100, 0.5 / 250) == pytest.approx(0.1132, abs=1e-4)
    assert deflated(found, 1250, 100, 0.5 / 250) == pytest.approx(0.9004, abs=2e-4)
    assert deflated(found, 1250, 46, 0.5 / 250) == pytest.approx(0.9505, abs=2e-4)


def test_one_trial_is_not_deflated() -> None:
    found = moments(returns(1, 200))
    assert found is not None
    assert expected_maximum(1, 3.0) == 0.0
    assert deflated(found, 200, 1, 3.0) == probabilistic(found, 200)


def test_the_expected_maximum_is_that_of_a_simulation() -> None:
    rng = np.random.default_rng(5)
    seen = rng.normal(0.0, 0.2, (20_000, 50)).max(axis=1).mean()
    assert expected_maximum(50, 0.04) == pytest.approx(seen, rel=0.02)


def test_returns_without_spread_have_no_moments() -> None:
    assert moments(np.full(50, 0.1)) is None
    assert moments(np.array([0.1, 0.2, 0.3])) is None
    assert moments(np.array([0.7, 0.633, 1.196, 0.785, 1.138, 1.06])) is None, "its estimates would make the variance negative"


def test_without_skill_no_track_record_is_long_enough() -> None:
    assert track_record(Moments(0.0, 0.0, 3.0)) == math.inf
    assert track_record(Moments(0.2, 0.0, 3.0), benchmark=0.2) == math.inf


@settings(max_examples=12)
@given(seed=st.integers(0, 10_000), trials=st.integers(2, 9), ties=st.booleans())
def test_pbo_equals_purgedcv(seed: int, trials: int, *, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    # theirs takes the sample's standard deviation, ours the population's: of blocks of equal length the ranks are the same
    net = rng.normal(0.0, 0.01, (96, trials)) + rng.normal(0.0, 0.003, trials)
    if ties:
        net[:, 1] = net[:, 0]
    assert overfitting(net, 6) == pytest.approx(probability_of_backtest_overfitting(net.T, 6).pbo)


@pytest.mark.parametrize("trials", [2, 3, 4, 5, 8])
def test_pbo_counts_choices_below_the_median_for_even_and_odd_trials(trials: int) -> None:
    net = np.random.default_rng(0).normal(0.0, 0.01, (96, trials))
    assert overfitting(net, 6) == pytest.approx(probability_of_backtest_overfitting(net.T, 6).pbo)


def test_a_trial_that_never_trades_is_neither_chosen_nor_skilled() -> None:
    """Its Sharpe ratio is 0 in every half: better than one that loses, worse than one that earns."""
    rng = np.random.default_rng(1)
    flat, earns = np.zeros((320, 1)), rng.normal(0.005, 0.01, (320, 1))
    assert overfitting(np.hstack((flat, earns))) == 0.0
    assert overfitting(np.hstack((flat, -earns))) == 0.0
    # what earned in one half loses in the other: whichever is chosen, the other one is better then
    turned = np.repeat([1.0, -1.0], 160)[:, None] * earns
    assert overfitting(np.hstack((flat, turned)), 2) == 1.0


def test_pbo_of_skill_is_low_and_of_luck_is_not() -> None:
    rng = np.random.default_rng(2)
    luck = rng.normal(0.0, 0.01, (1_600, 50))
    assert 0.2 < overfitting(luck) < 0.8
    skill = luck.copy()
    skill[:, 7] += 0.003
    assert overfitting(skill) < 0.01
    # what was good in one half is bad in the other: the definition of overfitting
    turned = rng.normal(0.0, 0.01, (1_600, 50)) + np.repeat([1.0, -1.0], 800)[:, None] * rng.normal(0, 0.01, 50)
    assert overfitting(turned, 2) > 0.9


def test_pbo_needs_trials_and_outcomes() -> None:
    assert math.isnan(overfitting(np.ones((100, 1))))
    assert math.isnan(overfitting(np.ones((31, 5))))


def test_kelly_of_coins_and_of_a_normal_return() -> None:
    """Thorp 2006: 53 % at even odds stake 6 %; of continuous returns with mean 0.058 and deviation 0.216 the fraction is 1.24."""
    assert kelly_binary(0.53, 1.0) == pytest.approx(0.06)
    assert kelly_binary(0.4, 1.0) < 0
    z = np.repeat([-1.0, 1.0], 500)
    assert kelly_continuous(0.058 + 0.216 * z) == pytest.approx(0.058 / 0.216**2)
    assert math.isnan(kelly_continuous(np.ones(4)))


@settings(max_examples=40)
@given(wins=st.integers(0, 200), more=st.integers(1, 200))
@example(wins=0, more=5)
def test_the_lower_bound_is_wilsons(wins: int, more: int) -> None:
    theirs = binomtest(wins, wins + more, alternative="greater").proportion_ci(0.95, method="wilson").low
    assert lower_bound(wins, wins + more) == pytest.approx(theirs, abs=1e-12)
    assert lower_bound(wins, wins + more) >= 0.0, "a share, to the last digit"


def test_a_stake_is_half_kelly_of_the_shrunken_win_rate_and_capped() -> None:
    net = np.array([0.01] * 60 + [-0.01] * 40)
    found = stake(net, 100, Sizing())
    assert found is not None
    assert found.win_rate == pytest.approx(lower_bound(60, 100))
    assert found.kelly == pytest.approx(2 * found.win_rate - 1)
    assert found.stake == pytest.approx(found.kelly / 2)
    fewer = stake(net, 20, Sizing())
    assert fewer is not None
    assert (fewer.kelly < 0, fewer.stake) == (True, 0.0)
    strong = stake(np.array([0.05] * 95 + [-0.01] * 5), 100, Sizing(cap=0.1))
    assert strong is not None
    assert strong.stake == 0.1
    never_lost = stake(np.full(9, 0.1), 9, Sizing())
    assert never_lost is not None
    assert never_lost.kelly == lower_bound(9, 9)
    assert stake(np.full(9, -0.1), 9, Sizing()) is None


def test_less_than_one_independent_trade_stakes_nothing() -> None:
    net = np.array([0.01] * 3 + [-0.005])
    assert [stake(net, independent, Sizing()) is None for independent in (0.0, 0.99, 1.0)] == [True, True, False]


def test_whoever_asks_for_less_than_half_kelly_gets_less() -> None:
    found = stake(np.array([0.01] * 60 + [-0.01] * 40), 100, Sizing(fraction=0.2))
    assert found is not None
    assert found.stake == pytest.approx(found.kelly / 5)


def test_a_stake_is_never_above_half_kelly_whoever_asks() -> None:
    """The schema holds a spec to it; a recipe is written in Python, where nothing does."""
    found = stake(np.array([0.01] * 60 + [-0.01] * 40), 100, Sizing(fraction=0.9))
    assert found is not None
    assert found.stake == pytest.approx(found.kelly / 2)


def test_a_trade_that_comes_out_even_is_no_win_and_makes_no_loss_smaller() -> None:
    found = stake(np.array([0.02] * 60 + [-0.01] * 30 + [0.0] * 10), 100, Sizing())
    assert found is not None
    assert found.win_rate == pytest.approx(lower_bound(60, 100))
    assert found.kelly == pytest.approx(found.win_rate - (1 - found.win_rate) / 2)


def test_outcomes_that_share_time_count_once() -> None:
    t0 = np.arange(100, dtype=np.int64)
    assert disjoint(t0, t0 + 5) == 20
    assert disjoint(t0, t0 + 1) == 100
    assert disjoint(np.repeat(t0, 3), np.repeat(t0, 3) + 1) == 100  # three symbols at one time
    assert disjoint(t0, t0) == 100
    assert disjoint(np.zeros(0, np.int64), np.zeros(0, np.int64)) == 0


def test_overlap_does_not_make_luck_significant() -> None:
    """Returns over 10 bars from every bar of a market without drift: PSR(0) above 0.95 in about 5 % of markets, not in 30 %."""
    above = naive = 0
    for seed in range(300):
        step = np.random.default_rng(seed).normal(0.0, 0.01, 1_010)
        net = np.lib.stride_tricks.sliding_window_view(step, 10).sum(axis=1)[:1_000]
        found, t0 = moments(net), np.arange(1_000, dtype=np.int64)
        assert found is not None
        above += probabilistic(found, disjoint(t0, t0 + 10)) > 0.95
        naive += probabilistic(found, len(net)) > 0.95
    assert above <= 30
    assert naive > 60
