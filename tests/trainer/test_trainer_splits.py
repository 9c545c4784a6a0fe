"""Splits leak nothing, and agree with an independent implementation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from purgedcv import PurgedKFold, WalkForwardSplit

from walkforward_trainer.splits import Split, purged_k_fold, walk_forward

Times = npt.NDArray[np.int64]


@st.composite
def intervals(draw: st.DrawFn) -> tuple[Times, Times]:
    """Ascending decision times with gaps, each with an interval of its own length."""
    count = draw(st.integers(12, 80))
    steps = draw(st.lists(st.integers(1, 9), min_size=count, max_size=count))
    length = draw(st.lists(st.integers(1, 25), min_size=count, max_size=count))
    t0 = np.cumsum(np.array(steps, np.int64))
    return t0, t0 + np.array(length, np.int64)


def leaks(split: Split, t0: Times, t1: Times, embargo: int) -> bool:
    """Whether any training row's interval meets any test row's, or is decided in the embargo: pair by pair, as defined."""
    for row in split.train:
        for other in split.test:
            if t0[row] <= t1[other] and t1[row] >= t0[other]:
                return True
        if t1[split.test].max() < t0[row] <= t1[split.test].max() + embargo:
            return True
    return False


@settings(max_examples=60, deadline=None)
@given(times=intervals(), folds=st.integers(2, 6), embargo=st.integers(0, 40), forward=st.booleans())
def test_no_training_row_knows_of_its_test_block(times: tuple[Times, Times], folds: int, embargo: int, *, forward: bool) -> None:
    t0, t1 = times
    for split in (walk_forward if forward else purged_k_fold)(t0, t1, folds, embargo):
        assert not leaks(split, t0, t1, embargo)
        assert not set(split.train) & set(split.test)
        dropped = (split.test[0] if forward else len(t0) - len(split.test)) - len(split.train)
        assert split.purged + split.embargoed == dropped
        if forward:
            assert len(split.train) == 0 or split.train.max() < split.test.min()


@settings(max_examples=60, deadline=None)
@given(times=intervals(), folds=st.integers(2, 6))
def test_test_blocks_partition_the_rows(times: tuple[Times, Times], folds: int) -> None:
    splits = purged_k_fold(*times, folds, 0)
    np.testing.assert_array_equal(np.concatenate([split.test for split in splits]), np.arange(len(times[0])))
    forward = walk_forward(*times, folds, 0)
    tested = np.concatenate([split.test for split in forward])
    np.testing.assert_array_equal(tested, np.arange(tested[0], len(times[0])))


@settings(max_examples=60, deadline=None)
@given(times=intervals(), folds=st.integers(2, 6), embargo=st.integers(0, 40))
def test_k_fold_equals_purgedcv(times: tuple[Times, Times], folds: int, embargo: int) -> None:
    t0, t1 = times
    # purgedcv's intervals are half open, ours have both ends: one nanosecond more
    decided, known = pd.Series(pd.to_datetime(t0, unit="s")), pd.Series(pd.to_datetime(t1, unit="s") + pd.Timedelta(1, "ns"))
    oracle = PurgedKFold(folds, prediction_times=decided, evaluation_times=known, embargo=pd.Timedelta(embargo, "s") if embargo else None)
    for ours, (train, test) in zip(purged_k_fold(t0, t1, folds, embargo), oracle.split(np.zeros((len(t0), 1))), strict=True):
        np.testing.assert_array_equal(ours.test, test)
        np.testing.assert_array_equal(ours.train, train)


@settings(max_examples=60, deadline=None)
@given(times=intervals(), folds=st.integers(2, 5))
def test_walk_forward_equals_purgedcv(times: tuple[Times, Times], folds: int) -> None:
    t0, t1 = times
    t0, t1 = t0[: len(t0) // (folds + 1) * (folds + 1)], t1[: len(t0) // (folds + 1) * (folds + 1)]
    decided, known = pd.Series(pd.to_datetime(t0, unit="s")), pd.Series(pd.to_datetime(t1, unit="s") + pd.Timedelta(1, "ns"))
    oracle = WalkForwardSplit(folds, test_size=len(t0) // (folds + 1), prediction_times=decided, evaluation_times=known)
    for ours, (train, test) in zip(walk_forward(t0, t1, folds, 0), oracle.split(np.zeros((len(t0), 1))), strict=True):
        np.testing.assert_array_equal(ours.test, test)
        np.testing.assert_array_equal(ours.train, train)


def test_the_ends_of_intervals_count() -> None:
    """Labels of 2 bars, 9 rows, 3 folds: the block 3 … 5 has [3, 7]."""
    t0 = np.arange(9, dtype=np.int64)
    middle = purged_k_fold(t0, t0 + 2, 3, 0)[1]
    np.testing.assert_array_equal(middle.train, [0, 8])
    assert purged_k_fold(t0, t0 + 2, 3, 1)[1].train.tolist() == [0]


def test_planted_leak_is_closed_by_the_purge() -> None:
    """Labels that overlap are nearly copies of their neighbours: without purge a nearest-neighbour model looks as if it knew."""
    rng = np.random.default_rng(3)
    steps = rng.normal(size=600)
    y = np.array([steps[i : i + 20].sum() > 0 for i in range(580)])
    t0 = np.arange(580, dtype=np.int64)

    def hit_rate(splits: list[Split]) -> float:
        hits = [y[split.train[np.abs(split.train - row).argmin()]] == y[row] for split in splits for row in split.test]
        return float(np.mean(hits))

    blind = [Split(np.setdiff1d(t0, [row]), np.array([row]), 0, 0) for row in t0]
    assert hit_rate(blind) > 0.85
    assert hit_rate(purged_k_fold(t0, t0 + 20, 290, 0)) < 0.62


def test_more_blocks_than_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="3 rows cannot be split into 4 blocks"):
        purged_k_fold(np.arange(3), np.arange(3), 4, 0)
