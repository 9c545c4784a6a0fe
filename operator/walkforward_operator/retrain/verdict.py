"""The offline gates, judged a second time: by the operator, from the manifest's numbers and the gates as the run began with them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from walkforward_core.bundle import Verdict
from walkforward_operator.retrain.manual import gates_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from walkforward_core.api.retrain import OfflineGates
    from walkforward_core.bundle import GateRecord, Manifest
    from walkforward_core.runs import ResultDocument
    from walkforward_operator.retrain.status import CurrentRun

__all__ = ["contradiction", "explain", "passes"]

DEGRADATION = "maxDegradation"


def limit_of(gates: OfflineGates, name: str) -> float:
    """Return the limit of a gate that is set: the smallest value that passes, for maxDegradation the largest, as a share."""
    gate = gates_of(gates)[name]
    if isinstance(gate, str):
        return float(gate.removesuffix("%")) / 100
    return float(gate.min)  # type: ignore[attr-defined] # every other gate has a smallest value


def passes(gates: OfflineGates, name: str, value: float) -> bool:
    """Return whether ``value`` passes the gate; a number that is none never does.

    >>> from walkforward_core.api.retrain import AucGate, OfflineGates
    >>> passes(OfflineGates(auc=AucGate(min=0.62)), "auc", 0.62), passes(OfflineGates(auc=AucGate(min=0.62)), "auc", float("nan"))
    (True, False)
    """
    limit = limit_of(gates, name)
    return value <= limit if name == DEGRADATION else value >= limit


def contradiction(run: CurrentRun, manifest: Manifest) -> str:
    """Return what in the manifest contradicts a publication under the run's gates; empty where nothing does."""
    records = {record.name: record for record in manifest.gates}
    skipped = {gate.name for gate in run.skip_gates}
    for name in gates_of(run.gates):
        record = records.get(name)
        if record is None:
            return f"the manifest has no gate {name}"
        wrong = _record(run, record, manifest.metrics, skipped=name in skipped)
        if wrong:
            return wrong
    for record in manifest.gates:
        if record.verdict is Verdict.FAIL and record.name not in skipped:
            return f"the manifest itself says that gate {record.name} failed"
    return ""


def _record(run: CurrentRun, record: GateRecord, metrics: Mapping[str, float], *, skipped: bool) -> str:
    name, value = record.name, record.value
    if value is None or not math.isfinite(value):
        unknown = name == DEGRADATION and run.baseline is None and record.verdict is Verdict.NO_DATA
        return "" if unknown or skipped else f"gate {name} has no value"
    metric = metrics.get(name)
    if metric is not None and not math.isclose(metric, value, rel_tol=1e-9, abs_tol=1e-12):
        return f"gate {name} has value {value!r}, the manifest's metric {metric!r}"
    if not passes(run.gates, name, value) and not skipped:
        return f"gate {name} with {value:.6g} does not pass its limit {limit_of(run.gates, name):.6g}"
    return ""


def explain(gates: OfflineGates, result: ResultDocument) -> str:
    """Return a rejection in one sentence: every failed gate with value and limit, then the trainer's own words (the remedy)."""
    known = gates_of(gates)
    parts = []
    for name in result.failed:
        value = result.metrics.get(name)
        if name in known and value is not None:
            side = "above" if name == DEGRADATION else "below"
            parts.append(f"{name} {value:.4g} is {side} {limit_of(gates, name):.4g}")
        else:
            parts.append(f"{name} was not passed")
    return ": ".join(part for part in ("; ".join(parts), result.message) if part) or result.reason
