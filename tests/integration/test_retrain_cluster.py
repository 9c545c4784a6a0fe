"""The retrain engine on a real API server with the real Job controller; nobody runs the pods, so the test sets their status by hand.

The namespace enforces Pod Security `restricted`, and the CRD's schema judges every status that is written.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from retrain_world import plain
from retrains import GOOD, INSTALLATION, Store, manifest, manual, result, spec

from walkforward_core.api.recipe import OverridesFrom
from walkforward_core.api.retrain import Artifacts, JobSpec, Resources, Retention, RetrainSpec, Schedule
from walkforward_core.runs import RunDocument, RunVerdict
from walkforward_operator.cluster.api import KubernetesCluster
from walkforward_operator.cluster.errors import NotFound
from walkforward_operator.cluster.kinds import CONFIG_MAP, JOB, POD, RETRAIN, ROLLOUT, Kind
from walkforward_operator.metrics import Metrics
from walkforward_operator.reconciler import Key
from walkforward_operator.retrain.inputs import Neighbours
from walkforward_operator.retrain.observe import status_of
from walkforward_operator.retrain.service import RetrainReconciler
from walkforward_operator.retrain.status import RetrainPhase, RetrainStatus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from api_server import RealApi
    from kube import Kube

    from walkforward_operator.cluster.protocol import Object
    from walkforward_operator.rollout.model import Emit

pytestmark = pytest.mark.integration
PATIENCE_S = 30.0


class Live:
    """The API server as what the watches brought."""

    def __init__(self, cluster: KubernetesCluster) -> None:
        self._cluster = cluster

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        return await self._cluster.get(kind, namespace, name)

    async def list(self, kind: Kind, namespace: str, *, labels: Mapping[str, str] | None = None) -> list[Object]:
        return await self._cluster.list(kind, namespace, labels=labels)

    def followers(self, namespace: str, retrain: str) -> list[Object]:
        return []  # none of these tests has a rollout that follows

    def put(self, kind: Kind, found: Object) -> bool:
        return True


class Bench:
    """One ModelRetrain called fx in a namespace of its own."""

    def __init__(self, cluster: KubernetesCluster, kube: Kube, namespace: str) -> None:
        self.cluster, self.kube, self.key = cluster, kube, Key(namespace, "fx")
        self.objects, self.events, self.ahead_ms = Store(), list[str](), 0
        self.reconciler = RetrainReconciler(
            cluster,
            Live(cluster),
            self.objects,
            installation=INSTALLATION,
            neighbours=Neighbours((namespace,), lambda: (), lambda: True),
            events=self,
            metrics=Metrics(),
            now_ms=lambda: round(time.time() * 1000) + self.ahead_ms,
        )

    async def emit(self, about: Object, event: Emit) -> None:
        self.events.append(event.reason)

    async def apply(self, wanted: RetrainSpec | None = None, *, run: str = "a") -> None:
        metadata = {"name": self.key.name, "namespace": self.key.namespace, "annotations": manual(run)}
        await self.cluster.apply(RETRAIN, {"metadata": metadata, "spec": plain(wanted or spec())}, manager="person")

    async def status(self) -> RetrainStatus:
        return status_of(await self.cluster.get(RETRAIN, *self.key))

    async def until(self, what: str, holds: Callable[[RetrainStatus], bool]) -> RetrainStatus:
        """Reconcile until ``holds``."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            await self.reconciler.reconcile(self.key)
            status = await self.status()
            if holds(status):
                return status
            await asyncio.sleep(0.1)
        raise AssertionError(f"not within {PATIENCE_S} s: {what}; {status.phase} {status.reason}: {status.message}")

    async def run(self) -> str:
        """The run under way, its Job created."""
        status = await self.until("a Job", lambda now: now.run is not None and now.run.created)
        assert status.run is not None
        return status.run.id

    async def document(self, run: str) -> RunDocument:
        found = await self.cluster.get(CONFIG_MAP, self.key.namespace, run)
        return RunDocument.parse(found["data"]["run.json"].encode())

    async def pod(self, run: str, number: int = 1) -> Object:
        """The newest pod, once the Job controller has made ``number`` of them."""
        for _ in range(300):
            pods = await self.cluster.list(POD, self.key.namespace, labels={"walkforward.dev/run": run})
            if len(pods) >= number:
                return max(pods, key=lambda pod: (not pod.get("status", {}).get("containerStatuses"), pod["metadata"]["creationTimestamp"]))
            await asyncio.sleep(0.1)
        raise AssertionError(f"the Job controller made fewer than {number} pods")

    def report(self, pod: Object, phase: str, state: dict[str, Any]) -> None:
        """What a kubelet would say of the pod."""
        container = {
            "name": "trainer",
            "image": "registry.local/trainer:1",
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "state": state,
        }
        path = f"/api/v1/namespaces/{self.key.namespace}/pods/{pod['metadata']['name']}/status"
        change = {"status": {"phase": phase, "containerStatuses": [container]}}
        self.kube.request("PATCH", path, change, kind="application/merge-patch+json").raise_for_status()

    def end(self, pod: Object, code: int, message: str, reason: str = "") -> None:
        times = {"startedAt": "2026-03-02T12:00:00Z", "finishedAt": "2026-03-02T12:01:00Z"}
        state = {"terminated": {"exitCode": code, "message": message, "reason": reason or ("Completed" if code == 0 else "Error"), **times}}
        self.report(pod, "Succeeded" if code == 0 else "Failed", state)


