"""Which rows of a very long window are used: whole stretches of consecutive rows, evenly over its time.

Rows that follow each other share most of their answers, so ten times the rows are far from ten times the evidence, but they are ten
times the memory and the time. Stretches, and not every tenth row: what looks at neighbours (outcomes that do not overlap, features that
come one bar late, drift of a thousand rows without a cause, the best scores of a day) then sees what it sees live.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from walkforward_trainer.dataset import Dataset

__all__ = ["LEAST", "LENGTH", "LIMIT", "left_out", "length_of", "positions", "stretches"]

LIMIT: Final = 4_000_000
"""Rows that are used where the spec says nothing."""
LENGTH: Final = 50_000
"""Rows of a stretch: a month of minutes, and several times the longest window whose drift is measured."""
LEAST: Final = 20
"""Stretches at least; of few rows they are shorter."""


def length_of(most: int) -> int:
    """Return the rows of a stretch where at most ``most`` rows are used."""
    return max(1, min(LENGTH, most // LEAST))


def stretches(first: int, end: int, most: int) -> tuple[tuple[int, int], ...]:
    """Return which of the rows ``first`` … ``end`` - 1 are used, as (first, end) of each stretch, ascending: at most ``most`` rows.

    Everything is one stretch where there are no more rows. Otherwise all are equally long, the first begins with the first row, the last
    ends with the last, and the gaps between them differ by one row at most.

    >>> stretches(5, 25, 20), stretches(0, 100, 40)[:3], stretches(0, 100, 40)[-1]
    (((5, 25),), ((0, 2), (5, 7), (10, 12)), (98, 100))
    """
    if end - first <= most:
        return ((first, end),)
    length = length_of(most)
    count = max(2, most // length)
    return tuple((first + at, first + at + length) for at in (index * (end - first - length) // (count - 1) for index in range(count)))


def positions(used: tuple[tuple[int, int], ...]) -> npt.NDArray[np.intp]:
    """Return the rows of all stretches ``used``, ascending."""
    return np.concatenate([np.arange(first, end, dtype=np.intp) for first, end in used])


def left_out(rows: Dataset) -> str:
    """Return for a person what of the window is not among ``rows``."""
    return (
        f"{rows.left_out:,} of {len(rows) + rows.left_out:,} rows of the window are neither trained nor tested on, in stretches spread "
        "evenly over its time: it is longer than data.maxRows"
    )
