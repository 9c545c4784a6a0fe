"""What a base model is fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Matrix = npt.NDArray[np.float32]
    Vector = npt.NDArray[np.float64]

__all__ = ["Binned", "Training"]


class Binned:
    """Rows ``x`` (n, features) float32; XGBoost's bins of them are made once, by whichever model asks first, and belong to one thread."""

    def __init__(self, x: Matrix) -> None:
        self.x = np.ascontiguousarray(x, np.float32)

    @cached_property
    def quantiles(self) -> Any:
        """XGBoost's matrix; label and weight are set by each model that uses it. Bins do not depend on the weights."""
        import xgboost  # noqa: PLC0415 - seconds to load, not needed to refuse bad data

        return xgboost.QuantileDMatrix(self.x, nthread=1)


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """n rows with their answers.

    Parameters
    ----------
    rows
        Features.
    y
        Shape (n,): the class 0 … classes - 1, or a number where ``classes`` is 0.
    weight
        Shape (n,), mean 1.
    classes
        2, 3, or 0 for a number.
    """

    rows: Binned
    y: Vector
    weight: Vector
    classes: int = 2

    @property
    def x(self) -> Matrix:
        """Features, shape (n, features)."""
        return self.rows.x
