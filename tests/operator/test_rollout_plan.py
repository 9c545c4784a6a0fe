"""A spec as numbers: which gates are due at which step, what restarts a walk, how core's gates are configured."""

from __future__ import annotations

import pytest
from rollout_world import HOUR, MINUTE, bundle, spec_of

from walkforward_core import gates as core
from walkforward_core.bundle import Verdict
from walkforward_operator.rollout.clock import millis, stamp
from walkforward_operator.rollout.judge import gate_set, judge, nothing_seen
from walkforward_operator.rollout.plan import freeze_at, plan_of, required

ALL = {"psi", "sharpe", "latency", "errorRate"}
NO_SHADOW = {"phases": [{"weight": 5, "duration": "30m"}, {"weight": 100, "duration": "30m"}]}


@pytest.mark.parametrize(
    ("fields", "step", "expected"),
    [
        # the shadow asks for all that needs no exposure
        ({}, 0, ALL - {"latency"}),
        ({}, 1, ALL),
        ({}, 2, ALL),
        ({}, 3, ALL),
        # paired evidence in the phases: before the weight of 100
        ({"gates": {"psi": {}, "latency": {}, "sharpe": {"evidence": "InPhases"}}}, 0, {"psi"}),
        ({"gates": {"psi": {}, "latency": {}, "sharpe": {"evidence": "InPhases"}}}, 1, {"psi", "latency"}),
        ({"gates": {"psi": {}, "latency": {}, "sharpe": {"evidence": "InPhases"}}}, 2, {"psi", "latency", "sharpe"}),
        ({"gates": {"psi": {}, "latency": {}, "sharpe": {"evidence": "InPhases"}}}, 3, {"psi", "latency", "sharpe"}),
        # what proves nothing is not waited for
        ({"gates": {"sharpe": {"mode": "HarmOnly"}, "psi": {}}}, 3, {"psi"}),
        # dry gates are shown only
        ({"gates": {"psi": {"dryRun": True}, "errorRate": {}}}, 1, {"errorRate"}),
        # the manifest is judged at every step
        ({"gates": {"offlineAuc": {}, "latency": {}}}, 0, {"offlineAuc"}),
        ({"gates": {"offlineAuc": {}, "latency": {}}}, 2, {"offlineAuc", "latency"}),
        # without a shadow there is nothing to leave but the preparation
        ({"strategy": NO_SHADOW, "gates": {"psi": {}, "errorRate": {}, "latency": {}}}, 0, set()),
        ({"strategy": NO_SHADOW, "gates": {"psi": {}, "errorRate": {}, "latency": {}}}, 1, {"psi", "errorRate", "latency"}),
        ({"strategy": {"phases": [{"weight": 100, "duration": "30m"}]}, "gates": {"sharpe": {"evidence": "InPhases"}}}, 0, {"sharpe"}),
    ],
)
def test_which_gates_must_pass_before_a_step_is_left(fields: dict[str, object], step: int, expected: set[str]) -> None:
    assert required(plan_of(spec_of(**fields)), step) == expected


def test_a_plan_in_numbers() -> None:
    plan = plan_of(
        spec_of(approval={"required": True, "expires": "90m"}, gates={"latency": {"p95": "40ms", "minDuration": "6m"}, "psi": {}})
    )
    assert [(step.weight, step.duration_ms) for step in plan.steps] == [(5, 30 * MINUTE), (25, 30 * MINUTE), (100, 30 * MINUTE)]
    assert (plan.watch_ms, plan.max_hold_ms, plan.approval_ms) == (24 * HOUR, None, 90 * MINUTE)
    assert (plan.latency_ms, plan.slice_ms) == (40, 6_000)
    assert (plan.live, plan.pinned, plan.supersede, plan.shadow) == (True, False, False, 200)
    assert [plan.weight_after(step) for step in range(4)] == [5, 25, 100, None]


