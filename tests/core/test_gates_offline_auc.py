from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from walkforward_core.bundle import GateRecord, Verdict
from walkforward_core.gates import GateReason, OfflineAucConfig, offline_auc


def judge(build: Any, metrics: dict[str, float] | None, *, forced: bool = False, minimum: float = 0.62) -> Any:
    record = GateRecord(name="auc", value=0.5, threshold=0.62, verdict=Verdict.FAIL, forced=forced)
    # only these three fields are read
    manifest = None if metrics is None else SimpleNamespace(version="v1", metrics=metrics, gates=(record,))
    return offline_auc.judge(OfflineAucConfig(min=minimum), build.evidence(), build.context(manifest=manifest))


@pytest.mark.parametrize(("auc", "verdict"), [(0.62, Verdict.PASS), (0.7, Verdict.PASS), (0.6199, Verdict.FAIL), (0.0, Verdict.FAIL)])
def test_the_metric_of_the_manifest_decides(build: Any, auc: float, verdict: Verdict) -> None:
    result = judge(build, {"auc": auc})
    assert (result.verdict, result.value, result.threshold) == (verdict, auc, 0.62)


@pytest.mark.parametrize("metrics", [None, {}, {"f1": 0.9}, {"auc": math.nan}])
def test_no_metric_is_no_pass(build: Any, metrics: dict[str, float] | None) -> None:
    result = judge(build, metrics)
    assert (result.verdict, result.reason, result.value) == (Verdict.NO_DATA, GateReason.METRIC_MISSING, None)
    assert result.remedy


def test_a_gate_that_was_skipped_in_training_is_judged_here(build: Any) -> None:
    result = judge(build, {"auc": 0.55}, forced=True)
    assert result.verdict is Verdict.FAIL
    assert "skipped in training" in result.message
