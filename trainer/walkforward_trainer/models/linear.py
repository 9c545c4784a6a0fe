"""Logistic regression with an L2 penalty on standardised columns; a number is fitted by ridge regression."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from walkforward_trainer.models.parts import BaseModel, Linear, Link
from walkforward_trainer.regression import dot, fit_logistic, fit_softmax

if TYPE_CHECKING:
    import numpy.typing as npt

    from walkforward_trainer.models.training import Training
    from walkforward_trainer.resolved import Model

    Vector = npt.NDArray[np.float64]

__all__ = ["fit_linear"]

SIGNIFICANT = 10
"""Digits that are kept of what is fitted: the same run makes the same bytes on another machine."""


def fit_linear(training: Training, parameters: Model) -> BaseModel:
    """Return the model; a column that is the same in every row has no weight."""
    x = training.x.astype(np.float64)
    mass = training.weight / training.weight.sum()
    center = _kept((x * mass[:, None]).sum(axis=0))
    spread = np.sqrt((((x - center) ** 2) * mass[:, None]).sum(axis=0))
    # a constant's spread is what rounding leaves of zero
    flat = spread <= 1e-9 * np.maximum(np.abs(center), 1e-30)
    scale = np.where(flat, 1.0, spread)
    z = np.where(flat, 0.0, (x - center) / scale)
    if training.classes == 0:
        weights, bias = _ridge(z, training.y, mass, parameters.l2)
    elif training.classes == 2:
        one, free = fit_logistic(z, training.y, training.weight, ridge=parameters.l2)
        weights, bias = one[None, :], np.array([free])
    else:
        weights, bias = fit_softmax(z, training.y, training.classes, training.weight, ridge=parameters.l2)
    link = Link.LOG_ODDS if training.classes else Link.NUMBER
    weights = np.where(flat, 0.0, weights / scale)
    part = Linear(center=center, weights=_kept(weights), bias=_kept(bias), scale=_kept(np.where(flat, 0.0, spread)), link=link)

    def native(rows: npt.NDArray[np.float32]) -> Vector:
        return (rows.astype(np.float64) - part.center) @ part.weights.T + part.bias

    return BaseModel(part=part, native=native)


def _ridge(z: Vector, y: Vector, mass: Vector, l2: float) -> tuple[Vector, Vector]:
    """Return the weights (1, f) and bias (1,) that minimise the mean squared error / 2 + l2/2 · |weights|²; columns of z have mean 0."""
    mean = float((y * mass).sum())
    right = np.array([dot((column * mass)[None, :], (y - mean)[None, :])[0] for column in z.T])
    left = z.T @ (z * mass[:, None]) + l2 * np.eye(z.shape[1])
    return np.linalg.solve(left, right)[None, :], np.array([mean])


def _kept(values: Vector) -> Vector:
    return np.array([float(f"{value:.{SIGNIFICANT}g}") for value in values.ravel().tolist()]).reshape(values.shape)
