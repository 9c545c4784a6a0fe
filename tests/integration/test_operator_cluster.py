"""The cluster contract on a real API server."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

import pytest
from api_server import RealApi, real_api
from cluster_contract import ClusterContract

from walkforward_operator.cluster.api import KubernetesCluster
from walkforward_operator.cluster.errors import Invalid, Unreachable
from walkforward_operator.cluster.kinds import CONFIG_MAP, NAMESPACE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def api() -> Iterator[RealApi]:
    with real_api() as running:
        yield running


@pytest.fixture
async def cluster(api: RealApi, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KubernetesCluster]:
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    connected = await KubernetesCluster.connect()
    yield connected
    await connected.close()


class TestRealCluster(ClusterContract):
    @pytest.fixture
    async def namespace(self, cluster: KubernetesCluster, api: RealApi) -> str:
        name = f"contract-{uuid.uuid4().hex[:8]}"
        await cluster.create(NAMESPACE, {"metadata": {"name": name}}, manager="test")
        for _ in range(200):  # pods are refused until their ServiceAccount is there
            if api.api.get(f"/api/v1/namespaces/{name}/serviceaccounts/default") is not None:
                return name
            await asyncio.sleep(0.05)
        raise AssertionError("no ServiceAccount within 10 s")


async def test_a_list_longer_than_a_page_is_whole(cluster: KubernetesCluster) -> None:
    await cluster.create(NAMESPACE, {"metadata": {"name": "pages"}}, manager="test")
    for index in range(510):
        await cluster.create(CONFIG_MAP, {"metadata": {"namespace": "pages", "name": f"c{index}", "labels": {"a": "b"}}}, manager="test")
    assert len(await cluster.list(CONFIG_MAP, "pages", labels={"a": "b"})) == 510


async def test_what_the_api_server_does_not_accept_is_invalid(cluster: KubernetesCluster) -> None:
    with pytest.raises(Invalid, match="settings_1"):
        await cluster.create(CONFIG_MAP, {"metadata": {"namespace": "default", "name": "settings_1"}}, manager="test")


async def test_nobody_there_is_unreachable(monkeypatch: pytest.MonkeyPatch, api: RealApi, tmp_path: object) -> None:
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig))
    connected = await KubernetesCluster.connect()
    connected.transport.server = "https://127.0.0.1:1"
    with pytest.raises(Unreachable, match="no answer"):
        await connected.get(CONFIG_MAP, "default", "x")
    await connected.close()
