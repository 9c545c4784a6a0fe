"""Servers that refuse the candidate or die with it: judged before any gate, at every weight, also while paused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from walkforward_core.pods import ModelState
from walkforward_operator.reasons import ConditionType, Reason
from walkforward_operator.rollout.abort import abort
from walkforward_operator.rollout.model import DeletePod
from walkforward_operator.rollout.pods import report_on
from walkforward_operator.rollout.status import TRIPPED_KEPT
from walkforward_operator.rollout.writes import ref_of

if TYPE_CHECKING:
    from walkforward_core.routing import ModelRef
    from walkforward_operator.rollout.model import Pod
    from walkforward_operator.rollout.turn import Turn

__all__ = ["crash"]


def crash(turn: Turn) -> Turn:
    """Abort where a pod refuses the model on trial, where two have died with it, or where a server ends again and again."""
    walk = turn.walk
    if walk is None or not _on_pods(turn):
        return turn
    ref, pods = ref_of(walk.model), turn.living_pods()
    for pod in pods:
        report = report_on(pod, ref)
        if report is not None and report.state is ModelState.REFUSED:
            return abort(turn, Reason.CANDIDATE_CRASHED, f"pod {pod.name} refuses it: {report.reason or 'no reason given'}")
    turn = _tripped(turn, ref, pods)
    if turn.ended:
        return turn
    looping = next((pod for pod in turn.observation.target.pods if pod.crash_looping and not pod.terminating), None)
    if looping is not None:
        return abort(turn, Reason.SERVER_CRASHED, f"pod {looping.name} ended {looping.restarts} times; read its log")
    return turn


def _tripped(turn: Turn, ref: ModelRef, pods: tuple[Pod, ...]) -> Turn:
    walk = turn.walk
    if walk is None:
        return turn
    down = [pod for pod in pods if (report := report_on(pod, ref)) is not None and report.state is ModelState.TRIPPED]
    fresh = [pod for pod in down if pod.uid not in walk.tripped]
    if fresh:
        turn = turn.with_walk(tripped=(*walk.tripped, *(pod.uid for pod in fresh))[-TRIPPED_KEPT:])
    died = len(turn.walk.tripped) if turn.walk is not None else 0
    if down and (died > 1 or len(pods) == 1):
        return abort(turn, Reason.CANDIDATE_CRASHED, f"pod {down[0].name} died with it{', as another did before' if died > 1 else ''}")
    for pod in down:
        turn = turn.do(DeletePod(pod.name, pod.uid, f"its process died with {ref.version}"))
        turn = turn.note(ConditionType.SERVER_TRIPPED, Reason.POD_REPLACED, f"pod {pod.name} died with {ref.version} and is replaced")
        if pod in fresh:
            turn = turn.tell(Reason.POD_REPLACED, f"pod {pod.name} died with {ref.version}; a second one ends the walk", warning=True)
    return turn


def _on_pods(turn: Turn) -> bool:
    """Return whether the pods were told of the model on trial."""
    applied, walk = turn.applied, turn.walk
    if applied is None or walk is None:
        return False
    return any(ref is not None and ref.digest == walk.model.digest for ref in (applied.stable, applied.candidate))
