"""Logistic regression of two or more classes, by Newton's method; no randomness, no dependence on threads or processors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Vector = npt.NDArray[np.float64]

__all__ = ["RIDGE", "dot", "fit_logistic", "fit_softmax", "sigmoid", "softmax"]

RIDGE: Final = 1e-6
"""Penalty on the squared weights of the meta model, relative to the rows: only so that separable rows have an answer."""
CLOSE: Final = 1e-12
FEW: Final = 1 << 14
"""Rows whose products are held at once where each row has a sum of its own."""
MANY: Final = 1 << 20
"""The same where all rows have one sum: up to so many are added in one go."""
MAX_STEP: Final = 10.0


def fit_logistic(z: Vector, y: Vector, weight: Vector | None = None, *, ridge: float = RIDGE, steps: int = 50) -> tuple[Vector, float]:
    """Return weights (m,) and bias of the logistic regression of ``y`` on ``z`` (n, m).

    Minimises the mean log-loss, rows weighing ``weight``, + ridge/2 · |weights|²; the bias is free. ``y`` in [0, 1] may be a share.
    """
    design = np.column_stack((z, np.ones(len(z))))
    penalty = ridge * np.array([1.0] * z.shape[1] + [0.0])
    mass = np.ones(len(y)) if weight is None else weight
    total = mass.sum()
    beta = np.zeros(design.shape[1])
    for _ in range(steps):
        p = sigmoid(dot(design, beta))
        gradient = _weighted_sum(design, (p - y) * mass) / total + penalty * beta
        # the floor keeps a step finite where a row is certain
        curvature = _curvature(design, np.maximum(p * (1.0 - p), 1e-9) * mass) / total
        step = np.linalg.solve(curvature + np.diag(penalty + CLOSE), gradient)
        beta = beta - _bounded(step)
        if np.abs(step).max() < CLOSE:
            break
    return beta[:-1], float(beta[-1])


def fit_softmax(z: Vector, y: Vector, classes: int, weight: Vector | None = None, *, ridge: float = RIDGE) -> tuple[Vector, Vector]:
    """Return weights (classes, m) and biases (classes,) of the multinomial logistic regression of the class ``y`` on ``z`` (n, m).

    Minimises the same as :func:`fit_logistic`. All classes are treated alike; the biases add up to zero.
    """
    design = np.column_stack((z, np.ones(len(z))))
    columns = design.shape[1]
    penalty = ridge * np.array([1.0] * z.shape[1] + [0.0])
    mass = np.ones(len(y)) if weight is None else weight
    total = mass.sum()
    hit = np.eye(classes)[y.astype(np.intp)]
    beta = np.zeros((classes, columns))
    for _ in range(100):
        p = softmax(np.column_stack([dot(design, row) for row in beta]))
        error = (p - hit) * mass[:, None]
        gradient = np.stack([_weighted_sum(design, error[:, c]) for c in range(classes)]) / total + penalty * beta
        curvature = np.empty((classes, columns, classes, columns))
        for a in range(classes):
            for b in range(a, classes):
                share = p[:, a] * (1.0 - p[:, a]) + 1e-9 if a == b else -p[:, a] * p[:, b]
                curvature[a, :, b] = curvature[b, :, a] = _curvature(design, share * mass) / total
        # one number added to all biases changes nothing: held at zero here, or the step along it is rounding by almost zero and never ends
        curvature[:, -1, :, -1] += 1.0
        flat = curvature.reshape(classes * columns, -1) + np.diag(np.tile(penalty + CLOSE, classes))
        step = np.linalg.solve(flat, gradient.ravel()).reshape(beta.shape)
        beta = beta - _bounded(step)
        if np.abs(step).max() < 1e-10:
            break
    return beta[:, :-1], beta[:, -1]


def sigmoid(logit: Vector) -> Vector:
    """Return 1 / (1 + e^-logit)."""
    out: Vector = 1.0 / (1.0 + np.exp(-logit))
    return out


def softmax(logits: Vector) -> Vector:
    """Return the probabilities of ``logits`` (n, classes)."""
    grown = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=1, keepdims=True))


def dot(rows: Vector, weights: Vector) -> Vector:
    """Return ``rows @ weights`` summed in one order: a matrix product sums in an order that depends on processor and threads."""
    out = np.empty(len(rows))
    for first in range(0, len(rows), FEW):
        out[first : first + FEW] = (rows[first : first + FEW] * weights).sum(axis=1)
    return out


def _weighted_sum(design: Vector, mass: Vector) -> Vector:
    """Return Σ mass · row."""
    out: Vector = sum(
        (design[first : first + MANY] * mass[first : first + MANY, None]).sum(axis=0) for first in range(0, len(design), MANY)
    )
    return out


def _curvature(design: Vector, mass: Vector) -> Vector:
    """Return Σ mass · row ⊗ row. A matrix product: where Newton's method ends depends on the gradient alone."""
    out: Vector = sum(  # type: ignore[assignment] # of no row there is no sum
        design[first : first + MANY].T @ (design[first : first + MANY] * mass[first : first + MANY, None])
        for first in range(0, len(design), MANY)
    )
    return out


def _bounded(step: Vector) -> Vector:
    """Return ``step``, shortened where it leaves the region in which the quadratic approximation says anything."""
    return np.asarray(step * min(1.0, MAX_STEP / max(float(np.abs(step).max()), 1e-300)))
