"""The annotation that asks for a run."""

from __future__ import annotations

import json

import pytest

from walkforward_core.api.offline import AucGate, DistributionGate, LeakageGate, MinGate, OfflineGates
from walkforward_core.runs import RunMode, SkippedGate
from walkforward_operator.retrain.manual import RequestError, parse

GATES = OfflineGates(auc=AucGate(), sharpe=MinGate(min=0.1), max_degradation="10%")


def text(**fields: object) -> str:
    return json.dumps({"id": "1", "by": "alice", **fields})


def test_a_whole_request() -> None:
    request = parse(text(mode="Smoke", force=True, skipGates="auc, maxDegradation,auc", reason=" new target "))
    assert (request.id, request.by, request.mode, request.force) == ("1", "alice", RunMode.SMOKE, True)
    assert request.skipped(GATES) == (
        SkippedGate(name="auc", reason="new target"),
        SkippedGate(name="maxDegradation", reason="new target"),
    )


def test_one_limit_of_a_gate_can_be_skipped_and_the_whole_gate() -> None:
    gates = OfflineGates(auc=AucGate(), distribution=DistributionGate(), leakage=LeakageGate())
    asked = "distribution.minUpPct,leakage.shuffledAuc,distribution"
    assert [gate.name for gate in parse(text(skipGates=asked, reason="x")).skipped(gates)] == asked.split(",")
    with pytest.raises(RequestError, match=r"leakage\.shuffledAUC"):
        parse(text(skipGates="leakage.shuffledAUC", reason="x")).skipped(gates)
    with pytest.raises(RequestError, match="has only auc"):
        parse(text(skipGates="distribution.minUpPct", reason="x")).skipped(GATES)


def test_the_least_request() -> None:
    request = parse(text())
    assert (request.mode, request.force, request.skipped(GATES)) == (RunMode.FULL, False, ())


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("now!", "cannot be read"),
        ("", "cannot be read"),
        ("[]", "array"),
        ('{"by":"alice"}', "`id`"),
        ('{"id":"1"}', "`by`"),
        ('{"id":"","by":"alice"}', "id"),
        (text(mode="Fast"), "Fast"),
        (text(force="yes"), "force"),
        (text(skipGate="auc"), "skipGate"),
        (text(skipGates=["auc"]), "skipGates"),
        (text(reason="x" * 2000), "shorten"),
        (text(id="x" * 129), "128"),
        ('{"id":"\ud800","by":"alice"}', "cannot be read"),
    ],
)
def test_what_cannot_be_read_says_why_and_what_to_write(value: str, word: str) -> None:
    with pytest.raises(RequestError, match=word):
        parse(value)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"skipGates": "precisionAtK", "reason": "x"}, "has only auc, sharpe, maxDegradation"),
        ({"skipGates": "AUC", "reason": "x"}, "correct the name"),
        ({"skipGates": "auc"}, "needs a reason"),
        ({"skipGates": "auc", "reason": "  "}, "needs a reason"),
    ],
)
def test_skipping_a_gate_must_be_meant_and_explained(fields: dict[str, str], word: str) -> None:
    with pytest.raises(RequestError, match=word):
        parse(text(**fields)).skipped(GATES)
