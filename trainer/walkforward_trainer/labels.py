"""Stage 4, labels: what the model is asked, with the interval of time in which each answer is decided.

A row is decided at t0, the close of its bar, and its answer is known at t1, the close ``horizonBars`` later. A label whose bars
are not all there, because the market was closed in between or the data end, is dropped, not guessed. Adding a label is one entry
in :data:`BUILT_IN`, or one entry point ``walkforward.labels`` of another package.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.api.recipe import VolatilityScale
from walkforward_core.features.rolling import lag, std
from walkforward_core.plugins import with_plugins

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from walkforward_core.features import Bars
    from walkforward_trainer.resolved import Target

    Series = npt.NDArray[np.float64]

DAY_MS: Final = 86_400_000
CLOSED_MS: Final = 4 * DAY_MS
"""Longest time that a market of daily bars is closed in between: a weekend with a holiday on either side."""

__all__ = ["BUILT_IN", "Label", "Labels", "classes_of", "label", "labels", "warmup_of"]


@dataclass(frozen=True, slots=True)
class Label:
    """One kind of target.

    Parameters
    ----------
    answer
        Bars and target → one answer a bar, NaN without one: the class 0 … classes - 1, or a number where ``classes`` is 0.
    classes
        2 or 3; 0 for a number, which can be a further head but not what a decision is made of.
    history
        Bars that an answer looks back.
    """

    answer: Callable[[Bars, Target], Series]
    classes: int = 2
    history: Callable[[Target], int] = lambda _target: 0


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """One entry a row: ``y`` the answer, NaN without one; [``t0``, ``t1``] in epoch ms UTC; ``returns`` simple and gross over it.

    ``horizon_ms`` is the usual t1 - t0: five daily bars of a five-day market are seven days.
    """

    y: Series
    t0: npt.NDArray[np.int64]
    t1: npt.NDArray[np.int64]
    returns: Series
    horizon_ms: int

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Rows that have a label."""
        return np.isfinite(self.y)


def labels() -> Mapping[str, Label]:
    """Return every kind of target by its name."""
    return with_plugins("walkforward.labels", BUILT_IN)


def classes_of(target: Target) -> int:
    """Return how many classes ``target`` has.

    Raises
    ------
    KeyError
        No such kind.
    """
    return labels()[target.kind].classes


def warmup_of(target: Target) -> int:
    """Return the bars that ``target`` looks back."""
    return labels()[target.kind].history(target)


def label(bars: Bars, target: Target, bar_ms: int, start: int) -> Labels:
    """Return the labels of the bars from ``start`` on; earlier bars serve as history.

    Bars shorter than a day must follow each other without a gap; from a day on, a weekend or a holiday may lie between them.
    """
    horizon = target.horizon_bars
    longest = bar_ms if bar_ms < DAY_MS else bar_ms + CLOSED_MS
    whole = _unbroken(bars.time, horizon, longest)
    y = labels()[target.kind].answer(bars, target)
    y[~whole] = np.nan
    returns = np.where(whole, _ahead(bars.close, horizon) / bars.close - 1.0, np.nan)
    span = np.full(len(bars), horizon * bar_ms, np.int64)
    span[whole] = (_ahead(bars.time.astype(np.float64), horizon) - bars.time)[whole].astype(np.int64)
    usual = int(_most_frequent(span[start:][whole[start:]], horizon * bar_ms))
    return Labels(y=y[start:], t0=bars.time[start:], t1=(bars.time + span)[start:], returns=returns[start:], horizon_ms=usual)


def _unbroken(time: npt.NDArray[np.int64], horizon: int, longest: int) -> npt.NDArray[np.bool_]:
    """Return for each bar whether ``horizon`` bars follow, none more than ``longest`` ms after the one before."""
    broken = np.concatenate(([0], np.cumsum(np.diff(time) > longest)))
    out = np.zeros(len(time), np.bool_)
    if horizon < len(time):
        out[: len(time) - horizon] = broken[horizon:] == broken[: len(time) - horizon]
    return out


def _most_frequent(spans: npt.NDArray[np.int64], otherwise: int) -> int:
    values, counts = np.unique(spans, return_counts=True)
    return int(values[counts.argmax()]) if len(values) else otherwise


