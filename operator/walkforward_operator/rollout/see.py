"""From what was read to what is decided on: bundles, evidence, ledger and the pods' words join the objects of the cluster."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from walkforward_core.evidence import Evidence
from walkforward_core.routing import RolloutRef
from walkforward_operator.bundles import Missing
from walkforward_operator.cluster.namespaces import goes
from walkforward_operator.evidence.keeper import WalkKey
from walkforward_operator.reasons import Reason
from walkforward_operator.rollout.attendant import Need
from walkforward_operator.rollout.model import Ledger, Observation, Source
from walkforward_operator.rollout.observe import place_of, read_surroundings, target_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from walkforward_core.routing import RoutingDocument
    from walkforward_operator.bundles import Bundles
    from walkforward_operator.cluster.protocol import Cluster, Reader
    from walkforward_operator.ledger import LedgerBook
    from walkforward_operator.rollout.attendant import Place
    from walkforward_operator.rollout.memory import Memory
    from walkforward_operator.rollout.model import Bundle
    from walkforward_operator.rollout.observe import Subject, Surroundings
    from walkforward_operator.rollout.service import Attendance

__all__ = ["Eyes", "Seen"]

_PATIENCE_S: Final = 3.0
"""How long after its start the operator waits for first answers before it notes that there are none."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An observation, what is needed to see more, and whether the first answers of store and pods are still on their way."""

    observation: Observation
    need: Need
    places: tuple[Place, ...]
    ref: RolloutRef
    deployment: str
    loading: bool


class Eyes:
    """Makes observations."""

    def __init__(self, cluster: Cluster, bundles: Bundles, ledger: LedgerBook, attendance: Attendance) -> None:
        self._cluster = cluster
        self._bundles = bundles
        self._ledger = ledger
        self._attendance = attendance

    async def see(self, reader: Reader, subject: Subject, memory: Memory) -> Seen:
        """Return what is seen by way of ``reader`` now; nothing is waited for but the reader."""
        around = await read_surroundings(reader, subject)
        rollout, status, now = subject.rollout, subject.status, asyncio.get_running_loop().time()
        routing = _own_document(subject, around)
        places = tuple(sorted((place for item in around.pods if (place := place_of(item)) is not None), key=lambda place: place.uid))
        need = _need(subject, around, routing, places)
        source, fresh_source = self._source(subject, around, routing, memory)
        bundles, fresh = self._known_bundles(subject, routing, memory.wake)
        age = memory.attendant.poll_age()
        ref = RolloutRef(namespace=rollout.namespace, name=rollout.name, uid=rollout.uid)
        observation = Observation(
            target=target_of(around, memory.attendant.heard, now=now),
            document=around.found.as_document(around.owner_name) if around.found is not None else None,
            source=source,
            bundles=bundles,
            evidence=_evidence(subject, routing, need, memory),
            evidence_full=memory.attendant.keeper is not None and memory.attendant.keeper.full,
            poll_age_ms=round(age * 1000) if age is not None else None,
            ledger=self._ledger_of(subject, ref, memory.wake),
            unattended_ms=self._attendance.unattended_ms(max(subject.written_ms, memory.written_ms)) if status.walk is not None else 0,
            namespace_terminating=await self._terminating(subject),
            router_error=memory.router_error,
        )
        silent = status.walk is not None and any(place.uid not in memory.attendant.heard for place in places)
        loading = fresh_source or fresh or (silent and memory.age() < _PATIENCE_S)
        deployment = rollout.spec.target.deployment if rollout.spec is not None else ""
        return Seen(observation, need, places, ref, deployment, loading)

    def _source(self, subject: Subject, around: Surroundings, routing: RoutingDocument | None, memory: Memory) -> tuple[Source, bool]:
        spec = subject.rollout.spec
        if spec is None:
            return Source(), False
        uri, digest, run, at_ms = "", "", "", 0
        if spec.source.bundle is not None:
            uri, digest = spec.source.bundle.uri, spec.source.bundle.digest
        elif spec.source.retrain_ref is not None:
            name = spec.source.retrain_ref.name
            if around.retrain is None:
                text = f"ModelRetrain {name} does not exist in this namespace; create it, or correct spec.source.retrainRef.name"
                return Source(reason=Reason.SOURCE_UNAVAILABLE, message=text), False
            latest = (around.retrain.get("status") or {}).get("latestBundle")
            if not latest:
                return Source(reason=Reason.NO_BUNDLE, message=f"ModelRetrain {name} has published nothing yet"), False
            uri, digest, run = latest["uri"], latest["digest"], latest.get("run", "")
            at_ms = round(datetime.fromisoformat(latest["at"]).timestamp() * 1000) if latest.get("at") else 0
        serves = routing is not None and routing.stable is not None and routing.stable.digest == digest
        found = self._bundles.get(uri, digest, reference=not serves, wake=memory.wake)
        if not isinstance(found, Missing) and spec.source.bundle is not None and digest not in _taken_up(subject, routing):
            # retention must not remove under our hands what is taken up now
            memory.pin = self._bundles.pin(memory.pin, generation=subject.rollout.generation, uri=uri, wake=memory.wake)
            if not memory.pin.free:
                found = Missing(memory.pin.message, fresh=not memory.pin.message)
        if isinstance(found, Missing):
            return Source(run=run, at_ms=at_ms, reason=Reason.SOURCE_UNAVAILABLE, message=found.message), found.fresh
        return Source(found, run=run, at_ms=at_ms), False

    def _known_bundles(self, subject: Subject, routing: RoutingDocument | None, wake: Callable[[], None]) -> tuple[dict[str, Bundle], bool]:
        """Return the bundles of every model in document and status, with their bins while a walk is under way."""
        status = subject.status
        on_trial = status.walk.model if status.walk is not None else None
        in_status = (status.stable, status.candidate, status.previous, status.waiting, on_trial)
        in_document = (routing.stable, routing.candidate, routing.previous) if routing is not None else ()
        wanted = {ref.digest: ref.uri for ref in (*in_status, *in_document) if ref is not None}
        walking = status.walk is not None or (routing is not None and routing.measure is not None)
        found, fresh = {}, False
        for digest, uri in wanted.items():
            bundle = self._bundles.get(uri, digest, reference=walking, wake=wake)
            if isinstance(bundle, Missing):
                fresh = fresh or bundle.fresh
            else:
                found[digest] = bundle
        return found, fresh

    def _ledger_of(self, subject: Subject, ref: RolloutRef, wake: Callable[[], None]) -> Ledger:
        status = subject.status
        if status.walk is None and status.routing.pending is None and not status.entries:
            return Ledger(stored=status.sequence)  # every entry was seen in the store before it left the status
        return self._ledger.view(ref, wake=wake)

    async def _terminating(self, subject: Subject) -> bool:
        """Whether the namespace is going: only asked while the rollout is being deleted."""
        return subject.rollout.deleting_since_ms is not None and await goes(self._cluster, subject.rollout.namespace)


