"""The rollout service on a cluster in memory and a virtual clock: server pods that follow what is pushed, an object store, a queue.

Everything of the operator but kopf and HTTP is the real one. The operator can be killed after any write and started again.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fake_cluster import FakeCluster
from rollout_world import START, bundle

from walkforward_core import gates as core
from walkforward_core.bundle import FeatureReference, FileRecord, Manifest, Reference, Verdict
from walkforward_core.documents import digest
from walkforward_core.errors import NotFound, Unavailable
from walkforward_core.pods import Applied, ModelReport, ModelRole, ModelState, PodReport
from walkforward_core.routing import RoutingDocument
from walkforward_core.stats import Pair, Requests, Row, StatsDocument
from walkforward_operator.bundles import Bundles
from walkforward_operator.cluster.fence import Fenced
from walkforward_operator.cluster.kinds import CONFIG_MAP, DEPLOYMENT, EVENT, NAMESPACE, POD, RETRAIN, ROLLOUT, Kind
from walkforward_operator.cluster.store import Store
from walkforward_operator.events import Events
from walkforward_operator.evidence.client import PodSilent
from walkforward_operator.intake import Intake
from walkforward_operator.ledger import LedgerBook
from walkforward_operator.metrics import Metrics
from walkforward_operator.queue import WorkQueue
from walkforward_operator.reconciler import Key
from walkforward_operator.rollout.observe import subject_of
from walkforward_operator.rollout.service import RolloutReconciler

if TYPE_CHECKING:
    from walkforward_core.api.rollout import Gates
    from walkforward_core.evidence import Evidence
    from walkforward_operator.cluster.protocol import Object
    from walkforward_operator.rollout.status import RolloutStatus

NS, NAME, TARGET = "prod", "fx", "fx-server"
KEY = Key(NS, NAME)
ROOT = "s3://models/"
FOLLOWS_S = 0.12


class Objects:
    """An object store in memory."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.away = False
        self.reads: list[str] = []

    async def read(self, uri: str, *, limit: int) -> bytes:
        await self._answer()
        self.reads.append(uri)
        if uri not in self.objects:
            raise NotFound(f"read {uri}: there is no such object")
        return self.objects[uri]

    async def create(self, uri: str, data: bytes) -> bool:
        await self._answer()
        assert self.objects.get(uri, data) == data, f"{uri} written twice with other bytes"
        return self.objects.setdefault(uri, data) is data

    async def list(self, prefix: str) -> list[str]:
        await self._answer()
        return sorted(uri for uri in self.objects if uri.startswith(prefix))

    async def _answer(self) -> None:
        await asyncio.sleep(0.01)
        if self.away:
            raise Unavailable("the store does not answer")


@dataclass
class Server:
    """One server process; ``stuck`` means that the kubelet does not bring it the document."""

    uid: str
    address: str
    boot: str
    document: RoutingDocument | None = None
    applied: Applied | None = None
    stuck: bool = False
    silent: bool = False
    states: dict[str, ModelState] = field(default_factory=dict)
    seq: int = 0
    counted: dict[tuple[int, str], int] = field(default_factory=dict)

    def report(self) -> PodReport:
        models = {}
        if self.document is not None:
            for role in ModelRole:
                ref = getattr(self.document, role)
                if ref is not None:
                    models[ref.version] = ModelReport(role=role, state=self.states.get(ref.version, ModelState.READY), digest=ref.digest)
        return PodReport(pod_uid=self.uid, boot=self.boot, applied=self.applied, models=models)

    def stats(self, per_poll: int = 100) -> StatsDocument:
        """Every poll finds ``per_poll`` requests more for both models of the document."""
        self.seq += 1
        document = self.document
        pairs: list[Pair] = []
        if document is not None and document.on_trial is not None and document.reference is not None and document.shadow:
            key = (document.generation, document.on_trial.version)
            self.counted[key] = self.counted.get(key, 0) + per_poll
            rows = tuple(
                Row(generation=generation, version=version, role=ModelRole.CANDIDATE, requests=Requests(shadow=count))
                for (generation, version), count in self.counted.items()
            )
            pairs = [
                Pair(generation=generation, stable=document.reference.version, candidate=version, n=count, agree=count)
                for (generation, version), count in self.counted.items()
                if version == document.on_trial.version
            ]
        else:
            rows = ()
        return StatsDocument(pod_uid=self.uid, boot=self.boot, seq=self.seq, rows=rows, pairs=tuple(pairs))


