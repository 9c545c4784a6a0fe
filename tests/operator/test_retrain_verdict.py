"""The operator's second look at a run, with gates of several limits: judged again limit by limit, and a lie about any one is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from retrains import NOW, manifest, result, retrain, spec

from walkforward_core.api.offline import AucGate, DeltaGate, DistributionGate, LeakageGate, MaxGate, MinGate, OfflineGates, ShareGate
from walkforward_core.bundle import Baseline, Verdict
from walkforward_core.runs import RunVerdict, SkippedGate, Trigger, TriggerKind
from walkforward_operator.retrain.job import run_document
from walkforward_operator.retrain.run import Occasion, begin
from walkforward_operator.retrain.verdict import contradiction, rejection

if TYPE_CHECKING:
    from walkforward_core.bundle import Manifest
    from walkforward_operator.retrain.status import CurrentRun

GATES = OfflineGates(
    auc=AucGate(min=0.6),
    f1=ShareGate(min=0.5),
    accuracy=ShareGate(min=0.5),
    deflated_sharpe=ShareGate(min=0.95),
    overfitting=MaxGate(max=0.2),
    expectancy=MinGate(min=0.0),
    profit_factor=MinGate(min=1.0),
    win_rate=ShareGate(min=0.5),
    distribution=DistributionGate(),
    leakage=LeakageGate(),
    max_degradation="10%",
    delta=DeltaGate(),
)
GOOD = {
    "auc": 0.7,
    "f1": 0.6,
    "accuracy": 0.7,
    "deflatedSharpe": 0.96,
    "pbo": 0.1,
    "expectancy": 0.001,
    "profitFactor": 1.2,
    "hitRate": 0.55,
    "distribution.downPct": 0.4,
    "distribution.upPct": 0.4,
    "distribution.neutralPct": 0.2,
    "distribution.confMean": 0.7,
    "distribution.pctAboveConf060": 0.5,
    "distribution.alphaMean": 0.2,
    "distribution.eligibilityPct": 0.4,
    "leakage.shuffledAuc": 0.5,
    "leakage.shiftDrop": 0.02,
    "leakage.purgeGain": 0.01,
    "degradation": 0.01,
    "delta": 0.02,
}
OCCASION = Occasion(trigger=Trigger(id="1", kind=TriggerKind.MANUAL, by="alice"), as_of="2026-03-02T12:00:00Z")


def judged(metrics: dict[str, float], *skipped: str) -> tuple[CurrentRun, Manifest]:
    """A run of these gates and the manifest that an honest trainer made of it."""
    wanted = spec(gates=GATES)
    gates = tuple(SkippedGate(name=name, reason="agreed") for name in skipped)
    occasion = Occasion(trigger=OCCASION.trigger, as_of=OCCASION.as_of, skip_gates=gates)
    run = begin(retrain(wanted), wanted, occasion, Baseline(uri="s3://models/fx/1/", digest="sha256:1"), NOW)
    return run, manifest(run_document(retrain(wanted), run, wanted), metrics)


def test_what_passes_every_limit_is_published() -> None:
    run, made = judged(GOOD)
    assert len(made.gates) == 8 + 9 + 3 + 2
    assert contradiction(run, made) == ""


@pytest.mark.parametrize("metric", sorted(GOOD))
def test_no_metric_may_be_left_out(metric: str) -> None:
    run, made = judged({name: value for name, value in GOOD.items() if name != metric})
    assert "must not be" in contradiction(run, made)


@pytest.mark.parametrize(
    ("metric", "value", "gate"),
    [
        ("distribution.upPct", 0.2, "distribution.minUpPct"),
        ("distribution.upPct", 0.5, "distribution.maxUpPct"),
        ("leakage.shuffledAuc", 0.6, "leakage.shuffledAuc"),
        ("pbo", 0.3, "overfitting"),
        ("delta", 0.2, "delta"),
    ],
)
def test_a_limit_that_does_not_hold_is_found_unless_it_was_skipped(metric: str, value: float, gate: str) -> None:
    metrics = {**GOOD, metric: value}
    run, made = judged(metrics)
    assert f"judged by its gates it must not be: {gate}" in contradiction(run, made)
    for skipped in (gate, gate.partition(".")[0]):
        run, made = judged(metrics, skipped)
        assert contradiction(run, made) == ""
    run, made = judged(metrics, "auc")
    assert gate in contradiction(run, made), "another gate was skipped"


def test_a_manifest_that_skips_more_than_the_person_did_is_found() -> None:
    run, _ = judged(GOOD, "distribution.minUpPct")
    _, made = judged(GOOD, "distribution")
    assert "its manifest says otherwise of the gate distribution." in contradiction(run, made)


def test_a_limit_that_the_run_does_not_have_or_judges_otherwise_is_found() -> None:
    run, made = judged(GOOD)
    extra = msgspec.structs.replace(made.gates[0], name="distribution.invented")
    assert "distribution.invented" in contradiction(run, msgspec.structs.replace(made, gates=(*made.gates, extra)))
    lie = tuple(msgspec.structs.replace(gate, verdict=Verdict.FAIL) if gate.name == "leakage.shiftDrop" else gate for gate in made.gates)
    assert "leakage.shiftDrop" in contradiction(run, msgspec.structs.replace(made, gates=lie))


def test_a_rejection_names_limit_value_and_remedy() -> None:
    run, _ = judged(GOOD)
    wanted = run_document(retrain(spec(gates=GATES)), run, spec(gates=GATES))
    said = result(
        wanted,
        RunVerdict.REJECTED,
        metrics={"distribution.upPct": 0.2},
        failed=("distribution.minUpPct", "leakage.shuffledAuc"),
        message="two gates",
    )
    text = rejection(run, said)
    assert "distribution.minUpPct: 0.2, limit 0.3" in text
    assert "the class target (its weights)" in text
    assert "leakage.shuffledAuc" in text, "its value was left out, there is room for eight"
