"""Splits leak nothing, and agree with an independent implementation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from datasets import plan_of, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st
from purgedcv import PurgedKFold, WalkForwardSplit

from walkforward_core.api.recipe import Scheme
from walkforward_trainer.errors import BadConfiguration
from walkforward_trainer.resolved import Validation
from walkforward_trainer.splits import Split, embargo_of, holdout, inner_splits, purged_k_fold, walk_forward

Times = npt.NDArray[np.int64]


@st.composite
def intervals(draw: st.DrawFn) -> tuple[Times, Times]:
    """Ascending decision times with gaps, each with an interval of its own length."""
    count = draw(st.integers(12, 120))
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


@given(times=intervals(), folds=st.integers(2, 6), embargo=st.integers(0, 40), forward=st.booleans())
def test_no_training_row_knows_of_its_test_block(times: tuple[Times, Times], folds: int, embargo: int, *, forward: bool) -> None:
    t0, t1 = times
    for split in (walk_forward if forward else purged_k_fold)(t0, t1, folds, embargo):
        assert not leaks(split, t0, t1, embargo)
        assert not set(split.train) & set(split.test)
        dropped = (split.test[0] if forward else len(t0) - len(split.test)) - len(split.train)
        assert split.purged + split.embargoed == dropped
        if forward:
            assert len(split.train) == 0 or t1[split.train].max() + embargo < t0[split.test].min()


@given(times=intervals(), folds=st.integers(2, 6))
def test_test_blocks_partition_the_rows(times: tuple[Times, Times], folds: int) -> None:
    splits = purged_k_fold(*times, folds, 0)
    np.testing.assert_array_equal(np.concatenate([split.test for split in splits]), np.arange(len(times[0])))
    forward = walk_forward(*times, folds, 0)
    tested = np.concatenate([split.test for split in forward])
    np.testing.assert_array_equal(tested, np.arange(tested[0], len(times[0])))


@given(times=intervals(), folds=st.integers(2, 6), embargo=st.integers(0, 40))
def test_k_fold_equals_purgedcv(times: tuple[Times, Times], folds: int, embargo: int) -> None:
    t0, t1 = times
    # purgedcv's intervals are half open, ours have both ends: one nanosecond more
    decided, known = pd.Series(pd.to_datetime(t0, unit="s")), pd.Series(pd.to_datetime(t1, unit="s") + pd.Timedelta(1, "ns"))
    oracle = PurgedKFold(folds, prediction_times=decided, evaluation_times=known, embargo=pd.Timedelta(embargo, "s") if embargo else None)
    for ours, (train, test) in zip(purged_k_fold(t0, t1, folds, embargo), oracle.split(np.zeros((len(t0), 1))), strict=True):
        np.testing.assert_array_equal(ours.test, test)
        np.testing.assert_array_equal(ours.train, train)


@given(times=intervals(), folds=st.integers(2, 5), embargo=st.integers(0, 40))
def test_walk_forward_equals_purgedcv(times: tuple[Times, Times], folds: int, embargo: int) -> None:
    t0, t1 = times
    t0, t1 = t0[: len(t0) // (folds + 1) * (folds + 1)], t1[: len(t0) // (folds + 1) * (folds + 1)]
    decided, known = pd.Series(pd.to_datetime(t0, unit="s")), pd.Series(pd.to_datetime(t1 + embargo, unit="s") + pd.Timedelta(1, "ns"))
    # an answer that has to be known for a while is one that is known later
    oracle = WalkForwardSplit(folds, test_size=len(t0) // (folds + 1), prediction_times=decided, evaluation_times=known)
    for ours, (train, test) in zip(walk_forward(t0, t1, folds, embargo), oracle.split(np.zeros((len(t0), 1))), strict=True):
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


@given(
    times=intervals(),
    train=st.sampled_from([0.3, 0.5, 0.7]),
    calibration=st.sampled_from([0.0, 0.15, 0.25]),
    embargo=st.integers(0, 20),
)
def test_a_holdout_knows_nothing_of_what_follows(times: tuple[Times, Times], train: float, calibration: float, embargo: int) -> None:
    t0, t1 = times
    validation = Validation(scheme=Scheme.HOLDOUT, train_share=train, calibration_share=calibration)
    try:
        parts = holdout(t0, t1, validation, embargo)
    except BadConfiguration:  # too few rows are left
        return
    # in time order, none twice, none lost but to purge and embargo
    rows = np.concatenate((parts.train, parts.calibration, parts.test))
    assert (np.diff(rows) > 0).all()
    assert len(rows) + parts.purged + parts.embargoed == len(t0)
    assert len(parts.train) == int(len(t0) * train + 1e-9)
    for before, after in ((parts.train, parts.calibration), (parts.train, parts.test), (parts.calibration, parts.test)):
        for row in before:
            assert (t0[after] > t1[row] + embargo).all()
    # no more than needed is left out: the row before each part would break the rule
    for before, after in ((parts.train, parts.calibration), (np.concatenate((parts.train, parts.calibration)), parts.test)):
        first = int(after[0]) - 1 if len(after) else -1
        cut = int(len(t0) * (train if after is parts.calibration else train + calibration) + 1e-9)
        if len(after) and first >= cut:
            assert t0[first] <= t1[before].max() + embargo


def test_a_holdout_says_what_fell_to_the_purge_and_what_to_the_embargo() -> None:
    """Row 49 trains and is known at 54: rows 50 … 54 meet it, 55 … 57 are decided in the embargo."""
    t0 = np.arange(100, dtype=np.int64)
    parts = holdout(t0, t0 + 5, Validation(scheme=Scheme.HOLDOUT, train_share=0.5), 3)
    assert (parts.purged, parts.embargoed, int(parts.test[0])) == (5, 3, 58)


@settings(max_examples=40)
@given(times=intervals(), train=st.sampled_from([0.4, 0.6]), embargo=st.integers(0, 20))
def test_a_holdout_s_training_rows_equal_a_purged_split_of_its_test(times: tuple[Times, Times], train: float, embargo: int) -> None:
    """Against ``purgedcv``: with the test block as it is, no training row would have to be dropped."""
    t0, t1 = times
    validation = Validation(scheme=Scheme.HOLDOUT, train_share=train)
    try:
        parts = holdout(t0, t1, validation, embargo)
    except BadConfiguration:
        return
    kept = np.concatenate((parts.train, parts.test))
    size = len(parts.test)
    decided, known = pd.Series(pd.to_datetime(t0[kept], unit="s")), pd.Series(pd.to_datetime(t1[kept], unit="s") + pd.Timedelta(1, "ns"))
    oracle = WalkForwardSplit(1, test_size=size, prediction_times=decided, evaluation_times=known)
    ((seen, test),) = oracle.split(np.zeros((len(kept), 1)))
    np.testing.assert_array_equal(kept[test], parts.test)
    np.testing.assert_array_equal(kept[seen], parts.train)


def test_the_longer_of_two_embargoes_applies() -> None:
    rows = rows_of(count=500)
    for share, expected in ((0.0, 24.0), (0.01, 24.0), (0.1, 49.9)):
        plan = plan_of(validation=Validation(embargo_rows=share))
        assert embargo_of(rows, plan) / 3_600_000 == pytest.approx(expected)


@settings(max_examples=30)
@given(times=intervals(), folds=st.integers(2, 3), embargo=st.integers(0, 20))
def test_inner_folds_are_purged_too_and_of_the_training_rows_alone(times: tuple[Times, Times], folds: int, embargo: int) -> None:
    """The training rows have a hole where the outer block tests: what lies on either side of it may still overlap."""
    t0, t1 = times
    rows = replace(rows_of(count=len(t0)), t0=t0, t1=t1)
    train = np.setdiff1d(np.arange(len(t0)), np.arange(len(t0) // 3, len(t0) // 3 + 2))
    inner = inner_splits(rows, replace(plan_of(validation=Validation(embargo_rows=0.0)), embargo_ms=embargo), train, folds)
    np.testing.assert_array_equal(np.concatenate([split.test for split in inner]), train)
    for split in inner:
        assert np.isin(split.train, train).all()
        assert not leaks(split, t0, t1, embargo)


def test_rows_of_the_same_time_on_both_sides_of_a_cut_do_not_train() -> None:
    """Several symbols: one bar of each at every time."""
    t0 = np.repeat(np.arange(60, dtype=np.int64), 3)
    for split in (*purged_k_fold(t0, t0 + 4, 7, 2), *walk_forward(t0, t0 + 4, 7, 2)):
        assert not leaks(split, t0, t0 + 4, 2)
        assert not np.isin(t0[split.train], t0[split.test]).any()


def test_a_holdout_that_leaves_too_little_says_what_to_lower() -> None:
    t0 = np.arange(200, dtype=np.int64)
    with pytest.raises(
        BadConfiguration, match=r"12 rows are left to test on after an embargo .* lower trainShare, calibrationShare, embargo"
    ):
        holdout(t0, t0 + 5, Validation(scheme=Scheme.HOLDOUT, train_share=0.9), 3)
