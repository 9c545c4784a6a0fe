"""The reconciler on a cluster in memory: whole stories, from the occasion to the verdict."""

from __future__ import annotations

import msgspec
import pytest
from retrain_world import KEY, World
from retrains import BAD, DAY, GOOD, HOUR, MINUTE, NOW, job_condition, manifest, manual, pod, result, spec, terminated

from walkforward_core.api.offline import AucGate, OfflineGates
from walkforward_core.api.retrain import JobSpec, Resources, Schedule, Triggers
from walkforward_core.bundle import Baseline
from walkforward_core.runs import RunMode, RunVerdict, TriggerKind
from walkforward_operator.cluster.errors import Forbidden, NotFound, Unreachable
from walkforward_operator.cluster.kinds import CONFIG_MAP, JOB, POD, RETRAIN, Kind
from walkforward_operator.conditions import instant
from walkforward_operator.retrain.status import ManualOutcome, RetrainPhase

HOURLY = spec(schedules=(Schedule(cron="0 * * * *"),))


async def started(world: World, **annotation: object) -> str:
    """A manual run whose Job exists."""
    world.apply(annotations=manual("a", **annotation))
    await world.settle()
    [job] = world.active
    return job


# -- the way of one run ------------------------------------------------------------------------------------------------------


async def test_a_new_retrain_without_occasion_is_ready_and_idle() -> None:
    world = World()
    world.apply()
    assert await world.settle() is None
    assert world.status().phase is RetrainPhase.IDLE
    assert world.status().observed_generation == 1
    assert world.condition("Ready") == ("True", "Idle")
    assert "spec.schedules" in world.status().message
    assert world.jobs == []


async def test_from_the_slot_to_the_bundle() -> None:
    world = World(now_ms=NOW + 30 * MINUTE)
    world.apply(HOURLY)
    assert await world.settle() == 30 * 60
    assert world.status().next_run == "2026-03-02T13:00:00Z"
    world.now_ms += 31 * MINUTE
    await world.settle()
    [job] = world.jobs
    run = world.status().run
    assert run is not None
    assert (run.id, run.created, run.trigger.kind, run.as_of) == (job, True, TriggerKind.SCHEDULE, "2026-03-02T13:00:00Z")
    assert world.status().phase is RetrainPhase.WAITING
    assert world.condition("Reconciling") == ("True", "PodPending")
    assert world.condition("Ready") == ("Unknown", "PodPending")

    world.pod(job, running={})
    await world.settle()
    assert world.status().phase is RetrainPhase.RUNNING

    world.end(job, 0, world.publish(job))
    assert await world.settle() is not None
    status = world.status()
    assert status.phase is RetrainPhase.PUBLISHED
    assert status.run is None
    assert status.latest_bundle is not None
    assert status.latest_bundle.version == "20260302T120000Z-1a2b3c4d"
    assert status.latest_bundle.run == job
    assert status.history[0].metrics == GOOD
    assert status.last_run is not None
    assert status.last_run.verdict is RunVerdict.PUBLISHED
    assert status.next_run == "2026-03-02T14:00:00Z"
    assert world.condition("Ready") == ("True", "Published")
    assert world.condition("Succeeded") == ("True", "Published")
    assert world.condition("Reconciling") is None
    assert world.told == ["RunStarted", "Published"]
    assert world.metrics.retrain_runs.labels("Published", "Published")._value.get() == 1


async def test_a_rejection_leaves_it_ready_and_says_gate_value_limit_and_remedy() -> None:
    world = World()
    job = await started(world)
    document = world.document(job)
    world.end(
        job,
        1,
        result(document, RunVerdict.REJECTED, metrics=BAD, failed=("auc",), message="").to_bytes().decode(),
        reason="PodFailurePolicy",
    )
    await world.settle()
    assert world.status().phase is RetrainPhase.REJECTED
    assert world.condition("Ready") == ("True", "CandidateRejected")
    assert world.condition("Succeeded") == ("False", "CandidateRejected")
    assert world.condition("Stalled") is None
    assert "auc: 0.51, limit 0.62" in world.status().message
    assert "add features" in world.status().message
    assert world.status().latest_bundle is None
    assert world.status().history[0].failed == ("auc",)


