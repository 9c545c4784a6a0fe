"""kopf on a real API server: watches come up, survive, and write nothing."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from api_server import RealApi, real_api
from cluster_contract import ROLLOUT_SPEC

from walkforward_operator.cluster.api import KubernetesCluster
from walkforward_operator.cluster.kinds import CONFIG_MAP, NAMESPACE, ROLLOUT, Kind
from walkforward_operator.host import Watches
from walkforward_operator.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from walkforward_operator.cluster.protocol import Object

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def api() -> Iterator[RealApi]:
    with real_api(controllers=False) as running:
        yield running


class Seen:
    def __init__(self) -> None:
        self.events: list[tuple[str | None, str, str]] = []
        self.changed = asyncio.Event()

    def take(self, event: str | None, kind: Kind, found: Object) -> None:
        self.events.append((event, kind.name, found["metadata"]["name"]))
        self.changed.set()

    async def wait_for(self, kind: str, name: str, *, deleted: bool = False, seconds: float = 20.0) -> None:
        async with asyncio.timeout(seconds):
            while not any(event[1:] == (kind, name) and (event[0] == "DELETED") == deleted for event in self.events):
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def watching(api: RealApi, monkeypatch: pytest.MonkeyPatch, namespace: str) -> AsyncIterator[tuple[KubernetesCluster, Seen]]:
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig))
    cluster = await KubernetesCluster.connect()
    await cluster.create(NAMESPACE, {"metadata": {"name": namespace}}, manager="test")
    seen = Seen()
    watches = Watches([namespace], seen.take, metrics=Metrics(), served=cluster.serves)
    task = asyncio.create_task(watches.run())
    yield cluster, seen
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await cluster.close()


def rollout(namespace: str, name: str) -> dict[str, object]:
    return {"metadata": {"namespace": namespace, "name": name}, "spec": ROLLOUT_SPEC}


async def test_objects_come_and_go_and_none_is_touched(api: RealApi, monkeypatch: pytest.MonkeyPatch) -> None:
    async with watching(api, monkeypatch, "host-one") as (cluster, seen):
        made = await cluster.create(ROLLOUT, rollout("host-one", "fx"), manager="test")
        labels = {"app.kubernetes.io/managed-by": "walkforward"}
        await cluster.create(CONFIG_MAP, {"metadata": {"namespace": "host-one", "name": "other"}}, manager="test")
        await cluster.create(CONFIG_MAP, {"metadata": {"namespace": "host-one", "name": "ours", "labels": labels}}, manager="test")
        await seen.wait_for("ConfigMap", "ours")
        await seen.wait_for("ModelRollout", "fx")
        assert not any(event[2] == "other" for event in seen.events)
        await asyncio.sleep(1)
        found = await cluster.get(ROLLOUT, "host-one", "fx")
        assert found["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
        await cluster.delete(ROLLOUT, "host-one", "fx", uid=made["metadata"]["uid"])
        await seen.wait_for("ModelRollout", "fx", deleted=True)


async def test_watches_come_back_after_the_api_server_was_away(api: RealApi, monkeypatch: pytest.MonkeyPatch) -> None:
    async with watching(api, monkeypatch, "host-two") as (cluster, seen):
        await cluster.create(ROLLOUT, rollout("host-two", "before"), manager="test")
        await seen.wait_for("ModelRollout", "before")
        bystander = asyncio.create_task(asyncio.sleep(3600))
        await asyncio.to_thread(api.stop_apiserver, kill=True)
        await asyncio.sleep(3)
        await asyncio.to_thread(api.start_apiserver)
        await cluster.create(ROLLOUT, rollout("host-two", "after"), manager="test")
        await seen.wait_for("ModelRollout", "after")
        assert not bystander.done(), "the end of kopf must not end anything else"
        bystander.cancel()
