"""After the answer: counting, the other model's score on the same row, and outcomes that matured.

All of it on the event loop, after the response was handed to the kernel, and within a share of the loop's time.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING

from walkforward_core.routing import OutcomeSource
from walkforward_server.budget import ShadowBudget
from walkforward_server.model import NonFiniteError
from walkforward_server.stats.outcomes import Prediction
from walkforward_server.work import Failure, Scored, Work

if TYPE_CHECKING:
    from collections.abc import Callable

    from walkforward_server.outcomes import OutcomeDesk
    from walkforward_server.table import Arm, PairOf
    from walkforward_server.totals import Totals

__all__ = ["Settler"]

log = logging.getLogger(__name__)


class Settler:
    """Takes :class:`Work` and turns it into statistics.

    ``soon`` runs a callback after the responses of this turn were written, ``later`` after some seconds; ``clock`` is monotonic,
    ``wall`` epoch seconds.
    """

    def __init__(
        self,
        totals: Totals,
        desk: OutcomeDesk,
        *,
        soon: Callable[[Callable[[], None]], object],
        later: Callable[[float, Callable[[], None]], object],
        clock: Callable[[], float] = time.perf_counter,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._totals, self._desk = totals, desk
        self._soon, self._later = soon, later
        self._clock, self._wall = clock, wall
        self._queue: deque[Work] = deque()
        self._scheduled = False
        self.budget = ShadowBudget()

    def put(self, work: Work, seconds: float, ended: float) -> None:
        """Leave ``work`` for after this turn; the answer took ``seconds`` and left at ``ended`` (monotonic)."""
        work.seconds, work.ended = seconds, ended
        self._queue.append(work)
        self.wake()

    def wake(self) -> None:
        """Run :meth:`settle` after this turn of the loop."""
        if not self._scheduled:
            self._scheduled = True
            self._soon(self.settle)

    def settle(self) -> None:
        """Count everything that waits, then mature outcomes as far as the budget goes."""
        self._scheduled = False
        while self._queue:
            self._settle_one(self._queue.popleft())
        if self._desk.waiting and not self._desk.mature(self.budget, self._clock):
            self._later(0.02, self.wake)
        elif self._desk.waiting:
            self.wake()  # after the clients had their turn

    def _settle_one(self, work: Work) -> None:
        table = work.table
        self._count(work)
        pair = table.pair
        if pair is not None:
            for arm in (pair.stable, pair.candidate):
                if arm.place not in work.scored:
                    self._shadow(arm, work)
        for arm in table.arms:
            scored = work.scored.get(arm.place)
            if scored is not None:
                self._count_score(arm, scored, work)
        both = pair is not None and self._count_pair(pair, work)
        if both or (pair is None and not table.waits):
            self._count_drift(work)
        self._price(work, both=both)

    def _count(self, work: Work) -> None:
        """Count the request itself: who answered, from where it was routed, and how long it took."""
        table, routed = work.table, work.routed
        if work.bucket < 0:
            routed.unkeyed += 1
        if work.answered is None:
            routed.fallback += 1
            if routed is not table.nobody:
                return
            self._totals.record("none", work.seconds)
        else:
            row = next(arm.row for arm in table.arms if arm.place is work.answered)
            row.exposed += 1
            if row is not routed:
                routed.fallback += 1
            self._totals.record(work.answered.value, work.seconds)
        routed.latency.record(work.seconds * 1e6, work.ended)

    def _shadow(self, arm: Arm, work: Work) -> None:
        """Score the model that did not answer on the same row, or count that there was no time for it."""
        model, columns = arm.model, work.columns
        begin = self._clock()
        if columns is None or model.digest in columns.missing or model.digest in self.budget.stopped or not self.budget.grants(begin):
            arm.row.shadow_skipped += 1
            return
        row = columns.of(model, work.rows)
        try:
            scored = Scored(row, model.score(row))
        except NonFiniteError as error:
            scored = Scored(row, None, Failure.NON_FINITE, str(error))
        except Exception as error:  # noqa: BLE001 - the model is foreign code, and the answer has left already
            scored = Scored(row, None, Failure.EXCEPTION, f"{type(error).__name__}: {error}")
        self.budget.spend(model.digest, self._clock() - begin)
        arm.row.shadow += 1
        work.scored[arm.place] = scored

    def _count_score(self, arm: Arm, scored: Scored, work: Work) -> None:
        row = arm.row
        if work.bucket >= 0:
            row.key(work.bucket)
        if scored.failure is None:
            return
        if row.exception + row.non_finite == 0:
            log.error("model failed", extra={"version": arm.model.version, "failure": scored.failure, "detail": scored.detail})
        if scored.failure is Failure.EXCEPTION:
            row.exception += 1
        else:
            row.non_finite += 1

    def _count_pair(self, pair: PairOf, work: Work) -> bool:
        """Count both models on this row; true when both answered."""
        s, c = work.scored.get(pair.stable.place), work.scored.get(pair.candidate.place)
        if s is None or c is None:
            return False
        counters = pair.counters
        counters.n += 1
        if s.p is None or c.p is None:
            counters.only_candidate_failed += s.p is not None
            counters.only_stable_failed += c.p is not None
            return False
        stable, candidate = pair.stable.model, pair.candidate.model
        ps, pc = stable.decisive(s.p), candidate.decisive(c.p)
        counters.agree += stable.choice(ps) == candidate.choice(pc)
        counters.sum_abs_delta += abs(pc - ps)
        base = work.parameters.base_position
        if base is not None or not (stable.needs_base or candidate.needs_base):
            counters.position(stable.position(ps, base or 0.0), candidate.position(pc, base or 0.0))
        return True

    def _count_drift(self, work: Work) -> None:
        """Count this (symbol, bar) once, for every model of the evidence on the same row."""
        table, parameters = work.table, work.parameters
        undated = parameters.ts is None
        ts = int(self._wall() * 1000) if parameters.ts is None else parameters.ts
        bar = ts // table.bar_ms
        symbol = table.bars.name(parameters.symbol or "")
        if not table.bars.is_new(symbol, bar):
            return
        arms = (table.pair.stable, table.pair.candidate) if table.pair else table.arms
        counted = [(arm, scored) for arm in arms if (scored := work.scored.get(arm.place)) is not None and scored.p is not None]
        if not counted:
            return
        table.bars.count(symbol, bar)
        for arm, scored in counted:
            arm.row.bar(symbol, ts, undated=undated)
            if arm.row.drift is not None and scored.p is not None:
                arm.row.drift.add(scored.row, scored.p)

    def _price(self, work: Work, *, both: bool) -> None:
        """Let earlier predictions of this symbol mature by the request's price, and this one wait for its own."""
        table, parameters = work.table, work.parameters
        measure, pair = table.measure, table.pair
        price, ts, symbol = parameters.price, parameters.ts, parameters.symbol
        if measure is None or measure.outcomes is not OutcomeSource.PRICE or price is None or ts is None or symbol is None:
            return
        ledger = self._desk.ledger
        ledger.price(symbol, ts, price)
        if pair is None or not both or not self._desk.first(table, work.id, symbol, ts):
            return
        positions = _positions(pair, work)
        if positions is not None:
            bar = ts // measure.bar_ms * measure.bar_ms
            due = ts + measure.base_ms
            table_of = self._desk.table(measure, pair)
            ledger.add(symbol, Prediction(table_of, bar, due, due + measure.bar_ms, price, *positions, measure.round_trip))

    @property
    def queued(self) -> int:
        """How many answers are not counted yet."""
        return len(self._queue)


def _positions(pair: PairOf, work: Work) -> tuple[float, float] | None:
    """Return what both arms decided, None where a base position is needed and the request has none."""
    base = work.parameters.base_position
    if base is None and (pair.stable.model.needs_base or pair.candidate.model.needs_base):
        return None
    s, c = work.scored[pair.stable.place].p, work.scored[pair.candidate.place].p
    if s is None or c is None:
        return None
    stable, candidate = pair.stable.model, pair.candidate.model
    return stable.position(stable.decisive(s), base or 0.0), candidate.position(candidate.decisive(c), base or 0.0)
