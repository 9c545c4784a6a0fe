"""One server process, put together: document, models, answers, statistics."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from typing import TYPE_CHECKING

from walkforward_core import __version__
from walkforward_core.pods import Applied, ModelReport, ModelRole, ModelState, PodReport
from walkforward_core.stats import StatsDocument
from walkforward_server import bundles
from walkforward_server.child import prove
from walkforward_server.engine import Engine
from walkforward_server.fleet import Fleet
from walkforward_server.marker import Marker
from walkforward_server.outcomes import OutcomeDesk
from walkforward_server.settle import Settler
from walkforward_server.stats.book import Book, SeenBars
from walkforward_server.table import Table, build_table
from walkforward_server.totals import Totals
from walkforward_server.watcher import POLL_S, RoutingWatcher

if TYPE_CHECKING:
    from walkforward_server.config import Settings
    from walkforward_server.fleet import Prover
    from walkforward_server.model import Model
    from walkforward_server.table import Routing

__all__ = ["Node"]

log = logging.getLogger(__name__)


def _empty_table() -> Table:
    return Table(
        generation=0,
        limit=0,
        split_by="client",
        salt=b"",
        ends=0.0,
        measure=None,
        stable=None,
        candidate=None,
        previous=None,
        pair=None,
        waits=False,
        bars=SeenBars(),
        bar_ms=1,
        absent=None,
        nobody=None,
    )


class Node:
    """What both listeners answer from. Made inside a running loop; everything but opening bundles happens on it."""

    def __init__(self, settings: Settings, prover: Prover = prove) -> None:
        loop = asyncio.get_running_loop()
        self.settings = settings
        self.software = __version__
        self.boot = str(uuid.uuid4())
        self.draining = False
        self.totals = Totals()
        self.book = Book()
        self.engine = Engine(settings.target, _empty_table(), token=settings.token, columns_missing=self._columns_missing)
        self.desk = OutcomeDesk(lambda: self.engine.table, settings.token, self.totals.outcomes)
        self.settler = Settler(self.totals, self.desk, soon=loop.call_soon, later=loop.call_later)
        self.marker = Marker(settings.state)
        self.fleet = Fleet(settings, self.marker, self._rebuild, prover)
        self.watcher = RoutingWatcher(settings.routing, self._apply)
        self._routing: Routing | None = None
        self._seq = 0

    @property
    def ready(self) -> bool:
        """Whether clients may be sent here: something can answer, and the process does not drain."""
        table = self.engine.table
        return not self.draining and (table.stable is not None or table.previous is not None or table.nobody is not None)

    async def run(self) -> None:
        """Follow the routing document and load its models, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.fleet.run())
            group.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            self.watcher.poll()
            await asyncio.sleep(POLL_S)

    def _apply(self, routing: Routing) -> None:
        """Act on a new document at once, with the models that are here; the others follow."""
        known = self._routing
        if known is None or known.document.candidate != routing.document.candidate:
            self.settler.budget.forget()
        self._routing = routing
        self.fleet.apply(routing.document)
        self._rebuild()
        log.info("routing applied", extra={"generation": routing.document.generation, "weight": routing.document.weight})

    def _rebuild(self) -> None:
        """Swap the table for one with the models as they stand now."""
        routing = self._routing
        if routing is None:
            return
        self.settler.settle()  # what was answered by the old table is counted before its models go
        old = self.engine.table
        standing: Model | None = old.stable.model if old.stable is not None else None
        self.engine.install(build_table(routing, self.fleet.models, self.book, self.settings.target, standing=standing))
        self.fleet.settle_marker()
        keep = {ref.digest for ref in (routing.document.stable, routing.document.candidate, routing.document.previous) if ref is not None}
        bundles.prune(self.settings.state, keep)

    def _columns_missing(self, digest: str, names: tuple[str, ...]) -> None:
        """A request without a candidate's columns: the candidate cannot be compared on this traffic (contract C5)."""
        asyncio.get_running_loop().call_soon(self.fleet.refuse, digest, f"FeaturesMissing: requests lack {', '.join(names[:5])}")

    def report(self) -> PodReport:
        """Return this pod's own word on what it has applied."""
        routing = self._routing
        return PodReport(
            pod_uid=self.settings.pod_uid,
            boot=self.boot,
            applied=None if routing is None else Applied(generation=routing.document.generation, digest=routing.digest),
            models={version_: self._with_exposure(report) for version_, report in self.fleet.reports().items()},
            error=self.watcher.error,
        )

    def _with_exposure(self, report: ModelReport) -> ModelReport:
        """Say in the candidate's reason that its exposure has run out, or that its shadow was stopped."""
        if report.role is not ModelRole.CANDIDATE or report.state is not ModelState.READY:
            return report
        reason = ""
        if self.engine.table.limit > 0 and time.time() >= self.engine.table.ends:
            reason = "ExposureExpired: exposureNotAfter has passed, stable answers everything"
        elif report.digest in self.settler.budget.stopped:
            reason = "ShadowStopped: scoring it held the event loop up"
        return ModelReport(role=report.role, state=report.state, reason=reason, digest=report.digest)

    def stats(self, since: int) -> StatsDocument:
        """Return everything counted so far, of the generations from ``since`` on; later documents have a higher ``seq``.

        What was answered in this very turn of the loop is counted in the next one: until then its answer has not left, and no model on
        trial may come between.
        """
        self._seq += 1
        return StatsDocument(
            pod_uid=self.settings.pod_uid,
            boot=self.boot,
            seq=self._seq,
            rows=self.book.rows(since, time.perf_counter()),
            pairs=self.book.pairs(since),
            outcomes=self.desk.snapshot(),
        )
