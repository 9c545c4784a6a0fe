"""Status of a ModelRetrain: everything the engine remembers between two looks, and what people see.

Times are RFC 3339 UTC to the second. ``run`` is the only run that may be under way; it is written before its Job is created, and a
run is written into ``history`` before its Job may go.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta

from walkforward_core.api.offline import OfflineGates
from walkforward_core.bundle import Baseline
from walkforward_core.documents import Part
from walkforward_core.runs import RunMode, RunPart, RunVerdict, SkippedGate, Trigger
from walkforward_operator.conditions import Condition

__all__ = [
    "GATHER_SUFFIX",
    "CurrentRun",
    "HandledSlot",
    "LastRun",
    "LatestBundle",
    "ManualOutcome",
    "ManualRun",
    "RetrainPhase",
    "RetrainStatus",
    "RunRecord",
]

HANDLED_KEPT: Final = 50
GATHER_SUFFIX: Final = "-gather"
"""Ends the name of the Job that gathers the symbols of a run."""
Text = Annotated[str, Meta(max_length=4096)]
Word = Annotated[str, Meta(max_length=253)]
Instant = Annotated[str, Meta(max_length=40)]


class RetrainPhase(StrEnum):
    """Where a ModelRetrain is."""

    IDLE = "Idle"
    WAITING = "Waiting"
    RUNNING = "Running"
    GATHERING = "Gathering"
    PUBLISHED = "Published"
    REJECTED = "Rejected"
    INELIGIBLE = "Ineligible"
    FAILED = "Failed"
    SUSPENDED = "Suspended"


class ManualOutcome(StrEnum):
    """What became of a manual run."""

    WAITING = "Waiting"
    STARTED = "Started"
    REFUSED = "Refused"


class LatestBundle(Part, frozen=True, kw_only=True):
    """The newest bundle that passed its gates."""

    version: Word
    """Version of the bundle: the data's instant and the first 8 digits of the model's digest."""
    uri: Annotated[str, Meta(max_length=1200)]
    """Folder of the bundle."""
    digest: Annotated[str, Meta(max_length=80)]
    """sha256 of its manifest.json."""
    model: Annotated[str, Meta(max_length=80)]
    """sha256 of its model.onnx."""
    run: Word
    """Run that published it."""
    at: Instant
    """When its verdict was verified."""


class CurrentRun(Part, frozen=True, kw_only=True):
    """The run that is under way, complete enough to be followed without the spec, which may be edited meanwhile."""

    id: Word
    """Name of the run, of its Job and of its ConfigMap; of several symbols, of the Job that prepares them."""
    trigger: Trigger
    """What started it and, for a person, who."""
    mode: RunMode
    """Full, DryRun (stops after eligibility), Smoke or Calibrate."""
    as_of: Instant
    """The instant at which the run pretends to happen; no later bar is read."""
    inputs: Annotated[str, Meta(max_length=64)]
    """Digest of the parts of the spec that the run uses."""
    generation: int
    """Generation of the spec that the run was started with."""
    gates: OfflineGates
    """The gates as they stood at the start; the operator judges the result by them."""
    artifacts: Annotated[str, Meta(max_length=1024)]
    """Prefix below which the run writes its record and its bundle."""
    started_at: Instant
    """When the run was started."""
    deadline: Instant
    """When it is Failed at the latest, counted from its start; a queue's waiting time comes on top."""
    force: bool = False
    """Whether eligibility is skipped."""
    skip_gates: Annotated[tuple[SkippedGate, ...], Meta(max_length=64)] = ()
    """Gates that a person asked to skip, with the reason."""
    baseline: Baseline | None = None
    """The live model that the candidate is compared with."""
    recipe: Word = ""
    """Recipe of the run."""
    eta: Instant | None = None
    """When such a run is usually done: its start plus the median duration of those of its mode and recipe in the history."""
    memory_limit: Annotated[str, Meta(max_length=40)] = ""
    """Memory limit of the trainer's container."""
    created: bool = False
    """Whether the Job was seen. From then on its absence means that it is lost, never that it is to be created."""
    attempt: int = 1
    """Number of the pod that is at work; above 1 after a transient failure."""
    unverified_since: Instant | None = None
    """Since when the run has ended, but the object store does not give its result; after a day the run is Failed."""
    symbols: Annotated[tuple[Word, ...], Meta(max_length=100)] = ()
    """Several symbols: each is prepared by a pod of its own, of an Indexed Job, in this order. Empty where one pod does everything."""
    in_use: Annotated[tuple[str, ...], Meta(max_length=500)] | None = None
    """Bundles that retention leaves alone; absent where none is deleted."""
    gathering_since: Instant | None = None
    """Since when every symbol is prepared, and the Job `<id>-gather` trains on all of them."""

    @property
    def part(self) -> RunPart:
        """Which part of the run is at work."""
        if not self.symbols:
            return RunPart.WHOLE
        return RunPart.GATHER if self.gathering_since else RunPart.SHARD

    @property
    def job(self) -> str:
        """Name of the Job, and of the ConfigMap, of the part that is at work."""
        return self.id + GATHER_SUFFIX if self.part is RunPart.GATHER else self.id

    @property
    def since(self) -> str:
        """When the part that is at work was begun."""
        return self.gathering_since or self.started_at


