"""The step: whether this one may be left, and the write with which the next one begins."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from msgspec import structs

from walkforward_core.durations import format_ms
from walkforward_operator.reasons import Reason
from walkforward_operator.rollout.clock import stamp
from walkforward_operator.rollout.hold import hold_for
from walkforward_operator.rollout.people import paused_by
from walkforward_operator.rollout.plan import freeze_at
from walkforward_operator.rollout.status import Purpose, WalkKind
from walkforward_operator.rollout.trial import ab_test, evidence_of
from walkforward_operator.rollout.turn import Hold
from walkforward_operator.rollout.verdicts import waiting_gates
from walkforward_operator.rollout.verify import soaked
from walkforward_operator.rollout.writes import at_rest, body, plan_write

if TYPE_CHECKING:
    from walkforward_operator.rollout.plan import Plan
    from walkforward_operator.rollout.status import Walk
    from walkforward_operator.rollout.turn import Turn

__all__ = ["ledger_behind", "ready", "step"]


def ready(turn: Turn) -> Turn:
    """Say what keeps the walk from leaving its step; nothing, when every required gate passes at this moment."""
    walk, plan, applied = turn.walk, turn.plan, turn.applied
    if walk is None or plan is None or applied is None or walk.kind is WalkKind.BOOTSTRAP:
        return turn
    if why := paused_by(turn):
        return replace(turn, hold=Hold(Reason.PAUSED, why))
    if turn.hold is not None:
        return turn
    if applied.previous is not None:
        return _time(turn, walk, plan.watch_ms, Reason.WATCHING, "watched")
    turn = _time(turn, walk, plan.steps[walk.step - 1].duration_ms, Reason.SOAKING, "soaks") if walk.step > 0 else _requests(turn, plan)
    for check in (_gates, _kept):
        turn = check(turn)
    return turn if plan.live or turn.hold is not None else _would_promote(turn)


def step(turn: Turn) -> Turn:
    """Leave the step when nothing holds it: to the next weight, to promotion, or to the end of the watch."""
    walk, plan, applied = turn.walk, turn.plan, turn.applied
    if turn.hold is not None or walk is None or plan is None or applied is None or walk.kind is WalkKind.BOOTSTRAP:
        return turn
    if applied.previous is not None:
        document = at_rest(applied, generation=turn.next_generation())
        return plan_write(turn, document, Purpose.FINISH, walk=None, entry=body(turn, Purpose.FINISH, **ab_test(turn, executed=True)))
    freeze = freeze_at(plan, turn.now_ms)
    if freeze is not None:
        until = f"until {stamp(freeze.end_ms)}{f': {freeze.reason}' if freeze.reason else ''}"
        return turn.wait(Reason.FROZEN, f"nothing rises {until}").wake(freeze.end_ms)
    weight = plan.weight_after(walk.step)
    return _promote(turn) if weight is None else _rise(turn, weight)


def ledger_behind(turn: Turn) -> int:
    """Return how many decisions are not known to be in the ledger yet."""
    stored = turn.observation.ledger.stored
    return sum(1 for entry in turn.status.entries if stored is None or entry.seq > stored)


def _time(turn: Turn, walk: Walk, needed_ms: int, reason: Reason, word: str) -> Turn:
    left = needed_ms - soaked(walk, turn.now_ms)
    if left <= 0 or walk.cut:
        return turn
    if walk.soak_since is not None:
        turn = turn.wake(turn.now_ms + left)
    return turn.wait(reason, f"{walk.model.version} {word} {format_ms(needed_ms)}")


def _requests(turn: Turn, plan: Plan) -> Turn:
    evidence = evidence_of(turn)
    if plan.shadow is None or (evidence is not None and evidence.walk.pair.n >= plan.shadow):
        return turn
    return turn.wait(Reason.MIN_REQUESTS, f"fewer than {plan.shadow} requests were scored by both models")


def _gates(turn: Turn) -> Turn:
    waiting = waiting_gates(turn)
    if not waiting:
        return turn
    shown = {gate.name: gate.message for gate in turn.status.gates}
    said = (f"{name}: {shown.get(name, 'gave no verdict')}" for name in waiting)
    early = turn.walk is not None and turn.walk.step == 0
    return turn.wait(Reason.COLLECTING if early else Reason.GATES_WAIT, "; ".join(said))


def _kept(turn: Turn) -> Turn:
    """Nothing rises on evidence that is not kept, or whose decisions are not."""
    if turn.observation.evidence_full:
        turn = turn.wait(Reason.EVIDENCE_FULL, "the evidence no longer fits where it is banked")
    if behind := ledger_behind(turn):
        error = turn.observation.ledger.error
        turn = turn.wait(Reason.LEDGER_BEHIND, f"{behind} decisions wait for the ledger{f': {error}' if error else ''}")
    return turn


def _would_promote(turn: Turn) -> Turn:
    walk = turn.walk
    if walk is None:
        return turn
    message = f"{walk.model.version} passed every gate that needs no exposure; mode is DryRun, so it stays in the shadow"
    if not walk.would_promote:
        turn = turn.with_walk(would_promote=True).tell(Reason.WOULD_PROMOTE, message)
    return turn.wait(Reason.WOULD_PROMOTE, message)


def _rise(turn: Turn, weight: int) -> Turn:
    walk, plan, applied = turn.walk, turn.plan, turn.applied
    if walk is None or plan is None or applied is None:
        return turn
    generation, duration, hold = turn.next_generation(), plan.steps[walk.step].duration_ms, hold_for(turn)
    deadline = turn.now_ms + duration + hold
    asks = plan.approval_ms or 0 if plan.weight_after(walk.step + 1) == 100 else 0
    document = structs.replace(applied, generation=generation, weight=weight, prove_on=None, exposure_not_after=stamp(deadline + asks))
    after = structs.replace(
        _entered(walk, turn.now_ms, generation),
        step=walk.step + 1,
        hold_ms=hold,
        deadline=stamp(deadline),
        top_weight=max(walk.top_weight, weight),
    )
    entry = body(turn, Purpose.STEP, weightFrom=applied.weight, weightTo=weight, approval=turn.status.approval)
    return plan_write(turn, document, Purpose.STEP, walk=after, entry=entry)


def _promote(turn: Turn) -> Turn:
    walk, applied = turn.walk, turn.applied
    if walk is None or applied is None:
        return turn
    generation = turn.next_generation()
    document = structs.replace(
        applied,
        generation=generation,
        stable=applied.candidate,
        candidate=None,
        previous=applied.stable,
        weight=0,
        exposure_not_after=None,
        prove_on=None,
    )
    after = structs.replace(_entered(walk, turn.now_ms, generation), step=walk.count + 1, deadline=None, hold_ms=0, top_weight=100)
    return plan_write(turn, document, Purpose.PROMOTE, walk=after, entry=body(turn, Purpose.PROMOTE))


def _entered(walk: Walk, now_ms: int, generation: int) -> Walk:
    """Return the walk at the first moment of another step: nothing verified, nothing soaked."""
    return structs.replace(
        walk,
        step_at=stamp(now_ms),
        verified_at=None,
        soak_since=None,
        soaked_ms=0,
        first_generation=generation,
        last_generation=generation,
        suspended_since=None,
        held_since=None,
        cut=False,
    )