@pytest.mark.parametrize(
    ("verdict", "phase", "reason"),
    [(RunVerdict.INELIGIBLE, RetrainPhase.INELIGIBLE, "Ineligible"), (RunVerdict.DRY_RUN, RetrainPhase.IDLE, "DryRun")],
)
async def test_ineligible_and_dry_runs_are_no_error(verdict: RunVerdict, phase: RetrainPhase, reason: str) -> None:
    world = World()
    job = await started(world, mode="DryRun" if verdict is RunVerdict.DRY_RUN else "Full")
    world.end(job, 0, result(world.document(job), verdict).to_bytes().decode())
    await world.settle()
    assert world.status().phase is phase
    assert world.condition("Ready") == ("True", reason)


async def test_a_run_says_when_it_is_usually_done() -> None:
    world = World()
    for number, minutes in enumerate((3, 20, 5)):
        world.apply(annotations=manual(f"run-{number}"))
        await world.settle()
        [job] = world.active
        world.now_ms += minutes * MINUTE
        world.end(job, 0, world.publish(job))
        await world.settle()
    world.apply(annotations=manual("broken"))
    await world.settle()
    [job] = world.active
    world.now_ms += 55 * MINUTE  # given up: says nothing of how long such a run takes
    world.end(job, 70, "")
    await world.settle()
    world.apply(annotations=manual("smoke", mode="Smoke"))
    await world.settle()
    [job] = world.active
    assert "usually" not in world.status().message, "no smoke run has ended yet"
    world.end(job, 0, result(world.document(job), RunVerdict.DRY_RUN).to_bytes().decode())
    await world.settle()

    world.apply(annotations=manual("next"))
    await world.settle()
    [job] = world.active
    eta = instant(world.now_ms + 5 * MINUTE)
    run = world.status().run
    assert run is not None
    assert run.eta == eta
    world.pod(job, running={})
    world.now_ms += 4 * MINUTE + 50_000
    assert await world.settle() == pytest.approx(11, abs=1), "it looks again when the usual time is over"
    assert world.status().message.endswith(f"trains; usually done by {eta}")
    world.now_ms += 11_000
    await world.settle()
    assert world.status().message.endswith(f"usually done by {eta}, so it takes longer than usual")


async def test_what_asks_for_nothing_costs_nothing() -> None:
    world = World()
    world.apply(HOURLY)
    await world.settle()
    reads, writes = world.cluster.reads, len(world.cluster.writes)
    for _ in range(3):
        world.now_ms += MINUTE
        await world.reconciler.reconcile(KEY)
    assert (world.cluster.reads, len(world.cluster.writes)) == (reads, writes)


async def test_a_retrain_that_is_gone_or_being_deleted_starts_nothing() -> None:
    world = World()
    assert await world.reconciler.reconcile(KEY) is None
    world.apply(HOURLY)
    await world.settle()
    body = world.cluster.peek(RETRAIN, *KEY)
    body["metadata"]["finalizers"] = ["foregroundDeletion"]
    world.cluster.put(RETRAIN, body)
    world.cluster.remove(RETRAIN, *KEY)
    world.now_ms += 2 * HOUR
    before = len(world.cluster.writes)
    assert await world.settle() is None
    assert len(world.cluster.writes) == before
    assert world.jobs == []


async def test_a_retrain_deleted_between_decision_and_write_is_no_error() -> None:
    world = World()
    world.apply(annotations=manual("a"))
    world.cluster.fault = lambda what: NotFound(what) if what.startswith("status") else None
    assert await world.reconciler.reconcile(KEY) is None
    assert world.jobs == []


# -- schedules ---------------------------------------------------------------------------------------------------------------


async def test_of_the_slots_missed_while_nobody_looked_only_the_newest_runs() -> None:
    world = World()
    world.apply(HOURLY)
    await world.settle()
    world.now_ms += 5 * HOUR + 10 * MINUTE
    world.restart()
    await world.settle()
    [job] = world.jobs
    assert world.document(job).as_of == "2026-03-02T17:00:00Z"
    world.end(job, 0, world.publish(job))
    await world.settle()
    assert world.jobs == [job], "no second run for the older slots"


async def test_slots_that_come_while_a_run_is_under_way_run_once_after_it() -> None:
    world = World()
    world.apply(HOURLY)
    world.now_ms += HOUR
    await world.settle()
    [first] = world.jobs
    world.now_ms += 3 * HOUR
    await world.settle()
    assert world.jobs == [first]
    world.end(first, 0, world.publish(first))
    await world.settle()
    [second] = world.active
    assert world.document(second).as_of == "2026-03-02T16:00:00Z"


async def test_the_first_slot_after_creation_runs_even_if_the_operator_came_late() -> None:
    world = World(now_ms=NOW - 5 * MINUTE)
    world.apply(HOURLY)
    world.now_ms = NOW + 5 * MINUTE
    await world.settle()
    [job] = world.jobs
    assert world.document(job).as_of == "2026-03-02T12:00:00Z"


