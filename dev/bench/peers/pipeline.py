"""``pipeline.py MATRIX``: forest, boosted trees and logistic regression, stacked and calibrated, as scikit-learn's users write it.

Rows and labels come from MATRIX, which the trainer's own code has written. Five folds in time order with a gap, then the whole window;
in each the last fifth of the training rows calibrates (isotonic) a stack whose meta model learns from three inner folds. No features, no
backtest, no export, no report. Prints the out-of-fold AUC, the mean of one class against the rest.
"""

import sys
from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier, StackingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier

INNER = 3
CALIBRATE = 0.2


def fitted(x: Any, y: Any, trees: int, depth: int, rate: float, subsample: float, seed: int, gap: int) -> Any:
    """Return the calibrated stack of rows in time order."""
    end = round(len(x) * (1 - CALIBRATE))
    stack = StackingClassifier(
        [
            ("forest", RandomForestClassifier(trees, max_depth=depth, random_state=seed, n_jobs=-1)),
            (
                "xgboost",
                XGBClassifier(
                    n_estimators=trees, max_depth=depth, learning_rate=rate, subsample=subsample, random_state=seed, tree_method="hist",
                    n_jobs=2,
                ),
            ),
            ("linear", make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000))),
        ],
        LogisticRegression(max_iter=1_000),
        cv=INNER,
    ).fit(x[: end - gap], y[: end - gap])  # fmt: skip
    return CalibratedClassifierCV(FrozenEstimator(stack), method="isotonic").fit(x[end:], y[end:])


def main() -> None:
    """Fit and print."""
    with np.load(sys.argv[1]) as kept:
        data = dict(kept)
    x, y, gap = data["x"], data["y"].astype(int), int(data["gap"])
    settings = int(data["trees"]), int(data["depth"]), float(data["rate"]), float(data["subsample"]), int(data["seed"]), gap
    score = np.full((len(x), len(np.unique(y))), np.nan)
    for train, test in TimeSeriesSplit(int(data["folds"]), gap=gap).split(x):
        score[test] = fitted(x[train], y[train], *settings).predict_proba(x[test])
    fitted(x, y, *settings)
    tested = np.isfinite(score[:, 0])
    print(roc_auc_score(y[tested], score[tested], multi_class="ovr"))


if __name__ == "__main__":
    main()
