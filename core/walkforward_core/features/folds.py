"""Windows by doubling: the value of a window of 2k rows is joined from those of its halves, so a window of n rows costs log₂ n passes.

The joins of a window are the same wherever the series starts, so equal windows give equal bits (as in
:mod:`walkforward_core.features.rolling`, which adds lag by lag and costs n passes). Averages are joined as
recent + share · (older - recent): equal values average to that very value, so a flat market is exactly flat. Rows before the
first whole window are NaN, and so are those whose window holds a NaN.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from walkforward_core.features.rolling import FLAT

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Series = npt.NDArray[np.float64]
    State = tuple[Series, ...]
    Join = Callable[[State, State, int, int], State]
    """State of the older and of the recent rows, and how many rows each has → state of both."""

__all__ = ["ages", "average", "decayed", "fold", "highest", "known_moments", "lowest", "moments", "reach", "smallest", "total"]

REST = 1e-4
"""Share of an exponential average's weights that is cut off, at most."""


def fold(state: State, window: int, join: Join) -> State:
    """Return the state of every whole window; entry i is of the rows i to i + window - 1, shape (n - window + 1,)."""
    count = len(state[0]) - window + 1
    if count <= 0:
        return tuple(array[:0] for array in state)
    block, size = state, 1
    done: State | None = None
    covered = 0
    while True:
        if window & size:
            done = block if done is None else join(_first(block, done, size), _after(done, size), size, covered)
            covered += size
        if covered == window:
            return done if done is not None else block
        block = join(_first(block, block, size), _after(block, size), size, size)
        size *= 2


def total(values: Series, window: int) -> Series:
    """Return the sum over the last ``window`` rows, this one included."""
    return _aligned(fold((values,), window, lambda older, recent, _o, _r: (older[0] + recent[0],))[0], len(values), window)


def average(values: Series, window: int) -> Series:
    """Return the mean over the last ``window`` rows."""

    def join(older: State, recent: State, old: int, new: int) -> State:
        return (_between(recent[0], older[0], old / (old + new)),)

    return _aligned(fold((values,), window, join)[0], len(values), window)


def decayed(values: Series, keep: float) -> Series:
    """Return the exponential average of which each row keeps the share ``keep`` from the row before, over :func:`reach` rows."""
    window = reach(keep)

    def join(older: State, recent: State, old: int, new: int) -> State:
        return (_between(recent[0], older[0], keep**new * (1 - keep**old) / (1 - keep ** (old + new))),)

    return _aligned(fold((values,), window, join)[0], len(values), window)


def reach(keep: float) -> int:
    """Return the rows after which the rest of an exponential average weighs less than :data:`REST`.

    >>> reach(1 - 2 / (9 + 1)), reach(1 - 1 / 14)
    (42, 125)
    """
    return math.ceil(math.log(REST) / math.log(keep))


def highest(values: Series, window: int) -> Series:
    """Return the largest of the last ``window`` rows."""
    return _aligned(fold((values,), window, lambda older, recent, _o, _r: (np.maximum(older[0], recent[0]),))[0], len(values), window)


def lowest(values: Series, window: int) -> Series:
    """Return the smallest of the last ``window`` rows."""
    return _aligned(fold((values,), window, lambda older, recent, _o, _r: (np.minimum(older[0], recent[0]),))[0], len(values), window)


def ages(values: Series, window: int) -> Series:
    """Return how many rows ago the largest of the last ``window`` rows was; of equal ones the newest."""

    def join(older: State, recent: State, _old: int, new: int) -> State:
        later = recent[0] >= older[0]
        # a NaN on either side is the larger one, and makes the age NaN at the end
        return np.maximum(older[0], recent[0]), np.where(later, recent[1], older[1] + new)

    largest, age = fold((values, np.zeros(len(values))), window, join)
    return _aligned(np.where(np.isnan(largest), np.nan, age), len(values), window)


def moments(values: Series, window: int) -> tuple[Series, Series]:
    """Return mean and population standard deviation over the last ``window`` rows.

    The deviation is exactly zero where the values do not move.
    Source: Chan, Golub, LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, 1979.
    """

    def join(older: State, recent: State, old: int, new: int) -> State:
        step = recent[0] - older[0]
        share = old * new / (old + new)
        return older[0] + step * (new / (old + new)), older[1] + recent[1] + step * step * share

    mean, squares = fold((values, values - values), window, join)
    spread = np.sqrt(squares / window)
    spread[spread <= FLAT * np.abs(mean)] = 0.0
    return _aligned(mean, len(values), window), _aligned(spread, len(values), window)


def known_moments(values: Series, window: int) -> tuple[Series, Series, Series]:
    """Return how many of the last ``window`` rows are no NaN, with mean and population standard deviation of these."""

    def join(older: State, recent: State, _old: int, _new: int) -> State:
        count = older[0] + recent[0]
        step = recent[1] - older[1]
        share = recent[0] / np.maximum(count, 1.0)
        return count, older[1] + step * share, older[2] + recent[2] + step * step * share * older[0]

    known = np.isfinite(values)
    count, mean, squares = fold((known.astype(np.float64), np.where(known, values, 0.0), np.zeros(len(values))), window, join)
    spread = np.sqrt(squares / np.maximum(count, 1.0))
    spread[spread <= FLAT * np.abs(mean)] = 0.0
    return tuple(_aligned(found, len(values), window) for found in (count, mean, spread))  # type: ignore[return-value] # three


def smallest(values: Series, window: int, count: int) -> Series:
    """Return the ``count`` smallest of the last ``window`` rows in rising order, shape (n, count); what is NaN is left out."""

    def join(older: State, recent: State, _old: int, _new: int) -> State:
        both = np.concatenate((older[0], recent[0]), axis=1)
        both.sort(axis=1)
        return (both[:, :count],)

    out = np.full((len(values), count), np.nan)
    if window <= len(values):
        found = fold((values[:, None],), window, join)[0]
        out[window - 1 :, : found.shape[1]] = found
    return out


def _between(recent: Series, older: Series, share: float) -> Series:
    out = older - recent
    out *= share
    out += recent
    return out


def _first(block: State, beside: State, size: int) -> State:
    """Return of ``block`` the windows that have one of ``beside`` after them."""
    return tuple(array[: len(beside[0]) - size] for array in block)


def _after(state: State, rows: int) -> State:
    return tuple(array[rows:] for array in state)


def _aligned(found: Series, length: int, window: int) -> Series:
    """Return the values of whole windows at their last rows."""
    out = np.full(length, np.nan)
    if len(found):
        out[window - 1 :] = found
    return out
