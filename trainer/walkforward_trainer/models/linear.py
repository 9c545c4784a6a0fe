"""Logistic regression with an L2 penalty on standardised columns; a number is fitted by ridge regression.

With ``winsorise`` a column is first kept within bounds that the training rows of this very fit give; they are frozen in the graph, so a
client sends the plain value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from walkforward_core.features import Bounds
from walkforward_trainer.models.parts import BaseModel, Linear, Link
from walkforward_trainer.regression import fit_logistic, fit_softmax

if TYPE_CHECKING:
    import numpy.typing as npt

    from walkforward_trainer.models.training import Training
    from walkforward_trainer.resolved import Model

    Vector = npt.NDArray[np.float64]

__all__ = ["fit_linear"]

SIGNIFICANT = 12
"""Digits that are kept of what is fitted: the same run makes the same bytes on another machine."""


def fit_linear(training: Training, parameters: Model) -> BaseModel:
    """Return the model; a column that is the same in every row has no weight."""
    bounds = Bounds.of(training.x, parameters.winsorise) if parameters.winsorise > 0 else None
    x = (training.x if bounds is None else bounds.clip(training.x)).astype(np.float64)
    mass = training.weight / training.weight.sum()
    center = _kept((x * mass[:, None]).sum(axis=0))
    # in place: of many rows a copy as float64 is the largest thing that is held
    x -= center
    spread = np.sqrt((x**2 * mass[:, None]).sum(axis=0))
    # a constant's spread is what rounding leaves of zero
    flat = spread <= 1e-9 * np.maximum(np.abs(center), 1e-30)
    scale = np.where(flat, 1.0, spread)
    x /= scale
    x[:, flat] = 0.0
    z = x
    if training.classes == 0:
        weights, bias = _ridge(z, training.y, mass, parameters.l2)
    elif training.classes == 2:
        one, free = fit_logistic(z, training.y, training.weight, ridge=parameters.l2)
        weights, bias = one[None, :], np.array([free])
    else:
        weights, bias = fit_softmax(z, training.y, training.classes, training.weight, ridge=parameters.l2)
    link = Link.LOG_ODDS if training.classes else Link.NUMBER
    weights = np.where(flat, 0.0, weights / scale)
    part = Linear(
        center=center, weights=_kept(weights), bias=_kept(bias), scale=_kept(np.where(flat, 0.0, spread)), link=link, bounds=bounds
    )

    def native(rows: npt.NDArray[np.float32]) -> Vector:
        rows = rows if bounds is None else bounds.clip(rows)
        return (rows.astype(np.float64) - part.center) @ part.weights.T + part.bias

    return BaseModel(part=part, native=native)


def _ridge(z: Vector, y: Vector, mass: Vector, l2: float) -> tuple[Vector, Vector]:
    """Return the weights (1, f) and bias (1,) that minimise the mean squared error / 2 + l2/2 · |weights|²."""
    mean, middle = float((y * mass).sum()), (z * mass[:, None]).sum(axis=0)
    z = z - middle
    right = (z * ((y - mean) * mass)[:, None]).sum(axis=0)
    left = z.T @ (z * mass[:, None]) + l2 * np.eye(z.shape[1])
    weights = np.linalg.solve(left, right)
    return weights[None, :], np.array([mean - float((weights * middle).sum())])


def _kept(values: Vector) -> Vector:
    return np.array([float(f"{value:.{SIGNIFICANT}g}") for value in values.ravel().tolist()]).reshape(values.shape)