class Servers:
    """All server pods, by address; a :class:`walkforward_operator.evidence.client.Pods`."""

    def __init__(self, cluster: FakeCluster) -> None:
        self._cluster = cluster
        self.by_uid: dict[str, Server] = {}
        cluster.watchers.append(self._on_event)
        self._number = 0

    def add(self, name: str) -> Server:
        """Start a pod; it begins with the document that is there."""
        self._number += 1
        address = f"10.0.0.{self._number}"
        body = {
            "metadata": {"namespace": NS, "name": name, "labels": {"walkforward.dev/target": TARGET}},
            "status": {
                "phase": "Running",
                "podIP": address,
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "server", "restartCount": 0, "state": {"running": {}}}],
            },
        }
        made = self._cluster.put(POD, body)
        server = Server(made["metadata"]["uid"], address, f"boot-{self._number}")
        self.by_uid[server.uid] = server
        self._follow(server)
        return server

    async def report(self, address: str) -> PodReport:
        return self._at(await self._asked(address)).report()

    async def stats(self, address: str, *, generation: int) -> StatsDocument:
        return self._at(await self._asked(address)).stats()

    async def _asked(self, address: str) -> str:
        await asyncio.sleep(0.005)
        return address

    def _at(self, address: str) -> Server:
        server = next((one for one in self.by_uid.values() if one.address == address), None)
        if server is None or server.silent:
            raise PodSilent(f"{address}: no answer")
        return server

    def _on_event(self, event: str, kind: Kind, found: Object) -> None:
        if kind is not POD or found["metadata"]["uid"] not in self.by_uid:
            return
        if event == "DELETED":
            del self.by_uid[found["metadata"]["uid"]]
        elif (found["metadata"].get("annotations") or {}).get("walkforward.dev/routing"):
            asyncio.get_running_loop().call_later(FOLLOWS_S, self._follow, self.by_uid[found["metadata"]["uid"]])

    def _follow(self, server: Server) -> None:
        found = self._cluster.objects.get((CONFIG_MAP, NS, f"{TARGET}-routing"))
        if found is not None and not server.stuck:
            text = found["data"]["routing.json"].encode()
            server.document = RoutingDocument.parse(text)
            server.applied = Applied(generation=server.document.generation, digest=digest(text))


class Crasher:
    """Counts the writes, and says after the n-th that the process is dead: nothing more is sent, and all that it knows is lost."""

    def __init__(self, count: int | None) -> None:
        self.left = count
        self.crashed = False
        self.log: list[str] = []

    def before(self, what: str) -> None:
        assert not self.crashed

    def after(self, what: str) -> None:
        self.log.append(what)
        if self.left is not None:
            self.left -= 1
            self.crashed = self.crashed or self.left == 0


class Attendance:
    def __init__(self) -> None:
        self.gap = 0

    def unattended_ms(self, since_ms: int) -> int:
        return self.gap


class Operator:
    """One life of the operator's process."""

    def __init__(self, world: RolloutCluster, *, crash_after: int | None = None) -> None:
        self.crasher = Crasher(crash_after)
        self.metrics = Metrics()
        self.store = Store()

        def leading() -> bool:
            return not self.crasher.crashed

        fenced = Fenced(world.cluster, leading=leading, writes=self.crasher)
        self.events = Events(fenced, instance="operator-0", now=world.now)
        self.ledger = LedgerBook(world.objects, "s3://ledger/x", leading=leading, writes=self.crasher, metrics=self.metrics)
        self.service = RolloutReconciler(
            fenced,
            self.store,
            pods=world.servers,
            bundles=Bundles(world.objects, (ROOT,)),
            ledger=self.ledger,
            events=self.events,
            attendance=world.attendance,
            metrics=self.metrics,
            wake=self.wake,
            now_ms=world.now_ms,
            judge=world.judge,
        )
        self.queue = WorkQueue("rollout", self.service.reconcile, metrics=self.metrics, chance=lambda: 0.5)
        self.intake = Intake(self.store, {ROLLOUT: self.queue}, metrics=self.metrics)
        self._world = world
        self._tasks: list[asyncio.Task[None]] = []

    def wake(self, key: Key) -> None:
        self.queue.add(key)

    def start(self) -> None:
        for (kind, _, _), found in list(self._world.cluster.objects.items()):
            self.intake.take(None, kind, found) if kind is not EVENT else None
        self._world.cluster.watchers.append(self.intake.take)
        self._tasks = [asyncio.ensure_future(part) for part in (self.queue.run(), self.events.run())]

    async def stop(self) -> None:
        self._world.cluster.watchers.remove(self.intake.take)
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self.service.close()
        mine = asyncio.current_task()
        for task in asyncio.all_tasks():
            if task is not mine and task.get_name().startswith(("ledger", "bundle")):
                task.cancel()


