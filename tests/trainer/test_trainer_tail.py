"""Meta model, vote and calibrators against scikit-learn, and the limit on how steep calibration may be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walkforward_core.api.recipe import Calibration
from walkforward_trainer.calibration import MAX_SLOPE, fit_curve, fit_isotonic, fit_sigmoid, limit_slope, log_odds
from walkforward_trainer.models.parts import to_shares
from walkforward_trainer.regression import dot, fit_logistic, fit_softmax, softmax
from walkforward_trainer.resolved import Join
from walkforward_trainer.tail import TailKind, Vote, fit_tail

SEEDS = st.integers(0, 10_000)


@settings(max_examples=40)
@given(seed=SEEDS, count=st.integers(2, 200), ties=st.booleans(), weighted=st.booleans())
def test_isotonic_equals_scikit_learn(seed: int, count: int, *, ties: bool, weighted: bool) -> None:
    from sklearn.isotonic import IsotonicRegression

    rng = np.random.default_rng(seed)
    x = rng.random(count)
    if ties:
        x = np.round(x, 1)
    y = (rng.random(count) < x).astype(float)
    weight = rng.uniform(0.1, 3.0, count) if weighted else None
    knots_x, knots_y = fit_isotonic(x, y, weight)
    asked = np.concatenate((x, rng.random(50), [-1.0, 2.0]))
    theirs = IsotonicRegression(out_of_bounds="clip").fit(x, y, sample_weight=weight).predict(asked)
    np.testing.assert_allclose(np.interp(asked, knots_x, knots_y), theirs, atol=1e-12)


@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_logistic_equals_scikit_learn(columns: int, *, weighted: bool) -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(columns)
    z = rng.normal(size=(800, columns))
    y = (rng.random(800) < 1 / (1 + np.exp(-(z @ np.arange(1, columns + 1) - 0.5)))).astype(float)
    weight = rng.uniform(0.1, 3.0, 800) if weighted else None
    theirs = LogisticRegression(C=1e9, tol=1e-12, max_iter=10_000).fit(z, y, weight)
    weights, bias = fit_logistic(z, y, weight)
    np.testing.assert_allclose(weights, theirs.coef_[0], rtol=1e-3)
    assert bias == pytest.approx(theirs.intercept_[0], rel=1e-3)


@pytest.mark.parametrize("ridge", [1e-2, 1e-6])
def test_softmax_equals_scikit_learn(ridge: float) -> None:
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(5)
    z = rng.normal(size=(900, 4))
    y = np.digitize(z[:, 0] - z[:, 1] + rng.logistic(size=900), [-1.0, 0.6]).astype(float)
    weight = rng.uniform(0.1, 3.0, 900)
    # its penalty is |w|²/2 beside C · the summed loss: ours is relative to the rows
    theirs = LogisticRegression(C=1 / (ridge * weight.sum()), tol=1e-10, max_iter=10_000).fit(z, y, weight)
    weights, bias = fit_softmax(z, y, 3, weight, ridge=ridge)
    np.testing.assert_allclose(weights - weights.mean(axis=0), theirs.coef_ - theirs.coef_.mean(axis=0), atol=2e-3)
    np.testing.assert_allclose(bias, theirs.intercept_ - theirs.intercept_.mean(), atol=2e-3)


@settings(max_examples=25)
@given(seed=SEEDS, classes=st.integers(2, 3), ridge=st.sampled_from([1e-6, 1e-2, 0.5]), sure=st.floats(0.3, 8.0))
def test_at_the_fit_no_weight_wants_to_move(seed: int, classes: int, ridge: float, sure: float) -> None:
    """The condition of a minimum, to the last digits: weighted errors balance the penalty, and of the free bias they add up to nothing."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(150, 3)) * [1.0, 5.0, 0.2]
    y = np.digitize(sure * z[:, 0] + rng.logistic(size=150), [0.0] if classes == 2 else [-1.0, 1.0]).astype(float)
    y[:classes] = np.arange(classes)
    weight = rng.uniform(0.1, 3.0, 150)
    if classes == 2:
        one, bias = fit_logistic(z, y, weight, ridge=ridge)
        weights, errors = one[None, :], (1 / (1 + np.exp(-(z @ one + bias))) - y)[:, None]
    else:
        weights, biases = fit_softmax(z, y, classes, weight, ridge=ridge)
        grown = np.exp(z @ weights.T + biases)
        errors = grown / grown.sum(axis=1, keepdims=True) - np.eye(classes)[y.astype(int)]
        assert biases.sum() == pytest.approx(0.0, abs=1e-8)
    mass = weight / weight.sum()
    np.testing.assert_allclose((errors * mass[:, None]).T @ z, -ridge * weights, atol=1e-9)
    np.testing.assert_allclose(mass @ errors, 0.0, atol=1e-9)