async def test_an_edited_schedule_does_not_run_its_past() -> None:
    world = World(now_ms=NOW - 5 * MINUTE)
    world.apply()
    await world.settle()
    world.now_ms = NOW + 5 * MINUTE
    world.apply(HOURLY)
    await world.settle()
    assert world.jobs == []
    assert world.status().next_run == "2026-03-02T13:00:00Z"


async def test_suspended_slots_are_passed_over() -> None:
    world = World(now_ms=NOW - 5 * MINUTE)
    world.apply(msgspec.structs.replace(HOURLY, suspend=True))
    await world.settle()
    assert world.status().phase is RetrainPhase.SUSPENDED
    assert world.condition("Ready") == ("True", "Suspended")
    assert world.status().next_run is None
    world.now_ms = NOW + 5 * MINUTE
    await world.settle()
    world.apply(HOURLY)
    await world.settle()
    assert world.jobs == []
    world.now_ms = NOW + HOUR
    await world.settle()
    assert len(world.jobs) == 1


async def test_suspending_lets_a_running_run_end_by_itself() -> None:
    world = World()
    job = await started(world)
    world.apply(spec(suspend=True))
    await world.settle()
    assert world.active == [job]
    world.end(job, 0, world.publish(job))
    await world.settle()
    assert world.status().latest_bundle is not None
    assert world.status().phase is RetrainPhase.SUSPENDED


async def test_max_model_age_trains_at_once_and_after_a_failure_waits_as_long() -> None:
    world = World()
    world.apply(spec(triggers=Triggers(max_model_age="24h")))
    await world.settle()
    [job] = world.jobs
    assert world.document(job).trigger.kind is TriggerKind.AGE
    world.end(job, 1, result(world.document(job), RunVerdict.REJECTED, failed=("auc",)).to_bytes().decode())
    await world.settle()
    assert world.active == []
    assert world.status().next_run == "2026-03-03T12:00:00Z"
    world.now_ms += DAY
    await world.settle()
    [job] = world.active
    world.now_ms += HOUR
    world.end(job, 0, world.publish(job))
    await world.settle()
    assert world.status().next_run == "2026-03-04T13:00:00Z", "the age of the model counts from its publication"


async def test_a_schedule_that_cannot_work_is_stalled_and_says_why() -> None:
    world = World()
    world.apply(spec(schedules=(Schedule(cron="0 0 30 2 *"),)))
    await world.settle()
    assert world.condition("Stalled") == ("True", "InvalidSpec")
    assert "30 2" in world.status().message
    assert world.told == ["InvalidSpec"]
    world.apply(HOURLY)
    await world.settle()
    assert world.condition("Stalled") is None
    assert world.condition("Ready") == ("True", "Idle")


async def test_a_spec_that_cannot_be_read_is_stalled_and_never_a_crash() -> None:
    world = World()
    world.apply()
    body = world.cluster.peek(RETRAIN, *KEY)
    body["spec"]["data"]["symbols"] = "EURUSD"
    world.cluster.put(RETRAIN, body)
    await world.settle()
    assert world.condition("Stalled") == ("True", "InvalidSpec")
    assert "symbols" in world.status().message


# -- manual runs -------------------------------------------------------------------------------------------------------------


async def test_a_manual_run_runs_once_for_ever() -> None:
    world = World()
    job = await started(world, mode="Smoke", force=True, skipGates="auc", reason="try")
    document = world.document(job)
    assert (document.mode, document.force, document.trigger.by) == (RunMode.SMOKE, True, "alice")
    assert [gate.name for gate in document.skip_gates] == ["auc"]
    assert world.manual().outcome is ManualOutcome.STARTED
    assert world.status().handled == ("a",)
    world.end(job, 0, result(document, RunVerdict.DRY_RUN).to_bytes().decode())
    world.restart()
    await world.settle()
    world.apply(annotations=manual("a", mode="Full"))
    await world.settle()
    assert world.jobs == [job], "the same id, whatever else it says, runs no second time"
    assert world.manual().outcome is ManualOutcome.REFUSED
    assert "write a new one" in world.manual().message
    assert world.told[-1] == "RunRefused"


