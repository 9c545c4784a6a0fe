"""A Job in a queue of Kueue: it waits, is started, is put back and started again; none of it is a failure, and all of it is said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from retrain_world import World
from retrains import DAY, HOUR, MINUTE, job_condition, manual, result, spec, terminated

from walkforward_core.api.data import DataSpec
from walkforward_core.api.retrain import JobSpec, RetrainSpec, Schedule
from walkforward_core.runs import RunVerdict
from walkforward_operator.cluster.kinds import JOB, POD
from walkforward_operator.conditions import instant
from walkforward_operator.retrain.status import RetrainPhase

if TYPE_CHECKING:
    from walkforward_operator.cluster.protocol import Object

QUEUED = spec(job=JobSpec(queue_name="night"))


class Queue:
    """Kueue: its webhook suspends a Job with a queue's name as it is created, its controller starts it and takes it back."""

    def __init__(self, world: World) -> None:
        self._world = world
        world.cluster.watchers.insert(0, self._webhook)

    def _webhook(self, event: str, kind: Any, found: Object) -> None:
        if event == "ADDED" and kind is JOB and "kueue.x-k8s.io/queue-name" in found["metadata"]["labels"]:
            assert "suspend" not in found["spec"], "whether a Job waits is the queue's matter: without one it would wait for ever"
            self.suspend(found["metadata"]["name"])

    def suspend(self, job: str) -> None:
        self._put(job, suspend=True)

    def admit(self, job: str) -> None:
        self._put(job, suspend=False)
        self._world.job(job, startTime=instant(self._world.now_ms))

    def _put(self, job: str, *, suspend: bool) -> None:
        body = self._world.cluster.peek(JOB, "prod", job)
        self._world.cluster.put(JOB, {**body, "spec": {**body["spec"], "suspend": suspend}})


async def started(wanted: RetrainSpec = QUEUED) -> tuple[World, Queue, str]:
    world = World()
    queue = Queue(world)
    world.apply(wanted, annotations=manual("a"))
    await world.settle()
    [job] = world.active
    return world, queue, job


async def test_days_in_the_queue_are_no_failure() -> None:
    world, _, job = await started(msgspec.structs.replace(QUEUED, schedules=(Schedule(cron="0 * * * *"),)))
    for days in (0, 1, 3):
        world.now_ms += days * DAY
        await world.settle()
        status = world.status()
        assert (status.phase, status.reason) == (RetrainPhase.WAITING, "Queued")
        assert status.message == (
            f"Job {job} waits for its turn in the queue night (kubectl get workloads says why); delete it to give the run up"
        )
        assert (world.condition("Ready"), world.condition("Reconciling")) == (("Unknown", "Queued"), ("True", "Queued"))
        assert world.condition("Stalled") is None
    assert world.active == [job], "nothing starts beside it, however many slots have passed"
    assert world.told == ["RunStarted"]


async def test_a_run_that_was_put_back_is_started_again_and_publishes() -> None:
    world, queue, job = await started()
    world.now_ms += 2 * HOUR
    queue.admit(job)
    world.pod(job, running={})
    await world.settle()
    assert (world.status().phase, world.status().reason) == (RetrainPhase.RUNNING, "Running")

    queue.suspend(job)  # preempted: the Job controller deletes its pods
    world.cluster.remove(POD, "prod", f"{job}-x7k2p")
    world.now_ms += DAY
    await world.settle()
    assert (world.status().phase, world.status().reason) == (RetrainPhase.WAITING, "Queued")
    run = world.status().run
    assert run is not None
    assert run.attempt == 1, "what the queue takes away is no attempt"

    queue.admit(job)
    world.pod(job, running={})
    world.now_ms += 10 * MINUTE
    world.end(job, 0, world.publish(job))
    await world.settle()
    assert world.status().phase is RetrainPhase.PUBLISHED
    assert world.told == ["RunStarted", "Published"]


async def test_a_pod_on_its_way_out_says_nothing_of_a_job_that_waits_again() -> None:
    world, queue, job = await started()
    queue.admit(job)
    world.pod(job, phase="Failed", terminated=terminated(143, "", at_ms=world.now_ms))
    queue.suspend(job)
    await world.settle()
    assert world.status().reason == "Queued"


async def test_the_usual_end_that_has_passed_is_said_of_the_waiting() -> None:
    world, queue, job = await started()
    queue.admit(job)
    world.pod(job, running={})
    world.now_ms += 10 * MINUTE
    world.end(job, 0, world.publish(job))
    await world.settle()
    world.apply(QUEUED, annotations=manual("b"))
    await world.settle()
    [second] = world.active
    due = instant(world.now_ms + 10 * MINUTE)
    assert world.status().message.endswith(f"; usually done by {due}")
    world.now_ms += HOUR
    await world.settle()
    assert world.status().message.endswith(f"; usually done by {due}, so it waits longer than usual")
    queue.admit(second)
    world.pod(second, running={})
    await world.settle()
    assert world.status().message.endswith(f"; usually done by {due}, so it takes longer than usual")


async def test_both_jobs_of_several_symbols_wait_and_the_deadline_does_not_run_meanwhile() -> None:
    data = DataSpec(uri="s3://data/fx.parquet", symbols=("EURUSD", "GBPUSD"), window_bars=2000)
    world, queue, job = await started(
        msgspec.structs.replace(QUEUED, data=data, job=JobSpec(queue_name="night", active_deadline_seconds=600))
    )
    world.now_ms += 5 * HOUR
    queue.admit(job)
    for index in range(2):
        message = result(world.document(job), RunVerdict.PREPARED).to_bytes().decode()
        world.shard(job, index, phase="Succeeded", terminated=terminated(0, message, at_ms=world.now_ms))
    world.now_ms += 2 * MINUTE
    world.job(job, completionTime=instant(world.now_ms), conditions=[job_condition("Complete")])
    await world.settle()
    gather = f"{job}-gather"
    assert world.active == [gather]
    assert (world.status().phase, world.status().reason) == (RetrainPhase.GATHERING, "Queued")
    assert world.status().message.startswith(f"Job {gather} waits for its turn in the queue night")
    assert world.cluster.peek(JOB, "prod", gather)["spec"]["activeDeadlineSeconds"] == 480


async def test_a_job_that_somebody_has_suspended_says_how_to_go_on() -> None:
    world, queue, job = await started(spec())
    queue.suspend(job)
    await world.settle()
    assert world.status().reason == "Queued"
    assert world.status().message == (
        f"""Job {job} is suspended, and no queue has done it: kubectl patch job {job} -p '{{"spec":{{"suspend":false}}}}'"""
    )


@pytest.mark.parametrize("wait", [0, 3])
async def test_a_job_that_is_deleted_in_the_queue_gives_the_run_up(wait: int) -> None:
    world, _, job = await started()
    world.now_ms += wait * DAY
    world.cluster.remove(JOB, "prod", job)
    await world.settle()
    assert world.condition("Ready") == ("False", "JobLost")
