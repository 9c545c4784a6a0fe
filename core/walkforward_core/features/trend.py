"""Trend: where the price stands to its averages, and how much direction it has.

Wilder's averages keep 1 - 1/14 a bar and never end; here they are cut off where the rest weighs less than 1e-4 (``folds.decayed``).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.features.feature import Feature
from walkforward_core.features.folds import decayed, reach
from walkforward_core.features.prices import above, below, close, ema, ema_keep, log_close, mean_of, true_range
from walkforward_core.features.rolling import divide, lag

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from walkforward_core.features.feature import Sheet

    Series = npt.NDArray[np.float64]

__all__ = ["TABLE"]

CLOUD_AHEAD: Final = 26
"""Bars by which Ichimoku's cloud is drawn ahead: the cloud of today was known so many bars ago."""


def wilder_keep(n: int) -> float:
    """Return the share that Wilder's average over ``n`` keeps a bar."""
    return 1.0 - 1.0 / n


def _ema_away(bars: Sheet, n: int) -> Series:
    return bars.close / bars.of(ema, n) - 1.0


def _sma_away(bars: Sheet, n: int) -> Series:
    return bars.close / bars.of(mean_of, close, n) - 1.0


def _sma_ratio(bars: Sheet, short: int, long: int) -> Series:
    return bars.of(mean_of, close, short) / bars.of(mean_of, close, long) - 1.0


def _slope(bars: Sheet, n: int) -> Series:
    """Return the least-squares slope; logs relative to the newest, so that a flat market has none to the last digit."""
    logs = bars.of(log_close)
    count = max(0, len(logs) - n + 1)
    newest = logs[len(logs) - count :]
    middle = (n - 1) / 2.0
    found = np.zeros(count)
    for start in range(min(n, len(logs))):
        found += (start - middle) * (logs[start : start + count] - newest)
    out = np.full(len(logs), np.nan)
    out[len(logs) - count :] = found / (n * (n * n - 1) / 12.0)
    return out


def _wilder_range(bars: Sheet, n: int) -> Series:
    return decayed(bars.of(true_range), wilder_keep(n))


def _moves(bars: Sheet) -> tuple[Series, Series]:
    """Return how far the high rose and the low fell beyond the bar before."""
    return bars.high - lag(bars.high, 1), lag(bars.low, 1) - bars.low


def _plus(bars: Sheet, n: int) -> Series:
    """Return +DI: of the true range, the share that directed moves upward have."""
    up, down = _moves(bars)
    moved = np.where((up > down) & (up > 0.0), up, 0.0 * up)
    return 100.0 * divide(decayed(moved, wilder_keep(n)), bars.of(_wilder_range, n), 0.0)


def _minus(bars: Sheet, n: int) -> Series:
    """Return -DI."""
    up, down = _moves(bars)
    moved = np.where((down > up) & (down > 0.0), down, 0.0 * down)
    return 100.0 * divide(decayed(moved, wilder_keep(n)), bars.of(_wilder_range, n), 0.0)


def _plus_di(bars: Sheet, n: int) -> Series:
    return bars.of(_plus, n)


def _minus_di(bars: Sheet, n: int) -> Series:
    return bars.of(_minus, n)


def _direction(bars: Sheet, n: int) -> Series:
    return bars.of(_plus, n) - bars.of(_minus, n)


def _adx(bars: Sheet, n: int) -> Series:
    plus, minus = bars.of(_plus, n), bars.of(_minus, n)
    return decayed(100.0 * divide(np.abs(plus - minus), plus + minus, 0.0), wilder_keep(n))


def _middle(bars: Sheet, n: int) -> Series:
    return (bars.of(above, n) + bars.of(below, n)) / 2.0


def _tenkan(bars: Sheet) -> Series:
    return bars.close / bars.of(_middle, 9) - 1.0


def _kijun(bars: Sheet) -> Series:
    return bars.close / bars.of(_middle, 26) - 1.0


def _tenkan_kijun(bars: Sheet) -> Series:
    return bars.of(_middle, 9) / bars.of(_middle, 26) - 1.0


def _cloud_a(bars: Sheet) -> Series:
    return bars.close / lag((bars.of(_middle, 9) + bars.of(_middle, 26)) / 2.0, CLOUD_AHEAD) - 1.0


def _cloud_b(bars: Sheet) -> Series:
    return bars.close / lag(bars.of(_middle, 52), CLOUD_AHEAD) - 1.0


_DIRECTED: Final = reach(wilder_keep(14))

TABLE: Final[Mapping[str, Feature]] = {
    "ema_9_away": Feature(reach(ema_keep(9)) - 1, partial(_ema_away, n=9), "close to its EMA 9, less 1"),
    "ema_21_away": Feature(reach(ema_keep(21)) - 1, partial(_ema_away, n=21), "close to its EMA 21, less 1"),
    "sma_50_away": Feature(49, partial(_sma_away, n=50), "close to its mean over 50 bars, less 1"),
    "sma_50_200": Feature(199, partial(_sma_ratio, short=50, long=200), "mean close over 50 bars to that over 200, less 1"),
    "slope_20": Feature(19, partial(_slope, n=20), "least-squares slope of the log close over 20 bars, per bar"),
    "plus_di_14": Feature(_DIRECTED, partial(_plus_di, n=14), "+DI over 14 bars, 0 to 100"),
    "minus_di_14": Feature(_DIRECTED, partial(_minus_di, n=14), "-DI over 14 bars, 0 to 100"),
    "di_14": Feature(_DIRECTED, partial(_direction, n=14), "+DI less -DI over 14 bars, -100 to 100"),
    "adx_14": Feature(2 * _DIRECTED - 1, partial(_adx, n=14), "average directional index over 14 bars, 0 to 100"),
    "ichimoku_tenkan": Feature(8, _tenkan, "close to the middle of the range of 9 bars (tenkan), less 1"),
    "ichimoku_kijun": Feature(25, _kijun, "close to the middle of the range of 26 bars (kijun), less 1"),
    "ichimoku_cross": Feature(25, _tenkan_kijun, "tenkan to kijun, less 1"),
    "ichimoku_cloud_a": Feature(25 + CLOUD_AHEAD, _cloud_a, "close to senkou A as drawn at this bar, known 26 bars before, less 1"),
    "ichimoku_cloud_b": Feature(51 + CLOUD_AHEAD, _cloud_b, "close to senkou B as drawn at this bar, known 26 bars before, less 1"),
}
"""Features of trend by name."""