async def test_a_manual_run_waits_for_the_one_under_way() -> None:
    world = World()
    first = await started(world)
    world.apply(annotations=manual("b"))
    await world.settle()
    assert world.active == [first]
    assert (world.manual().id, world.manual().outcome) == ("b", ManualOutcome.WAITING)
    world.end(first, 0, world.publish(first))
    await world.settle()
    [second] = world.active
    assert world.document(second).trigger.id == "b"
    assert world.manual().outcome is ManualOutcome.STARTED


async def test_bad_json_is_refused_with_a_message_once() -> None:
    world = World()
    world.apply(annotations={"walkforward.dev/run": "{now}"})
    await world.settle()
    await world.settle()
    assert world.jobs == []
    assert world.manual().outcome is ManualOutcome.REFUSED
    assert "walkforward.dev/run cannot be read" in world.manual().message
    assert world.condition("Ready") == ("True", "Idle")
    assert world.told == ["RunRefused"]


@pytest.mark.parametrize("why", ["suspend", "image"])
async def test_a_manual_run_that_may_not_start_is_refused_and_does_not_surprise_later(why: str) -> None:
    world = World()
    world.apply(spec(suspend=True) if why == "suspend" else spec(job=JobSpec(image="evil:1")), annotations=manual("a"))
    await world.settle()
    assert world.manual().outcome is ManualOutcome.REFUSED
    world.apply()
    await world.settle()
    assert world.jobs == []
    world.apply(annotations=manual("b"))
    await world.settle()
    assert len(world.jobs) == 1


# -- failures ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "reason"), [(65, "BadData"), (78, "BadConfiguration"), (70, "TrainerBug"), (75, "Transient")])
async def test_failures_that_the_trainer_reports(code: int, reason: str) -> None:
    world = World()
    job = await started(world)
    report = result(world.document(job), RunVerdict.FAILED, reason="Quality", message="too few rows")
    world.end(job, code, report.to_bytes().decode())
    await world.settle()
    assert world.status().phase is RetrainPhase.FAILED
    assert world.condition("Ready") == ("False", reason)
    assert world.condition("Stalled") == ("True", reason), "nothing starts another run by itself"
    assert "Quality: too few rows" in world.status().message
    assert world.events[-1].warning


@pytest.mark.parametrize(
    ("code", "pod_reason", "job_reason", "reason", "words"),
    [
        (137, "OOMKilled", "PodFailurePolicy", "OutOfMemory", "limit 2Gi"),
        (137, "Error", "PodFailurePolicy", "OutOfMemory", "raise spec.job.resources.limits.memory"),
        (143, "Error", "DeadlineExceeded", "DeadlineExceeded", "activeDeadlineSeconds"),
        (1, "Error", "PodFailurePolicy", "Crashed", "kubectl logs"),
        (139, "Error", "BackoffLimitExceeded", "Crashed", "exit code 139"),
        (0, "Completed", "", "BadResult", "there is no termination message"),
    ],
)
async def test_ends_without_a_word(code: int, pod_reason: str, job_reason: str, reason: str, words: str) -> None:
    world = World()
    world.apply(spec(job=JobSpec(resources=Resources(limits={"memory": "2Gi"}))), annotations=manual("a"))
    await world.settle()
    [job] = world.active
    world.end(job, code, "", reason=job_reason, pod_reason=pod_reason)
    await world.settle()
    assert world.condition("Ready") == ("False", reason)
    assert words in world.status().message


async def test_a_record_of_an_earlier_attempt_does_not_explain_a_later_kill() -> None:
    world = World()
    job = await started(world)
    first = result(world.document(job), RunVerdict.FAILED, reason="StoreUnavailable", message="connection refused")
    world.objects.objects[f"s3://models/fx/runs/{job}/result.json"] = first.to_bytes()
    world.end(job, 137, "", reason="PodFailurePolicy", pod_reason="OOMKilled")
    await world.settle()
    assert world.condition("Ready") == ("False", "OutOfMemory")
    assert "connection refused" not in world.status().message


async def test_a_record_explains_a_failure_whose_pod_is_gone() -> None:
    world = World()
    job = await started(world)
    words = result(world.document(job), RunVerdict.FAILED, reason="Stale", message="the newest bar is 9 days old")
    world.objects.objects[f"s3://models/fx/runs/{job}/result.json"] = words.to_bytes()
    world.job(job, conditions=[job_condition("Failed", "PodFailurePolicy")])
    await world.settle()
    assert world.condition("Ready") == ("False", "RunFailed")
    assert "9 days old" in world.status().message


