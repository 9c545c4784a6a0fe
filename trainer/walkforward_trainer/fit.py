"""Stage 7, models and calibration: what is shipped, and what it says on rows that it has not seen.

A model's own scores on rows that it has learned from would flatter it. So each fold's model is exported as a graph of its own, by the
same code, and asked by ONNX Runtime for rows that it has not seen:

- *inner* folds (PurgedKFold, always): their log-odds fit meta model and calibrator, and are the score's reference;
- *evaluation* splits (the spec's scheme): each has base models, and inner folds of its own for meta model and calibrator, all of them of
  its training rows alone, and its whole graph is asked for the test rows. Every metric and gate reads these answers, no other.

A calibrator fitted on answers of models that have learned from the test rows would know their sign, though it never saw one of them.

PurgedKFold and WalkForward ship a model of every row of the window. A Holdout ships the very model that was tested: base models of its
training rows, the meta model of inner folds of these, the calibrator of the rows between training and test where there are such.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.api.recipe import Calibration, Scheme
from walkforward_core.decision import decision_score
from walkforward_trainer.graph import base_graph, full_graph
from walkforward_trainer.heads import HeadFits, finish_heads
from walkforward_trainer.learn import Learned, learn
from walkforward_trainer.parallel import side_by_side
from walkforward_trainer.resolved import Join
from walkforward_trainer.runtime import run, run_all
from walkforward_trainer.splits import Split, embargo_of, evaluation_splits, holdout, inner_splits
from walkforward_trainer.tail import TailKind, fit_ending, fit_join, fit_tail
from walkforward_trainer.weighing import weighed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.heads import FittedHead
    from walkforward_trainer.models.parts import BaseModel
    from walkforward_trainer.plan import Plan
    from walkforward_trainer.tail import Tail

    Matrix = npt.NDArray[np.float32]
    Vector = npt.NDArray[np.float64]
    Index = npt.NDArray[np.intp]

__all__ = ["Fitted", "fit"]

NESTED: Final = 3
"""Inner folds of an evaluation split that has its own."""
LEAST_PAIRED: Final = 4
"""Fewer blocks are not left out in pairs: half of the rows, or less, would be left to learn from."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """The shipped bytes, what they are made of, and the answers that evidence is taken from; arrays have one entry a row.

    Parameters
    ----------
    unseen_p
        Probabilities of all classes by a fold's graph that has not seen the row, shape (n, classes); NaN where no split tests it.
    unseen
        The decision's score of these.
    score
        The same by the shipped meta model and calibrator, for every row: what live scores look like without drift.
    heads
        Further outputs by their names.
    splits
        The splits that evidence is taken from.
    embargo_ms
        The embargo that was applied.
    """

    model: bytes
    bases: tuple[BaseModel, ...]
    tail: Tail
    unseen_p: Vector
    unseen: Vector
    score: Vector
    heads: Mapping[str, FittedHead]
    splits: tuple[Split, ...]
    embargo_ms: int


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """What was learned: out-of-fold log-odds ``z`` of every row, shipped models and tail, models and tail of each split."""

    z: Vector
    shipped: Learned
    folds: list[Learned]
    tail: Tail
    tails: list[Tail]
    held: Index | None


def fit(rows: Dataset, plan: Plan) -> Fitted:
    """Return the fitted model.

    Raises
    ------
    BadData
        A set of training rows in which one class never occurs.
    BadConfiguration
        Too few rows for the splits.
    """
    splits = evaluation_splits(rows, plan)
    shares = plan.target.class_target
    neutral = 0.0 if shares is None else shares.neutral
    kind = TailKind(plan.classes, plan.recipe.join, plan.recipe.weights, plan.calibration, neutral)
    parts = _held_out(rows, plan, kind) if plan.validation.scheme is Scheme.HOLDOUT else _crossed(rows, plan, splits, kind)
    unseen_p, answers = _unseen(rows, splits, parts, kind)
    heads = finish_heads(rows, plan, HeadFits(splits, answers, parts.shipped.heads, parts.held))
    return Fitted(
        model=full_graph(
            [base.part for base in parts.shipped.bases],
            parts.tail,
            rows.names,
            _metadata(rows, plan),
            [part for head in heads.values() for part in head.parts],
        ),
        bases=parts.shipped.bases,
        tail=parts.tail,
        unseen_p=unseen_p,
        unseen=_score(unseen_p),
        score=_score(parts.tail.probability(parts.z).astype(np.float32).astype(np.float64)),
        heads=heads,
        splits=tuple(splits),
        embargo_ms=embargo_of(rows, plan),
    )


def _crossed(rows: Dataset, plan: Plan, splits: list[Split], kind: TailKind) -> _Parts:
    """Learn for PurgedKFold and WalkForward: every row trains what is shipped."""
    everything = np.arange(len(rows), dtype=np.intp)
    same = plan.validation.scheme is Scheme.PURGED_K_FOLD
    inner = splits if same else inner_splits(rows, plan, everything, plan.folds)
    jobs = [lambda: learn(rows, plan, everything, "the window", plan.model)]
    jobs += [_fold(rows, plan, split, index, heads=same, evaluation=same) for index, split in enumerate(inner)]
    jobs += [] if same else [_fold(rows, plan, split, index, heads=True, evaluation=True) for index, split in enumerate(splits)]
    # a vote without a calibrator learns nothing
    free = kind.join is Join.VOTE and kind.calibration is Calibration.NONE
    nested = [] if free else _nested(rows, plan, splits)
    jobs += [_fold(rows, plan, part, users[0], heads=False, evaluation=True) for part, users in nested]
    shipped, *learned = side_by_side(jobs, what="fit")
    folds, own = learned[: len(learned) - len(nested)], learned[len(learned) - len(nested) :]
    z = _log_odds(len(rows), inner, folds[: len(inner)])

    def own_tail(index: int) -> Tail:
        mine = [(part, models) for (part, users), models in zip(nested, own, strict=True) if index in users]
        # of a pair of blocks the other one: this split's own test rows play no part in its tail
        answers = _log_odds(len(rows), [part for part, _ in mine], [models for _, models in mine])
        return _tail(rows, plan, answers, splits[index].train, kind)

    ends = [partial(_tail, rows, plan, z, everything, kind), *(partial(own_tail, index) for index in range(0 if free else len(splits)))]
    tail, *tails = side_by_side(ends)
    return _Parts(z, shipped, folds if same else folds[len(inner) :], tail, tails or [tail] * len(splits), None)


def _nested(rows: Dataset, plan: Plan, splits: list[Split]) -> list[tuple[Split, tuple[int, ...]]]:
    """Return the inner folds of all splits, each with the splits whose tail learns from what it says to its test rows.

    Blocks that partition the rows are left out in pairs: what has seen neither speaks for each block to the tail of the other, so ten fits
    do for five folds. Where splits have hyper-parameters of their own, and where blocks do not partition the rows, each has its own.
    """
    if plan.validation.scheme is not Scheme.PURGED_K_FOLD or plan.fold_models or len(splits) < LEAST_PAIRED:
        return [(part, (index,)) for index, split in enumerate(splits) for part in inner_splits(rows, plan, split.train, NESTED)]
    return [
        (Split(np.intersect1d(one.train, other.train), np.concatenate((one.test, other.test)), 0, 0), (first, second))
        for (first, one), (second, other) in combinations(enumerate(splits), 2)
    ]


def _log_odds(count: int, splits: list[Split], learned: list[Learned]) -> Vector:
    """Return what each split's models say to its test rows, NaN elsewhere, shape (count, m · (classes - 1))."""
    z = np.full((count, learned[0].wide), np.nan)
    for split, fold in zip(splits, learned, strict=True):
        z[split.test] = fold.z
    return z


