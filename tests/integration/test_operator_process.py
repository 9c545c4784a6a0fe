"""The real operator process on a real API server: from nothing to promoted, killed after every write, idle, and without an API server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from api_server import RealApi, real_api
from operator_process import Process, Scene, scene, timeless
from s3_server import s3_server

from walkforward_operator.cluster.api import KubernetesCluster
from walkforward_operator.cluster.kinds import LEASE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

SHORT: dict[str, Any] = {
    "strategy": {
        "shadow": {"minRequests": 200},
        "phases": [{"weight": 5, "duration": "6s"}, {"weight": 25, "duration": "6s"}, {"weight": 100, "duration": "6s"}],
        "watch": {"duration": "6s"},
    },
    "gates": {"errorRate": {}},
}


@pytest.fixture(scope="module")
def api() -> Iterator[RealApi]:
    with real_api(controllers=False) as running:
        yield running


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with s3_server(tmp_path_factory.mktemp("s3")) as env:
        yield env


@pytest.fixture
async def cluster(api: RealApi, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KubernetesCluster]:
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    connected = await KubernetesCluster.connect()
    yield connected
    await connected.close()


def process(api: RealApi, folder: Path, place: Scene, **env: str) -> Process:
    return Process(api.kubeconfig, folder, place.namespace, system=place.namespace, admin_port=place.admin_port, env={**place.s3, **env})


PROMOTED = {
    "phase": "Stable",
    "reason": "Promoted",
    "weight": 0,
    "stable": "v2",
    "candidate": None,
    "previous": None,
    "walk": None,
    "handled": {},
    "history": [("v2", "Promoted", "Promoted", 100), ("v1", "Bootstrapped", "Bootstrapped", 0)],
    "conditions": [("Ready", "True", "Promoted")],
}
"""What lasts of a walk, whatever happened on the way."""


async def walk(place: Scene, *, seconds: float = 240) -> dict[str, Any]:
    """Wait until v2 serves alone, and return what lasts."""
    await place.until("Stable", version="v1", seconds=seconds)
    await place.rollout(place.publish("v2"))
    await place.until("Stable", version="v2", seconds=seconds)
    return timeless(await place.status())


async def test_from_nothing_to_promoted_and_idle(api: RealApi, cluster: KubernetesCluster, s3: dict[str, str], tmp_path: Path) -> None:
    async with scene(cluster, s3, "walk") as place:
        await place.rollout(place.publish("v1"), **SHORT)
        running = process(api, tmp_path, place)
        try:
            assert await walk(place) == PROMOTED
            assert (await place.document()).previous is None
            await idle(place, running)
            assert running.rss_mb() < 120
            assert running.stop() == 0
            lease = await cluster.get(LEASE, place.namespace, "walkforward-operator")
            assert lease["spec"]["holderIdentity"] == ""
        finally:
            running.kill()


async def idle(place: Scene, running: Process) -> None:
    """Nothing but the Lease is written, and nothing is read, for half a minute."""
    place.kubelet_rests = True
    await asyncio.sleep(5)
    before, asked = await running.metrics(), await requests(place.cluster)
    await asyncio.sleep(30)
    after, answered = await running.metrics(), await requests(place.cluster)
    name = "walkforward_reconcile_total"
    assert {key: value for key, value in after.items() if key.startswith(name)} == {
        key: value for key, value in before.items() if key.startswith(name)
    }
    made = {key: answered[key] - asked.get(key, 0) for key in answered if answered[key] != asked.get(key, 0)}
    assert set(made) <= {("PATCH", "leases")}, made
    assert made["PATCH", "leases"] <= 6


async def requests(cluster: KubernetesCluster) -> dict[tuple[str, str], float]:
    """Return how many requests the API server has answered by verb and resource; watches and its own are left out."""
    answer = await cluster.transport.send("GET", "/metrics")
    found: dict[tuple[str, str], float] = {}
    for line in answer.data.decode().splitlines():
        if line.startswith("apiserver_request_total{"):
            labels = dict(
                part.split("=", 1) for part in line[line.index("{") + 1 : line.rindex("}")].replace('"', "").split(",") if "=" in part
            )
            group = labels.get("group", "")
            ours = group in {"walkforward.dev", "batch", "apps", "events.k8s.io"} or labels["resource"] in {"pods", "configmaps", "leases"}
            itself = (labels["verb"], labels["resource"]) == ("PUT", "leases")  # the API server's own identity
            if ours and not itself and labels["verb"] != "WATCH":
                key = (labels["verb"], labels["resource"])
                found[key] = found.get(key, 0) + float(line.rpartition(" ")[2])
    return found


async def test_killed_after_every_single_write_it_comes_to_the_same_end(
    api: RealApi, cluster: KubernetesCluster, s3: dict[str, str], tmp_path: Path
) -> None:
    """Every life ends right after its second write: the first notes how long nobody watched, so each write of the walk ends a life."""
    async with scene(cluster, s3, "killed") as place:
        await place.rollout(place.publish("v1"), **SHORT)
        walking = asyncio.create_task(walk(place, seconds=380))
        lives = [process(api, tmp_path, place, WALKFORWARD_CRASH_AFTER_WRITE="1")]
        try:
            while not walking.done():
                if lives[-1].ended is not None:
                    assert lives[-1].ended == 137, lives[-1].log.read_text()[-3000:]
                    lives.append(process(api, tmp_path, place, WALKFORWARD_CRASH_AFTER_WRITE="2"))
                await asyncio.sleep(0.05)
            assert await walking == PROMOTED
            assert len(lives) > 25, "the writes of a walk are more than that"
        finally:
            lives[-1].kill()
            walking.cancel()
            await asyncio.gather(walking, return_exceptions=True)


async def soaking(place: Scene) -> None:
    """Wait until a step soaks and no write is under way: six seconds in which the weight stays."""
    async with asyncio.timeout(30):
        while True:
            found = await place.status()
            if found.walk is not None and found.walk.soak_since is not None and found.routing.pending is None:
                return
            await asyncio.sleep(0.05)


async def test_an_api_server_that_is_away_for_half_a_minute(
    api: RealApi, cluster: KubernetesCluster, s3: dict[str, str], tmp_path: Path
) -> None:
    """The servers go on, the process does not end, and the walk goes on by itself; the time away is no soak time."""
    async with scene(cluster, s3, "away") as place:
        await place.rollout(place.publish("v1"), **SHORT)
        running = process(api, tmp_path, place)
        try:
            await place.until("Stable", version="v1")
            await place.rollout(place.publish("v2"))
            await place.until("Progressing")
            await soaking(place)
            weight = (await place.document()).weight
            await asyncio.to_thread(api.stop_apiserver, kill=True)
            await asyncio.sleep(2)  # what was written before has come to those that it comes to
            before = {name: server.applied for name, server in place.servers.items()}
            await asyncio.sleep(28)
            assert running.ended is None
            assert {name: server.applied for name, server in place.servers.items()} == before
            await asyncio.to_thread(api.start_apiserver)
            assert (await place.document()).weight == weight, "nothing rises for time that nobody watched"
            await place.until("Stable", version="v2", seconds=120)
            assert running.ended is None
        finally:
            running.kill()
