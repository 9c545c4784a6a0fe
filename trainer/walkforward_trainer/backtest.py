"""Stage 9, backtest: each decision is an independent round trip over the horizon, by a price taker, net of costs (contract C5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Vector = npt.NDArray[np.float64]

__all__ = ["Backtest", "backtest"]


@dataclass(frozen=True, slots=True, eq=False)
class Backtest:
    """Outcomes in time order. ``net`` (n,) = position · return - |position| · round trip, as shares of the traded value.

    ``sharpe`` is mean / population standard deviation of ``net``, per outcome, not annualised: outcomes overlap. NaN without any spread.
    ``drawdown`` is of the running sum for a constant stake. ``break_even`` is the round trip at which the mean is zero, NaN without trades.
    """

    net: Vector
    outcomes: int
    traded: float
    expectancy: float
    sharpe: float
    hit_rate: float
    drawdown: float
    break_even: float


def backtest(positions: Vector, returns: Vector, round_trip: float) -> Backtest:
    """Return the outcomes of ``positions`` in [-1, 1] on the instrument's gross ``returns``, both (n,) without NaN."""
    size = np.abs(positions)
    gross = positions * returns
    net = gross - size * round_trip
    spread = float(net.std()) if len(net) else 0.0
    mean = float(net.mean()) if len(net) else float("nan")
    traded = size > 0
    equity = np.concatenate(([0.0], np.cumsum(net)))
    return Backtest(
        net=net,
        outcomes=len(net),
        traded=float(traded.mean()) if len(net) else 0.0,
        expectancy=mean,
        sharpe=mean / spread if spread > 0 else float("nan"),
        hit_rate=float((net[traded] > 0).mean()) if traded.any() else float("nan"),
        drawdown=float((np.maximum.accumulate(equity) - equity).max()),
        break_even=float(gross.sum() / size.sum()) if traded.any() else float("nan"),
    )
