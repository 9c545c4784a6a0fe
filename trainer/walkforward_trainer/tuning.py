"""Search of hyper-parameters with Optuna, scored on purged folds of training rows alone (``overrides.tuning``).

Each evaluation fold has a search of its own, on its own training rows, and so has the shipped model: what is evaluated is the procedure
that made the shipped model, and no row that a gate reads has a say in the parameters that it is scored with (walk-forward optimisation).

One boosted model stands for all tree models of a recipe: they share their hyper-parameters. Trials run one after the other, each fit
on one thread; two folds at a time. The same rows and seed make the same search.
"""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from walkforward_core.api.recipe import Scheme
from walkforward_core.decision import decision_score
from walkforward_trainer.backtest import backtest
from walkforward_trainer.decision import position
from walkforward_trainer.errors import BadConfiguration, BadData, Reason
from walkforward_trainer.metrics import classes
from walkforward_trainer.metrics.overfitting import overfitting
from walkforward_trainer.selection import select
from walkforward_trainer.splits import purged_k_fold
from walkforward_trainer.weighing import weighed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.plan import Plan
    from walkforward_trainer.resolved import Model
    from walkforward_trainer.splits import Split

    Vector = npt.NDArray[np.float64]
    Matrix = npt.NDArray[np.float64]
    Index = npt.NDArray[np.intp]

__all__ = ["Search", "Tuned", "search", "tune"]

FOLDS: Final = 5
PARTS: Final = 5
"""Purged folds of a search, and parts of a fold that are scored apart: pruning compares trials part by part."""
ENOUGH_ROWS: Final = 8_000
"""Rows from which on a search takes every second or third one, as long as their labels overlap."""
BINS: Final = 64
PRUNE_BELOW: Final = 0.1
LINEAR: Final = "linear"


@dataclass(frozen=True, slots=True)
class Search:
    """What a search found.

    Parameters
    ----------
    model
        The hyper-parameters that scored best.
    score
        Their mean score over the folds.
    trials, pruned
        Trials that were begun, and those of them that were stopped early.
    sharpes
        Sharpe ratio per outcome of each trial that was not.
    overfitting
        Probability of backtest overfitting over these (CSCV); NaN of fewer than two.
    limited
        Whether time may have ended it: then another machine may find something else.
    """

    model: Model
    score: float
    trials: int
    pruned: int
    sharpes: tuple[float, ...]
    overfitting: float
    limited: bool


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    """The plan with the parameters that were found, and the search of the shipped model."""

    plan: Plan
    search: Search


@dataclass(frozen=True, slots=True, eq=False)
class _Fold:
    """One purged fold, binned once for all trials; ``test`` are rows, in time order."""

    data: Any
    x: npt.NDArray[np.float32]
    y: Vector
    test: Index


def tune(rows: Dataset, plan: Plan, splits: Sequence[Split]) -> Tuned:
    """Return the plan with searched hyper-parameters; ``splits`` are the evaluation folds in their order.

    Raises
    ------
    BadConfiguration
        No model of the recipe has the parameters that are searched.
    BadData
        Too few rows of a class to search on.
    """
    if not set(plan.recipe.models) - {LINEAR}:
        raise BadConfiguration(
            Reason.SPEC_INVALID, f"overrides.tuning: the models {', '.join(plan.recipe.models)} have no trees to tune; leave tuning out"
        )
    folds = tuple(search(rows, split.train, plan).model for split in splits[:-1])
    last = search(rows, splits[-1].train, plan)
    # a hold-out ships the very model that was tested
    shipped = last if plan.validation.scheme is Scheme.HOLDOUT else search(rows, np.arange(len(rows), dtype=np.intp), plan)
    return Tuned(plan=replace(plan, model=shipped.model, fold_models=(*folds, last.model)), search=shipped)


def search(rows: Dataset, train: Index, plan: Plan) -> Search:
    """Return what a search on the rows ``train``, ascending, finds: the largest F1 where the gates ask for F1, else the largest AUC."""
    import optuna  # noqa: PLC0415 - loaded only where there is something to search

    if plan.tuning is None:
        raise ValueError("search needs plan.tuning")
    index = _thinned(rows, train[rows.known[train]])
    folds = _folds(rows, index, plan)
    finished: list[Matrix] = []

    def objective(trial: optuna.Trial) -> float:
        model = _suggested(trial, plan.model)
        net: list[Vector] = []
        scores: list[float] = []
        for start in range(0, len(folds), 2):
            # two folds at a time: XGBoost leaves the interpreter to others while it fits
            pair = folds[start : start + 2]
            for fold, p in zip(pair, pool.map(lambda one: _fitted(one, model, plan), pair), strict=True):
                scores.extend(_scores(fold, p, plan))
                net.append(_net(rows, fold, p, plan))
            for step in range(start * PARTS, len(scores)):
                trial.report(scores[step], step)
            if plan.tuning is not None and plan.tuning.prune and start + 2 < len(folds) and trial.should_prune():
                raise optuna.TrialPruned
        finished.append(np.concatenate(net))
        return float(np.mean(scores))

    with ThreadPoolExecutor(2) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=plan.model.seed, n_startup_trials=10),
            pruner=optuna.pruners.WilcoxonPruner(p_threshold=PRUNE_BELOW, n_startup_steps=PARTS),
        )
        # what the recipe says is the first trial: a search never ends below it
        study.enqueue_trial(_clipped(plan.model))
        study.optimize(objective, n_trials=plan.tuning.trials, timeout=plan.tuning.timeout_seconds)
    return Search(
        model=replace(plan.model, **_fields(study.best_params)),
        score=float(study.best_value),
        trials=len(study.trials),
        pruned=len(study.trials) - len(finished),
        sharpes=tuple(float(net.mean() / net.std()) for net in finished if np.ptp(net) > 0),
        overfitting=overfitting(np.stack(finished, axis=1)),
        limited=plan.tuning.timeout_seconds is not None,
    )


