"""Stage 6, splits: purged by the labels' information intervals, then embargoed (López de Prado 2018, chapter 7).

A training row i is dropped when its interval [t0_i, t1_i] meets that of the test block [T0, T1], ends included, and when it is
decided in the embargo, T1 < t0_i ≤ T1 + h. Rows are in time order; all indices are of rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.api.recipe import Scheme

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    Times = npt.NDArray[np.int64]
    Index = npt.NDArray[np.intp]

__all__ = ["SPLITTERS", "Split", "purged_k_fold", "walk_forward"]


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
    return [_split(t0, t1, block, np.arange(len(t0)), embargo_ms) for block in _blocks(len(t0), folds)]


def walk_forward(t0: Times, t1: Times, folds: int, embargo_ms: int) -> list[Split]:
    """Return ``folds`` splits that train on all earlier rows; the first of ``folds + 1`` blocks only trains.

    The embargo plays no part: no later row trains.
    """
    return [_split(t0, t1, block, np.arange(int(block[0])), embargo_ms) for block in _blocks(len(t0), folds + 1)[1:]]


SPLITTERS: Final[Mapping[Scheme, Callable[[Times, Times, int, int], list[Split]]]] = {
    Scheme.PURGED_K_FOLD: purged_k_fold,
    Scheme.WALK_FORWARD: walk_forward,
}
"""Every validation scheme by its name in the spec."""


def _blocks(rows: int, count: int) -> list[Index]:
    """Return ``count`` contiguous blocks whose sizes differ by one at most, the larger ones first."""
    if rows < count:
        raise ValueError(f"{rows} rows cannot be split into {count} blocks; use fewer folds")
    return np.array_split(np.arange(rows, dtype=np.intp), count)


def _split(t0: Times, t1: Times, test: Index, others: Index, embargo_ms: int) -> Split:
    first, last = t0[test].min(), t1[test].max()
    rest = np.setdiff1d(others, test, assume_unique=True)
    meets = (t0[rest] <= last) & (t1[rest] >= first)
    embargoed = (t0[rest] > last) & (t0[rest] <= last + embargo_ms)
    return Split(train=rest[~(meets | embargoed)], test=test, purged=int(meets.sum()), embargoed=int(embargoed.sum()))
