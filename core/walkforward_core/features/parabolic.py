"""Wilder's parabolic stop and reverse, restarted for every row.

The textbook's runs from the first bar of the file on, so its value depends on where the file begins. Here every row restarts it
``WINDOW`` bars before. Two runs that differ in their start agree from the second reversal or so that they have in common; how
often the restarted one equals TA-Lib's is in the test. All rows take the same step at once, so the cost is WINDOW steps over arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.features.feature import Feature
from walkforward_core.features.folds import total

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from walkforward_core.features.feature import Sheet

    Series = npt.NDArray[np.float64]

__all__ = ["TABLE", "parabolic"]

WINDOW: Final = 96
STEP: Final = 0.02
LIMIT: Final = 0.2


def parabolic(bars: Sheet) -> Series:
    """Return the stop at each bar, NaN for the first WINDOW bars.

    State of a row: ``stop`` and ``best`` (extreme point), in a fall as in a mirror, with every price negated, so that one rule serves
    both directions; ``speed`` is the acceleration.
    """
    out = np.full(len(bars), np.nan)
    count = len(bars) - WINDOW
    if count <= 0:
        return out
    low, high = bars.low, bars.high
    mirrored_low, mirrored_high = -high, -low
    # the stop keeps behind both the bar and the one before
    floor, mirrored_floor = low.copy(), mirrored_low.copy()
    floor[1:], mirrored_floor[1:] = np.minimum(low[1:], low[:-1]), np.minimum(mirrored_low[1:], mirrored_low[:-1])
    rise, fall = high[1 : count + 1] - high[:count], low[:count] - low[1 : count + 1]
    rises = (fall <= 0.0) | (fall <= rise)
    stop = np.where(rises, low[:count], mirrored_low[:count])
    best = np.where(rises, high[1 : count + 1], mirrored_high[1 : count + 1])
    speed = np.full(count, STEP)
    shown = stop
    for step in range(1, WINDOW + 1):
        here = slice(step, step + count)
        turned = np.flatnonzero(np.where(rises, low[here], mirrored_low[here]) <= stop)
        rises[turned] ^= True
        top = np.where(rises, high[here], mirrored_high[here])
        behind = np.where(rises, floor[here], mirrored_floor[here])
        stop[turned] = np.minimum(-best[turned], behind[turned])
        best[turned] = top[turned]
        speed[turned] = STEP
        shown = stop
        speed = np.minimum(speed + STEP * (top > best), LIMIT)
        best = np.maximum(best, top)
        stop = np.minimum(stop + speed * (best - stop), behind)
    # a missing price would be stepped over, since no comparison with it holds
    out[WINDOW:] = np.where(rises, shown, -shown) + 0.0 * total(high - low, WINDOW + 1)[WINDOW:]
    return out


def _away(bars: Sheet) -> Series:
    return (bars.close - bars.of(parabolic)) / bars.close


TABLE: Final[Mapping[str, Feature]] = {
    "psar_96": Feature(WINDOW, _away, "close less the parabolic stop (0.02, 0.2; restarted 96 bars before), as a share of the close"),
}
"""The feature of the parabolic stop by name."""
