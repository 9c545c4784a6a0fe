"""The real operator process and a ModelRetrain on a real API server with the real Job controller; also killed after every write."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from operator_process import Process, free_port, pod_status
from retrain_world import plain
from retrains import BAD, GOOD, manifest, manual, result, spec
from s3_server import s3_server

from walkforward_core.api.data import DataSpec
from walkforward_core.api.retrain import Artifacts
from walkforward_core.objectstore import open_store
from walkforward_core.runs import RunDocument, RunVerdict
from walkforward_operator.cluster.api import KubernetesCluster
from walkforward_operator.cluster.errors import NotFound
from walkforward_operator.cluster.kinds import CONFIG_MAP, JOB, POD, RETRAIN
from walkforward_operator.retrain.observe import status_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from pathlib import Path

    from api_server import RealApi

    from walkforward_operator.cluster.protocol import Object
    from walkforward_operator.retrain.status import RetrainStatus

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]
PATIENCE_S = 180.0


class Place:
    """One namespace with a ModelRetrain called fx; its ``kubelet`` lets every pod train in no time."""

    def __init__(self, api: RealApi, cluster: KubernetesCluster, s3: Mapping[str, str], namespace: str, folder: Path) -> None:
        self.api, self.cluster, self.s3, self.namespace, self.folder = api, cluster, s3, namespace, folder
        self.store = open_store("s3://models/", allow_file=False, env=s3)
        self.verdicts: dict[str, RunVerdict] = {}

    def process(self, **env: str) -> Process:
        settings = {**self.s3, "OBJECT_STORE_SECRET_NAME": "walkforward-store", **env}
        return Process(self.api.kubeconfig, self.folder, self.namespace, system=self.namespace, admin_port=free_port(), env=settings)

    async def ask(self, run: str, verdict: RunVerdict) -> None:
        """Ask for a run by hand, which will end with ``verdict``."""
        self.verdicts[run] = verdict
        wanted = spec(
            data=DataSpec(uri="s3://models/bars.parquet", symbols=("EURUSD",), window_bars=2000),
            artifacts=Artifacts(uri=f"s3://models/{self.namespace}"),
        )
        metadata = {"name": "fx", "namespace": self.namespace, "annotations": manual(run)}
        await self.cluster.apply(RETRAIN, {"metadata": metadata, "spec": plain(wanted)}, manager="person")

    async def status(self) -> RetrainStatus:
        return status_of(await self.cluster.get(RETRAIN, self.namespace, "fx"))

    async def until_ended(self, count: int) -> RetrainStatus:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                status = await self.status()
                if status.run is None and len(status.history) == count:
                    return status
                await asyncio.sleep(0.1)

    async def kubelet(self) -> None:
        """Let the trainer of every pod end, until cancelled."""
        done: set[str] = set()
        while True:
            for pod in await self.cluster.list(POD, self.namespace, labels={"walkforward.dev/retrain": "fx"}):
                if pod["metadata"]["name"] not in done:
                    with contextlib.suppress(NotFound):
                        await self._train(pod)
                        done.add(pod["metadata"]["name"])
            await asyncio.sleep(0.1)

    async def _train(self, pod: Object) -> None:
        found = await self.cluster.get(CONFIG_MAP, self.namespace, pod["metadata"]["labels"]["walkforward.dev/run"])
        run = RunDocument.parse(found["data"]["run.json"].encode())
        if self.verdicts[run.trigger.id] is RunVerdict.PUBLISHED:
            made = manifest(run, GOOD)
            report, code = result(run, RunVerdict.PUBLISHED, bundle=made), 0
            self.store.put(f"{report.uri}manifest.json", made.to_bytes())
        else:
            report, code = result(run, RunVerdict.REJECTED, metrics=BAD, failed=("auc",)), 1
        times = {"startedAt": "2026-03-02T12:00:00Z", "finishedAt": "2026-03-02T12:01:00Z"}
        state = {
            "terminated": {
                "exitCode": code,
                "message": report.to_bytes().decode(),
                "reason": "Completed" if code == 0 else "Error",
                **times,
            }
        }
        container = {"name": "trainer", "image": "none", "imageID": "", "ready": False, "restartCount": 0, "state": state}
        status = {"phase": "Succeeded" if code == 0 else "Failed", "containerStatuses": [container]}
        await pod_status(self.cluster, self.namespace, pod["metadata"]["name"], status)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with s3_server(tmp_path_factory.mktemp("s3")) as env:
        yield env


@pytest.fixture
async def place(api: RealApi, s3: dict[str, str], namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    cluster = await KubernetesCluster.connect()
    made = Place(api, cluster, s3, namespace, tmp_path)
    kubelet = asyncio.create_task(made.kubelet())
    yield made
    kubelet.cancel()
    await asyncio.gather(kubelet, return_exceptions=True)
    await cluster.close()


def timeless(status: RetrainStatus) -> dict[str, Any]:
    """What must not depend on when something happened, nor on how often the operator died."""
    found: dict[str, Any] = msgspec.to_builtins(status)
    history = [(one.trigger.id, one.verdict, one.reason, one.message, one.failed, one.version) for one in status.history]
    kept = {name: found[name] for name in ("phase", "reason", "message", "handled", "run")}
    assert status.latest_bundle is not None
    bundle = (status.latest_bundle.version, status.latest_bundle.run == status.history[1].run)
    return {**kept, "history": history, "bundle": bundle, "conditions": [(one.type, one.status, one.reason) for one in status.conditions]}


EXPECTED = [("b", RunVerdict.REJECTED), ("a", RunVerdict.PUBLISHED)]


async def test_published_then_rejected_then_at_rest(place: Place) -> None:
    running = place.process()
    try:
        await running.ready()
        began = time.monotonic()
        await place.ask("a", RunVerdict.PUBLISHED)
        await place.until_ended(1)
        print(f"from the annotation to the verdict: {time.monotonic() - began:.2f} s")
        await place.ask("b", RunVerdict.REJECTED)
        status = await place.until_ended(2)
        assert [(run.trigger.id, run.verdict) for run in status.history] == EXPECTED
        assert timeless(status)["conditions"] == [("Ready", "True", "CandidateRejected"), ("Succeeded", "False", "CandidateRejected")]
        version = (await place.cluster.get(RETRAIN, place.namespace, "fx"))["metadata"]["resourceVersion"]
        await asyncio.sleep(3)
        assert (await place.cluster.get(RETRAIN, place.namespace, "fx"))["metadata"]["resourceVersion"] == version
        metrics = await running.metrics()
        assert metrics['walkforward_retrain_runs_total{reason="CandidateRejected",verdict="Rejected"}'] == 1
    finally:
        running.kill()


async def test_killed_after_every_write_it_comes_to_the_same_end(place: Place) -> None:
    """Every life of the operator ends right after its first write, before it sees the answer."""
    story = asyncio.create_task(_story(place))
    lives = [place.process(WALKFORWARD_CRASH_AFTER_WRITE="1")]
    try:
        while not story.done():
            if lives[-1].ended is not None:
                assert lives[-1].ended == 137, lives[-1].log.read_text()[-3000:]
                lives.append(place.process(WALKFORWARD_CRASH_AFTER_WRITE="1"))
            await asyncio.sleep(0.05)
        status = await story
    finally:
        for life in lives:
            life.kill()
    assert len(lives) > 8
    found = timeless(status)
    assert [(run[0], run[1]) for run in found["history"]] == EXPECTED
    assert (found["phase"], found["run"], found["handled"]) == ("Rejected", None, ("b", "a"))
    assert found["bundle"] == ("20260302T120000Z-1a2b3c4d", True)
    assert found["conditions"] == [("Ready", "True", "CandidateRejected"), ("Succeeded", "False", "CandidateRejected")]
    jobs = await place.cluster.list(JOB, place.namespace)
    assert sorted(job["metadata"]["name"] for job in jobs) == sorted(run.run for run in status.history)


async def _story(place: Place) -> RetrainStatus:
    await place.ask("a", RunVerdict.PUBLISHED)
    await place.until_ended(1)
    await place.ask("b", RunVerdict.REJECTED)
    return await place.until_ended(2)
