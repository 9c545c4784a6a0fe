"""Candidates that must not stay: each is found out by the gate that is made for it, and stable serves as if nothing had been."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from e2e_kube import await_true
from e2e_models import ODD_FEATURE
from e2e_scene import FAST

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e_scene import Scene

    Note = Callable[..., None]

pytestmark = [pytest.mark.e2e]
HINDSIGHT_BAR = 2_950
"""Within the window that the model in hindsight was trained on."""


def _rolled_back(scene: Scene, stable: str, candidate: str, reason: str, seconds: float) -> dict[str, Any]:
    """Wait for the way back and assert what is the same for every one; return the status."""
    status = scene.until_rolled_back(seconds)
    assert status["rollback"]["reason"] == reason, scene.recorder.told()
    assert status["stable"]["version"] == stable
    assert [one["version"] for one in status["quarantine"]] == [candidate]
    assert "Stalled" in scene.conditions(), "a pinned bundle that went back is not what was declared"
    scene.check_stable_serves(stable)
    scene.check()
    return status


def _note(note: Note, scene: Scene, status: dict[str, Any]) -> None:
    """Keep how long the way back took, from the verdict to the last pod's word."""
    back = status["rollback"]
    took = datetime.fromisoformat(back["verifiedAt"]) - datetime.fromisoformat(back["at"])
    note(scene.scenario, reason=back["reason"], decidedToVerifiedMs=round(took.total_seconds() * 1000), pods=len(scene.pods()))


@pytest.mark.timeout(150)
def test_a_foreign_unit_is_found_by_the_psi_gate(scene_of: Callable[[str], Scene], note_latency: Note) -> None:
    scene = scene_of("drift")
    stable = scene.begin("stable")
    candidate = scene.offer("vendor")
    status = _rolled_back(scene, stable, candidate, "PsiFailed", 60)
    # fifty bars are enough, and no phase ended before
    assert scene.recorder.weights(candidate) == [0, 5]
    assert "log_volume" in status["rollback"]["message"]
    _note(note_latency, scene, status)


@pytest.mark.timeout(150)
def test_a_slow_candidate_is_found_by_the_latency_gate(scene_of: Callable[[str], Scene], note_latency: Note) -> None:
    scene = scene_of("slow")
    # half of the keys: 200 answers of the candidate come within seconds
    strategy = {**FAST, "phases": [{"weight": 50, "duration": "20s"}, {"weight": 100, "duration": "20s"}]}
    stable = scene.begin("stable", strategy=strategy, gates={"latency": {"p95": "4ms", "minDuration": "15s"}, "errorRate": {}})
    candidate = scene.offer("slow")
    status = _rolled_back(scene, stable, candidate, "LatencyFailed", 75)
    assert scene.recorder.weights(candidate) == [0, 50]
    _note(note_latency, scene, status)


@pytest.mark.timeout(150)
def test_a_candidate_that_loses_money_is_found_by_the_sharpe_gate(scene_of: Callable[[str], Scene], note_latency: Note) -> None:
    scene = scene_of("harm")
    gates = {"sharpe": {"evidence": "InPhases"}, "errorRate": {}}
    strategy = {**FAST, "phases": [{"weight": 5, "duration": "30s"}, {"weight": 100, "duration": "10s"}]}
    stable = scene.begin("hindsight", strategy=strategy, gates=gates, replay={"first": HINDSIGHT_BAR})
    candidate = scene.offer("opposite")
    status = _rolled_back(scene, stable, candidate, "SharpeFailed", 75)
    assert scene.recorder.weights(candidate) == [0, 5]
    (sharpe,) = (gate for gate in status["gates"] if gate["name"] == "sharpe")
    assert sharpe["samples"] >= 100
    assert sharpe["value"] < -0.3, "the opposite of what earns must lose"
    _note(note_latency, scene, status)


@pytest.mark.parametrize(("scenario", "how"), [("errors", "raises"), ("nan", "nan")])
@pytest.mark.timeout(150)
def test_errors_of_its_own_are_found_by_the_error_gate(
    scene_of: Callable[[str], Scene], note_latency: Note, scenario: str, how: str
) -> None:
    scene = scene_of(scenario)
    stable = scene.begin("stable", strategy={**FAST, "phases": [{"weight": 50, "duration": "60s"}, {"weight": 100, "duration": "10s"}]})
    candidate = scene.offer(how)
    scene.until_applied(50)
    # rows come up that golden rows have not: the candidate is asked first in half of them, and stable must answer
    scene.replay(ODD_FEATURE=ODD_FEATURE, ODD_VALUE="100", ODD_EVERY="2", ODD_CLIENTS="yes")
    status = _rolled_back(scene, stable, candidate, "ErrorRateFailed", 60)
    assert scene.recorder.weights(candidate) == [0, 50]
    assert scene.traffic()["fallback"] > 0, "stable has answered for the candidate where it failed"
    _note(note_latency, scene, status)


@pytest.mark.timeout(240)
def test_a_candidate_that_kills_its_process_is_taken_back(scene_of: Callable[[str], Scene], note_latency: Note) -> None:
    scene = scene_of("kills")
    # every 25 seconds a row that stable answers and the candidate then scores in the shadow: that process is gone. The pod that it took
    # is replaced before the next one comes
    odd = {"ODD_FEATURE": ODD_FEATURE, "ODD_VALUE": "100", "ODD_EVERY": "500"}
    strategy = {**FAST, "phases": [{"weight": 5, "duration": "120s"}, {"weight": 100, "duration": "10s"}]}
    stable = scene.begin("stable", strategy=strategy, replay=odd)
    candidate = scene.offer("kills")
    status = _rolled_back(scene, stable, candidate, "CandidateCrashed", 120)
    assert scene.recorder.weights(candidate)[:2] == [0, 5]
    _note(note_latency, scene, status)


@pytest.mark.timeout(150)
def test_an_abort_is_on_every_pod_within_seconds(scene_of: Callable[[str], Scene], note_latency: Note) -> None:
    scene = scene_of("aborted")
    stable = scene.begin("stable", strategy={**FAST, "phases": [{"weight": 25, "duration": "60s"}, {"weight": 100, "duration": "10s"}]})
    candidate = scene.offer("candidate")
    scene.until_applied(25)
    addresses = scene.addresses()

    def back_on_stable(address: str) -> float:
        await_true(f"pod {address} serves stable alone", lambda: scene.only_serves(address, stable), 10, every=0.01)
        return time.monotonic()

    asked = time.monotonic()
    scene.act("abort", candidate=candidate, reason="the desk has seen enough")
    acknowledged = time.monotonic()
    with ThreadPoolExecutor(len(addresses)) as pool:
        seen = max(pool.map(back_on_stable, addresses))
    status = _rolled_back(scene, stable, candidate, "Aborted", 30)
    assert status["rollback"]["by"] != ""
    took = seen - asked
    note_latency(
        "aborted by a person",
        orderToEveryPodMs=round(took * 1000),
        answeredToEveryPodMs=round((seen - acknowledged) * 1000),
        pods=len(addresses),
    )
    assert took < 3.0, f"{took:.2f} s from the order to the last pod"
