"""A ModelRetrain and its surroundings, read once. Nothing is decided here."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from walkforward_core.api.retrain import RetrainSpec
from walkforward_core.bundle import Baseline
from walkforward_core.errors import DocumentError
from walkforward_core.names import MANAGED_BY, RETRAIN_LABEL, RUN_CONFIG_KEY, RUN_LABEL
from walkforward_core.runs import RunDocument
from walkforward_operator.cluster.errors import NotFound
from walkforward_operator.cluster.kinds import CONFIG_MAP, JOB, POD, RETRAIN, ROLLOUT
from walkforward_operator.retrain.model import Observation, Owned, Retrain, Rollout
from walkforward_operator.retrain.progress import progress_of
from walkforward_operator.retrain.schedule import epoch_ms
from walkforward_operator.retrain.status import RetrainStatus
from walkforward_operator.retrain.views import job_view, owner_uid, pod_view

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from walkforward_operator.cluster.kinds import Kind
    from walkforward_operator.cluster.protocol import Object, Reader
    from walkforward_operator.reconciler import Key
    from walkforward_operator.retrain.allowed import Installation
    from walkforward_operator.retrain.model import JobView, PodView
    from walkforward_operator.retrain.status import CurrentRun

__all__ = ["Rollouts", "Subject", "look", "read_subject", "retrain_of", "status_of"]

_log: Final = logging.getLogger(__name__)


class Rollouts(Protocol):
    """What the watches know of rollouts; :class:`walkforward_operator.cluster.store.Store` is one."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return one object; raises ``NotFound``."""
        ...

    def followers(self, namespace: str, retrain: str) -> Sequence[Object]:
        """Return the rollouts whose source is this ModelRetrain."""
        ...


@dataclass(frozen=True, slots=True)
class Subject:
    """One ModelRetrain: the object as it was read, its parts understood."""

    body: Object
    retrain: Retrain
    status: RetrainStatus


async def read_subject(reader: Reader, key: Key) -> Subject | None:
    """Return the ModelRetrain, None where there is none."""
    try:
        body = await reader.get(RETRAIN, key.namespace, key.name)
    except NotFound:
        return None
    return Subject(body=body, retrain=retrain_of(body), status=status_of(body))


def retrain_of(body: Mapping[str, Any]) -> Retrain:
    """Return the object without its status; a spec that cannot be read is said, not raised."""
    metadata = body["metadata"]
    spec, error = None, ""
    try:
        spec = msgspec.convert(body.get("spec"), RetrainSpec)
    except msgspec.ValidationError as refused:
        error = str(refused)
    return Retrain(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=int(metadata.get("generation") or 0),
        created_ms=epoch_ms(metadata["creationTimestamp"]),
        spec=spec,
        spec_error=error,
        annotations=metadata.get("annotations") or {},
        deleting=bool(metadata.get("deletionTimestamp")),
    )


def status_of(body: Mapping[str, Any]) -> RetrainStatus:
    """Return the status; raises :class:`msgspec.ValidationError` where another program wrote into it."""
    return msgspec.convert(body.get("status") or {}, RetrainStatus)


async def look(
    reader: Reader, subject: Subject, installation: Installation, now_ms: int, *, pods: Reader, rollouts: Rollouts
) -> Observation:
    """Return everything that the cluster shows of ``subject``; the object store was not asked.

    The trainer's pods are not watched, so they are listed by a reader of their own, and only while a Job may have some. Rollouts are those
    of the watches: to ask the API server for all of a namespace at every look of every retrain would be a load that grows with the square.
    """
    retrain, run = subject.retrain, subject.status.run
    labels = {MANAGED_BY[0]: MANAGED_BY[1], RETRAIN_LABEL: retrain.name}
    jobs = [job_view(body) for body in await reader.list(JOB, retrain.namespace, labels=labels)]
    maps = [body for body in await reader.list(CONFIG_MAP, retrain.namespace, labels=labels) if owner_uid(body) == retrain.uid]
    followers = await _followers(rollouts, retrain)
    progress = None
    if run is not None:
        job = await _job_of(reader, retrain, run, jobs)
        found = await _pods_of(pods, retrain, run, job) if job is not None and not job.suspended else ()
        progress = progress_of(retrain, run, job, found, now_ms)
    return Observation(
        installation=installation,
        progress=progress,
        jobs=tuple(job for job in jobs if job.owner_uid == retrain.uid),
        config_maps=tuple(Owned(CONFIG_MAP, body["metadata"]["name"], body["metadata"]["uid"]) for body in maps),
        rollouts=tuple(followers),
        document=_document(run, maps) if run is not None and run.symbols else None,
    )


def _document(run: CurrentRun, maps: list[Object]) -> RunDocument | None:
    """Return what the run was begun with, None where its ConfigMap is gone or was written by a release that spoke otherwise."""
    found = next((body for body in maps if body["metadata"]["name"] == run.id), None)
    if found is None:
        return None
    try:
        return RunDocument.parse(found["data"][RUN_CONFIG_KEY].encode(), source=f"ConfigMap {run.id}")
    except DocumentError as error:
        _log.warning("%s/%s: %s", found["metadata"]["namespace"], run.id, error)
        return None


async def _job_of(reader: Reader, retrain: Retrain, run: CurrentRun, jobs: list[JobView]) -> JobView | None:
    """Return the Job of the run; by name, should somebody have taken its labels away."""
    found = next((job for job in jobs if job.name == run.job), None)
    if found is not None:
        return found
    try:
        return job_view(await reader.get(JOB, retrain.namespace, run.job))
    except NotFound:
        return None


async def _pods_of(reader: Reader, retrain: Retrain, run: CurrentRun, job: JobView) -> tuple[PodView, ...]:
    """Return the pods of the Job; anybody's pod may carry its labels, and the parts of a run share theirs."""
    bodies = await reader.list(POD, retrain.namespace, labels={RETRAIN_LABEL: retrain.name, RUN_LABEL: run.id})
    return tuple(pod for pod in map(pod_view, bodies) if pod.owner_uid == job.uid)


async def _followers(rollouts: Rollouts, retrain: Retrain) -> list[Rollout]:
    """Return the rollouts that follow the retrain, and the one that its spec names."""
    named = retrain.spec.baseline_from if retrain.spec else None
    bodies = rollouts.followers(retrain.namespace, retrain.name)
    found = [Rollout(name=body["metadata"]["name"], follows=True, stable=_stable(body)) for body in bodies]
    if named is None or any(one.name == named for one in found):
        return found
    with suppress(NotFound):
        found.append(Rollout(name=named, follows=False, stable=_stable(await rollouts.get(ROLLOUT, retrain.namespace, named))))
    return found


def _stable(body: Mapping[str, Any]) -> Baseline | None:
    stable = (body.get("status") or {}).get("stable") or {}
    known = bool(stable.get("uri") and stable.get("digest"))
    return Baseline(uri=stable["uri"], digest=stable["digest"]) if known else None
