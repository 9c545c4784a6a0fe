"""The offline gates: what a candidate's metrics must show before it is published.

Judged by the trainer, and again by the operator from the manifest's metrics and the gates as they stood: one function for both.
A gate is one entry in :func:`_limits`: its name in the spec, the metric that it reads, the side that passes, the limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from walkforward_core.bundle import GateRecord, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from walkforward_core.api.offline import DistributionGate, LeakageGate, OfflineGates

__all__ = [
    "ABOVE_CHANCE",
    "ACCURACY",
    "AUC",
    "DEFLATED_SHARPE",
    "DEGRADATION",
    "DELTA",
    "EXPECTANCY",
    "F1",
    "GATES",
    "KELLY",
    "LEAKAGE",
    "NO_BASELINE",
    "OVERFITTING",
    "PRECISION_AT_K",
    "PROFIT_FACTOR",
    "SHARPE",
    "WIN_RATE",
    "blocking",
    "distribution_metric",
    "explain",
    "judge",
    "limits_of",
    "names",
]

AUC: Final = "auc"
ABOVE_CHANCE: Final = "aucAboveChance"
PRECISION_AT_K: Final = "precisionAtK"
ACCURACY: Final = "accuracy"
F1: Final = "f1"
SHARPE: Final = "sharpePerOutcome"
DEFLATED_SHARPE: Final = "deflatedSharpe"
OVERFITTING: Final = "pbo"
EXPECTANCY: Final = "expectancy"
PROFIT_FACTOR: Final = "profitFactor"
WIN_RATE: Final = "hitRate"
KELLY: Final = "kelly"
DEGRADATION: Final = "degradation"
DELTA: Final = "delta"
"""Names of the metrics that gates look at."""
LEAKAGE: Final = {"shuffledAuc": "leakage.shuffledAuc", "shiftDrop": "leakage.shiftDrop", "purgeGain": "leakage.purgeGain"}
"""Metrics of the leak detector by the check that they are of."""

GATES: Final = (
    "auc",
    "precisionAtK",
    "accuracy",
    "f1",
    "sharpe",
    "deflatedSharpe",
    "overfitting",
    "expectancy",
    "profitFactor",
    "winRate",
    "kelly",
    "distribution",
    "leakage",
    "maxDegradation",
    "delta",
)
"""Names of the gates, as in the spec. Those of several limits are judged limit by limit: ``distribution.minUpPct``."""

NO_BASELINE: Final = "NoBaseline"
"""First word of the message of a gate that had no live model to compare with."""

_REMEDIES: Final = {
    "auc": "add features that know something about the target, or ask for a target that can be known; a lower limit proves nothing",
    "precisionAtK": "a higher threshold or features that single out the strongest rows; or a k nearer to the number of events a day",
    "accuracy": "look at the confusion table in report.html: which class is mistaken for which; more data, or a target that can be known",
    "f1": "look at the confusion table in report.html; class weights, more data, or another label threshold",
    "sharpe": "look at costs and turnover in report.html: trade less often, or only where the score is strong",
    "deflatedSharpe": "too little history for the number of trials: try fewer variants, or wait for more outcomes",
    "overfitting": "the best trial of the search does not stay good out of sample: search a smaller space, or keep the recipe's parameters",
    "expectancy": "the edge does not pay its costs: check feeBps and slippage, or a longer horizon",
    "profitFactor": "the edge does not pay its costs: check feeBps and slippage, or a longer horizon",
    "winRate": "raise the decision's threshold so that only strong scores are traded, or look for better features",
    "kelly": "wins are too rare or too small for what is lost, at least as far as so few trades can tell: more trades, or trade less often",
    **{
        f"distribution.{side}{end}Pct": "review the labels' threshold and the class target (its weights), or take a longer window: in a "
        "short test one side comes more often by luck; the limit stays"
        for side in ("min", "max")
        for end in ("Down", "Up")
    },
    "distribution.maxNeutralPct": "nearly everything is neutral: a lower threshold of the label, or a class target (its weights) with less "
    "of it; the limit stays",
    "distribution.minConfMean": "it is not sure enough: more data, better features, tuned hyper-parameters; the limit stays",
    "distribution.minPctAboveConf060": "it is hardly ever sure: more data, better features, tuned hyper-parameters; the limit stays",
    "distribution.minAlphaMean": "down and up look alike to it: review the labels, better features, more data; the limit stays",
    "distribution.minEligibilityPct": "too few rows may be traded: see confidence, alpha and neutral above, and forensic_report.txt; "
    "the limit stays",
    "leakage": "look for features that know the answer: joins by period instead of publication, centred windows, filled tails",
    "maxDegradation": "keep the live model: this one knows less; look at what changed in data and features since",
    "delta": "the candidate answers otherwise than the live model: look at what changed in data and features since",
}


@dataclass(frozen=True, slots=True)
class _Limit:
    """One comparison: ``floor`` passes at or above the limit, otherwise at or below; ``versus`` needs a live model."""

    gate: str
    metric: str
    limit: float
    floor: bool = True
    versus: bool = False


def distribution_metric(limit: str) -> str:
    """Return the metric that a limit of the distribution gate looks at.

    >>> distribution_metric("minDownPct"), distribution_metric("minPctAboveConf060")
    ('distribution.downPct', 'distribution.pctAboveConf060')
    """
    bare = limit.removeprefix("min").removeprefix("max")
    return f"distribution.{bare[0].lower()}{bare[1:]}"


def judge(
    gates: OfflineGates,
    metrics: Mapping[str, float],
    *,
    baseline: bool,
    skipped: Mapping[str, str] | None = None,
) -> tuple[GateRecord, ...]:
    """Return a record for every limit that is configured, in the order of the spec.

    Parameters
    ----------
    gates:
        The gates as they stood when the run began.
    metrics:
        Metrics of the manifest; one that is missing or not finite is no evidence: ``NoData``, which is no pass.
    baseline:
        Whether a live model was given to compare with.
    skipped:
        Gates, or single limits of them (``distribution.minUpPct``), that a person asked to skip, with the reason: judged all the same,
        recorded as forced.
    """
    forced = skipped or {}
    records = (_record(limit, metrics.get(limit.metric), baseline=baseline) for limit in _limits(gates))
    return tuple(_force(record, forced) for record in records)


def names(gates: OfflineGates) -> tuple[str, ...]:
    """Return what may be skipped of ``gates``: each by its name in the spec, and each limit of those that have several.

    >>> from walkforward_core.api.offline import LeakageGate, OfflineGates
    >>> names(OfflineGates(leakage=LeakageGate()))
    ('leakage', 'leakage.shuffledAuc', 'leakage.shiftDrop', 'leakage.purgeGain')
    """
    return tuple(dict.fromkeys(name for limit in _limits(gates) for name in (_gate(limit.gate), limit.gate)))


def blocking(records: Iterable[GateRecord]) -> tuple[GateRecord, ...]:
    """Return the records that forbid publishing: failed or without evidence, and not forced.

    The one ``NoData`` that does not block is a gate that says so itself: there is no live model yet.
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


