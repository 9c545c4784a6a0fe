"""The features of the recipe ``ohlcv``. Models in service learned their very bits: these formulae do not change."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.features.feature import Feature
from walkforward_core.features.prices import change, log_return, true_range
from walkforward_core.features.rolling import divide, mean, std

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from walkforward_core.features.bars import Bars
    from walkforward_core.features.feature import Sheet

    Series = npt.NDArray[np.float64]

__all__ = ["TABLE", "log_volume", "rsi", "volatility"]

DAY_MS: Final = 86_400_000


def volatility(bars: Sheet, n: int) -> Series:
    """Return the standard deviation of 1-bar log returns over ``n`` bars."""
    return std(bars.of(log_return, 1), n)


def rsi(bars: Sheet, n: int) -> Series:
    """Return Cutler's RSI: simple means of gains and losses, since Wilder's never forget."""
    moved = bars.of(change)
    gain, loss = mean(np.maximum(moved, 0.0), n), mean(np.maximum(-moved, 0.0), n)
    return 100.0 * divide(gain, gain + loss, 0.5)


def log_volume(bars: Sheet) -> Series:
    """Return log(1 + volume)."""
    return np.log1p(bars.volume)


def _log_return(bars: Sheet, n: int) -> Series:
    return bars.of(log_return, n)


def _volatility(bars: Sheet, n: int) -> Series:
    return bars.of(volatility, n)


def _volatility_ratio(bars: Sheet, short: int, long: int) -> Series:
    return divide(bars.of(volatility, short), bars.of(volatility, long), 1.0)


def _range_mean(bars: Sheet, n: int) -> Series:
    return mean(bars.of(true_range), n)


def _atr(bars: Sheet, n: int) -> Series:
    return bars.of(_range_mean, n) / bars.close


def _range_to_atr(bars: Sheet, n: int) -> Series:
    return divide(bars.high - bars.low, bars.of(_range_mean, n), 1.0)


def _rsi(bars: Sheet, n: int) -> Series:
    return bars.of(rsi, n)


def _z(bars: Sheet, n: int) -> Series:
    return divide(bars.close - mean(bars.close, n), std(bars.close, n), 0.0)


def _log_mean_volume(bars: Sheet, n: int) -> Series:
    return np.log1p(mean(bars.volume, n))


def _volume_surprise(bars: Sheet, n: int) -> Series:
    return bars.of(log_volume) - bars.of(_log_mean_volume, n)


def _day_angle(bars: Bars) -> Series:
    return np.asarray(2.0 * np.pi * (bars.time % DAY_MS) / DAY_MS)


def _hour_sin(bars: Sheet) -> Series:
    return np.sin(_day_angle(bars))


def _hour_cos(bars: Sheet) -> Series:
    return np.cos(_day_angle(bars))


TABLE: Final[Mapping[str, Feature]] = {
    "ret_1": Feature(1, partial(_log_return, n=1), "log return over 1 bar"),
    "ret_3": Feature(3, partial(_log_return, n=3), "log return over 3 bars"),
    "ret_6": Feature(6, partial(_log_return, n=6), "log return over 6 bars"),
    "ret_12": Feature(12, partial(_log_return, n=12), "log return over 12 bars"),
    "ret_24": Feature(24, partial(_log_return, n=24), "log return over 24 bars"),
    "vol_20": Feature(20, partial(_volatility, n=20), "standard deviation of 1-bar log returns over 20 bars"),
    "vol_ratio_5_20": Feature(20, partial(_volatility_ratio, short=5, long=20), "volatility over 5 bars to that over 20"),
    "vol_ratio_20_100": Feature(100, partial(_volatility_ratio, short=20, long=100), "volatility over 20 bars to that over 100"),
    "atr_14": Feature(14, partial(_atr, n=14), "mean true range over 14 bars, as a share of the close"),
    "range_atr_14": Feature(14, partial(_range_to_atr, n=14), "range of the bar to the mean true range over 14 bars"),
    "rsi_14": Feature(14, partial(_rsi, n=14), "Cutler's RSI over 14 bars, 0 to 100"),
    "z_20": Feature(19, partial(_z, n=20), "close, in standard deviations from its mean over 20 bars"),
    "z_50": Feature(49, partial(_z, n=50), "close, in standard deviations from its mean over 50 bars"),
    "log_volume": Feature(0, log_volume, "log(1 + volume)"),
    "log_volume_mean_24": Feature(23, partial(_log_mean_volume, n=24), "log(1 + mean volume over 24 bars)"),
    "log_volume_surprise_24": Feature(23, partial(_volume_surprise, n=24), "log_volume - log_volume_mean_24"),
    "hour_sin": Feature(0, _hour_sin, "sine of the time of day (UTC) at which the bar closes"),
    "hour_cos": Feature(0, _hour_cos, "cosine of the time of day (UTC) at which the bar closes"),
}
"""Features of the recipe ``ohlcv`` by name, in order."""
