"""Feature matrices of bars and samples, in blocks of rows: bounded memory, and work that stays in the processor's cache.

A block is computed from its rows and the look-back before them; since features have finite memory, blocks make the same bits as
all rows at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.features.bars import Bars
from walkforward_core.features.feature import FeatureError, Of, Sheet
from walkforward_core.features.samples import Samples
from walkforward_core.features.table import FEATURES, find, lookback, titled

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from walkforward_core.features.feature import Feature

__all__ = ["column", "compute", "latest", "readable"]

BLOCK: Final = 16_384
"""Rows of a block, unless the look-back asks for longer ones."""
PROBES: Final = (0.25, 0.5, 0.75)
"""Where rows of another package's feature are computed once more from their look-back alone, as shares of all rows."""


def compute(rows: Bars | Samples, names: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return the features ``names`` of every row, shape (n, len(names)), C-contiguous; a feature's first ``lookback`` rows hold NaN.

    Raises
    ------
    ValueError
        A name is not in the table, or its feature is of another kind of rows; samples that are not in order.
    FeatureError
        A feature of another package raises, has the wrong shape, or reads more than its look-back.
    """
    chosen = find(names)
    _check(rows, names, chosen)
    matrix = np.empty((len(rows), len(names)), dtype=np.float32)
    back = max((feature.lookback for feature in chosen), default=0)
    step = max(BLOCK, 8 * back)
    for first in range(0, len(rows), step):
        begin, end = max(0, first - back), min(len(rows), first + step)
        block = readable(rows[begin:end])
        for index, (name, feature) in enumerate(zip(names, chosen, strict=True)):
            matrix[first:end, index] = column(name, feature, block)[first - begin :]
    for index, (name, feature) in enumerate(zip(names, chosen, strict=True)):
        matrix[: feature.lookback, index] = np.nan
        if name not in FEATURES:
            _probe(name, feature, rows, matrix[:, index])
    return matrix


def latest(rows: Bars | Samples, names: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return the features of the newest row, shape (len(names),), from the last ``lookback(names) + 1`` rows alone.

    Raises
    ------
    ValueError
        As :func:`compute`, or the history is too short.
    FeatureError
        As :func:`compute`.
    """
    needed = lookback(names) + 1
    if len(rows) < needed:
        kind = type(rows).__name__.lower()
        raise ValueError(f"{kind}: {len(rows)} are too few, {names[0]} … {names[-1]} need {needed}; keep a longer history")
    row: npt.NDArray[np.float32] = compute(rows[len(rows) - needed :], names)[-1]
    return row


def readable(rows: Bars | Samples) -> Bars | Samples:
    """Return ``rows`` as a formula is given them: read-only, bars with a sheet of what is derived from them."""
    return Sheet.over(rows) if isinstance(rows, Bars) else rows.readable()


def column(name: str, feature: Feature, rows: Bars | Samples) -> npt.NDArray[np.float64]:
    """Return one feature of every row, shape (n,), as its formula makes it.

    Raises
    ------
    FeatureError
        The formula raises, or what it returns is not one number a row.
    """
    try:
        found = np.asarray(feature.formula(rows), np.float64)
    except Exception as error:
        raise FeatureError(f"{titled(name)} broke on {len(rows)} {feature.of}: {error!r}; correct its formula") from error
    if found.shape != (len(rows),):
        raise FeatureError(f"{titled(name)} has the shape {found.shape} on {len(rows)} {feature.of}; return one number for each of them")
    return found


def _check(rows: Bars | Samples, names: Sequence[str], chosen: Sequence[Feature]) -> None:
    kind = Of.BARS if isinstance(rows, Bars) else Of.SAMPLES
    for name, feature in zip(names, chosen, strict=True):
        if feature.of is not kind:
            raise ValueError(f"feature {name!r} is of {feature.of}, the rows are {kind}; choose features of {kind}")
    late = rows.disorder() if isinstance(rows, Samples) else None
    if late is not None:
        raise ValueError(f"samples: row {late} is not later than the one before; sort them by time and keep one of each instant")


def _probe(name: str, feature: Feature, rows: Bars | Samples, found: npt.NDArray[np.float32]) -> None:
    """Hold a feature of another package to its look-back: training would see what no client can compute.

    Raises
    ------
    FeatureError
        A row comes out otherwise from its look-back alone.
    """
    for share in PROBES:
        row = int(share * len(rows))
        if row < feature.lookback:
            continue
        alone = column(name, feature, readable(rows[row - feature.lookback : row + 1]))[-1:].astype(np.float32)
        if alone.tobytes() != found[row : row + 1].tobytes():
            raise FeatureError(
                f"{titled(name)} is {found[row]} in row {row}, and {alone[0]} from that row and its look-back of {feature.lookback} alone; "
                "it reads later rows or more earlier ones: hold it to check_causal, correct it or its lookback"
            )
