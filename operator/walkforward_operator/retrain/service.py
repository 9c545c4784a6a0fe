"""The reconciler of ModelRetrains: observe → decide → write status → act.

What the watches brought is looked at first: as long as it asks for nothing, no request is made but, during a run, one for its pods.
Where no run is concerned and nothing is at stake but what people read, it is written on the version that was seen. Otherwise the API
server is asked, for a hint may be old. The status is written on the resource version that was decided upon, before
anything is done.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from walkforward_core.errors import StoreError
from walkforward_core.names import FIELD_MANAGER, STATUS_MANAGER
from walkforward_operator.cluster.errors import AlreadyExists, Conflict, Forbidden, Invalid, NotFound
from walkforward_operator.cluster.kinds import CONFIG_MAP, JOB, RETRAIN
from walkforward_operator.cluster.namespaces import goes
from walkforward_operator.retrain.allowed import Problem
from walkforward_operator.retrain.decide import decide
from walkforward_operator.retrain.gather import gather
from walkforward_operator.retrain.inputs import inputs_of
from walkforward_operator.retrain.model import Discard, StartRun
from walkforward_operator.retrain.observe import Subject, look, read_subject
from walkforward_operator.retrain.reasons import RetrainReason
from walkforward_operator.retrain.schedule import epoch_ms
from walkforward_operator.retrain.views import owner_uid
from walkforward_operator.rollout.model import Emit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from walkforward_operator.cluster.kinds import Kind
    from walkforward_operator.cluster.protocol import Cluster, Object
    from walkforward_operator.metrics import Metrics
    from walkforward_operator.reconciler import Key
    from walkforward_operator.retrain.allowed import Installation
    from walkforward_operator.retrain.gather import Objects
    from walkforward_operator.retrain.inputs import Neighbours
    from walkforward_operator.retrain.model import Decision, Observation
    from walkforward_operator.retrain.status import RetrainStatus

__all__ = ["Events", "Memory", "RetrainReconciler"]

_log: Final = logging.getLogger(__name__)


class Memory(Protocol):
    """What the watches brought; :class:`walkforward_operator.cluster.store.Store` is one."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return one object; raises ``NotFound``."""
        ...

    async def list(self, kind: Kind, namespace: str, *, labels: Mapping[str, str] | None = None) -> list[Object]:
        """Return the objects that carry all ``labels``."""
        ...

    def followers(self, namespace: str, retrain: str) -> Sequence[Object]:
        """Return the rollouts whose source is this ModelRetrain."""
        ...

    def put(self, kind: Kind, found: Object) -> bool:
        """Keep the answer to a write of our own, so that the next look sees it."""
        ...


class Events(Protocol):
    """Where Kubernetes Events go; it raises nothing, for an event is never worth a failure."""

    async def emit(self, about: Object, event: Emit) -> None:
        """Write ``event`` about the object ``about``."""
        ...


class Gone(Exception):  # noqa: N818 - says what happened
    """The ModelRetrain was deleted between the decision and the write."""


