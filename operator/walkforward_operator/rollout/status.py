"""Status of a ModelRollout: everything that the engine remembers between two looks, and what people see.

Times are RFC 3339 UTC to the millisecond. Nothing in here ticks: a field changes when something happened, so that an idle rollout is
never written. The document that the servers are to apply is kept word for word, so that an edit of it can be seen and undone.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from walkforward_core.bundle import Verdict
from walkforward_core.documents import Part
from walkforward_operator.conditions import Condition
from walkforward_operator.rollout.words import ActionOutcome, Outcome, Purpose, RolloutPhase, WalkKind

__all__ = [
    "ActionOutcome",
    "ActionRecord",
    "Approval",
    "Ended",
    "Entry",
    "GateStatus",
    "Model",
    "Outcome",
    "Pause",
    "Pending",
    "Purpose",
    "Quarantined",
    "Rollback",
    "RolloutPhase",
    "RolloutStatus",
    "Routing",
    "Summary",
    "Walk",
    "WalkKind",
    "Written",
]

Text = Annotated[str, Meta(max_length=4096)]
Word = Annotated[str, Meta(max_length=253)]
Instant = Annotated[str, Meta(max_length=40)]
Digest = Annotated[str, Meta(max_length=80)]
Json = Annotated[str, Meta(max_length=16384)]

ACTIONS_KEPT = 10
QUARANTINE_KEPT = 50
ENTRIES_KEPT = 20
TRIPPED_KEPT = 10


class Model(Part, frozen=True, kw_only=True):
    """One published bundle."""

    version: Word
    """Version of the bundle."""
    uri: Annotated[str, Meta(max_length=1200)]
    """Folder of the bundle."""
    digest: Digest
    """sha256 of its manifest.json."""
    model: Digest
    """sha256 of its model.onnx."""
    decision: Word = ""
    """How its prediction becomes a position, as `<kind>@<threshold>`; empty while its manifest was not read."""


class Written(Part, frozen=True, kw_only=True):
    """One routing document, word for word."""

    generation: int
    """Its generation."""
    digest: Digest
    """sha256 of its bytes."""
    weight: int = 0
    """Percent of the request keys that the candidate answers."""
    document: Json
    """Its text."""


class Pause(Part, frozen=True, kw_only=True):
    """A pause that a person asked for by an action; it ends with the walk."""

    id: Word
    """Id of the action."""
    by: Word
    """Who asked."""
    reason: Text = ""
    """Why."""
    at: Instant
    """Since when."""


class Walk(Part, frozen=True, kw_only=True):
    """The walk of one candidate, from its first byte on the pods to the end of `watch`."""

    kind: WalkKind
    """Bootstrap for the first model, Canary otherwise."""
    model: Model
    """What is on trial."""
    plan: Word
    """Hash of phases, shadow, gates and the way of counting; an edit of those restarts the walk."""
    step: int = 0
    """0 is the shadow, or the preparation where the plan has none; then the phases; one more is the watch."""
    count: int = 0
    """Phases of the plan."""
    started_at: Instant
    """When the walk began."""
    step_at: Instant
    """When the document of this step was decided on."""
    verified_at: Instant | None = None
    """When every pod had first applied this step; the soak clock starts here."""
    soak_since: Instant | None = None
    """Since when the soak clock runs; absent while a pod is not verified or nobody watched."""
    soaked_ms: int = 0
    """Soak of this step before `soakSince`, in milliseconds."""
    first_generation: int = 0
    """First routing generation of this step; latency and errors are judged on its evidence."""
    last_generation: int = 0
    """Newest routing generation of this step."""
    hold_ms: int = 0
    """Longest time without a verdict in this step, in milliseconds."""
    deadline: Instant | None = None
    """When a step without a verdict is rolled back; absent until it is known."""
    suspended_since: Instant | None = None
    """Since when the deadline stands still: paused, frozen or waiting for a person."""
    held_since: Instant | None = None
    """Since when the step is held although its time is over."""
    latched: Annotated[tuple[Word, ...], Meta(max_length=16)] = ()
    """Gates whose Pass holds for the rest of the walk."""
    tripped: Annotated[tuple[Word, ...], Meta(max_length=TRIPPED_KEPT)] = ()
    """UIDs of pods whose process died with the candidate."""
    cut: bool = False
    """Whether a person ended the time of this step; its gates must pass all the same."""
    pause: Pause | None = None
    """The pause that a person asked for."""
    top_weight: int = 0
    """Highest weight that the candidate has had."""
    would_promote: bool = False
    """DryRun only: every gate that needs no exposure has passed."""


class Pending(Part, frozen=True, kw_only=True):
    """A write that was decided on: in the status before it is in the document."""

    generation: int
    """Generation of the document to be written."""
    digest: Digest
    """sha256 of its bytes."""
    weight: int = 0
    """Its weight."""
    purpose: Purpose
    """What the write is for."""
    document: Json
    """Its text."""
    walk: Walk | None = None
    """The walk as it is once the document is written."""
    record: Json = ""
    """Entry of the decision ledger that the write brings with it."""


class Routing(Part, frozen=True, kw_only=True):
    """The routing document as it was last known to be written, and the write under way."""

    applied: Written | None = None
    """The document that the servers are to apply."""
    pending: Pending | None = None
    """The write under way."""
    generation: int = 0
    """Highest generation that was ever asked for; none is used twice."""
    drift: int = 0
    """How often an edit of the document was healed."""


class Rollback(Part, frozen=True, kw_only=True):
    """The way back, from the write of the abort on; kept until the next walk."""

    version: Word
    """Version that was on trial."""
    reason: Word
    """Why, one word for programs."""
    message: Text = ""
    """Why, with gate, value and threshold."""
    by: Word = ""
    """Who asked for it, where a person did."""
    at: Instant
    """When it was decided."""
    quarantined: bool = True
    """Whether the model stays out until a person retries it."""
    verified_at: Instant | None = None
    """When stable served everything on every pod."""


class GateStatus(Part, frozen=True, kw_only=True):
    """What one gate says."""

    name: Word
    """Name of the gate, as in `spec.gates`."""
    verdict: Verdict
    """Pass, Fail or NoData."""
    value: float | None = None
    """What was measured."""
    threshold: float | None = None
    """What it is held against."""
    samples: int = 0
    """Samples that the verdict rests on."""
    missing: int | None = None
    """Samples that are expected to be missing for a verdict."""
    eta: Instant | None = None
    """When they are expected to be there, at the rate seen."""
    reason: Word = ""
    """One word for programs."""
    message: Text = ""
    """One sentence for people."""
    remedy: Text = ""
    """What to do about it."""
    dry_run: bool = False
    """Judged and shown, not acted on."""
    latched: bool = False
    """Whether it has passed for the rest of the walk."""


class Approval(Part, frozen=True, kw_only=True):
    """A person's word, asked for or given."""

    candidate: Word
    """Version that it is asked for."""
    phase: Word
    """The weight asked for, `100`, or `Bootstrap`."""
    asked_at: Instant
    """When it was asked for."""
    expires_at: Instant
    """Until when it can be given and used."""
    wait_ms: int = 0
    """How long that was from the start, in milliseconds; an edit of `approval.expires` moves the end."""
    by: Word = ""
    """Who gave it."""
    at: Instant | None = None
    """When it was given."""


