"""What a look leaves in order: clocks that stand still, the end of exposure, the finalizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import structs

from walkforward_operator.reasons import Reason
from walkforward_operator.rollout.clock import millis, stamp
from walkforward_operator.rollout.hold import rehold
from walkforward_operator.rollout.model import SetFinalizer
from walkforward_operator.rollout.people import paused_by
from walkforward_operator.rollout.plan import DAY, HOUR, freeze_at
from walkforward_operator.rollout.status import Purpose, WalkKind
from walkforward_operator.rollout.writes import needs_finalizer, plan_write

if TYPE_CHECKING:
    from walkforward_operator.rollout.turn import Turn

__all__ = ["upkeep"]

_HELD: Final = frozenset({Reason.GATES_WAIT, Reason.EVIDENCE_FULL, Reason.LEDGER_BEHIND})
_AHEAD_MS: Final = DAY
_LEAST_AHEAD_MS: Final = 12 * HOUR


def upkeep(turn: Turn) -> Turn:
    """Stop or start clocks, keep exposure within its end, keep the finalizer only while there is something to bring back."""
    walk = turn.walk
    if walk is not None and walk.kind is WalkKind.CANARY:
        turn = _suspend(rehold(turn))
        turn = _held(turn)
        turn = _extend(turn)
    return _finalizer(turn)


def _still(turn: Turn) -> str:
    """Return why the deadline stands still: a pause, a freeze and a person's word are no lack of a verdict."""
    plan, approval, hold = turn.plan, turn.status.approval, turn.hold
    if why := paused_by(turn):
        return why
    if plan is not None and (freeze := freeze_at(plan, turn.now_ms)) is not None:
        return freeze.reason or "frozen"
    if approval is not None and not approval.by:
        return "approval asked for"
    return "dry run" if hold is not None and hold.reason is Reason.WOULD_PROMOTE else ""


def _suspend(turn: Turn) -> Turn:
    walk, still = turn.walk, _still(turn)
    if walk is None or walk.deadline is None or bool(still) == (walk.suspended_since is not None):
        return turn
    if walk.suspended_since is None:
        return turn.with_walk(suspended_since=stamp(turn.now_ms))
    lost = turn.now_ms - millis(walk.suspended_since)
    return turn.with_walk(suspended_since=None, deadline=stamp(millis(walk.deadline) + lost))


def _held(turn: Turn) -> Turn:
    walk, held = turn.walk, turn.hold is not None and turn.hold.reason in _HELD
    if walk is None or held == (walk.held_since is not None):
        return turn
    return turn.with_walk(held_since=stamp(turn.now_ms) if held else None)


def _extend(turn: Turn) -> Turn:
    """Write the end of exposure anew when a deadline moved; keep it a day ahead while a person or a freeze holds the walk."""
    walk, applied = turn.walk, turn.applied
    if walk is None or applied is None or applied.weight == 0 or applied.exposure_not_after is None:
        return turn
    end, wanted = millis(applied.exposure_not_after), _end(turn, millis(applied.exposure_not_after))
    if abs(wanted - end) < 1000:
        return turn
    document = structs.replace(applied, generation=turn.next_generation(), exposure_not_after=stamp(wanted))
    return plan_write(turn, document, Purpose.EXTEND, walk=structs.replace(walk, last_generation=document.generation))


def _end(turn: Turn, end_ms: int) -> int:
    walk, plan, approval = turn.walk, turn.plan, turn.status.approval
    if walk is None or plan is None or walk.deadline is None:
        return end_ms
    if paused_by(turn) or freeze_at(plan, turn.now_ms) is not None:
        return end_ms if end_ms >= turn.now_ms + _LEAST_AHEAD_MS else turn.now_ms + _AHEAD_MS
    if approval is not None and not approval.by:
        return max(end_ms, millis(approval.expires_at))
    asks = plan.approval_ms or 0 if plan.weight_after(walk.step) == 100 else 0
    return millis(walk.deadline) + asks


def _finalizer(turn: Turn) -> Turn:
    rollback = turn.status.rollback
    needed = needs_finalizer(turn.applied) or (rollback is not None and rollback.verified_at is None and turn.rollout.has_finalizer)
    if needed == turn.rollout.has_finalizer or turn.status.routing.pending is not None:
        return turn
    return turn.do(SetFinalizer(present=needed))
