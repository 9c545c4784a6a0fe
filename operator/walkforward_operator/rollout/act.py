"""Carrying a decision out: the abort first, then the status, then what was recorded there as planned."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from walkforward_core.documents import digest
from walkforward_core.errors import WalkforwardError
from walkforward_core.names import FIELD_MANAGER, FINALIZER, ROUTING_ANNOTATION, STATUS_MANAGER
from walkforward_operator.cluster.errors import ClusterError, Conflict, NotFound, NotLeading, Unreachable
from walkforward_operator.cluster.kinds import CONFIG_MAP, POD, ROLLOUT
from walkforward_operator.reasons import ABORTS
from walkforward_operator.rollout.model import DeletePod, Emit, Record, SetFinalizer, WriteRouting
from walkforward_operator.rollout.observe import subject_of
from walkforward_operator.routing.document import read_document, write_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from walkforward_operator.cluster.protocol import Cluster, Object
    from walkforward_operator.cluster.store import Store
    from walkforward_operator.events import Events
    from walkforward_operator.ledger import LedgerBook
    from walkforward_operator.metrics import Metrics
    from walkforward_operator.rollout.memory import Memory
    from walkforward_operator.rollout.model import Action, Decision, Pod
    from walkforward_operator.rollout.observe import Subject
    from walkforward_operator.rollout.see import Seen
    from walkforward_operator.routing.push import Push

__all__ = ["Acts", "Failed"]

_log: Final = logging.getLogger(__name__)


class Failed(WalkforwardError):  # noqa: N818 - says what is the case
    """The API server refuses a write of the routing document, and will again until somebody mends it."""


class Acts:
    """Writes what was decided; every answer is kept, so that the next look sees it."""

    def __init__(
        self, cluster: Cluster, store: Store, ledger: LedgerBook, events: Events, metrics: Metrics, now_ms: Callable[[], int]
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._ledger = ledger
        self._events = events
        self._metrics = metrics
        self._now_ms = now_ms

    async def carry_out(self, memory: Memory, subject: Subject, seen: Seen, decision: Decision) -> bool:
        """Do it; return whether anything was written into the cluster.

        Raises
        ------
        Conflict
            The document or the rollout is no longer what was decided on: observe and decide again. Nothing after it was done.
        Failed
            The document cannot be written; the status was.
        """
        failed: Failed | None = None
        for action in decision.first:
            try:
                subject = await self._act(memory, subject, seen, action)
            except Failed as error:
                failed = error
        before = subject
        subject = await self._write_status(memory, subject, decision)
        if failed is not None:
            raise failed
        for action in decision.then:
            subject = await self._act(memory, subject, seen, action)
        did = [action for action in (*decision.first, *decision.then) if isinstance(action, WriteRouting | SetFinalizer | DeletePod)]
        return bool(did) or subject is not before

    async def push(self, memory: Memory, seen: Seen) -> float | None:
        """Set the annotation on every pod that needs it; return after how many seconds to ask again."""
        document = seen.observation.document
        if document is None or document.routing is None or not seen.need.digest:
            return None
        return await self._push(memory, seen.ref.namespace, seen.observation.target.pods, document.routing.generation, document.digest)

    async def _act(self, memory: Memory, subject: Subject, seen: Seen, action: Action) -> Subject:
        match action:
            case WriteRouting():
                await self._write_routing(memory, subject, seen, action)
            case SetFinalizer():
                return await self._set_finalizer(subject, present=action.present)
            case DeletePod():
                await self._delete_pod(subject, action)
            case Emit():
                await self._events.emit(subject.body, action)
            case Record():
                self._ledger.add(seen.ref, action, wake=memory.wake)
        return subject

    async def _write_routing(self, memory: Memory, subject: Subject, seen: Seen, action: WriteRouting) -> None:
        """Write the document and, when that was answered, push it."""
        namespace, document = subject.rollout.namespace, action.document
        began = asyncio.get_running_loop().time()
        try:
            answer = await write_document(self._cluster, namespace, seen.deployment, action)
        except (Conflict, NotFound, NotLeading, Unreachable):
            raise  # decided again, on what is there then
        except ClusterError as error:
            raise Failed(f"the routing document cannot be written: {error}") from error
        memory.accepted()
        self._store.put(CONFIG_MAP, answer)
        if document.abort is not None:
            cause = document.abort.reason if document.abort.reason in ABORTS else "Other"
            self._metrics.aborts.labels(cause).inc()
            memory.aborted = (began, digest(read_document(answer).text))
        _log.info("%s/%s: routing generation %d written, weight %d", namespace, subject.rollout.name, document.generation, document.weight)
        pods = seen.observation.target.pods
        written = digest(document.to_bytes())
        memory.attendant.attend(replace(seen.need, digest=written, places=seen.places, pod_uids=frozenset(pod.uid for pod in pods)))
        await self._push(memory, namespace, pods, document.generation, written)

    async def _push(self, memory: Memory, namespace: str, pods: tuple[Pod, ...], generation: int, written: str) -> float | None:
        now = asyncio.get_running_loop().time()
        pushes, again = memory.bumps.due(pods, generation=generation, digest=written, now=now)
        await asyncio.gather(*(self._push_one(memory, namespace, push) for push in pushes))
        return again

    async def _push_one(self, memory: Memory, namespace: str, push: Push) -> None:
        metadata = {"namespace": namespace, "name": push.pod.name, "uid": push.pod.uid, "annotations": {ROUTING_ANNOTATION: push.value}}
        try:
            answer = await self._cluster.patch(POD, {"metadata": metadata}, manager=FIELD_MANAGER)
        except (NotFound, Conflict):
            return  # the pod is gone
        except ClusterError as error:
            _log.warning("pod %s/%s: not pushed, tried again (%s)", namespace, push.pod.name, error)
            return
        memory.bumps.done(push, now=asyncio.get_running_loop().time())
        self._store.put(POD, answer)

    async def _write_status(self, memory: Memory, subject: Subject, decision: Decision) -> Subject:
        """Write the status where it differs, on the version that was decided on; return the object as it is then."""
        if decision.status == subject.status:
            return subject
        metadata = subject.body["metadata"]
        identity = {name: metadata[name] for name in ("namespace", "name", "uid", "resourceVersion")}
        body = {"metadata": identity, "status": _without_null(msgspec.to_builtins(decision.status))}
        answer = await self._cluster.apply_status(ROLLOUT, body, manager=STATUS_MANAGER)
        memory.written_ms = self._now_ms()
        healed = decision.status.routing.drift - subject.status.routing.drift
        if healed > 0:
            self._metrics.drift.labels("Healed").inc(healed)
        return self._kept(answer)

    async def _set_finalizer(self, subject: Subject, *, present: bool) -> Subject:
        metadata = subject.body["metadata"]
        others = [name for name in metadata.get("finalizers") or () if name != FINALIZER]
        finalizers = [*others, FINALIZER] if present else others
        body = {"metadata": {"namespace": metadata["namespace"], "name": metadata["name"], "finalizers": finalizers or None}}
        answer = await self._cluster.patch(ROLLOUT, body, manager=FIELD_MANAGER, resource_version=metadata["resourceVersion"])
        return self._kept(answer)

    async def let_go(self, subject: Subject) -> None:
        """Take the finalizer away whatever the object is by now: only for one whose namespace is being deleted."""
        metadata = subject.body["metadata"]
        others = [name for name in metadata.get("finalizers") or () if name != FINALIZER]
        body = {"metadata": {"namespace": metadata["namespace"], "name": metadata["name"], "finalizers": others or None}}
        with suppress(NotFound):  # it is gone
            await self._cluster.patch(ROLLOUT, body, manager=FIELD_MANAGER)

    async def _delete_pod(self, subject: Subject, action: DeletePod) -> None:
        try:
            await self._cluster.delete(POD, subject.rollout.namespace, action.name, uid=action.uid)
        except (NotFound, Conflict):
            return  # it is gone already
        _log.warning("%s/%s: pod %s deleted: %s", subject.rollout.namespace, subject.rollout.name, action.name, action.why)

    def _kept(self, answer: Object) -> Subject:
        self._store.put(ROLLOUT, answer)
        return subject_of(answer)


def _without_null(value: Any) -> Any:
    """Return JSON without nulls: in the status an absent field is what a null would mean."""
    if isinstance(value, dict):
        return {key: _without_null(item) for key, item in value.items() if item is not None}
    return [_without_null(item) for item in value] if isinstance(value, list | tuple) else value
