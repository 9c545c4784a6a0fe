"""The operator dies before each single write of a whole life, and once more at the next; the end is always the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from rollout_world import HOUR, MINUTE, SECOND, Crash, World, bundle, spec_of

from walkforward_core.bundle import Verdict
from walkforward_core.routing import RoutingDocument

if TYPE_CHECKING:
    from collections.abc import Callable

PLAN = {"shadow": {}, "phases": [{"weight": 5, "duration": "10m"}, {"weight": 100, "duration": "10m"}], "watch": {"duration": "1h"}}


class Mortal(World):
    """A world whose operator dies before its n-th write, and is started again at once."""

    def __init__(self, *dies_before: int) -> None:
        super().__init__(spec_of(strategy=PLAN, approval={"required": True}))
        self.dies_before = set(dies_before)
        self.writes = 0

    def _spend(self) -> None:
        self.writes += 1
        if self.writes in self.dies_before:
            raise Crash("died before a write")

    def tick(self, ms: int = 2 * SECOND) -> None:
        self.now += ms
        for _ in range(3):
            self.follow()
            if self.gone:
                return
            try:
                self.reconcile()
            except Crash:
                continue
            return


def live(world: Mortal) -> None:
    world.publish(bundle("v1"))
    world.run(10 * SECOND)
    world.annotate("approve", id="first", candidate="v1", phase="Bootstrap")
    world.run(20 * SECOND)


def promoted(world: Mortal) -> None:
    live(world)
    world.publish(bundle("v2"))
    world.passing()
    world.run(30 * MINUTE, every=MINUTE)
    world.annotate("approve", id="1", candidate="v2", phase="100")
    world.run(3 * HOUR, every=5 * MINUTE)


def failed(world: Mortal) -> None:
    live(world)
    world.publish(bundle("v2"))
    world.passing()
    world.run(5 * MINUTE, every=30 * SECOND)
    world.verdicts["psi"] = Verdict.FAIL
    world.run(5 * MINUTE, every=30 * SECOND)


def aborted(world: Mortal) -> None:
    live(world)
    world.publish(bundle("v2"))
    world.passing()
    world.run(5 * MINUTE, every=30 * SECOND)
    world.annotate("abort", id="1", candidate="v2", reason="three in the morning")
    world.run(5 * MINUTE, every=30 * SECOND)


def superseded(world: Mortal) -> None:
    live(world)
    world.edit(onNewCandidate="Supersede")
    world.publish(bundle("v2"))
    world.passing()
    world.run(5 * MINUTE, every=30 * SECOND)
    world.publish(bundle("v3"))
    world.verdicts.clear()
    world.run(5 * MINUTE, every=30 * SECOND)


def edited(world: Mortal) -> None:
    live(world)
    world.publish(bundle("v2"))
    world.passing()
    world.run(5 * MINUTE, every=30 * SECOND)
    world.rewrite(weight=100)
    world.run(2 * MINUTE, every=30 * SECOND)


def deleted(world: Mortal) -> None:
    live(world)
    world.publish(bundle("v2"))
    world.passing()
    world.run(5 * MINUTE, every=30 * SECOND)
    world.deleting_since = world.now
    world.run(MINUTE, every=SECOND)


LIVES = [promoted, failed, aborted, superseded, edited, deleted]


def outcome(world: World) -> dict[str, Any]:
    """Return all that must not depend on where the operator died: generations, instants and repeated numbers are left out."""
    status, document = world.status, world.document
    return {
        "gone": world.gone,
        "finalizer": world.finalizer,
        "phase": status.phase,
        "weight": status.weight,
        "step": status.step,
        "served": (
            document.stable,
            document.candidate,
            document.previous,
            document.weight,
            document.shadow,
            document.split_by,
            document.salt,
        ),
        "abort": document.abort.reason if document.abort is not None else None,
        "history": [(one.version, one.outcome, one.weight) for one in status.history],
        "quarantine": [(one.version, one.reason) for one in status.quarantine],
        "actions": [(one.id, one.verb, one.outcome) for one in status.actions],
        "ledger": sorted({kind_of(text) for text in world.ledger.values()} - {"Verdict"}),
        "pods": sorted({RoutingDocument.to_bytes(pod.document) == world.stored.text for pod in world.pods.values() if pod.document}),
    }


def kind_of(text: str) -> str:
    return text.split('"kind":"', 1)[1].split('"', 1)[0]


@pytest.mark.parametrize("life", LIVES, ids=lambda one: one.__name__)
def test_dying_before_any_write_changes_nothing(life: Callable[[Mortal], None]) -> None:
    unharmed = Mortal()
    life(unharmed)
    expected = outcome(unharmed)
    for number in range(1, unharmed.writes + 1):
        world = Mortal(number)
        life(world)
        assert outcome(world) == expected, f"died before write {number} of {unharmed.writes}"


@pytest.mark.parametrize("life", [promoted, failed, deleted], ids=lambda one: one.__name__)
def test_dying_twice_in_a_row_changes_nothing(life: Callable[[Mortal], None]) -> None:
    unharmed = Mortal()
    life(unharmed)
    expected = outcome(unharmed)
    for number in range(1, unharmed.writes + 1):
        world = Mortal(number, number + 1)
        life(world)
        assert outcome(world) == expected, f"died before writes {number} and {number + 1} of {unharmed.writes}"


def test_no_decision_is_lost_on_the_way_to_the_ledger() -> None:
    world = Mortal()
    promoted(world)
    kinds = [kind_of(text) for _, text in sorted(world.ledger.items())]
    assert sorted(world.ledger) == list(range(1, len(kinds) + 1)), "without a gap"
    decisions = [kind for kind in kinds if kind != "Verdict"]
    assert decisions == ["Approve", "Bootstrap", "Start", "Step", "Approve", "Step", "Promote", "Finish"]
