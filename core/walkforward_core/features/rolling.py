"""Rolling windows whose value depends on the rows of the window alone.

A running sum, or an exponential average, carries a trace of every earlier row: computed again from a later start it differs in
the last digits, and a live row would not equal the training row. Here each window is summed lag by lag in the same order
wherever the series starts, so equal windows give equal bits. Rows before the first whole window are NaN. New formulae take their
windows from :mod:`walkforward_core.features.folds`, which needs fewer passes; these two stay for the models that learned their bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Series = npt.NDArray[np.float64]

__all__ = ["FLAT", "divide", "lag", "mean", "std"]

FLAT = 1e-12
"""A spread below this share of the level is rounding, not movement."""


def lag(values: Series, bars: int) -> Series:
    """Return ``values`` as they were ``bars`` rows before."""
    out = np.full(len(values), np.nan)
    if bars < len(values):
        out[bars:] = values[: len(values) - bars]
    return out


def mean(values: Series, window: int) -> Series:
    """Return the mean over the last ``window`` rows, this one included."""
    out = np.full(len(values), np.nan)
    count = len(values) - window + 1
    if count > 0:
        total = np.zeros(count)
        for offset in range(window):
            total += values[offset : offset + count]
        out[window - 1 :] = total / window
    return out


def std(values: Series, window: int) -> Series:
    """Return the population standard deviation over the last ``window`` rows; exactly zero where they do not move."""
    centre = mean(values, window)[window - 1 :]
    out = np.full(len(values), np.nan)
    if len(centre):
        total = np.zeros(len(centre))
        for offset in range(window):
            total += np.square(values[offset : offset + len(centre)] - centre)
        spread = np.sqrt(total / window)
        spread[spread <= FLAT * np.abs(centre)] = 0.0
        out[window - 1 :] = spread
    return out


def divide(numerator: Series, denominator: Series, neutral: float) -> Series:
    """Return the quotient, and ``neutral`` where the denominator is zero: a flat market says nothing either way."""
    flat = denominator == 0.0
    out: Series = numerator / np.where(flat, 1.0, denominator)
    out[flat] = neutral
    return out
