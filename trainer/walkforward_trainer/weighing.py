"""How much each row counts where something is fitted: its own weight times that of its class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from walkforward_core.api.recipe import ClassShares
    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.plan import Plan

    Vector = npt.NDArray[np.float64]

__all__ = ["class_weights", "weighed"]


def weighed(rows: Dataset, plan: Plan, at: npt.NDArray[np.intp]) -> Vector:
    """Return the weights of the labelled rows ``at`` in a fit on them and no others, mean 1.

    Where a class target is set, the classes' shares are those among ``at``: what other rows hold plays no part.
    """
    weight = rows.weight[at]
    if plan.target.class_target is not None and plan.classes > 2:
        weight = weight * class_weights(rows.y[at], plan.target.class_target)
    return np.asarray(weight / weight.mean())


def class_weights(y: Vector, wanted: ClassShares) -> Vector:
    """Return a weight for each training row, mean 1, so that the classes 0 down, 1 neutral, 2 up weigh as ``wanted``.

    weight of class c = wanted share / observed share, over the rows ``y`` (n,) without NaN: those of one fit and no others, for the
    shares of test rows are not known then. A class that does not occur weighs nothing, and the others make up for it.

    >>> from walkforward_core.api.recipe import ClassShares
    >>> class_weights(np.array([0.0, 1.0, 1.0, 2.0]), ClassShares(down=0.4, neutral=0.2, up=0.4)).round(2).tolist()
    [1.6, 0.4, 0.4, 1.6]
    """
    observed = np.bincount(y.astype(np.intp), minlength=3) / len(y)
    shares = np.array([wanted.down, wanted.neutral, wanted.up])
    factor = np.divide(shares, observed, out=np.zeros(3), where=observed > 0)
    weights = factor[y.astype(np.intp)]
    return np.asarray(weights / weights.mean())
