"""Names in the cluster that two parts must agree on (labels, annotations, ports, deterministic object names)."""

from __future__ import annotations

from typing import Final

__all__ = [
    "ADMIN_PORT",
    "ATTEMPT_HEADER",
    "GROUP",
    "HTTP_PORT",
    "VERBS",
    "VERSION",
    "action_annotation",
    "evidence_name",
    "routing_name",
]

GROUP: Final = "walkforward.dev"
VERSION: Final = "v1alpha1"
RETRAINS: Final = "modelretrains"
ROLLOUTS: Final = "modelrollouts"

HTTP_PORT: Final = 8080
"""Port ``http`` of the server: V2 inference and outcomes."""
ADMIN_PORT: Final = 4010
"""Port ``admin`` of the server: routing, statistics, metrics, probes."""
ATTEMPT_HEADER: Final = "Walkforward-Attempt"
"""Of requests to the server: the number of the attempt, from 1. A further one is answered without the model on trial."""

ROUTING_KEY: Final = "routing.json"
EVIDENCE_KEY: Final = "evidence.json.gz"
ROLLOUT_UID_ANNOTATION: Final = "walkforward.dev/rollout-uid"
"""On the routing ConfigMap: the lock on the target, valid while a ModelRollout with that UID exists."""
ROUTING_ANNOTATION: Final = "walkforward.dev/routing"
"""On pods: the push, ``<generation>`` or ``<generation>.<attempt>``."""
TARGET_LABEL: Final = "walkforward.dev/target"
RETRAIN_LABEL: Final = "walkforward.dev/retrain"
"""On Jobs, their pods and ConfigMaps: the name of the ModelRetrain."""
RUN_LABEL: Final = "walkforward.dev/run"
MANAGED_BY: Final = ("app.kubernetes.io/managed-by", "walkforward")

FIELD_MANAGER: Final = "walkforward"
STATUS_MANAGER: Final = "walkforward-status"
ROUTING_MANAGER: Final = "walkforward-routing"
FINALIZER: Final = "walkforward.dev/restore-stable"

VERBS: Final = ("approve", "promote", "abort", "retry", "pause", "resume")
RUN_ANNOTATION: Final = "walkforward.dev/run"

RUN_CONFIG_KEY: Final = "run.json"
RUN_CONFIG_PATH: Final = "/etc/walkforward/run.json"
ROUTING_MOUNT: Final = "/etc/walkforward/routing"
"""The routing ConfigMap is mounted here as a directory, optional, never by subPath."""
STATE_MOUNT: Final = "/var/lib/walkforward"
"""An emptyDir of the server pod: bundles and the marker of a candidate that killed the process."""


def routing_name(deployment: str) -> str:
    """Return the name of the ConfigMap that routes the traffic of ``deployment``."""
    return f"{deployment}-routing"


def evidence_name(deployment: str, shard: int) -> str:
    """Return the name of the ``shard``-th ConfigMap of banked evidence."""
    return f"{deployment}-evidence-{shard}"


def action_annotation(verb: str) -> str:
    """Return the annotation that asks for ``verb`` (one of :data:`VERBS`)."""
    return f"{GROUP}/{verb}"
