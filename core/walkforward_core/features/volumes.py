"""Volume: what it says about the moves that it came with. Textbooks' sums since the first bar become sums over a window."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.features.feature import Feature
from walkforward_core.features.folds import moments, total
from walkforward_core.features.ohlcv import log_volume
from walkforward_core.features.prices import change, mean_of, turnover, typical, volume, volume_sum
from walkforward_core.features.rolling import divide

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from walkforward_core.features.feature import Sheet

    Series = npt.NDArray[np.float64]

__all__ = ["TABLE"]


def _balance(bars: Sheet, n: int) -> Series:
    return divide(total(np.sign(bars.of(change)) * bars.volume, n), bars.of(volume_sum, n), 0.0)


def _vwap_away(bars: Sheet, n: int) -> Series:
    price = divide(total(bars.of(turnover), n), bars.of(volume_sum, n), np.nan)
    # nothing was traded: the price has no average to be away from
    price = np.where(bars.of(volume_sum, n) == 0.0, bars.of(typical), price)
    return bars.close / price - 1.0


def _accumulated(bars: Sheet) -> Series:
    return divide((bars.close - bars.low) - (bars.high - bars.close), bars.high - bars.low, 0.0) * bars.volume


def _chaikin(bars: Sheet, n: int) -> Series:
    return divide(total(bars.of(_accumulated), n), bars.of(volume_sum, n), 0.0)


def _spike(bars: Sheet, n: int) -> Series:
    return divide(bars.volume, bars.of(mean_of, volume, n), 1.0)


def _z(bars: Sheet, n: int) -> Series:
    logs = bars.of(log_volume)
    centre, spread = moments(logs, n)
    return divide(logs - centre, spread, 0.0)


TABLE: Final[Mapping[str, Feature]] = {
    "obv_20": Feature(
        20, partial(_balance, n=20), "volume of rising less that of falling bars to all volume of 20 bars, -1 to 1 (OBV of a window)"
    ),
    "vwap_away_20": Feature(19, partial(_vwap_away, n=20), "close to the volume-weighted typical price of 20 bars, less 1"),
    "cmf_20": Feature(19, partial(_chaikin, n=20), "Chaikin money flow over 20 bars, -1 to 1"),
    "volume_spike_20": Feature(19, partial(_spike, n=20), "volume to its mean over 20 bars, this one included"),
    "volume_z_20": Feature(19, partial(_z, n=20), "log(1 + volume), in standard deviations from its mean over 20 bars"),
}
"""Features of volume by name."""
