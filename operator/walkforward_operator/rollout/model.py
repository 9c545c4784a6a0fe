"""What a rollout decision is made from, and what it asks for.

``decide(rollout, status, observation, now_ms) -> Decision`` is pure. The service gathers an :class:`Observation`, calls it, and carries
the :class:`Decision` out in this order: ``first`` (an abort writes the routing document before anything else), then the status, then
``then`` (a planned write was recorded as pending in the status before). Every time is in epoch milliseconds, UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from walkforward_core.api.rollout import RolloutSpec
    from walkforward_core.bundle import Manifest, Reference
    from walkforward_core.evidence import Evidence
    from walkforward_core.pods import PodReport
    from walkforward_core.routing import ModelRef, RoutingDocument
    from walkforward_operator.rollout.status import RolloutStatus

__all__ = [
    "EVERYTHING",
    "Action",
    "Bundle",
    "Decision",
    "DeletePod",
    "Document",
    "Emit",
    "Ledger",
    "Observation",
    "Pod",
    "Record",
    "RolloutObject",
    "SetFinalizer",
    "Source",
    "Target",
    "WriteRouting",
]


@dataclass(frozen=True, slots=True)
class RolloutObject:
    """One ModelRollout as the API server has it; ``spec`` is None where ``spec_error`` says why it cannot be read."""

    namespace: str
    name: str
    uid: str
    generation: int
    created_ms: int
    spec: RolloutSpec | None
    spec_error: str = ""
    annotations: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    deleting_since_ms: int | None = None
    has_finalizer: bool = False


@dataclass(frozen=True, slots=True)
class Pod:
    """One server pod of the target; ``report`` is its own word (contract C3), ``report_age_ms`` how old that is."""

    name: str
    uid: str
    created_ms: int
    running: bool
    ready: bool
    terminating: bool
    restarts: int = 0
    crash_looping: bool = False
    pushed: str = ""
    report: PodReport | None = None
    report_age_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """The Deployment that serves, and its pods (terminating ones included)."""

    exists: bool
    replicas: int = 0
    pods: tuple[Pod, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """The routing ConfigMap as it is now.

    ``routing`` is None where ``error`` says why the bytes cannot be read; ``digest`` is of the bytes. ``owner_uid`` is the lock's UID and
    ``owner_name`` the rollout that holds it: empty when no ModelRollout with that UID exists any more.
    """

    resource_version: str
    digest: str
    routing: RoutingDocument | None
    error: str = ""
    owner_uid: str = ""
    owner_name: str = ""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose manifest matched its promised digest; ``reference`` is None until it was read."""

    ref: ModelRef
    manifest: Manifest
    reference: Reference | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """The newest bundle that the rollout may serve; ``run`` and ``at_ms`` say where it came from.

    ``reason`` and ``message`` say why there is none, or why it cannot be read: retrain missing, nothing published, store away, digest
    differs.
    """

    bundle: Bundle | None = None
    run: str = ""
    at_ms: int = 0
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Ledger:
    """How far the decision ledger has come.

    ``stored`` is the highest sequence number of this rollout that is known to be in the store, None while that is not known (after a
    restart); without a ledger every number counts as stored (:data:`EVERYTHING`). ``error`` says why it lags.
    """

    stored: int | None = None
    error: str = ""


EVERYTHING = 2**62
"""``Ledger.stored`` where no ledger is kept."""


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that is seen at one moment.

    ``bundles`` has those of the models in document and status, by manifest digest; one that cannot be read is absent.
    ``evidence`` is the merge of banked totals and newest polls; ``poll_age_ms`` is the age of the newest poll of any ready pod.
    ``unattended_ms`` is the time, since the status was last written, in which no operator held the Lease: it is no soak time.
    ``router_error`` says why the last write of the document failed, where it was not a conflict.
    """

    target: Target
    document: Document | None
    source: Source
    bundles: Mapping[str, Bundle]
    evidence: Evidence | None = None
    evidence_full: bool = False
    poll_age_ms: int | None = None
    ledger: Ledger = Ledger()
    unattended_ms: int = 0
    namespace_terminating: bool = False
    router_error: str = ""


@dataclass(frozen=True, slots=True)
class WriteRouting:
    """Write the document, on the resource version that the decision was made on; None creates it, and only creates.

    ``takeover`` also sets the lock annotation to this rollout, in the same write.
    """

    document: RoutingDocument
    resource_version: str | None
    takeover: bool = False


@dataclass(frozen=True, slots=True)
class SetFinalizer:
    """Add or remove the finalizer."""

    present: bool


@dataclass(frozen=True, slots=True)
class DeletePod:
    """Delete one server pod, by UID; its Deployment makes another."""

    name: str
    uid: str
    why: str


@dataclass(frozen=True, slots=True)
class Emit:
    """A Kubernetes Event for people: one reason per transition."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of the decision ledger: what was decided, on which evidence.

    It is asked for again in every decision until ``Ledger.stored`` has reached ``seq``; storing it twice is to have no effect.
    ``body`` is the JSON text that ``status.entries`` has.
    """

    seq: int
    kind: str
    body: str


Action: TypeAlias = WriteRouting | SetFinalizer | DeletePod | Emit | Record


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do: ``first``, then write ``status`` where it differs, then ``then``; look again after ``requeue_after_ms``."""

    status: RolloutStatus
    first: tuple[Action, ...] = ()
    then: tuple[Action, ...] = ()
    requeue_after_ms: int | None = None
