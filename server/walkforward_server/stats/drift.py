"""Where rows fall in the frozen bins of a model's reference; rows wait in a ring and are binned in bulk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from walkforward_core.drift import BINS, edges_digest
from walkforward_core.stats import FeatureCounts

if TYPE_CHECKING:
    from walkforward_server.model import Model

__all__ = ["DriftCounters"]

RING = 256


class DriftCounters:
    """Counts of one model over distinct bars: its features in the manifest's order, its score and its classes.

    Binning 30 features costs more than scoring them, so the per-row path only copies the row (0.5 µs) and 256 rows are binned at once.
    """

    def __init__(self, model: Model) -> None:
        reference = model.reference
        self._edges = [np.array(feature.edges, np.float32) for feature in reference.features]
        self._score_edges = np.array(reference.score.edges, np.float32)
        low = np.array([feature.min for feature in reference.features], np.float64)
        high = np.array([feature.max for feature in reference.features], np.float64)
        self._low, self._high = low - (high - low), high + (high - low)
        self._digest = edges_digest(reference)
        self._decisive = model.decisive_rows
        self._x = np.empty((RING, model.width), np.float32)
        self._scores = np.empty((RING, model.classes), np.float32)
        self._n = 0
        self.counts = np.zeros((model.width, BINS), np.int64)
        self.missing = np.zeros(model.width, np.int64)
        self.beyond = np.zeros(model.width, np.int64)
        self.min = np.full(model.width, np.inf)
        self.max = np.full(model.width, -np.inf)
        self.score = np.zeros(BINS, np.int64)
        self.classes = np.zeros(model.classes, np.int64)

    def add(self, row: bytes, answer: list[float]) -> None:
        """Remember one row (float32, the model's own order) and its probabilities."""
        at = self._n
        self._x[at] = np.frombuffer(row, np.float32)
        self._scores[at] = answer
        self._n = at + 1
        if at + 1 == RING:
            self.flush()

    def flush(self) -> None:
        """Bin the rows that wait: bin = searchsorted(edges, x, side="right"); NaN is missing and in no bin."""
        n, self._n = self._n, 0
        if n == 0:
            return
        x, p = self._x[:n], self._scores[:n]
        absent = np.isnan(x)
        self.missing += absent.sum(axis=0)
        for feature, edges in enumerate(self._edges):
            values = x[~absent[:, feature], feature]
            self.counts[feature] += np.bincount(np.searchsorted(edges, values, side="right"), minlength=BINS)
        self.beyond += ((x < self._low) | (x > self._high)).sum(axis=0)
        self.min = np.fmin(self.min, np.fmin.reduce(x, axis=0, initial=np.inf))
        self.max = np.fmax(self.max, np.fmax.reduce(x, axis=0, initial=-np.inf))
        self.score += np.bincount(np.searchsorted(self._score_edges, self._decisive(p).astype(np.float32), side="right"), minlength=BINS)
        self.classes += np.bincount(p.argmax(axis=1), minlength=len(self.classes))

    def fold(self, other: DriftCounters) -> None:
        """Add the counts of the same model in another generation."""
        other.flush()
        self.flush()
        for name in ("counts", "missing", "beyond", "score", "classes"):
            getattr(self, name).__iadd__(getattr(other, name))
        self.min = np.fmin(self.min, other.min)
        self.max = np.fmax(self.max, other.max)

    def snapshot(self) -> FeatureCounts:
        """Return the counts of all rows so far; ``edges_digest`` names the bins."""
        self.flush()
        return FeatureCounts(
            edges_digest=self._digest,
            counts=tuple(map(tuple, self.counts.tolist())),
            missing=tuple(self.missing.tolist()),
            beyond=tuple(self.beyond.tolist()),
            min=_finite(self.min),
            max=_finite(self.max),
        )


def _finite(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float | None, ...]:
    """JSON knows no infinity: a feature that was never seen has no extremes."""
    return tuple(value if np.isfinite(value) else None for value in values.tolist())
