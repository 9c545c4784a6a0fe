"""The offline gates: what a candidate's metrics must show before it is published.

Judged by the trainer, and again by the operator from the manifest's metrics and the gates as they stood: one function for both.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from walkforward_core.bundle import GateRecord, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from walkforward_core.api.retrain import OfflineGates

__all__ = ["AUC", "DEGRADATION", "EXPECTANCY", "GATES", "NO_BASELINE", "PRECISION_AT_K", "SHARPE", "blocking", "explain", "judge"]

AUC: Final = "auc"
PRECISION_AT_K: Final = "precisionAtK"
SHARPE: Final = "sharpePerOutcome"
EXPECTANCY: Final = "expectancy"
DEGRADATION: Final = "degradation"
"""Names of the metrics that gates look at."""

GATES: Final = ("auc", "precisionAtK", "sharpe", "expectancy", "maxDegradation")
"""Names of the gates, as in the spec."""

NO_BASELINE: Final = "NoBaseline"
"""First word of the message of a degradation gate that had no live model to compare with."""

_REMEDIES: Final = {
    "auc": "add features that know something about the target, or ask for a target that can be known; a lower limit proves nothing",
    "precisionAtK": "a higher threshold or features that single out the strongest rows; or a k nearer to the number of events a day",
    "sharpe": "look at costs and turnover in report.html: trade less often, or only where the score is strong",
    "expectancy": "the edge does not pay its costs: check feeBps and slippage, or a longer horizon",
    "maxDegradation": "keep the live model: this one knows less; look at what changed in data and features since",
}


def judge(
    gates: OfflineGates,
    metrics: Mapping[str, float],
    *,
    baseline: bool,
    skipped: Mapping[str, str] | None = None,
) -> tuple[GateRecord, ...]:
    """Return a record for every gate that is configured, in the order of the spec.

    Parameters
    ----------
    gates:
        The gates as they stood when the run began.
    metrics:
        Metrics of the manifest; one that is missing or not finite is no evidence: ``NoData``, which is no pass.
    baseline:
        Whether a live model was given to compare with.
    skipped:
        Gates that a person asked to skip, with the reason: judged all the same, recorded as forced.
    """
    forced = skipped or {}
    floors = (
        ("auc", AUC, gates.auc.min if gates.auc else None),
        ("precisionAtK", PRECISION_AT_K, gates.precision_at_k.min if gates.precision_at_k else None),
        ("sharpe", SHARPE, gates.sharpe.min if gates.sharpe else None),
        ("expectancy", EXPECTANCY, gates.expectancy.min if gates.expectancy else None),
    )
    records = [_floor(name, metrics.get(metric), limit) for name, metric, limit in floors if limit is not None]
    if gates.max_degradation is not None:
        records.append(_degradation(metrics.get(DEGRADATION), float(gates.max_degradation.removesuffix("%")) / 100, baseline=baseline))
    return tuple(_force(record, forced) for record in records)


def blocking(records: Iterable[GateRecord]) -> tuple[GateRecord, ...]:
    """Return the records that forbid publishing: failed or without evidence, and not forced.

    The one ``NoData`` that does not block is a degradation gate that says so itself: there is no live model yet.
    """
    return tuple(
        record
        for record in records
        if record.verdict is not Verdict.PASS and not record.forced and not record.message.startswith(NO_BASELINE)
    )


def explain(record: GateRecord) -> str:
    """Return one line for a person: gate, value, threshold, what to do."""
    value = "no value" if record.value is None else f"{record.value:.4g}"
    limit = "" if record.threshold is None else f", limit {record.threshold:.4g}"
    return f"{record.name}: {value}{limit} ({record.message}); {record.remedy}"


def _floor(name: str, value: float | None, limit: float) -> GateRecord:
    if value is None or not math.isfinite(value):
        return GateRecord(
            name=name,
            value=None,
            threshold=limit,
            verdict=Verdict.NO_DATA,
            message="the metric could not be computed; no evidence is not a pass",
            remedy="more rows, or a decision that trades at all: see report.html",
        )
    verdict = Verdict.PASS if value >= limit else Verdict.FAIL
    sign = ">=" if verdict is Verdict.PASS else "<"
    return GateRecord(
        name=name,
        value=value,
        threshold=limit,
        verdict=verdict,
        message=f"{value:.4g} {sign} {limit:.4g}",
        remedy="" if verdict is Verdict.PASS else _REMEDIES[name],
    )


def _degradation(value: float | None, limit: float, *, baseline: bool) -> GateRecord:
    name = "maxDegradation"
    if not baseline:
        message = f"{NO_BASELINE}: there is no live model to compare with"
        return GateRecord(name=name, value=None, threshold=limit, verdict=Verdict.NO_DATA, message=message)
    if value is None or not math.isfinite(value):
        return GateRecord(
            name=name,
            value=None,
            threshold=limit,
            verdict=Verdict.NO_DATA,
            message="too few rows that neither model has learned from, or a baseline that answers another question",
            remedy="retrain when more new bars have come, or leave maxDegradation out: the paired gate of the rollout compares them live",
        )
    verdict = Verdict.PASS if value <= limit else Verdict.FAIL
    sign = "<=" if verdict is Verdict.PASS else ">"
    return GateRecord(
        name=name,
        value=value,
        threshold=limit,
        verdict=verdict,
        message=f"relative loss of AUC {value:.4g} {sign} {limit:.4g}",
        remedy="" if verdict is Verdict.PASS else _REMEDIES[name],
    )


def _force(record: GateRecord, forced: Mapping[str, str]) -> GateRecord:
    if record.name not in forced:
        return record
    return GateRecord(
        name=record.name,
        value=record.value,
        threshold=record.threshold,
        verdict=record.verdict,
        forced=True,
        message=f"{record.message}; skipped on request: {forced[record.name]}",
        remedy=record.remedy,
    )
