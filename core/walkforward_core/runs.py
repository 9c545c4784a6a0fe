"""The trainer Job's input and result: ``run.json``, the termination message, ``result.json`` (contract C8)."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import ClassVar

from walkforward_core.api.retrain import RetrainSpec
from walkforward_core.bundle import Baseline
from walkforward_core.documents import Document, Part

__all__ = [
    "ALREADY_PUBLISHED",
    "ExitCode",
    "ResultDocument",
    "RetrainObject",
    "RunDocument",
    "RunMode",
    "RunPart",
    "RunVerdict",
    "SkippedGate",
    "Trigger",
    "TriggerKind",
]

ALREADY_PUBLISHED = "AlreadyPublished"
"""Reason of a Published result whose bundle was there: of an earlier attempt or, the same model for the same ``asOf``, of another run."""
TERMINATION_LIMIT = 2_048
"""Bytes of a termination message that the parts promise to keep to."""


class TriggerKind(StrEnum):
    """What started a run."""

    SCHEDULE = "Schedule"
    DRIFT = "Drift"
    AGE = "Age"
    MANUAL = "Manual"


class RunMode(StrEnum):
    """How much of the recipe runs."""

    FULL = "Full"
    DRY_RUN = "DryRun"
    """Stops after eligibility."""
    SMOKE = "Smoke"
    CALIBRATE = "Calibrate"
    """Measures what execution costs; trains nothing."""


class RunVerdict(StrEnum):
    """How a run ended."""

    PUBLISHED = "Published"
    REJECTED = "Rejected"
    INELIGIBLE = "Ineligible"
    DRY_RUN = "DryRun"
    CALIBRATED = "Calibrated"
    """An execution calibration was written; there is no bundle."""
    PREPARED = "Prepared"
    """A shard has written its rows; the last step gathers them."""
    FAILED = "Failed"


class ExitCode(IntEnum):
    """Exit codes of the trainer; only ``TRANSIENT`` is worth a second pod."""

    DONE = 0
    REJECTED = 1
    BAD_DATA = 65
    BUG = 70
    TRANSIENT = 75
    BAD_CONFIGURATION = 78


class RetrainObject(Part, frozen=True, kw_only=True):
    """Identity of a ModelRetrain."""

    namespace: str
    name: str
    uid: str


class Trigger(Part, frozen=True, kw_only=True):
    """What started the run and, for a person, who."""

    id: str
    """What tells this occasion from others: the slot, the time of the drift, the id of the request."""
    kind: TriggerKind
    """Schedule, Drift, Age or Manual."""
    by: str = ""
    """The person who asked, for a manual run."""


class SkippedGate(Part, frozen=True, kw_only=True):
    """A metric gate that a person asked to skip, with the reason that is recorded in the manifest."""

    name: str
    """Name of the gate."""
    reason: str
    """Why, in the words of the person."""


class ResultDocument(Document, frozen=True, kw_only=True):
    """How a run ended; at most 8 metrics, ``failed`` names gates; ``more`` is true when the full record has more."""

    NAME: ClassVar[str] = "result"

    run: str
    verdict: RunVerdict
    reason: str
    message: str = ""
    version: str = ""
    uri: str = ""
    digest: str = ""
    model: str = ""
    metrics: dict[str, float] = {}
    failed: tuple[str, ...] = ()
    more: bool = False


class RunPart(StrEnum):
    """Which part of a run a pod does: a run of several symbols has a pod for each, and one that gathers."""

    WHOLE = "Whole"
    SHARD = "Shard"
    """Rows of the symbol ``spec.data.symbols[JOB_COMPLETION_INDEX]``, from data to labels."""
    GATHER = "Gather"
    """All shards' rows, from splits to bundle."""


class RunDocument(Document, frozen=True, kw_only=True):
    """``run.json``: one run of the trainer, complete; ``as_of`` RFC 3339 UTC, ``baseline`` the stable model of the following rollout.

    ``in_use``: folders of bundles below ``spec.artifacts.uri`` that rollouts name as stable, candidate, previous or pinned; retention
    leaves them alone. ``in_use_at``: when that was so; empty where nobody has looked.
    """

    NAME: ClassVar[str] = "run"

    run: str
    retrain: RetrainObject
    trigger: Trigger
    as_of: str
    spec: RetrainSpec
    mode: RunMode = RunMode.FULL
    force: bool = False
    skip_gates: tuple[SkippedGate, ...] = ()
    baseline: Baseline | None = None
    part: RunPart = RunPart.WHOLE
    in_use: tuple[str, ...] = ()
    in_use_at: str = ""
