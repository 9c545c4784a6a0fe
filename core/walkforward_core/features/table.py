"""The table of features: a name, the bars it looks back, the formula. Adding a feature is one entry.

All are causal (row t reads no later bar), have finite memory (row t reads ``lookback`` bars before t and no others, so that a
client with a short history computes the trainer's very bits) and are finite for finite, positive prices: where a market does
not move they take their neutral value.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.features.rolling import divide, lag, mean, std

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from walkforward_core.features.bars import Bars

    Series = npt.NDArray[np.float64]

__all__ = ["FEATURES", "OHLCV", "Feature", "compute", "latest", "lookback", "unknown"]

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Feature:
    """One column: bars needed before the row, formula over all bars, what it means."""

    lookback: int
    formula: Callable[[Bars], Series]
    meaning: str


def _log_return(bars: Bars, n: int) -> Series:
    logs = np.log(bars.close)
    return logs - lag(logs, n)


def _volatility(bars: Bars, n: int) -> Series:
    return std(_log_return(bars, 1), n)


def _volatility_ratio(bars: Bars, short: int, long: int) -> Series:
    return divide(_volatility(bars, short), _volatility(bars, long), 1.0)


def _true_range(bars: Bars) -> Series:
    before = lag(bars.close, 1)
    return np.maximum(bars.high, before) - np.minimum(bars.low, before)


def _atr(bars: Bars, n: int) -> Series:
    return mean(_true_range(bars), n) / bars.close


def _range_to_atr(bars: Bars, n: int) -> Series:
    return divide(bars.high - bars.low, mean(_true_range(bars), n), 1.0)


def _rsi(bars: Bars, n: int) -> Series:
    """Cutler's RSI: simple means of gains and losses, since Wilder's never forget."""
    change = bars.close - lag(bars.close, 1)
    gain, loss = mean(np.maximum(change, 0.0), n), mean(np.maximum(-change, 0.0), n)
    return 100.0 * divide(gain, gain + loss, 0.5)


def _z(bars: Bars, n: int) -> Series:
    return divide(bars.close - mean(bars.close, n), std(bars.close, n), 0.0)


def _log_volume(bars: Bars) -> Series:
    return np.log1p(bars.volume)


def _log_mean_volume(bars: Bars, n: int) -> Series:
    return np.log1p(mean(bars.volume, n))


def _volume_surprise(bars: Bars, n: int) -> Series:
    return _log_volume(bars) - _log_mean_volume(bars, n)


def _day_angle(bars: Bars) -> Series:
    return np.asarray(2.0 * np.pi * (bars.time % DAY_MS) / DAY_MS)


def _hour_sin(bars: Bars) -> Series:
    return np.sin(_day_angle(bars))


def _hour_cos(bars: Bars) -> Series:
    return np.cos(_day_angle(bars))


FEATURES: Final[Mapping[str, Feature]] = {
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
    "log_volume": Feature(0, _log_volume, "log(1 + volume)"),
    "log_volume_mean_24": Feature(23, partial(_log_mean_volume, n=24), "log(1 + mean volume over 24 bars)"),
    "log_volume_surprise_24": Feature(23, partial(_volume_surprise, n=24), "log_volume - log_volume_mean_24"),
    "hour_sin": Feature(0, _hour_sin, "sine of the time of day (UTC) at which the bar closes"),
    "hour_cos": Feature(0, _hour_cos, "cosine of the time of day (UTC) at which the bar closes"),
}
"""Every feature by name."""

OHLCV: Final[tuple[str, ...]] = tuple(FEATURES)
"""The features of the recipe ``ohlcv``, in order."""


def unknown(names: Sequence[str]) -> list[str]:
    """Return those of ``names`` that are not in the table."""
    return [name for name in names if name not in FEATURES]


def lookback(names: Sequence[str]) -> int:
    """Return the warm-up of ``names``: bars needed before the first row that has all of them."""
    return max((_feature(name).lookback for name in names), default=0)


def compute(bars: Bars, names: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return the features ``names`` of every bar, shape (n, len(names)), C-contiguous; the first :func:`lookback` rows hold NaN.

    Raises
    ------
    ValueError
        A name is not in the table.
    """
    columns = [_feature(name).formula(bars) for name in names]
    matrix = np.empty((len(bars), len(columns)), dtype=np.float32)
    for index, column in enumerate(columns):
        matrix[:, index] = column
    return matrix


def latest(bars: Bars, names: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return the features of the newest bar, shape (len(names),), from the last ``lookback(names) + 1`` bars alone.

    Raises
    ------
    ValueError
        A name is not in the table, or the history is too short.
    """
    needed = lookback(names) + 1
    if len(bars) < needed:
        raise ValueError(f"bars: {len(bars)} are too few, {names[0]} … {names[-1]} need {needed}; keep a longer history")
    row: npt.NDArray[np.float32] = compute(bars[len(bars) - needed :], names)[-1]
    return row


def _feature(name: str) -> Feature:
    try:
        return FEATURES[name]
    except KeyError:
        raise ValueError(f"feature {name!r} is not known; choose among {', '.join(FEATURES)}") from None
