"""Features are chosen from training rows alone, as scikit-learn chooses them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.feature_selection import SelectKBest, f_classif
from trainer_datasets import dataset, plan_of

from walkforward_core.api.recipe import Selection
from walkforward_trainer.selection import f_statistic, ranks, select, uncorrelated

Index = npt.NDArray[np.intp]


def known(rows: Any) -> Index:
    return np.flatnonzero(rows.known)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 3), best=st.integers(1, 7))
def test_the_best_are_those_of_select_k_best(seed: int, classes: int, best: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(200, 8)).astype(np.float32)
    y = rng.integers(0, classes, 200).astype(float)
    x[:, 3] += y
    np.testing.assert_allclose(f_statistic(x, y), f_classif(x.astype(float), y)[0], rtol=1e-9)
    rows = dataset(x, y)
    theirs = SelectKBest(f_classif, k=best).fit(x.astype(float), y).get_support(indices=True)
    np.testing.assert_array_equal(select(rows, known(rows), plan_of(selection=Selection(best=best), classes=classes)), theirs)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), limit=st.sampled_from([0.3, 0.6, 0.9]))
def test_no_two_that_are_left_say_the_same_and_nothing_else_is_lost(seed: int, limit: float) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(150, 6)) @ rng.normal(size=(6, 9))).round(1).astype(np.float32)
    y = (x[:, 0] + rng.normal(size=150) > 0).astype(float)
    kept = uncorrelated(x, y, limit)
    rho = np.abs(spearmanr(x).statistic)
    assert (rho[np.ix_(kept, kept)][~np.eye(len(kept), dtype=bool)] <= limit + 1e-9).all()
    said = f_statistic(np.stack([ranks(column) for column in x.T], axis=1), y)
    for gone in set(range(9)) - set(kept.tolist()):
        assert any(rho[gone, other] > limit and said[other] >= said[gone] for other in kept)


def test_of_two_that_say_the_same_the_one_stays_that_says_more_about_the_label() -> None:
    rng = np.random.default_rng(1)
    y = np.tile([0.0, 1.0], 200)
    clear = y + rng.normal(0, 0.5, 400)
    x = np.column_stack((clear + rng.normal(0, 0.2, 400), np.zeros(400), clear, rng.normal(size=400))).astype(np.float32)
    assert uncorrelated(x, y, 0.9).tolist() == [2, 3]


def test_a_constant_column_is_kept_only_alone() -> None:
    assert uncorrelated(np.zeros((10, 2), np.float32), np.tile([0.0, 1.0], 5), 0.9).tolist() == [0]


def test_elimination_leaves_what_knows_the_label() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(1_500, 12)).astype(np.float32)
    y = ((x[:, 2] + x[:, 7] + rng.normal(0, 0.7, 1_500)) > 0).astype(float)
    rows = dataset(x, y)
    kept = select(rows, known(rows), plan_of(selection=Selection(eliminate=2)))
    assert {2, 7} <= set(kept.tolist())
    assert len(kept) <= 4
    np.testing.assert_array_equal(kept, select(rows, known(rows), plan_of(selection=Selection(eliminate=2))))
    assert len(select(rows, known(rows), plan_of(selection=Selection(eliminate=5)))) >= 5


def test_steps_follow_each_other() -> None:
    rng = np.random.default_rng(9)
    x = rng.normal(size=(600, 8)).astype(np.float32)
    x[:, 5] = x[:, 0] + 1e-3 * rng.normal(size=600)
    y = ((x[:, 0] + 0.5 * x[:, 1] + rng.normal(0, 0.7, 600)) > 0).astype(float)
    rows = dataset(x, y)
    kept = select(rows, known(rows), plan_of(selection=Selection(correlation=0.9, best=4, eliminate=1)))
    assert len({0, 5} & set(kept.tolist())) == 1
    assert 1 <= len(kept) <= 4


def test_without_a_selection_every_column_is_seen() -> None:
    rows = dataset(np.ones((30, 3), np.float32), np.tile([0.0, 1.0], 15))
    assert select(rows, known(rows), plan_of()).tolist() == [0, 1, 2]


@pytest.mark.parametrize("selection", [Selection(correlation=0.5), Selection(best=2), Selection(eliminate=2)])
def test_rows_that_do_not_train_have_no_say(selection: Selection) -> None:
    """A planted error: a selector fitted on all rows. Rows of the test block, and rows without a label, may hold anything."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(600, 6)).astype(np.float32)
    y = ((x[:, 1] + rng.normal(0, 1.0, 600)) > 0).astype(float)
    y[100:120] = np.nan
    rows, train = dataset(x, y), np.r_[0:200, 400:600]
    chosen = select(rows, train, plan_of(selection=selection))
    spoiled_x, spoiled_y = x.copy(), y.copy()
    spoiled_x[200:400, 5] = spoiled_y[200:400] = (np.arange(200) % 2).astype(float)
    spoiled_x[100:120] = 1e6
    spoiled = replace(rows, x=spoiled_x, y=spoiled_y)
    np.testing.assert_array_equal(select(spoiled, train, plan_of(selection=selection)), chosen)
    # the same answers in rows that do train are seen: the test can fail
    assert select(spoiled, np.arange(600), plan_of(selection=Selection(best=1))).tolist() != chosen.tolist()
