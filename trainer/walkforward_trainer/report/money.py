"""The money in the report: equity and drawdown, and what is left of the edge at other costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_trainer.report.breakdown import open_at_once
from walkforward_trainer.report.data import CostCurve, Money, Series
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from walkforward_trainer.backtest import Backtest

    Vector = npt.NDArray[np.float64]
    Times = npt.NDArray[np.int64]

__all__ = ["BASE", "CANDIDATE", "LIVE", "MODEL", "cost_curve", "finite", "money"]

MODEL, BASE, CANDIDATE, LIVE = "model", "baseRule", "candidate", "liveModel"
"""Names of the curves."""
CURVE_POINTS: Final = 240
COST_POINTS: Final = 25
SMALLEST_COST_RANGE: Final = 2e-4
"""A curve over less than two basis points shows nothing but rounding."""
Z95: Final = 1.959963984540054


def finite(value: float) -> float | None:
    """Return ``value``, or None where there is no such number: JSON knows no NaN."""
    return float(value) if np.isfinite(value) else None


def money(t0: Times, t1: Times, outcomes: Mapping[str, Backtest]) -> Money | None:
    """Return the curves of ``outcomes``, None without any; decided at ``t0``, answered at ``t1``, both (n,), epoch milliseconds UTC.

    ``t0`` ascends.
    """
    if not len(t0):
        return None
    equity = {name: np.cumsum(outcome.net) for name, outcome in outcomes.items()}
    below = {name: np.maximum(np.maximum.accumulate(curve), 0.0) - curve for name, curve in equity.items()}
    at = _points(len(t0), [int(curve.argmax()) for curve in below.values()])
    series = tuple(_series(name, outcome, equity[name][at], below[name][at]) for name, outcome in outcomes.items())
    mean, most = open_at_once(t0, t1, next(iter(outcomes.values())).position)
    return Money(times=tuple(timestamp(int(stamp)) for stamp in t0[at]), series=series, open_mean=mean, open_most=most)


def cost_curve(outcomes: Mapping[str, Backtest], round_trip: float, independent: int) -> CostCurve | None:
    """Return the mean net return by the cost of a round trip; None where the first of ``outcomes`` never trades.

    Its 95 % interval takes ``independent`` outcomes for the number of observations: outcomes overlap. mean(net) = mean(gross) -
    cost · mean(|position|) is a straight line, but how far chance reaches is not.
    """
    first, *_ = outcomes.values()
    if not first.trades:
        return None
    broken = {name: finite(outcome.break_even) for name, outcome in outcomes.items()}
    top = max(2.0 * round_trip, 1.5 * max(0.0, *(value or 0.0 for value in broken.values())), SMALLEST_COST_RANGE)
    costs = np.linspace(0.0, top, COST_POINTS)
    means = {name: _means(outcome, round_trip, costs) for name, outcome in outcomes.items()}
    size = np.abs(first.position)
    spread = np.array([float((first.net + size * (round_trip - cost)).std()) for cost in costs])
    half = Z95 * spread / np.sqrt(max(independent, 1))
    center = next(iter(means.values()))
    return CostCurve(
        costs=tuple(costs.tolist()),
        expectancy={name: tuple(curve.tolist()) for name, curve in means.items()},
        low=tuple((center - half).tolist()),
        high=tuple((center + half).tolist()),
        current=round_trip,
        break_even=broken,
    )


def _means(outcome: Backtest, round_trip: float, costs: Vector) -> Vector:
    size = float(np.abs(outcome.position).mean())
    return np.asarray(float(outcome.net.mean()) + size * (round_trip - costs))


def _points(count: int, kept: list[int]) -> npt.NDArray[np.intp]:
    """Return about :data:`CURVE_POINTS` evenly spaced rows, with the first, the last and ``kept``."""
    even = np.linspace(0, count - 1, min(CURVE_POINTS, count)).astype(np.intp)
    return np.unique(np.concatenate((even, np.array(kept, np.intp))))


def _series(name: str, outcome: Backtest, equity: Vector, below: Vector) -> Series:
    return Series(
        name=name,
        equity=tuple(equity.tolist()),
        drawdown=tuple(below.tolist()),
        outcomes=outcome.outcomes,
        traded=outcome.traded,
        total=float(outcome.net.sum()),
        expectancy=finite(outcome.expectancy),
        sharpe=finite(outcome.sharpe),
        hit_rate=finite(outcome.hit_rate),
        profit_factor=finite(outcome.profit_factor),
        max_drawdown=outcome.drawdown,
        break_even=finite(outcome.break_even),
    )