def test_a_rollout_without_gates_has_four() -> None:
    gates = plan_of(spec_of()).gates
    assert None not in (gates.psi, gates.sharpe, gates.latency, gates.error_rate)
    assert gates.offline_auc is None
    named = plan_of(spec_of(gates={"psi": {}})).gates
    assert (named.sharpe, named.latency, named.error_rate) == (None, None, None)


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        ({"phases": [{"weight": 50, "duration": "30m"}, {"weight": 20, "duration": "30m"}], "shadow": {}}, "must rise"),
        ({"phases": [{"weight": 50, "duration": "30m"}], "shadow": {}}, "end with 100"),
        ({"phases": [{"weight": 100, "duration": "30m"}]}, "ShadowFirst needs strategy.shadow"),
    ],
)
def test_a_spec_that_an_older_schema_let_through_is_named(strategy: dict[str, object], said: str) -> None:
    assert said in plan_of(spec_of(strategy=strategy)).problem
    assert plan_of(spec_of()).problem == ""


def test_a_freeze_begins_with_its_first_and_ends_before_its_last_instant() -> None:
    strategy = {"shadow": {}, "freezes": [{"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z", "reason": "new year"}]}
    plan, begin = plan_of(spec_of(strategy=strategy)), millis("2026-01-01T00:00:00Z")
    found = [freeze_at(plan, begin + offset) is not None for offset in (-1, 0, 24 * HOUR - 1, 24 * HOUR)]
    assert found == [False, True, True, False]


@pytest.mark.parametrize("now", [0, 1, 999, 1_790_000_000_123])
def test_instants_survive_a_round_trip(now: int) -> None:
    assert millis(stamp(now)) == now


def test_instants_that_people_write_are_read() -> None:
    assert millis("2026-01-01T00:00:00Z") == millis("2026-01-01T00:00:00.000000000Z") == millis("2026-01-01T01:00:00+01:00")


def test_the_gates_of_a_spec_reach_core_with_their_numbers() -> None:
    spec = spec_of(
        gates={
            "psi": {"max": 0.3, "ratio": 2.0, "minSamples": 300, "onMarketDrift": "Hold", "dryRun": True},
            "sharpe": {"mode": "HarmOnly", "nonInferiority": 0.1, "alpha": 0.01, "alphaHarm": 0.02, "minOutcomes": 200, "minBatches": 40},
            "latency": {"p95": "40ms", "minSamples": 500, "minDuration": "6m"},
            "errorRate": {"max": "2%", "expected": "0.05%", "minSamples": 400},
        }
    )
    found = gate_set(plan_of(spec).gates)
    assert found.psi == core.PsiConfig(max=0.3, ratio=2.0, min_samples=300, hold_on_market_drift=True, dry_run=True)
    assert found.sharpe == core.SharpeConfig(
        mode=core.SharpeMode.HARM_ONLY, margin=0.1, alpha=0.01, alpha_harm=0.02, min_outcomes=200, min_batches=40
    )
    assert found.latency == core.LatencyConfig(p95_ms=40, min_samples=500, min_duration_ms=360_000)
    assert found.error_rate is not None
    assert found.error_rate.max == pytest.approx(0.02)
    assert found.error_rate.expected == pytest.approx(0.0005)
    assert found.error_rate.min_samples == 400


def test_nothing_seen_is_no_data_and_only_the_manifest_can_speak() -> None:
    gates = plan_of(spec_of(gates={"psi": {}, "sharpe": {}, "latency": {}, "errorRate": {}, "offlineAuc": {"min": 0.6}})).gates
    context = core.Context(poll_age_ms=None, base_ms=HOUR, bar_ms=HOUR, manifest=bundle("v2").manifest)
    verdicts = {result.name: result.verdict for result in judge(gates, nothing_seen("p", "v1", "v2"), context)}
    assert verdicts.pop("offlineAuc") is Verdict.PASS
    assert verdicts == dict.fromkeys(ALL, Verdict.NO_DATA)


def test_only_the_gates_that_are_named_are_judged() -> None:
    context = core.Context(poll_age_ms=0, base_ms=HOUR, bar_ms=HOUR)
    results = judge(plan_of(spec_of(gates={"errorRate": {}})).gates, nothing_seen("p", "v1", "v2"), context)
    assert [result.name for result in results] == ["errorRate"]
