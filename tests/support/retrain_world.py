"""A cluster in memory with one ModelRetrain, the reconciler, and a hand that plays Job controller and kubelet."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import msgspec
from fake_cluster import Crash, FakeCluster
from retrains import GOOD, INSTALLATION, NOW, Store, job_condition, manifest, pod, result, spec, terminated

from walkforward_core.names import RUN_CONFIG_KEY
from walkforward_core.runs import RunDocument, RunVerdict
from walkforward_operator.cluster.errors import NotFound
from walkforward_operator.cluster.kinds import CONFIG_MAP, JOB, POD, RETRAIN, ROLLOUT, Kind
from walkforward_operator.cluster.store import Store as Memory
from walkforward_operator.conditions import instant
from walkforward_operator.metrics import Metrics
from walkforward_operator.reconciler import Key
from walkforward_operator.retrain.inputs import Neighbours
from walkforward_operator.retrain.observe import status_of
from walkforward_operator.retrain.service import RetrainReconciler

if TYPE_CHECKING:
    from walkforward_core.api.retrain import RetrainSpec
    from walkforward_operator.cluster.protocol import Object
    from walkforward_operator.retrain.allowed import Installation
    from walkforward_operator.retrain.status import ManualRun, RetrainStatus
    from walkforward_operator.rollout.model import Emit

KEY = Key("prod", "fx")


class World:
    """``now_ms`` is the wall clock; every reconcile reads it."""

    def __init__(self, *, now_ms: int = NOW, installation: Installation = INSTALLATION) -> None:
        self.now_ms = now_ms
        self.installation = installation
        self.cluster = FakeCluster(now=lambda: self.now_ms / 1000)
        self.cluster.watchers.append(self._watch)
        self.objects = Store()
        self.complete = True
        self.events: list[Emit] = []
        self.reports: list[str] = []
        self.restart()

    def restart(self) -> None:
        """A new process: what it had in memory is gone, the watches bring everything again."""
        self.memory = Memory()
        for (kind, _, _), found in self.cluster.objects.items():
            self._watch("ADDED", kind, found)
        self.metrics = Metrics()
        self.reconciler = RetrainReconciler(
            self.cluster,
            self.memory,
            self.objects,
            installation=self.installation,
            neighbours=Neighbours(("prod", "other"), lambda: self.memory.all(CONFIG_MAP), lambda: self.complete),
            events=self,
            metrics=self.metrics,
            now_ms=lambda: self.now_ms,
        )

    # -- what the reconciler uses ------------------------------------------------------------------------------------------

    async def emit(self, about: Object, event: Emit) -> None:
        self.events.append(event)

    def _watch(self, event: str, kind: Kind, found: Object) -> None:
        if kind is POD:
            return  # the trainer's pods are not watched
        if event == "DELETED":
            self.memory.drop(kind, found)
        else:
            self.memory.put(kind, found)

    # -- what people do ----------------------------------------------------------------------------------------------------

    def apply(self, wanted: RetrainSpec | None = None, *, annotations: dict[str, str] | None = None) -> None:
        body: dict[str, Any] = {"metadata": {"name": KEY.name, "namespace": KEY.namespace}, "spec": plain(wanted or spec())}
        try:
            known = self.cluster.peek(RETRAIN, *KEY)
            body["metadata"] = known["metadata"]
            body["status"] = known.get("status", {})
        except NotFound:
            body["metadata"] |= {"creationTimestamp": instant(self.now_ms), "uid": "uid-of-fx"}
        if annotations is not None:
            body["metadata"]["annotations"] = annotations
        self.cluster.put(RETRAIN, body)

    def rollout(self, name: str, *, follows: str = "fx", stable: dict[str, str] | None = None) -> None:
        body: dict[str, Any] = {"metadata": {"name": name, "namespace": "prod"}, "spec": {"source": {"retrainRef": {"name": follows}}}}
        if stable:
            body["status"] = {"stable": stable}
        self.cluster.put(ROLLOUT, body)

    # -- what the cluster does ---------------------------------------------------------------------------------------------

    def pod(self, job: str, **changes: Any) -> None:
        """The pod of a Job as its node reports it."""
        body = pod(job, created_ms=self.now_ms, **changes)
        with contextlib.suppress(NotFound):
            known = self.cluster.peek(POD, "prod", body["metadata"]["name"])
            body["metadata"]["creationTimestamp"] = known["metadata"]["creationTimestamp"]
        owner = self.cluster.peek(JOB, "prod", job)
        body["metadata"]["ownerReferences"] = [{"kind": "Job", "name": job, "uid": owner["metadata"]["uid"], "controller": True}]
        self.cluster.put(POD, body)

    def shard(self, job: str, index: int, **changes: Any) -> None:
        """The pod of one symbol."""
        self.pod(job, name=f"{job}-{index}-x7k2p", index=index, **changes)

    def job(self, name: str, **status: Any) -> None:
        """The Job as the Job controller reports it."""
        body = self.cluster.peek(JOB, "prod", name)
        self.cluster.put(JOB, {**body, "status": {**body.get("status", {}), **status}})

    def end(self, job: str, code: int, message: str, *, reason: str = "", pod_reason: str = "") -> None:
        """The trainer's container ends, then the Job does."""
        self.pod(
            job, phase="Succeeded" if code == 0 else "Failed", terminated=terminated(code, message, reason=pod_reason, at_ms=self.now_ms)
        )
        self.job(job, conditions=[job_condition("Complete" if code == 0 else "Failed", reason)])

    def document(self, run: str) -> RunDocument:
        """What the trainer is told."""
        return RunDocument.parse(self.cluster.peek(CONFIG_MAP, "prod", run)["data"][RUN_CONFIG_KEY].encode())

    def publish(self, run: str, metrics: dict[str, float] | None = None, **changes: Any) -> str:
        """The trainer writes a bundle; return its termination message."""
        document = self.document(run)
        made = manifest(document, metrics or GOOD, **changes)
        report = result(document, RunVerdict.PUBLISHED, bundle=made)
        self.objects.objects[f"{report.uri}manifest.json"] = made.to_bytes()
        return report.to_bytes().decode()

    # -- what the test looks at --------------------------------------------------------------------------------------------

    async def settle(self, rounds: int = 12) -> float | None:
        """Reconcile until nothing is written any more; return after how many seconds it wants to look again."""
        for _ in range(rounds):
            before = len(self.cluster.writes)
            after = await self.reconciler.reconcile(KEY)
            if len(self.cluster.writes) == before:
                return after
        raise AssertionError(f"does not settle: {self.cluster.writes[-rounds:]}")

    def status(self) -> RetrainStatus:
        return status_of(self.cluster.peek(RETRAIN, *KEY))

    def manual(self) -> ManualRun:
        """The echo of the newest manual run."""
        echo = self.status().manual
        assert echo is not None
        return echo

    @property
    def jobs(self) -> list[str]:
        return sorted(name for kind, _, name in self.cluster.objects if kind is JOB)

    @property
    def active(self) -> list[str]:
        return [name for name in self.jobs if not self.cluster.peek(JOB, "prod", name).get("status", {}).get("conditions")]

    def condition(self, kind: str) -> tuple[str, str] | None:
        found = next((one for one in self.status().conditions if one.type == kind), None)
        return (found.status, found.reason) if found else None

    @property
    def told(self) -> list[str]:
        return [event.reason for event in self.events]


def plain(wanted: RetrainSpec) -> Any:
    """The spec as a person writes it: without nulls."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: strip(item) for key, item in value.items() if item is not None}
        return [strip(item) for item in value] if isinstance(value, list | tuple) else value

    return strip(msgspec.to_builtins(wanted))


async def settle(world: World, *, each: bool = False) -> None:
    """Settle, starting again after each death; with ``each`` the operator dies after every write of its own."""
    for _ in range(100):
        if each:
            world.cluster.crash_after = len(world.cluster.writes) + 1
        try:
            await world.settle()
        except Crash:
            world.restart()
        else:
            return
    raise AssertionError("does not settle")
