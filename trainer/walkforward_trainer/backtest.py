"""Stage 9, backtest: each decision is an independent round trip over the horizon, by a price taker, net of costs (contract C5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Vector = npt.NDArray[np.float64]

__all__ = ["PROFIT_FACTOR_CAP", "Backtest", "backtest", "filter_table"]

PROFIT_FACTOR_CAP: Final = 100.0
"""What a profit factor is where nothing, or next to nothing, was lost: a number that a gate can compare, and flagged."""


@dataclass(frozen=True, slots=True, eq=False)
class Backtest:
    """Outcomes in time order.

    ``position`` (n,) in [-1, 1]; ``net`` (n,) = position · return - |position| · round trip, as shares of the traded value.

    ``sharpe`` is mean / population standard deviation of ``net``, per outcome, not annualised: outcomes overlap. NaN without any spread.
    ``traded`` is the share of outcomes with a position, ``trades`` their number; ``trade_sharpe`` and ``trade_expectancy`` are of these.
    ``hit_rate`` is the share of trades that win; ``profit_factor`` gross profit / gross loss, at most 100.
    ``drawdown`` is of the running sum for a constant stake. ``break_even`` is the round trip at which the mean is zero, NaN without trades.
    """

    position: Vector
    net: Vector
    outcomes: int
    trades: int
    traded: float
    expectancy: float
    sharpe: float
    trade_expectancy: float
    trade_sharpe: float
    hit_rate: float
    profit_factor: float
    drawdown: float
    break_even: float


def backtest(positions: Vector, returns: Vector, round_trip: float) -> Backtest:
    """Return the outcomes of ``positions`` in [-1, 1] on the instrument's gross ``returns``, both (n,) without NaN."""
    size = np.abs(positions)
    gross = positions * returns
    net = gross - size * round_trip
    taken = net[size > 0]
    equity = np.concatenate(([0.0], np.cumsum(net)))
    return Backtest(
        position=positions,
        net=net,
        outcomes=len(net),
        trades=len(taken),
        traded=len(taken) / len(net) if len(net) else 0.0,
        expectancy=_mean(net),
        sharpe=_sharpe(net),
        trade_expectancy=_mean(taken),
        trade_sharpe=_sharpe(taken),
        hit_rate=_mean((taken > 0).astype(np.float64)),
        profit_factor=_profit_factor(taken),
        drawdown=float((np.maximum.accumulate(equity) - equity).max()),
        break_even=float(gross.sum() / size.sum()) if len(taken) else float("nan"),
    )


def filter_table(base: Backtest, model: Backtest, bad: Vector) -> dict[str, dict[str, float]]:
    """Return what a filter changes: the base rule alone beside the rule with the model, over the same outcomes.

    ``bad`` (n,) is 1 where the outcome is one that the filter is to block. Expectancy is the mean net return of a trade.
    """
    return {"rulesOnly": _row(base, bad), "rulesAndModel": _row(model, bad)}


def _row(outcome: Backtest, bad: Vector) -> dict[str, float]:
    found = {
        "tradeCount": float(outcome.trades),
        "badTrades": float(bad[outcome.position != 0].sum()),
        "winRate": outcome.hit_rate,
        "expectancy": outcome.trade_expectancy,
        "maxDrawdown": -outcome.drawdown,
    }
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _mean(values: Vector) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _sharpe(net: Vector) -> float:
    # the standard deviation of equal numbers is not always exactly zero
    return float(net.mean() / net.std()) if len(net) and np.ptp(net) > 0 else float("nan")


def _profit_factor(net: Vector) -> float:
    """Return gross profit / gross loss; NaN where nothing was won or lost."""
    won, lost = float(net[net > 0].sum()), float(-net[net < 0].sum())
    if won == lost == 0.0:
        return float("nan")
    return min(won / lost, PROFIT_FACTOR_CAP) if lost > 0 else PROFIT_FACTOR_CAP