class RunRecord(Part, frozen=True, kw_only=True):
    """A run that has ended."""

    run: Word
    """Name of the run and of its Job."""
    trigger: Trigger
    """What started it and, for a person, who."""
    mode: RunMode
    """Full, DryRun, Smoke or Calibrate."""
    recipe: Word = ""
    """Recipe of the run."""
    as_of: Instant
    """The instant at which the run pretended to happen."""
    verdict: RunVerdict
    """Published, Rejected, Ineligible, DryRun, Calibrated or Failed."""
    reason: Word
    """One word for programs."""
    message: Text = ""
    """What happened; for a rejection with gate, value, threshold and remedy."""
    version: Word = ""
    """Version of the bundle that was published."""
    metrics: Annotated[dict[str, float], Meta(max_length=8)] = {}
    """Metrics that the run reported, at most 8."""
    failed: Annotated[tuple[Word, ...], Meta(max_length=16)] = ()
    """Gates that were not passed."""
    generation: int = 0
    """Generation of the spec that the run was started with."""
    started_at: Instant
    """When the run was started."""
    finished_at: Instant
    """When its result was verified."""

    @property
    def aside(self) -> bool:
        """Whether it says nothing of the model: calibrations and smoke runs leave the retrain in its phase, unless they fail."""
        return self.mode in {RunMode.CALIBRATE, RunMode.SMOKE} and self.verdict is not RunVerdict.FAILED


class LastRun(Part, frozen=True, kw_only=True):
    """The last run that ended, in short."""

    run: Word
    """Name of the run and of its Job."""
    verdict: RunVerdict
    """Published, Rejected, Ineligible, DryRun, Calibrated or Failed."""
    started_at: Instant
    """When it was started."""
    finished_at: Instant
    """When its result was verified."""


class HandledSlot(Part, frozen=True, kw_only=True):
    """How far one schedule has been worked off."""

    schedule: Annotated[str, Meta(max_length=200)]
    """The schedule, as `<cron> <time zone>`, and its mode where that is not Full."""
    slot: Instant
    """Its newest slot that started a run or was passed over; only later slots start one."""


class ManualRun(Part, frozen=True, kw_only=True):
    """The newest annotation `walkforward.dev/run`, echoed."""

    request: Annotated[str, Meta(max_length=64)]
    """Digest of the annotation's text."""
    id: Annotated[str, Meta(max_length=128)] = ""
    """Id of the request; empty where it could not be read."""
    by: Word = ""
    """Who asked."""
    outcome: ManualOutcome
    """Waiting (another run is under way), Started or Refused."""
    message: Text = ""
    """The run that was started, or why it was refused."""
    at: Instant
    """When the outcome was decided."""


class RetrainStatus(Part, frozen=True, kw_only=True):
    """What the operator knows about a ModelRetrain."""

    observed_generation: int = -1
    """Generation of the spec that this status speaks of; -1 until the operator has looked."""
    phase: RetrainPhase = RetrainPhase.IDLE
    """Idle, Waiting, Running and Gathering of a run under way, Published, Rejected, Ineligible and Failed of the last one, or Suspended."""
    reason: Word = ""
    """Why, in one word."""
    message: Text = ""
    """Why, in one sentence, with the next step where there is one."""
    last_run: LastRun | None = None
    """The last run that ended."""
    next_run: Instant | None = None
    """When the next run starts, as far as it is known."""
    conditions: Annotated[tuple[Condition, ...], Meta(max_length=16)] = ()
    """Ready, Reconciling and Stalled as kstatus reads them, and Succeeded: whether the last run reached its end and was not rejected."""
    latest_bundle: LatestBundle | None = None
    """The newest bundle that passed its gates; a ModelRollout follows it."""
    run: CurrentRun | None = None
    """The run that is under way. There is never a second one."""
    history: Annotated[tuple[RunRecord, ...], Meta(max_length=100)] = ()
    """Runs that have ended, newest first, as many as `spec.historyLimit` says; after calibrations alone, also the last other run."""
    manual: ManualRun | None = None
    """The newest manual run that was asked for, and what became of it."""
    handled: Annotated[tuple[Annotated[str, Meta(max_length=128)], ...], Meta(max_length=HANDLED_KEPT)] = ()
    """Ids of the last manual runs, newest first: none runs twice, not even when an older annotation comes back with a revert."""
    slots: Annotated[tuple[HandledSlot, ...], Meta(max_length=20)] = ()
    """How far each schedule has been worked off."""
