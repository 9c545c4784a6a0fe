"""``five.py MATRIX``: five models by scikit-learn's GradientBoosting, of rows that the trainer's own code has written to MATRIX.

Same rows, same five targets, same hyper-parameters as the trainer's. Prints the AUC of the first target on the rows after those.
"""

import sys
from typing import Any

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
from sklearn.metrics import roc_auc_score


def main() -> None:
    """Fit and print."""
    with np.load(sys.argv[1]) as kept:
        data = dict(kept)
    settings: dict[str, Any] = {
        "n_estimators": int(data["trees"]),
        "max_depth": int(data["depth"]),
        "learning_rate": float(data["rate"]),
        "subsample": float(data["subsample"]),
        "random_state": int(data["seed"]),
    }
    x, train, test = data["x"], data["train"], data["test"]
    area = float("nan")
    for number, (y, is_class) in enumerate(zip(data["answers"], data["classes"], strict=True)):
        rows = train[np.isfinite(y[train])]
        model = (GradientBoostingClassifier if is_class else GradientBoostingRegressor)(**settings).fit(x[rows], y[rows])
        rows = test[np.isfinite(y[test])]
        said = model.predict_proba(x[rows])[:, 1] if is_class else model.predict(x[rows])
        if number == 0:
            area = float(roc_auc_score(y[rows], said))
    print(area)


if __name__ == "__main__":
    main()
