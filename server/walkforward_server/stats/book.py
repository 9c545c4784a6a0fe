"""All rows and pairs of one process: 64 generations apart, older ones folded into generation 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from walkforward_server.stats.rows import PairCounters, RowCounters

if TYPE_CHECKING:
    from walkforward_core.pods import ModelRole
    from walkforward_core.routing import Measure
    from walkforward_core.stats import Pair, Row
    from walkforward_server.model import Model

__all__ = ["FOLDED", "KEPT_GENERATIONS", "Book", "SeenBars"]

KEPT_GENERATIONS = 64
FOLDED = 0
"""The generation that folded rows carry; that number is the flag."""
MAX_SYMBOLS = 1024
OTHER_SYMBOLS = "…"


class SeenBars:
    """The newest bar that was counted for each symbol of one pair of models, across generations.

    Symbols come from requests: after 1,024 of them the rest share one name, which counts too few bars and never too many.
    """

    __slots__ = ("_newest",)

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}

    def name(self, symbol: str) -> str:
        """Return the name that ``symbol`` is counted under."""
        return symbol if symbol in self._newest or len(self._newest) < MAX_SYMBOLS else OTHER_SYMBOLS

    def is_new(self, symbol: str, bar: int) -> bool:
        """Return whether ``bar`` is newer than the last one that was counted for ``symbol``."""
        return bar > self._newest.get(symbol, -1)

    def count(self, symbol: str, bar: int) -> None:
        """Note that ``bar`` was counted."""
        self._newest[symbol] = bar


class Book:
    """Rows by (generation, version, role), pairs by (generation, stable, candidate)."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, str, ModelRole], RowCounters] = {}
        self._pairs: dict[tuple[int, str, str], PairCounters] = {}
        self._generations: dict[int, None] = {}
        self._newest_folded = -1
        self._bars: tuple[tuple[str, str], SeenBars] = (("", ""), SeenBars())

    def open(self, generation: int) -> None:
        """Start a generation; the oldest is folded where there are more than 64."""
        self._generations.pop(generation, None)
        self._generations[generation] = None
        while len(self._generations) > KEPT_GENERATIONS:
            oldest = next(iter(self._generations))
            del self._generations[oldest]
            self._fold(oldest)

    def row(self, generation: int, version: str, role: ModelRole, model: Model | None, measure: Measure | None) -> RowCounters:
        """Return the row, new or as it stands; a model that came into memory meanwhile starts its drift counts."""
        key = (generation, version, role)
        row = self._rows.get(key)
        if row is None or (row.drift is None and model is not None):
            fresh = RowCounters(generation, version, role, model, measure)
            if row is not None:
                fresh.fold(row)
                fresh.latency = row.latency
            row = self._rows[key] = fresh
        return row

    def pair(self, generation: int, stable: str, candidate: str) -> PairCounters:
        """Return the pair, new or as it stands."""
        return self._pairs.setdefault((generation, stable, candidate), PairCounters(generation, stable, candidate))

    def bars(self, stable: str, candidate: str) -> SeenBars:
        """Return the bars that this pair was counted on; another pair starts afresh."""
        if self._bars[0] != (stable, candidate):
            self._bars = ((stable, candidate), SeenBars())
        return self._bars[1]

    def rows(self, since: int, now: float) -> tuple[Row, ...]:
        """Return the rows of the generations from ``since`` on; the folded ones while any of them is among those."""
        return tuple(row.snapshot(now) for key, row in self._rows.items() if self._wanted(key[0], since))

    def pairs(self, since: int) -> tuple[Pair, ...]:
        """Return the pairs of the generations from ``since`` on."""
        return tuple(pair.snapshot() for key, pair in self._pairs.items() if self._wanted(key[0], since))

    def counters(self) -> tuple[RowCounters, ...]:
        """Return the live rows, for the scrape."""
        return tuple(self._rows.values())

    def pair_counters(self) -> tuple[PairCounters, ...]:
        """Return the live pairs, for the scrape."""
        return tuple(self._pairs.values())

    def _wanted(self, generation: int, since: int) -> bool:
        return since <= (self._newest_folded if generation == FOLDED else generation)

    def _fold(self, generation: int) -> None:
        if generation == FOLDED:
            return
        self._newest_folded = max(self._newest_folded, generation)
        for key in [key for key in self._rows if key[0] == generation]:
            old = self._rows.pop(key)
            target = self._rows.setdefault((FOLDED, old.version, old.role), RowCounters(FOLDED, old.version, old.role, None, None))
            target.fold(old)
        for pair_key in [key for key in self._pairs if key[0] == generation]:
            pair = self._pairs.pop(pair_key)
            self._pairs.setdefault((FOLDED, pair.stable, pair.candidate), PairCounters(FOLDED, pair.stable, pair.candidate)).fold(pair)
