"""Edits of the routing document by others: what is an abort, what is put right, and that putting right never raises exposure."""

from __future__ import annotations

import pytest
from rollout_world import UID, World, bundle, spec_of

from walkforward_core.bundle import Verdict
from walkforward_core.routing import NO_SALT, Abort
from walkforward_operator.rollout.clock import stamp

STRATEGY = {
    "shadow": {},
    "phases": [{"weight": 5, "duration": "30m"}, {"weight": 25, "duration": "30m"}, {"weight": 100, "duration": "30m"}],
}


def at(weight: int) -> World:
    """Return a world with v2 on trial at ``weight`` percent; 0 is the shadow."""
    world = World(spec_of(strategy=STRATEGY))
    world.go_live()
    world.publish(bundle("v2"))
    world.settle()
    if weight:
        world.passing()
        world.until_weight(weight)
    world.verdicts.clear()
    world.settle()
    return world


def test_a_zero_at_three_in_the_morning_stays() -> None:
    world = at(25)
    world.rewrite(weight=0)
    world.settle()
    assert world.document.weight == 0
    assert world.document.candidate is None
    assert world.status.phase == "RolledBack"
    assert world.status.reason == "ManualRoute"
    assert [one.version for one in world.status.quarantine] == ["v2"]
    assert "RouteDrift" not in world.reasons()


@pytest.mark.parametrize("weight", [24, 5, 1])
def test_less_is_an_abort_too(weight: int) -> None:
    world = at(25)
    world.rewrite(weight=weight)
    world.settle()
    assert world.document.weight == 0
    assert world.status.reason == "ManualRoute"


@pytest.mark.parametrize(("weight", "written"), [(25, 100), (25, 26), (5, 25), (0, 100)])
def test_more_is_put_right_reported_and_counted(weight: int, written: int) -> None:
    world = at(weight)
    generation = world.document.generation
    world.rewrite(weight=written)
    world.settle()
    assert world.document.weight == weight
    assert world.document.generation == generation + 1
    assert world.reasons().count("RouteDrift") == 1
    assert world.status.routing.drift == 1
    assert world.status.walk.step == {0: 0, 5: 1, 25: 2}[weight], "the walk goes on"


def test_the_soak_clock_stands_still_while_a_foreign_document_is_there() -> None:
    world = at(5)
    world.rewrite(weight=100)
    world.follow()
    world.reconcile()
    world.reconcile()
    assert world.status.walk.soak_since is None, "the pods have not applied what was put right yet"
    world.settle()
    assert world.status.walk.soak_since is not None


@pytest.mark.parametrize("weight", [0, 25])
def test_an_abort_that_names_the_candidate_is_adopted(weight: int) -> None:
    world = at(weight)
    digest = world.status.walk.model.digest
    world.rewrite(weight=0, abort=Abort(candidate=digest, reason="PsiFailed", at=stamp(world.now)))
    world.settle()
    assert world.status.phase == "RolledBack"
    assert world.status.reason == "PsiFailed"


def test_an_abort_of_another_candidate_is_put_right() -> None:
    world = at(25)
    world.rewrite(abort=Abort(candidate="sha256:other", reason="Because", at=stamp(world.now)))
    world.settle()
    assert world.document.abort is None
    assert world.document.weight == 25
    assert "RouteDrift" in world.reasons()


def test_an_abort_of_another_candidate_is_not_taken_for_the_one_that_is_asked_for() -> None:
    world = at(25)
    digest = world.status.walk.model.digest
    rest = {"candidate": None, "weight": 0, "shadow": False, "salt": NO_SALT, "exposure_not_after": None, "measure": None}
    world.rewrite(**rest, abort=Abort(candidate="sha256:other", reason="Because", at=stamp(world.now)))
    world.annotate("abort", id="1")
    world.reconcile()
    assert world.document.abort.candidate == digest


def test_an_end_of_exposure_in_the_document_is_no_verdict_on_the_candidate() -> None:
    world = at(25)
    digest = world.status.walk.model.digest
    world.rewrite(weight=0, abort=Abort(candidate=digest, reason="ExposureExpired", at=stamp(world.now)))
    world.reconcile()
    assert world.status.history[0].reason == "ExposureExpired"
    assert world.status.quarantine == ()


def test_another_stable_model_is_put_right() -> None:
    world = at(25)
    world.rewrite(stable=bundle("v0").ref)
    world.settle()
    assert world.document.stable.version == "v1"
    assert world.document.weight == 25