async def test_a_trainer_that_cannot_read_its_input_is_heard() -> None:
    world = World()
    job = await started(world)
    words = result(world.document(job), RunVerdict.FAILED, reason="SpecInvalid", message="data.symbols: expected an array")
    world.end(job, 78, msgspec.structs.replace(words, run="").to_bytes().decode())
    await world.settle()
    assert world.condition("Ready") == ("False", "BadConfiguration")
    assert "expected an array" in world.status().message


async def test_following_a_run_costs_one_request_a_look() -> None:
    world = World()
    job = await started(world)
    world.pod(job, running={})
    assert await world.settle() == 30
    before = world.cluster.reads
    await world.reconciler.reconcile(KEY)
    assert world.cluster.reads == before + 1


async def test_an_image_that_cannot_be_pulled_is_said_at_once_and_failed_after_the_grace() -> None:
    world = World()
    job = await started(world)
    world.pod(job, phase="Pending", waiting={"reason": "ImagePullBackOff", "message": "not found"})
    after = await world.settle()
    assert world.status().phase is RetrainPhase.WAITING
    assert world.condition("Reconciling") == ("True", "ImagePull")
    assert "registry.local/trainer:1" in world.status().message
    assert after is not None
    assert after <= 5
    world.now_ms += 5 * MINUTE
    await world.settle()
    assert world.condition("Stalled") == ("True", "ImagePull")
    assert world.jobs == [], "a Job that waits for ever would be in the way of the next run"
    assert world.told == ["RunStarted", "ImagePull", "ImagePull"]


async def test_the_grace_of_an_image_begins_when_the_pod_has_its_node() -> None:
    world = World()
    job = await started(world)
    world.now_ms += 20 * MINUTE
    scheduled = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": instant(world.now_ms)}]
    body = pod(job, created_ms=NOW, phase="Pending", waiting={"reason": "ErrImagePull"}, conditions=scheduled)
    world.cluster.put(POD, body)
    await world.settle()
    assert world.status().phase is RetrainPhase.WAITING


async def test_an_image_that_comes_within_the_grace_is_no_failure() -> None:
    world = World()
    job = await started(world)
    world.pod(job, phase="Pending", waiting={"reason": "ErrImagePull", "message": "timeout"})
    await world.settle()
    world.pod(job, running={})
    await world.settle()
    assert world.status().phase is RetrainPhase.RUNNING


async def test_a_missing_secret_is_a_container_that_cannot_be_made() -> None:
    world = World()
    job = await started(world)
    world.pod(job, phase="Pending", waiting={"reason": "CreateContainerConfigError", "message": 'secret "walkforward-store" not found'})
    await world.settle()
    assert world.condition("Reconciling") == ("True", "ContainerConfig")
    assert "walkforward-store" in world.status().message


async def test_what_waits_says_what_for() -> None:
    world = World()
    job = await started(world)
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: insufficient cpu"}
    world.pod(job, phase="Pending", conditions=[condition])
    await world.settle()
    assert "insufficient cpu" in world.status().message
    body = world.cluster.peek(JOB, "prod", job)
    body["spec"]["suspend"] = True
    world.cluster.put(JOB, body)
    await world.settle()
    assert world.condition("Reconciling") == ("True", "Queued")


async def test_the_second_attempt_is_counted_and_the_last_pod_speaks() -> None:
    world = World()
    job = await started(world)
    world.pod(job, name="one", phase="Failed", terminated=terminated(75, "", at_ms=NOW))
    world.job(job, failed=1)
    world.now_ms += MINUTE
    world.pod(job, name="two", running={})
    await world.settle()
    run = world.status().run
    assert run is not None
    assert run.attempt == 2
    message = world.publish(job)
    world.pod(job, name="two", phase="Succeeded", terminated=terminated(0, message, at_ms=world.now_ms))
    world.job(job, conditions=[job_condition("Complete")])
    await world.settle()
    assert world.status().phase is RetrainPhase.PUBLISHED


async def test_a_pod_that_the_cluster_took_away_has_no_word() -> None:
    world = World()
    job = await started(world)
    disrupted = [{"type": "DisruptionTarget", "status": "True"}]
    lie = result(world.document(job), RunVerdict.REJECTED, failed=("auc",)).to_bytes().decode()
    world.now_ms += MINUTE
    world.pod(job, name="taken", phase="Failed", terminated=terminated(1, lie, at_ms=world.now_ms), conditions=disrupted)
    world.pod(job, name="kept", phase="Succeeded", terminated=terminated(0, world.publish(job), at_ms=NOW))
    world.job(job, conditions=[job_condition("Complete")])
    await world.settle()
    assert world.status().phase is RetrainPhase.PUBLISHED


