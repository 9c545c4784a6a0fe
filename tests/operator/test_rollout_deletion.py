"""Deleting a rollout: stable has everything back before the object goes, and it goes in any case."""

from __future__ import annotations

import pytest
from rollout_world import MINUTE, SECOND, World, bundle, conditions, spec_of

STRATEGY = {"shadow": {}, "phases": [{"weight": 5, "duration": "30m"}, {"weight": 100, "duration": "30m"}]}


@pytest.fixture
def world() -> World:
    """Return a world with v2 at 5 %."""
    made = World(spec_of(strategy=STRATEGY), pods=3)
    made.go_live()
    made.publish(bundle("v2"))
    made.passing()
    made.until_weight(5)
    return made


def delete(world: World) -> None:
    world.deleting_since = world.now


def test_the_finalizer_is_there_only_while_something_would_be_left_behind() -> None:
    world = World(spec_of(strategy={**STRATEGY, "watch": {"duration": "10m"}}))
    seen: list[tuple[str, bool]] = []
    world.go_live()
    world.publish(bundle("v2"))
    world.settle()
    seen.append(("shadow", world.finalizer))
    world.passing()
    world.until_weight(5)
    seen.append(("5", world.finalizer))
    world.until("Watching")
    seen.append(("watch", world.finalizer))
    world.until("Stable")
    world.settle()
    seen.append(("stable", world.finalizer))
    assert seen == [("shadow", False), ("5", True), ("watch", True), ("stable", False)]


def test_stable_takes_everything_back_and_every_pod_says_so(world: World) -> None:
    delete(world)
    world.reconcile()
    assert world.status.phase == "Terminating"
    assert world.document.weight == 0
    assert world.document.candidate is None
    assert not world.gone, "the pods have not said so yet"
    assert conditions(world.status)["Reconciling"] == ("True", "Terminating")
    world.settle()
    assert world.gone
    assert world.document.stable.version == "v1"
    assert "Released" in world.reasons()


def test_it_does_not_wait_for_a_pod_for_ever(world: World) -> None:
    next(iter(world.pods.values())).follows = False
    delete(world)
    world.run(40 * SECOND)
    assert not world.gone
    world.run(10 * SECOND)
    assert world.gone
    assert any(reason == "Terminating" and "45 s" in message for reason, message in world.events)


def test_a_namespace_that_goes_is_not_held_up(world: World) -> None:
    delete(world)
    world.namespace_terminating = True
    world.reconcile()
    assert world.gone
    assert world.last.first == ()


def test_in_the_watch_what_was_promoted_stays(world: World) -> None:
    world.until("Watching")
    delete(world)
    world.settle()
    assert world.gone
    assert world.document.stable.version == "v2"
    assert world.document.previous is None
    assert not world.document.shadow


def test_nothing_to_bring_back_is_nothing_to_wait_for() -> None:
    world = World(spec_of(strategy=STRATEGY))
    world.go_live()
    writes = world.document_writes, world.status_writes
    delete(world)
    world.run(MINUTE)
    assert (world.document_writes, world.status_writes) == writes


def test_an_edit_while_it_is_deleted_is_put_right(world: World) -> None:
    delete(world)
    world.reconcile()
    world.rewrite(weight=50)
    world.settle()
    assert world.gone
    assert world.document.weight == 0


def test_an_edit_while_a_pod_is_waited_for_is_put_right_too(world: World) -> None:
    next(iter(world.pods.values())).follows = False
    delete(world)
    world.reconcile()
    world.tick()
    assert world.document.candidate is None
    world.rewrite(candidate=bundle("v2").ref, weight=50)
    world.tick()
    assert (world.document.candidate, world.document.weight) == (None, 0)


def test_a_document_of_another_rollout_is_left_alone(world: World) -> None:
    world.stored.owner = other = "22222222-2222-2222-2222-222222222222"
    world.living_owners[other] = "another"
    text = world.stored.text
    delete(world)
    world.settle()
    assert world.gone
    assert world.stored.text == text


def test_the_document_is_gone_already(world: World) -> None:
    world.stored = None
    delete(world)
    world.settle()
    assert world.gone
    assert world.stored is None


def test_deleted_on_its_way_back(world: World) -> None:
    world.annotate("abort", id="1", candidate="v2")
    world.reconcile()
    delete(world)
    world.settle()
    assert world.gone
    assert world.document.weight == 0


def test_the_target_has_no_pod_any_more(world: World) -> None:
    world.scale(0)
    delete(world)
    world.settle()
    assert world.gone
    assert world.document.weight == 0


def test_what_is_left_behind_is_adopted_by_a_successor(world: World) -> None:
    delete(world)
    world.settle()
    successor = World(spec_of(strategy=STRATEGY))
    successor.stored = world.stored
    successor.stored.owner = "uid-of-the-deleted-one"
    successor.publish(bundle("v2"))
    successor.bundles[bundle("v1").ref.digest] = bundle("v1")
    successor.settle()
    assert successor.document.stable.version == "v1"
    assert successor.document.candidate.version == "v2"