def test_in_the_watch_another_stable_model_is_an_abort() -> None:
    world = at(25)
    world.passing()
    world.until("Watching")
    world.rewrite(stable=world.document.previous, previous=None)
    world.settle()
    assert world.document.stable.version == "v1"
    assert world.status.phase == "RolledBack"
    assert world.status.reason == "ManualRoute"


def test_at_rest_nothing_is_adopted_from_a_document() -> None:
    world = World()
    world.go_live()
    world.rewrite(candidate=bundle("v7").ref, weight=50)
    world.settle()
    assert world.document.candidate is None
    assert world.document.weight == 0
    assert world.status.phase == "Stable"


def test_a_newer_number_alone_is_nothing_to_tell() -> None:
    world = at(25)
    writes = world.document_writes
    world.rewrite(generation=900)
    world.settle()
    assert world.document_writes == writes
    assert "RouteDrift" not in world.reasons()
    assert world.status.routing.applied.generation == 900
    world.passing()
    world.until_weight(100)
    assert world.document.generation == 901


def test_a_document_that_was_deleted_comes_back_as_the_pods_have_it() -> None:
    world = at(25)
    text = world.document
    world.stored = None
    world.settle()
    assert world.document.weight == 25
    assert world.document.candidate == text.candidate
    assert "RouteDrift" in world.reasons()


def test_a_document_that_was_lowered_and_then_deleted_is_an_abort() -> None:
    world = at(25)
    world.rewrite(weight=0)
    world.follow()
    world.stored = None
    world.settle()
    assert world.document.weight == 0
    assert world.status.reason == "ManualRoute"


@pytest.mark.parametrize("pods", ["one lags", "none"])
def test_a_document_that_is_gone_comes_back_only_where_every_pod_has_it(pods: str) -> None:
    world = at(25)
    for pod in list(world.pods.values())[: 1 if pods == "one lags" else None]:
        pod.follows, pod.applied, pod.ready = False, None, pods == "one lags"
    world.stored = None
    world.reconcile()
    assert world.document.weight == 0
    assert world.document.abort.reason == "ManualRoute"


def test_an_older_number_alone_is_put_right() -> None:
    world = at(25)
    generation = world.document.generation
    world.rewrite(generation=1)
    world.settle()
    assert world.document.generation == generation + 1
    assert "RouteDrift" in world.reasons()


def test_a_document_that_names_an_owner_who_is_gone_is_taken_back() -> None:
    world = at(25)
    world.stored.owner = "22222222-2222-2222-2222-222222222222"
    world.settle()
    assert world.stored.owner == UID
    assert world.document.weight == 25


def test_a_document_that_cannot_be_read_is_written_again() -> None:
    world = at(25)
    world.stored.text, world.stored.version = b"no json", 99
    world.settle()
    assert world.document.weight == 25
    assert world.status.routing.drift == 1


@pytest.mark.parametrize("weight", [0, 10])
def test_a_step_that_was_lowered_before_it_was_seen_is_not_made_again(weight: int) -> None:
    world = at(5)
    world.passing()
    world.settle()
    world.now += 31 * 60_000
    world.follow()
    decision = world.decide()
    world._carry_out(decision)
    assert world.document.weight == 25
    world.rewrite(weight=weight)
    world.settle()
    assert world.document.weight == 0
    assert world.status.reason == "ManualRoute"


def test_a_step_that_was_not_written_asks_its_gates_again() -> None:
    world = at(5)
    world.passing()
    world.settle()
    world.now += 31 * 60_000
    world.follow()
    generation = world.document.generation
    decision = world.decide()
    assert decision.status.routing.pending is not None
    world._carry_out(type(decision)(status=decision.status))
    world.verdicts["latency"] = Verdict.NO_DATA
    world.settle()
    assert world.document.weight == 5
    assert world.document.generation == generation
    assert world.status.routing.pending is None
    world.passing()
    world.settle()
    assert world.document.weight == 25


def test_a_write_that_the_cluster_refuses_is_no_drift() -> None:
    world = at(25)
    world.router_error = "configmaps is forbidden"
    world.verdicts["psi"] = Verdict.FAIL
    decision = world.decide()
    assert decision.first
    # the write failed, the status says what is meant
    world._carry_out(type(decision)(status=decision.status))
    assert world.status.phase == "RollingBack"
    world.settle()
    assert world.document.weight == 0
    assert world.status.routing.drift == 0
    assert world.document.abort.reason == "PsiFailed"
