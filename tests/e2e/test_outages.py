"""A minute without the object store, and one without the API server: nobody else may run meanwhile."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from e2e_kube import await_true, item
from e2e_scene import FAST
from e2e_stage import CLUSTER, SYSTEM

from walkforward_cluster import open_cluster

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e_scene import Scene

pytestmark = [pytest.mark.e2e, pytest.mark.alone]
AWAY_S = 60
PHASES = [{"weight": 5, "duration": "12s"}, {"weight": 25, "duration": "12s"}, {"weight": 100, "duration": "8s"}]


@pytest.mark.timeout(300)
def test_a_minute_without_the_object_store(scene_of: Callable[[str], Scene]) -> None:
    scene = scene_of("store-away")
    scene.begin("stable", strategy={**FAST, "phases": PHASES}, replay={"rate": 12})
    version = scene.offer("candidate")
    scene.until_applied(5)
    store = item("Deployment", SYSTEM, "walkforward-store")
    scene.kube.patch(store, {"spec": {"replicas": 0}}).raise_for_status()
    try:
        scene.until("the ledger is behind", lambda: "LedgerBehind" in scene.conditions(), AWAY_S)
        began, held = time.monotonic(), scene.recorder.weight
        assert held in {5, 25}
        while time.monotonic() - began < AWAY_S - 15:
            assert scene.recorder.weight == held, "exposure rose although decisions could not be recorded"
            time.sleep(0.5)
    finally:
        scene.kube.patch(store, {"spec": {"replicas": 1}}).raise_for_status()
    scene.until_stable(version, 90)
    scene.check()
    scene.check_stable_serves(version)
    assert scene.recorder.weights(version) == [0, 5, 25, 100]


@pytest.mark.timeout(300)
def test_a_minute_without_the_api_server(scene_of: Callable[[str], Scene]) -> None:
    scene = scene_of("api-away")
    scene.begin("stable", strategy={**FAST, "phases": PHASES}, replay={"rate": 12})
    version = scene.offer("candidate")
    scene.until_applied(25)
    restarts = _restarts(scene)
    addresses, document = scene.addresses(), scene.recorder.document
    cluster = open_cluster(CLUSTER)
    cluster.stop_apiserver(kill=True)
    try:
        began = time.monotonic()
        while time.monotonic() - began < AWAY_S:
            reports = [scene.report(address) for address in addresses]
            applied = [report.applied.generation for report in reports if report is not None and report.applied is not None]
            assert applied == [document.generation] * len(addresses), "a pod lost its document, or its voice"
            time.sleep(2)
    finally:
        cluster.start_apiserver()
    await_true("the API is back", scene.traffic, 30)
    scene.until_stable(version, 100)
    scene.check()
    scene.check_stable_serves(version)
    assert scene.recorder.weights(version) == [0, 5, 25, 100]
    assert _restarts(scene) == restarts, "the operator gave up instead of waiting"


def _restarts(scene: Scene) -> list[tuple[str, int]]:
    """UIDs and container restarts of the operator's pods."""
    answer = scene.kube.request("GET", f"/api/v1/namespaces/{SYSTEM}/pods", labelSelector="app.kubernetes.io/name=walkforward")
    return [
        (pod["metadata"]["uid"], sum(one["restartCount"] for one in pod["status"]["containerStatuses"])) for pod in answer.json()["items"]
    ]
