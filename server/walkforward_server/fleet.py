"""The models of one routing document on this pod: what is loaded, in which order, and how each one stands.

Stable first, then the previous model, then the candidate, one at a time. Every bundle is fetched and proven in a child process before
this one opens it; what is on trial is written down on the pod's volume before it is taken in.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from walkforward_core.errors import WalkforwardError
from walkforward_core.pods import ModelReport, ModelRole, ModelState
from walkforward_server import bundles
from walkforward_server.model import Model

if TYPE_CHECKING:
    from collections.abc import Callable

    from walkforward_core.routing import ModelRef, RoutingDocument
    from walkforward_server.config import Settings
    from walkforward_server.marker import Marker
    from walkforward_server.prove import Report

__all__ = ["Fleet", "Prover"]

log = logging.getLogger(__name__)

RETRY_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Prover(Protocol):
    """Fetches and proves a bundle away from the serving process (:func:`walkforward_server.child.prove`)."""

    async def __call__(self, settings: Settings, ref: ModelRef, *, trial: bool) -> Report:
        """Return how it went."""
        ...


@dataclass(slots=True)
class _Entry:
    """One model of the document; ``retry_at`` in monotonic seconds."""

    ref: ModelRef
    role: ModelRole
    state: ModelState = ModelState.LOADING
    reason: str = ""
    model: Model | None = None
    tries: int = 0
    retry_at: float = 0.0


class Fleet:
    """Brings the models of the document in force into memory.

    ``changed`` is called after a model came or went; ``prover`` fetches and proves a bundle.
    """

    def __init__(
        self,
        settings: Settings,
        marker: Marker,
        changed: Callable[[], None],
        prover: Prover,
    ) -> None:
        self._settings, self._marker, self._changed, self._prover = settings, marker, changed, prover
        self._entries: dict[str, _Entry] = {}
        self._document: RoutingDocument | None = None
        self._wake = asyncio.Event()
        self._current: tuple[str, asyncio.Task[None]] | None = None

    @property
    def models(self) -> dict[str, Model]:
        """The models that may serve, by manifest digest."""
        return {key: entry.model for key, entry in self._entries.items() if entry.model is not None}

    def reports(self) -> dict[str, ModelReport]:
        """Return how every model of the document stands, by version."""
        return {
            entry.ref.version: ModelReport(role=entry.role, state=entry.state, reason=entry.reason, digest=entry.ref.digest)
            for entry in self._entries.values()
        }

    def apply(self, document: RoutingDocument) -> None:
        """Want the models of ``document``; what it does not name goes, what runs for nothing is stopped."""
        self._document = document
        wanted = {
            ref.digest: (ref, role)
            for role, ref in (
                (ModelRole.CANDIDATE, document.candidate),
                (ModelRole.PREVIOUS, document.previous),
                (ModelRole.STABLE, document.stable),
            )
            if ref is not None
        }
        entries = {}
        for key, (ref, role) in wanted.items():
            entry = self._entries.get(key) or _Entry(ref=ref, role=role)
            entry.ref, entry.role = ref, role
            self._judge(entry, document)
            entries[key] = entry
        self._entries = entries
        if self._current is not None and self._is_moot(self._current[0]):
            self._current[1].cancel()
        self._wake.set()

    def settle_marker(self) -> None:
        """Take the note away once no model on trial is in the process; to be called after the table was swapped."""
        document = self._document
        if document is None:
            return
        trial = _trial(document)
        if trial is None or self._entries[trial].model is None:
            self._marker.release()
        if self._marker.tripped is not None and self._marker.tripped not in self._entries:
            self._marker.forgive()

    def refuse(self, digest: str, reason: str) -> None:
        """Take a candidate out of service for good, as long as the document names it."""
        entry = self._entries.get(digest)
        if entry is None or entry.role is not ModelRole.CANDIDATE or entry.state is ModelState.REFUSED:
            return
        entry.model, entry.state, entry.reason = None, ModelState.REFUSED, reason
        log.error("candidate refused", extra={"version": entry.ref.version, "reason": reason})
        self._changed()

    async def run(self) -> None:
        """Load what is wanted, until cancelled."""
        while True:
            entry = self._next()
            if entry is None:
                await self._rest()
                continue
            task = asyncio.create_task(self._load(entry))
            self._current = (entry.ref.digest, task)
            try:
                await asyncio.wait({task})
            finally:
                self._current = None
                task.cancel()
            if not task.cancelled() and (error := task.exception()) is not None:
                self._refused(entry, f"{type(error).__name__}: {error}")

    async def _rest(self) -> None:
        """Wait for another document, or for the next retry."""
        now = time.monotonic()
        times = [entry.retry_at - now for entry in self._entries.values() if self._open(entry)]
        self._wake.clear()
        try:
            await asyncio.wait_for(self._wake.wait(), max(0.05, min(times)) if times else None)
        except TimeoutError:
            return

    def _open(self, entry: _Entry) -> bool:
        """Whether there is still something to do for an entry; a model that must serve is tried again also after a refusal."""
        if entry.state is ModelState.REFUSED:
            return entry.role is not ModelRole.CANDIDATE
        return entry.state in (ModelState.LOADING, ModelState.PROVING)

    def _next(self) -> _Entry | None:
        """Return what to load now; a candidate waits until the others have come or were refused."""
        order = (ModelRole.STABLE, ModelRole.PREVIOUS, ModelRole.CANDIDATE)
        now = time.monotonic()
        for entry in sorted(self._entries.values(), key=lambda entry: order.index(entry.role)):
            if self._open(entry):
                if entry.retry_at <= now:
                    return entry
                if entry.role is ModelRole.STABLE:
                    return None
        return None

    def _is_moot(self, running: str) -> bool:
        """Whether what is being loaded is not wanted now, or is a candidate while a model of a higher place waits."""
        entry = self._entries.get(running)
        if entry is None or not self._open(entry):
            return True
        waiting = any(other.role is not ModelRole.CANDIDATE and self._open(other) for other in self._entries.values())
        return entry.role is ModelRole.CANDIDATE and waiting

    def _judge(self, entry: _Entry, document: RoutingDocument) -> None:
        """Set an entry aside where it tripped before, or where another pod proves it first."""
        digest, trial = entry.ref.digest, _trial(document)
        waits = entry.role is ModelRole.CANDIDATE and document.prove_on not in (None, self._settings.pod_uid)
        if digest == trial and self._marker.tripped == digest:
            entry.model, entry.state = None, ModelState.TRIPPED
            entry.reason = "this pod's process died while the model was loaded"
        elif entry.state is ModelState.TRIPPED:
            entry.state, entry.reason = ModelState.LOADING, ""
        elif entry.model is None and waits and entry.state is not ModelState.REFUSED:
            entry.state, entry.reason = ModelState.WAITING, f"pod {document.prove_on} proves it first"
        elif entry.state is ModelState.WAITING and not waits:
            entry.state, entry.reason = ModelState.LOADING, ""

    async def _load(self, entry: _Entry) -> None:
        trial = entry.role is ModelRole.CANDIDATE
        if not trial and bundles.proven(self._settings.state, entry.ref.digest):
            # after the death of a process nobody is served for as long as this takes: what was proven here is only verified again
            try:
                await self._take_in(entry)
            except WalkforwardError as error:
                log.warning("cached bundle is damaged, proven anew", extra={"version": entry.ref.version, "reason": str(error)})
            else:
                return
        if trial:
            entry.state = ModelState.PROVING
        report = await self._prover(self._settings, entry.ref, trial=trial)
        if not report.ok:
            self._not_proven(entry, report)
            return
        log.info("bundle proven", extra={"version": entry.ref.version, "medianUs": round(report.median_us, 1)})
        try:
            await self._take_in(entry)
        except WalkforwardError as error:
            self._refused(entry, f"{type(error).__name__}: {error}")

    async def _take_in(self, entry: _Entry) -> None:
        """Verify the copy on disk, open it and let it serve; what is on trial is noted before. Raises what is wrong with the copy."""
        document = self._document
        if document is not None and _trial(document) == entry.ref.digest:
            self._marker.hold(entry.ref.digest)
        entry.model = await asyncio.get_running_loop().run_in_executor(None, self._open_bundle, entry.ref)
        bundles.note_proven(self._settings.state, entry.ref.digest)
        entry.state, entry.reason = ModelState.READY, ""
        log.info("model ready", extra={"version": entry.ref.version, "role": entry.role})
        self._changed()

    def _open_bundle(self, ref: ModelRef) -> Model:
        """Verify again what lies on disk and open it; in a thread, so that reading and hashing do not hold the loop up."""
        bundle = bundles.load(bundles.cache_path(self._settings.state, ref.digest), ref)
        model = Model(bundle.content, bundle.manifest, bundle.reference, bundle.digest)
        bundles.check_golden(model, bundle.golden)
        return model

    def _not_proven(self, entry: _Entry, report: Report) -> None:
        """Refuse what is wrong, and try again later what the object store may deliver or what must serve."""
        reason = f"{report.reason}: {report.message}"
        if not report.retry:
            self._refused(entry, reason)
            return
        entry.retry_at = time.monotonic() + RETRY_S[min(entry.tries, len(RETRY_S) - 1)]
        entry.tries += 1
        entry.reason = reason
        log.warning("bundle not loaded, will try again", extra={"version": entry.ref.version, "reason": reason})

    def _refused(self, entry: _Entry, reason: str) -> None:
        """Set an entry aside: a candidate for good, what must serve until it is tried again."""
        entry.retry_at = time.monotonic() + RETRY_S[-1]
        entry.model, entry.state, entry.reason = None, ModelState.REFUSED, reason
        log.error("bundle refused", extra={"version": entry.ref.version, "role": entry.role, "reason": reason})
        self._changed()


def _trial(document: RoutingDocument) -> str | None:
    """Return the digest of the model on trial: the candidate, or a promoted one while the previous model is kept."""
    ref = document.on_trial
    return None if ref is None or ref == document.reference else ref.digest