def _suggested(trial: Any, model: Model) -> Model:
    """Return the hyper-parameters of a trial: 100-500 trees, depth 3-10, learning rate 0.01-0.3, subsample 0.6-1.0."""
    return replace(
        model,
        trees=trial.suggest_int("n_estimators", 100, 500),
        depth=trial.suggest_int("max_depth", 3, 10),
        learning_rate=trial.suggest_float("learning_rate", 0.01, 0.3, log=True),
        subsample=trial.suggest_float("subsample", 0.6, 1.0),
    )


def _clipped(model: Model) -> dict[str, float]:
    return {
        "n_estimators": min(max(model.trees, 100), 500),
        "max_depth": min(max(model.depth, 3), 10),
        "learning_rate": min(max(model.learning_rate, 0.01), 0.3),
        "subsample": min(max(model.subsample, 0.6), 1.0),
    }


def _fields(found: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a model by their own names."""
    return {
        "trees": found["n_estimators"],
        "depth": found["max_depth"],
        "learning_rate": found["learning_rate"],
        "subsample": found["subsample"],
    }


def _thinned(rows: Dataset, index: Index) -> Index:
    """Return every k-th row of ``index`` where there are more than enough, k at most the rows whose labels overlap.

    Neighbours with overlapping labels share most of their answer; the search loses next to nothing and is k times as fast.
    """
    if len(index) <= ENOUGH_ROWS:
        return index
    overlap = int(np.median(np.searchsorted(rows.t0[index], rows.t1[index], side="left") - np.arange(len(index))))
    return index[:: max(1, min(-(-len(index) // ENOUGH_ROWS), overlap))]


def _folds(rows: Dataset, index: Index, plan: Plan) -> list[_Fold]:
    if len(index) < FOLDS * PARTS or len(np.unique(rows.y[index])) < plan.classes:
        raise BadData(
            Reason.TOO_FEW_ROWS,
            f"overrides.tuning: {len(index)} labelled rows to search on, of {len(np.unique(rows.y[index]))} classes; "
            "a longer window, or leave tuning out",
        )
    splits = purged_k_fold(rows.t0[index], rows.t1[index], FOLDS, plan.embargo_ms)
    return [_fold(rows, index[split.train], index[split.test], plan) for split in splits]


def _fold(rows: Dataset, train: Index, test: Index, plan: Plan) -> _Fold:
    import xgboost  # noqa: PLC0415 - seconds to load, not needed to refuse bad data

    y = rows.y[train]
    if len(np.unique(y)) < plan.classes:
        raise BadData(
            Reason.ONE_CLASS,
            f"overrides.tuning: a class does not occur in the {len(train)} training rows of a fold; a longer window, or leave tuning out",
        )
    columns = select(rows, train, plan)
    data = xgboost.QuantileDMatrix(rows.x[np.ix_(train, columns)], label=y, weight=weighed(rows, plan, train), max_bin=BINS, nthread=1)
    return _Fold(data=data, x=np.ascontiguousarray(rows.x[np.ix_(test, columns)]), y=rows.y[test], test=test)


def _fitted(fold: _Fold, model: Model, plan: Plan) -> Matrix:
    """Return the class probabilities of the fold's test rows, shape (n, classes)."""
    import xgboost  # noqa: PLC0415 - loaded by now

    settings = {
        "objective": "binary:logistic" if plan.classes == 2 else "multi:softprob",
        "tree_method": "hist",
        "max_bin": BINS,
        "max_depth": model.depth,
        "learning_rate": model.learning_rate,
        "subsample": model.subsample,
        "seed": model.seed,
        "nthread": 1,
    }
    if plan.classes > 2:
        settings["num_class"] = plan.classes
    p = xgboost.train(settings, fold.data, num_boost_round=model.trees).inplace_predict(fold.x).astype(np.float64)
    return p if p.ndim == 2 else np.column_stack((1.0 - p, p))


def _scores(fold: _Fold, p: Matrix, plan: Plan) -> list[float]:
    """Return the score of each part of the fold's test rows; one in which a class does not occur says as much as a coin."""
    found = []
    for part in np.array_split(np.arange(len(fold.y)), PARTS):
        y, of = fold.y[part], p[part]
        score = classes.f1(classes.confusion(y, of)) if plan.gates.f1 is not None else classes.area(y, of)
        found.append(score if np.isfinite(score) else 0.5)
    return found


def _net(rows: Dataset, fold: _Fold, p: Matrix, plan: Plan) -> Vector:
    score = decision_score(p[:, -1], p[:, 0], plan.classes)
    return backtest(position(plan.decision, score, rows.base[fold.test]), rows.returns[fold.test], plan.round_trip).net
