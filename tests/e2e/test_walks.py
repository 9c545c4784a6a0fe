"""Walks that end well: promoted, dry, two in a row, and on bundles that real training Jobs publish."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from e2e_kube import await_true, item
from e2e_scene import FAST

from walkforward_demo.bars import FIRST, SECOND, eurusd

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e_scene import Scene

pytestmark = [pytest.mark.e2e]
MANIFESTS = Path(__file__).resolve().parents[2] / "dev" / "demo" / "manifests"


@pytest.mark.timeout(240)
def test_a_candidate_as_good_as_stable_is_promoted(scene_of: Callable[[str], Scene]) -> None:
    scene = scene_of("promoted")
    gates = {
        "psi": {},
        "sharpe": {"nonInferiority": 0.1},
        "latency": {"p95": "80ms", "minDuration": "10s"},
        "errorRate": {},
        "offlineAuc": {"min": 0.62},
    }
    # at 25 % of 80 requests a second, 200 answers take ten seconds
    phases = [{"weight": weight, "duration": "12s"} for weight in (25, 50, 100)]
    strategy = {"shadow": {"minRequests": 200}, "phases": phases, "watch": {"duration": "8s"}, "maxHold": "10m"}
    scene.begin("stable", strategy=strategy, gates=gates, approval={"required": True, "expires": "10m"}, replay={"rate": 24})
    version = scene.offer("candidate")
    scene.until("asked for the approval of 100 %", lambda: scene.status.get("phase") == "AwaitingApproval", 150)
    assert scene.recorder.weight == 50
    scene.act("approve", candidate=version, phase="100")
    scene.until_stable(version, 60)
    scene.check()
    scene.check_stable_serves(version)
    assert scene.recorder.weights(version) == [0, 25, 50, 100]
    phases_seen = [phase for _, phase in scene.recorder.phases]
    for phase in ("Shadow", "Progressing", "AwaitingApproval", "Watching"):
        assert phase in phases_seen
    # latency and errors begin anew with each step; the others stand for the whole walk
    verdicts = {gate["name"]: gate["verdict"] for gate in scene.status["gates"]}
    assert {verdicts[name] for name in ("psi", "sharpe", "offlineAuc")} == {"Pass"}, verdicts


@pytest.mark.timeout(150)
def test_a_dry_run_never_exposes(scene_of: Callable[[str], Scene]) -> None:
    scene = scene_of("dry-run")
    strategy = {**FAST, "shadow": {"minRequests": 200}}
    scene.begin("stable", strategy=strategy)
    scene.change(spec={"mode": "DryRun"})
    version = scene.offer("candidate")
    scene.until("it says that it would promote", lambda: "WouldPromote" in scene.conditions(), 60)
    scene.check()
    assert scene.recorder.weights(version) == [0]
    assert scene.status["stable"]["version"] == scene.model("stable").version
    assert scene.traffic()["versions"].get(version, 0) == 0, "the candidate has answered a client"


@pytest.mark.timeout(240)
def test_of_candidates_that_come_during_a_walk_only_the_newest_is_kept(scene_of: Callable[[str], Scene]) -> None:
    scene = scene_of("two")
    retrain = item("ModelRetrain", scene.namespace, "fx", spec=_retrain_spec(scene, "risk", suspend=True))
    scene.kube.apply(retrain).raise_for_status()

    def publish(name: str) -> str:
        model = scene.model(name)
        latest = {
            "version": model.version, "uri": model.uri, "digest": model.digest, "model": model.model, "run": name,
            "at": "2026-01-01T00:00:00Z",
        }  # fmt: skip
        answer = scene.kube.patch(retrain, {"status": {"latestBundle": latest}}, subresource="status")
        assert answer.is_success, answer.text
        return model.version

    first = publish("stable")
    strategy = {**FAST, "phases": [{"weight": weight, "duration": "6s"} for weight in scene.plan], "watch": {"duration": "4s"}}
    source = {"retrainRef": {"name": "fx"}}
    scene.begin("stable", source=source, strategy=strategy, gates={"errorRate": {}})
    walked = publish("candidate")
    scene.until_weight(5)
    passed_over = publish("next")
    scene.until_weight(25)
    newest = publish("newest")
    scene.until("the newest waits", lambda: (scene.status.get("waiting") or {}).get("version") == newest, 20)
    scene.until("the first walk ends well", lambda: (scene.status.get("stable") or {}).get("version") == walked, 60)
    scene.until_stable(newest, 90)
    scene.check()
    assert scene.recorder.weights(walked) == [0, 5, 25, 100]
    assert scene.recorder.weights(newest) == [0, 5, 25, 100]
    assert scene.recorder.weights(passed_over) == [], "the one in between was walked"
    assert [one["version"] for one in scene.status["history"]] == [newest, walked, first]


@pytest.mark.timeout(240)
def test_what_a_retrain_publishes_goes_live_and_is_followed(scene_of: Callable[[str], Scene]) -> None:
    scene = scene_of("retrain")
    retrain = item("ModelRetrain", scene.namespace, "fx", spec=_retrain_spec(scene, "risk"))
    scene.kube.apply(retrain).raise_for_status()
    scene.run_retrain("fx", "first")
    first = scene.verdict("fx", "Published")
    assert first["metrics"]["auc"] >= 0.62
    scene.serve()
    scene.roll("stable", source={"retrainRef": {"name": "fx"}})
    scene.until_stable(first["version"], 90)
    await_true("the Service answers", scene.answering, 30)
    scene.replay()
    scene.kube.patch(retrain, {"spec": {"data": {"asOf": eurusd().as_of(SECOND)}}}).raise_for_status()
    scene.run_retrain("fx", "second")
    second = scene.verdict("fx", "Published", after=first["run"])
    scene.until_stable(second["version"], 120)
    scene.check()
    assert scene.recorder.weights(second["version"]) == [0, 5, 25, 100]


@pytest.mark.timeout(150)
def test_a_rejected_retrain_reaches_nothing(scene_of: Callable[[str], Scene]) -> None:
    scene = scene_of("rejected")
    retrain = item("ModelRetrain", scene.namespace, "fx", spec=_retrain_spec(scene, "direction"))
    scene.kube.apply(retrain).raise_for_status()
    scene.serve(replicas=1)
    scene.roll("stable", source={"retrainRef": {"name": "fx"}})
    scene.run_retrain("fx", "first")
    record = scene.verdict("fx", "Rejected")
    status = scene.kube.get(retrain).json()["status"]
    assert "auc" in status["message"]
    assert "0.62" in status["message"]
    assert not status.get("latestBundle")
    assert record["failed"] == ["auc"]
    scene.until("the rollout has looked", lambda: scene.status.get("reason") == "NoBundle", 20)
    assert not scene.status.get("stable")
    assert not scene.status.get("candidate")
    assert not scene.recorder.history or scene.recorder.document.stable is None


def _retrain_spec(scene: Scene, question: str, **changes: Any) -> dict[str, Any]:
    """The demo's retrain of that question, with artifacts of its own."""
    spec: dict[str, Any] = yaml.safe_load((MANIFESTS / f"retrain-{question}.yaml").read_text())["spec"]
    spec["data"]["asOf"] = eurusd().as_of(FIRST if question == "risk" else SECOND)
    spec["artifacts"]["uri"] = f"s3://models/{scene.namespace}"
    return {**spec, **changes}
