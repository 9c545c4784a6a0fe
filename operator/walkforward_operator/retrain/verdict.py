"""The offline gates, judged a second time: by the operator, from the manifest's metrics and the gates as the run began with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from walkforward_core.offline import blocking, explain, judge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from walkforward_core.bundle import GateRecord, Manifest
    from walkforward_core.runs import ResultDocument
    from walkforward_operator.retrain.status import CurrentRun

__all__ = ["contradiction", "rejection"]


def contradiction(run: CurrentRun, manifest: Manifest) -> str:
    """Return what in the manifest contradicts a publication under the run's gates; empty where nothing does."""
    records = _judge(run, manifest.metrics)
    stopped = blocking(records)
    if stopped:
        return f"judged by its gates it must not be: {explain(stopped[0])}"
    said = {gate.name: (gate.verdict, gate.forced) for gate in manifest.gates}
    for record in records:
        if said.pop(record.name, None) != (record.verdict, record.forced):
            return f"its manifest says otherwise of the gate {record.name}: judged again, it is {explain(record)}"
    return f"its manifest has gates that the run does not: {', '.join(sorted(said))}" if said else ""


def rejection(run: CurrentRun, result: ResultDocument) -> str:
    """Return a rejection for people: every failed gate with value, limit and remedy, unless the trainer said it already."""
    known = {record.name: record for record in _judge(run, result.metrics)}
    failed = [explain(known[name]) if name in known and known[name].value is not None else name for name in result.failed]
    if not failed or all(name in result.message for name in result.failed):
        return result.message or result.reason
    return "; ".join([*failed, *([result.message] if result.message else [])])


def _judge(run: CurrentRun, metrics: Mapping[str, float]) -> tuple[GateRecord, ...]:
    skipped = {gate.name: gate.reason for gate in run.skip_gates}
    return judge(run.gates, metrics, baseline=run.baseline is not None, skipped=skipped)