async def test_a_failure_with_another_occasion_is_not_stalled_unless_it_will_repeat() -> None:
    world = World()
    world.apply(HOURLY, annotations=manual("a"))
    await world.settle()
    [job] = world.active
    world.end(job, 75, "", reason="BackoffLimitExceeded")
    await world.settle()
    assert world.condition("Ready") == ("False", "Transient")
    assert world.condition("Stalled") is None
    world.now_ms += HOUR
    await world.settle()
    [job] = world.active
    world.end(job, 78, "", reason="PodFailurePolicy")
    await world.settle()
    assert world.condition("Stalled") == ("True", "BadConfiguration")
    world.apply(msgspec.structs.replace(HOURLY, history_limit=5))
    await world.settle()
    assert world.condition("Stalled") is None, "the spec was edited: the next run will tell"
    assert world.condition("Ready") == ("False", "BadConfiguration")


# -- results that are not believed --------------------------------------------------------------------------------------------


async def test_a_bad_message_falls_back_to_the_record() -> None:
    world = World()
    job = await started(world)
    message = world.publish(job)
    world.objects.objects[f"s3://models/fx/runs/{job}/result.json"] = message.encode()
    world.end(job, 0, message[:-40])
    await world.settle()
    assert world.status().phase is RetrainPhase.PUBLISHED


async def test_a_job_that_is_gone_is_never_made_again_but_its_record_counts() -> None:
    world = World()
    job = await started(world)
    world.objects.objects[f"s3://models/fx/runs/{job}/result.json"] = world.publish(job).encode()
    world.cluster.remove(JOB, "prod", job)
    await world.settle()
    assert world.jobs == []
    assert world.status().phase is RetrainPhase.PUBLISHED


async def test_a_job_that_is_gone_without_record_is_lost() -> None:
    world = World()
    job = await started(world)
    world.cluster.remove(JOB, "prod", job)
    await world.settle()
    assert world.jobs == []
    assert world.condition("Ready") == ("False", "JobLost")
    assert "result.json" in world.status().message


async def test_a_job_without_its_labels_is_not_lost() -> None:
    world = World()
    job = await started(world)
    body = world.cluster.peek(JOB, "prod", job)
    body["metadata"]["labels"] = {}
    world.cluster.put(JOB, body)
    await world.settle()
    assert world.status().run is not None


@pytest.mark.parametrize(
    ("case", "reason", "words"),
    [
        ("foreign run", "BadResult", "of run 'other'"),
        ("long", "BadResult", "at most 2048"),
        ("wrong code", "Crashed", "exit code is 1"),
        ("no manifest", "BadResult", "does not exist"),
        ("other manifest", "DigestMismatch", "has digest"),
        ("outside", "BadResult", "outside of 's3://models/fx'"),
        ("no digest", "BadResult", "without version, digest and model"),
    ],
)
async def test_a_claim_that_does_not_hold(case: str, reason: str, words: str) -> None:
    world = World()
    job = await started(world)
    document = world.document(job)
    world.publish(job)
    made = manifest(document, GOOD)
    cases: dict[str, dict[str, str]] = {
        "foreign run": {"run": "other"},
        "long": {"message": "x" * 2048},
        "outside": {"uri": "s3://models/other/1/"},
        "no digest": {"digest": ""},
    }
    report = result(document, RunVerdict.PUBLISHED, bundle=made, **cases.get(case, {}))
    if case == "no manifest":
        world.objects.objects.clear()
    if case == "other manifest":
        world.objects.objects[f"{report.uri}manifest.json"] += b" "
    world.end(job, 1 if case == "wrong code" else 0, report.to_bytes().decode())
    await world.settle()
    assert world.condition("Ready") == ("False", reason)
    assert words in world.status().message
    assert world.status().latest_bundle is None


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("metrics below", "auc: 0.5"),
        ("gate missing", "says otherwise of the gate auc"),
        ("forced unasked", "says otherwise of the gate auc"),
        ("no metric", "no value"),
    ],
)
async def test_the_operator_judges_again_and_a_mismatch_is_terminal(case: str, words: str) -> None:
    world = World()
    job = await started(world)
    document = world.document(job)
    honest = manifest(document, GOOD)
    made = {
        "metrics below": msgspec.structs.replace(honest, metrics={"auc": 0.5}),
        "gate missing": msgspec.structs.replace(honest, gates=()),
        "forced unasked": msgspec.structs.replace(honest, gates=(msgspec.structs.replace(honest.gates[0], forced=True), *honest.gates[1:])),
        "no metric": msgspec.structs.replace(honest, metrics={}),
    }[case]
    report = result(document, RunVerdict.PUBLISHED, bundle=made)
    world.objects.objects[f"{report.uri}manifest.json"] = made.to_bytes()
    world.end(job, 0, report.to_bytes().decode())
    await world.settle()
    assert world.condition("Stalled") == ("True", "VerdictMismatch")
    assert words in world.status().message
    assert world.status().latest_bundle is None


