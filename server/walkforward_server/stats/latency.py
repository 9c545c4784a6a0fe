"""Latency of exposed requests: a geometric histogram with the limit as an exact edge, and exceedances per slice."""

from __future__ import annotations

from bisect import bisect_left, insort

from walkforward_core.stats import Latency

__all__ = ["GEOMETRIC_US", "SCRAPE_MS", "LatencyCounters", "without_limit"]

FIRST_US, LAST_US, FACTOR = 25.0, 10e6, 1.25


def _geometric() -> tuple[float, ...]:
    edges = [FIRST_US]
    while edges[-1] * FACTOR < LAST_US:
        edges.append(round(edges[-1] * FACTOR, 3))
    return (*edges, LAST_US)


GEOMETRIC_US = _geometric()
"""Bucket edges in microseconds: 25 µs to 10 s by the factor 1.25, which puts a quantile within 1.4 % of the true one."""

SCRAPE_MS = (0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.0, 50.0, 80.0, 100.0, 250.0, 1000.0, 10000.0)
"""Coarse edges in milliseconds, for the Prometheus histogram."""


class LatencyCounters:
    """Latencies of one model in one generation; slices are of the process's monotonic clock and counted once they are over.

    ``limit_us`` in microseconds and ``slice_s`` in seconds; zero limit: no gate asked for one, nothing is sliced.
    """

    def __init__(self, limit_us: float, slice_s: float) -> None:
        edges = list(GEOMETRIC_US)
        if limit_us > 0 and limit_us not in edges:
            insort(edges, limit_us)
        self.edges = edges
        self.counts = [0] * (len(edges) + 1)
        self.limit_us, self.slice_s = limit_us, slice_s
        self.n = self.k = self.slices = 0
        self.k2n = 0.0
        self._slice = -1
        self._in_slice = self._over = 0

    def record(self, us: float, now: float) -> None:
        """Count one request that took ``us`` microseconds and ended at ``now``, in monotonic seconds."""
        self.counts[bisect_left(self.edges, us)] += 1
        if self.limit_us <= 0:
            return
        current = int(now / self.slice_s)
        if current != self._slice:
            self.close(now)
            self._slice = current
        self._in_slice += 1
        if us > self.limit_us:
            self._over += 1

    def close(self, now: float) -> None:
        """Add the running slice to the sums if it is over at ``now``."""
        if self._in_slice and int(now / self.slice_s) > self._slice:
            self.n += self._in_slice
            self.k += self._over
            self.k2n += self._over**2 / self._in_slice
            self.slices += 1
            self._in_slice = self._over = 0

    def snapshot(self, now: float) -> Latency:
        """Return the counts so far; only slices that are over take part in ``n``, ``k``, ``k2n`` and ``slices``."""
        self.close(now)
        return Latency(
            le=tuple(self.edges),
            counts=tuple(self.counts),
            limit_ms=self.limit_us / 1000,
            n=self.n,
            k=self.k,
            k2n=self.k2n,
            slices=self.slices,
        )


def without_limit(counters: LatencyCounters) -> list[int]:
    """Return the counts over :data:`GEOMETRIC_US` alone; exact, since the limit only split one of its buckets."""
    counts = [0] * (len(GEOMETRIC_US) + 1)
    for edge, count in zip((*counters.edges, float("inf")), counters.counts, strict=True):
        counts[bisect_left(GEOMETRIC_US, edge)] += count
    return counts
