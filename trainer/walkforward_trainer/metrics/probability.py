"""Metrics of probabilities against labels; pure functions of arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Vector = npt.NDArray[np.float64]

__all__ = ["auc", "auc_error", "calibration_curve", "chance_error", "ece", "precision_at_k"]

DAY_MS = 86_400_000


def auc(y: Vector, score: Vector, weight: Vector | None = None) -> float:
    """Return the area under the ROC curve: P(score of a 1 > score of a 0), ties count half; NaN with one class only.

    >>> auc(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.1, 0.4, 0.35, 0.8]))
    0.75
    """
    mass = np.ones(len(y)) if weight is None else weight
    _, inverse = np.unique(score, return_inverse=True)
    ones = np.bincount(inverse, weights=mass * y)
    zeros = np.bincount(inverse, weights=mass * (1.0 - y))
    pairs = float(ones.sum() * zeros.sum())
    below = np.cumsum(zeros) - zeros
    return float((ones * (below + zeros / 2.0)).sum() / pairs) if pairs > 0 else float("nan")


def auc_error(value: float, y: Vector, horizon: float) -> float:
    """Return the standard error of an AUC (Hanley & McNeil 1982), with rows / horizon independent ones: labels overlap."""
    ones = max(float(y.sum()) / horizon, 1.0)
    zeros = max(float(len(y) - y.sum()) / horizon, 1.0)
    q1, q2 = value / (2.0 - value), 2.0 * value**2 / (1.0 + value)
    variance = (value * (1 - value) + (ones - 1) * (q1 - value**2) + (zeros - 1) * (q2 - value**2)) / (ones * zeros)
    return float(np.sqrt(max(variance, 0.0)))


def chance_error(y: Vector, horizon: float) -> float:
    """Return the standard error of the AUC of scores that know nothing (Mann & Whitney 1947).

    √((n1 + n0 + 1) / (12·n1·n0)), with rows / horizon independent ones; NaN with one class only.
    """
    ones, zeros = float(y.sum()) / horizon, float(len(y) - y.sum()) / horizon
    return float(np.sqrt((ones + zeros + 1.0) / (12.0 * ones * zeros))) if ones > 0 and zeros > 0 else float("nan")


def precision_at_k(y: Vector, score: Vector, time: npt.NDArray[np.int64], k: int) -> float:
    """Return the share of ones among the ``k`` highest scores of a day (UTC), mean over days; of equal scores the earlier row counts.

    A day with fewer rows counts with those it has.
    """
    if not len(y):
        return float("nan")
    _, day = np.unique(time // DAY_MS, return_inverse=True)
    order = np.lexsort((np.arange(len(y)), -score, day))
    day = day[order]
    starts = np.flatnonzero(np.diff(day, prepend=-1))
    top = np.arange(len(y)) - starts[day] < k
    return float(np.mean(np.bincount(day[top], weights=y[order][top]) / np.bincount(day[top])))


def calibration_curve(y: Vector, p: Vector, bins: int = 15) -> list[tuple[float, float, int]]:
    """Return (mean probability, share of ones, rows) of bins of equal mass, ascending."""
    return [(float(p[part].mean()), float(y[part].mean()), len(part)) for part in _bins(p, bins)]


def ece(y: Vector, p: Vector, weight: Vector | None = None, bins: int = 15) -> float:
    """Return the expected calibration error over ``bins`` of equal mass: the mean of |mean probability - share of ones|."""
    mass = np.ones(len(y)) if weight is None else weight
    return float(sum(abs(float((mass[part] * (p[part] - y[part])).sum())) for part in _bins(p, bins)) / mass.sum())


def _bins(p: Vector, bins: int) -> list[npt.NDArray[np.intp]]:
    """Return the rows of each bin; rows are not parted by their weight, so that both errors are of the same bins."""
    order = np.argsort(p, kind="stable")
    return [part for part in np.array_split(order, min(bins, len(p))) if len(part)]
