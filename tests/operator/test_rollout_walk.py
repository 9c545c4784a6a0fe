"""The thin path: the first model, a candidate through shadow, 5, 25, 100 %, the watch; and the way back from everywhere."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import pytest
from rollout_world import HOUR, MINUTE, World, bundle, conditions, spec_of

from walkforward_core.bundle import Verdict
from walkforward_core.pods import ModelState
from walkforward_operator.rollout.clock import millis

if TYPE_CHECKING:
    from collections.abc import Callable


def test_from_nothing_to_promoted() -> None:
    world = World()
    first = world.go_live()
    assert world.document.stable == first.ref
    assert conditions(world.status)["Ready"] == ("True", "Bootstrapped")
    candidate = world.publish(bundle("v2"))
    world.settle()
    assert world.status.phase == "Shadow"
    assert world.document.candidate == candidate.ref
    assert world.document.weight == 0
    assert world.document.shadow
    world.passing()
    seen = []
    world.on_document = lambda document, _: seen.append(document.weight) if document.candidate is not None else None
    world.until("Watching")
    assert sorted(set(seen)) == [5, 25, 100]
    assert seen == sorted(seen)
    assert world.document.stable == candidate.ref
    assert world.document.previous == first.ref
    assert world.status.weight == 100
    assert world.finalizer
    world.until("Stable", limit_ms=25 * HOUR, every=5 * MINUTE)
    assert world.document.previous is None
    assert not world.document.shadow
    assert not world.finalizer
    assert [one.outcome for one in world.status.history] == ["Promoted", "Bootstrapped"]
    assert conditions(world.status)["Ready"] == ("True", "Promoted")


@pytest.mark.parametrize(
    ("gate", "reason"), [("psi", "PsiFailed"), ("sharpe", "SharpeFailed"), ("latency", "LatencyFailed"), ("errorRate", "ErrorRateFailed")]
)
@pytest.mark.parametrize("weight", [0, 5, 25, 100, "watch"])
def test_a_failing_gate_brings_stable_back(gate: str, reason: str, weight: int | str) -> None:
    world = World()
    first = world.go_live()
    world.publish(bundle("v2"))
    world.settle()
    world.passing()
    if weight == "watch":
        world.until("Watching")
    elif weight:
        world.until_weight(weight)
    world.verdicts[gate] = Verdict.FAIL
    decision = world.reconcile()
    assert decision.first, "the document is written before the status"
    assert world.document.weight == 0
    assert world.document.stable == first.ref
    assert world.document.candidate is None
    assert world.document.previous is None
    assert world.document.abort.reason == reason
    assert world.status.phase == "RollingBack"
    world.settle()
    assert world.status.phase == "RolledBack"
    assert world.status.reason == reason
    assert conditions(world.status)["Ready"] == ("True", "CandidateRejected")
    assert [one.version for one in world.status.quarantine] == ["v2"]
    assert not world.finalizer
    writes = world.document_writes
    world.run(HOUR, every=MINUTE)
    assert world.document_writes == writes, "a quarantined candidate is not tried again"


def a_pod_refuses(world: World) -> None:
    next(iter(world.pods.values())).states["v2"] = ModelState.REFUSED


def the_hold_expires(world: World) -> None:
    world.now = millis(world.status.walk.deadline)


CAUSES: dict[str, Callable[[World], None]] = {
    "Aborted": lambda world: world.annotate("abort", id="1"),
    "CandidateCrashed": a_pod_refuses,
    "HoldExpired": the_hold_expires,
    "ManualRoute": lambda world: world.rewrite(weight=1),
    "PsiFailed": lambda world: world.verdicts.update(psi=Verdict.FAIL),
}
"""What ends a walk, in the order that is promised."""


@pytest.mark.parametrize("reasons", [*combinations(CAUSES, 1), *combinations(CAUSES, 2), tuple(CAUSES)], ids="+".join)
def test_of_several_ends_at_once_the_first_in_order_is_told(reasons: tuple[str, ...]) -> None:
    world = World()
    world.go_live()
    world.publish(bundle("v2"))
    world.passing()
    world.until_weight(25)
    for reason in reasons:
        CAUSES[reason](world)
    assert world.reconcile().first
    assert (world.document.abort.reason, world.document.weight) == (reasons[0], 0)
    if reasons[0] == "Aborted":
        assert [action.outcome for action in world.status.actions] == ["Done"]


def test_idle_means_no_write_at_all() -> None:
    world = World(spec_of(strategy={"shadow": {}, "watch": {"duration": "1m"}}))
    world.go_live()
    world.publish(bundle("v2"))
    world.passing()
    world.until("Watching")
    world.until("Stable")
    world.settle()
    before = world.status_writes, world.document_writes, len(world.events)
    for _ in range(50):
        world.tick(MINUTE)
    assert (world.status_writes, world.document_writes, len(world.events)) == before
    assert world.last.requeue_after_ms is None
