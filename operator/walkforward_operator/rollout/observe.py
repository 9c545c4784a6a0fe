"""A ModelRollout and its surroundings, read once from the API server or from what the watches brought. Nothing is decided here."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from walkforward_core.api.rollout import RolloutSpec
from walkforward_core.names import FINALIZER, ROUTING_ANNOTATION, STATUS_MANAGER, TARGET_LABEL, routing_name
from walkforward_operator.cluster.errors import NotFound
from walkforward_operator.cluster.kinds import CONFIG_MAP, DEPLOYMENT, POD, RETRAIN, ROLLOUT
from walkforward_operator.rollout.attendant import Place
from walkforward_operator.rollout.model import Pod, RolloutObject, Target
from walkforward_operator.rollout.status import RolloutStatus
from walkforward_operator.routing.document import read_document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from walkforward_operator.cluster.kinds import Kind
    from walkforward_operator.cluster.protocol import Object, Reader
    from walkforward_operator.reconciler import Key
    from walkforward_operator.rollout.attendant import Heard
    from walkforward_operator.routing.document import Found

__all__ = ["Subject", "Surroundings", "place_of", "read_subject", "read_surroundings", "target_of"]


@dataclass(frozen=True, slots=True)
class Subject:
    """One ModelRollout: the object as it was read, its parts understood; ``written_ms`` is when its status was last written."""

    body: Object
    rollout: RolloutObject
    status: RolloutStatus
    written_ms: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What else was read: the Deployment, its pods, the routing document with the name of its owner, the retrain that is followed."""

    deployment: Object | None
    pods: tuple[Object, ...]
    found: Found | None
    owner_name: str
    retrain: Object | None


async def read_subject(reader: Reader, key: Key) -> Subject | None:
    """Return the ModelRollout, None where there is none.

    Raises
    ------
    msgspec.ValidationError
        The status is not one that this operator has written: nothing may be decided on it.
    """
    try:
        body = await reader.get(ROLLOUT, key.namespace, key.name)
    except NotFound:
        return None
    return subject_of(body)


def subject_of(body: Object) -> Subject:
    """Return the object with its parts understood; a spec that cannot be read is said, not raised."""
    metadata, spec, spec_error = body["metadata"], None, ""
    try:
        spec = msgspec.convert(body.get("spec") or {}, RolloutSpec)
    except msgspec.ValidationError as error:
        spec_error = f"spec: {error}; correct it, or install the CRD of this release"
    deleted = metadata.get("deletionTimestamp")
    rollout = RolloutObject(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        created_ms=_millis(metadata["creationTimestamp"]),
        spec=spec,
        spec_error=spec_error,
        annotations=dict(metadata.get("annotations") or {}),
        deleting_since_ms=_millis(deleted) if deleted else None,
        has_finalizer=FINALIZER in (metadata.get("finalizers") or ()),
    )
    status = msgspec.convert(body.get("status") or {}, RolloutStatus)
    return Subject(body, rollout, status, _written_ms(metadata))


async def read_surroundings(reader: Reader, subject: Subject) -> Surroundings:
    """Return everything around a rollout whose spec could be read or whose status knows the target."""
    rollout = subject.rollout
    if rollout.spec is None:
        return Surroundings(None, (), None, "", None)
    namespace, deployment = rollout.namespace, rollout.spec.target.deployment
    follows = rollout.spec.source.retrain_ref
    target, pods, config_map, retrain = await asyncio.gather(
        _get(reader, DEPLOYMENT, namespace, deployment),
        reader.list(POD, namespace, labels={TARGET_LABEL: deployment}),
        _get(reader, CONFIG_MAP, namespace, routing_name(deployment)),
        _get(reader, RETRAIN, namespace, follows.name if follows is not None else ""),
    )
    found = read_document(config_map) if config_map is not None else None
    owner = await _owner_name(reader, rollout, found) if found is not None else ""
    return Surroundings(target, tuple(pods), found, owner, retrain)


def target_of(around: Surroundings, heard: Mapping[str, Heard], *, now: float) -> Target:
    """Return the Deployment and its pods, with what each has said; ``now`` is the loop's clock."""
    spec = (around.deployment or {}).get("spec") or {}
    pods = tuple(_pod(item, heard, now) for item in sorted(around.pods, key=lambda item: str(item["metadata"]["name"])))
    return Target(exists=around.deployment is not None, replicas=spec.get("replicas", 1) if around.deployment else 0, pods=pods)


def place_of(item: Object) -> Place | None:
    """Return where a pod can be asked; None while it does not run."""
    metadata, status = item["metadata"], item.get("status") or {}
    address = status.get("podIP")
    if status.get("phase") != "Running" or not address:
        return None
    return Place(metadata["uid"], address, _restarts(status), "deletionTimestamp" in metadata)


def _pod(item: Object, heard: Mapping[str, Heard], now: float) -> Pod:
    metadata, status = item["metadata"], item.get("status") or {}
    said = heard.get(metadata["uid"])
    if said is not None and said.restarts != _restarts(status):
        said = None  # another process has its place now
    containers = status.get("containerStatuses") or ()
    waiting = [((container.get("state") or {}).get("waiting") or {}).get("reason") for container in containers]
    return Pod(
        name=metadata["name"],
        uid=metadata["uid"],
        created_ms=_millis(metadata["creationTimestamp"]),
        running=status.get("phase") == "Running",
        ready=any(entry["type"] == "Ready" and entry["status"] == "True" for entry in status.get("conditions") or ()),
        terminating="deletionTimestamp" in metadata,
        restarts=_restarts(status),
        crash_looping="CrashLoopBackOff" in waiting,
        pushed=(metadata.get("annotations") or {}).get(ROUTING_ANNOTATION, ""),
        report=said.report if said is not None else None,
        report_age_ms=round((now - said.at) * 1000) if said is not None else None,
    )


def _restarts(status: Mapping[str, Any]) -> int:
    return sum(container.get("restartCount", 0) for container in status.get("containerStatuses") or ())


async def _owner_name(reader: Reader, rollout: RolloutObject, found: Found) -> str:
    """Return the name of the ModelRollout that has the lock's UID; empty where there is none any more."""
    if found.owner_uid in {"", rollout.uid}:
        return rollout.name if found.owner_uid else ""
    if found.routing is not None:
        named = await _get(reader, ROLLOUT, rollout.namespace, found.routing.rollout.name)
        if named is not None and named["metadata"]["uid"] == found.owner_uid:
            return found.routing.rollout.name
    others = await reader.list(ROLLOUT, rollout.namespace)
    return next((str(item["metadata"]["name"]) for item in others if item["metadata"]["uid"] == found.owner_uid), "")


async def _get(reader: Reader, kind: Kind, namespace: str, name: str) -> Object | None:
    if not name:
        return None
    try:
        return await reader.get(kind, namespace, name)
    except NotFound:
        return None


def _millis(instant: str) -> int:
    return round(datetime.fromisoformat(instant).timestamp() * 1000)


def _written_ms(metadata: Mapping[str, Any]) -> int:
    """Return when the status was last written, to the second below; 0 when never."""
    times = [entry["time"] for entry in metadata.get("managedFields") or () if entry.get("manager") == STATUS_MANAGER and entry.get("time")]
    return max((_millis(time) for time in times), default=0)