def _tail(rows: Dataset, plan: Plan, z: Vector, train: Index, kind: TailKind) -> Tail:
    """Return meta model and calibrator of the labelled rows among ``train``."""
    known = train[rows.known[train]]
    return fit_tail(z[known], rows.y[known], weighed(rows, plan, known), kind)


def _held_out(rows: Dataset, plan: Plan, kind: TailKind) -> _Parts:
    """Learn for a Holdout: what is tested is what is shipped."""
    parts = holdout(rows.t0, rows.t1, plan.validation, embargo_of(rows, plan))
    inner = inner_splits(rows, plan, parts.train, plan.folds)
    jobs = [lambda: learn(rows, plan, parts.train, "the training rows", plan.model)]
    jobs += [_fold(rows, plan, split, index, heads=False, evaluation=False) for index, split in enumerate(inner)]
    shipped, *learned = side_by_side(jobs, what="fit")
    z = _log_odds(len(rows), inner, learned)
    rest = np.setdiff1d(np.arange(len(rows)), parts.train, assume_unique=True)
    z[rest] = run(base_graph([base.part for base in shipped.bases], rows.x.shape[1]), rows.x[rest])
    train = parts.train[rows.known[parts.train]]
    join = fit_join(z[train], rows.y[train], weighed(rows, plan, train), kind)
    held = parts.calibration[rows.known[parts.calibration]]
    on = held if len(held) else train
    tail = fit_ending(join, z[on], rows.y[on], weighed(rows, plan, on), kind)
    return _Parts(z, shipped, [shipped], tail, [tail], parts.calibration if len(held) else None)


def _fold(rows: Dataset, plan: Plan, split: Split, index: int, *, heads: bool, evaluation: bool) -> Callable[[], Learned]:
    parameters = plan.model_of(index) if evaluation else plan.model
    where = f"the training rows of fold {index + 1} of {plan.folds}"
    return lambda: learn(rows, plan, split.train, where, parameters, test=split.test, heads=heads)


def _unseen(rows: Dataset, splits: list[Split], parts: _Parts, kind: TailKind) -> tuple[Vector, list[Mapping[str, Vector]]]:
    """Return the probabilities of each tested row by a whole graph, tail included, that has not seen it, and each split's further heads."""

    def ask(split: Split, fold: Learned, tail: Tail) -> list[npt.NDArray[np.float32]]:
        graph = full_graph([base.part for base in fold.bases], tail, rows.names, {}, fold.head_parts, check=False)
        return run_all(graph, rows.x[split.test], [])

    jobs = [partial(ask, split, fold, tail) for split, fold, tail in zip(splits, parts.folds, parts.tails, strict=True)]
    answers = side_by_side(jobs)
    p = np.full((len(rows), kind.classes), np.nan)
    further: list[Mapping[str, Vector]] = []
    for split, fold, answer in zip(splits, parts.folds, answers, strict=True):
        p[split.test] = answer[0]
        further.append({name: values[:, -1].astype(np.float64) for name, values in zip(fold.heads, answer[1:], strict=True)})
    return p, further


def _score(p: Vector) -> Vector:
    return np.asarray(decision_score(p[:, -1], p[:, 0], p.shape[1]))


def _metadata(rows: Dataset, plan: Plan) -> Mapping[str, str]:
    """Return what the graph says about itself; nothing that differs between two runs on the same data."""
    return {
        "config_digest": plan.config_digest,
        "dataset_digest": rows.digest,
        "calibration": plan.calibration.lower(),
        "warmup_bars": str(rows.warmup),
        "target": f"{plan.target.kind}:{plan.target.horizon_bars}",
    }
