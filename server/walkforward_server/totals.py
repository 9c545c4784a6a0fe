"""Counters for the scrape that belong to no routing generation."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

from walkforward_server.stats.latency import SCRAPE_MS

__all__ = ["Histogram", "Totals"]


class Histogram:
    """Latency in milliseconds over the coarse edges of the scrape."""

    __slots__ = ("counts", "sum_ms")

    def __init__(self) -> None:
        self.counts = [0] * (len(SCRAPE_MS) + 1)
        self.sum_ms = 0.0

    def record(self, ms: float) -> None:
        """Count one request."""
        self.counts[bisect_left(SCRAPE_MS, ms)] += 1
        self.sum_ms += ms


@dataclass(slots=True)
class Totals:
    """Since the process started; ``answers`` by the place of the model that answered, ``refused`` by HTTP status."""

    answers: Counter[str] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    explicit: int = 0
    repeated: int = 0
    latency: dict[str, Histogram] = field(default_factory=dict)

    def record(self, arm: str, seconds: float) -> None:
        """Count one answered request of an arm."""
        self.answers[arm] += 1
        histogram = self.latency.get(arm)
        if histogram is None:
            histogram = self.latency[arm] = Histogram()
        histogram.record(seconds * 1000)