class RetrainReconciler:
    """A :class:`walkforward_operator.reconciler.Reconciler`; ``now_ms`` gives epoch milliseconds."""

    kind: Kind = RETRAIN

    def __init__(
        self,
        cluster: Cluster,
        memory: Memory,
        objects: Objects,
        *,
        installation: Installation,
        neighbours: Neighbours,
        events: Events,
        metrics: Metrics,
        now_ms: Callable[[], int],
    ) -> None:
        self._cluster = cluster
        self._memory = memory
        self._objects = objects
        self._installation = installation
        self._neighbours = neighbours
        self._events = events
        self._metrics = metrics
        self._now_ms = now_ms

    async def reconcile(self, key: Key) -> float | None:
        """Bring one ModelRetrain where its spec wants it; return after how many seconds to look again."""
        try:
            return await self._reconcile(key)
        except Forbidden as error:
            if not await goes(self._cluster, key.namespace):
                raise
            # the rights went with the namespace's RoleBindings, and it goes after them
            _log.info("%s: its namespace is being deleted (%s); let go", key, error)
            return None

    async def _reconcile(self, key: Key) -> float | None:
        hint = await read_subject(self._memory, key)
        if hint is None:
            self._metrics.forget_retrain(key.namespace, key.name)
            return None
        now_ms = self._now_ms()
        seen = await look(self._memory, hint, self._installation, now_ms, pods=self._cluster, rollouts=self._memory)
        decision = decide(hint.retrain, hint.status, seen, now_ms)
        self._measure(key, decision.status)
        ended = seen.progress is not None and seen.progress.ending is not None
        if not (ended or decision.asks or decision.actions or decision.status != hint.status):
            return _seconds(decision)
        try:
            if _words_only(decision, hint, seen):
                with suppress(Conflict):  # the hint was old
                    await self._write(hint, decision)
                    await self._tell(hint, decision)
                    return _seconds(decision)
            subject = await read_subject(self._cluster, key)
            return await self._attend(key, subject) if subject is not None else None
        except Gone:
            return None

    async def _attend(self, key: Key, subject: Subject) -> float | None:
        """Decide on what the API server has, and carry it out."""
        now_ms = self._now_ms()
        seen = await look(self._cluster, subject, self._installation, now_ms, pods=self._cluster, rollouts=self._memory)
        seen = await self._with_result(subject, seen, now_ms)
        decision = decide(subject.retrain, subject.status, seen, now_ms)
        if decision.asks:  # a run begins: only now it is asked what it is made of
            seen = replace(seen, inputs=await inputs_of(self._cluster, self._neighbours, subject.retrain, subject.status))
            decision = decide(subject.retrain, subject.status, seen, now_ms)
        written = await self._write(subject, decision)
        problem = await self._act(subject, decision)
        if problem is not None:
            # said at once; if it lasts, it ends the run
            again = decide(subject.retrain, decision.status, replace(seen, refused=problem, outcome=None, progress=None), now_ms)
            written = await self._write(replace(subject, body=written, status=decision.status), again)
            await self._tell(subject, again)
            decision = again
        self._measure(key, decision.status)
        return _seconds(decision)

    async def _with_result(self, subject: Subject, seen: Observation, now_ms: int) -> Observation:
        run, ending = subject.status.run, seen.progress.ending if seen.progress else None
        if run is None or ending is None:
            return seen
        try:
            return replace(seen, outcome=await gather(self._objects, subject.retrain, run, ending, now_ms))
        except StoreError as error:
            return replace(seen, unavailable=str(error))

    async def _write(self, subject: Subject, decision: Decision) -> Object:
        """Write the status where it differs, and return the object as it is then."""
        if decision.status == subject.status:
            return subject.body
        metadata = subject.body["metadata"]
        identity = {name: metadata[name] for name in ("name", "namespace", "uid", "resourceVersion")}
        body = {"metadata": identity, "status": _without_null(msgspec.to_builtins(decision.status))}
        try:
            written = await self._cluster.apply_status(RETRAIN, body, manager=STATUS_MANAGER)
        except NotFound as error:
            raise Gone from error
        self._memory.put(RETRAIN, written)
        self._count(subject.status, decision.status)
        return written

    async def _act(self, subject: Subject, decision: Decision) -> Problem | None:
        """Carry the actions out in order; return why the API server refuses to start the run, if it does."""
        await self._tell(subject, decision)
        for action in decision.actions:
            match action:
                case StartRun():
                    return await self._start(subject, action)
                case Discard():
                    await self._discard(subject, action)
        return None

    async def _tell(self, subject: Subject, decision: Decision) -> None:
        for action in decision.actions:
            if isinstance(action, Emit):
                await self._events.emit(subject.body, action)

    async def _start(self, subject: Subject, action: StartRun) -> Problem | None:
        """Create ConfigMap and Job, in this order. What is there already is the run's own, or a conflict that no retry solves."""
        for kind, body in ((CONFIG_MAP, action.config_map), (JOB, action.job)):
            try:
                await self._cluster.create(kind, body, manager=FIELD_MANAGER)
            except AlreadyExists:
                found = await self._cluster.get(kind, subject.retrain.namespace, body["metadata"]["name"])
                if owner_uid(found) != subject.retrain.uid or found.get("data") != body.get("data"):
                    what = f"{kind.name} {body['metadata']['name']} is there already and is not this run's: delete it, then run again"
                    return Problem(RetrainReason.JOB_CONFLICT, what)
            except (Forbidden, Invalid) as error:
                return Problem(RetrainReason.JOB_REFUSED, f"{kind.name} {body['metadata']['name']} was refused: {error}")
        return None

    async def _discard(self, subject: Subject, action: Discard) -> None:
        target = action.target
        try:
            await self._cluster.delete(target.kind, subject.retrain.namespace, target.name, uid=target.uid)
        except (NotFound, Conflict):
            return  # it is gone, or its name is another's now
        _log.info("%s %s/%s deleted: %s", target.kind.name, subject.retrain.namespace, target.name, action.why)

    def _count(self, old: RetrainStatus, new: RetrainStatus) -> None:
        if new.last_run is not None and (old.last_run is None or new.last_run.run != old.last_run.run):
            self._metrics.retrain_runs.labels(new.last_run.verdict, new.history[0].reason).inc()

    def _measure(self, key: Key, status: RetrainStatus) -> None:
        if status.latest_bundle is not None:
            self._metrics.retrain_published.labels(*key).set(epoch_ms(status.latest_bundle.at) / 1000)
        if status.next_run is not None:
            self._metrics.retrain_next_run.labels(*key).set(epoch_ms(status.next_run) / 1000)
        else:  # or an alert on overdue runs would fire for one that is suspended
            self._metrics.retrain_next_run.remove_by_labels({"namespace": key.namespace, "name": key.name})


def _words_only(decision: Decision, subject: Subject, seen: Observation) -> bool:
    """Whether nothing is at stake but what people read: no run before or after, no Job, nothing to be made or deleted."""
    idle = subject.status.run is None and decision.status.run is None and not decision.asks and not seen.jobs
    return idle and all(isinstance(action, Emit) for action in decision.actions)


def _seconds(decision: Decision) -> float | None:
    return None if decision.requeue_after_ms is None else max(decision.requeue_after_ms, 0) / 1000


def _without_null(value: Any) -> Any:
    """Return JSON without nulls: in the status an absent field is what a null would mean."""
    if isinstance(value, dict):
        return {key: _without_null(item) for key, item in value.items() if item is not None}
    return [_without_null(item) for item in value] if isinstance(value, list | tuple) else value
