"""Wilder's parabolic stop and reverse, restarted for every row.

The textbook's runs from the first bar of the file on, so its value depends on where the file begins. Here every row restarts it
``WINDOW`` bars before. How often the restarted one equals TA-Lib's is in the test. All rows take the same step at once.

Two runs that differ in their start are in the same state from the second reversal or so that they have in common, and in it they stay.
So after ``APART`` steps a run that is in the state in which the next one was on the same bar goes no further, and its value is read from
that one's: three quarters of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.features.feature import Feature
from walkforward_core.features.folds import total

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from walkforward_core.features.feature import Sheet

    Series = npt.NDArray[np.float64]
    Index = npt.NDArray[np.intp]

__all__ = ["TABLE", "parabolic"]

WINDOW: Final = 96
APART: Final = 20
"""Steps that every run takes on its own; more leave fewer to go on, fewer save less."""
BLOCK: Final = 1 << 15
"""Rows at once: what the runs share is kept for every step."""
STEP: Final = 0.02
LIMIT: Final = 0.2


def parabolic(bars: Sheet) -> Series:
    """Return the stop at each bar, NaN for the first WINDOW bars; no low is above its high."""
    out = np.full(len(bars), np.nan)
    for first in range(0, len(bars) - WINDOW, BLOCK):
        # the last of them needs WINDOW bars after its start
        bound = slice(first, min(first + BLOCK + WINDOW, len(bars)))
        out[bound][WINDOW:] = _block(bars.low[bound], bars.high[bound])
    # a missing price would be stepped over, since no comparison with it holds
    out[WINDOW:] += 0.0 * total(bars.high - bars.low, WINDOW + 1)[WINDOW:]
    return out


def _block(low: Series, high: Series) -> Series:
    """Return the stop at each bar but the first WINDOW of n, shape (n - WINDOW,)."""
    count = len(low) - WINDOW
    prices = _Prices.of(low, high)
    runs = _Runs.begun(low, high, count)
    for step in range(1, APART):
        runs.advance(prices, slice(step, step + count))
    before = runs.some(slice(1, None))
    runs.advance(prices, slice(APART, APART + count))
    alone = np.ones(count, dtype=np.bool_)
    alone[:-1] = ~runs.some(slice(-1)).same(before)
    # nobody's value is asked for before the step from which on it is that of another
    alone[:: WINDOW - APART - 1] = True
    left = np.flatnonzero(alone)
    runs = runs.some(left)
    shown = np.stack([runs.advance(prices, left + step) for step in range(APART + 1, WINDOW + 1)])
    leader: Index = np.cumsum(alone) - alone
    ahead = left[leader] - np.arange(count)
    return np.asarray(shown[WINDOW - APART - 1 - ahead, leader])


@dataclass(frozen=True, slots=True, eq=False)
class _Prices:
    """Lows and highs of n bars; the stop keeps behind the bar and the one before it: below their ``floor``, above their ``ceiling``."""

    low: Series
    high: Series
    floor: Series
    ceiling: Series

    @classmethod
    def of(cls, low: Series, high: Series) -> _Prices:
        """Return them; the first bar has none before it."""
        floor, ceiling = low.copy(), high.copy()
        floor[1:], ceiling[1:] = np.minimum(low[1:], low[:-1]), np.maximum(high[1:], high[:-1])
        return cls(low, high, floor, ceiling)


@dataclass(slots=True, eq=False)
class _Runs:
    """The state of each run: ``sign`` is 1 in a rise and -1 in a fall, in which prices, ``stop`` and ``best`` are negated.

    So one rule serves both directions: of a bar's two prices times ``sign`` the smaller is what touches the stop, the larger what is best.
    ``speed`` is the acceleration.
    """

    sign: Series
    stop: Series
    best: Series
    speed: Series

    @classmethod
    def begun(cls, low: Series, high: Series, count: int) -> _Runs:
        """Return the state of ``count`` runs, begun on the first bars."""
        rise, fall = high[1 : count + 1] - high[:count], low[:count] - low[1 : count + 1]
        rises = (fall <= 0.0) | (fall <= rise)
        stop = np.where(rises, low[:count], -high[:count])
        best = np.where(rises, high[1 : count + 1], -low[1 : count + 1])
        return cls(np.where(rises, 1.0, -1.0), stop, best, np.full(count, STEP))

    def some(self, which: slice | Index) -> _Runs:
        """Return a copy of the runs ``which``."""
        return _Runs(*(state[which].copy() for state in (self.sign, self.stop, self.best, self.speed)))

    def same(self, other: _Runs) -> npt.NDArray[np.bool_]:
        """Return which runs are in the same state as those of ``other``."""
        equal = (self.sign == other.sign) & (self.stop == other.stop)
        return np.asarray(equal & (self.best == other.best) & (self.speed == other.speed))

    def advance(self, prices: _Prices, at: slice | Index) -> Series:
        """Step to the bars ``at``, one a run; return the stop that is shown there."""
        one, other = self.sign * prices.low[at], self.sign * prices.high[at]
        worst, top = np.minimum(one, other), np.maximum(one, other)
        turned = np.flatnonzero(worst <= self.stop)
        self.sign[turned] *= -1.0
        top[turned] = -worst[turned]
        behind = np.minimum(self.sign * prices.floor[at], self.sign * prices.ceiling[at])
        self.stop[turned] = np.minimum(-self.best[turned], behind[turned])
        self.best[turned] = top[turned]
        self.speed[turned] = STEP
        shown = self.sign * self.stop
        self.speed = np.minimum(self.speed + STEP * (top > self.best), LIMIT)
        self.best = np.maximum(self.best, top)
        self.stop = np.minimum(self.stop + self.speed * (self.best - self.stop), behind)
        return shown


def _away(bars: Sheet) -> Series:
    return (bars.close - bars.of(parabolic)) / bars.close


TABLE: Final[Mapping[str, Feature]] = {
    "psar_96": Feature(WINDOW, _away, "close less the parabolic stop (0.02, 0.2; restarted 96 bars before), as a share of the close"),
}
"""The feature of the parabolic stop by name."""
