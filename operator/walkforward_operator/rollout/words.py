"""The words of a rollout's status: where it stands, what a walk and a write are for, how things ended."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["ActionOutcome", "Outcome", "Purpose", "RolloutPhase", "WalkKind"]


class RolloutPhase(StrEnum):
    """Where a ModelRollout stands."""

    PENDING = "Pending"
    BOOTSTRAPPING = "Bootstrapping"
    SHADOW = "Shadow"
    PROGRESSING = "Progressing"
    HELD = "Held"
    PAUSED = "Paused"
    AWAITING_APPROVAL = "AwaitingApproval"
    PROMOTING = "Promoting"
    WATCHING = "Watching"
    STABLE = "Stable"
    ROLLING_BACK = "RollingBack"
    ROLLED_BACK = "RolledBack"
    TERMINATING = "Terminating"


class WalkKind(StrEnum):
    """What a walk is for."""

    BOOTSTRAP = "Bootstrap"
    """The first model goes live: there is nothing to compare it with."""
    CANARY = "Canary"
    """A candidate against the model that serves."""


class Purpose(StrEnum):
    """What one write of the routing document is for."""

    TAKEOVER = "Takeover"
    BOOTSTRAP = "Bootstrap"
    START = "Start"
    PROVE = "Prove"
    STEP = "Step"
    EXTEND = "Extend"
    LOWER = "Lower"
    PROMOTE = "Promote"
    FINISH = "Finish"
    CANCEL = "Cancel"
    HEAL = "Heal"
    RELEASE = "Release"


class Outcome(StrEnum):
    """How a walk ended."""

    BOOTSTRAPPED = "Bootstrapped"
    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    CANCELLED = "Cancelled"
    SUPERSEDED = "Superseded"
    RESTARTED = "Restarted"


class ActionOutcome(StrEnum):
    """What became of an action."""

    DONE = "Done"
    IGNORED = "Ignored"
    REFUSED = "Refused"
    EXPIRED = "Expired"