async def test_gates_are_those_of_the_start_whatever_the_spec_says_by_now() -> None:
    world = World()
    job = await started(world)
    strict = spec(gates=OfflineGates(auc=AucGate(min=0.9)))
    world.apply(strict)
    await world.settle()
    world.end(job, 0, world.publish(job))
    await world.settle()
    assert world.status().phase is RetrainPhase.PUBLISHED


async def test_a_gate_skipped_by_a_person_publishes_what_it_would_reject() -> None:
    world = World()
    job = await started(world, skipGates="auc", reason="known bad, wanted for the shadow")
    world.end(job, 0, world.publish(job, BAD))
    await world.settle()
    assert world.status().phase is RetrainPhase.PUBLISHED


async def test_a_smoke_run_publishes_nothing() -> None:
    world = World()
    job = await started(world, mode="Smoke")
    world.end(job, 0, world.publish(job))
    await world.settle()
    assert world.condition("Ready") == ("False", "BadResult")
    assert world.status().latest_bundle is None


# -- the object store is away --------------------------------------------------------------------------------------------------


async def test_a_store_that_is_away_keeps_the_result_waiting_not_lost() -> None:
    world = World()
    job = await started(world)
    world.end(job, 0, world.publish(job))
    world.objects.take_away()
    await world.settle()
    assert world.status().phase is RetrainPhase.GATHERING
    assert world.condition("Reconciling") == ("True", "StoreUnavailable")
    assert "connection refused" in world.status().message
    world.now_ms += HOUR
    world.objects.away = None
    await world.settle()
    assert world.status().phase is RetrainPhase.PUBLISHED


async def test_a_result_that_cannot_be_read_for_a_day_is_given_up() -> None:
    world = World()
    job = await started(world)
    world.end(job, 0, world.publish(job))
    world.objects.take_away()
    await world.settle()
    world.now_ms += DAY + MINUTE
    await world.settle()
    assert world.condition("Ready") == ("False", "StoreUnavailable")
    assert world.status().run is None


# -- single flight, names, refusals -----------------------------------------------------------------------------------------------


async def test_a_refused_job_is_tried_again_and_fails_the_run_with_the_answer_if_it_lasts() -> None:
    world = World()
    world.cluster.fault = lambda what: Forbidden("exceeded quota: jobs") if what.startswith("create Job") else None
    world.apply(annotations=manual("a"))
    looks = [await world.reconciler.reconcile(KEY) for _ in range(3)]
    assert looks == [5, 5, 5]
    assert len([write for write in world.cluster.writes if write.startswith("status")]) == 2, "said once"
    assert world.condition("Reconciling") == ("True", "JobRefused")
    assert "exceeded quota" in world.status().message
    world.now_ms += 2 * MINUTE
    await world.settle()
    assert world.condition("Stalled") == ("True", "JobRefused")
    assert "exceeded quota" in world.status().message
    assert world.jobs == []
    assert world.told == ["RunStarted", "JobRefused", "JobRefused"]


async def test_a_quota_that_is_lifted_in_time_is_no_failure() -> None:
    world = World()
    world.cluster.fault = lambda what: Forbidden("no rights yet") if what.startswith("create ConfigMap") else None
    world.apply(annotations=manual("a"))
    await world.settle()
    world.cluster.fault = lambda _: None
    world.now_ms += MINUTE
    await world.settle()
    assert len(world.active) == 1
    assert world.condition("Reconciling") == ("True", "PodPending")


async def test_an_api_server_that_is_away_is_no_failure_of_the_run() -> None:
    world = World()
    world.cluster.fault = lambda what: Unreachable("connection refused") if what.startswith("create Job") else None
    world.apply(annotations=manual("a"))
    with pytest.raises(Unreachable):
        await world.reconciler.reconcile(KEY)
    world.cluster.fault = lambda _: None
    await world.settle()
    assert len(world.jobs) == 1


