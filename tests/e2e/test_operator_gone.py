"""An operator that is killed at every turn, and one that never comes back. Each has a release of its own beside the others'."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from e2e_kube import await_true, item
from e2e_scene import FAST
from e2e_stage import install_operator

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e_scene import Scene

pytestmark = [pytest.mark.e2e]


def _install(scene: Scene) -> str:
    """A second release, which looks after the namespace of this scenario alone; return where it lives."""
    system = f"walkforward-{scene.scenario}"
    install_operator(scene.stage, scene.kube, "walkforward", system, [scene.namespace], embedded=False)
    return system


def _operators(scene: Scene, system: str) -> list[dict[str, Any]]:
    answer = scene.kube.request("GET", f"/api/v1/namespaces/{system}/pods", labelSelector="app.kubernetes.io/name=walkforward")
    return [pod for pod in answer.json()["items"] if "deletionTimestamp" not in pod["metadata"]]


@pytest.mark.timeout(300)
def test_an_operator_killed_in_every_phase_loses_nothing(scene_of: Callable[[str], Scene]) -> None:
    scene = scene_of("op-killed")
    system = _install(scene)

    def kill() -> None:
        for pod in _operators(scene, system):
            path = f"/api/v1/namespaces/{system}/pods/{pod['metadata']['name']}"
            scene.kube.request("DELETE", path, {"gracePeriodSeconds": 0}).raise_for_status()

    def phase(*names: str) -> Callable[[], bool]:
        return lambda: scene.status.get("phase") in names

    strategy = {**FAST, "shadow": {"minRequests": 200}}
    scene.serve()
    scene.roll("stable", strategy=strategy, approval={"required": True, "expires": "10m"})
    scene.until("asked for the first model", phase("AwaitingApproval"), 60)
    kill()
    stable = scene.model("stable").version
    scene.act("approve", candidate=stable, phase="Bootstrap")
    scene.until("bootstrapping", phase("Bootstrapping", "Stable"), 45)
    kill()
    scene.until_stable(stable, 60)
    await_true("the Service answers", scene.answering, 30)
    scene.replay(rate=10)
    await_true("traffic flows", lambda: scene.traffic().get("requests", 0) > 100, 45)
    version = scene.offer("candidate")
    scene.until("in the shadow", phase("Shadow"), 45)
    kill()
    scene.until_weight(5, 60)
    kill()
    scene.until_weight(25, 60)
    kill()
    scene.until("asked for 100 %", phase("AwaitingApproval"), 60)
    kill()
    scene.act("approve", candidate=version, phase="100")
    scene.until_weight(100, 45)
    kill()
    scene.until("watching", phase("Watching", "Stable"), 60)
    kill()
    scene.until_stable(version, 60)
    scene.check()
    assert scene.recorder.weights(version) == [0, 5, 25, 100]
    assert [(one["version"], one["outcome"]) for one in scene.status["history"]] == [(version, "Promoted"), (stable, "Bootstrapped")]
    assert [one["outcome"] for one in scene.status["actions"]] == ["Done", "Done"]


@pytest.mark.timeout(240)
def test_without_an_operator_the_servers_fall_back_by_themselves(scene_of: Callable[[str], Scene]) -> None:
    scene = scene_of("op-gone")
    system = _install(scene)
    operator = item("Deployment", system, "walkforward")
    stable = scene.begin("stable", strategy={**FAST, "maxHold": "20s"})
    version = scene.offer("candidate")
    scene.until_applied(25)
    scene.kube.patch(operator, {"spec": {"replicas": 0}}).raise_for_status()
    await_true("the operator is gone", lambda: not _operators(scene, system), 20)
    document = scene.recorder.document
    assert document.weight == 25
    assert document.exposure_not_after is not None
    end = datetime.fromisoformat(document.exposure_not_after)
    before = scene.traffic()["versions"].get(version, 0)
    await_true("exposure has ended", lambda: datetime.now(UTC) > end, 60)
    assert scene.traffic()["versions"].get(version, 0) > before, "the candidate was not exposed to the end"
    assert {name for name, count in scene.answers().items() if count} == {stable}
    assert scene.recorder.document == document, "somebody else wrote the document"
    scene.kube.patch(operator, {"spec": {"replicas": 1}}).raise_for_status()

    def expired() -> bool:
        return any(one["reason"] == "ExposureExpired" for one in scene.status.get("history", ()))

    scene.until("the operator has found out", expired, 60, may_roll_back=True)
    assert not scene.status.get("quarantine")
    scene.check()
