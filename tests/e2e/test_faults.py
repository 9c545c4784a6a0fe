"""Pods that go, pods that come, and hands in the routing document: exposure keeps to its rules, clients notice nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from e2e_kube import await_true, item
from e2e_rules import exposure
from e2e_scene import FAST, TARGET
from msgspec import structs

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e_scene import Scene

pytestmark = [pytest.mark.e2e]
BREAK_GLASS = "walkforward:break-glass"


@pytest.mark.timeout(150)
def test_a_server_pod_killed_at_5_percent_is_not_noticed(scene_of: Callable[[str], Scene]) -> None:
    scene = scene_of("pod-killed")
    scene.begin("stable")
    version = scene.offer("candidate")
    scene.until_applied(5)
    pod = scene.pods()[0]
    scene.kube.request("DELETE", f"/api/v1/namespaces/{scene.namespace}/pods/{pod['metadata']['name']}", {"gracePeriodSeconds": 0})
    scene.until_stable(version, 100)
    scene.check()
    scene.check_stable_serves(version)
    assert scene.recorder.weights(version) == [0, 5, 25, 100]


@pytest.mark.timeout(180)
def test_pods_that_come_at_25_percent_take_part(scene_of: Callable[[str], Scene]) -> None:
    scene = scene_of("scaled")
    scene.begin("stable", strategy={**FAST, "phases": [{"weight": 25, "duration": "25s"}, {"weight": 100, "duration": "8s"}]})
    version = scene.offer("candidate")
    scene.until_applied(25)
    scene.kube.patch(item("Deployment", scene.namespace, TARGET), {"spec": {"replicas": 5}}).raise_for_status()
    await_true("five pods are ready", lambda: scene.all_ready(5), 60)
    assert scene.recorder.weight == 25, "the phase was over before the pods came"
    document = scene.recorder.document

    def alike() -> bool:
        reports = [scene.report(address) for address in scene.addresses()]
        return len(reports) == 5 and all(
            report is not None
            and report.applied is not None
            and report.applied.generation >= document.generation
            and len(report.models) == 2
            for report in reports
        )

    await_true("all five have both models", alike, 30)
    scene.until_stable(version, 90)
    scene.check()
    scene.check_stable_serves(version)
    assert scene.recorder.weights(version) == [0, 25, 100]


@pytest.mark.timeout(150)
def test_a_person_may_lower_the_weight_but_not_raise_it(scene_of: Callable[[str], Scene]) -> None:
    scene = scene_of("by-hand")
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"namespace": scene.namespace, "name": "oncall"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "oncall@example.com"}],
    }  # fmt: skip
    scene.kube.apply(binding).raise_for_status()
    stable = scene.begin("stable", strategy={**FAST, "phases": [{"weight": 5, "duration": "12s"}, *FAST["phases"][1:]]})
    version = scene.offer("candidate")
    scene.until_applied(5)
    everything = structs.replace(scene.recorder.document, weight=100)
    refused = scene.write_routing(everything)
    assert refused.is_client_error, "whoever may edit ConfigMaps could promote"
    assert "members of walkforward:break-glass" in refused.text
    assert scene.write_routing(everything, BREAK_GLASS).is_success
    scene.until("it is put right", lambda: not scene.recorder.history[-1].by_hand and scene.recorder.weight == 5, 10)
    # the status comes by a watch of its own, which may lag behind the document's
    scene.until("that is counted, once", lambda: scene.status["routing"]["drift"] == 1, 10)
    scene.until_applied(25)
    nothing = structs.replace(scene.recorder.document, weight=0)
    assert scene.write_routing(nothing, BREAK_GLASS).is_success
    status = scene.until_rolled_back(30)
    assert status["rollback"]["reason"] == "ManualRoute"
    assert [one["version"] for one in status["quarantine"]] == [version]
    scene.check_stable_serves(stable)
    scene.check()
    assert exposure(scene.recorder.document) == ("", 0)


@pytest.mark.timeout(150)
def test_a_rollout_deleted_at_25_percent_leaves_stable(scene_of: Callable[[str], Scene]) -> None:
    scene = scene_of("deleted")
    stable = scene.begin("stable", strategy={**FAST, "phases": [{"weight": 25, "duration": "60s"}, {"weight": 100, "duration": "8s"}]})
    scene.offer("candidate")
    scene.until_applied(25)
    rollout = item("ModelRollout", scene.namespace, TARGET)
    assert scene.kube.get(rollout).json()["metadata"]["finalizers"] == ["walkforward.dev/restore-stable"]
    scene.kube.delete(rollout).raise_for_status()
    await_true("the rollout is gone", lambda: scene.kube.get(rollout).status_code == 404, 50)
    scene.check_stable_serves(stable)
    assert all(scene.only_serves(address, stable) for address in scene.addresses())
    scene.check()


@pytest.mark.timeout(180)
def test_a_namespace_deleted_at_25_percent_is_gone_within_a_minute(scene_of: Callable[[str], Scene]) -> None:
    scene = scene_of("namespace")
    scene.begin("stable", strategy={**FAST, "phases": [{"weight": 25, "duration": "90s"}, {"weight": 100, "duration": "8s"}]})
    scene.offer("candidate")
    scene.until_applied(25)
    scene.check()
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": scene.namespace}}
    scene.kube.delete(namespace).raise_for_status()
    took = await_true("the namespace is gone", lambda: scene.kube.get(namespace).status_code == 404, 60)
    assert took < 60
