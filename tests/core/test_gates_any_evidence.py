"""Whatever pods say, gates answer: NoData with a reason, never an exception.

Seeded random documents, half plausible and half absurd; thousands a second, where hypothesis makes twenty of this size.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import Any

import pytest

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
from walkforward_core.stats import Bars, FeatureCounts, Latency, Outcomes, Pair, Row, StatsDocument

JUDGES: list[tuple[Any, Any]] = [
    (psi, PsiConfig(min_samples=1, sanity_samples=1)),
    (sharpe, SharpeConfig(min_outcomes=1, min_batches=1)),
    (sharpe, SharpeConfig(margin=1e-200, min_outcomes=1, min_batches=1)),
    (sharpe, SharpeConfig(mode=SharpeMode.HARM_ONLY, min_outcomes=1, min_batches=1)),
    (latency, LatencyConfig(min_samples=1)),
    (error_rate, ErrorRateConfig()),
    (offline_auc, OfflineAucConfig()),
]


class Rogue:
    """A pod that may say anything that the documents' types allow."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def some(self, make: Any, least: int, most: int) -> tuple[Any, ...]:
        return tuple(make() for _ in range(self.rng.randint(least, most)))

    def whole(self) -> int:
        return self.rng.choice([0, 1, -1, 5, 20, 200, 10**6, 2**63 - 1, -(2**63), self.rng.randint(-5, 400)])

    def count(self) -> int:
        return self.rng.choice([0, 5, 20, 20, 20, self.rng.randint(0, 60), self.rng.randint(0, 60), self.rng.choice([3, -2, 2**63 - 1])])

    def number(self) -> float:
        extremes = [0.0, 1.0, -1.0, 1e300, -1e300, 1e-300, 5e-324, 1.7e308]
        return self.rng.choice([*extremes, self.rng.uniform(-1, 1), self.rng.uniform(0, 100)])

    def extreme(self) -> float | None:
        return self.rng.choice([None, self.number()])

    def row(self) -> Row:
        rng, sane = self.rng, self.rng.random() < 0.5
        size = 2 if sane else rng.randint(0, 2)
        per = (2, 2) if sane else (0, 2)
        features = FeatureCounts(
            counts=tuple(self.some(self.count, 10, 10) if sane else self.some(self.count, 0, 11) for _ in range(size)),
            missing=self.some(self.count, *per),
            beyond=self.some(self.count, *per),
            min=self.some(self.extreme, *per),
            max=self.some(self.extreme, *per),
        )
        n, k = (rng.randint(0, 900), rng.randint(0, 90)) if sane else (self.whole(), self.whole())
        k2n = k * k / n * rng.uniform(1, 3) if sane and n else self.number()
        slices = rng.randint(0, 100) if sane else self.whole()
        taken = Latency(
            le=self.some(self.number, 0, 2),
            counts=self.some(self.count, 0, 3),
            limit_ms=80.0 if sane else self.number(),
            n=n,
            k=k,
            k2n=k2n,
            slices=slices,
        )
        bars = Bars(
            distinct=rng.randint(0, 500) if sane else self.whole(),
            symbols=self.some(lambda: rng.choice("AB"), 0, 2),
            first_ts=self.whole(),
            newest_ts=self.whole(),
        )
        role = rng.choice([ModelRole.STABLE, ModelRole.CANDIDATE])
        return Row(
            generation=rng.randint(13, 16),
            version=role.value,
            role=role,
            bars=bars,
            keys=rng.choice(["", "!", "AAAA"]),
            features=features,
            score=self.some(self.count, 10, 10) if sane else self.some(self.count, 0, 11),
            latency=taken,
        )

    def pair(self) -> Pair:
        return Pair(
            generation=self.rng.randint(13, 16),
            stable="stable",
            candidate="candidate",
            n=self.whole(),
            only_candidate_failed=self.whole(),
            only_stable_failed=self.whole(),
        )

    def batch(self) -> tuple[float, float, float, float, float, float]:
        if self.rng.random() < 0.02:
            return (self.number(), self.number(), self.number(), self.number(), self.number(), self.number())
        s, c = self.rng.gauss(0, 1), self.rng.gauss(0, 1)
        return (1.0, s, c, s * s, c * c, s * c)

    def outcomes(self) -> Outcomes:
        rows = {str(self.rng.randint(-5, 400)): self.batch() for _ in range(self.rng.randint(0, 60))}
        pair = {"plan": "plan", "stable": "stable", "candidate": "candidate", "base_ms": self.rng.choice([18_000_000, 18_000_000, 1])}
        return Outcomes(**pair, level=self.rng.choice([0, 1, 40]), rows=rows, newest=self.whole())

    def document(self) -> StatsDocument:
        return StatsDocument(
            pod_uid=self.rng.choice("abc"),
            boot="x",
            seq=self.rng.randint(0, 3),
            rows=self.some(self.row, 0, 4),
            pairs=self.some(self.pair, 0, 2),
            outcomes=self.some(self.outcomes, 0, 1),
        )


@pytest.mark.parametrize("seed", range(4))
def test_no_document_whatever_makes_a_gate_raise(build: Any, seed: int) -> None:
    rogue, verdicts = Rogue(seed), Counter[tuple[str, Verdict]]()
    references = {name: build.reference(build.feature("a"), build.feature("b")) for name in ("candidate_reference", "stable_reference")}
    for _ in range(400):
        bank = Bank.empty("uid", "plan", 14)
        for document in rogue.some(rogue.document, 1, 3):
            # over the wire, so that only what a pod can say is tried
            bank = bank.absorb(StatsDocument.parse(document.to_bytes()), phase_from=15)
            if rogue.rng.random() < 0.5:
                bank = bank.close(bank.open_sources, phase_from=15)
        evidence = Evidence.of(bank, stable="stable", candidate="candidate", first=15, last=16)
        context = build.context(bar_ms=rogue.rng.choice([0, 1, 3_600_000]), **references)
        for gate, config in JUDGES:
            result = gate.judge(config, evidence, context)
            assert result.message
            assert result.missing >= 0
            assert all(number is None or math.isfinite(number) for number in (result.value, result.threshold))
            verdicts[gate.NAME, result.verdict] += 1
    # the documents are not all absurd: each live gate came to every verdict
    assert {name for name, verdict in verdicts if verdict is Verdict.FAIL} == {"psi", "sharpe", "latency", "errorRate"}
    assert {name for name, verdict in verdicts if verdict is Verdict.PASS} >= {"sharpe", "errorRate"}


@pytest.mark.parametrize(("gate", "config"), JUDGES, ids=[f"{gate.NAME}-{number}" for number, (gate, _) in enumerate(JUDGES)])
def test_no_evidence_is_no_pass(build: Any, gate: Any, config: Any) -> None:
    nothing = Evidence.of(Bank.empty("uid", "plan", 14), stable="stable", candidate="candidate", first=14, last=14)
    result = gate.judge(config, nothing, build.context(poll_age_ms=None))
    assert result.verdict is Verdict.NO_DATA
    assert result.reason in {GateReason.NO_EVIDENCE, GateReason.REFERENCE_MISSING, GateReason.METRIC_MISSING}
