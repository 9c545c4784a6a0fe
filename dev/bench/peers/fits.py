"""``fits.py LIBRARY MATRIX``: the boosted trees of one retrain, five purged folds and the whole window, by one library on one thread.

Rows, labels, folds and hyper-parameters come from MATRIX, which the trainer's own code has written; prints the out-of-fold AUC, so that
nobody is quick by learning less. LIBRARY is xgboost, gradient (scikit-learn's GradientBoosting) or histogram (its HistGradientBoosting).
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

Fit = Callable[[Any, Any], Callable[[Any], Any]]


def by_xgboost(trees: int, depth: int, rate: float, subsample: float, seed: int) -> Fit:
    """Return the fit of the library that the trainer uses, with its settings."""
    import xgboost  # noqa: PLC0415 - a process loads its own library only

    settings = {
        "objective": "binary:logistic", "tree_method": "hist", "max_depth": depth, "learning_rate": rate, "subsample": subsample,
        "seed": seed, "nthread": 1, "base_score": 0.5,
    }  # fmt: skip

    def fit(x: Any, y: Any) -> Callable[[Any], Any]:
        predict: Callable[[Any], Any] = xgboost.train(
            settings, xgboost.QuantileDMatrix(x, label=y, nthread=1), num_boost_round=trees
        ).inplace_predict
        return predict

    return fit


def by_gradient(trees: int, depth: int, rate: float, subsample: float, seed: int) -> Fit:
    """Return the fit of scikit-learn's GradientBoosting."""
    from sklearn.ensemble import GradientBoostingClassifier  # noqa: PLC0415 - a process loads its own library only

    def fit(x: Any, y: Any) -> Callable[[Any], Any]:
        model = GradientBoostingClassifier(
            n_estimators=trees, max_depth=depth, learning_rate=rate, subsample=subsample, random_state=seed
        ).fit(x, y)
        return lambda rows: model.predict_proba(rows)[:, 1]

    return fit


def by_histogram(trees: int, depth: int, rate: float, subsample: float, seed: int) -> Fit:
    """Return the fit of scikit-learn's HistGradientBoosting, which knows no ``subsample``: every tree sees all rows."""
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415 - a process loads its own library only

    del subsample

    def fit(x: Any, y: Any) -> Callable[[Any], Any]:
        model = HistGradientBoostingClassifier(
            max_iter=trees, max_depth=depth, learning_rate=rate, early_stopping=False, random_state=seed
        ).fit(x, y)
        return lambda rows: model.predict_proba(rows)[:, 1]

    return fit


def auc(y: Any, score: Any) -> float:
    """Return the probability that a positive row scores higher than a negative one, ties half."""
    positive, negative = np.sort(score[y == 1]), score[y == 0]
    below = np.searchsorted(positive, negative, side="left")
    up_to = np.searchsorted(positive, negative, side="right")
    return float(1 - (below + up_to).mean() / 2 / len(positive))


def main() -> None:
    """Fit and print."""
    library, path = sys.argv[1:]
    made = {"xgboost": by_xgboost, "gradient": by_gradient, "histogram": by_histogram}[library]
    with np.load(path) as kept:
        data = dict(kept)
    fit = made(int(data["trees"]), int(data["depth"]), float(data["rate"]), float(data["subsample"]), int(data["seed"]))
    x, y = data["x"], data["y"]
    score = np.full(len(x), np.nan)
    for fold in range(int(data["folds"])):
        train, test = data[f"train{fold}"], data[f"test{fold}"]
        score[test] = fit(x[train], y[train])(x[test])
    known = data["known"]
    fit(x[known], y[known])
    print(auc(y[known], score[known]))


if __name__ == "__main__":
    main()
