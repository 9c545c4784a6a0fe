"""The trainer's Job and its input, as plain manifests (contract C8).

The name of a run is a digest of everything that it depends on, so the same occasion makes the same Job, whoever asks and however often.
No pod template comes from the spec: no account, no volume, no Secret but the object store's, no token, no privilege.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from walkforward_core.api.retrain import Triggers
from walkforward_core.documents import encode
from walkforward_core.names import GROUP, MANAGED_BY, RETRAIN_LABEL, RUN_CONFIG_KEY, RUN_CONFIG_PATH, RUN_LABEL
from walkforward_core.runs import ExitCode, RetrainObject, RunDocument, RunPart
from walkforward_operator.cluster.kinds import RETRAIN
from walkforward_operator.retrain.schedule import epoch_ms

if TYPE_CHECKING:
    from walkforward_core.api.retrain import JobSpec, RetrainSpec, Toleration
    from walkforward_operator.retrain.allowed import Installation
    from walkforward_operator.retrain.model import Retrain
    from walkforward_operator.retrain.status import CurrentRun

__all__ = ["CONTAINER", "FINAL", "KUEUE_QUEUE", "PARALLEL", "config_map", "inputs_digest", "job", "run_document", "run_name"]

CONTAINER: Final = "trainer"
KUEUE_QUEUE: Final = "kueue.x-k8s.io/queue-name"
"""All that Kueue asks for: its webhook suspends the Job as it is created. One that we suspend would wait for ever where there is none."""
AS_OF_ANNOTATION: Final = f"{GROUP}/as-of"
TRIGGER_ANNOTATION: Final = f"{GROUP}/trigger"

_KILLED: Final = 137
"""Exit code of a container that was killed, most often for its memory: another pod would meet the same end."""
FINAL: Final = tuple(sorted([ExitCode.REJECTED, ExitCode.BAD_DATA, ExitCode.BUG, ExitCode.BAD_CONFIGURATION, _KILLED]))
"""Exit codes after which no other pod is tried."""
PARALLEL: Final = 4
"""Symbols that are prepared at once, at most: a hundred of them must not take a cluster."""


def used(spec: RetrainSpec) -> RetrainSpec:
    """Return ``spec`` without what says when a run starts and what is kept of it: an edit of that changes no run."""
    return msgspec.structs.replace(spec, schedules=(), triggers=Triggers(), suspend=False, history_limit=10, baseline_from=None)


def inputs_digest(spec: RetrainSpec) -> str:
    """Return 16 hex digits over the parts of ``spec`` that a run uses; the order of keys in maps does not matter."""
    return hashlib.sha256(msgspec.json.encode(used(spec), order="sorted")).hexdigest()[:16]


def run_name(retrain: str, *, uid: str, inputs: str, as_of: str, trigger_id: str) -> str:
    """Return the name of a run, its Job and its ConfigMap: ``<retrain>-<8 hex digits>``."""
    return f"{retrain}-{hashlib.sha256(encode([uid, inputs, as_of, trigger_id])).hexdigest()[:8]}"


def run_document(retrain: Retrain, run: CurrentRun, spec: RetrainSpec) -> RunDocument:
    """Return ``run.json``; where it is not known which bundles are in use, it asks for no retention."""
    spec = used(spec)
    if run.in_use is None:
        spec = msgspec.structs.replace(spec, artifacts=msgspec.structs.replace(spec.artifacts, retention=None))
    return RunDocument(
        run=run.id,
        retrain=RetrainObject(namespace=retrain.namespace, name=retrain.name, uid=retrain.uid),
        trigger=run.trigger,
        as_of=run.as_of,
        spec=spec,
        mode=run.mode,
        force=run.force,
        skip_gates=run.skip_gates,
        baseline=run.baseline,
        part=run.part,
        in_use=run.in_use or (),
        in_use_at=run.started_at if run.in_use is not None else "",
    )


def config_map(retrain: Retrain, run: CurrentRun, spec: RetrainSpec) -> dict[str, Any]:
    """Return the immutable ConfigMap that holds ``run.json`` of the part that is at work."""
    document = run_document(retrain, run, spec)
    return {
        "metadata": _metadata(retrain, run),
        "immutable": True,
        "data": {RUN_CONFIG_KEY: document.to_bytes().decode()},
    }


def job(retrain: Retrain, run: CurrentRun, spec: RetrainSpec, installation: Installation, *, image: str = "") -> dict[str, Any]:
    """Return the Job, of the part that is at work, of a spec that the installation allows.

    The Job that gathers has what time the first one left, and its ``image``, whichever is the installation's by now.
    """
    settings = spec.job
    metadata = _metadata(retrain, run, settings)
    template = {"labels": dict(metadata["labels"]), "annotations": dict(metadata["annotations"])}
    if settings.queue_name:
        metadata["labels"][KUEUE_QUEUE] = settings.queue_name
    return {
        "metadata": metadata,
        "spec": {
            **_completions(run, settings),
            "activeDeadlineSeconds": max((epoch_ms(run.deadline) - epoch_ms(run.since)) // 1000, 1),
            "podFailurePolicy": _failure_policy(),
            "template": {"metadata": template, "spec": _pod(run, spec, installation, image or installation.image_of(spec))},
        },
    }


def _completions(run: CurrentRun, settings: JobSpec) -> dict[str, Any]:
    """One pod, or one for each symbol: of these each has its own retries, and the first that is out of them fails the Job."""
    if run.part is not RunPart.SHARD:
        return {"completions": 1, "parallelism": 1, "backoffLimit": settings.backoff_limit}
    return {
        "completionMode": "Indexed",
        "completions": len(run.symbols),
        "parallelism": min(len(run.symbols), PARALLEL),
        "backoffLimitPerIndex": settings.backoff_limit,
        "maxFailedIndexes": 0,
    }


def _metadata(retrain: Retrain, run: CurrentRun, settings: JobSpec | None = None) -> dict[str, Any]:
    own = {MANAGED_BY[0]: MANAGED_BY[1], RETRAIN_LABEL: retrain.name, RUN_LABEL: run.id}
    said = {AS_OF_ANNOTATION: run.as_of, TRIGGER_ANNOTATION: f"{run.trigger.kind}/{run.trigger.id}"}
    return {
        "name": run.job,
        "namespace": retrain.namespace,
        # ours last: nobody's label makes a Job another run's
        "labels": {**(settings.labels if settings else {}), **own},
        "annotations": {**(settings.annotations if settings else {}), **said},
        "ownerReferences": [
            {"apiVersion": RETRAIN.api_version, "kind": RETRAIN.name, "name": retrain.name, "uid": retrain.uid, "controller": True}
        ],
    }


def _failure_policy() -> dict[str, Any]:
    """A pod that the cluster took away is no attempt; an end that another pod would meet too is final."""
    return {
        "rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailJob", "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": [int(code) for code in FINAL]}},
        ]
    }


def _pod(run: CurrentRun, spec: RetrainSpec, installation: Installation, image: str) -> dict[str, Any]:
    settings = spec.job
    optional = {
        "serviceAccountName": installation.service_account,
        "imagePullSecrets": [{"name": name} for name in installation.pull_secrets],
        "nodeSelector": dict(settings.node_selector),
        "tolerations": [_toleration(one) for one in settings.tolerations],
        "affinity": dict(settings.affinity or {}),
    }
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        **{name: value for name, value in optional.items() if value},
        "containers": [_container(spec, installation, image)],
        "volumes": [
            {"name": "run", "configMap": {"name": run.job, "items": [{"key": RUN_CONFIG_KEY, "path": RUN_CONFIG_KEY}]}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }


def _container(spec: RetrainSpec, installation: Installation, image: str) -> dict[str, Any]:
    resources = {"requests": dict(spec.job.resources.requests), "limits": dict(spec.job.resources.limits)}
    return {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": installation.pull_policy,
        "args": ["run", "--spec", RUN_CONFIG_PATH],
        "envFrom": [{"secretRef": {"name": installation.secret_of(spec)}}],
        "resources": {name: value for name, value in resources.items() if value},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        # the result is written to this file; the log is never parsed
        "terminationMessagePolicy": "File",
        "volumeMounts": [
            {"name": "run", "mountPath": RUN_CONFIG_PATH.rpartition("/")[0], "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own emptyDir
        ],
    }


def _toleration(toleration: Toleration) -> dict[str, Any]:
    said = {
        "key": toleration.key,
        "operator": toleration.operator,
        "value": toleration.value,
        "effect": toleration.effect,
        "tolerationSeconds": toleration.toleration_seconds,
    }
    return {name: value for name, value in said.items() if value not in ("", None)}
