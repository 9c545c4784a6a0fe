"""The offline gates: boundaries, missing evidence, baseline, force."""

from __future__ import annotations

import pytest

from walkforward_core.api.offline import AucGate, DistributionGate, LeakageGate, MinGate, OfflineGates, PrecisionGate
from walkforward_core.bundle import Verdict
from walkforward_core.offline import NO_BASELINE, blocking, explain, judge, names

EVERY = OfflineGates(
    auc=AucGate(min=0.62),
    precision_at_k=PrecisionGate(k=20, min=0.58),
    sharpe=MinGate(min=0.0),
    expectancy=MinGate(min=0.0),
    max_degradation="10%",
)
GOOD = {"auc": 0.62, "precisionAtK": 0.58, "sharpePerOutcome": 0.0, "expectancy": 0.0, "degradation": 0.1}


def test_a_value_at_its_limit_passes() -> None:
    records = judge(EVERY, GOOD, baseline=True)
    assert [record.name for record in records] == ["auc", "precisionAtK", "sharpe", "expectancy", "maxDegradation"]
    assert {record.verdict for record in records} == {Verdict.PASS}
    assert blocking(records) == ()


@pytest.mark.parametrize(
    ("metric", "value", "gate"),
    [
        ("auc", 0.6199, "auc"),
        ("precisionAtK", 0.57, "precisionAtK"),
        ("sharpePerOutcome", -1e-9, "sharpe"),
        ("expectancy", -1e-9, "expectancy"),
        ("degradation", 0.1001, "maxDegradation"),
    ],
)
def test_a_value_beyond_its_limit_fails_and_says_what_to_do(metric: str, value: float, gate: str) -> None:
    (failed,) = blocking(judge(EVERY, {**GOOD, metric: value}, baseline=True))
    assert (failed.name, failed.verdict, failed.value) == (gate, Verdict.FAIL, value)
    assert failed.threshold is not None
    assert failed.remedy
    assert explain(failed).startswith(f"{gate}: ")


@pytest.mark.parametrize("metric", sorted(GOOD))
@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_no_evidence_is_not_a_pass(metric: str, value: float | None) -> None:
    metrics = {name: number for name, number in GOOD.items() if name != metric}
    if value is not None:
        metrics[metric] = value
    (missing,) = blocking(judge(EVERY, metrics, baseline=True))
    assert missing.verdict is Verdict.NO_DATA
    assert missing.value is None
    assert "no value" in explain(missing)


def test_a_first_model_says_that_there_is_no_baseline_and_is_not_blocked_by_it() -> None:
    record = judge(EVERY, GOOD, baseline=False)[-1]
    assert (record.verdict, record.value) == (Verdict.NO_DATA, None)
    assert record.message.startswith(NO_BASELINE)
    assert blocking([record]) == ()


def test_a_skipped_gate_is_judged_recorded_and_does_not_block() -> None:
    records = judge(EVERY, {**GOOD, "auc": 0.5}, baseline=True, skipped={"auc": "agreed with risk, ticket 12"})
    assert records[0].verdict is Verdict.FAIL
    assert records[0].forced
    assert "ticket 12" in records[0].message
    assert blocking(records) == ()


def test_one_limit_can_be_skipped_and_the_others_still_block() -> None:
    gates = OfflineGates(auc=AucGate(), distribution=DistributionGate(), leakage=LeakageGate())
    metrics = {"auc": 0.7, "distribution.upPct": 0.1, "leakage.shuffledAuc": 0.6, "leakage.shiftDrop": 0.0, "leakage.purgeGain": 0.0}
    records = judge(
        gates, metrics, baseline=False, skipped={"leakage.shuffledAuc": "seen", "distribution.minUpPct": "one quarter of falls"}
    )
    assert [record.name for record in records if record.forced] == ["distribution.minUpPct", "leakage.shuffledAuc"]
    stopped = {record.name for record in blocking(records)}
    assert stopped == {name for name in names(gates) if name.startswith("distribution.")} - {
        "distribution.minUpPct",
        "distribution.maxUpPct",
    }
    assert blocking(judge(gates, metrics, baseline=False, skipped={"distribution": "all of it", "leakage": "too"})) == ()


def test_only_configured_gates_are_judged() -> None:
    assert [record.name for record in judge(OfflineGates(auc=AucGate()), {}, baseline=False)] == ["auc"]