def _limits(gates: OfflineGates) -> Iterator[_Limit]:
    """Yield every comparison that ``gates`` asks for."""
    floors = (
        ("auc", AUC, gates.auc),
        ("precisionAtK", PRECISION_AT_K, gates.precision_at_k),
        ("accuracy", ACCURACY, gates.accuracy),
        ("f1", F1, gates.f1),
        ("sharpe", SHARPE, gates.sharpe),
        ("deflatedSharpe", DEFLATED_SHARPE, gates.deflated_sharpe),
        ("expectancy", EXPECTANCY, gates.expectancy),
        ("profitFactor", PROFIT_FACTOR, gates.profit_factor),
        ("winRate", WIN_RATE, gates.win_rate),
        ("kelly", KELLY, gates.kelly),
    )
    limits = {name: _Limit(name, metric, gate.min) for name, metric, gate in floors if gate is not None}
    if gates.auc is not None and gates.auc.above_chance is not None:
        limits["auc.aboveChance"] = _Limit("auc.aboveChance", ABOVE_CHANCE, gates.auc.above_chance)
    if gates.overfitting is not None:
        limits["overfitting"] = _Limit("overfitting", OVERFITTING, gates.overfitting.max, floor=False)
    yield from (limit for gate in GATES for name, limit in limits.items() if _gate(name) == gate)
    if gates.distribution is not None:
        yield from _distribution(gates.distribution)
    if gates.leakage is not None:
        yield from _leakage(gates.leakage)
    if gates.max_degradation is not None:
        limit = float(gates.max_degradation.removesuffix("%")) / 100
        yield _Limit("maxDegradation", DEGRADATION, limit, floor=False, versus=True)
    if gates.delta is not None:
        yield _Limit("delta", DELTA, gates.delta.max, floor=False, versus=True)


