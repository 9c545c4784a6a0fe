"""A run of several symbols: an Indexed Job prepares each, a second Job gathers; whatever fails says which symbol, whoever dies goes on."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest
from fake_cluster import Crash
from retrain_world import KEY, World, settle
from retrains import BAD, INSTALLATION, MINUTE, NOW, job_condition, manual, spec, terminated
from retrains import result as report

from walkforward_core.api.data import TradesSpec
from walkforward_core.api.retrain import JobSpec, RetrainSpec
from walkforward_core.runs import RunMode, RunPart, RunVerdict
from walkforward_operator.cluster.errors import Forbidden
from walkforward_operator.cluster.kinds import CONFIG_MAP, JOB, RETRAIN
from walkforward_operator.conditions import instant
from walkforward_operator.retrain.job import PARALLEL, run_name
from walkforward_operator.retrain.status import CurrentRun, RetrainPhase

SYMBOLS = ("EURUSD", "GBPUSD", "USDJPY")


def several(symbols: tuple[str, ...] = SYMBOLS, **changes: Any) -> RetrainSpec:
    base = spec(**changes)
    return msgspec.structs.replace(base, data=msgspec.structs.replace(base.data, symbols=symbols))


async def started(world: World, wanted: RetrainSpec | None = None, **annotation: Any) -> str:
    world.apply(wanted or several(), annotations=manual("a", **annotation))
    await world.settle()
    [job] = world.active
    return job


def prepare(world: World, job: str, index: int, verdict: RunVerdict = RunVerdict.PREPARED, code: int = 0, **words: Any) -> None:
    """The pod of one symbol ends."""
    message = report(world.document(job), verdict, **words).to_bytes().decode()
    world.shard(job, index, phase="Succeeded" if code == 0 else "Failed", terminated=terminated(code, message, at_ms=world.now_ms))


def complete(world: World, job: str, *, took_ms: int = 10 * MINUTE) -> None:
    world.job(
        job,
        conditions=[job_condition("Complete")],
        startTime=instant(world.now_ms - took_ms),
        completionTime=instant(world.now_ms),
    )


def prepare_all(world: World, job: str) -> None:
    for index in range(len(world.document(job).spec.data.symbols)):
        prepare(world, job, index)
    complete(world, job)


def current(world: World) -> CurrentRun:
    run = world.status().run
    assert run is not None
    return run


async def gathering(world: World, wanted: RetrainSpec | None = None, **annotation: Any) -> tuple[str, str]:
    job = await started(world, wanted, **annotation)
    world.now_ms += 10 * MINUTE
    prepare_all(world, job)
    await world.settle()
    [gather] = world.active
    return job, gather


# -- the way of a run --------------------------------------------------------------------------------------------------------


async def test_from_symbols_to_one_bundle() -> None:
    world = World()
    job = await started(world)
    assert (world.document(job).part, world.document(job).spec.data.symbols) == (RunPart.SHARD, SYMBOLS)
    world.shard(job, 0, running={})
    world.shard(job, 2, running={})
    world.shard(job, 1, phase="Pending")
    world.job(job, succeeded=0)
    await world.settle()
    assert world.status().phase is RetrainPhase.RUNNING
    assert world.status().message == "0 of 3 symbols prepared, at work on EURUSD, USDJPY"

    world.now_ms += 10 * MINUTE
    prepare_all(world, job)
    await world.settle()
    gather = f"{job}-gather"
    assert world.active == [gather]
    assert (world.document(gather).part, world.document(gather).run) == (RunPart.GATHER, job)
    assert msgspec.structs.replace(world.document(gather), part=RunPart.SHARD) == world.document(job)
    assert (current(world).id, current(world).gathering_since) == (job, instant(world.now_ms))
    assert world.status().phase is RetrainPhase.GATHERING
    assert world.condition("Reconciling") == ("True", "PodPending")

    world.pod(gather, running={})
    await world.settle()
    assert world.status().phase is RetrainPhase.GATHERING
    assert world.status().message.startswith(f"pod {gather}-x7k2p trains on the rows of all 3 symbols")
    world.end(gather, 0, world.publish(gather))
    await world.settle()
    status = world.status()
    assert status.phase is RetrainPhase.PUBLISHED
    assert status.latest_bundle is not None
    assert (status.latest_bundle.run, status.history[0].run) == (job, job)
    assert world.told == ["RunStarted", "Gathering", "Published"]
    assert sorted(world.jobs) == [job, gather], "both stay as long as the run is in the history"


async def test_the_manifests_of_both_jobs() -> None:
    world = World()
    symbols = tuple(f"S{number}" for number in range(10))
    job, gather = await gathering(world, several(symbols, job=JobSpec(backoff_limit=1, queue_name="night", active_deadline_seconds=3000)))
    first, second = (world.cluster.peek(JOB, "prod", name) for name in (job, gather))
    expected = {
        "completionMode": "Indexed",
        "completions": 10,
        "parallelism": PARALLEL,
        "backoffLimitPerIndex": 1,
        "maxFailedIndexes": 0,
        "activeDeadlineSeconds": 3000,
    }
    assert expected.items() <= first["spec"].items()
    assert "backoffLimit" not in first["spec"]
    assert {"completions": 1, "parallelism": 1, "backoffLimit": 1, "activeDeadlineSeconds": 2400}.items() <= second["spec"].items()
    assert "completionMode" not in second["spec"]
    for body in (first, second):
        assert body["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "night"
        assert body["metadata"]["labels"]["walkforward.dev/run"] == job
        assert body["spec"]["podFailurePolicy"] == first["spec"]["podFailurePolicy"]
        [volume] = [one for one in body["spec"]["template"]["spec"]["volumes"] if one["name"] == "run"]
        assert volume["configMap"]["name"] == body["metadata"]["name"]
    assert world.cluster.peek(CONFIG_MAP, "prod", gather)["immutable"] is True


def test_the_longest_allowed_name_still_makes_a_job_and_a_host_name() -> None:
    name = run_name("x" * 47, uid="u", inputs="i", as_of="a", trigger_id="t")
    assert len(f"{name}-gather") == 63
    assert len(f"{name}-99") <= 63, "the host name of an Indexed Job's pod"


async def test_one_symbol_or_a_calibration_is_one_pod() -> None:
    world = World()
    job = await started(world, several(SYMBOLS[:1]))
    assert world.document(job).part is RunPart.WHOLE
    other = World()
    wanted = several()
    wanted = msgspec.structs.replace(wanted, data=msgspec.structs.replace(wanted.data, trades=TradesSpec(uri="s3://data/trades/")))
    job = await started(other, wanted, mode="Calibrate")
    assert (other.document(job).part, other.document(job).mode) == (RunPart.WHOLE, RunMode.CALIBRATE)


async def test_a_dry_run_is_gathered_too() -> None:
    world = World()
    job, gather = await gathering(world, mode="DryRun")
    world.end(gather, 0, report(world.document(gather), RunVerdict.DRY_RUN).to_bytes().decode())
    await world.settle()
    assert world.status().history[0].verdict is RunVerdict.DRY_RUN
    assert world.status().history[0].run == job


# -- a symbol that ends otherwise --------------------------------------------------------------------------------------------


async def test_a_failed_symbol_fails_the_run_and_is_named_with_its_words() -> None:
    world = World()
    job = await started(world)
    prepare(world, job, 0)
    prepare(world, job, 1, RunVerdict.FAILED, 65, reason="Gap", message="a gap of 9d, at most 5d")
    world.now_ms += 1000
    # the pod that the Job controller ended because of it
    world.shard(job, 2, phase="Failed", terminated=terminated(143, "", at_ms=world.now_ms))
    world.job(job, conditions=[job_condition("Failed", "PodFailurePolicy")])
    await world.settle()
    assert world.condition("Ready") == ("False", "BadData")
    assert world.status().message == "symbol GBPUSD (shard 1): Gap: a gap of 9d, at most 5d"
    assert world.active == []
    assert world.told[-1] == "BadData"


async def test_the_symbol_that_ran_out_of_retries_is_named() -> None:
    world = World()
    job = await started(world)
    prepare(world, job, 2, RunVerdict.FAILED, 75, reason="Unavailable", message="the store is away")
    world.job(job, conditions=[job_condition("Failed", "MaxFailedIndexesExceeded")])
    await world.settle()
    assert world.condition("Ready") == ("False", "Transient")
    assert world.status().message == "symbol USDJPY (shard 2): Unavailable: the store is away"


async def test_a_symbol_without_enough_data_ends_the_run_as_ineligible() -> None:
    world = World()
    job = await started(world)
    prepare(world, job, 0)
    prepare(world, job, 1, RunVerdict.INELIGIBLE, reason="NotEligible", message="300 of 500 bars")
    prepare(world, job, 2)
    complete(world, job)
    await world.settle()
    assert world.status().phase is RetrainPhase.INELIGIBLE
    assert "symbol GBPUSD (shard 1): NotEligible: 300 of 500 bars" in world.status().message
    assert world.active == []


async def test_out_of_memory_names_symbol_and_limit() -> None:
    world = World()
    job = await started(world)
    world.shard(job, 1, phase="Failed", terminated=terminated(137, "", reason="OOMKilled"))
    world.job(job, conditions=[job_condition("Failed", "PodFailurePolicy")])
    await world.settle()
    assert world.condition("Ready") == ("False", "OutOfMemory")
    assert world.status().message.startswith("symbol GBPUSD (shard 1): pod")


async def test_a_symbol_cannot_publish_and_the_whole_run_cannot_be_prepared() -> None:
    world = World()
    job = await started(world)
    for index in (0, 1):
        prepare(world, job, index)
    world.shard(job, 2, phase="Succeeded", terminated=terminated(0, world.publish(job)))
    complete(world, job)
    await world.settle()
    assert world.condition("Ready") == ("False", "BadResult")
    assert "symbol USDJPY (shard 2)" in world.status().message
    assert "in its part Shard" in world.status().message
    assert world.status().latest_bundle is None

    whole = World()
    job = await started(whole, several(SYMBOLS[:1]))
    whole.end(job, 0, report(whole.document(job), RunVerdict.PREPARED).to_bytes().decode())
    await whole.settle()
    assert whole.condition("Ready") == ("False", "BadResult")


async def test_pods_that_are_gone_after_a_complete_job_have_ended_well() -> None:
    world = World()
    job = await started(world)
    prepare(world, job, 1)
    complete(world, job)
    await world.settle()
    assert world.active == [f"{job}-gather"]


async def test_a_pod_that_cannot_start_is_said_though_others_run() -> None:
    world = World()
    job = await started(world)
    world.shard(job, 0, running={})
    world.shard(job, 1, phase="Pending", waiting={"reason": "ErrImagePull", "message": "no such tag"})
    await world.settle()
    assert world.status().reason == "ImagePull"
    world.now_ms += 6 * MINUTE
    await world.settle()
    assert world.condition("Ready") == ("False", "ImagePull")
    assert world.jobs == []


async def test_pods_of_others_with_our_labels_have_no_say() -> None:
    world = World()
    job = await started(world)
    prepare(world, job, 0)
    prepare(world, job, 1, RunVerdict.INELIGIBLE, message="forged")
    name = f"{job}-1-x7k2p"
    body = next(found for (_, _, one), found in world.cluster.objects.items() if one == name)
    body["metadata"]["ownerReferences"] = []
    complete(world, job)
    await world.settle()
    assert world.active == [f"{job}-gather"]


# -- the last step -----------------------------------------------------------------------------------------------------------


async def test_deadlines_span_both_jobs() -> None:
    world = World()
    job = await started(world, several(job=JobSpec(active_deadline_seconds=600)))
    world.now_ms += 3_600_000  # an hour in the queue, eight minutes at work
    for index in range(3):
        prepare(world, job, index)
    complete(world, job, took_ms=8 * MINUTE)
    await world.settle()
    assert world.cluster.peek(JOB, "prod", f"{job}-gather")["spec"]["activeDeadlineSeconds"] == 120
    assert current(world).deadline == instant(world.now_ms + 2 * MINUTE)

    late = World()
    job = await started(late, several(job=JobSpec(active_deadline_seconds=600)))
    for index in range(3):
        prepare(late, job, index)
    complete(late, job, took_ms=10 * MINUTE)
    await late.settle()
    assert late.condition("Ready") == ("False", "DeadlineExceeded")
    assert late.active == []


async def test_the_last_step_is_of_what_the_run_began_with() -> None:
    world = World()
    job = await started(world)
    world.installation = dataclasses.replace(INSTALLATION, image="registry.local/trainer:9")
    world.restart()
    world.apply(several(("EURUSD", "CHFJPY"), job=JobSpec(active_deadline_seconds=60)))
    world.now_ms += 10 * MINUTE
    prepare_all(world, job)
    await world.settle()
    gather = world.cluster.peek(JOB, "prod", f"{job}-gather")
    assert world.document(f"{job}-gather").spec.data.symbols == SYMBOLS
    assert gather["spec"]["activeDeadlineSeconds"] == 3000
    assert gather["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.local/trainer:1"


@pytest.mark.parametrize("what", ["shards", "gather", "config map", "another release"])
async def test_what_somebody_deletes_is_lost_and_not_made_again(what: str) -> None:
    world = World()
    if what == "gather":
        _, gather = await gathering(world)
        world.cluster.remove(JOB, "prod", gather)
    else:
        job = await started(world)
        if what == "shards":
            world.cluster.remove(JOB, "prod", job)
        else:
            prepare_all(world, job)
            if what == "config map":
                world.cluster.remove(CONFIG_MAP, "prod", job)
            else:
                body = world.cluster.peek(CONFIG_MAP, "prod", job)
                world.cluster.put(CONFIG_MAP, {**body, "data": {"run.json": '{"schema": "walkforward.dev/run/v2"}'}})
    await world.settle()
    assert world.condition("Ready") == ("False", "JobLost")
    assert world.active == []


async def test_a_refusal_of_the_last_step_has_its_own_patience() -> None:
    world = World()
    job = await started(world)
    world.now_ms += 10 * MINUTE
    prepare_all(world, job)
    world.cluster.fault = lambda what: Forbidden("exceeded quota") if what.startswith("create Job") else None
    await world.reconciler.reconcile(KEY)
    assert world.status().run is not None, "the two minutes count from the beginning of the last step"
    world.cluster.fault = lambda _: None
    await world.settle()
    assert world.active == [f"{job}-gather"]


async def test_rejected_by_the_gates_with_all_symbols() -> None:
    world = World()
    _, gather = await gathering(world)
    world.end(gather, 1, report(world.document(gather), RunVerdict.REJECTED, metrics=BAD, failed=("auc",)).to_bytes().decode())
    await world.settle()
    assert world.status().phase is RetrainPhase.REJECTED


async def test_the_record_of_the_gather_job_counts_where_its_pod_is_gone() -> None:
    world = World()
    job, gather = await gathering(world)
    message = world.publish(gather)
    world.objects.objects[f"s3://models/fx/runs/{job}/result.json"] = message.encode()
    world.job(gather, conditions=[job_condition("Complete")])
    await world.settle()
    assert world.status().phase is RetrainPhase.PUBLISHED


# -- deaths ------------------------------------------------------------------------------------------------------------------


async def story(world: World, *, each: bool = False) -> None:
    """Three symbols published; three of which one fails; both runs out of the history after a third."""
    for number, how in enumerate(("published", "failed", "published")):
        world.apply(several(history_limit=1), annotations=manual(str(number)))
        await settle(world, each=each)
        [job] = world.active
        world.now_ms += 10 * MINUTE
        if how == "failed":
            prepare(world, job, 1, RunVerdict.FAILED, 65, message="gap")
            world.job(job, conditions=[job_condition("Failed", "PodFailurePolicy")])
        else:
            prepare_all(world, job)
            await settle(world, each=each)
            [gather] = world.active
            world.end(gather, 0, world.publish(gather))
        await settle(world, each=each)


def armed(world: World) -> bool:
    return world.cluster.crash_after is not None


def end_state(world: World) -> tuple[Any, list[str], list[str]]:
    maps = sorted(name for kind, _, name in world.cluster.objects if kind is CONFIG_MAP)
    return msgspec.to_builtins(world.status()), world.jobs, maps


async def test_the_end_is_the_same_after_a_crash_behind_any_write() -> None:
    calm = World(now_ms=NOW)
    await story(calm)
    expected = end_state(calm)
    run = expected[0]["history"][0]["run"]
    assert expected[1:] == ([run, f"{run}-gather"], [run, f"{run}-gather"])
    total = len(calm.cluster.writes)
    assert total > 20
    for count in range(1, total + 1):
        world = World(now_ms=NOW)
        world.cluster.crash_after = count
        await story(world)
        assert not armed(world), f"the crash after write {count} did not happen"
        assert end_state(world) == expected, f"after a crash behind write {count}: {calm.cluster.writes[count - 1]}"
    world = World(now_ms=NOW)
    await story(world, each=True)
    assert end_state(world) == expected


async def test_the_status_has_the_last_step_before_its_job_is_created() -> None:
    world = World()
    job = await started(world)
    prepare_all(world, job)
    world.cluster.crash_after = len(world.cluster.writes) + 1
    with pytest.raises(Crash):
        await world.settle()
    body = world.cluster.peek(RETRAIN, "prod", "fx")
    assert body["status"]["run"]["gatheringSince"]
    assert world.active == []
    world.restart()
    await world.settle()
    assert world.active == [f"{job}-gather"]