def _own_document(subject: Subject, around: Surroundings) -> RoutingDocument | None:
    found = around.found
    return found.routing if found is not None and found.owner_uid == subject.rollout.uid else None


def _taken_up(subject: Subject, routing: RoutingDocument | None) -> set[str]:
    """Return the digests of the models that serve or are on trial: every run is told that they are in use."""
    walk, stable = subject.status.walk, subject.status.stable
    in_status = (stable, walk.model if walk is not None else None)
    in_document = (routing.stable, routing.candidate, routing.previous) if routing is not None else ()
    return {model.digest for model in (*in_status, *in_document) if model is not None}


def _need(subject: Subject, around: Surroundings, routing: RoutingDocument | None, places: tuple[Place, ...]) -> Need:
    """Return what has to be known of the pods: nothing where another rollout routes them."""
    found, spec = around.found, subject.rollout.spec
    if routing is None or found is None or spec is None:
        return Need()
    walk = None
    if routing.measure is not None and routing.on_trial is not None and routing.reference is not None:
        walk = WalkKey(
            namespace=subject.rollout.namespace,
            deployment=spec.target.deployment,
            rollout=subject.rollout.name,
            rollout_uid=subject.rollout.uid,
            plan=routing.measure.plan,
            evidence_from=routing.evidence_from,
        )
    return Need(
        digest=found.as_document("").digest,
        places=places,
        pod_uids=frozenset(item["metadata"]["uid"] for item in around.pods),
        walk=walk,
        phase_from=subject.status.walk.first_generation if subject.status.walk is not None else routing.generation,
    )


def _evidence(subject: Subject, routing: RoutingDocument | None, need: Need, memory: Memory) -> Evidence | None:
    """Return the merged evidence of the pair in the document; the same object as long as nothing was added."""
    keeper, walk = memory.attendant.keeper, subject.status.walk
    if routing is None or keeper is None or need.walk != keeper.walk or walk is None:
        return None
    stable, candidate = routing.reference, routing.on_trial
    if stable is None or candidate is None:
        return None
    scope = (stable.version, candidate.version, walk.first_generation, walk.last_generation)
    if memory.evidence is not None and memory.evidence[0] is keeper.bank and memory.evidence[1] == scope:
        return memory.evidence[2]
    found = Evidence.of(
        keeper.bank, stable=stable.version, candidate=candidate.version, first=walk.first_generation, last=walk.last_generation
    )
    memory.evidence = (keeper.bank, scope, found)
    return found