class ActionRecord(Part, frozen=True, kw_only=True):
    """One action and what became of it."""

    id: Word
    """Its id."""
    verb: Word
    """approve, promote, abort, retry, pause or resume."""
    candidate: Word = ""
    """Version that it named."""
    phase: Word = ""
    """Phase that it named."""
    by: Word = ""
    """Who asked."""
    reason: Text = ""
    """Why, in the words of the person."""
    outcome: ActionOutcome
    """Done, Ignored, Refused or Expired."""
    message: Text = ""
    """What was done, or why not."""
    at: Instant
    """When it was handled."""


class Quarantined(Part, frozen=True, kw_only=True):
    """A model that was rejected: it is not walked again until a person retries it."""

    model: Digest
    """sha256 of its model.onnx; the same model trained again is the same model."""
    decision: Word
    """How its prediction becomes a position."""
    version: Word
    """Version that was on trial."""
    reason: Word
    """Why it was rejected."""
    at: Instant
    """When."""


class Ended(Part, frozen=True, kw_only=True):
    """A walk that has ended."""

    version: Word
    """Version that was on trial."""
    digest: Digest
    """sha256 of its manifest.json."""
    outcome: Outcome
    """How it ended."""
    reason: Word = ""
    """Why."""
    message: Text = ""
    """Why, in a sentence."""
    weight: int = 0
    """Highest weight that it has had."""
    started_at: Instant
    """When the walk began."""
    ended_at: Instant
    """When it ended."""


