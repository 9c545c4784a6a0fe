"""The retrain engine's heart: what is to be done about a ModelRetrain, given what is known and seen. No clock, no I/O.

Order: a deleted object starts nothing; the run under way is followed to its end, whatever the spec says by now; then a new one may begin, a
person's before the clock's. There is one run at a time: not even the Job of a run that was given up may still be active.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec

from walkforward_core.api.overrides import merged
from walkforward_core.runs import RunPart
from walkforward_operator.cluster.kinds import JOB
from walkforward_operator.retrain.allowed import Problem, refusal
from walkforward_operator.retrain.job import config_map, job
from walkforward_operator.retrain.model import Decision, Discard, Owned, StartRun
from walkforward_operator.retrain.occasions import Timetable, by_age, by_hand, by_schedule, next_run, pass_over, register
from walkforward_operator.retrain.reasons import RetrainReason
from walkforward_operator.retrain.report import present
from walkforward_operator.retrain.run import begin, follow, needed, trim
from walkforward_operator.retrain.schedule import ScheduleError, epoch_ms
from walkforward_operator.retrain.status import GATHER_SUFFIX, RetrainPhase
from walkforward_operator.retrain.transitions import transitions
from walkforward_operator.rollout.model import Emit

if TYPE_CHECKING:
    from walkforward_core.bundle import Baseline
    from walkforward_operator.retrain.model import Action, Observation, Retrain
    from walkforward_operator.retrain.run import Occasion
    from walkforward_operator.retrain.status import RetrainStatus

__all__ = ["decide"]

SOON_MS: Final = 5_000
LATER_MS: Final = 30_000
"""How often the pods of a run are looked at, which are not watched: soon while it starts; the end of its Job is an event."""
STARTING_MS: Final = 5 * 60_000


def decide(retrain: Retrain, status: RetrainStatus, seen: Observation, now_ms: int) -> Decision:
    """Return the status to write, what to do then, and when to look again.

    ``now_ms`` is epoch milliseconds. The same arguments give the same decision, and deciding again after all of it was carried out asks
    for nothing more.
    """
    if retrain.deleting:
        return Decision(status=status)
    held = None
    if needed(retrain.spec) and retrain.spec is not None:
        if seen.inputs is None:
            return _unless_a_run_begins(_decide(retrain, status, seen, None, now_ms), status)
        shared = seen.inputs.shared
        held = shared if isinstance(shared, Problem) else None
        retrain = retrain if isinstance(shared, Problem) else replace(retrain, spec=merged(retrain.spec, shared))
    return _decide(retrain, status, seen, held, now_ms)


def _unless_a_run_begins(decision: Decision, status: RetrainStatus) -> Decision:
    """Return ``decision``, made without what a run is made of; where that counts, it says no more than to look at it."""
    run = decision.status.run
    asks = run is not None and not run.created and run.part is not RunPart.GATHER
    return Decision(status=status, asks=True) if asks else decision


def _decide(retrain: Retrain, status: RetrainStatus, seen: Observation, held: Problem | None, now_ms: int) -> Decision:
    """Decide with a spec that is complete; ``held`` says why it is not, and nothing begins."""
    table, problem = _plan(retrain, seen)
    baseline = _baseline(retrain, seen)
    if isinstance(baseline, Problem):
        problem, baseline = problem or baseline, None
    new = trim(retrain, follow(retrain, status, seen, problem or held, baseline, now_ms))
    if table is not None:
        new = register(retrain, new, table, now_ms)
    new, held = _start(retrain, new, seen, table, problem, held, baseline, now_ms)
    problem = problem or held
    coming = next_run(retrain, new, table, now_ms) if table is not None else None
    fresh = seen if new.run is not None and status.run is not None and new.run.job == status.run.job else _without_run(seen)
    new = present(retrain, new, fresh, problem, coming, now_ms)
    actions = (*transitions(status, new), *_unkept(status, new, seen), *_upkeep(new, fresh), *_creation(retrain, new, seen))
    return Decision(status=new, actions=actions, requeue_after_ms=_again(new, fresh, coming, held, now_ms))


def _plan(retrain: Retrain, seen: Observation) -> tuple[Timetable | None, Problem | None]:
    """Return the timetable and what forbids every start, either None."""
    if retrain.spec is None:
        return None, Problem(RetrainReason.INVALID_SPEC, f"spec cannot be read: {retrain.spec_error}")
    try:
        table = Timetable.of(retrain.spec)
    except ScheduleError as error:
        return None, Problem(RetrainReason.INVALID_SPEC, f"spec.{error}")
    return table, refusal(retrain.spec, seen.installation)


def _baseline(retrain: Retrain, seen: Observation) -> Baseline | Problem | None:
    """Return the live model to compare with: that of the one rollout that follows, or of the one that the spec names."""
    named = retrain.spec.baseline_from if retrain.spec else None
    if named is not None:
        found = next((rollout for rollout in seen.rollouts if rollout.name == named), None)
        missing = f"spec.baselineFrom names ModelRollout {named!r}, which does not exist: create it, or correct the name"
        return found.stable if found is not None else Problem(RetrainReason.BASELINE_MISSING, missing)
    followers = [rollout for rollout in seen.rollouts if rollout.follows]
    if len(followers) > 1:
        names = ", ".join(sorted(rollout.name for rollout in followers))
        message = f"ModelRollouts {names} follow this retrain: name the one whose stable model is the baseline in spec.baselineFrom"
        return Problem(RetrainReason.BASELINE_AMBIGUOUS, message)
    return followers[0].stable if followers else None


def _start(
    retrain: Retrain,
    status: RetrainStatus,
    seen: Observation,
    table: Timetable | None,
    problem: Problem | None,
    held: Problem | None,
    baseline: Baseline | None,
    now_ms: int,
) -> tuple[RetrainStatus, Problem | None]:
    """Return the status with the run that begins now, if one does, and ``held`` where that keeps one from it: its slot stays due."""
    suspended = retrain.spec is not None and retrain.spec.suspend
    free = status.run is None and not any(job.active for job in seen.jobs)
    said = problem or held
    obstacle = "suspended: set spec.suspend to false, then ask again with a new id" if suspended else said.message if said else ""
    new, occasion = by_hand(retrain, status, free=free, obstacle=obstacle, now_ms=now_ms)
    if suspended:
        return (pass_over(new, table, now_ms) if table is not None else new), None
    if problem is not None or table is None or retrain.spec is None or not free:
        return new, None
    before = new
    if occasion is None:
        new, occasion = _by_the_clock(retrain, new, table, now_ms)
    if occasion is None:
        return new, None
    if held is not None:
        return before, held
    in_use = seen.inputs.in_use if seen.inputs is not None else None
    begun = begin(retrain, retrain.spec, occasion, baseline, now_ms, history=new.history, in_use=in_use)
    return msgspec.structs.replace(new, run=begun), None


def _by_the_clock(retrain: Retrain, status: RetrainStatus, table: Timetable, now_ms: int) -> tuple[RetrainStatus, Occasion | None]:
    occasion = by_schedule(status, table, now_ms)
    if occasion is not None:
        return pass_over(status, table, now_ms, occasion.mode), occasion
    return status, by_age(retrain, status, table, now_ms)


def _without_run(seen: Observation) -> Observation:
    """Return what was seen, less what was seen of a run that is no longer, or not yet, the current one."""
    return replace(seen, progress=None, outcome=None, unavailable="", refused=None)


def _unkept(old: RetrainStatus, new: RetrainStatus, seen: Observation) -> tuple[Action, ...]:
    """Return the event of a run that begins without the retention that its spec asks for."""
    begun = new.run is not None and (old.run is None or old.run.id != new.run.id)
    if not begun or seen.inputs is None or seen.inputs.in_use is not None:
        return ()
    message = f"it is not known which bundles are in use ({seen.inputs.unknown}), so the run deletes none"
    return (Emit(RetrainReason.RETENTION_SKIPPED, message, warning=True),)


def _upkeep(status: RetrainStatus, seen: Observation) -> tuple[Action, ...]:
    """Return what brings Jobs and ConfigMaps in line with the status, which knows every run that matters."""
    current = {status.run.id, status.run.id + GATHER_SUFFIX} if status.run else set()
    kept = {name for run in status.history for name in (run.run, run.run + GATHER_SUFFIX)} | current
    stale: list[Action] = [
        Discard(Owned(JOB, one.name, one.uid), "its run has ended" if one.active else "beyond spec.historyLimit")
        for one in seen.jobs
        if one.name not in current and (one.active or one.name not in kept)
    ]
    stale += [Discard(one, "beyond spec.historyLimit") for one in seen.config_maps if one.name not in kept]
    return tuple(stale)


def _creation(retrain: Retrain, status: RetrainStatus, seen: Observation) -> tuple[Action, ...]:
    """Return what makes the Job of the part that is at work, as long as it was not seen."""
    run = status.run
    if run is None or run.created:
        return ()
    spec, image = retrain.spec, ""
    if run.part is RunPart.GATHER:
        spec = seen.document.spec if seen.document is not None else None
        image = next((one.image for one in seen.jobs if one.name == run.id), "")
    if spec is None:
        return ()
    return (StartRun(config_map(retrain, run, spec), job(retrain, run, spec, seen.installation, image=image)),)


def _again(status: RetrainStatus, seen: Observation, coming: int | None, held: Problem | None, now_ms: int) -> int | None:
    """Return after how many milliseconds the world may look different without an event."""
    waits = [LATER_MS] if held is not None else []  # people's ConfigMaps are not watched
    if coming is not None and coming > now_ms:
        waits.append(coming - now_ms)
    if status.run is not None:
        starting = now_ms - epoch_ms(status.run.since) < STARTING_MS
        waits.append(SOON_MS if starting and status.phase is not RetrainPhase.RUNNING else LATER_MS)
        if status.run.eta is not None and epoch_ms(status.run.eta) >= now_ms:  # its message is another one from then on
            waits.append(epoch_ms(status.run.eta) + 1_000 - now_ms)
        if seen.progress is not None and seen.progress.again_ms is not None:
            waits.append(seen.progress.again_ms)
    return min(waits, default=None)