def limits_of(gates: OfflineGates) -> list[tuple[str, float, bool]]:
    """Return name, limit and whether it is a floor, for every limit of ``gates``."""
    return [(limit.gate, limit.limit, limit.floor) for limit in _limits(gates)]


def _distribution(gate: DistributionGate) -> Iterator[_Limit]:
    for name, limit in msgspec.to_builtins(gate).items():
        yield _Limit(f"distribution.{name}", distribution_metric(name), limit, floor=name.startswith("min"))


def _leakage(gate: LeakageGate) -> Iterator[_Limit]:
    limits = (("shuffledAuc", gate.max_shuffled_auc), ("shiftDrop", gate.max_shift_drop), ("purgeGain", gate.max_purge_gain))
    for check, limit in limits:
        yield _Limit(f"leakage.{check}", LEAKAGE[check], limit, floor=False)


def _record(limit: _Limit, value: float | None, *, baseline: bool) -> GateRecord:
    name = limit.gate
    if limit.versus and not baseline:
        message = f"{NO_BASELINE}: there is no live model to compare with"
        return GateRecord(name=name, value=None, threshold=limit.limit, verdict=Verdict.NO_DATA, message=message)
    if value is None or not math.isfinite(value):
        message, remedy = _nothing(limit)
        return GateRecord(name=name, value=None, threshold=limit.limit, verdict=Verdict.NO_DATA, message=message, remedy=remedy)
    passed = value >= limit.limit if limit.floor else value <= limit.limit
    sign = (">=" if passed else "<") if limit.floor else ("<=" if passed else ">")
    return GateRecord(
        name=name,
        value=value,
        threshold=limit.limit,
        verdict=Verdict.PASS if passed else Verdict.FAIL,
        message=f"{'relative loss ' if name == 'maxDegradation' else ''}{value:.4g} {sign} {limit.limit:.4g}",
        remedy="" if passed else _REMEDIES.get(name) or _REMEDIES[_gate(name)],
    )


def _nothing(limit: _Limit) -> tuple[str, str]:
    """Return message and remedy of a metric that is not there."""
    if limit.versus:
        return (
            "too few rows that neither model has learned from, or a baseline that answers another question",
            f"retrain when more new bars have come, or leave {limit.gate} out: the paired gate of the rollout compares them live",
        )
    return (
        "the metric could not be computed; no evidence is not a pass",
        "more rows, or a decision that trades at all: see report.html",
    )


def _gate(name: str) -> str:
    """Return the gate that a limit belongs to."""
    return name.partition(".")[0]


def _force(record: GateRecord, forced: Mapping[str, str]) -> GateRecord:
    reason = forced.get(record.name, forced.get(_gate(record.name)))
    if reason is None:
        return record
    return msgspec.structs.replace(record, forced=True, message=f"{record.message}; skipped on request: {reason}")
