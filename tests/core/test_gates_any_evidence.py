"""Whatever pods say, gates answer: NoData with a reason, never an exception."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire_values import values

from walkforward_core.bundle import Verdict
from walkforward_core.evidence import Bank, Evidence
from walkforward_core.gates import (
    ErrorRateConfig,
    GateReason,
    LatencyConfig,
    OfflineAucConfig,
    PsiConfig,
    SharpeConfig,
    SharpeMode,
    error_rate,
    latency,
    offline_auc,
    psi,
    sharpe,
)
from walkforward_core.pods import ModelRole
from walkforward_core.stats import StatsDocument

counts = st.integers(-5, 400)
version = st.sampled_from(["stable", "candidate"])
batch = st.tuples(st.integers(-1, 20).map(float), *[st.floats(-1e300, 1e300) | st.floats(-1, 1)] * 5)
FIXED = {
    "generation": st.integers(13, 16),
    "version": version,
    "stable": st.just("stable"),
    "candidate": st.just("candidate"),
    "pod_uid": st.sampled_from("abc"),
    "boot": st.just("x"),
    "seq": st.integers(0, 3),
    "role": st.sampled_from([ModelRole.STABLE, ModelRole.CANDIDATE]),
    "edges_digest": st.just(""),
    "FeatureCounts.counts": st.lists(st.lists(counts, min_size=9, max_size=10).map(tuple), max_size=2).map(tuple),
    "missing": st.lists(counts, max_size=2).map(tuple),
    "beyond": st.lists(counts, max_size=2).map(tuple),
    "FeatureCounts.min": st.lists(st.none() | st.floats(-1, 1), max_size=2).map(tuple),
    "FeatureCounts.max": st.lists(st.none() | st.floats(-1, 1), max_size=2).map(tuple),
    "score": st.just((20,) * 10) | st.lists(counts, max_size=10).map(tuple),
    "symbols": st.lists(st.sampled_from("AB"), max_size=2).map(tuple),
    "limit_ms": st.just(80.0) | st.floats(0, 100),
    "plan": st.just("plan"),
    "base_ms": st.sampled_from([18_000_000, 1]),
    "level": st.integers(0, 3),
    "Outcomes.rows": st.dictionaries(st.integers(-5, 400).map(str), batch, max_size=40),
}
JUDGES: list[tuple[Any, Any]] = [
    (psi, PsiConfig(min_samples=1, sanity_samples=1)),
    (sharpe, SharpeConfig(min_outcomes=1, min_batches=1)),
    (sharpe, SharpeConfig(mode=SharpeMode.HARM_ONLY, min_outcomes=1, min_batches=1)),
    (latency, LatencyConfig(min_samples=1)),
    (error_rate, ErrorRateConfig()),
    (offline_auc, OfflineAucConfig()),
]


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(
    documents=st.lists(values(StatsDocument, FIXED), min_size=1, max_size=3), close=st.booleans(), bar_ms=st.sampled_from([0, 1, 3_600_000])
)
def test_no_document_whatever_makes_a_gate_raise(build: Any, documents: list[StatsDocument], *, close: bool, bar_ms: int) -> None:
    bank = Bank.empty("uid", "plan", 14)
    for document in documents:
        bank = bank.absorb(document, phase_from=15)
        if close:
            bank = bank.close(bank.open_sources, phase_from=15)
    evidence = Evidence.of(bank, stable="stable", candidate="candidate", first=15, last=16)
    references = {name: build.reference(build.feature("a"), build.feature("b")) for name in ("candidate_reference", "stable_reference")}
    context = build.context(bar_ms=bar_ms, **references)
    for gate, config in JUDGES:
        result = gate.judge(config, evidence, context)
        assert result.message
        assert result.missing >= 0
        assert all(number is None or math.isfinite(number) for number in (result.value, result.threshold))


@pytest.mark.parametrize(("gate", "config"), JUDGES, ids=[f"{gate.NAME}-{number}" for number, (gate, _) in enumerate(JUDGES)])
def test_no_evidence_is_no_pass(build: Any, gate: Any, config: Any) -> None:
    nothing = Evidence.of(Bank.empty("uid", "plan", 14), stable="stable", candidate="candidate", first=14, last=14)
    result = gate.judge(config, nothing, build.context(poll_age_ms=None))
    assert result.verdict is Verdict.NO_DATA
    assert result.reason in {GateReason.NO_EVIDENCE, GateReason.REFERENCE_MISSING, GateReason.METRIC_MISSING}