def direction(bars: Bars, target: Target) -> Series:
    """1 where the close ``horizonBars`` later is higher, else 0."""
    ahead = _ahead(bars.close, target.horizon_bars)
    return np.where(np.isnan(ahead), np.nan, (ahead > bars.close).astype(np.float64))


def risk(bars: Bars, target: Target) -> Series:
    """1 where the larger excursion of the next ``horizonBars`` bars, up or down, exceeds threshold · σ · √horizonBars.

    σ is the standard deviation of 1-bar log returns over ``volatilityBars`` bars, all of them closed at the decision.
    """
    horizon, logs = target.horizon_bars, np.log(bars.close)
    expected = std(logs - lag(logs, 1), target.volatility_bars) * np.sqrt(horizon)
    highest, lowest = bars.high, bars.low
    reach = np.full(len(bars), -np.inf)
    for step in range(1, horizon + 1):
        reach = np.fmax(reach, np.log(_ahead(highest, step)) - logs)
        reach = np.fmax(reach, logs - np.log(_ahead(lowest, step)))
    unknown = np.isnan(expected) | np.isnan(_ahead(bars.close, horizon))
    return np.where(unknown, np.nan, (reach > target.threshold * expected).astype(np.float64))


def adaptive(bars: Bars, target: Target) -> Series:
    """0 down, 1 neutral, 2 up: the log return over the horizon is beyond threshold · σ, below or above, or neither.

    σ is the standard deviation of 1-bar log returns over ``volatilityBars`` closed bars, times √horizonBars where the scale is Horizon.
    """
    logs = np.log(bars.close)
    move = _ahead(logs, target.horizon_bars) - logs
    scale = np.sqrt(target.horizon_bars) if target.volatility_scale is VolatilityScale.HORIZON else 1.0
    limit = target.threshold * std(logs - lag(logs, 1), target.volatility_bars) * scale
    return np.where(np.isnan(move) | np.isnan(limit), np.nan, 1.0 + (move > limit) - (move < -limit))


def price(bars: Bars, target: Target) -> Series:
    """The log return over the horizon."""
    logs = np.log(bars.close)
    return _ahead(logs, target.horizon_bars) - logs


def momentum(bars: Bars, target: Target) -> Series:
    """1 where the move of the last ``horizonBars`` goes on: the next ``horizonBars`` have its sign; a market that stood still has none."""
    logs = np.log(bars.close)
    past, move = logs - lag(logs, target.horizon_bars), _ahead(logs, target.horizon_bars) - logs
    return np.where(np.isnan(past) | np.isnan(move), np.nan, (past * move > 0).astype(np.float64))


def volatility(bars: Bars, target: Target) -> Series:
    """Root mean square of the 1-bar log returns of the next ``horizonBars`` bars."""
    logs = np.log(bars.close)
    squares = np.square(logs - lag(logs, 1))
    total = np.zeros(len(bars))
    for step in range(1, target.horizon_bars + 1):
        total += _ahead(squares, step)
    return np.sqrt(total / target.horizon_bars)


def _of_trades(_bars: Bars, _target: Target) -> Series:
    """Refuse: bars do not know of trades (:func:`walkforward_trainer.data.trades.bad_trade` does)."""
    raise TypeError("BadTrade is a question about trades; make_plan refuses it of bars")


BUILT_IN: Final[Mapping[str, Label]] = {
    "Direction": Label(direction),
    "Risk": Label(risk, history=lambda target: target.volatility_bars),
    "Adaptive": Label(adaptive, classes=3, history=lambda target: target.volatility_bars),
    "Price": Label(price, classes=0),
    "Momentum": Label(momentum, history=lambda target: target.horizon_bars),
    "Volatility": Label(volatility, classes=0),
    "BadTrade": Label(_of_trades),
}
"""Every kind of target of this package by its name; Price, Momentum and Volatility are of heads alone, BadTrade is of trades."""


def _ahead(values: Series, bars: int) -> Series:
    """Return ``values`` as they will be ``bars`` rows later, NaN where the data end before."""
    out = np.full(len(values), np.nan)
    if bars < len(values):
        out[: len(values) - bars] = values[bars:]
    return out