class Entry(Part, frozen=True, kw_only=True):
    """One decision on its way into the ledger."""

    seq: int
    """Its number, from 1."""
    kind: Word
    """What was decided."""
    body: Json
    """What it rested on."""


class Summary(Part, frozen=True, kw_only=True):
    """Columns of `kubectl get -o wide`."""

    psi: Word = ""
    """Worst PSI of the candidate."""
    p95: Word = ""
    """Share of answers above the limit."""
    sharpe: Word = ""
    """Difference of the Sharpe ratios."""
    held: Word = ""
    """Since when it is held without a verdict."""
    deadline: Word = ""
    """When the hold or the approval ends."""


class RolloutStatus(Part, frozen=True, kw_only=True):
    """What serves, what is on trial, how far it has come and why it goes no further."""

    observed_generation: int = -1
    """Generation of the spec that this status is about; -1 until it was looked at."""
    phase: RolloutPhase = RolloutPhase.PENDING
    """Where the rollout stands."""
    reason: Word = ""
    """Why it stands there, one word."""
    message: Text = ""
    """Why it stands there, one sentence."""
    step: Word = ""
    """Step of the plan, of how many."""
    weight: Annotated[int, Meta(ge=0, le=100)] = 0
    """Percent of the request keys that the model on trial answers; 100 in the watch."""
    gate: Word = ""
    """Gate that decides now, with its verdict."""
    summary: Summary = Summary()
    """Columns of `kubectl get -o wide`."""
    stable: Model | None = None
    """What serves."""
    candidate: Model | None = None
    """What is on trial beside it."""
    previous: Model | None = None
    """In the watch: what served before, kept warm for the way back."""
    waiting: Model | None = None
    """The newest candidate that waits for the end of this walk, or that was refused."""
    walk: Walk | None = None
    """The walk under way."""
    rollback: Rollback | None = None
    """The last way back, until the next walk."""
    routing: Routing = Routing()
    """The routing document: what is applied, what is being written."""
    gates: Annotated[tuple[GateStatus, ...], Meta(max_length=32)] = ()
    """What each gate says."""
    gates_at: Instant | None = None
    """When the gates were last written down; values are renewed at most every 10 s."""
    approval: Approval | None = None
    """The approval asked for."""
    actions: Annotated[tuple[ActionRecord, ...], Meta(max_length=ACTIONS_KEPT)] = ()
    """The last 10 actions with their outcome, oldest first."""
    handled: Annotated[dict[str, Word], Meta(max_length=6)] = {}
    """Id of the last action of every verb, so that none runs twice."""
    quarantine: Annotated[tuple[Quarantined, ...], Meta(max_length=QUARANTINE_KEPT)] = ()
    """Models that were rejected, oldest first."""
    history: Annotated[tuple[Ended, ...], Meta(max_length=50)] = ()
    """Walks that have ended, newest first; `spec.historyLimit` of them."""
    entries: Annotated[tuple[Entry, ...], Meta(max_length=ENTRIES_KEPT)] = ()
    """Decisions that were not yet seen in the ledger."""
    sequence: int = 0
    """Number of the newest decision."""
    conditions: Annotated[tuple[Condition, ...], Meta(max_length=32)] = ()
    """Ready, Reconciling and Stalled as kstatus reads them, and the domain's own."""
