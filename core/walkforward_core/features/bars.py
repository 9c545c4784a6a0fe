"""Bars of one instrument as parallel arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from walkforward_core.durations import parse_ms
from walkforward_core.features.columns import Columns

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Bars", "timeframe_ms"]


@dataclass(frozen=True, slots=True, eq=False)
class Bars(Columns):
    """Bars of one instrument, oldest first, all arrays of shape (n,).

    ``time`` is the *close* of each bar in epoch milliseconds UTC (int64), the instant at which the bar is known; prices and
    volume are float64.

    Raises
    ------
    ValueError
        The arrays differ in length.
    """

    time: npt.NDArray[np.int64]
    open: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    close: npt.NDArray[np.float64]
    volume: npt.NDArray[np.float64]


def timeframe_ms(timeframe: str) -> int:
    """Return the length of a bar in milliseconds.

    Raises
    ------
    ValueError
        Not of the form 1m, 5m, 1h, 1d.

    >>> timeframe_ms("1h")
    3600000
    """
    length = parse_ms(timeframe)
    if length <= 0:
        raise ValueError(f"timeframe {timeframe!r}: a bar must be longer than zero; write 1m, 5m, 1h or 1d")
    return length
