"""Base models: each fits on float32 rows and says its raw score (a log-odds) natively and as ONNX nodes. One entry a model."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from walkforward_trainer.resolved import Model

    Matrix = npt.NDArray[np.float32]
    Vector = npt.NDArray[np.float64]

__all__ = ["MODELS", "BaseModel", "TreeEnsemble", "Trees"]


class BaseModel(Protocol):
    """A fitted base model."""

    def raw(self, x: Matrix) -> npt.NDArray[np.float32]:
        """Return the log-odds of the positive class by the library's own predictor, shape (n,)."""
        ...

    def trees(self) -> TreeEnsemble:
        """Return the trees, for the graph and for the rows around their thresholds."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class TreeEnsemble:
    """Regression trees whose leaf values add up to the log-odds: parallel arrays, one entry a node.

    A row goes to ``yes`` where x[feature] < threshold in float32 (NaN: where ``nan_yes``); ``yes`` is -1 at a leaf, of value ``leaf``.
    """

    tree: npt.NDArray[np.int64]
    node: npt.NDArray[np.int64]
    feature: npt.NDArray[np.int64]
    threshold: npt.NDArray[np.float32]
    yes: npt.NDArray[np.int64]
    no: npt.NDArray[np.int64]
    nan_yes: npt.NDArray[np.int64]
    leaf: npt.NDArray[np.float32]
    offset: float

    @property
    def splits(self) -> list[tuple[int, float]]:
        """Every distinct (feature, threshold) that a row is compared with, ascending."""
        inner = self.yes >= 0
        return sorted(set(zip(self.feature[inner].tolist(), self.threshold[inner].tolist(), strict=True)))


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """A gradient boosted classifier of XGBoost."""

    booster: Any

    def raw(self, x: Matrix) -> npt.NDArray[np.float32]:
        """Return the log-odds by XGBoost itself."""
        margin: npt.NDArray[np.float32] = self.booster.inplace_predict(x, predict_type="margin")
        return margin

    def trees(self) -> TreeEnsemble:
        """Return the trees as XGBoost's own JSON has them."""
        learner = json.loads(bytes(self.booster.save_raw("json")))["learner"]
        base = json.loads(learner["learner_model_param"]["base_score"])
        share = float(base[0] if isinstance(base, list) else base)
        trees = learner["gradient_booster"]["model"]["trees"]
        left = _joined(trees, "left_children", np.int64)
        values = _joined(trees, "split_conditions", np.float32)
        return TreeEnsemble(
            tree=np.repeat(np.arange(len(trees)), [len(tree["left_children"]) for tree in trees]),
            node=np.concatenate([np.arange(len(tree["left_children"])) for tree in trees]),
            feature=_joined(trees, "split_indices", np.int64),
            # XGBoost keeps the value of a leaf where an inner node has its threshold
            threshold=np.where(left >= 0, values, np.float32(0)),
            yes=left,
            no=_joined(trees, "right_children", np.int64),
            nan_yes=_joined(trees, "default_left", np.int64),
            leaf=np.where(left >= 0, np.float32(0), values),
            offset=math.log(share / (1.0 - share)),
        )


def _joined(trees: Sequence[Mapping[str, Any]], column: str, kind: Any) -> npt.NDArray[Any]:
    return np.concatenate([np.asarray(tree[column], kind) for tree in trees])


def fit_xgboost(x: Matrix, y: Vector, parameters: Model, trees: int) -> Trees:
    """Return XGBoost's histogram trees, on one thread: the same rows and seed give the same trees to the last bit."""
    import xgboost  # noqa: PLC0415 - seconds to load, not needed to refuse bad data

    settings = {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "max_depth": parameters.depth,
        "learning_rate": parameters.learning_rate,
        "subsample": parameters.subsample,
        "seed": parameters.seed,
        "nthread": 1,
        # stated, not estimated from the rows: the meta model sets the level, and the exported offset is exactly zero
        "base_score": 0.5,
    }
    data = xgboost.QuantileDMatrix(x, label=y, nthread=1)
    return Trees(xgboost.train(settings, data, num_boost_round=trees))


MODELS: Final[Mapping[str, Callable[[Matrix, Vector, Model, int], BaseModel]]] = {
    "xgboost": fit_xgboost,
}
"""Every base model by its name in a recipe: rows, labels, hyper-parameters, number of trees → fitted model."""
