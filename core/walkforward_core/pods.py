"""What a server pod says of itself at ``GET /v1/routing`` (contract C3)."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from walkforward_core.documents import Document, Part

__all__ = ["Applied", "ModelReport", "ModelRole", "ModelState", "PodReport"]


class ModelState(StrEnum):
    """How far a pod has come with one model."""

    WAITING = "Waiting"
    """Another pod proves this candidate first."""
    LOADING = "Loading"
    PROVING = "Proving"
    READY = "Ready"
    REFUSED = "Refused"
    """Integrity, parity or features are wrong; it never serves."""
    TRIPPED = "Tripped"
    """The process died with it; the pod serves without it."""


class ModelRole(StrEnum):
    """The place that the routing document gives to a model."""

    STABLE = "stable"
    CANDIDATE = "candidate"
    PREVIOUS = "previous"


class Applied(Part, frozen=True, kw_only=True):
    """The document that the pod acts on; ``digest`` is of its bytes."""

    generation: int
    digest: str


class ModelReport(Part, frozen=True, kw_only=True):
    """One model of the document, as this pod has it; ``digest`` is of the manifest that was verified."""

    role: ModelRole
    state: ModelState
    reason: str = ""
    digest: str = ""


class PodReport(Document, frozen=True, kw_only=True):
    """The pod's own word: what it has applied, how each model stands, and the error of a document that it refuses."""

    NAME: ClassVar[str] = "pod"

    pod_uid: str
    boot: str
    applied: Applied | None = None
    models: dict[str, ModelReport] = {}
    error: str | None = None
