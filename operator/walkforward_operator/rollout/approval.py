"""A person's word before the first weight of 100: bound to a candidate, a phase and an expiry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from walkforward_operator.reasons import Reason
from walkforward_operator.rollout.clock import millis, stamp
from walkforward_operator.rollout.status import Approval, WalkKind

if TYPE_CHECKING:
    from walkforward_operator.rollout.status import Model
    from walkforward_operator.rollout.turn import Turn

__all__ = ["approval", "asked"]


def approval(turn: Turn) -> Turn:
    """Ask for the approval of the first weight of 100 once everything else is ready; wait until it is given."""
    plan, walk = turn.plan, turn.walk
    if plan is None or walk is None or walk.kind is WalkKind.BOOTSTRAP:
        return turn
    following = plan.weight_after(walk.step)
    if plan.approval_ms is None or following != 100:
        return turn.with_status(approval=None) if turn.status.approval is not None else turn
    if turn.hold is not None and turn.status.approval is None:
        return turn
    return asked(turn, walk.model, str(following), plan.approval_ms)


def asked(turn: Turn, model: Model, phase: str, wait_ms: int) -> Turn:
    """Return the turn with the approval asked for, and waiting until it is given."""
    known = turn.status.approval
    if known is None or (known.candidate, known.phase) != (model.version, phase):
        now = turn.now_ms
        known = Approval(candidate=model.version, phase=phase, asked_at=stamp(now), expires_at=stamp(now + wait_ms), wait_ms=wait_ms)
        turn = turn.with_status(approval=known)
    if known.by:
        return turn
    how = f'annotate walkforward.dev/approve with candidate "{model.version}", phase "{phase}"'
    return turn.wait(Reason.APPROVAL_NEEDED, f"{how}, before {known.expires_at}").wake(millis(known.expires_at))
