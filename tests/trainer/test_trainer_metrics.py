"""Metrics, decisions and the backtest against values worked out by hand or by scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trainer_runs import random_bars

from walkforward_core.bundle import Decision, DecisionKind
from walkforward_trainer.backtest import backtest
from walkforward_trainer.decision import base_position, position
from walkforward_trainer.metrics.probability import auc, auc_error, brier, calibration_curve, ece, log_loss, precision_at_k

DAY = 86_400_000


@settings(max_examples=40, deadline=None)
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
    assert brier(y, p) == pytest.approx(brier_score_loss(y, p))
    assert log_loss(y, p) == pytest.approx(theirs(y, np.clip(p, 1e-7, 1 - 1e-7)))


def test_auc_of_one_class_is_not_a_number() -> None:
    assert np.isnan(auc(np.ones(3), np.arange(3.0)))


def test_auc_error_grows_with_the_overlap_of_labels() -> None:
    y = np.repeat([0.0, 1.0], 500)
    alone = auc_error(0.7, y, 1)
    assert alone == pytest.approx(0.0164, abs=5e-4)  # Hanley & McNeil's table, 500 and 500 cases
    assert auc_error(0.7, y, 5) == pytest.approx(alone * 5**0.5, rel=0.05)


def test_precision_at_k_is_a_mean_over_days_and_ties_go_to_the_earlier_row() -> None:
    time = np.array([0, 1, 2, DAY, DAY + 1])
    y = np.array([1.0, 0.0, 1.0, 0.0, 1.0])
    score = np.array([0.5, 0.5, 0.1, 0.9, 0.2])
    assert precision_at_k(y, score, time, 1) == 0.5
    assert precision_at_k(y, score, time, 2) == 0.5
    assert precision_at_k(y, score, time, 99) == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_ece_and_its_curve() -> None:
    p = np.array([0.2] * 10 + [0.8] * 10)
    y = np.array([1.0] * 2 + [0.0] * 8 + [1.0] * 6 + [0.0] * 4)
    assert calibration_curve(y, p, 2) == [(pytest.approx(0.2), 0.2, 10), (pytest.approx(0.8), 0.6, 10)]
    assert ece(y, p, 2) == pytest.approx(0.1)


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
