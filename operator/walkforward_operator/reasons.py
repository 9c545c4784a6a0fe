"""Reasons of a ModelRollout: the one list that conditions, events, history and docs draw from.

The docstring of a member says what it means and what a person does about it; ``docs/reference/conditions.md`` is generated from it.
Reasons of a ModelRetrain are in ``retrain/reasons.py``, those of single gates in ``walkforward_core.gates``.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["ABORTS", "GROUPS", "ConditionType", "Reason"]


class ConditionType(StrEnum):
    """Types of conditions. Only Ready can be False: every other one is there while it is true."""

    READY = "Ready"
    """True while the declared state is reached and serves. Look at its reason and message."""
    RECONCILING = "Reconciling"
    """A walk, or the first model, is under way. Wait, or read the reason."""
    STALLED = "Stalled"
    """Nothing more happens without a person or a new candidate: the message says what to do."""
    WOULD_PROMOTE = "WouldPromote"
    """A dry run has passed every gate that needs no exposure. Set `spec.mode` to Live to go on from here."""
    MARKET_DRIFT = "MarketDrift"
    """Both models drift from their own references: it is the market, not the candidate. Train again."""
    INPUTS_BROKEN = "InputsBroken"
    """Both models see values that neither was trained on: repair the feed."""
    GATE_NOTICE = "GateNotice"
    """A gate noticed something that is no verdict: the message says what."""
    POLICY_UNREACHABLE = "PolicyUnreachable"
    """With the traffic seen a gate cannot reach its verdict in time. Relax it, give it more time, or bring it more traffic."""
    SPLIT_TOO_COARSE = "SplitTooCoarse"
    """Fewer than 200 distinct keys: a weight of 5 % may be no key at all. Split by another parameter."""
    EVIDENCE_FULL = "EvidenceFull"
    """The evidence no longer fits where it is banked, so nothing rises. Run fewer pods, or restart the walk."""
    LEDGER_BEHIND = "LedgerBehind"
    """Decisions wait for the ledger's store, so nothing rises; an abort still happens. Look at the store's endpoint and credentials."""
    ROUTER_FAILING = "RouterFailing"
    """The routing document cannot be written. Look at the operator's permissions on ConfigMaps in this namespace."""
    SOURCE_UNAVAILABLE = "SourceUnavailable"
    """The source of candidates cannot be read; what serves goes on serving. The message says what is missing."""
    SERVER_TRIPPED = "ServerTripped"
    """A pod's process died with the candidate. That pod is replaced; a second one ends the walk."""


