"""Oscillators: how far and how steadily the price has moved of late. Finite by definition but for MACD and TRIX (``folds.decayed``)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.features.feature import Feature
from walkforward_core.features.folds import ages, average, decayed, reach, total
from walkforward_core.features.ohlcv import rsi
from walkforward_core.features.prices import above, below, ema, ema_keep, mean_of, true_range, turnover, typical
from walkforward_core.features.rolling import FLAT, divide, lag

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from walkforward_core.features.feature import Sheet

    Series = npt.NDArray[np.float64]

__all__ = ["TABLE"]

CCI_SCALE: Final = 0.015
"""Lambert's constant: about three quarters of the values lie within ±100."""


def _rsi_unit(bars: Sheet, n: int) -> Series:
    return bars.of(rsi, n) / 100.0


def _roc(bars: Sheet, n: int) -> Series:
    return 100.0 * (bars.close / lag(bars.close, n) - 1.0)


def _in_range(bars: Sheet, n: int) -> Series:
    low = bars.of(below, n)
    return divide(bars.close - low, bars.of(above, n) - low, 0.5)


def _stochastic(bars: Sheet, n: int) -> Series:
    """Return slow %K: the place of the close in the range of ``n`` bars, mean of 3."""
    return 100.0 * average(bars.of(_in_range, n), 3)


def _stochastic_signal(bars: Sheet, n: int) -> Series:
    return average(bars.of(_stochastic, n), 3)


def _williams(bars: Sheet, n: int) -> Series:
    return 100.0 * (bars.of(_in_range, n) - 1.0)


def _cci(bars: Sheet, n: int) -> Series:
    price, centre = bars.of(typical), bars.of(mean_of, typical, n)
    count = max(0, len(bars) - n + 1)
    away = np.zeros(count)
    for start in range(min(n, len(bars))):
        away += np.abs(price[start : start + count] - centre[len(bars) - count :])
    spread = np.full(len(bars), np.nan)
    spread[len(bars) - count :] = away / n
    spread[spread <= FLAT * np.abs(centre)] = 0.0
    return divide(price - centre, CCI_SCALE * spread, 0.0)


def _pressure(bars: Sheet) -> Series:
    return bars.close - np.minimum(bars.low, lag(bars.close, 1))


def _ultimate(bars: Sheet) -> Series:
    """Return the sum of buying pressure over 7, 14 and 28 bars to that of true ranges, weighed 4 : 2 : 1."""
    share = [divide(bars.of(mean_of, _pressure, n), bars.of(mean_of, true_range, n), 0.5) for n in (7, 14, 28)]
    return 100.0 * (4.0 * share[0] + 2.0 * share[1] + share[2]) / 7.0


def _macd(bars: Sheet, fast: int, slow: int) -> Series:
    return bars.of(ema, fast) - bars.of(ema, slow)


def _macd_share(bars: Sheet, fast: int, slow: int) -> Series:
    return bars.of(_macd, fast, slow) / bars.close


def _macd_histogram(bars: Sheet, fast: int, slow: int, signal: int) -> Series:
    line = bars.of(_macd, fast, slow)
    return (line - decayed(line, ema_keep(signal))) / bars.close


def _trix(bars: Sheet, n: int) -> Series:
    keep = ema_keep(n)
    thrice = decayed(decayed(bars.of(ema, n), keep), keep)
    return 100.0 * (thrice / lag(thrice, 1) - 1.0)


def _aroon_up(bars: Sheet, n: int) -> Series:
    return 100.0 * (1.0 - ages(bars.high, n + 1) / n)


def _aroon_down(bars: Sheet, n: int) -> Series:
    return 100.0 * (1.0 - ages(-bars.low, n + 1) / n)


def _money_flow(bars: Sheet, n: int) -> Series:
    price, flow = bars.of(typical), bars.of(turnover)
    # thirds are rounded: equal prices of two bars may differ in the last digit, which is no move
    moved, least = price - lag(price, 1), FLAT * price
    # zero, but NaN where either price is missing: no comparison with those holds
    none = 0.0 * (flow + moved)
    rising, falling = total(np.where(moved > least, flow, none), n), total(np.where(moved < -least, flow, none), n)
    return 100.0 * divide(rising, rising + falling, 0.5)


_SLOW: Final = reach(ema_keep(26)) - 1
_TRIPLE: Final = 3 * (reach(ema_keep(15)) - 1) + 1

TABLE: Final[Mapping[str, Feature]] = {
    "rsi_14_unit": Feature(14, partial(_rsi_unit, n=14), "rsi_14, 0 to 1"),
    "roc_10": Feature(10, partial(_roc, n=10), "rate of change over 10 bars, percent"),
    "stoch_k_14": Feature(15, partial(_stochastic, n=14), "stochastic %K: place of the close in the range of 14 bars, mean of 3, 0 to 100"),
    "stoch_d_14": Feature(17, partial(_stochastic_signal, n=14), "stochastic %D: mean of 3 %K"),
    "williams_14": Feature(13, partial(_williams, n=14), "Williams %R over 14 bars, -100 to 0"),
    "cci_20": Feature(19, partial(_cci, n=20), "commodity channel index of the typical price over 20 bars"),
    "ultimate": Feature(28, _ultimate, "ultimate oscillator over 7, 14 and 28 bars, 0 to 100"),
    "macd_12_26": Feature(_SLOW, partial(_macd_share, fast=12, slow=26), "EMA 12 less EMA 26, as a share of the close"),
    "macd_hist_12_26_9": Feature(
        _SLOW + reach(ema_keep(9)) - 1, partial(_macd_histogram, fast=12, slow=26, signal=9), "MACD less its EMA 9, as a share of the close"
    ),
    "trix_15": Feature(_TRIPLE, partial(_trix, n=15), "rate of change of the triple EMA 15 over 1 bar, percent"),
    "aroon_up_25": Feature(25, partial(_aroon_up, n=25), "Aroon up: 100 where the newest bar is the highest of 26, 0 where the oldest is"),
    "aroon_down_25": Feature(25, partial(_aroon_down, n=25), "Aroon down: 100 where the newest bar is the lowest of 26"),
    "mfi_14": Feature(14, partial(_money_flow, n=14), "money flow index over 14 bars, 0 to 100"),
}
"""Features of momentum by name."""