@pytest.mark.parametrize("count", [(1 << 14) - 1, 1 << 14, (1 << 14) + 1, (1 << 15) + 5])
def test_sums_of_many_rows_lose_none(count: int) -> None:
    """Rows are added up some thousands at a time."""
    rows = np.arange(2.0 * count).reshape(count, 2) % 7
    np.testing.assert_array_equal(dot(rows, np.array([1.0, 3.0])), rows[:, 0] + 3 * rows[:, 1])


def test_shares_of_scores_whose_exponential_is_no_number() -> None:
    np.testing.assert_array_equal(
        softmax(np.array([[1_000.0, 1_000.0, -1_000.0], [-2_000.0, -1_000.0, -2_000.0]])), [[0.5, 0.5, 0], [0, 1, 0]]
    )


def test_softmax_of_separable_rows_is_finite() -> None:
    x = np.linspace(-1, 1, 90)
    weights, bias = fit_softmax(x[:, None], np.digitize(x, [-0.3, 0.3]).astype(float), 3)
    assert np.isfinite(weights).all()
    assert np.isfinite(bias).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_platt_equals_scikit_learn(*, weighted: bool) -> None:
    from sklearn.calibration import _SigmoidCalibration

    rng = np.random.default_rng(3)
    p = rng.uniform(0.01, 0.99, 60)
    y = (rng.random(60) < p**2).astype(float)
    weight = rng.uniform(0.2, 3.0, 60) if weighted else np.ones(60)
    theirs = _SigmoidCalibration().fit(log_odds(p), y, weight)
    ours = fit_sigmoid(p, y, weight)
    np.testing.assert_allclose(ours.apply(p), theirs.predict(log_odds(p)), atol=1e-4)


def test_platt_of_one_class_is_smoothed() -> None:
    assert fit_sigmoid(np.linspace(0.2, 0.8, 8), np.ones(8), np.ones(8)).apply(np.array([0.5]))[0] == pytest.approx(9 / 10, abs=1e-3)


@settings(max_examples=25)
@given(seed=SEEDS, count=st.integers(4, 60))
def test_platt_never_turns_the_order_round(seed: int, count: int) -> None:
    """Scores that point the wrong way, as of fold models that learned from too little: the share of ones, not the opposite answer."""
    rng = np.random.default_rng(seed)
    p, weight = rng.uniform(0.05, 0.95, count), rng.uniform(0.5, 2.0, count)
    y = (rng.random(count) > p).astype(float)
    y[:2] = 0.0, 1.0
    found = fit_sigmoid(p, y, weight)
    assert (np.diff(found.apply(np.sort(p))) >= 0).all()
    if found.slope == 0.0:
        ones = float((weight * y).sum())
        assert found.apply(p)[0] == pytest.approx(ones / weight.sum(), abs=1 / (count * 0.5))


def test_platt_of_reversed_scores_says_the_share_of_ones() -> None:
    y = np.repeat([0.0, 1.0], 50)
    found = fit_sigmoid(np.linspace(0.9, 0.1, 100), y, np.ones(100))
    assert found.describe() == {"kind": "Platt", "slope": 0.0, "offset": 0.0}