@pytest.fixture
async def bench(api: RealApi, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    labels = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    kube.request("PATCH", f"/api/v1/namespaces/{namespace}", labels, kind="application/merge-patch+json").raise_for_status()
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    cluster = await KubernetesCluster.connect()
    yield Bench(cluster, kube, namespace)
    await cluster.close()


async def test_a_run_is_published(bench: Bench) -> None:
    await bench.apply()
    run = await bench.run()
    pod = await bench.pod(run)
    assert pod["spec"]["automountServiceAccountToken"] is False
    waiting = await bench.until("no node", lambda now: "no nodes" in now.message)
    assert waiting.phase is RetrainPhase.WAITING
    bench.report(pod, "Running", {"running": {"startedAt": "2026-03-02T12:00:00Z"}})
    await bench.until("Running", lambda now: now.phase is RetrainPhase.RUNNING)

    document = await bench.document(run)
    made = manifest(document, GOOD)
    report = result(document, RunVerdict.PUBLISHED, bundle=made)
    bench.objects.objects[f"{report.uri}manifest.json"] = made.to_bytes()
    bench.end(pod, 0, report.to_bytes().decode())
    status = await bench.until("Published", lambda now: now.phase is RetrainPhase.PUBLISHED)
    assert status.latest_bundle is not None
    assert status.latest_bundle.digest == report.digest
    assert bench.events == ["RunStarted", "Published"]
    before = await bench.cluster.get(RETRAIN, *bench.key)
    assert await bench.reconciler.reconcile(bench.key) is None
    assert (await bench.cluster.get(RETRAIN, *bench.key))["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    table = bench.kube.kubectl("get", "mretrain", "-n", bench.key.namespace).stdout
    assert "Published" in table
    assert status.latest_bundle.version in table


async def test_a_rejection_is_never_trained_a_second_time(bench: Bench) -> None:
    await bench.apply()
    run = await bench.run()
    report = result(await bench.document(run), RunVerdict.REJECTED, metrics={"auc": 0.51}, failed=("auc",))
    bench.end(await bench.pod(run), 1, report.to_bytes().decode())
    status = await bench.until("Rejected", lambda now: now.phase is RetrainPhase.REJECTED)
    assert "limit 0.62" in status.message
    job = await bench.cluster.get(JOB, bench.key.namespace, run)
    assert {"Failed": "PodFailurePolicy"}.items() <= {one["type"]: one.get("reason") for one in job["status"]["conditions"]}.items()
    assert len(await bench.cluster.list(POD, bench.key.namespace, labels={"walkforward.dev/run": run})) == 1


async def test_a_transient_failure_gets_a_second_pod(bench: Bench) -> None:
    await bench.apply(spec(job=JobSpec(backoff_limit=1)))
    run = await bench.run()
    bench.end(await bench.pod(run), 75, "")
    again = await bench.pod(run, 2)
    bench.report(again, "Running", {"running": {"startedAt": "2026-03-02T12:00:00Z"}})
    status = await bench.until("a second attempt", lambda now: now.run is not None and now.run.attempt == 2)
    assert status.phase is RetrainPhase.RUNNING


async def test_out_of_memory_names_limit_and_remedy(bench: Bench) -> None:
    await bench.apply(spec(job=JobSpec(resources=Resources(requests={"memory": "1Gi"}, limits={"memory": "2Gi"}))))
    run = await bench.run()
    bench.end(await bench.pod(run), 137, "", "OOMKilled")
    status = await bench.until("Failed", lambda now: now.phase is RetrainPhase.FAILED)
    assert status.reason == "OutOfMemory"
    assert "limit 2Gi" in status.message


async def test_an_image_that_never_comes_is_given_up_and_its_job_goes(bench: Bench) -> None:
    await bench.apply()
    run = await bench.run()
    bench.report(await bench.pod(run), "Pending", {"waiting": {"reason": "ImagePullBackOff", "message": "no such tag"}})
    await bench.until("said at once", lambda now: now.reason == "ImagePull" and now.phase is RetrainPhase.WAITING)
    bench.ahead_ms = 6 * 60_000
    await bench.until("given up", lambda now: now.phase is RetrainPhase.FAILED)
    with pytest.raises(NotFound):
        await bench.cluster.get(JOB, bench.key.namespace, run)


async def test_shared_overrides_are_waited_for_and_what_is_in_use_is_told(bench: Bench) -> None:
    wanted = spec(
        overrides_from=OverridesFrom(config_map="shared"),
        artifacts=Artifacts(uri="s3://models/fx", retention=Retention()),
        schedules=(Schedule(cron="* * * * *"),),
    )
    await bench.apply(wanted)
    bench.ahead_ms = 61_000
    status = await bench.until("held", lambda now: now.reason == "OverridesMissing")
    assert "ConfigMap 'shared', which does not exist" in status.message
    assert await bench.cluster.list(JOB, bench.key.namespace) == []
    data = {"overrides.yaml": "model: {trees: 21}"}
    metadata = {"name": "shared", "namespace": bench.key.namespace}
    await bench.cluster.create(CONFIG_MAP, {"metadata": metadata, "data": data}, manager="person")
    source = {"bundle": {"uri": "s3://models/fx/1/", "digest": "sha256:" + "0" * 64}}
    pinned = {"metadata": {"name": "walk", "namespace": bench.key.namespace}, "spec": {"target": {"deployment": "d"}, "source": source}}
    await bench.cluster.create(ROLLOUT, pinned, manager="person")
    document = await bench.document(await bench.run())
    assert document.spec.overrides.model.trees == 21
    assert document.spec.artifacts.retention == Retention()
    assert document.in_use == ("s3://models/fx/1/",)


SEVERAL = spec(data=msgspec.structs.replace(spec().data, symbols=("EURUSD", "GBPUSD", "USDJPY")), job=JobSpec(backoff_limit=1))


async def shards(bench: Bench, run: str, number: int) -> dict[int, Object]:
    """The pods of an Indexed Job by the index of their symbol."""
    index = "batch.kubernetes.io/job-completion-index"
    for _ in range(300):
        pods = await bench.cluster.list(POD, bench.key.namespace, labels={"batch.kubernetes.io/job-name": run})
        if len(pods) >= number:
            return {int(pod["metadata"]["annotations"][index]): pod for pod in pods}
        await asyncio.sleep(0.1)
    raise AssertionError(f"the Job controller made fewer than {number} pods")


async def test_several_symbols_are_prepared_by_an_indexed_job_and_gathered_by_another(bench: Bench) -> None:
    await bench.apply(SEVERAL)
    run = await bench.run()
    document = await bench.document(run)
    prepared = result(document, RunVerdict.PREPARED).to_bytes().decode()
    pods = await shards(bench, run, 3)
    variables = pods[1]["spec"]["containers"][0]["env"]
    assert [one["name"] for one in variables] == ["JOB_COMPLETION_INDEX"]
    bench.report(pods[0], "Running", {"running": {"startedAt": "2026-03-02T12:00:00Z"}})
    await bench.until("at work", lambda now: now.phase is RetrainPhase.RUNNING and "at work on EURUSD" in now.message)
    for index in range(3):
        bench.end(pods[index], 0, prepared)
    status = await bench.until("gathering", lambda now: now.run is not None and now.run.gathering_since is not None and now.run.created)
    assert status.phase is RetrainPhase.GATHERING
    gather = f"{run}-gather"
    document = await bench.document(gather)
    made = manifest(document, GOOD)
    report = result(document, RunVerdict.PUBLISHED, bundle=made)
    bench.objects.objects[f"{report.uri}manifest.json"] = made.to_bytes()
    bench.end(await whole(bench, gather), 0, report.to_bytes().decode())
    status = await bench.until("Published", lambda now: now.phase is RetrainPhase.PUBLISHED)
    assert status.history[0].run == run
    assert bench.events == ["RunStarted", "Gathering", "Published"]


async def whole(bench: Bench, job: str) -> Object:
    for _ in range(300):
        pods = await bench.cluster.list(POD, bench.key.namespace, labels={"batch.kubernetes.io/job-name": job})
        if pods:
            return pods[0]
        await asyncio.sleep(0.1)
    raise AssertionError("the Job controller made no pod")


async def test_a_symbol_that_fails_ends_the_run_with_its_name_and_its_own_retries(bench: Bench) -> None:
    await bench.apply(SEVERAL)
    run = await bench.run()
    pods = await shards(bench, run, 3)
    bench.end(pods[2], 75, "")  # another pod tries this symbol again
    for _ in range(300):
        names = await bench.cluster.list(POD, bench.key.namespace, labels={"batch.kubernetes.io/job-name": run})
        if len(names) == 4:
            break
        await asyncio.sleep(0.1)
    assert len(names) == 4
    failed = result(await bench.document(run), RunVerdict.FAILED, reason="Gap", message="a gap of 9d")
    bench.end(pods[1], 65, failed.to_bytes().decode())
    status = await bench.until("Failed", lambda now: now.phase is RetrainPhase.FAILED)
    assert (status.reason, status.message) == ("BadData", "symbol GBPUSD (shard 1): Gap: a gap of 9d")
    job = await bench.cluster.get(JOB, bench.key.namespace, run)
    assert {"Failed": "PodFailurePolicy"}.items() <= {one["type"]: one.get("reason") for one in job["status"]["conditions"]}.items()


async def test_a_job_that_somebody_deletes_is_lost_and_not_made_again(bench: Bench) -> None:
    await bench.apply()
    run = await bench.run()
    bench.kube.kubectl("delete", "job", run, "-n", bench.key.namespace)
    status = await bench.until("Failed", lambda now: now.phase is RetrainPhase.FAILED)
    assert status.reason == "JobLost"
    assert await bench.cluster.list(JOB, bench.key.namespace) == []


async def test_a_quota_is_a_refusal_with_the_answer(bench: Bench) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": bench.key.namespace}}
    path = f"/api/v1/namespaces/{bench.key.namespace}/resourcequotas"
    bench.kube.request("POST", path, {**quota, "spec": {"hard": {"count/jobs.batch": "0"}}}).raise_for_status()
    for _ in range(100):
        if json.loads(bench.kube.request("GET", f"{path}/none").content).get("status", {}).get("hard"):
            break
        await asyncio.sleep(0.1)
    await bench.apply()
    await bench.until("said at once", lambda now: now.reason == "JobRefused")
    bench.ahead_ms = 2 * 60_000
    status = await bench.until("Failed", lambda now: now.phase is RetrainPhase.FAILED)
    assert status.reason == "JobRefused"
    assert "exceeded quota" in status.message


async def test_deleting_the_retrain_takes_jobs_pods_and_config_maps_along(bench: Bench) -> None:
    await bench.apply()
    run = await bench.run()
    await bench.pod(run)
    bench.kube.kubectl("delete", "mretrain", "fx", "-n", bench.key.namespace)
    left: list[Object] = []
    for _ in range(300):
        left = [
            item
            for kind in (JOB, CONFIG_MAP, POD)
            for item in await bench.cluster.list(kind, bench.key.namespace, labels={"walkforward.dev/retrain": "fx"})
        ]
        if not left:
            break
        await asyncio.sleep(0.1)
    assert [item["metadata"]["name"] for item in left] == []
    assert await bench.reconciler.reconcile(bench.key) is None
