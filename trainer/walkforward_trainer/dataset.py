"""What every stage after the labels works on: rows in the order in which they are decided, with their answers.

Bars, trades and logged samples all become a :class:`Dataset`; nothing later knows which it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    Matrix = npt.NDArray[np.float32]
    Vector = npt.NDArray[np.float64]
    Times = npt.NDArray[np.int64]

__all__ = ["Columns", "Dataset", "FixedColumns"]


class Columns(Protocol):
    """Where further feature columns of the same rows come from: the live model may read others than the candidate."""

    def missing(self, names: Sequence[str]) -> str:
        """Return why ``names`` cannot be had for every row, or nothing."""
        ...

    def matrix(self, names: Sequence[str]) -> Matrix:
        """Return the columns ``names``, shape (n, len(names)) float32."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class FixedColumns:
    """Columns that are what they are: features frozen with a trade, for example."""

    x: Matrix
    names: tuple[str, ...]

    def missing(self, names: Sequence[str]) -> str:
        """Return the names that are not there."""
        strangers = [name for name in names if name not in self.names]
        return f"the rows do not have the features {', '.join(strangers)}" if strangers else ""

    def matrix(self, names: Sequence[str]) -> Matrix:
        """Return the columns ``names``."""
        return self.x[:, [self.names.index(name) for name in names]]


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """n rows, ascending by ``t0``.

    Parameters
    ----------
    x
        Features, shape (n, f) float32, of the columns ``names``.
    y
        Class of each row, 0 … classes - 1, NaN without a label; of two classes 1 is the positive one, of three 0 is down, 1 neutral, 2 up.
    t0, t1
        The label's information interval in epoch milliseconds UTC: decided at t0, answered at t1.
    returns
        Simple gross return of the instrument over it.
    base
        Position of the base rule, in [-1, 1].
    weight
        Weight of each row in fits, mean 1.
    symbol, symbols
        Index of each row's instrument in ``symbols``.
    targets
        Answers of further targets by the name of their head, NaN without one.
    left_out, stretch
        Rows of the window that are not among these, since it has more than are used (:mod:`~walkforward_trainer.stretches`), and how many
        consecutive rows each stretch of these then has; 0 where nothing is left out.
    digest
        ``sha256:`` over every value that was used.
    columns
        Further feature columns of the same rows.
    warmup
        Bars before a row that its features look back; a client needs as many.
    horizon_ms
        Usual length of the information interval, in milliseconds.
    """

    x: Matrix
    names: tuple[str, ...]
    y: Vector
    t0: Times
    t1: Times
    returns: Vector
    base: Vector
    weight: Vector
    symbol: npt.NDArray[np.int16]
    symbols: tuple[str, ...]
    digest: str
    columns: Columns
    warmup: int
    horizon_ms: int
    targets: Mapping[str, Vector] = field(default_factory=dict)
    left_out: int = 0
    stretch: int = 0

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.x)

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Rows that have a label."""
        return np.isfinite(self.y)
