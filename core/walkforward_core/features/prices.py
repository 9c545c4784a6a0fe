"""What several features are made of. Each takes the sheet of a call, on which it is derived once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from walkforward_core.features.folds import average, decayed, highest, lowest, total
from walkforward_core.features.rolling import lag

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from walkforward_core.features.feature import Sheet

    Series = npt.NDArray[np.float64]
    Source = Callable[[Sheet], Series]

__all__ = [
    "above",
    "below",
    "change",
    "close",
    "ema",
    "ema_keep",
    "log_close",
    "log_return",
    "mean_of",
    "mean_range",
    "true_range",
    "turnover",
    "typical",
    "volume",
    "volume_sum",
]


def close(bars: Sheet) -> Series:
    """Return the close."""
    return bars.close


def volume(bars: Sheet) -> Series:
    """Return the volume."""
    return bars.volume


def log_close(bars: Sheet) -> Series:
    """Return the logarithm of the close."""
    return np.log(bars.close)


def log_return(bars: Sheet, n: int) -> Series:
    """Return the log return over ``n`` bars."""
    logs = bars.of(log_close)
    return logs - lag(logs, n)


def change(bars: Sheet) -> Series:
    """Return the close less the one before."""
    return bars.close - lag(bars.close, 1)


def typical(bars: Sheet) -> Series:
    """Return the mean of high, low and close."""
    return (bars.high + bars.low + bars.close) / 3.0


def turnover(bars: Sheet) -> Series:
    """Return typical price times volume."""
    return bars.of(typical) * bars.volume


def true_range(bars: Sheet) -> Series:
    """Return the range of the bar and the close before it."""
    before = lag(bars.close, 1)
    return np.maximum(bars.high, before) - np.minimum(bars.low, before)


def mean_range(bars: Sheet, n: int) -> Series:
    """Return the mean true range over ``n`` bars."""
    return average(bars.of(true_range), n)


def mean_of(bars: Sheet, source: Source, n: int) -> Series:
    """Return the mean of ``source`` over ``n`` bars."""
    return average(bars.of(source), n)


def volume_sum(bars: Sheet, n: int) -> Series:
    """Return the volume of the last ``n`` bars."""
    return total(bars.volume, n)


def above(bars: Sheet, n: int) -> Series:
    """Return the highest high of ``n`` bars."""
    return highest(bars.high, n)


def below(bars: Sheet, n: int) -> Series:
    """Return the lowest low of ``n`` bars."""
    return lowest(bars.low, n)


def ema_keep(n: int) -> float:
    """Return the share that an average of span ``n`` keeps a bar: 1 - 2 / (n + 1)."""
    return 1.0 - 2.0 / (n + 1)


def ema(bars: Sheet, n: int) -> Series:
    """Return the exponential average of the close with span ``n``."""
    return decayed(bars.close, ema_keep(n))
