"""Further outputs of the graph: their answers on unseen rows, and prediction intervals of estimates.

Intervals are split-conformal (Vovk et al. 2005; Lei et al. 2018): the estimate ± the ⌈(m + 1)·coverage⌉-th smallest of m absolute
residuals on rows that the estimating model had not seen. They hold marginally for rows that are exchangeable with those; returns are
not quite, so the coverage is measured too, each block by a width that it had no part in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from walkforward_core.bundle import Head as HeadRecord
from walkforward_trainer.errors import BadData, Reason
from walkforward_trainer.graph import HeadPart, base_graph
from walkforward_trainer.labels import classes_of
from walkforward_trainer.metrics import probability
from walkforward_trainer.runtime import run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.models.parts import BaseModel
    from walkforward_trainer.plan import Plan
    from walkforward_trainer.resolved import Head
    from walkforward_trainer.splits import Split

    Vector = npt.NDArray[np.float64]
    Index = npt.NDArray[np.intp]

__all__ = ["FittedHead", "HeadFits", "conformal_width", "finish_heads", "head_metrics", "head_records"]


@dataclass(frozen=True, slots=True, eq=False)
class FittedHead:
    """A further output.

    Parameters
    ----------
    target, classes
        The kind of its label; 2, or 0 for a number.
    model
        As it is shipped.
    unseen
        Probability of class 1, or the estimate, by a model that has not seen the row, shape (n,); NaN where no split tests it.
    width, covered
        Half of the interval's width and the share of unseen answers inside; None without an interval.
    parts
        Outputs of the graph, the head itself first.
    """

    target: str
    classes: int
    model: BaseModel
    unseen: Vector
    width: float | None
    covered: float | None
    parts: tuple[HeadPart, ...]


@dataclass(frozen=True, slots=True, eq=False)
class HeadFits:
    """The splits with each one's answers by head, the shipped models, and the rows that calibrate, if any do."""

    splits: Sequence[Split]
    answers: Sequence[Mapping[str, Vector]]
    shipped: Mapping[str, BaseModel]
    held: Index | None


def finish_heads(rows: Dataset, plan: Plan, fits: HeadFits) -> dict[str, FittedHead]:
    """Return every head of the recipe by its name."""
    return {head.name: _finish(rows, head, fits) for head in plan.recipe.heads}


def head_metrics(rows: Dataset, heads: Mapping[str, FittedHead]) -> dict[str, float]:
    """Return what is known about heads on unseen rows: ``<name>Auc``, or ``<name>R2``, ``<name>Width`` and ``<name>Coverage``.

    R² is against the mean of the same rows; below 0 the mean would have been the better estimate.
    """
    found = {}
    for name, head in heads.items():
        answers = rows.targets[name]
        at = np.isfinite(answers) & np.isfinite(head.unseen)
        y, given = answers[at], head.unseen[at]
        if head.classes:
            found[f"{name}Auc"] = probability.auc(y, given)
        elif len(y):
            found[f"{name}R2"] = 1.0 - float(((y - given) ** 2).sum()) / max(float(((y - y.mean()) ** 2).sum()), 1e-300)
        if head.width is not None and head.covered is not None:
            found |= {f"{name}Width": 2.0 * head.width, f"{name}Coverage": head.covered}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def head_records(heads: Mapping[str, FittedHead]) -> tuple[HeadRecord, ...]:
    """Return the heads as the manifest names them."""
    return tuple(
        HeadRecord(name=part.name, target=target, columns=part.classes or 1)
        for head in heads.values()
        for part, target in zip(head.parts, (head.target, "Lower", "Upper"), strict=False)
    )


def conformal_width(residuals: Vector, coverage: float) -> float:
    """Return the ⌈(m + 1)·coverage⌉-th smallest of m absolute residuals; infinite where m is too small for that coverage.

    >>> conformal_width(np.array([3.0, -1.0, 2.0, -4.0]), 0.8), conformal_width(np.array([1.0]), 0.9)
    (4.0, inf)
    """
    rank = math.ceil((len(residuals) + 1) * coverage - 1e-9)
    return float(np.sort(np.abs(residuals))[rank - 1]) if 0 < rank <= len(residuals) else math.inf


def _finish(rows: Dataset, head: Head, fits: HeadFits) -> FittedHead:
    model, classes = fits.shipped[head.name], classes_of(head.target)
    unseen = np.full(len(rows), np.nan)
    for split, answer in zip(fits.splits, fits.answers, strict=True):
        unseen[split.test] = answer[head.name]
    own = HeadPart(head.name, model.part, classes)
    if head.coverage is None or classes:
        return FittedHead(head.target.kind, classes, model, unseen, None, None, (own,))
    width, covered = _interval(rows.targets[head.name], unseen, head.coverage, model, rows, fits)
    lower, upper = (HeadPart(f"{head.name}_{end}", model.part, 0, shift) for end, shift in (("lower", -width), ("upper", width)))
    return FittedHead(head.target.kind, classes, model, unseen, width, covered, (own, lower, upper))


def _interval(answers: Vector, unseen: Vector, coverage: float, model: BaseModel, rows: Dataset, fits: HeadFits) -> tuple[float, float]:
    """Return half the width, and the share of unseen answers that lie within a width that they had no part in."""
    blocks = [_known(answers[split.test] - unseen[split.test]) for split in fits.splits]
    if fits.held is not None:
        # a Holdout: what calibrates the probabilities calibrates the interval, and the test rows are left to test it
        estimate = run(base_graph([model.part], rows.x.shape[1]), rows.x[fits.held])[:, 0]
        width = _wide(_known(answers[fits.held] - estimate), coverage)
        return width, _inside(np.concatenate(blocks), width)
    if len(blocks) == 1:
        blocks = np.array_split(blocks[0], 2)
    inside = [
        _inside(block, _wide(np.concatenate([*blocks[:at], *blocks[at + 1 :]]), coverage)) * len(block) for at, block in enumerate(blocks)
    ]
    return _wide(np.concatenate(blocks), coverage), sum(inside) / max(sum(map(len, blocks)), 1)


def _wide(residuals: Vector, coverage: float) -> float:
    width = conformal_width(residuals, coverage)
    if not math.isfinite(width):
        raise BadData(
            Reason.TOO_FEW_ROWS,
            f"prediction interval: {len(residuals)} unseen answers cannot show a coverage of {coverage:.0%}; use a longer window",
        )
    return float(f"{width:.9g}")


def _inside(residuals: Vector, width: float) -> float:
    return float((np.abs(residuals) <= width).mean()) if len(residuals) else math.nan


def _known(values: Vector) -> Vector:
    return values[np.isfinite(values)]
