"""What pods say: proof on one of them, the soak clock, crashes, and pods that do not come back to stable."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from msgspec import structs
from rollout_world import HOUR, MINUTE, SECOND, World, bundle, conditions, spec_of

from walkforward_core.bundle import Verdict
from walkforward_core.pods import ModelState
from walkforward_operator.rollout.verify import soaked

if TYPE_CHECKING:
    from collections.abc import Callable

    from walkforward_operator.rollout.model import Pod

STRATEGY = {"shadow": {}, "phases": [{"weight": 5, "duration": "30m"}, {"weight": 100, "duration": "30m"}]}


def shadow(pods: int = 3) -> World:
    """Return a world in which v2 was put into the shadow of v1; no pod has seen it yet."""
    world = World(spec_of(strategy=STRATEGY), pods=pods)
    world.go_live()
    world.publish(bundle("v2"))
    world.reconcile()
    return world


def at_five(pods: int = 3) -> World:
    world = shadow(pods)
    world.passing()
    world.until_weight(5)
    return world


def pod(world: World, number: int = 0):  # noqa: ANN201 - a SimPod
    return list(world.pods.values())[number]


# one proves first


def test_one_pod_proves_a_candidate_before_the_others_load_it() -> None:
    world = shadow()
    pod(world).states["v2"] = ModelState.PROVING
    world.run(MINUTE)
    assert world.status.reason == "Proving"
    assert world.document.prove_on == pod(world).uid
    assert world.status.walk.verified_at is None
    states = [one.report().models["v2"].state for one in world.pods.values()]
    assert states == [ModelState.PROVING, ModelState.WAITING, ModelState.WAITING]
    pod(world).states.clear()
    world.tick()
    assert world.document.prove_on is None
    world.settle()
    assert world.status.walk.verified_at is not None


def test_the_proof_moves_on_when_its_pod_goes() -> None:
    world = shadow()
    pod(world).states["v2"] = ModelState.LOADING
    world.run(10 * SECOND)
    pod(world).terminating = True
    world.tick()
    assert world.document.prove_on == pod(world, 1).uid
    assert world.document.weight == 0
    world.replace_pods()
    world.settle()
    assert world.document.prove_on is None


def test_with_no_pod_left_the_proof_waits() -> None:
    world = shadow(1)
    pod(world).states["v2"] = ModelState.LOADING
    world.tick()
    world.scale(0)
    world.run(MINUTE)
    assert world.status.phase == "Shadow"
    world.scale(2)
    world.settle()
    assert world.status.walk.verified_at is not None


# the soak clock


def test_the_clock_starts_when_every_pod_has_it_not_when_it_is_written() -> None:
    world = at_five()
    world.passing()
    pod(world, 1).follows = False
    world.now += 31 * MINUTE
    world.reconcile()
    world.reconcile()
    assert world.document.weight == 100
    world.run(20 * MINUTE, every=MINUTE)
    assert world.status.reason == "NotVerified"
    assert pod(world, 1).name in world.status.message
    assert world.status.walk.verified_at is None
    pod(world, 1).follows = True
    world.run(31 * MINUTE, every=MINUTE)
    world.settle()
    assert world.status.phase == "Watching"


def test_a_pod_that_lags_stops_the_clock_and_never_sets_it_back() -> None:
    world = at_five()
    world.run(10 * MINUTE)
    before = soaked(world.status.walk, world.now)
    world.scale(4)
    pod(world, 3).states["v2"] = ModelState.LOADING
    world.run(5 * MINUTE)
    assert soaked(world.status.walk, world.now) == pytest.approx(before, abs=3 * SECOND)
    pod(world, 3).states.clear()
    world.run(5 * MINUTE)
    assert soaked(world.status.walk, world.now) == pytest.approx(before + 5 * MINUTE, abs=5 * SECOND)


def test_scaled_up_in_the_middle_goes_on() -> None:
    world = at_five(2)
    world.run(10 * MINUTE)
    world.scale(5)
    world.until_weight(100)
    assert {one.document.weight for one in world.pods.values()} == {100}


def test_no_pod_at_all_is_never_verified() -> None:
    world = at_five()
    world.scale(0)
    world.run(45 * MINUTE, every=MINUTE)
    assert world.document.weight == 5
    assert world.status.reason == "NotVerified"


def test_a_pod_that_no_longer_answers_is_not_verified() -> None:
    world = at_five()
    pod(world).answers = False
    world.run(45 * MINUTE, every=MINUTE)
    assert world.document.weight == 5
    assert "has not answered" in world.status.message


def of_another_bundle(found: Pod) -> Pod:
    models = {**found.report.models, "v2": structs.replace(found.report.models["v2"], digest="sha256:other")}
    return replace(found, report=structs.replace(found.report, models=models))


@pytest.mark.parametrize(
    ("say", "lack"),
    [
        (lambda found: replace(found, report_age_ms=30_000), ""),
        (lambda found: replace(found, report_age_ms=30_001), "no longer answers"),
        (of_another_bundle, "does not know v2"),
    ],
    ids=["fresh", "old", "another bundle"],
)
def test_a_word_that_is_old_or_of_another_bundle_verifies_nothing(say: Callable[[Pod], Pod], lack: str) -> None:
    world = at_five()
    seen = world._pod
    world._pod = lambda one: say(seen(one))
    world.tick()
    assert (world.status.walk.soak_since is None) == bool(lack)
    assert lack in world.status.message


def test_in_the_watch_every_pod_keeps_the_previous_model_warm() -> None:
    world = at_five()
    world.until("Watching")
    pod(world).states["v1"] = ModelState.LOADING
    world.tick()
    assert world.status.walk.soak_since is None
    assert "v1 is Loading" in world.status.message


def test_terminating_and_unready_pods_are_not_waited_for() -> None:
    world = at_five()
    pod(world, 0).terminating, pod(world, 0).follows = True, False
    pod(world, 1).ready, pod(world, 1).follows = False, False
    world.until_weight(100)


def test_a_candidate_that_never_loads_is_given_up() -> None:
    world = shadow()
    for one in world.pods.values():
        one.states["v2"] = ModelState.LOADING
    world.run(2 * HOUR, every=MINUTE)
    world.settle()
    assert world.status.reason == "HoldExpired"


# crashes


@pytest.mark.parametrize("weight", [0, 5])
def test_one_pod_that_refuses_it_ends_the_walk(weight: int) -> None:
    world = at_five() if weight else shadow()
    world.settle()
    pod(world, 2).states["v2"] = ModelState.REFUSED
    decision = world.reconcile()
    assert decision.first
    assert world.document.abort.reason == "CandidateCrashed"
    assert pod(world, 2).name in world.status.message


def test_a_pod_that_is_not_ready_is_heard_when_it_refuses_too() -> None:
    world = at_five()
    pod(world, 2).states["v2"] = ModelState.REFUSED
    pod(world, 2).ready = False
    world.reconcile()
    assert world.document.abort.reason == "CandidateCrashed"


def test_one_death_replaces_the_pod_a_second_one_ends_the_walk() -> None:
    world = at_five()
    pod(world).states["v2"] = ModelState.TRIPPED
    world.tick()
    assert world.deleted_pods == ["fx-server-1"]
    assert world.document.weight == 5
    assert conditions(world.status)["ServerTripped"][0] == "True"
    world.replace_pods()
    world.settle()
    assert "ServerTripped" not in conditions(world.status)
    assert world.document.weight == 5
    pod(world, 1).states["v2"] = ModelState.TRIPPED
    world.reconcile()
    assert world.document.weight == 0
    assert world.status.rollback.reason == "CandidateCrashed"


def test_the_death_of_the_only_pod_ends_the_walk() -> None:
    world = at_five(1)
    pod(world).states["v2"] = ModelState.TRIPPED
    world.reconcile()
    assert world.document.weight == 0
    assert world.deleted_pods == []


def test_two_deaths_at_once_end_the_walk() -> None:
    world = at_five()
    pod(world, 0).states["v2"] = pod(world, 1).states["v2"] = ModelState.TRIPPED
    world.reconcile()
    assert world.document.weight == 0


@pytest.mark.parametrize("paused", [False, True])
def test_a_server_that_crashes_again_and_again_ends_the_walk_also_while_paused(*, paused: bool) -> None:
    world = at_five()
    world.edit(paused=paused)
    world.settle()
    pod(world).crash_looping = True
    world.reconcile()
    assert world.document.weight == 0
    assert world.status.rollback.reason == "ServerCrashed"


def test_a_pod_on_its_way_out_accuses_nobody() -> None:
    world = at_five()
    pod(world).crash_looping = pod(world).terminating = True
    pod(world).states["v2"] = ModelState.REFUSED
    world.tick()
    assert world.document.weight == 5


def test_a_crash_in_the_watch_goes_back_to_the_previous_model() -> None:
    world = at_five()
    world.until("Watching")
    pod(world).states["v2"] = ModelState.REFUSED
    world.settle()
    assert world.document.stable.version == "v1"
    assert world.status.phase == "RolledBack"


# the way back


def test_back_is_back_when_stable_is_there_whatever_else_is_loaded() -> None:
    world = at_five()
    world.verdicts["psi"] = Verdict.FAIL
    world.reconcile()
    assert world.status.phase == "RollingBack"
    assert world.last.requeue_after_ms <= 2 * SECOND
    world.settle()
    assert world.status.phase == "RolledBack"
    assert "RolledBack" in world.reasons()


def test_pods_that_do_not_follow_are_replaced_one_at_a_time() -> None:
    world = at_five()
    for one in world.pods.values():
        one.follows = False
    world.verdicts["psi"] = Verdict.FAIL
    world.reconcile()
    world.run(8 * SECOND)
    assert world.deleted_pods == []
    world.run(6 * SECOND)
    assert world.deleted_pods == ["fx-server-1"]
    world.run(MINUTE)
    assert world.deleted_pods == ["fx-server-1"], "while one terminates the next one waits"
    world.replace_pods()
    world.run(10 * SECOND)
    assert world.deleted_pods == ["fx-server-1", "fx-server-2"]
    world.replace_pods()
    world.run(10 * SECOND)
    world.replace_pods()
    world.settle()
    assert world.status.phase == "RolledBack"


def test_nothing_begins_before_the_way_back_is_over() -> None:
    world = at_five()
    pod(world).follows = False
    world.verdicts["psi"] = Verdict.FAIL
    world.reconcile()
    world.verdicts.clear()
    world.publish(bundle("v3"))
    world.run(5 * SECOND)
    assert world.document.candidate is None
    pod(world).follows = True
    world.settle()
    assert world.document.candidate.version == "v3"
