"""What bars and samples have in common: parallel arrays that are cut and joined as one."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Columns"]


class Columns:
    """Base of frozen dataclasses whose constructor takes arrays of one shape (n,), oldest row first."""

    __slots__ = ()

    def __post_init__(self) -> None:
        """Refuse columns that do not belong together."""
        lengths = {name: len(column) for name, column in self._columns().items()}
        if len(set(lengths.values())) > 1:
            kind = type(self).__name__.lower()
            raise ValueError(f"{kind}: the columns have different lengths {lengths}; give every row all of them")

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self._columns().values())))

    def __getitem__(self, rows: slice | npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Self:
        """Return the rows that ``rows`` selects."""
        return type(self)(**{name: column[rows] for name, column in self._columns().items()})

    def append(self, other: Self, *, keep: int | None = None) -> Self:
        """Return these rows followed by ``other``; of all of them only the newest ``keep``."""
        start = 0 if keep is None else max(0, len(self) + len(other) - keep)
        joined = {name: np.concatenate((column, getattr(other, name)))[start:] for name, column in self._columns().items()}
        return type(self)(**joined)

    def readable(self) -> Self:
        """Return the same rows as read-only views, contiguous, ``time`` int64 and all else float64.

        No formula then changes what the next one reads, and none meets scattered values, whose logarithm numpy may take by another
        path with another last bit.
        """
        return type(self)(**{name: _frozen(column, np.int64 if name == "time" else np.float64) for name, column in self._columns().items()})

    def _columns(self) -> dict[str, npt.NDArray[Any]]:
        return {field.name: getattr(self, field.name) for field in fields(self) if field.init}  # type: ignore[arg-type] # a dataclass


def _frozen(values: npt.NDArray[Any], dtype: type[np.generic]) -> npt.NDArray[Any]:
    view = np.ascontiguousarray(values, dtype).view()
    view.flags.writeable = False
    return view
