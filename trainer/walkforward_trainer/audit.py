"""The audit tables of a retrain: which gates were evaluated, which runs there were; append-only JSON lines below ``<artifacts>/audit/``.

Tables and the fields ``ts_ms``, ``ts_iso``, ``gate_pass`` and ``error_msg`` keep the names that the dashboards of their predecessors read.
One object a run and table, created and never written again.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from walkforward_core.api.defaults import effective_gates
from walkforward_core.bundle import Verdict
from walkforward_core.documents import Part, encode
from walkforward_core.objectstore import create
from walkforward_core.offline import judge
from walkforward_core.runs import RunMode, RunVerdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from walkforward_core.bundle import GateRecord
    from walkforward_core.objectstore import ObjectStore
    from walkforward_core.runs import ResultDocument, RunDocument

__all__ = ["GATE_LOG", "RETRAIN_RUNS", "GateRow", "RunRow", "audit_uri", "gate_rows", "put_audit", "run_row"]

GATE_LOG: Final = "phase2_gate_log"
RETRAIN_RUNS: Final = "phase2_retrain_runs"
ELIGIBILITY: Final = {"min_age": "minAge", "min_bars": "minBars", "min_closed_trades": "minClosedTrades", "regime": "regime"}
"""Gates of ``spec.eligibility``, by the field that asks for each."""
JUDGED: Final = (RunVerdict.PUBLISHED, RunVerdict.REJECTED)


class Kind(StrEnum):
    """What a gate decides on."""

    ELIGIBILITY = "eligibility"
    """Whether there is enough to train on."""
    METRIC = "metric"
    """Whether a candidate is published."""


class _Row(Part, frozen=True, kw_only=True, rename=lambda name: name):
    """``ts_ms`` is when the run ended up here, by the clock of its pod; ``as_of`` the instant at which it pretended to happen."""

    ts_ms: int
    ts_iso: str
    retrain: str
    run: str
    mode: RunMode
    as_of: str


class GateRow(_Row, frozen=True, kw_only=True, rename=lambda name: name):
    """One evaluation of one gate; ``forced`` where a person asked that it should not stop the run."""

    kind: Kind
    gate: str
    gate_pass: bool
    verdict: Verdict
    value: float | None = None
    threshold: float | None = None
    forced: bool = False
    message: str = ""


class RunRow(_Row, frozen=True, kw_only=True, rename=lambda name: name):
    """One run; ``gate_pass`` whether eligibility was met, null where a run did not get that far; ``error_msg`` null where all was well."""

    gate_pass: bool | None
    error_msg: str | None
    verdict: RunVerdict
    reason: str
    version: str | None
    digest: str | None
    trigger: str
    requested_by: str | None


def gate_rows(run: RunDocument, result: ResultDocument, unmet: Sequence[str] | None, now_ms: int) -> list[GateRow]:
    """Return a row for each gate that was evaluated; ``unmet`` as eligibility gave it, None where it was not looked at.

    Metric gates are judged from the result's metrics, as the operator judges them.
    """
    rows = [] if unmet is None else [_eligibility_row(run, name, unmet, now_ms) for name in _asked(run)]
    if result.verdict in JUDGED or (run.mode is RunMode.SMOKE and result.metrics):
        skipped = {gate.name: gate.reason for gate in run.skip_gates}
        records = judge(effective_gates(run.spec), result.metrics, baseline=run.baseline is not None, skipped=skipped)
        rows += [_metric_row(run, record, now_ms) for record in records]
    return rows


def run_row(run: RunDocument, result: ResultDocument, unmet: Sequence[str] | None, now_ms: int) -> RunRow:
    """Return the row of a run that has ended."""
    fine = result.verdict in (RunVerdict.PUBLISHED, RunVerdict.DRY_RUN, RunVerdict.CALIBRATED)
    return RunRow(
        **_common(run, now_ms),
        gate_pass=None if unmet is None else not unmet,
        error_msg=None if fine else result.message,
        verdict=result.verdict,
        reason=result.reason,
        version=result.version or None,
        digest=result.digest or None,
        trigger=run.trigger.kind,
        requested_by=run.trigger.by or None,
    )


def put_audit(store: ObjectStore, run: RunDocument, result: ResultDocument, unmet: Sequence[str] | None, now_ms: int) -> None:
    """Write both tables' records of a run that has ended; the same once more writes nothing.

    Raises
    ------
    StoreError
        The store did not do as asked.
    """
    gates = gate_rows(run, result, unmet, now_ms)
    if gates:
        create(store, audit_uri(run.spec.artifacts.uri, GATE_LOG, run.run, now_ms), _lines(gates))
    create(store, audit_uri(run.spec.artifacts.uri, RETRAIN_RUNS, run.run, now_ms), _lines([run_row(run, result, unmet, now_ms)]))


def audit_uri(artifacts: str, table: str, run: str, now_ms: int) -> str:
    """Return the address of a run's record.

    >>> audit_uri("s3://models/fx", RETRAIN_RUNS, "fx-1a2b3c4d", 1_704_153_600_250)
    's3://models/fx/audit/phase2_retrain_runs/2024/01/20240102T000000.250Z-fx-1a2b3c4d.json'
    """
    moment = datetime.fromtimestamp(now_ms / 1000, UTC)
    folder = f"{artifacts.rstrip('/')}/audit/{table}/{moment:%Y/%m}"
    return f"{folder}/{moment:%Y%m%dT%H%M%S}.{now_ms % 1000:03d}Z-{run}.json"


def _asked(run: RunDocument) -> list[str]:
    return [name for field, name in ELIGIBILITY.items() if getattr(run.spec.eligibility, field) is not None]


def _eligibility_row(run: RunDocument, name: str, unmet: Sequence[str], now_ms: int) -> GateRow:
    """Return the row of one gate; each sentence of ``unmet`` begins with the field that it is about."""
    said = [sentence for sentence in unmet if f"eligibility.{name}:" in sentence]
    return GateRow(
        **_common(run, now_ms),
        kind=Kind.ELIGIBILITY,
        gate=name,
        gate_pass=not said,
        verdict=Verdict.FAIL if said else Verdict.PASS,
        forced=run.force and bool(said),
        message="; ".join(said),
    )


def _metric_row(run: RunDocument, record: GateRecord, now_ms: int) -> GateRow:
    return GateRow(
        **_common(run, now_ms),
        kind=Kind.METRIC,
        gate=record.name,
        gate_pass=record.verdict is Verdict.PASS,
        verdict=record.verdict,
        value=record.value,
        threshold=record.threshold,
        forced=record.forced,
        message=record.message,
    )


def _common(run: RunDocument, now_ms: int) -> dict[str, Any]:
    moment = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "ts_ms": now_ms,
        "ts_iso": moment,
        "retrain": f"{run.retrain.namespace}/{run.retrain.name}",
        "run": run.run,
        "mode": run.mode,
        "as_of": run.as_of,
    }


def _lines(rows: Iterable[_Row]) -> bytes:
    return b"".join(encode(row) + b"\n" for row in rows)
