"""A random life of a ModelRetrain: edits, clocks, deaths, lost events, Jobs that end in every way. The rules hold at every moment."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import msgspec
from fake_cluster import Crash
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from retrain_world import KEY, World
from retrains import BAD, GOOD, MINUTE, job_condition, manifest, result, spec, terminated

from walkforward_core.api.data import TradesSpec
from walkforward_core.api.recipe import OverridesFrom
from walkforward_core.api.retrain import JobSpec, RetrainSpec, Schedule, ScheduledMode, Triggers
from walkforward_core.runs import RunMode, RunPart, RunVerdict
from walkforward_operator.cluster.kinds import CONFIG_MAP, JOB
from walkforward_operator.conditions import find
from walkforward_operator.retrain.status import RetrainPhase

if TYPE_CHECKING:
    from walkforward_operator.cluster.kinds import Kind
    from walkforward_operator.cluster.protocol import Object

SCHEDULES = {
    "none": (),
    "hourly": (Schedule(cron="0 * * * *"),),
    "both": (Schedule(cron="0 * * * *"), Schedule(cron="30 * * * *", mode=ScheduledMode.CALIBRATE)),
    "two": (Schedule(cron="*/30 * * * *"), Schedule(cron="0 2 * * *", time_zone="Europe/Berlin")),
    "broken": (Schedule(cron="0 0 30 2 *"),),
}
ANNOTATIONS = ["a", "b", "c", "{bad", "smoke", "nogate"]


def specs() -> st.SearchStrategy[RetrainSpec]:
    return st.builds(
        lambda schedules, age, suspend, image, limit, backoff, symbols, shared: spec(
            data=msgspec.structs.replace(spec().data, symbols=symbols, trades=TradesSpec(uri="s3://data/t")),
            overrides_from=OverridesFrom(config_map="shared") if shared else None,
            schedules=SCHEDULES[schedules],
            triggers=Triggers(max_model_age=age),
            suspend=suspend,
            job=JobSpec(image=image, backoff_limit=backoff),
            history_limit=limit,
        ),
        st.sampled_from(["none", "hourly", "hourly", "both", "two", "broken"]),
        st.sampled_from([None, None, "3h"]),
        st.sampled_from([False, False, False, True]),
        st.sampled_from([None, None, None, "evil:1"]),
        st.integers(1, 3),
        st.integers(0, 1),
        st.sampled_from([("EURUSD",), ("EURUSD",), ("EURUSD", "GBPUSD")]),
        st.sampled_from([False, False, True]),
    )


def annotation(kind: str) -> str:
    if kind == "{bad":
        return kind
    extra: dict[str, Any] = {"smoke": {"mode": "Smoke"}, "nogate": {"skipGates": "none", "reason": "x"}}.get(kind, {})
    return json.dumps({"id": kind, "by": "alice", **extra})


class Life(RuleBasedStateMachine):
    """Whatever happens, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.muted = False
        self.triggers: dict[str, tuple[str, str]] = {}
        self.ours = False
        self.verified: set[str] = set()
        feed = self.world._watch
        self.world.cluster.watchers[:] = [lambda *event: None if self.muted else feed(*event), self._watch]
        self.wanted = spec(schedules=SCHEDULES["hourly"], history_limit=3)
        self.text: str | None = None
        self._apply()

    # -- what happens ------------------------------------------------------------------------------------------------------

    @rule(wanted=specs())
    def edit(self, wanted: RetrainSpec) -> None:
        self.wanted = wanted
        self._apply()

    @rule(kind=st.sampled_from(ANNOTATIONS))
    def ask(self, kind: str) -> None:
        self.text = annotation(kind)
        self._apply()

    @rule(minutes=st.sampled_from([0, 1, 6, 31, 61, 200, 3000]))
    def wait(self, minutes: int) -> None:
        self.world.now_ms += minutes * MINUTE

    @rule()
    def step_back(self) -> None:
        self.world.now_ms -= 2 * MINUTE

    @rule()
    def reconcile(self) -> None:
        self._run(1)

    @rule(writes=st.integers(1, 3))
    def reconcile_and_die(self, writes: int) -> None:
        self.world.cluster.crash_after = len(self.world.cluster.writes) + writes
        self._run(2)
        self.world.cluster.crash_after = None

    @rule(muted=st.booleans())
    def events(self, *, muted: bool) -> None:
        """Events are lost, until the watches bring everything again."""
        if self.muted and not muted:
            self.world.restart()
        self.muted = muted

    @rule(text=st.sampled_from([None, "model: {trees: 20}", "model: {trees: 21}", "model: {tree: 1}"]))
    def share(self, text: str | None) -> None:
        """Somebody edits the shared overrides, or deletes them."""
        if text is not None:
            self.world.cluster.put(CONFIG_MAP, {"metadata": {"name": "shared", "namespace": "prod"}, "data": {"overrides.yaml": text}})
        elif (CONFIG_MAP, "prod", "shared") in self.world.cluster.objects:
            self.world.cluster.remove(CONFIG_MAP, "prod", "shared")

    @rule(away=st.booleans())
    def store(self, *, away: bool) -> None:
        if away:
            self.world.objects.take_away()
        else:
            self.world.objects.away = None

    @precondition(lambda self: self.world.active)
    @rule(how=st.sampled_from(["running", "pull"]))
    def pod(self, how: str) -> None:
        job = self.world.active[0]
        if how == "running":
            self.world.pod(job, running={})
        else:
            self.world.pod(job, phase="Pending", waiting={"reason": "ErrImagePull", "message": "no"})

    @precondition(lambda self: self.world.active)
    @rule(how=st.sampled_from(["published", "published", "lie", "rejected", "transient", "oom", "nothing"]))
    def end(self, how: str) -> None:
        job = self.world.active[0]
        document = self.world.document(job)
        if document.part is RunPart.SHARD:
            self._end_shards(job, how)
        elif document.mode is RunMode.CALIBRATE:
            self.world.end(job, 0, result(document, RunVerdict.CALIBRATED).to_bytes().decode())
        elif how == "published":
            self.verified.add(document.run)
            self.world.end(job, 0, self.world.publish(job, GOOD))
        elif how == "lie":
            self._lie(job)
        elif how == "rejected":
            self.world.end(job, 1, result(document, RunVerdict.REJECTED, metrics=BAD, failed=("auc",)).to_bytes().decode())
        else:
            code = {"transient": 75, "oom": 137, "nothing": 0}[how]
            self.world.end(job, code, "", pod_reason="OOMKilled" if how == "oom" else "")

    def _end_shards(self, job: str, how: str) -> None:
        prepared = result(self.world.document(job), RunVerdict.PREPARED).to_bytes().decode()
        for index in range(2 if how == "published" else 1):
            self.world.shard(job, index, phase="Succeeded", terminated=terminated(0, prepared))
        if how in {"published", "nothing"}:  # also where a pod is gone
            self.world.job(job, conditions=[job_condition("Complete")])
            return
        code = {"transient": 75, "oom": 137}.get(how, 65)
        self.world.shard(job, 1, phase="Failed", terminated=terminated(code, ""))
        self.world.job(job, conditions=[job_condition("Failed", "PodFailurePolicy")])

    def _lie(self, job: str) -> None:
        document = self.world.document(job)
        made = msgspec.structs.replace(manifest(document, GOOD), metrics=BAD)
        report = result(document, RunVerdict.PUBLISHED, bundle=made)
        self.world.objects.objects[f"{report.uri}manifest.json"] = made.to_bytes()
        self.world.end(job, 0, report.to_bytes().decode())

    @precondition(lambda self: any(self._seen(job) for job in self.world.jobs))
    @rule()
    def delete_a_job(self) -> None:
        job = next(job for job in self.world.jobs if self._seen(job))
        self.world.cluster.remove(JOB, "prod", job)

    # -- what must hold ----------------------------------------------------------------------------------------------------

    @invariant()
    def never_two_active_jobs(self) -> None:
        assert len(self.world.active) <= 1, self.world.active

    @invariant()
    def the_status_makes_sense(self) -> None:
        status = self.world.status()
        stalled, reconciling = find(status.conditions, "Stalled"), find(status.conditions, "Reconciling")
        assert not (stalled and reconciling)
        if status.observed_generation >= 0:
            ready = find(status.conditions, "Ready")
            assert ready is not None
            assert (ready.status == "True") == (stalled is None and reconciling is None and status.phase is not RetrainPhase.FAILED)
        assert (reconciling is not None) == (status.run is not None)
        trained = [run for run in status.history if not run.aside]
        assert len(status.history) <= 3 + (len(trained) == 1 and not status.history[-1].aside)
        assert len({run.run for run in status.history}) == len(status.history)

    @invariant()
    def only_proven_bundles_are_published(self) -> None:
        latest = self.world.status().latest_bundle
        assert latest is None or latest.run in self.verified

    def teardown(self) -> None:
        """In the end everything calms down: with time standing still, no write follows on the last one, and nothing is left behind."""
        self.muted = False
        self.world.restart()
        self.world.objects.away = None
        asyncio.run(self._calm())
        status = self.world.status()
        kept = {run.run for run in status.history} | ({status.run.id} if status.run else set())
        left = {name for kind, _, name in self.world.cluster.objects if kind in {JOB, CONFIG_MAP}} - {"shared"}
        assert left <= kept | {f"{run}-gather" for run in kept}

    # -- the inside --------------------------------------------------------------------------------------------------------

    def _apply(self) -> None:
        self.world.apply(self.wanted, annotations={"walkforward.dev/run": self.text} if self.text else {})

    def _run(self, rounds: int) -> None:
        async def go() -> None:
            for _ in range(rounds):
                await self.world.reconciler.reconcile(KEY)

        self.ours = True
        try:
            asyncio.run(go())
        except Crash:
            self.world.restart()
        finally:
            self.ours = False

    async def _calm(self) -> None:
        self.ours = True
        for _ in range(6):
            await self.world.settle()
            if not self.world.active:
                break
            job = self.world.active[0]
            if self.world.document(job).part is RunPart.SHARD:
                self._end_shards(job, "rejected")
                continue
            verdict = RunVerdict.FAILED if self.world.document(job).mode is RunMode.CALIBRATE else RunVerdict.REJECTED
            self.world.end(job, 1 if verdict is RunVerdict.REJECTED else 65, result(self.world.document(job), verdict).to_bytes().decode())
        await self.world.settle()

    def _seen(self, job: str) -> bool:
        """Whether the operator has seen the Job: one that goes before it is as if it had never been made."""
        run = self.world.status().run
        return run is None or run.job != job or run.created

    def _watch(self, event: str, kind: Kind, found: Object) -> None:
        name = found["metadata"]["name"]
        if kind is JOB and event == "ADDED":
            trigger = found["metadata"]["annotations"]["walkforward.dev/trigger"]
            part = "gather" if name.endswith("-gather") else "first"
            assert (trigger, part) not in self.triggers.values(), f"{trigger} ran twice"
            assert name not in self.triggers, f"{name} was created twice"
            self.triggers[name] = (trigger, part)
            status = self.world.status()
            assert status.run is not None, "a Job without a run in the status"
            assert status.run.job == name
        if kind is JOB and event == "DELETED" and self.ours:
            current = self.world.status().run
            assert current is None or current.job != name, "a Job deleted before its run was recorded"


Life.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
TestLife = Life.TestCase
