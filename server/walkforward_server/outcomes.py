"""Outcomes at ``POST /v1/outcomes``, and the tables that they fill (contract C5)."""

from __future__ import annotations

import math
from collections import Counter, deque
from typing import TYPE_CHECKING

import msgspec

from walkforward_core.errors import DocumentError
from walkforward_core.receipts import Receipt, unseal
from walkforward_core.routing import OutcomeSource
from walkforward_server.stats.outcomes import OutcomeTable, PriceLedger, Seen, pnl
from walkforward_server.v2 import BadRequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from walkforward_core.routing import Measure
    from walkforward_core.stats import Outcomes
    from walkforward_server.budget import ShadowBudget
    from walkforward_server.table import PairOf, Table

__all__ = ["Accepted", "OutcomeDesk"]

MAX_OUTCOMES = 10_000
MAX_WAITING = 65_536
KEPT_TABLES = 8
MAX_RETURN = 10.0
"""A gross return beyond ± 1,000 % over one horizon is a unit mistake."""
CHUNK = 64
TARGET_S = 0.002


class Outcome(msgspec.Struct, frozen=True, gc=False, rename={"gross": "return"}):
    """One outcome; ``gross`` is the simple return of the instrument from the decision's price to ts + horizon."""

    receipt: str
    gross: float


class _Report(msgspec.Struct, frozen=True, gc=False):
    outcomes: list[Outcome]


class Refused(msgspec.Struct, frozen=True):
    """One outcome that was not taken, and why."""

    index: int
    reason: str
    message: str = ""


class Accepted(msgspec.Struct, frozen=True):
    """The answer to a report of outcomes."""

    accepted: int
    duplicate: int
    rejected: list[Refused]


_decoder = msgspec.json.Decoder(_Report)


