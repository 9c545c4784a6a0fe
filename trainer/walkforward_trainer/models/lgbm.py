"""LightGBM's boosted trees, exported exactly.

LightGBM compares in double precision. Rows are float32, and for such an x: x ≤ t is x ≤ (largest float32 ≤ t). Rounding t to the nearest
instead sends rows between the two the other way: a fifth of them where prices of 44,000 come in steps of 0.01. What is within
ZERO of zero LightGBM takes for zero. Its leaves are added in double precision, so the exported ones are too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from walkforward_trainer.models.parts import BaseModel, Link, TreeEnsemble

if TYPE_CHECKING:
    import numpy.typing as npt

    from walkforward_trainer.models.training import Training
    from walkforward_trainer.resolved import Model

__all__ = ["fit_lightgbm", "floor32"]

CATEGORICAL, DEFAULT_LEFT, MISSING_SHIFT, MISSING_NAN = 1, 2, 2, 2
"""Bits of LightGBM's decision_type; two bits from MISSING_SHIFT on say what counts as missing: nothing (0), zero (1) or NaN (2)."""
MAX_LEAVES = 31
ZERO = np.float32(1e-35)


def fit_lightgbm(training: Training, parameters: Model) -> BaseModel:
    """Return LightGBM's leaf-wise trees: at most 31 leaves, no deeper than ``depth``, at least 20 rows a leaf."""
    import lightgbm  # noqa: PLC0415 - loads scipy, not needed to refuse bad data

    settings = {
        "objective": {0: "regression", 2: "binary"}.get(training.classes, "multiclass"),
        "max_depth": parameters.depth,
        "num_leaves": MAX_LEAVES,
        "learning_rate": parameters.learning_rate,
        "bagging_fraction": parameters.subsample,
        "bagging_freq": 1,
        "seed": parameters.seed,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    } | ({"num_class": training.classes} if training.classes > 2 else {})
    data = lightgbm.Dataset(training.x, label=training.y, weight=training.weight, params=settings)
    booster = lightgbm.train(settings, data, num_boost_round=parameters.trees)
    outputs = max(training.classes, 1) if training.classes != 2 else 1

    def native(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        return np.asarray(booster.predict(x, raw_score=True, num_threads=1), np.float64)

    link = Link.LOG_ODDS if training.classes else Link.NUMBER
    return BaseModel(part=_ensemble(booster.model_to_string(), outputs, training.x.shape[1], link), native=native)


def floor32(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return the largest float32 that is not above each value.

    >>> floor32(np.array([44000.01, 1.0])).tolist()
    [44000.0078125, 1.0]
    """
    nearest = values.astype(np.float32)
    below = np.nextafter(nearest, np.float32(-np.inf))
    return np.where(nearest.astype(np.float64) > values, below, nearest)


def _thresholds(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return float32 thresholds that send every float32 number where LightGBM sends it."""
    lowered = floor32(values)
    near = np.abs(values) <= float(ZERO)
    return np.where(near, np.where(values < 0, np.nextafter(-ZERO, np.float32(-1)), ZERO), lowered)


def _ensemble(text: str, outputs: int, features: int, link: Link) -> TreeEnsemble:
    """Return the trees of LightGBM's own text; outputs take turns."""
    columns: dict[str, list[npt.NDArray[Any]]] = {
        name: [] for name in ("tree", "node", "feature", "threshold", "yes", "no", "nan_yes", "leaf", "target")
    }
    for number, block in enumerate(text.split("\nTree=")[1:]):
        fields = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        for name, values in _tree(fields, number, number % outputs).items():
            columns[name].append(values)
    joined = {name: np.concatenate(values) for name, values in columns.items()}
    return TreeEnsemble(**joined, offset=(0.0,) * outputs, features=features, link=link, or_equal=True)


def _tree(fields: dict[str, str], number: int, target: int) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of one tree: inner nodes first, then its leaves, which LightGBM counts from -1 down."""
    leaves = int(fields["num_leaves"])
    inner = leaves - 1

    def read(name: str, kind: Any) -> npt.NDArray[Any]:
        return np.array(fields[name].split() if inner else [], kind)

    threshold = _thresholds(read("threshold", np.float64))
    decision = read("decision_type", np.int64)
    if (decision & CATEGORICAL).any():
        raise ValueError("LightGBM made a categorical split, though no feature is one; this is a bug of the trainer")
    # where training rows had no NaN, LightGBM takes it for zero
    nan_yes = np.where(decision >> MISSING_SHIFT == MISSING_NAN, (decision & DEFAULT_LEFT) > 0, threshold >= 0)
    left, right = read("left_child", np.int64), read("right_child", np.int64)
    none = np.full(leaves, -1, np.int64)
    zeros = np.zeros(leaves, np.int64)
    return {
        "tree": np.full(inner + leaves, number, np.int64),
        "node": np.arange(inner + leaves, dtype=np.int64),
        "feature": np.concatenate((read("split_feature", np.int64), zeros)),
        "threshold": np.concatenate((threshold, zeros.astype(np.float32))),
        "yes": np.concatenate((np.where(left >= 0, left, inner - left - 1), none)),
        "no": np.concatenate((np.where(right >= 0, right, inner - right - 1), none)),
        "nan_yes": np.concatenate((nan_yes.astype(np.int64), zeros)),
        "leaf": np.concatenate((np.zeros(inner), np.array(fields["leaf_value"].split(), np.float64))),
        "target": np.full(inner + leaves, target, np.int64),
    }
