"""What the probabilities are worth: calibration, precision by day, confusion, and the shape of three classes' predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_trainer.metrics.classes import SIDES
from walkforward_trainer.metrics.probability import calibration_curve
from walkforward_trainer.report.data import Calibration, CalibrationPoint, Confusion, Day, Days, Distribution
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Vector = npt.NDArray[np.float64]
    Matrix = npt.NDArray[np.float64]
    Times = npt.NDArray[np.int64]

__all__ = ["calibration", "class_names", "confusions", "days", "distribution"]

DAY_MS: Final = 86_400_000
MOST_DAYS: Final = 120
"""More bars than this are no longer told apart."""
CONFIDENCE_BINS: Final = 20
Z95: Final = 1.959963984540054
NAMES: Final = {
    "Risk": ("calm", "risky"),
    "Direction": ("not up", "up"),
    "BadTrade": ("good", "bad"),
    "Adaptive": SIDES,
}


def class_names(kind: str, classes: int) -> tuple[str, ...]:
    """Return what the classes of a target are called; those of an unknown one after what they mean to the decision."""
    names = NAMES.get(kind, SIDES if classes == 3 else ("no", "yes"))
    return names if len(names) == classes else tuple(f"class {index}" for index in range(classes))


def calibration(y: Vector, p: Matrix, names: Sequence[str], independent: int) -> tuple[Calibration, ...]:
    """Return the curve of each class that a decision may look at: of two classes the positive one, of three all.

    Intervals are Wilson's with rows · ``independent`` / n observations: labels overlap.
    """
    if not len(y):
        return ()
    share = min(independent / len(y), 1.0)
    wanted = range(len(names)) if len(names) > 2 else (1,)
    return tuple(_calibration(names[index], (y == index).astype(np.float64), p[:, index], share) for index in wanted)


def confusions(y: Vector, p: Matrix, score: Vector, names: Sequence[str], threshold: float | None) -> tuple[Confusion, ...]:
    """Return the table by the most probable class, and by the decision's ``threshold`` where that reads two classes otherwise."""
    if not len(y):
        return ()
    found = [Confusion(rule="most probable class", labels=tuple(names), counts=_counts(y, p.argmax(axis=1), len(names)))]
    if threshold is not None and len(names) == 2 and threshold != 0.5:
        rule = f"{names[1]} above {threshold:g}, as decided"
        found.append(Confusion(rule=rule, labels=tuple(names), counts=_counts(y, score > threshold, 2)))
    return tuple(found)


def days(t0: Times, hit: Vector, p: Vector, k: int) -> Days | None:
    """Return precision@k by day (UTC), of more than :data:`MOST_DAYS` the mean of equal spans; of equal scores the earlier row counts.

    None where no day has two rows to choose from.
    """
    if not len(t0):
        return None
    day = t0 // DAY_MS
    found, first = np.unique(day, return_index=True)
    if len(found) == len(day):
        return None
    blocks = np.split(np.arange(len(day)), first[1:])
    each = np.array([hit[rows[np.argsort(-p[rows], kind="stable")[:k]]].mean() for rows in blocks])
    span = int(found[-1] - found[0]) // MOST_DAYS + 1
    groups = [np.flatnonzero((found - found[0]) // span == index) for index in np.unique((found - found[0]) // span)]
    shown = tuple(_day(found[group], each[group]) for group in groups)
    whole = sum(len(rows) <= k for rows in blocks)
    return Days(k=k, base=float(hit.mean()), mean=float(each.mean()), days=shown, whole=whole)


def distribution(y: Vector, p: Matrix, names: Sequence[str]) -> Distribution | None:
    """Return what the predictions of more than two classes look like."""
    count = len(names)
    if count < 3 or not len(y):
        return None
    top, confidence = p.argmax(axis=1), p.max(axis=1)
    edges = np.linspace(1.0 / count, 1.0, CONFIDENCE_BINS + 1)
    return Distribution(
        labels=tuple(names),
        actual=tuple((np.bincount(y.astype(np.intp), minlength=count) / len(y)).tolist()),
        predicted=tuple((np.bincount(top, minlength=count) / len(y)).tolist()),
        mean_probability=tuple(p.mean(axis=0).tolist()),
        edges=tuple(edges.tolist()),
        rows=tuple(np.histogram(np.clip(confidence, edges[0], 1.0), edges)[0].tolist()),
    )


def _calibration(name: str, hit: Vector, p: Vector, share: float) -> Calibration:
    points = []
    for stated, seen, rows in calibration_curve(hit, p):
        low, high = _wilson(seen, max(rows * share, 1.0))
        points.append(CalibrationPoint(stated=stated, seen=seen, low=low, high=high, rows=rows))
    return Calibration(name=name, points=tuple(points))


def _wilson(share: float, count: float) -> tuple[float, float]:
    """Return Wilson's 95 % interval (1927) of a share seen in ``count`` independent observations."""
    z2 = Z95**2
    center = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = Z95 / (1 + z2 / count) * np.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return max(float(center - half), 0.0), min(float(center + half), 1.0)


def _counts(y: Vector, predicted: npt.NDArray[np.generic], classes: int) -> tuple[tuple[int, ...], ...]:
    cells = np.bincount(y.astype(np.intp) * classes + predicted.astype(np.intp), minlength=classes * classes)
    return tuple(tuple(row) for row in cells.reshape(classes, classes).tolist())


def _day(day: Times, precision: Vector) -> Day:
    first, last = timestamp(int(day[0]) * DAY_MS)[:10], timestamp(int(day[-1]) * DAY_MS)[:10]
    return Day(start=first, end=last, days=len(day), precision=float(precision.mean()))