class Reason(StrEnum):
    """Why a rollout stands where it stands, or what has just happened."""

    # at rest
    NO_BUNDLE = "NoBundle"
    """Nothing can be served yet: the source has published nothing. Wait for its first run, or look at the ModelRetrain."""
    SOURCE_UNAVAILABLE = "SourceUnavailable"
    """The source cannot be read: the message says what is missing. What serves goes on serving."""
    DRY_RUN_NEEDS_STABLE = "DryRunNeedsStable"
    """Nothing is live and a dry run exposes nothing, so there is nothing to compare with. Set `spec.mode` to Live for the first model."""
    SERVING = "Serving"
    """Nothing to do: stable serves and no candidate waits."""
    BOOTSTRAPPED = "Bootstrapped"
    """Nothing to do: the first model is live; there was nothing to compare it with."""
    PROMOTED = "Promoted"
    """Nothing to do: the candidate serves everything. During the watch its predecessor is kept warm for the way back."""
    WATCH_ENDED = "WatchEnded"
    """Nothing to do: the watch passed without harm, the predecessor is released."""
    NO_CHANGE = "NoChange"
    """Nothing to do: the newest bundle is the model that serves, with the same decision rule."""
    CANDIDATE_REJECTED = "CandidateRejected"
    """The gates worked: stable serves, the candidate is quarantined. The message says why; train a better one, or
    `walkforward.dev/retry` it."""

    # under way
    WAITING_FOR_PODS = "WaitingForPods"
    """No server pod is ready, so nothing can be tried. Scale the Deployment up, or look at its pods."""
    TARGET_MISSING = "TargetMissing"
    """The Deployment of `spec.target` does not exist. Create it, or correct the name."""
    SERVER_CRASH_LOOPING = "ServerCrashLooping"
    """A server pod ends again and again, so no walk begins. Read its log."""
    NOT_VERIFIED = "NotVerified"
    """A pod has not yet applied the routing document: the message names it and what it says. The soak clock waits."""
    PROVING = "Proving"
    """Nothing to do: one pod proves the candidate before the others load it."""
    COLLECTING = "Collecting"
    """Nothing to do: both models are scored on every request; the message says which gate waits for what."""
    SOAKING = "Soaking"
    """Nothing to do: the time of the step runs."""
    GATES_WAIT = "GatesWait"
    """The time of the step is over and a gate has no verdict yet: the message says which and what it misses. At the deadline the
    candidate is rolled back."""
    MIN_REQUESTS = "MinRequests"
    """The shadow has not yet seen `strategy.shadow.minRequests`. Wait, or bring traffic."""
    EVIDENCE_FULL = "EvidenceFull"
    """The evidence no longer fits where it is banked; nothing rises. Run fewer pods, or restart the walk."""
    LEDGER_BEHIND = "LedgerBehind"
    """Decisions wait for the ledger's store; nothing rises. Look at its endpoint and credentials."""
    PAUSED = "Paused"
    """A person paused it, by `spec.paused` or by `walkforward.dev/pause`. Gates are judged on; set it back, or resume."""
    FROZEN = "Frozen"
    """A freeze of `strategy.freezes` covers this moment: nothing rises until it ends."""
    APPROVAL_NEEDED = "ApprovalNeeded"
    """Every gate has passed: `walkforward.dev/approve` with this candidate and this phase lets it go on; nobody's word is a rollback."""
    WOULD_PROMOTE = "WouldPromote"
    """A dry run has passed what can be passed without exposure. Set `spec.mode` to Live to go on."""
    PROMOTING = "Promoting"
    """Nothing to do: the candidate becomes stable on every pod."""
    WATCHING = "Watching"
    """Nothing to do: the candidate serves everything; evidence of harm goes back to its predecessor."""
    ROLLING_BACK = "RollingBack"
    """Nothing to do: stable takes everything back; pods that do not follow within 10 s are replaced."""
    ROLLED_BACK = "RolledBack"
    """Nothing to do: stable serves everything on every pod."""
    BOOTSTRAPPING = "Bootstrapping"
    """Nothing to do: the pods check and load the first model."""
    TERMINATING = "Terminating"
    """The rollout is being deleted: stable takes everything back first."""

    # transitions
    WALK_STARTED = "WalkStarted"
    """Nothing to do: a candidate is on its way."""
    STEP_STARTED = "StepStarted"
    """Nothing to do: the weight has risen; every required gate had passed."""
    SUPERSEDED = "Superseded"
    """Nothing to do: a newer candidate took the place of the one on trial."""
    PLAN_CHANGED = "PlanChanged"
    """Phases, shadow or gates were edited, so the walk began anew. Nothing to do."""
    MODE_CHANGED = "ModeChanged"
    """`spec.mode` became DryRun, so exposure ended; the walk goes on in the shadow."""
    CANCELLED = "Cancelled"
    """The source went back to the model that serves, so the walk ended; nothing is quarantined."""
    TARGET_TAKEN_OVER = "TargetTakenOver"
    """The routing document was left by a rollout that is gone; its stable model was adopted."""
    ROUTE_DRIFT = "RouteDrift"
    """Somebody edited the routing document and it was put right. Whoever means it aborts or pauses the rollout instead."""
    POD_REPLACED = "PodReplaced"
    """A pod did not follow and was deleted; its Deployment makes another."""
    APPROVED = "Approved"
    """A person let it go on. Nothing to do."""
    APPROVAL_LAPSED = "ApprovalLapsed"
    """An approval was given but could not be used in time; it is asked for again."""
    ACTION_REFUSED = "ActionRefused"
    """An action could not be done: the message and `status.actions` say why."""
    RETRIED = "Retried"
    """A person lifted a quarantine. Nothing to do."""
    RELEASED = "Released"
    """The rollout was deleted and stable serves everything."""
    CHAMPION_MOVED = "ChampionMoved"
    """Nothing to do: the alias `champion` of the registered model in MLflow names the model that is live."""
    CHAMPION_NOT_MOVED = "ChampionNotMoved"
    """The alias `champion` could not be moved in MLflow; it is tried again, nothing waits for it. Look at its server and at `mlflowUri`."""

    # ways back; ABORTS below
    ABORTED = "Aborted"
    """A person aborted the walk. `walkforward.dev/retry` tries the candidate again."""
    CANDIDATE_CRASHED = "CandidateCrashed"
    """The servers refused the candidate, or died with it: the message has a pod's own words."""
    SERVER_CRASHED = "ServerCrashed"
    """A server pod ended again and again during the walk. Read its log; retry when it was not the candidate."""
    PSI_FAILED = "PsiFailed"
    """The candidate's inputs or score drift from what it was trained on, stable's do not. Compare the feed with the training data."""
    SHARPE_FAILED = "SharpeFailed"
    """The candidate loses against stable on the same requests. Train a better one."""
    LATENCY_FAILED = "LatencyFailed"
    """The candidate answers too slowly. Make it smaller, or raise `gates.latency.p95`."""
    ERROR_RATE_FAILED = "ErrorRateFailed"
    """The candidate fails on requests that stable answers. Read the servers' logs."""
    OFFLINE_AUC_FAILED = "OfflineAucFailed"
    """The AUC in the candidate's manifest is below the limit. Train a better one."""
    GATE_FAILED = "GateFailed"
    """A gate failed: the message says which."""
    HOLD_EXPIRED = "HoldExpired"
    """No verdict came within `strategy.maxHold`. Bring traffic, give more time, or relax the gate that the message names; then retry."""
    APPROVAL_EXPIRED = "ApprovalExpired"
    """Nobody approved within `approval.expires`. Retry the candidate to be asked again."""
    EXPOSURE_EXPIRED = "ExposureExpired"
    """Nobody extended the exposure in time, so the servers went back to stable by themselves. Nothing to do: the walk starts anew."""
    MANUAL_ROUTE = "ManualRoute"
    """Somebody lowered the weight in the routing document, which counts as an abort. `walkforward.dev/retry` tries the candidate again."""

    # given up
    INVALID_SPEC = "InvalidSpec"
    """The spec cannot be used: the message names the field and what to write."""
    TARGET_LOCKED = "TargetLocked"
    """Another rollout routes this target: the message names it. Delete one of the two."""
    ROUTING_UNREADABLE = "RoutingUnreadable"
    """The routing document that was found cannot be read and nothing is known about what serves. Restore or delete its ConfigMap."""
    INCOMPARABLE = "Incomparable"
    """Candidate and stable answer different questions (horizon, timeframe or decision). Use another rollout, or go over it by hand."""
    BUNDLE_UNREADABLE = "BundleUnreadable"
    """The manifest of the model that serves cannot be read, so no candidate can be compared with it. Restore the bundle."""


ABORTS = frozenset(
    {
        Reason.ABORTED,
        Reason.CANDIDATE_CRASHED,
        Reason.SERVER_CRASHED,
        Reason.PSI_FAILED,
        Reason.SHARPE_FAILED,
        Reason.LATENCY_FAILED,
        Reason.ERROR_RATE_FAILED,
        Reason.OFFLINE_AUC_FAILED,
        Reason.GATE_FAILED,
        Reason.HOLD_EXPIRED,
        Reason.APPROVAL_EXPIRED,
        Reason.EXPOSURE_EXPIRED,
        Reason.MANUAL_ROUTE,
    }
)
"""Reasons for which a candidate is taken back: the values of the metric ``aborts_total{cause}``."""

GROUPS = (
    ("At rest", Reason.NO_BUNDLE),
    ("Under way", Reason.WAITING_FOR_PODS),
    ("Told by an Event", Reason.WALK_STARTED),
    ("Ways back", Reason.ABORTED),
    ("Given up", Reason.INVALID_SPEC),
)
"""Headings of the reference page and the first reason under each, in the order of :class:`Reason`."""
