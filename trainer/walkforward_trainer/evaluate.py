"""Stage 10, evidence: the metrics that the gates read, from answers of ONNX graphs on rows that they have not seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from walkforward_core.offline import AUC, EXPECTANCY, PRECISION_AT_K, SHARPE
from walkforward_trainer.backtest import Backtest, backtest
from walkforward_trainer.decision import position
from walkforward_trainer.metrics import probability as metrics

if TYPE_CHECKING:
    import numpy.typing as npt

    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.fit import Fitted
    from walkforward_trainer.plan import Plan

    Vector = npt.NDArray[np.float64]

__all__ = ["Evidence", "evaluate"]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Labelled, unseen rows in time order: ``row`` their indices; the model's decisions and, beside them, the base rule's alone."""

    row: npt.NDArray[np.intp]
    y: Vector
    p: Vector
    model: Backtest
    base: Backtest
    folds: tuple[float, ...]
    metrics: dict[str, float]


def evaluate(rows: Dataset, fitted: Fitted, plan: Plan) -> Evidence:
    """Return the evidence; a metric that cannot be computed is left out, never written as a number."""
    row = np.flatnonzero(rows.known & np.isfinite(fitted.unseen))
    y, p, returns = rows.y[row], fitted.unseen[row], rows.returns[row]
    base = rows.base[row]
    taken = position(plan.decision, p, base)
    model = backtest(taken, returns, plan.round_trip)
    area = metrics.auc(y, p)
    found = {
        AUC: area,
        "aucError": metrics.auc_error(area, y, plan.target.horizon_bars),
        SHARPE: model.sharpe,
        EXPECTANCY: model.expectancy,
        PRECISION_AT_K: metrics.precision_at_k(y, p, rows.t0[row], plan.top_k),
        "baseRate": float(y.mean()),
        "outcomes": float(len(row)),
        "brier": metrics.brier(y, p),
        "ece": metrics.ece(y, p),
        "logLoss": metrics.log_loss(y, p),
        "traded": model.traded,
        "hitRate": model.hit_rate,
        "maxDrawdown": model.drawdown,
        "breakEvenCost": model.break_even,
        "pAboveThreshold": float(np.mean(p > plan.decision.threshold)),
    }
    return Evidence(
        row=row,
        y=y,
        p=p,
        model=model,
        base=backtest(base, returns, plan.round_trip),
        folds=tuple(_fold_auc(rows, fitted, split.test) for split in fitted.splits),
        metrics={name: value for name, value in found.items() if math.isfinite(value)},
    )


def _fold_auc(rows: Dataset, fitted: Fitted, test: npt.NDArray[np.intp]) -> float:
    known = test[rows.known[test]]
    return metrics.auc(rows.y[known], fitted.unseen[known])
