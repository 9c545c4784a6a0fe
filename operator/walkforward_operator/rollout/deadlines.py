"""Deadlines: exposure that the servers ended by themselves, a hold without a verdict, an approval that never came."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from walkforward_core.bundle import Verdict
from walkforward_operator.reasons import Reason
from walkforward_operator.rollout.abort import abort
from walkforward_operator.rollout.clock import millis, stamp
from walkforward_operator.rollout.people import paused_by
from walkforward_operator.rollout.status import RolloutPhase

if TYPE_CHECKING:
    from walkforward_operator.rollout.status import Approval
    from walkforward_operator.rollout.turn import Turn

__all__ = ["deadlines"]


def deadlines(turn: Turn) -> Turn:
    """Abort where a deadline has passed; otherwise remember to look again when it does."""
    # a hold ends when exposure does: what ran out while somebody watched is a verdict on the candidate, what nobody watched is not
    for check in (_hold, _approval, _exposure):
        turn = check(turn)
        if turn.ended:
            return turn
    return turn


def _exposure(turn: Turn) -> Turn:
    applied = turn.applied
    if turn.walk is None or applied is None or applied.weight == 0 or applied.exposure_not_after is None:
        return turn
    end = millis(applied.exposure_not_after)
    if turn.now_ms < end:
        return turn.wake(end)
    message = f"the servers went back to stable by themselves at {applied.exposure_not_after}"
    return abort(turn, Reason.EXPOSURE_EXPIRED, message, quarantine=False)


def _hold(turn: Turn) -> Turn:
    walk = turn.walk
    if walk is None or walk.deadline is None or walk.suspended_since is not None or paused_by(turn):
        return turn
    if turn.now_ms < millis(walk.deadline):
        return turn.wake(millis(walk.deadline))
    if walk.verified_at is None:
        return abort(turn, Reason.HOLD_EXPIRED, f"not every pod had it until {walk.deadline}: {turn.before.message}")
    waiting = [gate.name for gate in turn.status.gates if gate.verdict is not Verdict.PASS and not gate.dry_run]
    missing = f"no verdict from {', '.join(waiting)}" if waiting else "the step did not end"
    return abort(turn, Reason.HOLD_EXPIRED, f"{missing} until {walk.deadline}")


def _approval(turn: Turn) -> Turn:
    approval = turn.status.approval
    if approval is None or turn.walk is None or paused_by(turn):
        return turn
    approval = _renewed(turn, approval)
    turn = turn.with_status(approval=approval)
    if turn.now_ms < millis(approval.expires_at):
        return turn.wake(millis(approval.expires_at))
    if not approval.by:
        return abort(turn, Reason.APPROVAL_EXPIRED, f"nobody approved phase {approval.phase} until {approval.expires_at}")
    message = f"{approval.by} approved phase {approval.phase}, but it could not be entered until {approval.expires_at}: asked again"
    return turn.with_status(approval=None).tell(Reason.APPROVAL_LAPSED, message, warning=True)


def _renewed(turn: Turn, approval: Approval) -> Approval:
    """Return the approval with its end moved by an edit of the spec; after a pause the whole time is given again."""
    plan = turn.plan
    if plan is None or plan.approval_ms is None:
        return approval
    if turn.before.phase is RolloutPhase.PAUSED:
        return structs.replace(approval, expires_at=stamp(turn.now_ms + plan.approval_ms), wait_ms=plan.approval_ms)
    moved = millis(approval.expires_at) + plan.approval_ms - approval.wait_ms
    return structs.replace(approval, expires_at=stamp(moved), wait_ms=plan.approval_ms)
