"""What people ask for, done or refused: abort first of all, then retry, pause, resume, approve and promote."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from walkforward_operator.reasons import Reason
from walkforward_operator.rollout.abort import abort
from walkforward_operator.rollout.actions import answer, request_for, unreadable
from walkforward_operator.rollout.clock import millis, stamp
from walkforward_operator.rollout.status import ActionOutcome, Pause, WalkKind
from walkforward_operator.rollout.writes import body, record

if TYPE_CHECKING:
    from walkforward_operator.rollout.actions import Request
    from walkforward_operator.rollout.status import Walk
    from walkforward_operator.rollout.turn import Turn

__all__ = ["abort_asked", "paused_by", "requests"]


def abort_asked(turn: Turn) -> Turn:
    """Abort when a person asks for it: before everything but deletion."""
    request, walk = request_for(turn, "abort"), turn.walk
    if request is None:
        return turn
    if walk is None or not _means(request, walk):
        return answer(turn, request, ActionOutcome.IGNORED, _not_on_trial(turn, request))
    turn = answer(turn, request, ActionOutcome.DONE, f"weight back to 0, {walk.model.version} is quarantined")
    return abort(turn, Reason.ABORTED, _words(request), by=request.by)


def requests(turn: Turn) -> Turn:
    """Do, or refuse, what else people ask for."""
    turn = unreadable(turn)
    for verb, handle in (("retry", _retry), ("pause", _pause), ("resume", _resume), ("approve", _approve), ("promote", _promote)):
        request = request_for(turn, verb)
        if request is not None:
            turn = handle(turn, request)
    return turn


def paused_by(turn: Turn) -> str:
    """Return who or what paused the rollout; empty when nobody did."""
    if turn.plan is not None and turn.plan.paused:
        return "spec.paused is true"
    pause = turn.walk.pause if turn.walk is not None else None
    return f"paused by {pause.by}{f': {pause.reason}' if pause.reason else ''}" if pause is not None else ""


def _retry(turn: Turn, request: Request) -> Turn:
    kept = tuple(entry for entry in turn.status.quarantine if entry.version != request.candidate)
    if len(kept) == len(turn.status.quarantine):
        return answer(turn, request, ActionOutcome.IGNORED, f"{request.candidate} is not quarantined")
    turn = turn.with_status(quarantine=kept)
    turn = record(turn, "Retry", body(turn, "Retry", version=request.candidate, by=request.by, why=request.reason))
    turn = answer(turn, request, ActionOutcome.DONE, f"{request.candidate} may be walked again")
    return turn.tell(Reason.RETRIED, f"{request.by} lifted the quarantine of {request.candidate}")


def _pause(turn: Turn, request: Request) -> Turn:
    walk = turn.walk
    if walk is None or not _means(request, walk):
        return answer(turn, request, ActionOutcome.IGNORED, _not_on_trial(turn, request))
    pause = Pause(id=request.id, by=request.by or "unknown", reason=request.reason, at=stamp(turn.now_ms))
    return answer(turn.with_walk(pause=pause), request, ActionOutcome.DONE, "nothing rises until it is resumed; gates are judged on")


def _resume(turn: Turn, request: Request) -> Turn:
    walk = turn.walk
    if walk is None or not _means(request, walk):
        return answer(turn, request, ActionOutcome.IGNORED, _not_on_trial(turn, request))
    if turn.plan is not None and turn.plan.paused:
        return answer(turn, request, ActionOutcome.REFUSED, "spec.paused is true, which wins; set it to false")
    if walk.pause is None:
        return answer(turn, request, ActionOutcome.IGNORED, "it is not paused")
    return answer(turn.with_walk(pause=None), request, ActionOutcome.DONE, "the walk goes on")


def _approve(turn: Turn, request: Request) -> Turn:
    approval = turn.status.approval
    if approval is None or approval.candidate != request.candidate:
        ended = any(one.version == request.candidate and one.reason == Reason.APPROVAL_EXPIRED for one in turn.status.history)
        if ended:
            return answer(
                turn, request, ActionOutcome.EXPIRED, f"the time to approve {request.candidate} is over; retry it to be asked again"
            )
        return answer(turn, request, ActionOutcome.IGNORED, f"no approval is asked for {request.candidate}; wait for AwaitingApproval")
    if approval.phase != request.phase:
        return answer(turn, request, ActionOutcome.IGNORED, f"phase {request.phase!r} is not asked for, {approval.phase!r} is")
    if not request.by:
        return answer(turn, request, ActionOutcome.REFUSED, 'an approval names a person: "by" is missing')
    if turn.now_ms >= millis(approval.expires_at):
        return answer(turn, request, ActionOutcome.EXPIRED, f"it had to be given before {approval.expires_at}")
    turn = turn.with_status(approval=structs.replace(approval, by=request.by, at=stamp(turn.now_ms)))
    entry = body(turn, "Approve", version=request.candidate, phase=request.phase, by=request.by, why=request.reason)
    turn = answer(record(turn, "Approve", entry), request, ActionOutcome.DONE, f"{request.candidate} may go on to {request.phase}")
    return turn.tell(Reason.APPROVED, f"{request.by} approved {request.candidate} for {request.phase}")


def _promote(turn: Turn, request: Request) -> Turn:
    walk, plan = turn.walk, turn.plan
    if walk is None or walk.model.version != request.candidate:
        return answer(turn, request, ActionOutcome.IGNORED, _not_on_trial(turn, request))
    if plan is None or walk.kind is WalkKind.BOOTSTRAP or not 1 <= walk.step <= plan.count:
        return answer(turn, request, ActionOutcome.IGNORED, "only a phase with a weight has a time that could end")
    following = str(plan.weight_after(walk.step) or 100)
    if request.phase != following:
        return answer(turn, request, ActionOutcome.IGNORED, f"phase {request.phase!r} does not follow, {following!r} does")
    return answer(turn.with_walk(cut=True), request, ActionOutcome.DONE, "the time of this step is over; its gates must pass all the same")


def _means(request: Request, walk: Walk) -> bool:
    return request.candidate in ("", walk.model.version)


def _not_on_trial(turn: Turn, request: Request) -> str:
    trial = turn.walk.model.version if turn.walk is not None else "nothing"
    return f"{request.candidate or 'a candidate'} is not on trial, {trial} is"


def _words(request: Request) -> str:
    by = request.by or "a person"
    return f"aborted by {by}: {request.reason}" if request.reason else f"aborted by {by}"
