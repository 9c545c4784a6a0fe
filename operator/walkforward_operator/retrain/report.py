"""Phase, message and conditions of a ModelRetrain, from what the engine knows.

Ready says whether the retrain does what its spec wants. A candidate that its gates rejected, or data that are not enough yet, leave it
Ready: nothing is broken. A failed run does not: it is Stalled where only a person can help (the configuration, or nothing will start
another run by itself), and plain not ready where the next occasion may do better. While a run is under way, Reconciling says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from walkforward_core.runs import RunPart, RunVerdict
from walkforward_operator.conditions import Condition, instant, merge
from walkforward_operator.retrain.model import Stage
from walkforward_operator.retrain.reasons import RetrainReason
from walkforward_operator.retrain.schedule import epoch_ms
from walkforward_operator.retrain.status import RetrainPhase

if TYPE_CHECKING:
    from walkforward_operator.retrain.allowed import Problem
    from walkforward_operator.retrain.model import Observation, Retrain
    from walkforward_operator.retrain.status import CurrentRun, RetrainStatus, RunRecord

__all__ = ["present"]

_TERMINAL: Final = frozenset(
    {
        RetrainReason.BAD_CONFIGURATION,
        RetrainReason.TRAINER_BUG,
        RetrainReason.CRASHED,
        RetrainReason.RUN_FAILED,
        RetrainReason.OUT_OF_MEMORY,
        RetrainReason.IMAGE_PULL,
        RetrainReason.CONTAINER_CONFIG,
        RetrainReason.JOB_REFUSED,
        RetrainReason.JOB_CONFLICT,
        RetrainReason.BAD_RESULT,
        RetrainReason.DIGEST_MISMATCH,
        RetrainReason.VERDICT_MISMATCH,
    }
)
"""What the next occasion will meet again unless a person changes something."""

_PHASES: Final = {
    RunVerdict.PUBLISHED: RetrainPhase.PUBLISHED,
    RunVerdict.REJECTED: RetrainPhase.REJECTED,
    RunVerdict.INELIGIBLE: RetrainPhase.INELIGIBLE,
    RunVerdict.DRY_RUN: RetrainPhase.IDLE,
    RunVerdict.FAILED: RetrainPhase.FAILED,
}
_UNDER_WAY: Final = {
    Stage.ABSENT: RetrainPhase.WAITING,
    Stage.QUEUED: RetrainPhase.WAITING,
    Stage.PENDING: RetrainPhase.WAITING,
    Stage.RUNNING: RetrainPhase.RUNNING,
    Stage.ENDED: RetrainPhase.GATHERING,
}


class _View(NamedTuple):
    phase: RetrainPhase
    reason: str
    message: str
    ready: str
    reconciling: bool = False
    stalled: bool = False


def present(
    retrain: Retrain, status: RetrainStatus, seen: Observation, problem: Problem | None, next_ms: int | None, now_ms: int
) -> RetrainStatus:
    """Return ``status`` with everything that people and kstatus read; ``next_ms`` is when the clock starts the next run."""
    suspended = retrain.spec is not None and retrain.spec.suspend
    coming = None if suspended or problem is not None else next_ms
    view = _view(retrain, status, seen, problem, coming, now_ms)
    return msgspec.structs.replace(
        status,
        observed_generation=retrain.generation,
        phase=view.phase,
        reason=view.reason,
        message=view.message[:4096],
        next_run=None if coming is None else instant(coming),
        conditions=merge(status.conditions, _conditions(view, status), generation=retrain.generation, now_ms=now_ms),
    )


def _view(retrain: Retrain, status: RetrainStatus, seen: Observation, problem: Problem | None, next_ms: int | None, now_ms: int) -> _View:
    if status.run is not None:
        return _refused(status, seen) or _under_way(status.run, seen, now_ms)
    if problem is not None:
        return _View(RetrainPhase.FAILED, problem.reason, problem.message, "False", stalled=True)
    if retrain.spec is not None and retrain.spec.suspend:
        message = "suspended: no run starts while spec.suspend is true"
        return _View(RetrainPhase.SUSPENDED, RetrainReason.SUSPENDED, message, "True")
    telling = next((record for record in status.history if not record.aside), None)
    if telling is not None:
        return _ended(retrain, telling, next_ms)
    message = "no run yet" + (
        ""
        if next_ms is not None
        else ": set spec.schedules or spec.triggers.maxModelAge, or ask for one with the annotation walkforward.dev/run"
    )
    return _View(RetrainPhase.IDLE, RetrainReason.IDLE, message, "True")


def _refused(status: RetrainStatus, seen: Observation) -> _View | None:
    """A refusal of the API server stays on show until the Job is there, though every look tries again."""
    created = status.run is None or status.run.created
    if seen.refused is None and (created or status.reason != RetrainReason.JOB_REFUSED):
        return None
    message = seen.refused.message if seen.refused else status.message
    return _View(RetrainPhase.WAITING, RetrainReason.JOB_REFUSED, message, "Unknown", reconciling=True)


def _under_way(run: CurrentRun, seen: Observation, now_ms: int) -> _View:
    progress = seen.progress
    if progress is None and run.part is RunPart.GATHER:
        message = f"all {len(run.symbols)} symbols of run {run.id} are prepared; Job {run.job} is being created"
        return _View(RetrainPhase.GATHERING, RetrainReason.RUN_STARTED, message, "Unknown", reconciling=True)
    if progress is None:
        message = f"run {run.id} starts ({run.trigger.kind}, as of {run.as_of})"
        return _View(RetrainPhase.WAITING, RetrainReason.RUN_STARTED, message, "Unknown", reconciling=True)
    gathering = progress.ending is not None or run.part is RunPart.GATHER
    phase = RetrainPhase.GATHERING if gathering else _UNDER_WAY[progress.stage]
    reason, message = progress.reason, progress.message
    if seen.unavailable:
        reason, message = RetrainReason.STORE_UNAVAILABLE, f"the result of run {run.id} cannot be verified yet: {seen.unavailable}"
    elif run.eta is not None and progress.ending is None:
        verb = "waits" if progress.stage is Stage.QUEUED else "takes"
        late = f", so it {verb} longer than usual" if now_ms > epoch_ms(run.eta) else ""
        message += f"; usually done by {run.eta}{late}"
    return _View(phase, reason, message, "Unknown", reconciling=True)


def _ended(retrain: Retrain, record: RunRecord, next_ms: int | None) -> _View:
    if record.verdict is not RunVerdict.FAILED:
        return _View(_PHASES[record.verdict], record.reason, record.message, "True")
    same_spec = record.generation == retrain.generation
    stalled = next_ms is None or (same_spec and record.reason in _TERMINAL)
    return _View(RetrainPhase.FAILED, record.reason, record.message, "False", stalled=stalled)


def _conditions(view: _View, status: RetrainStatus) -> list[Condition]:
    found = [Condition(type="Ready", status=view.ready, reason=view.reason, message=view.message)]
    if view.reconciling:
        found.append(Condition(type="Reconciling", status="True", reason=view.reason, message=view.message))
    if view.stalled:
        found.append(Condition(type="Stalled", status="True", reason=view.reason, message=view.message))
    if status.history:
        last = status.history[0]
        good = last.verdict in {RunVerdict.PUBLISHED, RunVerdict.DRY_RUN, RunVerdict.CALIBRATED}
        found.append(
            Condition(type="Succeeded", status="True" if good else "False", reason=last.reason, message=f"run {last.run}: {last.message}")
        )
    return found
