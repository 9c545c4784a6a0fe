"""Stage 15, report: what a person asks about a candidate, as JSON and as one page (see :mod:`walkforward_trainer.report.page`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from walkforward_core.documents import Document
from walkforward_core.offline import blocking, explain
from walkforward_trainer.metrics.probability import calibration_curve
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from walkforward_core.bundle import GateRecord
    from walkforward_trainer.backtest import Backtest
    from walkforward_trainer.data.quality import QualityFacts
    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.evaluate import Evidence
    from walkforward_trainer.fit import Fitted
    from walkforward_trainer.plan import Plan

__all__ = ["Report", "make_report"]

CURVE_POINTS: Final = 240


class Report(Document, frozen=True, kw_only=True):
    """``report.json``; times RFC 3339 UTC, returns as shares of the traded value."""

    NAME: ClassVar[str] = "report"

    question: dict[str, Any]
    data: dict[str, Any]
    gates: tuple[Any, ...]
    failed: tuple[str, ...]
    notes: tuple[str, ...]
    metrics: dict[str, float]
    folds: tuple[dict[str, Any], ...]
    backtest: dict[str, dict[str, float]]
    equity_times: tuple[str, ...]
    equity: dict[str, tuple[float, ...]]
    calibration: tuple[tuple[float, float, int], ...]
    features: dict[str, float]
    knots: dict[str, Any]


def make_report(
    plan: Plan,
    rows: Dataset,
    fitted: Fitted,
    evidence: Evidence,
    *,
    facts: QualityFacts,
    gates: tuple[GateRecord, ...],
    metrics: dict[str, float],
    notes: tuple[str, ...],
) -> Report:
    """Return the report; nothing in it depends on when or by which run it was made."""
    return Report(
        question=_question(plan, rows),
        data={
            "symbol": plan.symbol,
            "timeframe": plan.data.timeframe,
            "asOf": timestamp(plan.as_of_ms),
            "from": timestamp(int(rows.t0[0]) - plan.bar_ms),
            "to": timestamp(int(rows.t0[-1])),
            "rows": len(rows),
            "labelled": int(rows.known.sum()),
            "quality": facts,
        },
        gates=gates,
        failed=tuple(explain(record) for record in blocking(gates)),
        notes=notes,
        metrics=metrics,
        folds=tuple(_fold(index, fitted, rows, evidence) for index in range(len(fitted.splits))),
        backtest={"model": _numbers(evidence.model), "baseRule": _numbers(evidence.base)},
        equity_times=tuple(timestamp(int(rows.t0[row])) for row in evidence.row[_points(len(evidence.row))]),
        equity={
            "model": _curve(evidence.model),
            "baseRule": _curve(evidence.base),
        },
        calibration=tuple(calibration_curve(evidence.y, evidence.p)),
        features=_split_shares(rows.names, fitted),
        knots={
            "weights": fitted.tail.weights.tolist(),
            "bias": fitted.tail.bias,
            "x": fitted.tail.x.tolist(),
            "y": fitted.tail.y.tolist(),
        },
    )


def _question(plan: Plan, rows: Dataset) -> dict[str, Any]:
    return {
        "target": plan.target,
        "features": rows.names,
        "model": plan.model,
        "decision": plan.decision,
        "baseRule": plan.base_rule,
        "roundTrip": plan.round_trip,
        "validation": plan.validation,
    }


def _fold(index: int, fitted: Fitted, rows: Dataset, evidence: Evidence) -> dict[str, Any]:
    split = fitted.splits[index]
    return {
        "from": timestamp(int(rows.t0[split.test[0]])),
        "to": timestamp(int(rows.t0[split.test[-1]])),
        "train": len(split.train),
        "test": len(split.test),
        "purged": split.purged,
        "embargoed": split.embargoed,
        # JSON knows no NaN: a fold with one answer only has none
        "auc": None if np.isnan(evidence.folds[index]) else evidence.folds[index],
    }


def _numbers(outcome: Backtest) -> dict[str, float]:
    found = {
        "outcomes": float(outcome.outcomes),
        "traded": outcome.traded,
        "expectancy": outcome.expectancy,
        "sharpePerOutcome": outcome.sharpe,
        "hitRate": outcome.hit_rate,
        "maxDrawdown": outcome.drawdown,
        "breakEvenCost": outcome.break_even,
    }
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _points(count: int) -> Any:
    return np.unique(np.linspace(0, max(count - 1, 0), min(CURVE_POINTS, count)).astype(np.intp))


def _curve(outcome: Backtest) -> tuple[float, ...]:
    return tuple(np.cumsum(outcome.net)[_points(outcome.outcomes)].tolist())


def _split_shares(names: tuple[str, ...], fitted: Fitted) -> dict[str, float]:
    """Return for each feature the share of the trees' splits that look at it, largest first."""
    count = np.zeros(len(names))
    for base in fitted.bases:
        trees = base.trees()
        count += np.bincount(trees.feature[trees.yes >= 0], minlength=len(count))
    order = np.argsort(-count, kind="stable")
    return {names[at]: float(count[at] / max(count.sum(), 1.0)) for at in order.tolist()}
