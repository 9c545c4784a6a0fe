"""Bars of one instrument as parallel arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from walkforward_core.durations import parse_ms

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Bars", "timeframe_ms"]


@dataclass(frozen=True, slots=True, eq=False)
class Bars:
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

    def __post_init__(self) -> None:
        """Refuse columns that do not belong together."""
        lengths = {name: len(getattr(self, name)) for name in ("time", "open", "high", "low", "close", "volume")}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"bars: the columns have different lengths {lengths}; give every bar all of them")

    def __len__(self) -> int:
        """Return the number of bars."""
        return len(self.time)

    def __getitem__(self, rows: slice | npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Bars:
        """Return the bars that ``rows`` selects."""
        return Bars(
            time=self.time[rows],
            open=self.open[rows],
            high=self.high[rows],
            low=self.low[rows],
            close=self.close[rows],
            volume=self.volume[rows],
        )

    def append(self, other: Bars, *, keep: int | None = None) -> Bars:
        """Return these bars followed by ``other``; of all of them only the newest ``keep``."""
        start = 0 if keep is None else max(0, len(self) + len(other) - keep)
        return Bars(
            time=np.concatenate((self.time, other.time))[start:],
            open=np.concatenate((self.open, other.open))[start:],
            high=np.concatenate((self.high, other.high))[start:],
            low=np.concatenate((self.low, other.low))[start:],
            close=np.concatenate((self.close, other.close))[start:],
            volume=np.concatenate((self.volume, other.volume))[start:],
        )


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