class RolloutCluster:
    """The world: what people, retrains, kubelets and servers do. Times are of the running (virtual) loop."""

    def __init__(self, **spec: Any) -> None:
        self.cluster = FakeCluster(self.now)
        self.objects = Objects()
        self.servers = Servers(self.cluster)
        self.attendance = Attendance()
        self.verdicts: dict[str, Verdict] = {}
        self.history: list[tuple[str, int]] = []
        self.weights: list[int] = []
        self.cluster.watchers.append(self._record)
        self.cluster.put(NAMESPACE, {"metadata": {"namespace": "", "name": NS}})
        self.cluster.put(DEPLOYMENT, {"metadata": {"namespace": NS, "name": TARGET}, "spec": {"replicas": 2}})
        self.cluster.put(RETRAIN, {"metadata": {"namespace": NS, "name": "fx"}, "spec": {}})
        whole = {"target": {"deployment": TARGET}, "source": {"retrainRef": {"name": "fx"}}, **spec}
        self.cluster.put(ROLLOUT, {"metadata": {"namespace": NS, "name": NAME}, "spec": whole})

    def now(self) -> float:
        return START / 1000 + asyncio.get_running_loop().time()

    def now_ms(self) -> int:
        return round(self.now() * 1000)

    @property
    def status(self) -> RolloutStatus:
        return subject_of(self.cluster.peek(ROLLOUT, NS, NAME)).status

    @property
    def document(self) -> RoutingDocument:
        return RoutingDocument.parse(self.cluster.peek(CONFIG_MAP, NS, f"{TARGET}-routing")["data"]["routing.json"].encode())

    def publish(self, name: str) -> Manifest:
        """Put a bundle into the store and into the retrain's status."""
        inner = FeatureReference(name="a", edges=tuple(float(edge) for edge in range(9)), counts=(10,) * 10)
        reference = Reference(rows=100, null_m={}, features=(inner, dataclass_free(inner, "b")), score=dataclass_free(inner, "score"))
        data = reference.to_bytes()
        model = hashlib.sha256(name.encode()).hexdigest()
        files = {
            "model.onnx": FileRecord(sha256=model, size=1),
            "reference.json": FileRecord(sha256=hashlib.sha256(data).hexdigest(), size=len(data)),
        }
        manifest = bundle(name, files=files).manifest
        folder = f"{ROOT}fx/{name}/"
        self.objects.objects |= {f"{folder}manifest.json": manifest.to_bytes(), f"{folder}reference.json": data}
        latest = {
            "version": name,
            "uri": folder,
            "digest": digest(manifest.to_bytes()),
            "model": f"sha256:{model}",
            "run": f"run-{name}",
            "at": "2026-11-01T00:00:00Z",
        }
        retrain = self.cluster.peek(RETRAIN, NS, "fx")
        self.cluster.put(RETRAIN, {**retrain, "status": {"latestBundle": latest}})
        return manifest

    def annotate(self, verb: str, text: str) -> None:
        found = self.cluster.peek(ROLLOUT, NS, NAME)
        found["metadata"].setdefault("annotations", {})[f"walkforward.dev/{verb}"] = text
        self.cluster.put(ROLLOUT, found)

    def passing(self) -> None:
        self.verdicts = dict.fromkeys(("psi", "sharpe", "latency", "errorRate"), Verdict.PASS)

    def judge(self, gates: Gates, evidence: Evidence, context: core.Context) -> tuple[core.GateResult, ...]:
        named = {"psi": gates.psi, "sharpe": gates.sharpe, "latency": gates.latency, "errorRate": gates.error_rate}
        return tuple(self._result(name) for name, gate in named.items() if gate is not None)

    def _result(self, name: str) -> core.GateResult:
        verdict = self.verdicts.get(name, Verdict.NO_DATA)
        reasons = {
            Verdict.PASS: core.GateReason.NOT_WORSE,
            Verdict.FAIL: core.GateReason.HARM,
            Verdict.NO_DATA: core.GateReason.TOO_FEW_SAMPLES,
        }
        return core.GateResult(name, verdict, reasons[verdict], f"{name} says {verdict}", 0.1, 0.2, samples=100)

    async def until(self, phase: str, *, seconds: float = 4 * 3600.0) -> None:
        """Let time pass until the phase is reached."""
        end = asyncio.get_running_loop().time() + seconds
        while self.status.phase != phase:
            left = end - asyncio.get_running_loop().time()
            assert left > 0, f"{phase} was not reached: {self.status.phase} {self.status.reason} {self.status.message}"
            await asyncio.sleep(0.25)

    def _record(self, event: str, kind: Kind, found: Object) -> None:
        if kind is CONFIG_MAP and found["metadata"]["name"] == f"{TARGET}-routing" and event != "DELETED":
            document = RoutingDocument.parse(found["data"]["routing.json"].encode())
            entry = (document.on_trial.version if document.on_trial else "", document.weight)
            if not self.history or self.history[-1] != entry:
                self.history.append(entry)


def dataclass_free(inner: FeatureReference, name: str) -> FeatureReference:
    """Return the same bins under another name."""
    return FeatureReference(name=name, edges=inner.edges, counts=inner.counts)


__all__ = ["KEY", "NAME", "NS", "TARGET", "Operator", "RolloutCluster", "Server", "dataclasses"]
