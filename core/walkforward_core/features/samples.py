"""Samples of one instrument, one a minute, and the drift-robust features that are computed from them.

A lag is a lag in time: the sample nearest to so many minutes before, half an interval off at most. Where there is none, after a
gap or a restart of the logger, the value is NaN and not 0, so that whoever reads the column sees the gap. A day's statistics
are of the newest 1,440 samples, the sample itself included, and NaN where more than 60 of them are missing: left out, so that
they span more than 25 hours, or logged without a value.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.features.columns import Columns
from walkforward_core.features.feature import Feature, Of
from walkforward_core.features.folds import known_moments
from walkforward_core.features.rolling import lag
from walkforward_core.features.winsor import rolling_winsorised

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    Series = npt.NDArray[np.float64]

__all__ = ["DAY", "INTERVAL_MS", "TABLE", "Samples"]

INTERVAL_MS: Final = 60_000
"""Time between two samples."""
DAY: Final = 1_440
"""Samples of a day."""
MISSING: Final = 60
"""Samples of a day that may be missing."""
FLOOR: Final = 1e-8
"""Added to a standard deviation, so that a price that hardly moves is not divided by nothing."""
TAIL_PERCENT: Final = 0.5
"""Share of the past day's values, in percent, beyond which a value is pulled in, at either end."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples(Columns):
    """Samples of one instrument, oldest first, all arrays of shape (n,).

    ``time`` is the instant of the sample in epoch milliseconds UTC (int64), rising; ``mid`` the mean of bid and ask, ``spread_bp``
    their distance in basis points, ``vol1m`` the volume of the minute, ``rsi14`` 0 to 100; float64, NaN where the logger had none.

    Raises
    ------
    ValueError
        The arrays differ in length.
    """

    time: npt.NDArray[np.int64]
    mid: npt.NDArray[np.float64]
    spread_bp: npt.NDArray[np.float64]
    vol1m: npt.NDArray[np.float64]
    rsi14: npt.NDArray[np.float64]

    def disorder(self) -> int | None:
        """Return the first row that is not later than the one before, or nothing."""
        late = np.flatnonzero(np.diff(self.time) <= 0)
        return int(late[0]) + 1 if len(late) else None


def _minutes_before(samples: Samples, values: Series, minutes: int) -> Series:
    """Return ``values`` as they were ``minutes`` before, from no more than 2 · ``minutes`` rows before; NaN where there is no sample."""
    out, nearest = np.full(len(values), np.nan), np.full(len(values), INTERVAL_MS // 2)
    for rows in range(1, min(2 * minutes, len(values) - 1) + 1):
        off = np.abs(samples.time[rows:] - samples.time[:-rows] - minutes * INTERVAL_MS)
        # of two that are equally near the older one is taken, so that the answer does not depend on the order of the search
        nearer = off <= nearest[rows:]
        nearest[rows:][nearer] = off[nearer]
        out[rows:][nearer] = values[:-rows][nearer]
    return out


def _log_return(samples: Samples, minutes: int) -> Series:
    logs = np.log(samples.mid)
    return logs - _minutes_before(samples, logs, minutes)


def _whole_day(samples: Samples, values: Series, rows: int) -> Series:
    """Return ``values``, NaN where between the oldest and the newest of ``rows`` samples more than :data:`MISSING` are missing."""
    span = samples.time - lag(samples.time.astype(np.float64), rows - 1)
    return np.where(span < (rows - 1 + MISSING + 0.5) * INTERVAL_MS, values, np.nan)


def _day_z(samples: Samples, values: Series) -> Series:
    known, centre, spread = known_moments(values, DAY)
    z = np.where(spread == 0.0, 0.0 * values, (values - centre) / (spread + FLOOR))
    return _whole_day(samples, np.where(known >= DAY - MISSING, z, np.nan), DAY)


def _bias(samples: Samples) -> Series:
    return np.ones(len(samples))


def _spread(samples: Samples) -> Series:
    return samples.spread_bp


def _log_volume(samples: Samples) -> Series:
    return np.log1p(samples.vol1m)


def _rsi(samples: Samples) -> Series:
    return (samples.rsi14 - 50.0) / 30.0


def _mid_z(samples: Samples) -> Series:
    return _day_z(samples, samples.mid)


def _z(samples: Samples, formula: Callable[[Samples], Series]) -> Series:
    return _day_z(samples, formula(samples))


def _winsorised(samples: Samples, formula: Callable[[Samples], Series]) -> Series:
    return _whole_day(samples, rolling_winsorised(formula(samples), DAY, TAIL_PERCENT), DAY + 1)


def _sample(lookback: int, formula: Callable[[Samples], Series], meaning: str) -> Feature:
    return Feature(lookback, formula, meaning, Of.SAMPLES)


_1M: Final = partial(_log_return, minutes=1)
_5M: Final = partial(_log_return, minutes=5)

TABLE: Final[Mapping[str, Feature]] = {
    "bias": _sample(0, _bias, "1"),
    "mid_logret_1m": _sample(2, _1M, "log return of the mid over 1 minute"),
    "mid_logret_5m": _sample(10, _5M, "log return of the mid over 5 minutes"),
    "spread_bp": _sample(0, _spread, "spread in basis points"),
    "vol1m_log": _sample(0, _log_volume, "log(1 + volume of the minute)"),
    "rsi14_z": _sample(0, _rsi, "(RSI 14 - 50) / 30"),
    "zscore_mid_24h": _sample(DAY - 1, _mid_z, "mid, in standard deviations (+ 1e-8) from its mean over 1,440 samples"),
    "mid_logret_1m_w": _sample(
        DAY + 2, partial(_winsorised, formula=_1M), "mid_logret_1m, winsorised at 0.5 % of the 1,440 samples before"
    ),
    "mid_logret_5m_w": _sample(
        DAY + 10, partial(_winsorised, formula=_5M), "mid_logret_5m, winsorised at 0.5 % of the 1,440 samples before"
    ),
    "spread_bp_w": _sample(DAY, partial(_winsorised, formula=_spread), "spread_bp, winsorised at 0.5 % of the 1,440 samples before"),
    "vol1m_log_w": _sample(DAY, partial(_winsorised, formula=_log_volume), "vol1m_log, winsorised at 0.5 % of the 1,440 samples before"),
    "spread_bp_z": _sample(DAY - 1, partial(_z, formula=_spread), "spread_bp, in standard deviations from its mean over 1,440 samples"),
    "vol1m_z": _sample(DAY - 1, partial(_z, formula=_log_volume), "vol1m_log, in standard deviations from its mean over 1,440 samples"),
}
"""Features of samples by name; the first seven are the drift-robust set."""
