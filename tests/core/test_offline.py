"""The offline gates: boundaries, missing evidence, baseline, force."""

from __future__ import annotations

import pytest
from offline_gates import EVERY

from walkforward_core.api.offline import AucGate, DistributionGate, LeakageGate, OfflineGates
from walkforward_core.bundle import Verdict
from walkforward_core.offline import GATES, NO_BASELINE, blocking, distribution_metric, explain, judge, names

LIMITS = {
    "auc": ("auc", 0.62, "min"),
    "auc.aboveChance": ("aucAboveChance", 2.5, "min"),
    "precisionAtK": ("precisionAtK", 0.58, "min"),
    "accuracy": ("accuracy", 0.7, "min"),
    "f1": ("f1", 0.65, "min"),
    "sharpe": ("sharpePerOutcome", 0.0, "min"),
    "deflatedSharpe": ("deflatedSharpe", 0.95, "min"),
    "overfitting": ("pbo", 0.5, "max"),
    "expectancy": ("expectancy", 0.0, "min"),
    "profitFactor": ("profitFactor", 1.2, "min"),
    "winRate": ("hitRate", 0.4, "min"),
    "kelly": ("kelly", 0.0, "min"),
    "distribution.minDownPct": ("distribution.downPct", 0.30, "min"),
    "distribution.maxDownPct": ("distribution.downPct", 0.45, "max"),
    "distribution.minUpPct": ("distribution.upPct", 0.30, "min"),
    "distribution.maxUpPct": ("distribution.upPct", 0.45, "max"),
    "distribution.maxNeutralPct": ("distribution.neutralPct", 0.40, "max"),
    "distribution.minConfMean": ("distribution.confMean", 0.65, "min"),
    "distribution.minPctAboveConf060": ("distribution.pctAboveConf060", 0.40, "min"),
    "distribution.minAlphaMean": ("distribution.alphaMean", 0.12, "min"),
    "distribution.minEligibilityPct": ("distribution.eligibilityPct", 0.30, "min"),
    "leakage.shuffledAuc": ("leakage.shuffledAuc", 0.55, "max"),
    "leakage.shiftDrop": ("leakage.shiftDrop", 0.15, "max"),
    "leakage.purgeGain": ("leakage.purgeGain", 0.05, "max"),
    "maxDegradation": ("degradation", 0.1, "max"),
    "delta": ("delta", 0.05, "max"),
}
"""Every limit in the order of the spec: its metric, its number, the side on which it lies."""
GOOD = {metric: limit for metric, limit, _ in LIMITS.values()} | {"distribution.downPct": 0.30, "distribution.upPct": 0.45}
"""Every value at its limit."""


def test_a_value_at_its_limit_passes() -> None:
    records = judge(EVERY, GOOD, baseline=True)
    assert [record.name for record in records] == list(LIMITS)
    assert {record.verdict for record in records} == {Verdict.PASS}
    assert [record.threshold for record in records] == [pytest.approx(limit) for _, limit, _ in LIMITS.values()]
    assert blocking(records) == ()


def test_every_gate_has_a_limit_here() -> None:
    assert tuple(dict.fromkeys(name.partition(".")[0] for name in LIMITS)) == GATES


@pytest.mark.parametrize("gate", LIMITS)
def test_a_value_beyond_its_limit_fails_and_says_what_to_do(gate: str) -> None:
    metric, limit, side = LIMITS[gate]
    value = limit - 1e-9 if side == "min" else limit + 1e-9
    (failed,) = blocking(judge(EVERY, {**GOOD, metric: value}, baseline=True))
    assert (failed.name, failed.verdict, failed.value) == (gate, Verdict.FAIL, value)
    assert failed.threshold == pytest.approx(limit)
    assert failed.remedy
    assert explain(failed).startswith(f"{gate}: ")


@pytest.mark.parametrize("gate", LIMITS)
def test_a_value_well_within_its_limit_passes(gate: str) -> None:
    metric, limit, side = LIMITS[gate]
    records = judge(EVERY, {**GOOD, metric: limit + 0.01 if side == "min" else limit - 0.01}, baseline=True)
    assert next(record for record in records if record.name == gate).verdict is Verdict.PASS


def test_metrics_of_the_distribution_have_the_names_of_their_limits() -> None:
    assert [distribution_metric(name.partition(".")[2]) for name in LIMITS if name.startswith("distribution.")] == [
        metric for name, (metric, _, _) in LIMITS.items() if name.startswith("distribution.")
    ]


@pytest.mark.parametrize("metric", sorted(GOOD))
@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_no_evidence_is_not_a_pass(metric: str, value: float | None) -> None:
    metrics = {name: number for name, number in GOOD.items() if name != metric}
    if value is not None:
        metrics[metric] = value
    missing = blocking(judge(EVERY, metrics, baseline=True))
    assert [record.name for record in missing] == [name for name, (read, _, _) in LIMITS.items() if read == metric]
    assert {record.verdict for record in missing} == {Verdict.NO_DATA}
    assert {record.value for record in missing} == {None}
    assert all("no value" in explain(record) for record in missing)


def test_a_first_model_says_that_there_is_no_baseline_and_is_not_blocked_by_it() -> None:
    compared = judge(EVERY, GOOD, baseline=False)[-2:]
    assert [record.name for record in compared] == ["maxDegradation", "delta"]
    assert {(record.verdict, record.value) for record in compared} == {(Verdict.NO_DATA, None)}
    assert all(record.message.startswith(NO_BASELINE) for record in compared)
    assert blocking(compared) == ()


def test_skipping_the_distribution_skips_all_of_its_limits_and_no_other() -> None:
    records = judge(EVERY, {}, baseline=True, skipped={"distribution": "a new market, ticket 13"})
    assert {record.name.partition(".")[0] for record in records if record.forced} == {"distribution"}
    assert sum(record.forced for record in records) == 9


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
