"""Stage 4, labels: what the model is asked, with the interval of time in which each answer is decided.

A row is decided at t0, the close of its bar, and its answer is known at t1, the close ``horizonBars`` later. A label whose bars
are not all there, because the market was closed in between or the data end, is dropped, not guessed. Adding a label is one entry
in :data:`BUILT_IN`, or one entry point ``walkforward.labels`` of another package.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.features.rolling import lag, std
from walkforward_core.plugins import with_plugins

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from walkforward_core.features import Bars
    from walkforward_trainer.resolved import Target

    Series = npt.NDArray[np.float64]

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
    """One entry a row: ``y`` 0, 1, or NaN without a label; [``t0``, ``t1``] in epoch ms UTC; ``returns`` simple and gross over it."""

    y: Series
    t0: npt.NDArray[np.int64]
    t1: npt.NDArray[np.int64]
    returns: Series

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
    """Return the labels of the bars from ``start`` on; earlier bars serve as history."""
    horizon = target.horizon_bars
    ahead = _ahead(bars.close, horizon)
    whole = _ahead(bars.time.astype(np.float64), horizon) - bars.time == horizon * bar_ms
    y = labels()[target.kind].answer(bars, target)
    y[~whole] = np.nan
    returns = np.where(whole, ahead / bars.close - 1.0, np.nan)
    return Labels(y=y[start:], t0=bars.time[start:], t1=bars.time[start:] + horizon * bar_ms, returns=returns[start:])


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


BUILT_IN: Final[Mapping[str, Label]] = {
    "Direction": Label(direction),
    "Risk": Label(risk, history=lambda target: target.volatility_bars),
}
"""Every kind of target of this package by its name in the spec."""


def _ahead(values: Series, bars: int) -> Series:
    """Return ``values`` as they will be ``bars`` rows later, NaN where the data end before."""
    out = np.full(len(values), np.nan)
    if bars < len(values):
        out[: len(values) - bars] = values[bars:]
    return out
