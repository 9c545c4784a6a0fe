"""Metrics of class probabilities (n, classes) against class indices; of two classes 1 is the positive one, of three 0 is down and 2 up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_trainer.metrics.probability import auc, chance_error

if TYPE_CHECKING:
    import numpy.typing as npt

    Vector = npt.NDArray[np.float64]
    Matrix = npt.NDArray[np.float64]

__all__ = [
    "CONFIDENT",
    "DOWN",
    "ELIGIBLE_ALPHA",
    "NEUTRAL",
    "SIDES",
    "UP",
    "above_chance",
    "accuracy",
    "area",
    "brier",
    "confusion",
    "distribution",
    "f1",
    "log_loss",
    "names",
    "positive",
    "tradable_area",
]

DOWN, NEUTRAL, UP = 0, 1, 2
SIDES: Final = ("down", "neutral", "up")
CONFIDENT: Final = 0.60
"""Confidence above which a prediction counts in ``pctAboveConf060``."""
ELIGIBLE_ALPHA: Final = 0.12
"""Smallest |p up - p down| of a prediction that may be traded."""


def positive(classes: int) -> int:
    """Return the class that the decision looks at: 1 of two, up of three."""
    return classes - 1


def names(count: int) -> tuple[str, ...]:
    """Return what ``count`` classes are called where the target is not asked for its own words."""
    return SIDES if count == len(SIDES) else tuple(map(str, range(count)))


def area(y: Vector, p: Matrix, weight: Vector | None = None) -> float:
    """Return the AUC; of three classes the mean of one against the rest (macro). NaN where a class never occurs."""
    if p.shape[1] == 2:
        return auc(y, p[:, 1], weight)
    return float(np.mean([auc((y == index).astype(np.float64), p[:, index], weight) for index in range(p.shape[1])]))


def above_chance(y: Vector, p: Matrix, horizon: float) -> float:
    """Return how many standard errors :func:`area` lies above 1/2, with rows / ``horizon`` independent ones; NaN without a class.

    Of three classes the error is the mean of those of the three areas, which the error of their mean never exceeds.
    """
    of = (1,) if p.shape[1] == 2 else range(p.shape[1])
    return (area(y, p) - 0.5) / float(np.mean([chance_error((y == one).astype(np.float64), horizon) for one in of]))


def tradable_area(y: Vector, p: Matrix) -> float:
    """Return the AUC of up against down among the rows that moved: the part of three classes that earns money."""
    moved = y != NEUTRAL
    return auc((y[moved] == UP).astype(np.float64), p[moved, UP] - p[moved, DOWN])


def confusion(y: Vector, p: Matrix, weight: Vector | None = None) -> npt.NDArray[np.float64]:
    """Return rows (or their weights) by true class (first axis) and most probable class; of equal probabilities the lower class counts."""
    count = p.shape[1]
    cells = y.astype(np.intp) * count + p.argmax(axis=1)
    return np.bincount(cells, weights=weight, minlength=count * count).reshape(count, count).astype(np.float64)


def accuracy(table: npt.NDArray[np.float64]) -> float:
    """Return the share of rows of a confusion table whose most probable class is right."""
    return float(np.trace(table) / table.sum())


def f1(table: npt.NDArray[np.float64]) -> float:
    """Return F1 = 2·tp / (2·tp + fp + fn): of two classes that of the positive one, of three the mean over classes; 0 without any hit."""
    hit = np.diag(table)
    both = table.sum(axis=0) + table.sum(axis=1)
    each = np.divide(2.0 * hit, both, out=np.zeros(len(hit)), where=both > 0)
    return float(each[1] if len(each) == 2 else each.mean())


def brier(y: Vector, p: Matrix, weight: Vector | None = None) -> float:
    """Return the mean squared error of the probabilities: of p(1) for two classes, summed over classes for three (Brier 1950)."""
    if p.shape[1] == 2:
        return float(np.average((p[:, 1] - y) ** 2, weights=weight))
    truth = y[:, None] == np.arange(p.shape[1])
    return float(np.average(((p - truth) ** 2).sum(axis=1), weights=weight))


def log_loss(y: Vector, p: Matrix, weight: Vector | None = None) -> float:
    """Return the mean negative log-likelihood, probabilities kept 1e-7 from certainty."""
    true = np.take_along_axis(p, y.astype(np.intp)[:, None], axis=1)[:, 0]
    return float(-np.average(np.log(np.clip(true, 1e-7, 1 - 1e-7)), weights=weight))


def distribution(p: Matrix, threshold: float) -> dict[str, float]:
    """Return what the predictions of three classes ``p`` (n, 3) look like, shares of rows and means, by the names of the gate's limits.

    Confidence is the largest class probability, alpha |p up - p down|. A row is eligible when its most probable class is not neutral, its
    confidence at least ``threshold`` and its alpha at least 0.12.
    """
    top, confidence = p.argmax(axis=1), p.max(axis=1)
    alpha = np.abs(p[:, UP] - p[:, DOWN])
    eligible = (top != NEUTRAL) & (confidence >= threshold) & (alpha >= ELIGIBLE_ALPHA)
    return {
        "downPct": float(np.mean(top == DOWN)),
        "upPct": float(np.mean(top == UP)),
        "neutralPct": float(np.mean(top == NEUTRAL)),
        "confMean": float(confidence.mean()),
        "pctAboveConf060": float(np.mean(confidence > CONFIDENT)),
        "alphaMean": float(alpha.mean()),
        "eligibilityPct": float(eligible.mean()),
    }
