"""How much each row counts where something is fitted: its own weight times that of its class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from walkforward_trainer.weights import class_weights

if TYPE_CHECKING:
    import numpy.typing as npt

    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.plan import Plan

    Vector = npt.NDArray[np.float64]

__all__ = ["weighed"]


def weighed(rows: Dataset, plan: Plan, at: npt.NDArray[np.intp]) -> Vector:
    """Return the weights of the labelled rows ``at`` in a fit on them and no others, mean 1.

    Where a class target is set, the classes' shares are those among ``at``: what other rows hold plays no part.
    """
    weight = rows.weight[at]
    if plan.target.class_target is not None and plan.classes > 2:
        weight = weight * class_weights(rows.y[at], plan.target.class_target)
    return np.asarray(weight / weight.mean())
