"""What the evidence shows beside the verdicts, and how verdicts are held: latches, dry gates, market drift, unreachable policies."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

import pytest
from msgspec import structs
from rollout_world import HOUR, MINUTE, SECOND, World, bundle, conditions, spec_of

from walkforward_core import gates as core
from walkforward_core.bundle import Verdict
from walkforward_core.routing import bucket
from walkforward_operator.rollout.judge import nothing_seen
from walkforward_operator.rollout.notices import distinct_keys

STRATEGY = {"shadow": {}, "phases": [{"weight": 5, "duration": "30m"}, {"weight": 100, "duration": "30m"}]}


@pytest.fixture
def world() -> World:
    """Return a world with v2 in the shadow of v1."""
    made = World(spec_of(strategy=STRATEGY))
    made.go_live()
    made.publish(bundle("v2"))
    made.settle()
    return made


def bitmap(keys: int, salt: str = "0" * 16) -> str:
    bits = bytearray(256)
    for number in range(keys):
        place = bucket(f"client-{number}", salt) % 2048
        bits[place // 8] |= 1 << (place % 8)
    return base64.b64encode(bytes(bits)).decode()


@pytest.mark.parametrize("keys", [0, 1, 50, 200, 1000, 3000])
def test_distinct_keys_are_counted_from_the_bitmap(keys: int) -> None:
    evidence = nothing_seen("p", "v1", "v2")
    stable = structs.replace(evidence.walk.stable, keys=bitmap(keys))
    evidence = dataclasses.replace(evidence, walk=dataclasses.replace(evidence.walk, stable=stable))
    # 10,000 buckets collide a little, and linear counting is an estimate
    assert distinct_keys(evidence) == pytest.approx(keys, rel=0.2, abs=1)


def gates(**changes: dict[str, Any]) -> dict[str, Any]:
    return {"psi": {}, "sharpe": {}, "latency": {}, "errorRate": {}, **changes}


def test_few_distinct_keys_are_too_coarse_a_split(world: World) -> None:
    assert conditions(world.status)["SplitTooCoarse"][0] == "True"


def test_too_few_requests_say_nothing_about_keys() -> None:
    world = World(spec_of(strategy=STRATEGY))
    world.requests = 900
    world.go_live()
    world.publish(bundle("v2"))
    world.settle()
    assert "SplitTooCoarse" not in conditions(world.status)


def test_a_policy_that_the_traffic_cannot_meet_is_told_before_any_exposure(world: World) -> None:
    world.values["psi"] = 0.0
    world.run(MINUTE)
    world.values["psi"] = 0.1
    world.run(20 * SECOND)
    assert conditions(world.status)["PolicyUnreachable"][0] == "True"
    message = next(one.message for one in world.status.conditions if one.type == "PolicyUnreachable")
    assert "200 distinct bars are needed" in message
    world.passing()
    world.until_weight(5)
    assert "PolicyUnreachable" not in conditions(world.status)


def result(name: str, verdict: Verdict, *signals: core.Signal, reason: core.GateReason = core.GateReason.UNDECIDED) -> core.GateResult:
    return core.GateResult(name, verdict, reason, f"{name} {verdict}", signals=signals)


def test_drift_that_both_models_see_is_the_markets(world: World) -> None:
    signal = core.Signal(core.SignalKind.MARKET_DRIFT, "volatility drifts in both", 0.9, ("vol",))
    world.passing()
    world.results["psi"] = result("psi", Verdict.PASS, signal)
    world.settle()
    assert conditions(world.status)["MarketDrift"] == ("True", "MarketDrift")
    assert world.document.weight == 5, "an alert holds nothing"
    world.results["psi"] = result("psi", Verdict.NO_DATA, signal, reason=core.GateReason.MARKET_DRIFT)
    world.run(HOUR, every=MINUTE)
    assert world.document.weight == 5, "where the gate is told to hold it says NoData"
    assert conditions(world.status)["MarketDrift"][0] == "True"
    del world.results["psi"]
    world.settle()
    assert "MarketDrift" not in conditions(world.status)


@pytest.mark.parametrize(
    ("kind", "condition"), [(core.SignalKind.INPUTS_BROKEN, "InputsBroken"), (core.SignalKind.MARGIN_TOO_WIDE, "GateNotice")]
)
def test_other_signals_are_conditions_too(world: World, kind: core.SignalKind, condition: str) -> None:
    world.results["sharpe"] = result("sharpe", Verdict.NO_DATA, core.Signal(kind, "look here"))
    world.settle()
    assert conditions(world.status)[condition] == ("True", kind)


def test_a_paired_pass_stands_for_the_rest_of_the_walk_and_harm_still_aborts(world: World) -> None:
    world.passing()
    world.until_weight(5)
    assert world.status.walk.latched
    world.verdicts["sharpe"] = Verdict.NO_DATA
    world.until_weight(100)
    gate = next(one for one in world.status.gates if one.name == "sharpe")
    assert (gate.verdict, gate.reason, gate.latched) == (Verdict.PASS, "PassedBefore", True)
    world.verdicts["sharpe"] = Verdict.FAIL
    world.settle()
    assert world.status.reason == "SharpeFailed"


def test_a_latch_is_forgotten_with_the_plan(world: World) -> None:
    world.passing("sharpe")
    world.settle()
    assert world.status.walk.latched
    world.verdicts.clear()
    world.edit(gates=gates(sharpe={"nonInferiority": 0.02}))
    world.settle()
    assert world.status.walk.latched == ()


def test_a_dry_gate_is_shown_and_neither_holds_nor_aborts(world: World) -> None:
    world.edit(gates=gates(psi={"dryRun": True}))
    world.settle()
    world.passing()
    world.verdicts["psi"] = Verdict.FAIL
    world.until_weight(100)
    shown = next(one for one in world.status.gates if one.name == "psi")
    assert (shown.verdict, shown.dry_run) == (Verdict.FAIL, True)
    assert world.status.gate == ""


def test_in_phases_the_paired_gate_is_due_before_the_weight_of_100(world: World) -> None:
    world.edit(gates=gates(sharpe={"evidence": "InPhases"}), strategy={**STRATEGY, "maxHold": "9h"})
    world.passing("psi", "latency", "errorRate")
    world.until_weight(5)
    world.run(2 * HOUR, every=MINUTE)
    assert world.document.weight == 5
    assert (world.status.phase, world.status.gate) == ("Held", "sharpe NoData")
    world.passing()
    world.until_weight(100)


def test_a_plan_without_a_shadow_loads_first_and_then_goes_to_its_first_weight() -> None:
    world = World(spec_of(strategy={"phases": STRATEGY["phases"]}, gates={"psi": {}, "latency": {}}))
    world.go_live()
    world.publish(bundle("v2"))
    seen: list[int] = []
    world.on_document = lambda document, _: seen.append(document.weight)
    world.settle()
    assert seen[0] == 0, "every pod has it before anybody meets it"
    assert seen[-1] == 5
    assert world.status.phase == "Progressing"
    world.verdicts["psi"] = Verdict.FAIL
    world.settle()
    assert world.status.reason == "PsiFailed"


def test_the_shadow_waits_for_its_requests(world: World) -> None:
    world.requests = 199
    world.passing()
    world.run(30 * MINUTE, every=MINUTE)
    assert (world.document.weight, world.status.phase, world.status.reason) == (0, "Shadow", "MinRequests")
    world.requests = 200
    world.until_weight(5)


def test_evidence_of_another_pair_counts_for_nothing(world: World) -> None:
    observed = world.observe()
    assert observed.evidence is not None
    world.passing()
    other = dataclasses.replace(observed, evidence=dataclasses.replace(observed.evidence, plan="another"))
    world.observe = lambda: other  # type: ignore[method-assign]
    decision = world.decide()
    assert decision.status.reason == "MinRequests", "none of its requests are ours"


def test_a_gate_that_gives_no_result_has_not_passed(world: World) -> None:
    world.passing()
    world.judge = lambda *_: ()  # type: ignore[method-assign,assignment]
    world.run(30 * MINUTE, every=MINUTE)
    assert world.document.weight == 0
