"""Winsorising: values in the tails are pulled in to a quantile, the same percent at either end.

Two kinds of bounds, both causal. :class:`Bounds` are frozen: taken once from training rows and then part of the model.
:func:`rolling_winsorised` takes them for each row from the rows before it, the row itself left out, so that an outlier does not
move its own bound. Quantiles interpolate linearly between neighbours (numpy's default).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from walkforward_core.features.folds import smallest, total
from walkforward_core.features.rolling import lag

if TYPE_CHECKING:
    import numpy.typing as npt

    Series = npt.NDArray[np.float64]
    Matrix = npt.NDArray[np.float32]

__all__ = ["Bounds", "rolling_winsorised"]


@dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """Lowest and highest value that each column may take, float32, shape (f,)."""

    lower: Matrix
    upper: Matrix

    @classmethod
    def of(cls, rows: Matrix, percent: float) -> Bounds:
        """Return the bounds that cut ``percent`` of the finite values of ``rows``, shape (n, f), at either end.

        Raises
        ------
        ValueError
            The percentage is not in [0, 50), or a column has no finite value.
        """
        _check(percent)
        finite = np.where(np.isfinite(rows), rows, np.nan)
        empty = np.flatnonzero(np.isnan(finite).all(axis=0))
        if len(empty):
            raise ValueError(f"winsorise: column {int(empty[0])} has no finite value to take bounds from; leave the feature out")
        lower, upper = np.nanquantile(finite.astype(np.float64), [percent / 100, 1 - percent / 100], axis=0).astype(np.float32)
        return cls(lower=lower, upper=upper)

    def clip(self, rows: Matrix) -> Matrix:
        """Return ``rows`` with every value inside its bounds; NaN stays NaN."""
        return np.clip(rows, self.lower, self.upper)


def rolling_winsorised(values: Series, window: int, percent: float) -> Series:
    """Return ``values`` inside the bounds that cut ``percent`` of the ``window`` rows before each, at either end.

    What is NaN is left out of the bounds; a row has none, and is NaN, where it has not so many rows before it or less than half of
    them are known.

    Raises
    ------
    ValueError
        The percentage is not in [0, 50).
    """
    _check(percent)
    before = lag(values, 1)
    known = total(np.isfinite(before).astype(np.float64), window)
    place = percent / 100 * (np.nan_to_num(known) - 1.0)
    most = math.floor(percent / 100 * (window - 1)) + 2
    lower = _between(smallest(before, window, most), place)
    upper = -_between(smallest(-before, window, most), place)
    found = np.where(known >= window / 2, np.minimum(np.maximum(values, lower), upper), np.nan)
    found[:window] = np.nan
    return found


def _between(ordered: npt.NDArray[np.float64], place: Series) -> Series:
    """Return the value at ``place``, a fraction of rows from the smallest."""
    rows, last = np.arange(len(ordered)), ordered.shape[1] - 1
    below = np.clip(np.floor(place).astype(np.intp), 0, last)
    low, high = ordered[rows, below], ordered[rows, np.minimum(below + 1, last)]
    # with a single value known there is none above it
    out: Series = np.where(place == below, low, low + (high - low) * (place - below))
    return out


def _check(percent: float) -> None:
    if not 0.0 <= percent < 50.0:
        raise ValueError(f"winsorise: {percent} percent per tail would leave nothing; write a number from 0 to below 50, such as 0.5")
