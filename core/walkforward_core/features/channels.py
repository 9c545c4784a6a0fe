"""Channels: the place of the close in a band around its past, and how wide the band is."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from walkforward_core.features.feature import Feature
from walkforward_core.features.folds import moments, reach
from walkforward_core.features.prices import above, below, ema, ema_keep, mean_range
from walkforward_core.features.rolling import divide

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    from walkforward_core.features.feature import Sheet

    Series = npt.NDArray[np.float64]

__all__ = ["TABLE"]


def _bollinger(bars: Sheet, n: int) -> Series:
    centre, spread = moments(bars.close, n)
    return 0.5 + divide(bars.close - centre, 4.0 * spread, 0.0)


def _bollinger_width(bars: Sheet, n: int) -> Series:
    centre, spread = moments(bars.close, n)
    return 4.0 * spread / centre


def _keltner(bars: Sheet, n: int, ranges: int) -> Series:
    return 0.5 + divide(bars.close - bars.of(ema, n), 4.0 * bars.of(mean_range, ranges), 0.0)


def _keltner_width(bars: Sheet, n: int, ranges: int) -> Series:
    return 4.0 * bars.of(mean_range, ranges) / bars.of(ema, n)


def _donchian(bars: Sheet, n: int) -> Series:
    low = bars.of(below, n)
    return divide(bars.close - low, bars.of(above, n) - low, 0.5)


def _donchian_width(bars: Sheet, n: int) -> Series:
    return (bars.of(above, n) - bars.of(below, n)) / bars.close


_EMA: Final = reach(ema_keep(20)) - 1

TABLE: Final[Mapping[str, Feature]] = {
    "bollinger_20": Feature(
        19, partial(_bollinger, n=20), "place of the close in the Bollinger band (20 bars, 2 deviations): 0 lower, 1 upper"
    ),
    "bollinger_width_20": Feature(19, partial(_bollinger_width, n=20), "width of the Bollinger band to its middle"),
    "keltner_20": Feature(
        _EMA, partial(_keltner, n=20, ranges=10), "place of the close in the Keltner channel (EMA 20, 2 mean ranges of 10 bars)"
    ),
    "keltner_width_20": Feature(_EMA, partial(_keltner_width, n=20, ranges=10), "width of the Keltner channel to its middle"),
    "donchian_20": Feature(19, partial(_donchian, n=20), "place of the close between lowest low and highest high of 20 bars, 0 to 1"),
    "donchian_width_20": Feature(19, partial(_donchian_width, n=20), "range of 20 bars, as a share of the close"),
}
"""Features of channels by name."""
