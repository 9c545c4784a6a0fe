"""Evidence is banked so that no crash loses or doubles it."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from fake_cluster import FakeCluster

from walkforward_core.pods import ModelRole
from walkforward_core.stats import Pair, Requests, Row, StatsDocument
from walkforward_operator.cluster.errors import Unreachable
from walkforward_operator.cluster.kinds import CONFIG_MAP
from walkforward_operator.evidence.keeper import Keeper, WalkKey

WALK = WalkKey("prod", "fx-server", "fx", "u1", "plan", 3)


def stats(pod: str, boot: str, seq: int, count: int) -> StatsDocument:
    row = Row(generation=4, version="v2", role=ModelRole.CANDIDATE, requests=Requests(shadow=count))
    return StatsDocument(pod_uid=pod, boot=boot, seq=seq, rows=(row,), pairs=(Pair(generation=4, stable="v1", candidate="v2", n=count),))


def total(keeper: Keeper) -> int:
    return sum(pair.n for shard in keeper.bank.shards for part in (shard.closed, *shard.open.values()) for pair in part.pairs)


async def test_what_is_banked_is_loaded_again() -> None:
    cluster = FakeCluster()
    keeper = await Keeper.load(cluster, WALK)
    assert not keeper.unbanked
    assert keeper.absorb(stats("a", "1", 1, 100), phase_from=4)
    assert keeper.unbanked
    await keeper.save()
    assert not keeper.unbanked
    again = await Keeper.load(cluster, WALK)
    assert total(again) == 100
    assert not again.absorb(stats("a", "1", 1, 100), phase_from=4)
    found = cluster.peek(CONFIG_MAP, "prod", "fx-server-evidence-0")
    assert found["metadata"]["ownerReferences"][0]["uid"] == "u1"
    assert found["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "walkforward", "walkforward.dev/target": "fx-server"}


async def test_a_pod_that_is_gone_counts_on_and_once() -> None:
    keeper = await Keeper.load(FakeCluster(), WALK)
    keeper.absorb(stats("a", "1", 1, 100), phase_from=4)
    keeper.absorb(stats("b", "1", 1, 50), phase_from=4)
    assert keeper.close_vanished({"b"}, {"b": "1"}, phase_from=4)
    assert not keeper.close_vanished({"b"}, {"b": "1"}, phase_from=4)
    keeper.absorb(stats("a", "1", 2, 120), phase_from=4)
    assert total(keeper) == 150, "what arrives after the end counts no more"


async def test_another_boot_of_the_same_pod_is_another_source() -> None:
    keeper = await Keeper.load(FakeCluster(), WALK)
    keeper.absorb(stats("a", "1", 9, 100), phase_from=4)
    assert not keeper.close_vanished({"a"}, {}, phase_from=4), "a pod that has not spoken yet keeps its sources"
    keeper.absorb(stats("a", "2", 1, 10), phase_from=4)
    assert keeper.close_vanished({"a"}, {"a": "2"}, phase_from=4)
    keeper.absorb(stats("a", "2", 2, 30), phase_from=4)
    assert total(keeper) == 130


async def test_another_walk_begins_with_nothing() -> None:
    cluster = FakeCluster()
    keeper = await Keeper.load(cluster, WALK)
    for number in range(40):
        keeper.absorb(stats(f"pod-{number}", "1", 1, 10), phase_from=4)
    await keeper.save()
    assert cluster.peek(CONFIG_MAP, "prod", "fx-server-evidence-1")
    later = WalkKey("prod", "fx-server", "fx", "u1", "another plan", 9)
    again = await Keeper.load(cluster, later)
    assert total(again) == 0
    again.absorb(StatsDocument(pod_uid="a", boot="2", seq=1), phase_from=9)
    await again.save()
    assert total(await Keeper.load(cluster, WALK)) == 80, "of the old walk only what did not fit into the first ConfigMap is left"


async def test_what_cannot_be_read_counts_for_nothing(caplog: pytest.LogCaptureFixture) -> None:
    cluster = FakeCluster()
    keeper = await Keeper.load(cluster, WALK)
    keeper.absorb(stats("a", "1", 1, 100), phase_from=4)
    await keeper.save()
    found = cluster.peek(CONFIG_MAP, "prod", "fx-server-evidence-0")
    found["binaryData"]["evidence.json.gz"] = base64.b64encode(b"nonsense").decode()
    cluster.put(CONFIG_MAP, found)
    again = await Keeper.load(cluster, WALK)
    assert total(again) == 0
    assert "fx-server-evidence-0" in caplog.text


@pytest.mark.parametrize("name", ["fx-server-routing", "fx-server-evidence-x", "fx-server-evidence-01", "other-evidence-0"])
async def test_other_config_maps_of_the_target_are_left_alone(name: str) -> None:
    cluster = FakeCluster()
    labels = {"app.kubernetes.io/managed-by": "walkforward", "walkforward.dev/target": "fx-server"}
    body: dict[str, Any] = {"metadata": {"namespace": "prod", "name": name, "labels": labels}, "data": {}}
    cluster.put(CONFIG_MAP, body)
    keeper = await Keeper.load(cluster, WALK)
    assert not keeper.unbanked
    assert total(keeper) == 0


async def test_a_failed_write_is_still_to_be_made() -> None:
    cluster = FakeCluster()
    keeper = await Keeper.load(cluster, WALK)
    keeper.absorb(stats("a", "1", 1, 100), phase_from=4)
    cluster.fault = Unreachable
    with pytest.raises(Unreachable):
        await keeper.save()
    assert keeper.unbanked
    cluster.fault = lambda _: None
    await keeper.save()
    assert not keeper.unbanked


async def test_too_much_evidence_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("walkforward_core.evidence.totals.LIMIT", 10)
    keeper = await Keeper.load(FakeCluster(), WALK)
    keeper.absorb(stats("a", "1", 1, 100), phase_from=4)
    await keeper.save()
    assert keeper.full
    assert keeper.unbanked
    monkeypatch.setattr("walkforward_core.evidence.totals.LIMIT", 900 * 1024)
    await keeper.save()
    assert not keeper.full
