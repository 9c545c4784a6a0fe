"""The fake cluster keeps the contract that a real API server keeps (the same suite runs on one in tests/integration)."""

from __future__ import annotations

import pytest
from cluster_contract import ClusterContract
from fake_cluster import Crash, FakeCluster

from walkforward_operator.cluster.errors import Unreachable
from walkforward_operator.cluster.kinds import CONFIG_MAP


class TestFakeCluster(ClusterContract):
    @pytest.fixture
    def cluster(self) -> FakeCluster:
        return FakeCluster()

    @pytest.fixture
    def namespace(self) -> str:
        return "prod"


def config_map(name: str) -> dict[str, object]:
    return {"metadata": {"namespace": "prod", "name": name}}


async def test_a_crash_comes_after_the_write() -> None:
    cluster = FakeCluster()
    cluster.crash_after = 2
    await cluster.create(CONFIG_MAP, config_map("one"), manager="m")
    with pytest.raises(Crash):
        await cluster.create(CONFIG_MAP, config_map("two"), manager="m")
    assert cluster.peek(CONFIG_MAP, "prod", "two")
    await cluster.create(CONFIG_MAP, config_map("three"), manager="m")


async def test_a_fault_comes_instead_of_the_write() -> None:
    cluster = FakeCluster()
    cluster.fault = lambda what: Unreachable(what) if what.startswith("create") else None
    with pytest.raises(Unreachable):
        await cluster.create(CONFIG_MAP, config_map("one"), manager="m")
    assert await cluster.list(CONFIG_MAP, "prod") == []


async def test_watchers_see_each_change_once() -> None:
    cluster = FakeCluster()
    seen: list[tuple[str, str]] = []
    cluster.watchers.append(lambda event, _, found: seen.append((event, found["metadata"]["name"])))
    await cluster.apply(CONFIG_MAP, config_map("one"), manager="m")
    await cluster.apply(CONFIG_MAP, config_map("one"), manager="m")
    await cluster.patch(CONFIG_MAP, {**config_map("one"), "data": {"k": "v"}}, manager="m")
    cluster.remove(CONFIG_MAP, "prod", "one")
    assert seen == [("ADDED", "one"), ("MODIFIED", "one"), ("DELETED", "one")]
