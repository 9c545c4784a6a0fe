"""Neutral is predicted as often as the class target asks, and nobody becomes surer of a trade by it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from walkforward_core.api.recipe import Calibration
from walkforward_trainer.balance import MOST, balance_weights, balanced, fit_balance
from walkforward_trainer.graph import base_graph, full_graph
from walkforward_trainer.metrics.probability import ece
from walkforward_trainer.models.linear import fit_linear
from walkforward_trainer.models.training import Binned, Training
from walkforward_trainer.resolved import Join, Model
from walkforward_trainer.runtime import run
from walkforward_trainer.tail import TailKind, fit_tail

NAMES = ("a", "b")


def learned() -> tuple[Any, np.ndarray, np.ndarray]:
    """Return a model of three classes with rows and answers; neutral is rare and hard to know."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(400, 2)).astype(np.float32)
    y = np.digitize(x[:, 0] + rng.normal(size=400), [-0.2, 0.2]).astype(float)
    return fit_linear(Training(Binned(x), y, np.ones(400), 3), Model()), x, y


def probabilities(seed: int, count: int, *, ties: bool = False) -> np.ndarray:
    """Return three shares a row in which neutral is hardly ever the largest."""
    p = np.random.default_rng(seed).dirichlet((4.0, 1.0, 4.0), count)
    return np.round(p, 1) + 0.01 if ties else p


def shares(p: np.ndarray) -> np.ndarray:
    return np.bincount(p.argmax(axis=1), minlength=3) / len(p)


@given(seed=st.integers(0, 10_000), count=st.integers(1, 400), wanted=st.floats(0.0, 0.3), ties=st.booleans())
@example(seed=8530, count=79, wanted=0.046875, ties=True)
def test_neutral_wins_as_many_rows_as_asked_where_that_is_possible(seed: int, count: int, wanted: float, *, ties: bool) -> None:
    p = probabilities(seed, count, ties=ties)
    factor = fit_balance(p, wanted)
    assert 1.0 <= factor <= MOST
    won = shares(balanced(p, factor))[1]
    needed = np.maximum(p[:, 0], p[:, 2]) / p[:, 1]
    tried = np.clip(np.concatenate((needed * 0.9999, needed * 1.0001, [1.0, MOST])), 1.0, MOST)
    # a factor on the very edge of a row is none: a last digit would decide that row
    tried = np.array([other for other in tried if (np.abs(needed - other) > 1e-6).all()] or [factor])
    nearest = min(abs(shares(balanced(p, other))[1] - wanted) for other in tried)
    assert abs(won - wanted) <= nearest + 1e-9, "another factor comes nearer"


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), wanted=st.floats(0.0, 1.0))
def test_it_never_adds_to_down_or_up(seed: int, wanted: float) -> None:
    p = probabilities(seed, 100)
    after = balanced(p, fit_balance(p, wanted))
    after /= after.sum(axis=1, keepdims=True)
    assert (after[:, [0, 2]] <= p[:, [0, 2]] + 1e-12).all()
    np.testing.assert_allclose(after[:, 0] / after[:, 2], p[:, 0] / p[:, 2])


def needing(*factors: float) -> np.ndarray:
    """Return rows in which neutral wins once it counts more than so much."""
    return np.array([[factor, 1.0, 0.5] / np.float64(factor + 1.5) for factor in factors])


def test_rows_that_differ_by_rounding_are_won_together() -> None:
    """Asked for one of three: between two that another processor may put in another order there is no factor."""
    assert fit_balance(needing(2.0, 2.0 * (1 + 1e-8), 3.0), 1 / 3) == pytest.approx(6**0.5)
    assert fit_balance(needing(2.0, 2.5, 3.0), 1 / 3) == pytest.approx(5**0.5)


def test_the_last_row_is_won_too_where_all_are_asked_for() -> None:
    p = needing(2.0, 2.5, 3.0)
    assert shares(balanced(p, fit_balance(p, 1.0))).tolist() == [0.0, 1.0, 0.0]


def test_neutral_counts_four_times_at_most() -> None:
    assert fit_balance(needing(30.0, 40.0, 50.0), 1 / 3) == 4.0


def test_a_model_that_says_neutral_too_often_is_left_to_the_gates() -> None:
    p = np.tile([0.2, 0.6, 0.2], (50, 1))
    assert fit_balance(p, 0.1) == 1.0


@pytest.mark.parametrize(
    ("join", "calibration"), [(Join.META, Calibration.ISOTONIC), (Join.VOTE, Calibration.NONE), (Join.META, Calibration.PLATT)]
)
def test_the_graph_answers_what_the_tail_says(join: Join, calibration: Calibration) -> None:
    model, x, y = learned()
    z = run(base_graph([model.part], 2), x)
    tail = fit_tail(z, y, np.ones(len(y)), TailKind(3, join, (1.0,), calibration, neutral=0.3))
    assert tail.neutral > 1.0
    p = run(full_graph([model.part], tail, NAMES, {}), x)
    np.testing.assert_allclose(p, tail.probability(z), atol=1e-6)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-6)
    assert tail.describe()["neutral"] == tail.neutral


def test_without_a_class_target_nothing_is_weighed() -> None:
    model, x, y = learned()
    tail = fit_tail(run(base_graph([model.part], 2), x), y, np.ones(len(y)), TailKind(3))
    assert tail.neutral == 1.0
    assert "neutral" not in tail.describe()


def test_under_its_weights_the_answer_is_as_well_calibrated_as_before() -> None:
    rng = np.random.default_rng(7)
    p = rng.dirichlet((2.0, 1.0, 2.0), 40_000)
    y = (rng.random((len(p), 1)) > p.cumsum(axis=1)).sum(axis=1).astype(float)
    after = balanced(p, 3.0)
    after /= after.sum(axis=1, keepdims=True)
    up = (y == 2).astype(float)
    assert ece(up, p[:, 2], None) < 0.012
    assert ece(up, after[:, 2], None) > 0.08
    assert ece(up, after[:, 2], balance_weights(y, 3.0)) < 0.012
