"""Conditions of a rollout: kstatus' three, and those of the domain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from walkforward_operator.conditions import Condition, merge
from walkforward_operator.reasons import ConditionType, Reason
from walkforward_operator.rollout.status import RolloutPhase
from walkforward_operator.rollout.step import ledger_behind
from walkforward_operator.rollout.turn import clip

if TYPE_CHECKING:
    from walkforward_operator.rollout.turn import Turn

__all__ = ["health"]

_GIVEN_UP: Final = frozenset({Reason.INVALID_SPEC, Reason.TARGET_LOCKED, Reason.ROUTING_UNREADABLE, Reason.INCOMPARABLE})
_WALKING: Final = frozenset(
    {
        RolloutPhase.BOOTSTRAPPING,
        RolloutPhase.SHADOW,
        RolloutPhase.PROGRESSING,
        RolloutPhase.HELD,
        RolloutPhase.PAUSED,
        RolloutPhase.AWAITING_APPROVAL,
        RolloutPhase.PROMOTING,
        RolloutPhase.ROLLING_BACK,
    }
)


def health(turn: Turn) -> Turn:
    """Return the turn with its conditions; a transition time moves only when a status does."""
    turn = _keeping(turn)
    found = [*_kstatus(turn), *{condition.type: condition for condition in turn.notes}.values()]
    conditions = merge(turn.before.conditions, found, generation=turn.rollout.generation, now_ms=turn.now_ms)
    return turn.with_status(conditions=conditions)


def _kstatus(turn: Turn) -> tuple[Condition, ...]:
    status, hold = turn.status, turn.hold.reason if turn.hold is not None else None
    if hold in _GIVEN_UP:
        return _stalled(status.reason if turn.hold is None else turn.hold.reason, turn.hold.message if turn.hold is not None else "")
    if status.phase is RolloutPhase.TERMINATING:
        return _working("False", Reason.TERMINATING, status.message)
    if status.phase in _WALKING:
        return _working("Unknown", status.reason, status.message)
    if status.phase is RolloutPhase.ROLLED_BACK:
        return _rolled_back(turn)
    if status.phase is RolloutPhase.PENDING or hold is Reason.TARGET_MISSING:
        return _working("False", status.reason, status.message)
    if hold is Reason.CANDIDATE_REJECTED:
        return _rolled_back(turn)
    if hold is not None and status.phase is RolloutPhase.STABLE and _pinned(turn):
        return _working("False", status.reason, status.message)
    return (Condition(type=ConditionType.READY, status="True", reason=status.reason, message=status.message),)


def _rolled_back(turn: Turn) -> tuple[Condition, ...]:
    """A candidate that was followed and rejected is a good end; one that was pinned, or the first one, is a state not reached."""
    status = turn.status
    reason = Reason.CANDIDATE_REJECTED if status.rollback is None or status.rollback.quarantined else status.reason
    if status.stable is None or _pinned(turn):
        return _stalled(reason, status.message)
    return (Condition(type=ConditionType.READY, status="True", reason=reason, message=f"{status.stable.version} serves. {status.message}"),)


def _pinned(turn: Turn) -> bool:
    return turn.plan is not None and turn.plan.pinned


def _stalled(reason: str, message: str) -> tuple[Condition, ...]:
    return (
        Condition(type=ConditionType.READY, status="False", reason=reason, message=clip(message)),
        Condition(type=ConditionType.STALLED, status="True", reason=reason, message=clip(message)),
    )


def _working(ready: str, reason: str, message: str) -> tuple[Condition, ...]:
    return (
        Condition(type=ConditionType.READY, status=ready, reason=reason, message=message),
        Condition(type=ConditionType.RECONCILING, status="True", reason=reason, message=message),
    )


def _keeping(turn: Turn) -> Turn:
    """Add what can keep a promotion back whatever the gates say, and what a dry run has come to."""
    ledger, walk = turn.observation.ledger, turn.walk
    if ledger.error and ledger_behind(turn):
        turn = turn.note(ConditionType.LEDGER_BEHIND, Reason.LEDGER_BEHIND, f"decisions wait for the ledger: {clip(ledger.error)}")
    if turn.observation.evidence_full and walk is not None:
        turn = turn.note(ConditionType.EVIDENCE_FULL, Reason.EVIDENCE_FULL, "the evidence no longer fits where it is banked")
    if walk is not None and walk.would_promote:
        turn = turn.note(ConditionType.WOULD_PROMOTE, Reason.WOULD_PROMOTE, f"{walk.model.version} passed what needs no exposure")
    return turn
