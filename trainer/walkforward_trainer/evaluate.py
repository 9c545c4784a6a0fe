"""Stage 10, evidence: the metrics that the gates read, from answers of ONNX graphs on rows that they have not seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from walkforward_core.bundle import DecisionKind
from walkforward_core.offline import ABOVE_CHANCE, ACCURACY, AUC, EXPECTANCY, F1, KELLY, PRECISION_AT_K, PROFIT_FACTOR, SHARPE, WIN_RATE
from walkforward_trainer.backtest import PROFIT_FACTOR_CAP, Backtest, backtest, filter_table
from walkforward_trainer.balance import balance_weights
from walkforward_trainer.decision import position
from walkforward_trainer.metrics import classes, probability
from walkforward_trainer.metrics.sharpe import Moments, disjoint, moments, probabilistic, track_record
from walkforward_trainer.metrics.sizing import stake
from walkforward_trainer.weighing import weighed

if TYPE_CHECKING:
    import numpy.typing as npt

    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.fit import Fitted
    from walkforward_trainer.plan import Plan

    Vector = npt.NDArray[np.float64]

__all__ = ["Evidence", "evaluate"]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Labelled, unseen rows in time order; the model's decisions and, beside them, the base rule's alone.

    Parameters
    ----------
    row
        Their indices.
    y
        Their classes.
    classes
        Probabilities, shape (n, classes).
    hit, p
        Whether a row is of the positive class (0 or 1), and the probability of that.
    score
        The number that the decision is taken on: of two classes ``p``.
    independent
        Outcomes that do not overlap in time: what standard errors count.
    model, base
        Outcomes of the decisions and of the base rule.
    folds
        AUC of each evaluation fold, NaN where a class does not occur.
    confusion
        Rows by true and by most probable class.
    table
        Of a filter: rules only beside rules and model.
    moments
        Of the net returns; None where they have none.
    """

    row: npt.NDArray[np.intp]
    y: Vector
    classes: npt.NDArray[np.float64]
    hit: Vector
    p: Vector
    score: Vector
    independent: int
    model: Backtest
    base: Backtest
    folds: tuple[float, ...]
    confusion: npt.NDArray[np.float64]
    table: dict[str, dict[str, float]]
    moments: Moments | None
    metrics: dict[str, float]


def evaluate(rows: Dataset, fitted: Fitted, plan: Plan) -> Evidence:
    """Return the evidence; a metric that cannot be computed is left out, never written as a number.

    Metrics count every row alike. Where the fit gave rows weights, ``weighted.auc``, ``weighted.brier`` and so on are beside them.
    """
    row = np.flatnonzero(rows.known & np.isfinite(fitted.unseen))
    y, p, returns, base = rows.y[row], fitted.unseen_p[row], rows.returns[row], rows.base[row]
    score, hit = fitted.unseen[row], (y == classes.positive(p.shape[1])).astype(np.float64)
    model = backtest(position(plan.decision, score, base), returns, plan.round_trip)
    alone = backtest(base, returns, plan.round_trip)
    table = classes.confusion(y, p)
    independent = disjoint(rows.t0[row], rows.t1[row])
    spread = moments(model.net)
    overlap = len(row) / max(independent, 1)
    found = (
        _knows(y, p, table)
        | {
            PRECISION_AT_K: probability.precision_at_k(hit, p[:, -1], rows.t0[row], plan.top_k),
            "aucError": probability.auc_error(probability.auc(hit, p[:, -1]), hit, overlap),
            ABOVE_CHANCE: classes.above_chance(y, p, overlap),
            "baseRate": float(hit.mean()),
            "outcomes": float(len(row)),
            "independent": float(independent),
            "pAboveThreshold": float(np.mean(score > plan.decision.threshold)),
        }
        | _earns(model, plan, spread, independent)
        | _weighted(weighed(rows, plan, row) * balance_weights(y, fitted.tail.neutral), y, p)
    )
    if p.shape[1] == 3:
        found |= {f"distribution.{name}": value for name, value in classes.distribution(p, plan.decision.threshold).items()}
        found |= {"aucUpDown": classes.tradable_area(y, p), "neutralFactor": fitted.tail.neutral}
    return Evidence(
        row=row,
        y=y,
        classes=p,
        hit=hit,
        p=p[:, -1],
        score=score,
        independent=independent,
        model=model,
        base=alone,
        folds=tuple(_fold_auc(rows, fitted, split.test) for split in fitted.splits),
        confusion=table,
        table=filter_table(alone, model, hit) if plan.decision.kind is DecisionKind.FILTER else {},
        moments=spread,
        metrics={name: value for name, value in found.items() if math.isfinite(value)},
    )


def _knows(y: Vector, p: npt.NDArray[np.float64], table: npt.NDArray[np.float64], weight: Vector | None = None) -> dict[str, float]:
    """Return what the probabilities know of the classes."""
    positive = classes.positive(p.shape[1])
    return {
        AUC: classes.area(y, p, weight),
        ACCURACY: classes.accuracy(table),
        F1: classes.f1(table),
        "brier": classes.brier(y, p, weight),
        "ece": probability.ece((y == positive).astype(np.float64), p[:, positive], weight),
        "logLoss": classes.log_loss(y, p, weight),
    }


def _earns(model: Backtest, plan: Plan, spread: Moments | None, independent: int) -> dict[str, float]:
    """Return what the decisions earn, net of costs."""
    found = {
        SHARPE: model.sharpe,
        EXPECTANCY: model.expectancy,
        PROFIT_FACTOR: model.profit_factor,
        WIN_RATE: model.hit_rate,
        "traded": model.traded,
        "trades": float(model.trades),
        "tradeSharpe": model.trade_sharpe,
        "tradeExpectancy": model.trade_expectancy,
        "maxDrawdown": model.drawdown,
        "breakEvenCost": model.break_even,
    }
    if model.profit_factor >= PROFIT_FACTOR_CAP:
        found["profitFactorCapped"] = 1.0
    if spread is not None:
        found |= {"probabilisticSharpe": probabilistic(spread, independent), "minTrackRecord": track_record(spread)}
    if plan.sizing is not None:
        taken = model.net[model.position != 0]
        staked = stake(taken, independent * model.traded, plan.sizing)
        if staked is not None:
            found |= {
                KELLY: staked.kelly,
                "kellyContinuous": staked.continuous,
                "kellyStake": staked.stake,
                "kellyWinRate": staked.win_rate,
            }
    return found


def _weighted(weight: Vector, y: Vector, p: npt.NDArray[np.float64]) -> dict[str, float]:
    """Return the metrics under the weights that the fit had: what it was asked to be good at. Nothing where every row counts alike."""
    if np.ptp(weight) < 1e-12:
        return {}
    return {f"weighted.{name}": value for name, value in _knows(y, p, classes.confusion(y, p, weight), weight).items()}


def _fold_auc(rows: Dataset, fitted: Fitted, test: npt.NDArray[np.intp]) -> float:
    known = test[rows.known[test]]
    return classes.area(rows.y[known], fitted.unseen_p[known])
