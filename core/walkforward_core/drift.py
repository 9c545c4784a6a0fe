"""Population stability index (PSI) against frozen training bins, and what it is without drift (contract C7).

Pure Python: the operator's image has no numpy. The trainer freezes bins and null quantiles, the server counts, the operator judges.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from walkforward_core.documents import digest, encode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from walkforward_core.bundle import Reference

__all__ = ["BINS", "NULL_SLACK", "NullCurve", "bin_index", "edges_digest", "psi", "window"]

BINS = 10
_SMOOTHING = 0.5


def bin_index(edges: Sequence[float], x: float) -> int | None:
    """Return the bin, 0 … len(edges), of ``x`` rounded to float32; None for NaN, which is counted as missing.

    As ``numpy.searchsorted(edges, float32(x), side="right")`` with ``edges`` ascending float32 values.

    >>> bin_index([0.0, 1.0], 1.0), bin_index([0.0, 1.0], -3.0), bin_index([0.0, 1.0], float("nan"))
    (2, 0, None)
    """
    if math.isnan(x):
        return None
    try:
        (single,) = struct.unpack("f", struct.pack("f", x))
    except OverflowError:  # beyond float32, where numpy gives infinity: an outer bin either way
        single = math.copysign(math.inf, x)
    return bisect_right(edges, single)


def psi(counts: Sequence[int], reference: Sequence[int]) -> float:
    """Return Σ (p - q)·ln(p / q) over 10 bins, p and q = (c + 0.5) / (Σc + 5), natural logarithm (contract C7).

    Zero for equal shares; about 5.3 at most when one bin holds everything, so it cannot tell large drifts apart.

    Raises
    ------
    ValueError
        Either side has another number of bins, or a negative count.

    >>> psi([10] * 10, [10] * 10)
    0.0
    """
    if len(counts) != BINS or len(reference) != BINS:
        raise ValueError(f"PSI needs {BINS} bins, got {len(counts)} live and {len(reference)} in the reference")
    if min(counts) < 0 or min(reference) < 0:
        raise ValueError(f"PSI of negative counts: {min(counts)} live, {min(reference)} in the reference")
    live = sum(counts) + BINS * _SMOOTHING
    frozen = sum(reference) + BINS * _SMOOTHING
    total = 0.0
    for count, base in zip(counts, reference, strict=True):
        p, q = (count + _SMOOTHING) / live, (base + _SMOOTHING) / frozen
        total += (p - q) * math.log(p / q)
    return total


def window(distinct: int, first_ts: int, newest_ts: int, bar_ms: int, symbols: int) -> int:
    """Return W, the distinct (symbol, bar) rows behind summed drift counts: min(distinct, bars elapsed · symbols).

    Several pods may each have counted the same bar, so their sum alone says too much. Times are epoch milliseconds of the
    market; without dated rows (``newest_ts`` 0) the sum stands.
    """
    if newest_ts <= 0 or bar_ms <= 0:
        return distinct
    elapsed = newest_ts // bar_ms - first_ts // bar_ms + 1
    return max(0, min(distinct, elapsed * max(symbols, 1)))


NULL_SLACK: Final = 1.25
"""Times M(W) · q95(W): what no feature of a healthy window exceeds."""


@dataclass(frozen=True, slots=True)
class NullCurve:
    """A quantity without drift by window length: ``lengths`` ascending, ``values`` beside them, ``rows`` of the reference."""

    lengths: tuple[int, ...]
    values: tuple[float, ...]
    rows: int

    @classmethod
    def of(cls, stored: Mapping[str, float], rows: int) -> NullCurve:
        """Return the curve stored in a reference as ``{"50": 0.9, …}``.

        Raises
        ------
        ValueError
            A length is no positive integer, or a value is not finite.
        """
        pairs = sorted((int(length), float(value)) for length, value in stored.items())
        for length, value in pairs:
            if length <= 0 or not math.isfinite(value):
                raise ValueError(f"null quantile {value} at window {length}: lengths are positive, values finite; train the bundle again")
        return cls(tuple(length for length, _ in pairs), tuple(value for _, value in pairs), rows)

    def quantile(self, w: int) -> float | None:
        """Return the null quantile q95(W) of PSI, or None when nothing is stored.

        Between two stored lengths: the larger of both, which never alarms more often than either. Beyond the largest, W0:
        times √((1/W + 1/R) / (1/W0 + 1/R)), as autocorrelated windows shrink slower than 1/W (`docs/reference/gates.md`). Below the
        smallest: times that ratio without the root, the fastest growth there is.
        """
        if not self.lengths or w <= 0:
            return None
        base = self._stored(w)
        if w > self.lengths[-1]:
            return base * math.sqrt(self._ratio(w, self.lengths[-1]))
        if w < self.lengths[0]:
            return base * self._ratio(w, self.lengths[0])
        return base

    def factor(self, w: int) -> float | None:
        """Return the null multiple M(W), or None when nothing is stored; outside the stored lengths the nearest holds."""
        return self._stored(w) if self.lengths and w > 0 else None

    def _stored(self, w: int) -> float:
        above = bisect_right(self.lengths, w)
        if above == 0:
            return self.values[0]
        if above == len(self.lengths) or self.lengths[above - 1] == w:
            return self.values[above - 1]
        return max(self.values[above - 1], self.values[above])

    def _ratio(self, w: int, stored: int) -> float:
        rest = 1.0 / self.rows if self.rows > 0 else 0.0
        return (1.0 / w + rest) / (1.0 / stored + rest)


def edges_digest(reference: Reference) -> str:
    """Return the digest of names and edges that counts were taken over; counts of another digest are never added to them."""
    frozen = [[feature.name, list(feature.edges)] for feature in (*reference.features, reference.score)]
    return digest(encode(frozen))