class OutcomeDesk:
    """Takes outcomes, waits with them until both models were scored on their row, and keeps the tables.

    ``current`` gives the table in force; ``token`` is the secret that receipts are signed with, None for a checksum only.
    """

    def __init__(self, current: Callable[[], Table], token: bytes | None = None, totals: Counter[str] | None = None) -> None:
        self._current, self._token = current, token
        self._totals: Counter[str] = Counter() if totals is None else totals
        self._tables: dict[tuple[str, str, str, int], OutcomeTable] = {}
        self._queue: deque[tuple[Receipt, float]] = deque()
        self._seen = Seen()
        self._chunk = 1
        self.ledger = PriceLedger()

    @property
    def waiting(self) -> int:
        """Accepted outcomes whose rows were not scored yet."""
        return len(self._queue)

    def table(self, measure: Measure, pair: PairOf) -> OutcomeTable:
        """Return the outcomes of a pair under the plan of ``measure``."""
        key = (measure.plan, pair.stable.model.version, pair.candidate.model.version, measure.base_ms)
        found = self._tables.get(key)
        if found is None:
            while len(self._tables) >= KEPT_TABLES:
                del self._tables[next(iter(self._tables))]
            found = self._tables[key] = OutcomeTable(*key)
        return found

    def first(self, table: Table, identity: str | None, symbol: str, ts: int) -> bool:
        """Return whether this decision counts for the first time; without an id each one is its own."""
        if identity is None or self._seen.first((identity, symbol, ts)):
            return True
        if table.measure is not None and table.pair is not None:
            self.table(table.measure, table.pair).duplicate += 1
        return False

    def snapshot(self) -> tuple[Outcomes, ...]:
        """Return all tables as they stand."""
        return tuple(table.snapshot() for table in self._tables.values())

    def post(self, body: bytes) -> Accepted:
        """Take a report.

        Raises
        ------
        BadRequestError
            It is not one; nothing of it was taken.
        """
        try:
            report = _decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadRequestError(f'report is not valid: {error}; expected {{"outcomes":[{{"receipt":"…","return":0.0012}}]}}') from error
        if len(report.outcomes) > MAX_OUTCOMES:
            raise BadRequestError(f"{len(report.outcomes)} outcomes in one report, at most {MAX_OUTCOMES}; send several")
        current = self._current()
        accepted = duplicate = 0
        rejected: list[Refused] = []
        for index, outcome in enumerate(report.outcomes):
            reason, message = self._take(current, outcome)
            accepted += reason == ""
            duplicate += reason == "Duplicate"
            if reason not in ("", "Duplicate"):
                rejected.append(Refused(index, reason, message))
        self._count(current, accepted, duplicate, len(rejected))
        return Accepted(accepted=accepted, duplicate=duplicate, rejected=rejected)

    def _count(self, current: Table, accepted: int, duplicate: int, rejected: int) -> None:
        self._totals["accepted"] += accepted
        self._totals["duplicate"] += duplicate
        self._totals["rejected"] += rejected
        if current.measure is not None and current.pair is not None:
            table = self.table(current.measure, current.pair)
            table.duplicate += duplicate
            table.rejected += rejected

    def _take(self, current: Table, outcome: Outcome) -> tuple[str, str]:
        """Return why an outcome is not taken ("" when it is), and a sentence for a person."""
        measure, pair = current.measure, current.pair
        if measure is None or pair is None:
            return "NotMeasured", "no pair of models is measured now"
        if measure.outcomes is not OutcomeSource.RECEIPT:
            return "WrongSource", f"outcomes count by {measure.outcomes} here (spec.outcomes.source)"
        if not math.isfinite(outcome.gross) or not -1.0 <= outcome.gross <= MAX_RETURN:
            return "ReturnOutOfRange", f"return is {outcome.gross}, expected a fraction in [-1, {MAX_RETURN:g}]"
        try:
            receipt = unseal(outcome.receipt, self._token)
        except DocumentError as error:
            return "BadReceipt", str(error)
        if receipt.plan != measure.plan:
            return "OtherPlan", f"receipt is of plan {receipt.plan}, measured is {measure.plan}"
        if (receipt.stable, receipt.candidate) != (pair.stable.model.version, pair.candidate.model.version):
            return "OtherPair", f"receipt is of {receipt.stable} and {receipt.candidate}, which are not measured now"
        if len(receipt.row) != _row_size(pair):
            return "BadReceipt", f"receipt has a row of {len(receipt.row)} bytes"
        if len(self._queue) >= MAX_WAITING:
            return "Busy", "too many outcomes wait to be scored; send it again later"
        if not self._seen.first((receipt.id, receipt.symbol, receipt.ts)):
            return "Duplicate", ""
        self._queue.append((receipt, outcome.gross))
        return "", ""

    def mature(self, budget: ShadowBudget, clock: Callable[[], float]) -> bool:
        """Score some accepted outcomes by both models and count them; false where the budget has no time for it now."""
        begin = clock()
        if not budget.grants(begin):
            return False
        chunk = [self._queue.popleft() for _ in range(min(self._chunk, len(self._queue)))]
        self._mature_chunk(self._current(), chunk)
        seconds = clock() - begin
        budget.spend("", seconds)
        # a slow model is asked for fewer rows at once, so that no client waits long for the loop
        self._chunk = max(1, min(CHUNK, int(self._chunk * 2 if seconds < TARGET_S else self._chunk * TARGET_S / seconds)))
        return True

    def _mature_chunk(self, current: Table, chunk: list[tuple[Receipt, float]]) -> None:
        measure, pair = current.measure, current.pair
        if measure is None or pair is None:
            return
        table = self.table(measure, pair)
        mine = [
            (receipt, gross)
            for receipt, gross in chunk
            if (receipt.plan, receipt.stable, receipt.candidate) == (table.plan, table.stable, table.candidate)
        ]
        positions = _positions(pair, [receipt for receipt, _ in mine])
        for (receipt, gross), both in zip(mine, positions, strict=True):
            if both is None:
                table.rejected += 1
                continue
            bar = receipt.ts // receipt.bar_ms * receipt.bar_ms
            table.add(bar, pnl(both[0], gross, receipt.round_trip), pnl(both[1], gross, receipt.round_trip))


def _row_size(pair: PairOf) -> int:
    stable, candidate = pair.stable.model, pair.candidate.model
    return stable.row_bytes if stable.features == candidate.features else stable.row_bytes + candidate.row_bytes


def _positions(pair: PairOf, receipts: list[Receipt]) -> list[tuple[float, float] | None]:
    """Return what both models decided on each receipt's row; None where one of them fails on it."""
    positions: list[tuple[float, float] | None] = []
    for receipt in receipts:
        size = pair.stable.model.row_bytes
        own = receipt.row[:size]
        other = receipt.row[size:] or own
        base = receipt.base_position or 0.0
        try:
            s, c = pair.stable.model.score(own), pair.candidate.model.score(other)
        except Exception:  # noqa: BLE001 - a model that fails on a row has no position there
            positions.append(None)
            continue
        stable, candidate = pair.stable.model, pair.candidate.model
        positions.append((stable.position(stable.decisive(s), base), candidate.position(candidate.decisive(c), base)))
    return positions