def test_a_vote_is_the_weighted_mean_of_probabilities() -> None:
    """Against scikit-learn's soft vote with the weights 2, 1, 1, 1.5."""
    from sklearn.ensemble import VotingClassifier

    class Fixed:
        def __init__(self, shares: np.ndarray) -> None:
            self.shares = shares

        def predict_proba(self, x: np.ndarray) -> np.ndarray:
            return self.shares

    rng = np.random.default_rng(1)
    for classes in (2, 3):
        z = rng.normal(size=(50, 4 * (classes - 1)))
        shares = to_shares(z.reshape(50, 4, -1))
        np.testing.assert_allclose(shares.sum(axis=2), 1.0)
        vote = VotingClassifier([(str(i), None) for i in range(4)], voting="soft", weights=[2, 1, 1, 1.5])
        vote.estimators_ = [Fixed(shares[:, i]) for i in range(4)]
        tail = fit_tail(z, np.zeros(50), np.ones(50), TailKind(classes, Join.VOTE, (2.0, 1.0, 1.0, 1.5), Calibration.NONE))
        assert isinstance(tail.join, Vote)
        np.testing.assert_allclose(tail.probability(z), np.average(shares, axis=1, weights=[2, 1, 1, 1.5]), atol=1e-12)
        np.testing.assert_allclose(tail.probability(z), np.average(vote._collect_probas(z), axis=0, weights=[2, 1, 1, 1.5]), atol=1e-12)


def test_three_classes_are_calibrated_one_against_the_rest() -> None:
    rng = np.random.default_rng(8)
    z = rng.normal(size=(3_000, 2)) * 2
    truth = to_shares(z / 2)
    y = (rng.random(3_000)[:, None] > truth.cumsum(axis=1)).sum(axis=1).astype(float)
    for calibration in (Calibration.ISOTONIC, Calibration.PLATT):
        tail = fit_tail(z, y, np.ones(3_000), TailKind(3, Join.VOTE, (), calibration))
        p = tail.probability(z)
        np.testing.assert_allclose(p.sum(axis=1), 1.0)
        assert np.abs(p - truth).mean() < 0.03 < np.abs(to_shares(z) - truth).mean()


def test_weights_are_as_good_as_repetitions() -> None:
    """A row of weight 3 is three rows of weight 1, in every part."""
    rng = np.random.default_rng(6)
    z = rng.normal(size=(200, 2))
    times = rng.integers(1, 4, 200)
    for classes in (2, 3):
        for calibration in Calibration:
            y = rng.integers(0, classes, 200).astype(float)
            kind = TailKind(classes, Join.META if classes == 2 else Join.VOTE, (), calibration)
            once = fit_tail(z, y, times / times.mean(), kind)
            again = fit_tail(np.repeat(z, times, axis=0), np.repeat(y, times), np.ones(times.sum()), kind)
            # Platt's smoothing counts rows, of which there are fewer
            np.testing.assert_allclose(once.probability(z), again.probability(z), atol=2e-3 if calibration is Calibration.PLATT else 1e-7)


@pytest.mark.parametrize("y", [np.arange(60) >= 30, np.arange(60) < 1])
def test_logistic_of_separable_rows_is_finite(y: np.ndarray) -> None:
    weights, bias = fit_logistic(np.linspace(-1, 1, 60)[:, None], y.astype(float))
    assert np.isfinite(weights).all()
    assert np.isfinite(bias)


@settings(max_examples=80)
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
    tail = fit_tail(z, y, np.ones(len(y)), TailKind())
    curve = fit_curve(tail.join.joined(z)[:, 0], y, np.ones(len(y)))
    assert np.diff(curve.y).max() > 0
    assert (np.diff(curve.y) / np.diff(curve.x)).max() <= MAX_SLOPE * (1 + 1e-3)
    moved = np.abs(tail.probability(z + 5e-7) - tail.probability(z))
    assert moved.max() < 1e-6


def test_calibration_of_scores_that_are_too_sure() -> None:
    rng = np.random.default_rng(4)
    truth = rng.normal(size=(4_000, 1))
    y = (rng.random(4_000) < 1 / (1 + np.exp(-truth[:, 0]))).astype(float)
    p = fit_tail(3 * truth, y, np.ones(len(y)), TailKind()).probability(3 * truth)[:, 1]
    assert np.abs(p - 1 / (1 + np.exp(-truth[:, 0]))).mean() < 0.03
