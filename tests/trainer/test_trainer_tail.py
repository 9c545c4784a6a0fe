"""Meta model and calibrator against scikit-learn, and the limit on how steep calibration may be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walkforward_trainer.tail import MAX_SLOPE, fit_isotonic, fit_logistic, fit_tail, limit_slope

SEEDS = st.integers(0, 10_000)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, count=st.integers(2, 200), ties=st.booleans())
def test_isotonic_equals_scikit_learn(seed: int, count: int, *, ties: bool) -> None:
    from sklearn.isotonic import IsotonicRegression

    rng = np.random.default_rng(seed)
    x = rng.random(count)
    if ties:
        x = np.round(x, 1)
    y = (rng.random(count) < x).astype(float)
    knots_x, knots_y = fit_isotonic(x, y)
    asked = np.concatenate((x, rng.random(50), [-1.0, 2.0]))
    theirs = IsotonicRegression(out_of_bounds="clip").fit(x, y).predict(asked)
    np.testing.assert_allclose(np.interp(asked, knots_x, knots_y), theirs, atol=1e-12)


@pytest.mark.parametrize("columns", [1, 3])
def test_logistic_equals_scikit_learn(columns: int) -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(columns)
    z = rng.normal(size=(800, columns))
    y = (rng.random(800) < 1 / (1 + np.exp(-(z @ np.arange(1, columns + 1) - 0.5)))).astype(float)
    theirs = LogisticRegression(C=1e9, tol=1e-12, max_iter=10_000).fit(z, y)
    weights, bias = fit_logistic(z, y)
    np.testing.assert_allclose(weights, theirs.coef_[0], rtol=1e-3)
    assert bias == pytest.approx(theirs.intercept_[0], rel=1e-3)


@pytest.mark.parametrize("y", [np.arange(60) >= 30, np.arange(60) < 1])
def test_logistic_of_separable_rows_is_finite(y: np.ndarray) -> None:
    weights, bias = fit_logistic(np.linspace(-1, 1, 60)[:, None], y.astype(float))
    assert np.isfinite(weights).all()
    assert np.isfinite(bias)


@settings(max_examples=80, deadline=None)
@given(seed=SEEDS, count=st.integers(1, 60), slope=st.floats(0.5, 50))
def test_the_limit_keeps_order_range_and_slope(seed: int, count: int, slope: float) -> None:
    rng = np.random.default_rng(seed)
    x, y = np.unique(rng.random(count)), np.sort(rng.random(count))
    y = y[: len(x)]
    limited = limit_slope(x, y, slope)
    assert (np.diff(limited) >= -1e-15).all()
    assert (np.diff(limited) <= slope * np.diff(x) + 1e-12).all()
    assert y[0] - 1e-15 <= limited.min()
    assert limited.max() <= y[-1] + 1e-15


def test_the_limit_leaves_a_gentle_curve_alone() -> None:
    x = np.linspace(0, 1, 11)
    np.testing.assert_array_equal(limit_slope(x, x**2, 3.0), x**2)


def test_a_jump_becomes_a_ramp_around_its_middle() -> None:
    x, y = np.array([0.0, 0.4, 0.5, 0.500001, 0.6, 1.0]), np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    limited = limit_slope(x, y, 4.0)
    assert limited[2] == pytest.approx(0.5, abs=1e-5)
    assert limited[[1, 4]] == pytest.approx([0.3, 0.7], abs=1e-5)


def test_one_digit_of_the_base_score_moves_the_probability_by_less_than_the_tolerance() -> None:
    rng = np.random.default_rng(2)
    z = rng.normal(size=(2_000, 1))
    y = (rng.random(2_000) < 1 / (1 + np.exp(-z[:, 0]))).astype(float)
    tail = fit_tail(z, y)
    assert np.diff(tail.y).max() > 0
    assert (np.diff(tail.y) / np.diff(tail.x)).max() <= MAX_SLOPE * (1 + 1e-3)
    moved = np.abs(tail.probability(z + 5e-7) - tail.probability(z))
    assert moved.max() < 1e-6


def test_calibration_of_scores_that_are_too_sure() -> None:
    rng = np.random.default_rng(4)
    truth = rng.normal(size=(4_000, 1))
    y = (rng.random(4_000) < 1 / (1 + np.exp(-truth[:, 0]))).astype(float)
    p = fit_tail(3 * truth, y).probability(3 * truth)
    assert np.abs(p - 1 / (1 + np.exp(-truth[:, 0]))).mean() < 0.03
