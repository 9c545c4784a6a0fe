"""Calibrators: how a joined score becomes a probability, fitted out of fold and exported exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from walkforward_trainer.regression import fit_logistic, sigmoid

if TYPE_CHECKING:
    import numpy.typing as npt

    Vector = npt.NDArray[np.float64]

__all__ = ["DIGITS", "MAX_SLOPE", "SURE", "Curve", "Sigmoid", "fit_curve", "fit_isotonic", "fit_sigmoid", "limit_slope", "log_odds"]

MAX_SLOPE: Final = 4.0
"""Steepest rise of the calibrated over the joined probability.

An isotonic fit has jumps, and a jump turns the last digit of the base score, which another processor may round otherwise, into
another decision. With this limit an error of 1e-6 in the log-odds moves the probability by 1e-6 at most (the slope of the meta
model is a quarter of its weight).
"""
DIGITS: Final = 9
"""Decimals that are kept of what is fitted: another machine's exponential differs in the sixteenth, the same run makes the same bytes."""
SURE: Final = 1e-6
"""Platt: probabilities are kept this far from 0 and 1, where log-odds are not finite."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Isotonic: knots ``x`` ascending with ``y`` ascending, constant outside, straight between."""

    x: Vector
    y: Vector

    def apply(self, p: Vector) -> Vector:
        """Return the calibrated probabilities of ``p`` (n,)."""
        return np.interp(p, self.x, self.y)

    def describe(self) -> dict[str, Any]:
        """Return the knots."""
        return {"kind": "Isotonic", "x": self.x.tolist(), "y": self.y.tolist()}


@dataclass(frozen=True, slots=True)
class Sigmoid:
    """Platt: the probability's log-odds times ``slope``, plus ``offset``."""

    slope: float
    offset: float

    def apply(self, p: Vector) -> Vector:
        """Return the calibrated probabilities of ``p`` (n,)."""
        return sigmoid(log_odds(p) * self.slope + self.offset)

    def describe(self) -> dict[str, Any]:
        """Return slope and offset."""
        return {"kind": "Platt", "slope": self.slope, "offset": self.offset}


def log_odds(p: Vector) -> Vector:
    """Return ln(p / (1 - p)) of probabilities kept within [SURE, 1 - SURE]."""
    kept = np.clip(p, SURE, 1.0 - SURE)
    return np.asarray(np.log(kept) - np.log(1.0 - kept))


def fit_curve(p: Vector, y: Vector, weight: Vector) -> Curve:
    """Return the isotonic fit of ``y`` in {0, 1} on the joined probabilities ``p`` (n,), no steeper than MAX_SLOPE."""
    x, level = fit_isotonic(p, y, weight)
    return Curve(np.round(x, DIGITS), np.round(limit_slope(x, level, MAX_SLOPE), DIGITS))


def fit_sigmoid(p: Vector, y: Vector, weight: Vector) -> Sigmoid:
    """Return Platt's fit (1999): targets are (N₊ + 1) / (N₊ + 2) and 1 / (N₋ + 2) instead of 1 and 0, N in weights.

    A calibrator says how far a score is to be trusted, not that its opposite is true: where the fit would turn the order of the scores
    round, as of models that learned from too little it may, every score has the share of ones.
    """
    ones = float((weight * y).sum())
    zeros = float(weight.sum()) - ones
    target = np.where(y > 0, (ones + 1.0) / (ones + 2.0), 1.0 / (zeros + 2.0))
    slope, offset = fit_logistic(log_odds(p)[:, None], target, weight)
    if slope[0] < 0.0:
        share = np.array([(weight * target).sum() / weight.sum()])
        return Sigmoid(0.0, round(float(log_odds(share)[0]), DIGITS))
    return Sigmoid(round(float(slope[0]), DIGITS), round(offset, DIGITS))


def fit_isotonic(x: Vector, y: Vector, weight: Vector | None = None) -> tuple[Vector, Vector]:
    """Return the knots of the least-squares non-decreasing fit of ``y`` on ``x`` (pool adjacent violators).

    Ties in ``x`` are one point. Each pooled block gives a knot at its first and at its last ``x``.
    """
    given = np.ones(len(x)) if weight is None else weight
    points, inverse = np.unique(x[given > 0], return_inverse=True)
    masses = np.bincount(inverse, weights=given[given > 0])
    values = np.bincount(inverse, weights=(y * given)[given > 0]) / masses
    blocks: list[tuple[float, float, int, int]] = []
    for index, (value, share) in enumerate(zip(values.tolist(), masses.tolist(), strict=True)):
        level, mass, first = value, share, index
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
