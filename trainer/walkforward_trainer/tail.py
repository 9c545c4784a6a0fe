"""Meta model and calibrator: base log-odds → logistic meta model → isotonic calibration, all in double precision.

Both are fitted on what ONNX Runtime answers for the base models' exported graphs, so they know the numbers that they will meet,
and are written into the same graph exactly as they are evaluated here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Vector = npt.NDArray[np.float64]

__all__ = ["MAX_SLOPE", "Tail", "fit_isotonic", "fit_logistic", "fit_tail", "limit_slope"]

MAX_SLOPE: Final = 4.0
"""Steepest rise of the calibrated over the meta probability.

An isotonic fit has jumps, and a jump turns the last digit of the base score, which another processor may round otherwise, into
another decision. With this limit an error of 1e-6 in the log-odds moves the probability by 1e-6 at most (the slope of the meta
model is a quarter of its weight).
"""
DIGITS: Final = 9
"""Decimals that are kept of what is fitted: another machine's exponential differs in the sixteenth, the same run makes the same bytes."""
RIDGE: Final = 1e-6
"""Penalty on the squared weights of the meta model, relative to the rows: only so that separable rows have an answer."""


@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """``weights`` (m,) and ``bias`` of the meta model; knots ``x`` ascending with ``y`` ascending, constant outside, straight between."""

    weights: Vector
    bias: float
    x: Vector
    y: Vector

    def meta(self, z: Vector) -> Vector:
        """Return the meta model's probability of base log-odds ``z`` (n, m)."""
        return _sigmoid(_dot(z, self.weights) + self.bias)

    def probability(self, z: Vector) -> Vector:
        """Return the calibrated probability of base log-odds ``z`` (n, m), shape (n,)."""
        return np.interp(self.meta(z), self.x, self.y)


def fit_tail(z: Vector, y: Vector) -> Tail:
    """Return meta model and calibrator of base log-odds ``z`` (n, m), out of fold, and labels ``y`` in {0, 1}."""
    fitted, offset = fit_logistic(z, y)
    weights, bias = np.round(fitted, DIGITS), round(offset, DIGITS)
    meta = Tail(weights, bias, np.zeros(1), np.zeros(1)).meta(z)
    knots_x, knots_y = fit_isotonic(meta, y)
    return Tail(weights, bias, np.round(knots_x, DIGITS), np.round(limit_slope(knots_x, knots_y, MAX_SLOPE), DIGITS))


def fit_logistic(z: Vector, y: Vector, *, steps: int = 50) -> tuple[Vector, float]:
    """Return weights and bias of the logistic regression of ``y`` on ``z`` (n, m), by Newton's method (IRLS).

    Minimises the mean log-loss + RIDGE/2 · |weights|²; the bias is free.
    """
    design = np.column_stack((z, np.ones(len(z))))
    penalty = RIDGE * np.array([1.0] * z.shape[1] + [0.0])
    beta = np.zeros(design.shape[1])
    for _ in range(steps):
        p = _sigmoid(_dot(design, beta))
        gradient = (design * (p - y)[:, None]).sum(axis=0) / len(y) + penalty * beta
        # the floor keeps a step finite where a row is certain
        weighted = design * np.maximum(p * (1.0 - p), 1e-9)[:, None]
        curvature = (weighted[:, :, None] * design[:, None, :]).sum(axis=0) / len(y)
        step = np.linalg.solve(curvature + np.diag(penalty + 1e-12), gradient)
        beta = beta - step * min(1.0, 10.0 / max(float(np.abs(step).max()), 1e-300))
        if np.abs(step).max() < 1e-12:
            break
    return beta[:-1], float(beta[-1])


def fit_isotonic(x: Vector, y: Vector) -> tuple[Vector, Vector]:
    """Return the knots of the least-squares non-decreasing fit of ``y`` on ``x`` (pool adjacent violators).

    Ties in ``x`` are one point. Each pooled block gives a knot at its first and at its last ``x``.
    """
    points, inverse = np.unique(x, return_inverse=True)
    weight = np.bincount(inverse).astype(np.float64)
    value = np.bincount(inverse, weights=y) / weight
    blocks: list[tuple[float, float, int, int]] = []
    for index in range(len(points)):
        level, mass, first = float(value[index]), float(weight[index]), index
        while blocks and blocks[-1][0] >= level:
            before, more, first, _ = blocks.pop()
            level, mass = (before * more + level * mass) / (more + mass), more + mass
        blocks.append((level, mass, first, index))
    knots = [(float(points[edge]), level) for level, _, first, last in blocks for edge in dict.fromkeys((first, last))]
    return np.array([at for at, _ in knots]), np.array([level for _, level in knots])


def limit_slope(x: Vector, y: Vector, slope: float) -> Vector:
    """Return values at the same knots, still non-decreasing, that rise by at most ``slope``.

    The mean of the largest such function below and the smallest above: a jump becomes a ramp around its own middle.
    """
    below, above = y.copy(), y.copy()
    for index in range(1, len(x)):
        below[index] = min(below[index], below[index - 1] + slope * (x[index] - x[index - 1]))
    for index in range(len(x) - 2, -1, -1):
        above[index] = max(above[index], above[index + 1] - slope * (x[index + 1] - x[index]))
    return np.asarray((below + above) / 2.0)


def _sigmoid(logit: Vector) -> Vector:
    out: Vector = 1.0 / (1.0 + np.exp(-logit))
    return out


def _dot(rows: Vector, weights: Vector) -> Vector:
    """Return ``rows @ weights`` summed in one order: a matrix product sums in an order that depends on the number of threads."""
    out: Vector = (rows * weights).sum(axis=1)
    return out
