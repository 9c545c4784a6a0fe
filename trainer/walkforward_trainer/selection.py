"""Choice of features, made anew for every fit from its own training rows (``overrides.selection``).

Three steps, each optional, in this order: of features that say the same one is kept (rank correlation); the best by their F statistic
(SelectKBest); recursive elimination, whose number of features purged cross-validation decides (RFECV). None sees a row that is not a
training row of the fit, and each sees labels, so a choice made once on all rows would be a leak.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from walkforward_trainer.metrics import classes
from walkforward_trainer.splits import purged_k_fold
from walkforward_trainer.weighing import weighed

if TYPE_CHECKING:
    import numpy.typing as npt

    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.plan import Plan

    Matrix = npt.NDArray[np.float32]
    Vector = npt.NDArray[np.float64]
    Index = npt.NDArray[np.intp]

__all__ = ["f_statistic", "ranks", "select", "uncorrelated"]

FOLDS: Final = 3
ROUNDS: Final = 60
DEPTH: Final = 4
STEP: Final = 0.1
"""Of a recursive elimination: purged folds, trees of the model that ranks, their depth, and the share of the columns that goes at once."""


def select(rows: Dataset, train: Index, plan: Plan) -> Index:
    """Return the columns that a model fitted on the rows ``train`` may see, ascending; all of them without a selection.

    Rows without a label play no part. At least one column is left.
    """
    kept: Index = np.arange(rows.x.shape[1], dtype=np.intp)
    chosen = plan.selection
    if chosen is None:
        return kept
    train = train[rows.known[train]]
    x, y = rows.x[train], rows.y[train]
    if chosen.correlation is not None:
        kept = uncorrelated(x, y, chosen.correlation)
    if chosen.best is not None and chosen.best < len(kept):
        order = np.argsort(-f_statistic(x[:, kept], y), kind="stable")
        kept = np.sort(kept[order[: chosen.best]])
    if chosen.eliminate is not None and chosen.eliminate < len(kept):
        kept = kept[_eliminated(rows, train, kept, plan, chosen.eliminate)]
    return kept


def f_statistic(x: Matrix | Vector, y: Vector) -> Vector:
    """Return the one-way ANOVA F statistic of each column of ``x`` (n, f) between the classes ``y`` (n,); 0 for a constant column."""
    x = x.astype(np.float64)
    values, group = np.unique(y, return_inverse=True)
    count = np.bincount(group).astype(np.float64)
    mean = np.stack([x[group == index].mean(axis=0) for index in range(len(values))])
    between = (count[:, None] * (mean - x.mean(axis=0)) ** 2).sum(axis=0)
    within = ((x - mean[group]) ** 2).sum(axis=0)
    ratio = np.divide(between, within, out=np.zeros(x.shape[1]), where=within > 0)
    return np.asarray(ratio * (len(x) - len(values)) / max(len(values) - 1, 1))


def uncorrelated(x: Matrix, y: Vector, limit: float) -> Index:
    """Return columns of which no two have an absolute Spearman correlation above ``limit``, ascending.

    Columns are taken from the one whose ranks say most about the label downwards, each unless it is too close to one taken before.
    A constant column says nothing and is left out, unless there is no other.
    """
    ranked = np.stack([ranks(column) for column in x.T], axis=1)
    said = f_statistic(ranked, y)
    centred = ranked - ranked.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    close = np.abs(centred.T @ centred) > limit * np.outer(length, length)
    kept: list[int] = []
    for column in np.argsort(-said, kind="stable").tolist():
        if length[column] > 0 and not close[column, kept].any():
            kept.append(column)
    return np.sort(np.array(kept or [0], dtype=np.intp))


def ranks(column: Matrix) -> Vector:
    """Return the rank of each value from 1, of equal values their mean."""
    _, inverse, count = np.unique(column, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return np.asarray((last - (count - 1) / 2.0)[inverse])


def _eliminated(rows: Dataset, train: Index, columns: Index, plan: Plan, fewest: int) -> Index:
    """Return the positions in ``columns`` that stay: as many as score best on purged folds of ``train``, ``fewest`` at least."""
    sizes = _sizes(len(columns), fewest)
    splits = purged_k_fold(rows.t0[train], rows.t1[train], FOLDS, plan.embargo_ms)
    scores = np.zeros((FOLDS, len(sizes)))
    for fold, split in enumerate(splits):
        inner, test = train[split.train], train[split.test]
        for at, (kept, model) in enumerate(_eliminate(rows, inner, columns, plan, sizes)):
            p = _probabilities(model, rows.x[np.ix_(test, columns[kept])])
            area = classes.area(rows.y[test], p)
            scores[fold, at] = area if np.isfinite(area) else 0.5
    # of equal scores the fewest features
    best = len(sizes) - 1 - int(scores.mean(axis=0)[::-1].argmax())
    *_, (kept, _) = _eliminate(rows, train, columns, plan, sizes[: best + 1])
    return np.sort(kept)


def _sizes(count: int, fewest: int) -> list[int]:
    """Return how many columns each round has, from all down to ``fewest``."""
    step = max(1, int(STEP * count))
    return [*range(count, fewest, -step), fewest]


def _eliminate(rows: Dataset, train: Index, columns: Index, plan: Plan, sizes: list[int]) -> list[tuple[Index, Any]]:
    """Return for each size the positions that are left and a model of them; the least important of one round are not in the next."""
    kept: Index = np.arange(len(columns), dtype=np.intp)
    found: list[tuple[Index, Any]] = []
    for size in sizes:
        if found:
            gain = found[-1][1].get_score(importance_type="total_gain")
            importance = np.array([gain.get(f"f{at}", 0.0) for at in range(len(kept))])
            kept = kept[np.sort(np.argsort(-importance, kind="stable")[:size])]
        found.append((kept, _ranking_model(rows.x[np.ix_(train, columns[kept])], rows.y[train], weighed(rows, plan, train), plan)))
    return found


def _ranking_model(x: Matrix, y: Vector, weight: Vector, plan: Plan) -> Any:
    import xgboost  # noqa: PLC0415 - seconds to load, not needed to refuse bad data

    settings = {
        "objective": "binary:logistic" if plan.classes == 2 else "multi:softprob",
        "tree_method": "hist",
        "max_depth": min(plan.model.depth, DEPTH),
        "learning_rate": 0.1,
        "subsample": plan.model.subsample,
        "seed": plan.model.seed,
        "nthread": 1,
    }
    if plan.classes > 2:
        settings["num_class"] = plan.classes
    return xgboost.train(settings, xgboost.QuantileDMatrix(x, label=y, weight=weight, nthread=1), num_boost_round=ROUNDS)


def _probabilities(model: Any, x: Matrix) -> npt.NDArray[np.float64]:
    p = model.inplace_predict(x).astype(np.float64)
    return p if p.ndim == 2 else np.column_stack((1.0 - p, p))
