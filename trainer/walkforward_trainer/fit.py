"""Stage 7, models and calibration: what is shipped, and what it says on rows that it has not seen.

The shipped model has learned from every row of the window, so its own scores there would flatter it. So each fold's model is
exported as a graph of its own, by the same code, and asked by ONNX Runtime for rows that it has not seen:

- *calibration* folds (PurgedKFold, always): their log-odds fit meta model and calibrator, and are the score's reference;
- *evaluation* folds (the spec's scheme): each has a meta model and a calibrator fitted without its test rows, and its whole graph
  is asked for them. Every metric and gate reads these answers, no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from walkforward_core.api.recipe import Scheme
from walkforward_trainer.errors import BadData, Reason
from walkforward_trainer.graph import base_graph, full_graph
from walkforward_trainer.models.boosted import MODELS
from walkforward_trainer.runtime import run
from walkforward_trainer.splits import SPLITTERS, purged_k_fold
from walkforward_trainer.tail import fit_tail

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.models.boosted import BaseModel
    from walkforward_trainer.plan import Plan
    from walkforward_trainer.splits import Split
    from walkforward_trainer.tail import Tail

    Matrix = npt.NDArray[np.float32]
    Vector = npt.NDArray[np.float64]
    Index = npt.NDArray[np.intp]

__all__ = ["Fitted", "fit"]


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """The shipped bytes, what they are made of, and the answers that evidence is taken from; arrays have one entry a row.

    ``unseen``: calibrated probability by a fold's graph that has not seen the row, NaN where no evaluation fold tests it.
    ``unseen_p``: the probabilities of all classes, shape (n, classes), NaN rows likewise.
    ``score``: the same by the shipped meta model and calibrator, for every row: what live scores look like without drift.
    """

    model: bytes
    bases: tuple[BaseModel, ...]
    tail: Tail
    unseen: Vector
    unseen_p: Vector
    score: Vector
    splits: tuple[Split, ...]


def fit(rows: Dataset, plan: Plan) -> Fitted:
    """Return the fitted model.

    Raises
    ------
    BadData
        A fold in which one answer never occurs.
    """
    calibration = purged_k_fold(rows.t0, rows.t1, plan.folds, plan.embargo_ms)
    z, bases = _out_of_fold(rows, plan, calibration)
    known = rows.known
    tail = fit_tail(z[known], rows.y[known])
    splits = calibration
    if plan.validation.scheme is not Scheme.PURGED_K_FOLD:
        splits = SPLITTERS[plan.validation.scheme](rows.t0, rows.t1, plan.folds, plan.embargo_ms)
        bases = [_fit_bases(rows, plan, split.train, fold) for fold, split in enumerate(splits)]
    unseen = _evaluate(rows, z, splits, bases)
    shipped = _fit_bases(rows, plan, np.flatnonzero(known), None)
    return Fitted(
        model=full_graph([base.trees() for base in shipped], tail, rows.names, _metadata(rows, plan)),
        bases=shipped,
        tail=tail,
        unseen=unseen,
        unseen_p=np.column_stack((1.0 - unseen, unseen)),
        score=tail.probability(z).astype(np.float32).astype(np.float64),
        splits=tuple(splits),
    )


def _out_of_fold(rows: Dataset, plan: Plan, splits: list[Split]) -> tuple[Vector, list[tuple[BaseModel, ...]]]:
    """Return the log-odds of each row, shape (n, models), by base models that have not seen it, and these models."""
    z = np.full((len(rows), len(plan.recipe.models)), np.nan)
    bases = []
    for fold, split in enumerate(splits):
        models = _fit_bases(rows, plan, split.train, fold)
        z[split.test] = run(base_graph([model.trees() for model in models], rows.x.shape[1]), rows.x[split.test])
        bases.append(models)
    return z, bases


def _evaluate(rows: Dataset, z: Vector, splits: list[Split], bases: list[tuple[BaseModel, ...]]) -> Vector:
    """Return the probability of each tested row by a whole graph, tail included, that has not seen it."""
    unseen = np.full(len(rows), np.nan)
    for split, models in zip(splits, bases, strict=True):
        train = _labelled(rows, split.train)
        graph = full_graph([model.trees() for model in models], fit_tail(z[train], rows.y[train]), rows.names, {})
        unseen[split.test] = run(graph, rows.x[split.test])[:, 1]
    return unseen


def _fit_bases(rows: Dataset, plan: Plan, train: Index, fold: int | None) -> tuple[BaseModel, ...]:
    train = _labelled(rows, train)
    y = rows.y[train]
    if len(train) == 0 or y.min() == y.max():
        where = "the window" if fold is None else f"the training rows of fold {fold + 1} of {plan.folds}"
        raise BadData(
            Reason.ONE_CLASS,
            f"validation: {where} hold {len(train)} labels, all alike; use fewer folds, a longer window, "
            "or a threshold that is crossed more often",
        )
    return tuple(MODELS[name](rows.x[train], y, plan.model, plan.trees) for name in plan.recipe.models)


def _labelled(rows: Dataset, index: Index) -> Index:
    return index[rows.known[index]]


def _metadata(rows: Dataset, plan: Plan) -> Mapping[str, str]:
    """Return what the graph says about itself; nothing that differs between two runs on the same data."""
    return {
        "config_digest": plan.config_digest,
        "dataset_digest": rows.digest,
        "calibration": "isotonic",
        "warmup_bars": str(rows.warmup),
        "target": f"{plan.target.kind}:{plan.target.horizon_bars}",
    }