@pytest.mark.parametrize("kind", [JOB, CONFIG_MAP])
async def test_somebody_elses_object_of_the_runs_name_is_a_conflict(kind: Kind) -> None:
    name = await started(World())
    world = World()
    world.cluster.put(kind, {"metadata": {"name": name, "namespace": "prod"}, "data": {"run.json": "{}"}})
    world.apply(annotations=manual("a"))
    await world.settle()
    assert world.condition("Stalled") == ("True", "JobConflict")
    assert name in world.status().message


async def test_a_run_that_was_never_created_follows_an_edit_of_the_spec() -> None:
    world = World()
    world.cluster.fault = lambda what: Unreachable("connection refused") if what.startswith("create") else None
    world.apply(annotations=manual("a"))
    with pytest.raises(Unreachable):
        await world.reconciler.reconcile(KEY)
    old = world.status().run
    world.cluster.fault = lambda _: None
    world.apply(spec(job=JobSpec(backoff_limit=0)))
    await world.settle()
    [job] = world.jobs
    assert old is not None
    assert job != old.id
    assert world.document(job).spec.job.backoff_limit == 0


async def test_a_run_that_was_never_created_is_not_started_with_what_is_no_longer_allowed() -> None:
    world = World()
    world.cluster.fault = lambda what: Unreachable("connection refused") if what.startswith("create") else None
    world.apply(annotations=manual("a"))
    with pytest.raises(Unreachable):
        await world.reconciler.reconcile(KEY)
    world.cluster.fault = lambda _: None
    world.apply(spec(job=JobSpec(image="evil:1")))
    await world.settle()
    assert world.jobs == []
    assert world.status().history[0].reason == "ImageNotAllowed"


async def test_the_next_run_waits_until_the_job_of_one_that_was_given_up_is_gone() -> None:
    world = World()
    world.apply(HOURLY, annotations=manual("a"))
    await world.settle()
    [job] = world.active
    world.now_ms += HOUR
    body = world.cluster.peek(JOB, "prod", job)
    world.pod(job, phase="Pending", waiting={"reason": "ErrImagePull"})
    world.now_ms += 10 * MINUTE
    await world.reconciler.reconcile(KEY)
    assert world.jobs == []
    assert world.status().run is None, "the slot that is due did not begin beside the Job that is being deleted"
    world.cluster.put(JOB, body)
    await world.reconciler.reconcile(KEY)
    assert world.status().run is None
    await world.settle()
    [other] = world.active
    assert other != job


async def test_jobs_stay_as_long_as_their_runs_are_in_the_history() -> None:
    world = World()
    for count in range(4):
        world.apply(spec(history_limit=2), annotations=manual(f"run-{count}"))
        await world.settle()
        [job] = world.active
        world.now_ms += MINUTE
        world.end(job, 0, world.publish(job))
        await world.settle()
    kept = {run.run for run in world.status().history}
    assert len(kept) == 2
    assert set(world.jobs) == kept
    assert {name for kind, _, name in world.cluster.objects if kind is CONFIG_MAP} == kept
    assert {
        found["metadata"]["labels"]["walkforward.dev/run"] for (kind, _, _), found in world.cluster.objects.items() if kind is POD
    } == kept


async def test_the_baseline_is_the_live_model_of_the_rollout_that_follows() -> None:
    world = World()
    world.rollout("fx", stable={"uri": "s3://models/fx/1/", "digest": "sha256:1", "version": "1"})
    world.rollout("other", follows="gold", stable={"uri": "s3://models/gold/1/", "digest": "sha256:2"})
    job = await started(world)
    assert world.document(job).baseline == Baseline(uri="s3://models/fx/1/", digest="sha256:1")


async def test_without_a_live_model_there_is_no_baseline() -> None:
    world = World()
    world.rollout("fx")
    job = await started(world)
    assert world.document(job).baseline is None


async def test_two_rollouts_need_a_choice() -> None:
    world = World()
    world.rollout("a", stable={"uri": "s3://models/fx/a/", "digest": "sha256:a"})
    world.rollout("b", stable={"uri": "s3://models/fx/b/", "digest": "sha256:b"})
    world.apply(annotations=manual("1"))
    await world.settle()
    assert world.condition("Stalled") == ("True", "BaselineAmbiguous")
    assert "spec.baselineFrom" in world.status().message
    world.apply(spec(baseline_from="c"), annotations=manual("2"))
    await world.settle()
    assert world.condition("Stalled") == ("True", "BaselineMissing")
    world.apply(spec(baseline_from="b"), annotations=manual("3"))
    await world.settle()
    [job] = world.active
    assert world.document(job).baseline == Baseline(uri="s3://models/fx/b/", digest="sha256:b")
