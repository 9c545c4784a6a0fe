"""Matured outcomes of one pair of models in batches of market time (contract C4), and predictions that wait for a price."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from walkforward_core.evidence.outcomes import MAX_ROWS
from walkforward_core.stats import Outcomes

__all__ = ["PREDICTIONS", "OutcomeTable", "Prediction", "PriceLedger", "Seen", "pnl"]

PREDICTIONS = 65_536


def pnl(position: float, gross: float, round_trip: float) -> float:
    """Return what a position earned: ``position × return − |position| × cost``, all as fractions."""
    return position * gross - abs(position) * round_trip


class OutcomeTable:
    """Sums per batch of one horizon of market time; at 128 batches two neighbours become one (gate statistics §2.2).

    ``base_ms`` is the label horizon, times are epoch milliseconds of the market.
    """

    def __init__(self, plan: str, stable: str, candidate: str, base_ms: int) -> None:
        self.plan, self.stable, self.candidate, self.base_ms = plan, stable, candidate, base_ms
        self.level = self.newest = 0
        self.matured = self.duplicate = self.expired = self.rejected = self.evicted = 0
        self.rows: dict[int, list[float]] = {}

    def add(self, bar: int, stable: float, candidate: float) -> None:
        """Add one matured outcome; ``bar`` is the bar of the prediction, the others what each arm earned on it, net of costs."""
        key = bar // (self.base_ms << self.level)
        _add(self.rows, key, (1.0, stable, candidate, stable * stable, candidate * candidate, stable * candidate))
        self.matured += 1
        self.newest = max(self.newest, bar)
        while len(self.rows) >= MAX_ROWS:
            self._coarsen()

    def _coarsen(self) -> None:
        self.level += 1
        coarse: dict[int, list[float]] = {}
        for key, sums in self.rows.items():
            _add(coarse, key // 2, sums)
        self.rows = coarse

    def snapshot(self) -> Outcomes:
        """Return the table as it stands."""
        return Outcomes(
            plan=self.plan,
            stable=self.stable,
            candidate=self.candidate,
            base_ms=self.base_ms,
            level=self.level,
            rows={str(key): (sums[0], sums[1], sums[2], sums[3], sums[4], sums[5]) for key, sums in sorted(self.rows.items())},
            newest=self.newest,
            matured=self.matured,
            duplicate=self.duplicate,
            expired=self.expired,
            rejected=self.rejected,
            evicted=self.evicted,
        )


def _add(rows: dict[int, list[float]], key: int, sums: tuple[float, ...] | list[float]) -> None:
    row = rows.get(key)
    if row is None:
        rows[key] = list(sums)
    else:
        for index, value in enumerate(sums):
            row[index] += value


class Seen:
    """The last 65,536 decisions whose outcome was taken, so that each counts once on this pod."""

    __slots__ = ("_ids",)

    def __init__(self) -> None:
        self._ids: dict[tuple[str, str, int], None] = {}

    def first(self, key: tuple[str, str, int]) -> bool:
        """Return whether this decision (id, symbol, ts) was not seen before, and remember it."""
        if key in self._ids:
            return False
        self._ids[key] = None
        if len(self._ids) > PREDICTIONS:
            del self._ids[next(iter(self._ids))]
        return True


@dataclass(frozen=True, slots=True)
class Prediction:
    """What both arms decided at one bar, waiting for the price one horizon later; times in epoch milliseconds."""

    table: OutcomeTable
    bar: int
    due: int
    until: int
    price: float
    stable: float
    candidate: float
    round_trip: float


class PriceLedger:
    """Predictions that mature by the first price of their symbol within one bar after the horizon; at most 65,536 wait."""

    __slots__ = ("_due", "_next", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[int, Prediction] = {}
        self._due: dict[str, list[tuple[int, int]]] = {}
        self._next = 0

    def add(self, symbol: str, prediction: Prediction) -> None:
        """Let a prediction wait; the oldest one goes where there are too many, and is counted as evicted."""
        number, self._next = self._next, self._next + 1
        self._waiting[number] = prediction
        heapq.heappush(self._due.setdefault(symbol, []), (prediction.due, number))
        if len(self._waiting) > PREDICTIONS:
            evicted = self._waiting.pop(next(iter(self._waiting)))
            evicted.table.evicted += 1
        if number % PREDICTIONS == PREDICTIONS - 1:
            self._compact()

    def _compact(self) -> None:
        """Drop what was evicted from the queues of symbols that get no prices any more."""
        for symbol, due in list(self._due.items()):
            alive = [entry for entry in due if entry[1] in self._waiting]
            if alive:
                heapq.heapify(alive)
                self._due[symbol] = alive
            else:
                del self._due[symbol]

    def price(self, symbol: str, ts: int, price: float) -> None:
        """Settle what was due for ``symbol`` at ``ts``: matured within its window, expired past it."""
        due = self._due.get(symbol)
        while due and due[0][0] <= ts:
            prediction = self._waiting.pop(heapq.heappop(due)[1], None)
            if prediction is None:
                continue
            if ts > prediction.until:
                prediction.table.expired += 1
                continue
            gross = price / prediction.price - 1.0
            prediction.table.add(
                prediction.bar,
                pnl(prediction.stable, gross, prediction.round_trip),
                pnl(prediction.candidate, gross, prediction.round_trip),
            )
        if due is not None and not due:
            del self._due[symbol]
