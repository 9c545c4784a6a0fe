"""Returns and what their distribution is like; the shape of the bar; the calendar."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.features.feature import Feature
from walkforward_core.features.folds import average, moments
from walkforward_core.features.prices import log_return
from walkforward_core.features.rolling import divide, lag

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from walkforward_core.features.feature import Sheet

    Series = npt.NDArray[np.float64]

__all__ = ["TABLE"]

DAY_MS: Final = 86_400_000
MONDAY_MS: Final = 4 * DAY_MS
"""The first Monday after the epoch."""
YEAR_MS: Final = 365.2425 * DAY_MS


def _log_return(bars: Sheet, n: int) -> Series:
    return bars.of(log_return, n)


def _mean_return(bars: Sheet, n: int) -> Series:
    return bars.of(log_return, n) / n


def _parkinson(bars: Sheet, n: int) -> Series:
    """Source: Parkinson, The extreme value method for estimating the variance of the rate of return, 1980."""
    found: Series = np.sqrt(average(np.square(np.log(bars.high / bars.low)), n) / (4.0 * np.log(2.0)))
    return found


def _return_moments(bars: Sheet, n: int) -> tuple[Series, Series]:
    return moments(bars.of(log_return, 1), n)


def _standard_moment(bars: Sheet, n: int, power: int) -> Series:
    """Return the mean of ((return - mean) / deviation) ** power over ``n`` bars, NaN where returns do not move."""
    returns = bars.of(log_return, 1)
    centre, spread = _return_moments(bars, n)
    count = max(0, len(returns) - n + 1)
    found = np.zeros(count)
    middle, unit = centre[len(returns) - count :], np.where(spread == 0.0, np.nan, spread)[len(returns) - count :]
    for start in range(min(n, len(returns))):
        away = (returns[start : start + count] - middle) / unit
        square = away * away
        found += square * (away if power == 3 else square)
    out = np.full(len(returns), np.nan)
    out[len(returns) - count :] = found / n
    # a market that does not move is neither skewed nor does it have tails
    out[spread == 0.0] = 0.0 if power == 3 else 3.0
    return out


def _skew(bars: Sheet, n: int) -> Series:
    return _standard_moment(bars, n, 3)


def _tails(bars: Sheet, n: int) -> Series:
    return _standard_moment(bars, n, 4) - 3.0


def _autocorrelation(bars: Sheet, n: int) -> Series:
    """Return Pearson's correlation of ``n`` returns with those one bar before."""
    returns = bars.of(log_return, 1)
    before = lag(returns, 1)
    (now_mean, now_spread), (then_mean, then_spread) = moments(returns, n), moments(before, n)
    count = max(0, len(returns) - n + 1)
    late = slice(len(returns) - count, None)
    found = np.zeros(count)
    for start in range(min(n, len(returns))):
        found += (returns[start : start + count] - now_mean[late]) * (before[start : start + count] - then_mean[late])
    out = np.full(len(returns), np.nan)
    out[late] = found / n
    return divide(out, now_spread * then_spread, 0.0)


def _gap(bars: Sheet) -> Series:
    return np.log(bars.open / lag(bars.close, 1))


def _range_share(bars: Sheet) -> Series:
    return (bars.high - bars.low) / bars.close


def _body(bars: Sheet) -> Series:
    return divide(bars.close - bars.open, bars.high - bars.low, 0.0)


def _close_place(bars: Sheet) -> Series:
    return divide(bars.close - bars.low, bars.high - bars.low, 0.5)


def _week_angle(bars: Sheet) -> Series:
    return np.asarray(2.0 * np.pi * ((bars.time - MONDAY_MS) % (7 * DAY_MS)) / (7 * DAY_MS))


def _year_angle(bars: Sheet) -> Series:
    return np.asarray(2.0 * np.pi * np.mod(bars.time / YEAR_MS, 1.0))


def _week_sin(bars: Sheet) -> Series:
    return np.sin(_week_angle(bars))


def _week_cos(bars: Sheet) -> Series:
    return np.cos(_week_angle(bars))


def _year_sin(bars: Sheet) -> Series:
    return np.sin(_year_angle(bars))


def _year_cos(bars: Sheet) -> Series:
    return np.cos(_year_angle(bars))


TABLE: Final[Mapping[str, Feature]] = {
    "ret_5": Feature(5, partial(_log_return, n=5), "log return over 5 bars"),
    "ret_20": Feature(20, partial(_log_return, n=20), "log return over 20 bars"),
    "mean_ret_5": Feature(5, partial(_mean_return, n=5), "mean of 1-bar log returns over 5 bars"),
    "mean_ret_20": Feature(20, partial(_mean_return, n=20), "mean of 1-bar log returns over 20 bars"),
    "parkinson_20": Feature(19, partial(_parkinson, n=20), "volatility of a bar from highs and lows of 20 bars (Parkinson)"),
    "skew_60": Feature(60, partial(_skew, n=60), "skewness of 1-bar log returns over 60 bars"),
    "kurt_60": Feature(60, partial(_tails, n=60), "excess kurtosis of 1-bar log returns over 60 bars"),
    "autocorr_20": Feature(21, partial(_autocorrelation, n=20), "correlation of 20 1-bar log returns with those a bar before"),
    "gap_1": Feature(1, _gap, "log of the open to the close before"),
    "range_share": Feature(0, _range_share, "high less low, as a share of the close"),
    "body_place": Feature(0, _body, "close less open, as a share of the bar's range, -1 to 1"),
    "close_place": Feature(0, _close_place, "place of the close in the bar's range, 0 to 1"),
    "week_sin": Feature(0, _week_sin, "sine of the time of the week (UTC, from Monday) at which the bar closes"),
    "week_cos": Feature(0, _week_cos, "cosine of the time of the week at which the bar closes"),
    "year_sin": Feature(0, _year_sin, "sine of the time of the year (365.2425 days since the epoch) at which the bar closes"),
    "year_cos": Feature(0, _year_cos, "cosine of the time of the year at which the bar closes"),
}
"""Features of returns, bars and calendar by name."""
