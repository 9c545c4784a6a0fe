"""The run under way: begun, followed, ended. All of it lives in the status, so that a Job's absence never starts a run again."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

import msgspec

from walkforward_core.api.defaults import effective_gates
from walkforward_core.runs import RunMode, RunPart, RunVerdict, SkippedGate, Trigger
from walkforward_operator.conditions import instant
from walkforward_operator.retrain.allowed import Problem
from walkforward_operator.retrain.job import inputs_digest, run_name
from walkforward_operator.retrain.model import Stage
from walkforward_operator.retrain.reasons import RetrainReason
from walkforward_operator.retrain.result import failed
from walkforward_operator.retrain.schedule import epoch_ms
from walkforward_operator.retrain.status import CurrentRun, LastRun, RunRecord

if TYPE_CHECKING:
    from walkforward_core.api.retrain import RetrainSpec
    from walkforward_core.bundle import Baseline
    from walkforward_operator.retrain.model import Observation, Outcome, Progress, Retrain
    from walkforward_operator.retrain.status import RetrainStatus

__all__ = ["Occasion", "begin", "finish", "follow", "needed", "trim"]

MOST_HISTORY: Final = 100
PATIENCE_MS: Final = 24 * 3_600_000
"""How long the object store may keep the result of an ended run from us."""


REFUSED_MS: Final = 2 * 60_000
"""How long the API server may refuse the Job: rights and quotas may be on their way, at an installation for example."""


@dataclass(frozen=True, slots=True)
class Occasion:
    """What starts a run; ``as_of`` is RFC 3339, the instant at which the run pretends to happen."""

    trigger: Trigger
    as_of: str
    mode: RunMode = RunMode.FULL
    force: bool = False
    skip_gates: tuple[SkippedGate, ...] = ()


def needed(spec: RetrainSpec | None) -> bool:
    """Whether a run of ``spec`` is made of more than that: shared overrides, or the bundles that are in use."""
    return spec is not None and (spec.overrides_from is not None or spec.artifacts.retention is not None)


def begin(
    retrain: Retrain,
    spec: RetrainSpec,
    occasion: Occasion,
    baseline: Baseline | None,
    now_ms: int,
    *,
    history: tuple[RunRecord, ...] = (),
    in_use: tuple[str, ...] | None = None,
) -> CurrentRun:
    """Return the run that ``occasion`` starts; ``spec.data.asOf``, where set, wins over the occasion's.

    ``history`` tells how long such runs usually take, ``in_use`` which bundles retention must leave alone.
    """
    as_of, inputs = spec.data.as_of or occasion.as_of, inputs_digest(spec)
    return CurrentRun(
        id=run_name(retrain.name, uid=retrain.uid, inputs=inputs, as_of=as_of, trigger_id=occasion.trigger.id),
        trigger=occasion.trigger,
        mode=occasion.mode,
        as_of=as_of,
        inputs=inputs,
        generation=retrain.generation,
        gates=effective_gates(spec),
        recipe=spec.recipe,
        eta=_eta(spec.recipe, occasion.mode, history, now_ms),
        artifacts=spec.artifacts.uri,
        started_at=instant(now_ms),
        deadline=instant(now_ms + spec.job.active_deadline_seconds * 1000),
        force=occasion.force,
        skip_gates=occasion.skip_gates,
        baseline=baseline,
        symbols=spec.data.symbols if len(spec.data.symbols) > 1 and occasion.mode is not RunMode.CALIBRATE else (),
        in_use=in_use if spec.artifacts.retention is not None else None,
        memory_limit=spec.job.resources.limits.get("memory", ""),
    )


def _eta(recipe: str, mode: RunMode, history: tuple[RunRecord, ...], now_ms: int) -> str | None:
    """Return when such a run is usually done; runs that were given up on the way say nothing of the others."""
    whole = {RunVerdict.PUBLISHED, RunVerdict.REJECTED, RunVerdict.DRY_RUN, RunVerdict.CALIBRATED}
    took = [
        epoch_ms(run.finished_at) - epoch_ms(run.started_at)
        for run in history
        if (run.recipe, run.mode) == (recipe, mode) and run.verdict in whole
    ]
    return instant(now_ms + round(median(took))) if took else None


def follow(
    retrain: Retrain, status: RetrainStatus, seen: Observation, problem: Problem | None, baseline: Baseline | None, now_ms: int
) -> RetrainStatus:
    """Return the status after a look at the run under way, ended where its outcome is known."""
    run, progress = status.run, seen.progress
    if run is None:
        return status
    if seen.refused is not None:
        waited = now_ms - epoch_ms(run.since) >= REFUSED_MS or seen.refused.reason is not RetrainReason.JOB_REFUSED
        return finish(status, run, failed(seen.refused), now_ms) if waited else status
    if seen.outcome is not None:
        prepared = seen.outcome.verdict is RunVerdict.PREPARED
        return _gather(status, run, progress, now_ms) if prepared else finish(status, run, seen.outcome, now_ms)
    if progress is None:
        return status
    if progress.ending is not None:
        return _unverified(status, run, seen.unavailable, now_ms)
    if progress.stage is not Stage.ABSENT:
        return msgspec.structs.replace(status, run=msgspec.structs.replace(run, created=True, attempt=progress.attempt))
    if run.part is RunPart.GATHER:  # made of what the run was begun with
        return status if seen.document is not None else finish(status, run, failed(_lost(run)), now_ms)
    return _not_yet_created(retrain, status, seen, problem, baseline, now_ms)


def _gather(status: RetrainStatus, run: CurrentRun, progress: Progress | None, now_ms: int) -> RetrainStatus:
    """Every symbol is prepared: the last step begins, with the time that is left of the deadline."""
    left = epoch_ms(run.deadline) - epoch_ms(run.started_at) - (progress.took_ms if progress else 0)
    if left < 1_000:
        message = (
            "preparing its symbols took all of spec.job.activeDeadlineSeconds: raise it, or give the Job more CPU (spec.job.resources)"
        )
        return finish(status, run, failed(Problem(RetrainReason.DEADLINE_EXCEEDED, message)), now_ms)
    begun = msgspec.structs.replace(
        run, gathering_since=instant(now_ms), deadline=instant(now_ms + left), created=False, attempt=1, unverified_since=None
    )
    return msgspec.structs.replace(status, run=begun)


def _not_yet_created(
    retrain: Retrain, status: RetrainStatus, seen: Observation, problem: Problem | None, baseline: Baseline | None, now_ms: int
) -> RetrainStatus:
    """A run whose Job was never made follows edits of the spec: its name, its input and its gates belong together."""
    run = status.run
    if run is None:
        return status
    if problem is not None:
        return finish(status, run, failed(problem), now_ms)
    if retrain.spec is None or inputs_digest(retrain.spec) == run.inputs:
        return status
    again = Occasion(trigger=run.trigger, as_of=run.as_of, mode=run.mode, force=run.force, skip_gates=run.skip_gates)
    in_use = seen.inputs.in_use if seen.inputs is not None else None
    begun = begin(retrain, retrain.spec, again, baseline, now_ms, history=status.history, in_use=in_use)
    return msgspec.structs.replace(status, run=begun)


def _lost(run: CurrentRun) -> Problem:
    gone = "is gone, or cannot be read by this release of the operator"
    return Problem(RetrainReason.JOB_LOST, f"ConfigMap {run.id}, which the last step is made of, {gone}: run again")


def _unverified(status: RetrainStatus, run: CurrentRun, unavailable: str, now_ms: int) -> RetrainStatus:
    """An ended run waits for its result, but not for ever: it is in the way of the next one."""
    since = run.unverified_since or instant(now_ms)
    if now_ms - epoch_ms(since) < PATIENCE_MS:
        return msgspec.structs.replace(status, run=msgspec.structs.replace(run, unverified_since=since))
    message = f"the result of the run could not be read for a day ({unavailable}), so it is given up: mend the object store, then run again"
    return finish(status, run, failed(Problem(RetrainReason.STORE_UNAVAILABLE, message)), now_ms)


def finish(status: RetrainStatus, run: CurrentRun, outcome: Outcome, now_ms: int) -> RetrainStatus:
    """Return the status with ``run`` in its history; a bundle becomes the latest only if it was published."""
    record = RunRecord(
        run=run.id,
        trigger=run.trigger,
        mode=run.mode,
        recipe=run.recipe,
        as_of=run.as_of,
        verdict=outcome.verdict,
        reason=outcome.reason,
        message=outcome.message[:4096],
        version=outcome.bundle.version if outcome.bundle else "",
        metrics=dict(list(outcome.metrics.items())[:8]),
        failed=outcome.failed[:16],
        generation=run.generation,
        started_at=run.started_at,
        finished_at=instant(now_ms),
    )
    published = outcome.verdict is RunVerdict.PUBLISHED and outcome.bundle is not None
    return msgspec.structs.replace(
        status,
        run=None,
        history=(record, *status.history),
        last_run=LastRun(run=run.id, verdict=record.verdict, started_at=record.started_at, finished_at=record.finished_at),
        latest_bundle=outcome.bundle if published else status.latest_bundle,
    )


def trim(retrain: Retrain, status: RetrainStatus) -> RetrainStatus:
    """Return the status with as much history as the spec asks for; while it cannot be read, nothing is thrown away."""
    limit = retrain.spec.history_limit if retrain.spec else MOST_HISTORY
    kept, older = status.history[:limit], status.history[limit:]
    if all(record.aside for record in kept):  # the phase is that of the last run that was none
        kept += next(((record,) for record in older if not record.aside), ())
    return msgspec.structs.replace(status, history=kept)
