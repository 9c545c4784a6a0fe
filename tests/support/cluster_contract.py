"""What the operator relies on in a cluster, as tests: run on the fake and on a real API server, so that the fake stays honest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from walkforward_operator.cluster.errors import AlreadyExists, Conflict, NotFound
from walkforward_operator.cluster.kinds import CONFIG_MAP, POD, ROLLOUT

if TYPE_CHECKING:
    from walkforward_operator.cluster.protocol import Cluster

ROLLOUT_SPEC = {"target": {"deployment": "fx-server"}, "source": {"retrainRef": {"name": "fx"}}}


def config_map(namespace: str, **rest: Any) -> dict[str, Any]:
    metadata = {"namespace": namespace, "name": "settings", **rest.pop("metadata", {})}
    return {"metadata": metadata, **rest}


def rollout(namespace: str, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": namespace, "name": "fx", **metadata}, "spec": ROLLOUT_SPEC}


class ClusterContract:
    """Subclasses give the fixtures ``cluster`` and ``namespace`` (an empty one)."""

    async def test_a_created_object_is_read_back(self, cluster: Cluster, namespace: str) -> None:
        made = await cluster.create(CONFIG_MAP, config_map(namespace, data={"a": "1"}), manager="m")
        found = await cluster.get(CONFIG_MAP, namespace, "settings")
        assert found["data"] == {"a": "1"}
        assert (found["apiVersion"], found["kind"]) == ("v1", "ConfigMap")
        assert found["metadata"]["uid"] == made["metadata"]["uid"]
        assert found["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]

    async def test_create_never_overwrites(self, cluster: Cluster, namespace: str) -> None:
        await cluster.create(CONFIG_MAP, config_map(namespace, data={"a": "1"}), manager="m")
        with pytest.raises(AlreadyExists):
            await cluster.create(CONFIG_MAP, config_map(namespace, data={"a": "2"}), manager="m")
        assert (await cluster.get(CONFIG_MAP, namespace, "settings"))["data"] == {"a": "1"}

    async def test_what_is_not_there_is_not_found(self, cluster: Cluster, namespace: str) -> None:
        with pytest.raises(NotFound):
            await cluster.get(CONFIG_MAP, namespace, "settings")
        with pytest.raises(NotFound):
            await cluster.patch(CONFIG_MAP, config_map(namespace, data={}), manager="m")
        with pytest.raises(NotFound):
            await cluster.delete(CONFIG_MAP, namespace, "settings", uid="1")
        with pytest.raises(NotFound):
            await cluster.apply_status(ROLLOUT, {"metadata": {"namespace": namespace, "name": "fx"}, "status": {}}, manager="m")

    async def test_a_list_has_those_with_the_labels(self, cluster: Cluster, namespace: str) -> None:
        for name, labels in (("one", {"a": "x", "b": "y"}), ("two", {"a": "x"}), ("three", {})):
            metadata = {"namespace": namespace, "name": name, "labels": labels}
            await cluster.create(CONFIG_MAP, {"metadata": metadata}, manager="m")
        found = await cluster.list(CONFIG_MAP, namespace, labels={"a": "x"})
        assert sorted(item["metadata"]["name"] for item in found) == ["one", "two"]
        assert all((item["apiVersion"], item["kind"]) == ("v1", "ConfigMap") for item in found)
        both = await cluster.list(CONFIG_MAP, namespace, labels={"a": "x", "b": "y"})
        assert [item["metadata"]["name"] for item in both] == ["one"]

    async def test_apply_creates_changes_and_removes_its_own_fields(self, cluster: Cluster, namespace: str) -> None:
        await cluster.apply(CONFIG_MAP, config_map(namespace, data={"a": "1", "b": "1"}), manager="m")
        await cluster.patch(CONFIG_MAP, config_map(namespace, data={"c": "1"}), manager="person")
        changed = await cluster.apply(CONFIG_MAP, config_map(namespace, data={"a": "2"}), manager="m")
        assert changed["data"] == {"a": "2", "c": "1"}

    async def test_apply_of_the_same_changes_nothing(self, cluster: Cluster, namespace: str) -> None:
        first = await cluster.apply(CONFIG_MAP, config_map(namespace, data={"a": "1"}), manager="m")
        second = await cluster.apply(CONFIG_MAP, config_map(namespace, data={"a": "1"}), manager="m")
        assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]

    async def test_apply_on_an_old_version_is_a_conflict(self, cluster: Cluster, namespace: str) -> None:
        first = await cluster.apply(CONFIG_MAP, config_map(namespace, data={"a": "1"}), manager="m")
        await cluster.patch(CONFIG_MAP, config_map(namespace, data={"b": "1"}), manager="person")
        old = {"resourceVersion": first["metadata"]["resourceVersion"]}
        with pytest.raises(Conflict):
            await cluster.apply(CONFIG_MAP, config_map(namespace, data={"a": "2"}, metadata=old), manager="m")

    async def test_a_patch_merges_and_null_removes(self, cluster: Cluster, namespace: str) -> None:
        metadata = {"annotations": {"a": "1", "b": "1"}}
        await cluster.create(CONFIG_MAP, config_map(namespace, data={"k": "v"}, metadata=metadata), manager="m")
        change = {"annotations": {"a": None, "c": "1"}}
        changed = await cluster.patch(CONFIG_MAP, config_map(namespace, metadata=change), manager="m")
        assert changed["metadata"]["annotations"] == {"b": "1", "c": "1"}
        assert changed["data"] == {"k": "v"}

    async def test_a_patch_on_an_old_version_is_a_conflict(self, cluster: Cluster, namespace: str) -> None:
        made = await cluster.create(CONFIG_MAP, config_map(namespace), manager="m")
        version = made["metadata"]["resourceVersion"]
        await cluster.patch(CONFIG_MAP, config_map(namespace, data={"a": "1"}), manager="m", resource_version=version)
        with pytest.raises(Conflict):
            await cluster.patch(CONFIG_MAP, config_map(namespace, data={"a": "2"}), manager="m", resource_version=version)

    async def test_a_patch_of_another_object_of_that_name_is_a_conflict(self, cluster: Cluster, namespace: str) -> None:
        await cluster.create(CONFIG_MAP, config_map(namespace), manager="m")
        other = {"uid": "00000000-0000-0000-0000-000000000000"}
        with pytest.raises(Conflict):
            await cluster.patch(CONFIG_MAP, config_map(namespace, data={"a": "1"}, metadata=other), manager="m")

    async def test_delete_wants_the_uid(self, cluster: Cluster, namespace: str) -> None:
        made = await cluster.create(CONFIG_MAP, config_map(namespace), manager="m")
        with pytest.raises(Conflict):
            await cluster.delete(CONFIG_MAP, namespace, "settings", uid="00000000-0000-0000-0000-000000000000")
        await cluster.delete(CONFIG_MAP, namespace, "settings", uid=made["metadata"]["uid"])
        with pytest.raises(NotFound):
            await cluster.get(CONFIG_MAP, namespace, "settings")

    async def test_status_and_spec_are_written_apart(self, cluster: Cluster, namespace: str) -> None:
        made = await cluster.create(ROLLOUT, {**rollout(namespace), "status": {"message": "not by create"}}, manager="m")
        assert "message" not in made.get("status", {})
        status = {"metadata": {"namespace": namespace, "name": "fx"}, "status": {"message": "hello"}}
        written = await cluster.apply_status(ROLLOUT, status, manager="walkforward-status")
        assert written["status"]["message"] == "hello"
        assert written["metadata"]["generation"] == made["metadata"]["generation"]
        patched = await cluster.patch(ROLLOUT, {**rollout(namespace), "status": {"message": "not by patch"}}, manager="m")
        assert patched["status"]["message"] == "hello"
        removed = await cluster.apply_status(ROLLOUT, {**status, "status": {"phase": "Pending"}}, manager="walkforward-status")
        assert "message" not in removed["status"]
        assert removed["status"]["phase"] == "Pending"

    async def test_a_status_on_an_old_version_is_a_conflict(self, cluster: Cluster, namespace: str) -> None:
        made = await cluster.create(ROLLOUT, rollout(namespace), manager="m")
        metadata = {"namespace": namespace, "name": "fx", "resourceVersion": made["metadata"]["resourceVersion"]}
        await cluster.apply_status(ROLLOUT, {"metadata": metadata, "status": {"message": "one"}}, manager="walkforward-status")
        with pytest.raises(Conflict):
            await cluster.apply_status(ROLLOUT, {"metadata": metadata, "status": {"message": "two"}}, manager="walkforward-status")

    async def test_generation_follows_the_spec_alone(self, cluster: Cluster, namespace: str) -> None:
        made = await cluster.create(ROLLOUT, rollout(namespace), manager="m")
        annotated = await cluster.patch(ROLLOUT, {"metadata": {**rollout(namespace)["metadata"], "annotations": {"a": "b"}}}, manager="m")
        assert annotated["metadata"]["generation"] == made["metadata"]["generation"]
        paused = await cluster.patch(ROLLOUT, {**rollout(namespace), "spec": {"paused": True}}, manager="m")
        assert paused["metadata"]["generation"] == made["metadata"]["generation"] + 1

    async def test_a_finalizer_keeps_a_deleted_object(self, cluster: Cluster, namespace: str) -> None:
        made = await cluster.create(ROLLOUT, rollout(namespace, finalizers=["walkforward.dev/restore-stable"]), manager="m")
        await cluster.delete(ROLLOUT, namespace, "fx", uid=made["metadata"]["uid"])
        kept = await cluster.get(ROLLOUT, namespace, "fx")
        assert kept["metadata"]["deletionTimestamp"]
        release = {"metadata": {"namespace": namespace, "name": "fx", "finalizers": None}}
        await cluster.patch(ROLLOUT, release, manager="m", resource_version=kept["metadata"]["resourceVersion"])
        with pytest.raises(NotFound):
            await cluster.get(ROLLOUT, namespace, "fx")

    async def test_an_annotation_reaches_a_pod(self, cluster: Cluster, namespace: str) -> None:
        spec = {"containers": [{"name": "c", "image": "i"}]}
        made = await cluster.create(POD, {"metadata": {"namespace": namespace, "name": "p"}, "spec": spec}, manager="m")
        push = {"namespace": namespace, "name": "p", "uid": made["metadata"]["uid"], "annotations": {"walkforward.dev/routing": "1"}}
        pushed = await cluster.patch(POD, {"metadata": push}, manager="walkforward")
        assert pushed["metadata"]["annotations"]["walkforward.dev/routing"] == "1"
