"""Stage 13, reference: what rows and scores look like without drift (contract C7; gate statistics, "frozen null").

Ten bins between nine quantiles of the window. The window is cut into contiguous stretches of W rows, and each one's PSI against the
rest is taken: these are PSIs without drift, autocorrelation included. q95 of them is stored for each column, and M, by how much the
worst stretch of any column exceeds its q95.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.bundle import FeatureReference, Null, Reference
from walkforward_core.drift import BINS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Column = npt.NDArray[np.float32]
    Vector = npt.NDArray[np.float64]
    Counts = npt.NDArray[np.int64]

__all__ = ["SCORE", "make_reference", "null_windows", "psi", "quantile_edges"]

SCORE: Final = "score"
WINDOWS: Final = (50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
SMOOTHING: Final = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class _Frozen:
    """One column: its bins, and its PSI without drift by window length."""

    edges: Column
    counts: Counts
    missing: int
    low: float
    high: float
    null: dict[int, Vector]

    def quantile(self, window: int) -> float:
        return float(np.quantile(self.null[window], 0.95))


def make_reference(x: Column, names: Sequence[str], score: Vector, stretch: int = 0) -> Reference:
    """Return the reference of features ``x`` (n, len(names)) and of the score (n,), rows in time order.

    None is left out between them, unless ``stretch`` says after how many rows each time: then no window reaches from one stretch into the
    next, which is of another time.
    """
    windows = tuple(window for window in null_windows(len(x)) if not stretch or window <= stretch)
    frozen = [_freeze(column, windows, stretch) for column in (*x.T, score.astype(np.float32))]
    worst = {str(window): _worst(frozen, window) for window in windows}
    columns = [_column(name, column, windows) for name, column in zip((*names, SCORE), frozen, strict=True)]
    return Reference(rows=len(x), null_m=worst, features=tuple(columns[:-1]), score=columns[-1])


def null_windows(rows: int) -> tuple[int, ...]:
    """Return the window lengths whose null is stored: up to a twentieth of the rows, and always the shortest."""
    return tuple(window for window in WINDOWS if window == WINDOWS[0] or window * 20 <= rows)


def quantile_edges(column: Column) -> Column:
    """Return nine ascending edges between the tenths of ``column`` (no NaN), each half way between two neighbouring values.

    An edge on a value would let the last digit of that value, which another processor may round otherwise, choose the bin.
    """
    ordered = np.sort(column)
    edges = np.empty(BINS - 1, np.float32)
    for index in range(BINS - 1):
        upper = ordered[min(len(ordered) * (index + 1) // BINS, len(ordered) - 1)]
        below = int(np.searchsorted(ordered, upper, side="left"))
        edges[index] = _between(ordered[below - 1], upper) if below else upper
    return edges


def psi(counts: npt.NDArray[np.int64], reference: npt.NDArray[np.int64]) -> Vector:
    """Return PSI along the last axis: :func:`walkforward_core.drift.psi` for many windows at once."""
    p = (counts + SMOOTHING) / (counts.sum(axis=-1, keepdims=True) + BINS * SMOOTHING)
    q = (reference + SMOOTHING) / (reference.sum(axis=-1, keepdims=True) + BINS * SMOOTHING)
    return np.asarray(((p - q) * np.log(p / q)).sum(axis=-1))


def _between(low: np.float32, high: np.float32) -> np.float32:
    """Return a float32 in (low, high]: the middle, or ``high`` where nothing lies between."""
    middle = np.float32((float(low) + float(high)) / 2.0)
    return middle if middle > low else high


def _freeze(column: Column, windows: tuple[int, ...], stretch: int) -> _Frozen:
    present = ~np.isnan(column)
    values = column[present]
    edges = quantile_edges(values)
    bins = np.searchsorted(edges, column, side="right")
    hit = np.zeros((len(column) + 1, BINS), np.int32)
    hit[1:][np.flatnonzero(present), bins[present]] = 1
    seen = np.cumsum(hit, axis=0, out=hit)
    null = {}
    for window in windows:
        start = np.arange(0, max(len(column) - window, 0) + 1, max(window // 4, 1))
        start = start if not stretch else start[start % stretch + window <= stretch]
        inside = seen[np.minimum(start + window, len(column))] - seen[start]
        null[window] = psi(inside, seen[-1] - inside)
    # a copy: what is kept of a column must not keep the counts of every row
    return _Frozen(edges, seen[-1].astype(np.int64), int((~present).sum()), float(values.min()), float(values.max()), null)


def _worst(frozen: Sequence[_Frozen], window: int) -> float:
    """Return M(W), over the columns whose null is not zero throughout."""
    ratios = [float(column.null[window].max()) / column.quantile(window) for column in frozen if column.quantile(window) > 0]
    return max(ratios, default=1.0)


def _column(name: str, frozen: _Frozen, windows: tuple[int, ...]) -> FeatureReference:
    return FeatureReference(
        name=name,
        edges=tuple(frozen.edges.astype(np.float64).tolist()),
        counts=tuple(frozen.counts.tolist()),
        missing=frozen.missing,
        min=frozen.low,
        max=frozen.high,
        null=Null(q95={str(window): frozen.quantile(window) for window in windows}),
    )
