"""Stage 6, splits: purged by the labels' information intervals, then embargoed (López de Prado 2018, chapter 7).

A training row i is dropped when its interval [t0_i, t1_i] meets that of the test block [T0, T1], ends included, and when it is
decided in the embargo, T1 < t0_i ≤ T1 + h. Rows are in time order; all indices are of rows. With several symbols rows of the same time may
lie on both sides of a cut: the purge drops those that train.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.api.recipe import Scheme
from walkforward_trainer.errors import BadConfiguration, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.plan import Plan
    from walkforward_trainer.resolved import Validation

    Times = npt.NDArray[np.int64]
    Index = npt.NDArray[np.intp]

__all__ = ["Holdout", "Split", "embargo_of", "evaluation_splits", "holdout", "inner_splits", "purged_k_fold", "walk_forward"]

LEAST_ROWS: Final = 20
"""Fewer rows to calibrate or to test on are refused."""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """One fold: rows that train and the contiguous block that tests; ``purged`` and ``embargoed`` count the rows that do neither."""

    train: Index
    test: Index
    purged: int
    embargoed: int


def purged_k_fold(t0: Times, t1: Times, folds: int, embargo_ms: int) -> list[Split]:
    """Return ``folds`` splits whose test blocks partition the rows; training rows lie on both sides.

    Raises
    ------
    ValueError
        Fewer rows than folds.
    """
    return [_split(t0, t1, block, embargo_ms) for block in _blocks(len(t0), folds)]


def walk_forward(t0: Times, t1: Times, folds: int, embargo_ms: int) -> list[Split]:
    """Return ``folds`` splits that train on earlier rows; the first of ``folds + 1`` blocks only trains.

    No later row trains, so the embargo lies before the test block: a row trains if its answer was known for that long when it begins.
    """
    return [_earlier(t0, t1, block, embargo_ms) for block in _blocks(len(t0), folds + 1)[1:]]


@dataclass(frozen=True, slots=True, eq=False)
class Holdout:
    """Rows in time order: ``train``, then ``calibration`` (empty where its share is 0), then ``test``, apart by purge and embargo."""

    train: Index
    calibration: Index
    test: Index
    purged: int
    embargoed: int


def holdout(t0: Times, t1: Times, validation: Validation, embargo_ms: int) -> Holdout:
    """Return the parts of ``validation``: ``train_share`` of the rows train, the next ``calibration_share`` calibrate, the rest tests.

    The gap is taken from the later part: it begins with the first row that is decided after every answer of the part before is known
    (purge) and after the embargo that follows these answers.

    Raises
    ------
    BadConfiguration
        Too few rows are left to calibrate or to test on.
    """
    first = int(len(t0) * validation.train_share + 1e-9)
    second = int(len(t0) * (validation.train_share + validation.calibration_share) + 1e-9)
    rows = np.arange(len(t0), dtype=np.intp)
    train = rows[:first]
    calibration, purged, embargoed = _after(t0, t1, train, rows[first:second], embargo_ms)
    seen = rows[:second]
    test, more, later = _after(t0, t1, seen, rows[second:], embargo_ms)
    for name, part, wanted in (("calibrate", calibration, second > first), ("test", test, True)):
        if wanted and len(part) < LEAST_ROWS:
            raise BadConfiguration(
                Reason.SPEC_INVALID,
                f"validation: {len(part)} rows are left to {name} on after an embargo of {embargo_ms / 3_600_000:g} h, {LEAST_ROWS} "
                "are needed at least; lower trainShare, calibrationShare, embargo or embargoRows, or use a longer window",
            )
    return Holdout(train, calibration, test, purged + more, embargoed + later)


def embargo_of(rows: Dataset, plan: Plan) -> int:
    """Return the embargo that applies, in milliseconds: the longer of the duration and the share of the rows, taken as of their time."""
    share = plan.validation.embargo_rows
    return max(plan.embargo_ms, round(share * int(rows.t0[-1] - rows.t0[0]))) if len(rows) else plan.embargo_ms


def evaluation_splits(rows: Dataset, plan: Plan) -> list[Split]:
    """Return the splits that evidence is taken from, in time order.

    Raises
    ------
    BadConfiguration
        There are too few rows for them.
    """
    embargo = embargo_of(rows, plan)
    if plan.validation.scheme is Scheme.HOLDOUT:
        parts = holdout(rows.t0, rows.t1, plan.validation, embargo)
        return [Split(parts.train, parts.test, parts.purged, parts.embargoed)]
    splitter = walk_forward if plan.validation.scheme is Scheme.WALK_FORWARD else purged_k_fold
    return _enough(lambda: splitter(rows.t0, rows.t1, plan.folds, embargo))


def inner_splits(rows: Dataset, plan: Plan, train: Index, folds: int) -> list[Split]:
    """Return ``folds`` purged folds of the rows ``train``: what meta model and calibrator learn from, out of fold."""
    embargo = embargo_of(rows, plan)
    within = _enough(lambda: purged_k_fold(rows.t0[train], rows.t1[train], folds, embargo))
    return [Split(train[split.train], train[split.test], split.purged, split.embargoed) for split in within]


def _enough(split: Callable[[], list[Split]]) -> list[Split]:
    try:
        return split()
    except ValueError as error:
        raise BadConfiguration(Reason.SPEC_INVALID, f"validation.folds: {error}, or a longer window") from error


def _after(t0: Times, t1: Times, before: Index, rows: Index, embargo_ms: int) -> tuple[Index, int, int]:
    """Return the ``rows`` that are decided after ``before`` and the embargo, and how many fell to the purge and to the embargo."""
    if not len(rows) or not len(before):
        return rows, 0, 0
    known = t1[before].max()
    meets = t0[rows] <= known
    late = ~meets & (t0[rows] <= known + embargo_ms)
    return rows[~(meets | late)], int(meets.sum()), int(late.sum())


def _blocks(rows: int, count: int) -> list[Index]:
    """Return ``count`` contiguous blocks whose sizes differ by one at most, the larger ones first."""
    if rows < count:
        raise ValueError(f"{rows} rows cannot be split into {count} blocks; use fewer folds")
    return np.array_split(np.arange(rows, dtype=np.intp), count)


def _earlier(t0: Times, t1: Times, test: Index, embargo_ms: int) -> Split:
    first, before = t0[test].min(), np.arange(int(test[0]), dtype=np.intp)
    meets = t1[before] >= first
    embargoed = ~meets & (t1[before] >= first - embargo_ms)
    return Split(train=before[~(meets | embargoed)], test=test, purged=int(meets.sum()), embargoed=int(embargoed.sum()))


def _split(t0: Times, t1: Times, test: Index, embargo_ms: int) -> Split:
    first, last = t0[test].min(), t1[test].max()
    rest = np.setdiff1d(np.arange(len(t0)), test, assume_unique=True)
    meets = (t0[rest] <= last) & (t1[rest] >= first)
    embargoed = (t0[rest] > last) & (t0[rest] <= last + embargo_ms)
    return Split(train=rest[~(meets | embargoed)], test=test, purged=int(meets.sum()), embargoed=int(embargoed.sum()))
