"""Trees of XGBoost: boosted, boosted as scikit-learn does, a random forest, and a regressor. One thread, histogram splits."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from walkforward_trainer.models.parts import BaseModel, Link, TreeEnsemble

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from walkforward_trainer.models.training import Training
    from walkforward_trainer.resolved import Model

    Vector = npt.NDArray[np.float64]

__all__ = ["fit_boosted", "fit_forest", "fit_xgboost"]

DIGITS = 6
"""Digits of what the trees start from."""


def fit_xgboost(training: Training, parameters: Model) -> BaseModel:
    """Return gradient boosted trees with XGBoost's own regularisation, from log-odds of 0 on: the meta model sets the level."""
    outputs = 1 if training.classes == 2 else max(training.classes, 1)
    start = np.zeros(outputs) if training.classes else _prior(training)
    return _train(training, _settings(training, parameters), start, rounds=parameters.trees)


def fit_boosted(training: Training, parameters: Model) -> BaseModel:
    """Return gradient boosted trees as scikit-learn's GradientBoosting fits them: no penalty on leaves, from the prior on.

    A leaf's value is the Newton step Σ(y - p) / Σp(1 - p); thresholds lie between 256 quantiles instead of between all values.
    """
    settings = _settings(training, parameters) | {"lambda": 0.0, "min_child_weight": 1e-3}
    start = _prior(training)
    if training.classes:
        rest = 1.0 - start if training.classes == 2 else np.ones(training.classes)
        start = np.asarray(np.round(np.log(start / rest), DIGITS), np.float64)
    return _train(training, settings, start, rounds=parameters.trees)


def fit_forest(training: Training, parameters: Model) -> BaseModel:
    """Return a random forest: the mean of trees, each on its own draw of the rows and, at every node, of √features columns.

    Squared error on 0 and 1 makes a leaf's value the share of the class, drawn towards the share of all rows by the weight of one row; of
    three classes each has trees of its own. Rows are drawn without replacement (``subsample``).
    """
    width = training.x.shape[1]
    settings = _settings(training, parameters) | {
        "objective": "reg:squarederror",
        "learning_rate": 1.0,
        "num_parallel_tree": parameters.trees,
        "colsample_bynode": math.ceil(math.sqrt(width)) / width,
    }
    settings.pop("num_class", None)
    label = np.eye(training.classes)[training.y.astype(np.intp)] if training.classes > 2 else training.y
    link = Link.SHARE if training.classes else Link.NUMBER
    return _train(training, settings, _prior(training), rounds=1, label=label, link=link)


def _settings(training: Training, parameters: Model) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "objective": {0: "reg:squarederror", 2: "binary:logistic"}.get(training.classes, "multi:softprob"),
        "tree_method": "hist",
        "max_depth": parameters.depth,
        "learning_rate": parameters.learning_rate,
        "subsample": parameters.subsample,
        "seed": parameters.seed,
        "nthread": 1,
        "verbosity": 0,
    }
    return settings | ({"num_class": training.classes} if training.classes > 2 else {})


def _prior(training: Training) -> Vector:
    """Return the mean of the answers: of two classes the share of class 1, of three each one's share."""
    mass = training.weight / training.weight.sum()
    if training.classes > 2:
        return np.round([float(mass[training.y == one].sum()) for one in range(training.classes)], DIGITS)
    mean = float((training.y * mass).sum())
    return np.array([float(f"{mean:.{DIGITS}g}")])


def _train(
    training: Training, settings: dict[str, Any], start: Vector, *, rounds: int, label: Vector | None = None, link: Link | None = None
) -> BaseModel:
    """Return the trees that are added to ``start`` (outputs,).

    XGBoost is not told of it as its own intercept: then the trees alone add up, in the order in which ONNX Runtime adds them, and both
    come to the same float32 number.
    """
    import xgboost  # noqa: PLC0415 - seconds to load, not needed to refuse bad data

    data = training.rows.quantiles
    margin = np.tile(start.astype(np.float32), (len(training.y), 1))
    data.set_info(
        label=training.y if label is None else label, weight=training.weight, base_margin=margin if len(start) > 1 else margin[:, 0]
    )
    nothing = {"base_score": 0.5 if settings["objective"] == "binary:logistic" else 0.0}
    booster = xgboost.train(settings | nothing, data, num_boost_round=rounds)
    link = link or (Link.LOG_ODDS if training.classes else Link.NUMBER)

    def native(x: npt.NDArray[np.float32]) -> Vector:
        trees = np.asarray(booster.inplace_predict(x, predict_type="margin"), np.float64)
        return trees.reshape(len(x), -1) + start

    return BaseModel(part=_ensemble(booster, link, training.x.shape[1], start), native=native)


def _ensemble(booster: Any, link: Link, features: int, start: Vector) -> TreeEnsemble:
    """Return the trees as XGBoost's own JSON has them."""
    model = json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]["model"]
    trees = model["trees"]
    left = _joined(trees, "left_children", np.int64)
    values = _joined(trees, "split_conditions", np.float32)
    sizes = [len(tree["left_children"]) for tree in trees]
    return TreeEnsemble(
        tree=np.repeat(np.arange(len(trees)), sizes),
        node=np.concatenate([np.arange(size) for size in sizes]),
        feature=_joined(trees, "split_indices", np.int64),
        # XGBoost keeps the value of a leaf where an inner node has its threshold
        threshold=np.where(left >= 0, values, np.float32(0)),
        yes=left,
        no=_joined(trees, "right_children", np.int64),
        nan_yes=_joined(trees, "default_left", np.int64),
        leaf=np.where(left >= 0, np.float32(0), values),
        target=np.repeat(np.asarray(model["tree_info"], np.int64), sizes),
        offset=tuple(start.tolist()),
        features=features,
        link=link,
    )


def _joined(trees: Sequence[Mapping[str, Any]], column: str, kind: Any) -> npt.NDArray[Any]:
    return np.concatenate([np.asarray(tree[column], kind) for tree in trees])
