"""Does a feature keep what the table promises? For the tests of those who write one.

>>> import numpy as np
>>> from walkforward_core.features import Bars, Feature, check_causal
>>> flat = np.full(50, 1.1)
>>> bars = Bars(time=60_000 * np.arange(1, 51), open=flat, high=flat, low=flat, close=1.1 + 0.01 * np.arange(50), volume=flat)
>>> check_causal(Feature(1, lambda bars: np.append(np.nan, np.diff(bars.close)), "change"), bars)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from walkforward_core.features.feature import FeatureError
from walkforward_core.features.matrix import column, readable

if TYPE_CHECKING:
    import numpy.typing as npt

    from walkforward_core.features.bars import Bars
    from walkforward_core.features.feature import Feature
    from walkforward_core.features.samples import Samples

__all__ = ["check_causal"]


def check_causal(feature: Feature, rows: Bars | Samples, *, name: str = "to be checked", cuts: int = 8) -> None:
    """Compute ``feature`` over shortened rows and compare the bits of what comes out.

    Rows are cut off at the end (a feature that reads later ones changes before the cut) and at the beginning (one that reads more
    than its look-back changes after it), at ``cuts`` places each.

    Raises
    ------
    FeatureError
        A row comes out otherwise; the message names it.
    ValueError
        There are too few rows to cut.
    """
    back, count = feature.lookback, len(rows)
    if count < back + cuts + 2:
        raise ValueError(
            f"check_causal: {count} rows are too few for a look-back of {back} and {cuts} cuts; give {back + cuts + 2} or more"
        )
    whole = _bits(name, feature, rows)
    for cut in np.linspace(back + 1, count - 1, cuts, dtype=int).tolist():
        _compare(
            name, whole[back:cut], _bits(name, feature, rows[:cut])[back:], back, f"the rows from {cut} on are cut off: it reads later rows"
        )
    for cut in np.linspace(1, count - back - 1, cuts, dtype=int).tolist():
        short = _bits(name, feature, rows[cut:])[back:]
        why = f"the first {cut} rows are cut off: it reads more than its look-back of {back}"
        _compare(name, whole[cut + back :], short, cut + back, why)


def _bits(name: str, feature: Feature, rows: Bars | Samples) -> npt.NDArray[np.float32]:
    return column(name, feature, readable(rows)).astype(np.float32)


def _compare(name: str, whole: npt.NDArray[np.float32], part: npt.NDArray[np.float32], first: int, why: str) -> None:
    differ = np.flatnonzero(whole.view(np.uint32) != part.view(np.uint32))
    if len(differ):
        at = int(differ[0])
        raise FeatureError(f"feature {name!r} is {whole[at]} in row {first + at}, and {part[at]} when {why}")
