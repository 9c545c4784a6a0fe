"""Calibrations: runs that measure what execution costs, train nothing, and leave phase, bundle and age as they were."""

from __future__ import annotations

import msgspec
from retrain_world import World
from retrains import HOUR, MINUTE, NOW, manual, result, spec

from walkforward_core.api.data import TradesSpec
from walkforward_core.api.retrain import Schedule, ScheduledMode, Triggers
from walkforward_core.runs import RunMode, RunVerdict
from walkforward_operator.retrain.status import ManualOutcome, RetrainPhase

TRADES = msgspec.structs.replace(spec().data, trades=TradesSpec(uri="s3://data/trades/"))
BOTH = spec(
    data=TRADES,
    schedules=(Schedule(cron="0 * * * *"), Schedule(cron="0 * * * *", mode=ScheduledMode.CALIBRATE)),
    history_limit=2,
)


async def calibrated(world: World, job: str) -> None:
    world.end(job, 0, result(world.document(job), RunVerdict.CALIBRATED).to_bytes().decode())
    await world.settle()


async def test_a_calibration_that_is_due_with_a_training_runs_before_it_and_both_run() -> None:
    world = World(now_ms=NOW + 30 * MINUTE)
    world.apply(BOTH)
    await world.settle()
    world.now_ms += 31 * MINUTE
    await world.settle()
    [job] = world.active
    assert (world.document(job).mode, world.document(job).trigger.id) == (RunMode.CALIBRATE, "calibrate-2026-03-02T13:00:00Z")
    await calibrated(world, job)
    [training] = world.active
    assert (world.document(training).mode, world.document(training).trigger.id) == (RunMode.FULL, "schedule-2026-03-02T13:00:00Z")
    assert training != job


async def test_a_calibration_changes_neither_phase_nor_bundle_nor_age() -> None:
    world = World()
    world.apply(spec(data=TRADES, triggers=Triggers(max_model_age="2d"), history_limit=2))
    await world.settle()
    [job] = world.active
    world.end(job, 0, world.publish(job))
    await world.settle()
    before = world.status()
    for number in range(3):  # more than the history holds
        world.now_ms += HOUR
        world.apply(
            spec(data=TRADES, triggers=Triggers(max_model_age="2d"), history_limit=2), annotations=manual(f"c{number}", mode="Calibrate")
        )
        await world.settle()
        [job] = world.active
        await calibrated(world, job)
    after = world.status()
    assert after.phase is RetrainPhase.PUBLISHED
    assert (after.message, after.latest_bundle, after.next_run) == (before.message, before.latest_bundle, before.next_run)
    assert [run.verdict for run in after.history] == [RunVerdict.CALIBRATED, RunVerdict.CALIBRATED, RunVerdict.PUBLISHED]
    assert after.last_run is not None
    assert after.last_run.verdict is RunVerdict.CALIBRATED
    assert world.condition("Ready") == ("True", "Published")
    assert world.condition("Succeeded") == ("True", "Calibrated")
    assert world.told[-1] == "Calibrated"


async def test_a_first_calibration_leaves_it_idle_and_a_failed_one_does_not() -> None:
    world = World()
    world.apply(spec(data=TRADES), annotations=manual("a", mode="Calibrate"))
    await world.settle()
    [job] = world.active
    await calibrated(world, job)
    assert world.status().phase is RetrainPhase.IDLE
    world.apply(spec(data=TRADES), annotations=manual("b", mode="Calibrate"))
    await world.settle()
    [job] = world.active
    world.end(job, 65, result(world.document(job), RunVerdict.FAILED, message="no trades").to_bytes().decode())
    await world.settle()
    assert world.condition("Ready") == ("False", "BadData")


async def test_a_calibration_can_publish_nothing_and_needs_trades() -> None:
    world = World()
    world.apply(spec(data=TRADES), annotations=manual("a", mode="Calibrate"))
    await world.settle()
    [job] = world.active
    world.end(job, 0, world.publish(job))
    await world.settle()
    assert world.condition("Ready") == ("False", "BadResult")
    assert "says Published, but a Calibrate run ends otherwise" in world.status().message
    assert world.status().latest_bundle is None
    world.apply(annotations=manual("b", mode="Calibrate"))
    await world.settle()
    assert world.manual().outcome is ManualOutcome.REFUSED
    assert "spec.data.trades" in world.manual().message


async def test_a_scheduled_smoke_run_comes_last_and_leaves_phase_and_bundle_unless_it_fails() -> None:
    world = World(now_ms=NOW + 30 * MINUTE)
    world.apply(spec(schedules=(Schedule(cron="0 * * * *"), Schedule(cron="0 * * * *", mode=ScheduledMode.SMOKE))))
    await world.settle()
    world.now_ms += 31 * MINUTE
    await world.settle()
    [training] = world.active
    assert world.document(training).mode is RunMode.FULL
    world.end(training, 0, world.publish(training))
    await world.settle()
    before = world.status()
    [job] = world.active
    assert (world.document(job).mode, world.document(job).trigger.id) == (RunMode.SMOKE, "smoke-2026-03-02T13:00:00Z")
    world.end(job, 0, result(world.document(job), RunVerdict.DRY_RUN).to_bytes().decode())
    await world.settle()
    after = world.status()
    assert (after.phase, after.latest_bundle) == (RetrainPhase.PUBLISHED, before.latest_bundle)
    assert world.condition("Succeeded") == ("True", "DryRun")
    world.now_ms += HOUR
    await world.settle()
    [training] = world.active
    world.end(training, 0, world.publish(training))
    await world.settle()
    [job] = world.active
    world.end(job, 65, result(world.document(job), RunVerdict.FAILED).to_bytes().decode())
    await world.settle()
    assert world.status().phase is RetrainPhase.FAILED
