"""What the pods have applied: the proof of a new candidate on one of them, the soak clock, and the end of a way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import structs

from walkforward_core.pods import ModelState
from walkforward_operator.reasons import Reason
from walkforward_operator.rollout.abort import conclude
from walkforward_operator.rollout.bootstrap import WRITTEN
from walkforward_operator.rollout.clock import millis, stamp
from walkforward_operator.rollout.model import DeletePod
from walkforward_operator.rollout.plan import HOLD_MAX, HOUR
from walkforward_operator.rollout.pods import first_lagging, report_on, unverified
from walkforward_operator.rollout.start import prover
from walkforward_operator.rollout.status import Outcome, Purpose, WalkKind
from walkforward_operator.rollout.writes import plan_write

if TYPE_CHECKING:
    from walkforward_operator.rollout.model import Pod
    from walkforward_operator.rollout.status import Walk
    from walkforward_operator.rollout.turn import Turn

__all__ = ["first_model", "soaked", "verify", "way_back"]

REPLACE_MS: Final = 10_000
"""A pod that has not gone back to stable after this time is deleted."""


def verify(turn: Turn) -> Turn:
    """Take in what the pods say of the document that was written last."""
    walk, applied = turn.walk, turn.applied
    if walk is None or applied is None or walk.kind is WalkKind.BOOTSTRAP:
        return turn
    turn = _prove(turn)
    return turn if turn.ended else _clock(turn, unverified(turn, turn.ready_pods()))


def soaked(walk: Walk, now_ms: int) -> int:
    """Return the soak of the step so far, in milliseconds."""
    return walk.soaked_ms + (max(0, now_ms - millis(walk.soak_since)) if walk.soak_since is not None else 0)


def _clock(turn: Turn, lag: str) -> Turn:
    """Run the soak clock while every pod is verified; a pod that lags stops it, and never sets it back."""
    walk, now = turn.walk, stamp(turn.now_ms)
    if walk is None:
        return turn
    if lag:
        if walk.soak_since is not None:
            turn = turn.with_walk(soaked_ms=soaked(walk, turn.now_ms), soak_since=None)
        elif walk.verified_at is None and walk.deadline is None and turn.ready_pods():
            turn = turn.with_walk(deadline=stamp(turn.now_ms + _loading(turn)))
        return turn.wait(Reason.NOT_VERIFIED, lag)
    if walk.soak_since is not None:
        return turn
    if walk.verified_at is None and walk.step == 0:
        # evidence starts to come now, so the time to wait for it does too
        turn = turn.with_walk(hold_ms=_hold(turn), deadline=stamp(turn.now_ms + _hold(turn)))
    return turn.with_walk(soak_since=now, verified_at=walk.verified_at or now)


def _hold(turn: Turn) -> int:
    """Return how long a walk may wait in step 0; with ``auto`` that is not known before outcomes come."""
    plan = turn.plan
    return plan.max_hold_ms if plan is not None and plan.max_hold_ms is not None else HOLD_MAX


def _loading(turn: Turn) -> int:
    """Return how long the pods may take to load and check a candidate."""
    plan = turn.plan
    return plan.max_hold_ms if plan is not None and plan.max_hold_ms is not None else HOUR


def _prove(turn: Turn) -> Turn:
    """Let one pod prove a new candidate, then all; where that pod goes, name another."""
    walk, applied, kept = turn.walk, turn.applied, turn.status.routing.applied
    if walk is None or applied is None or kept is None or applied.candidate is None or applied.prove_on is None:
        return turn
    pod = next((one for one in turn.observation.target.pods if one.uid == applied.prove_on and not one.terminating), None)
    if pod is None:
        other = prover(turn)
        return _name(turn, other.uid) if other is not None else turn.wait(Reason.WAITING_FOR_PODS, "no pod is ready to prove the candidate")
    report = report_on(pod, applied.candidate)
    follows = pod.report is not None and pod.report.applied is not None and pod.report.applied.digest == kept.digest
    if follows and report is not None and report.state is ModelState.READY:
        return _name(turn, None)
    said = report.state.value if report is not None and follows else "has not applied the routing document yet"
    return turn.wait(Reason.PROVING, f"pod {pod.name} proves {walk.model.version} before the others: {said}")


def _name(turn: Turn, pod: str | None) -> Turn:
    walk, applied = turn.walk, turn.applied
    if walk is None or applied is None:
        return turn
    document = structs.replace(applied, generation=turn.next_generation(), prove_on=pod)
    return plan_write(turn, document, Purpose.PROVE, walk=structs.replace(walk, last_generation=document.generation))


def first_model(turn: Turn) -> Turn:
    """The first model is live as soon as one pod serves it: a pod is ready only with a model, so ready pods cannot be asked for."""
    walk = turn.walk
    if walk is None or walk.kind is not WalkKind.BOOTSTRAP or walk.step < WRITTEN:
        return turn
    pods = turn.living_pods()
    if all(unverified(turn, (pod,)) for pod in pods):
        return turn.wait(Reason.BOOTSTRAPPING, unverified(turn, pods).replace("no pod is ready", "no pod runs yet"))
    message = f"{walk.model.version} is live: nothing served before, so there was nothing to compare it with"
    turn = conclude(turn, walk, Outcome.BOOTSTRAPPED, Reason.BOOTSTRAPPED, message)
    return turn.tell(Reason.BOOTSTRAPPED, message)


def way_back(turn: Turn) -> Turn:
    """Wait until stable serves everything on every pod; replace, one at a time, the pods that do not follow."""
    rollback, applied = turn.status.rollback, turn.applied
    if rollback is None or rollback.verified_at is not None:
        return turn
    # with nothing left to serve no pod is ready, and having the document is all there is to verify
    pods = turn.ready_pods() if applied is not None and applied.stable is not None else turn.living_pods()
    lag = unverified(turn, pods, stable_only=True) if applied is not None else ""
    if not lag:
        done = structs.replace(rollback, verified_at=stamp(turn.now_ms))
        turn = turn.tell(Reason.ROLLED_BACK, f"{rollback.version} is gone from every pod, after {turn.now_ms - millis(rollback.at)} ms")
        return turn.with_status(rollback=None if rollback.reason == Reason.CANCELLED else done)
    turn = turn.wait(Reason.ROLLING_BACK, lag)
    late = millis(rollback.at) + REPLACE_MS
    if turn.now_ms < late:
        return turn.wake(late)
    return _replace(turn, pods) if rollback.reason != Reason.CANCELLED else turn


def _replace(turn: Turn, pods: tuple[Pod, ...]) -> Turn:
    lagging = first_lagging(turn, pods, stable_only=True)
    if lagging is None or any(pod.terminating for pod in turn.observation.target.pods):
        return turn
    pod, lack = lagging
    turn = turn.do(DeletePod(pod.name, pod.uid, lack))
    return turn.tell(Reason.POD_REPLACED, f"pod {pod.name} {lack} {REPLACE_MS // 1000} s after the way back began", warning=True)
