"""Stage 12, parity: the shipped bytes give what was evaluated, or the run fails."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.bundle import Parity
from walkforward_trainer.errors import Broken, Reason
from walkforward_trainer.graph import base_graph
from walkforward_trainer.models.parts import Link, to_log_odds, to_shares
from walkforward_trainer.parallel import side_by_side
from walkforward_trainer.runtime import run_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from walkforward_trainer.fit import Fitted
    from walkforward_trainer.heads import FittedHead
    from walkforward_trainer.models.parts import BaseModel

    Matrix = npt.NDArray[np.float32]
    Vector = npt.NDArray[np.float64]

__all__ = ["LIMIT", "check_parity", "straddling"]

LIMIT: Final = 1e-6
MAX_ROWS: Final = 100_000
"""Rows of the window that are compared, spread over all of it."""
MAX_SPLITS: Final = 5_000
"""Split thresholds around which rows are made, spread over all of them."""


def check_parity(x: Matrix, fitted: Fitted) -> Parity:
    """Return the largest difference found over the rows ``x`` and over rows that lie on, just below and just above split thresholds.

    Compared are each base model in ONNX, and each head's outputs of the shipped graph, against the library that trained it, as
    probabilities and by their largest; and the whole shipped graph against meta model and calibrator as they were evaluated. Estimates
    of numbers count relative to the largest.

    Raises
    ------
    Broken
        A difference above :data:`LIMIT`, another most probable class, or an answer that is no probability.
    """
    every = [*fitted.bases, *(head.model for head in fitted.heads.values())]
    rows = _spread(x, MAX_ROWS)
    rows = np.vstack((rows, straddling(rows, [split for model in every for split in model.part.splits])))
    graphs = [fitted.model, *(base_graph([model.part], rows.shape[1]) for model in fitted.bases)]
    whole, *answers = side_by_side([partial(run_all, graph, rows, []) for graph in graphs])
    shipped, *heads = (answer.astype(np.float64) for answer in whole)
    asked = [answer for (answer,) in answers]
    bases = enumerate(zip(fitted.bases, asked, strict=True), start=1)
    jobs = {f"base model {number}": partial(_apart, *pair, rows) for number, pair in bases}
    outputs = iter(heads)
    for name, head in fitted.heads.items():
        jobs[f"head {name}"] = partial(_head_apart, head, [next(outputs) for _ in head.parts], rows)
    found = dict(zip(jobs, side_by_side(list(jobs.values())), strict=True))
    evaluated = fitted.tail.probability(np.column_stack(asked))
    flips = int((shipped.argmax(axis=1) != evaluated.astype(np.float32).argmax(axis=1)).sum())
    found["calibration"] = _largest(shipped - evaluated) if not flips else float("inf")
    found["sum of p"] = _largest(shipped.sum(axis=1) - 1.0)
    finite = all(np.isfinite(answer).all() for answer in (shipped, *heads))
    worst = _worst(found.values())
    if not (worst <= LIMIT and finite and (shipped >= 0).all()):
        parts = ", ".join(f"{name} {value:.3g}" for name, value in found.items())
        raise Broken(
            Reason.PARITY_FAILED,
            f"parity: shipped and evaluated model differ by {worst:.3g} ({parts}; {flips} rows have another most probable class), "
            f"limit {LIMIT:g}; nothing was published, report this with the library versions",
        )
    return Parity(max_abs=worst, rows=len(rows))


def straddling(x: Matrix, splits: list[tuple[int, float]], most: int = MAX_SPLITS) -> Matrix:
    """Return rows of ``x`` with one feature each on a split's threshold and on both neighbouring float32 numbers.

    At a threshold the last bit of a feature chooses the branch: a graph that compares in another precision is found out here.
    """
    ordered = sorted(set(splits))
    chosen = [ordered[int(at)] for at in np.linspace(0, len(ordered) - 1, min(len(ordered), most))] if ordered else []
    rows = np.repeat(x[np.arange(len(chosen)) * len(x) // max(len(chosen), 1)], 3, axis=0)
    feature = np.array([feature for feature, _ in chosen], np.intp)
    at = np.array([threshold for _, threshold in chosen], np.float32)
    for offset, value in enumerate((np.nextafter(at, np.float32(-np.inf)), at, np.nextafter(at, np.float32(np.inf)))):
        rows[np.arange(len(chosen)) * 3 + offset, feature] = value
    return np.ascontiguousarray(rows, np.float32)


def _apart(model: BaseModel, exported: Vector, rows: Matrix) -> float:
    """Return how far ``exported`` is from the library's own predictor."""
    native = to_log_odds(model.raw(rows), model.part.link)
    return _relative(exported, native) if model.part.link is Link.NUMBER else _largest(to_shares(exported) - to_shares(native))


def _head_apart(head: FittedHead, answers: Sequence[Vector], rows: Matrix) -> float:
    """Return how far the shipped ``answers``, one for each of the head's outputs, are from the library's own."""
    native = to_log_odds(head.model.raw(rows), head.model.part.link)
    if head.classes:
        return _largest(answers[0] - to_shares(native))
    return _worst(_relative(answer, native + part.shift) for answer, part in zip(answers, head.parts, strict=True))


def _relative(ours: Vector, theirs: Vector) -> float:
    return _largest(ours - theirs) / max(1.0, _largest(theirs))


def _largest(values: Vector) -> float:
    """Return the largest amount. Predictors that clearly prefer different classes are half as far apart as is clear in some probability."""
    return float(np.abs(values).max())


def _worst(found: Iterable[float]) -> float:
    """Return the largest of ``found``, no number where one of them is none: Python's own ``max`` forgets it."""
    return float(np.max(list(found)))


def _spread(x: Matrix, most: int) -> Matrix:
    return x if len(x) <= most else x[np.linspace(0, len(x) - 1, most).astype(np.intp)]
