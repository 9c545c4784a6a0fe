"""Which event wakes whom, and what the store keeps of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from walkforward_operator.cluster.errors import NotFound
from walkforward_operator.cluster.kinds import CONFIG_MAP, DEPLOYMENT, JOB, POD, RETRAIN, ROLLOUT, Kind
from walkforward_operator.cluster.store import Store, trimmed
from walkforward_operator.intake import Intake
from walkforward_operator.metrics import Metrics

if TYPE_CHECKING:
    from walkforward_operator.reconciler import Key


class Queue:
    def __init__(self) -> None:
        self.keys: list[str] = []

    def add(self, key: Key, after: float = 0.0) -> None:
        self.keys.append(str(key))

    def resync(self, keys: list[Key], *, within: float) -> None:
        self.keys += [str(key) for key in keys]

    def taken(self) -> list[str]:
        keys, self.keys = sorted(self.keys), []
        return keys


class World:
    def __init__(self) -> None:
        self.store, self.rollouts, self.retrains = Store(), Queue(), Queue()
        self.intake = Intake(self.store, {ROLLOUT: self.rollouts, RETRAIN: self.retrains}, metrics=Metrics())  # type: ignore[dict-item]

    def take(self, event: str | None, kind: Kind, name: str, **fields: Any) -> None:
        self.intake.take(event, kind, thing(name, **fields))


def thing(name: str, version: int = 1, **fields: Any) -> dict[str, Any]:
    labels = fields.pop("labels", {})
    metadata = {"namespace": "prod", "name": name, "uid": fields.pop("uid", name), "resourceVersion": str(version), "labels": labels}
    return {"metadata": metadata, **fields}


def following(deployment: str, retrain: str) -> dict[str, Any]:
    return {"target": {"deployment": deployment}, "source": {"retrainRef": {"name": retrain}}}


@pytest.fixture
def world() -> World:
    made = World()
    made.take(None, ROLLOUT, "fx", spec=following("fx-server", "fx-model"))
    made.take(None, ROLLOUT, "gold", spec=following("gold-server", "gold-model"))
    made.rollouts.taken()
    return made


@pytest.mark.parametrize(
    ("kind", "name", "labels", "rollouts", "retrains"),
    [
        (ROLLOUT, "fx", {}, ["prod/fx"], []),
        (RETRAIN, "fx-model", {}, ["prod/fx"], ["prod/fx-model"]),
        (DEPLOYMENT, "fx-server", {}, ["prod/fx"], []),
        (DEPLOYMENT, "another", {}, [], []),
        (POD, "p", {"walkforward.dev/target": "gold-server"}, ["prod/gold"], []),
        (CONFIG_MAP, "c", {"walkforward.dev/target": "fx-server"}, ["prod/fx"], []),
        (JOB, "j", {"walkforward.dev/retrain": "fx-model"}, [], ["prod/fx-model"]),
        (CONFIG_MAP, "c", {}, [], []),
    ],
)
def test_an_event_wakes_those_it_concerns(
    world: World, kind: Kind, name: str, labels: dict[str, str], rollouts: list[str], retrains: list[str]
) -> None:
    spec = {"spec": following("fx-server", "fx-model")} if kind is ROLLOUT else {}
    for event in ("ADDED", "MODIFIED", "DELETED"):
        world.take(event, kind, name, labels=labels, **spec)
        assert world.rollouts.taken() == rollouts
        assert world.retrains.taken() == retrains


def test_the_end_of_a_rollout_wakes_who_waits_for_its_target(world: World) -> None:
    world.take("ADDED", ROLLOUT, "fx-two", spec=following("fx-server", "fx-model"))
    world.rollouts.taken()
    world.take("DELETED", ROLLOUT, "fx", spec=following("fx-server", "fx-model"))
    assert world.rollouts.taken() == ["prod/fx", "prod/fx-two"]
    world.take("MODIFIED", DEPLOYMENT, "fx-server")
    assert world.rollouts.taken() == ["prod/fx-two"]


def test_a_rollout_that_moves_is_followed(world: World) -> None:
    world.take("MODIFIED", ROLLOUT, "fx", version=2, spec=following("other-server", "fx-model"))
    world.rollouts.taken()
    world.take("MODIFIED", DEPLOYMENT, "fx-server")
    assert world.rollouts.taken() == []
    world.take("MODIFIED", DEPLOYMENT, "other-server")
    assert world.rollouts.taken() == ["prod/fx"]


async def test_an_old_event_does_not_overwrite_a_newer_answer(world: World) -> None:
    world.store.put(ROLLOUT, thing("fx", version=9, spec={}, status={"phase": "Stable"}))
    world.take("MODIFIED", ROLLOUT, "fx", version=8, spec={}, status={"phase": "Shadow"})
    assert (await world.store.get(ROLLOUT, "prod", "fx"))["status"] == {"phase": "Stable"}


async def test_an_answer_after_the_end_brings_nothing_back(world: World) -> None:
    world.take("ADDED", POD, "p", uid="1")
    world.take("DELETED", POD, "p", uid="1")
    assert not world.store.put(POD, thing("p", uid="1", version=5))
    with pytest.raises(NotFound):
        await world.store.get(POD, "prod", "p")
    assert world.store.put(POD, thing("p", uid="2"))


async def test_a_list_finds_what_no_event_told(world: World) -> None:
    world.take("ADDED", POD, "one", labels={"walkforward.dev/target": "fx-server"})
    world.take("ADDED", POD, "two", labels={"walkforward.dev/target": "fx-server"})
    world.rollouts.taken()
    fresh = [thing("two", labels={"walkforward.dev/target": "fx-server"}), thing("three", labels={"walkforward.dev/target": "gold-server"})]
    assert await world.intake.compare(POD, "prod", fresh) == 1
    assert world.rollouts.taken() == ["prod/fx", "prod/gold"]
    assert sorted(item["metadata"]["name"] for item in await world.store.list(POD, "prod")) == ["three", "two"]


async def test_the_store_lists_by_labels_and_namespace(world: World) -> None:
    world.take("ADDED", POD, "one", labels={"a": "b", "c": "d"})
    world.take("ADDED", POD, "two", labels={"a": "b"})
    assert [item["metadata"]["name"] for item in await world.store.list(POD, "prod", labels={"c": "d"})] == ["one"]
    assert len(await world.store.list(POD, "prod", labels={"a": "b"})) == 2
    assert await world.store.list(POD, "staging") == []


def test_wake_all_and_resync_reach_every_object(world: World) -> None:
    world.take(None, RETRAIN, "fx-model")
    world.rollouts.taken(), world.retrains.taken()
    world.intake.wake_all()
    assert (world.rollouts.taken(), world.retrains.taken()) == (["prod/fx", "prod/gold"], ["prod/fx-model"])
    world.intake.resync(within=10)
    assert (world.rollouts.taken(), world.retrains.taken()) == (["prod/fx", "prod/gold"], ["prod/fx-model"])


def test_what_nobody_looks_at_is_not_kept() -> None:
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "x" * 1000, "walkforward.dev/routing": "7"}
    pod = thing("p", spec={"containers": ["…"], "nodeName": "n"}, status={"podIP": "10.0.0.1"})
    pod["metadata"] |= {"annotations": annotations, "managedFields": [{"manager": "kubelet", "fieldsV1": {}}]}
    slim = trimmed(POD, pod)
    assert slim["metadata"]["annotations"] == {"walkforward.dev/routing": "7"}
    assert "managedFields" not in slim["metadata"]
    assert slim["spec"] == {"nodeName": "n"}
    assert slim["status"] == {"podIP": "10.0.0.1"}
    assert trimmed(DEPLOYMENT, thing("d", spec={"replicas": 3, "template": {}}))["spec"] == {"replicas": 3}
    assert "binaryData" not in trimmed(CONFIG_MAP, thing("c", binaryData={"a": "b"}))
    assert annotations["kubectl.kubernetes.io/last-applied-configuration"], "the object itself is left alone"


def test_when_the_status_was_written_is_kept() -> None:
    fields = [{"manager": "walkforward-status", "time": "2026-11-01T00:00:00Z", "fieldsV1": {}}, {"manager": "kubectl", "time": "…"}]
    rollout = thing("fx", spec={})
    rollout["metadata"]["managedFields"] = fields
    assert trimmed(ROLLOUT, rollout)["metadata"]["managedFields"] == [{"manager": "walkforward-status", "time": "2026-11-01T00:00:00Z"}]
