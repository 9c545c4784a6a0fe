"""Base models as nodes: ``X`` → log-odds in double precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import numpy_helper

from walkforward_trainer.models.parts import SHARE_FLOOR, Link, TreeEnsemble

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from walkforward_trainer.graph.nodes import Nodes
    from walkforward_trainer.models.parts import Linear, Part

__all__ = ["INPUT", "add_log_odds"]

INPUT = "X"


def add_log_odds(nodes: Nodes, parts: Sequence[Part], name: str = "base") -> str:
    """Add the models and return the tensor of their log-odds, shape (N, m · (C - 1)), or of their estimates."""
    return nodes.beside([_log_odds(nodes, part, f"{name}{index}") for index, part in enumerate(parts)], f"{name}_z")


def _log_odds(nodes: Nodes, part: Part, name: str) -> str:
    """Add what :func:`walkforward_trainer.models.parts.to_log_odds` does with the raw scores of ``part``."""
    if isinstance(part, TreeEnsemble):
        raw, outputs = _trees(nodes, part, name), len(part.offset)
    else:
        raw, outputs = _linear(nodes, part, name), len(part.bias)
    if part.link is Link.SHARE and outputs == 1:
        share = nodes.within(raw, SHARE_FLOOR, 1.0 - SHARE_FLOOR, f"{name}_share")
        rest = nodes.add("Sub", [nodes.number(1.0), share], f"{name}_rest")
        return nodes.add("Sub", [nodes.add("Log", [share], f"{name}_log"), nodes.add("Log", [rest], f"{name}_log_rest")], f"{name}_odds")
    if part.link is Link.SHARE:
        kept = nodes.add("Max", [raw, nodes.number(SHARE_FLOOR)], f"{name}_share")
        raw = nodes.add("Log", [kept], f"{name}_log")
    if part.link is Link.NUMBER or outputs == 1:
        return raw
    others = nodes.pick(raw, list(range(1, outputs)), f"{name}_others")
    return nodes.add("Sub", [others, nodes.pick(raw, [0], f"{name}_first")], f"{name}_odds")


def _trees(nodes: Nodes, trees: TreeEnsemble, name: str) -> str:
    leaf = trees.yes < 0
    scores = nodes.add(
        "TreeEnsembleRegressor",
        [_double_input(nodes) if trees.leaf.dtype == np.float64 else INPUT],
        name,
        domain="ai.onnx.ml",
        n_targets=len(trees.offset),
        aggregate_function="SUM",
        post_transform="NONE",
        nodes_treeids=trees.tree,
        nodes_nodeids=trees.node,
        nodes_featureids=np.where(leaf, 0, trees.feature),
        nodes_modes=np.where(leaf, b"LEAF", b"BRANCH_LEQ" if trees.or_equal else b"BRANCH_LT"),
        nodes_truenodeids=np.where(leaf, 0, trees.yes),
        nodes_falsenodeids=np.where(leaf, 0, trees.no),
        nodes_missing_value_tracks_true=np.where(leaf, 0, trees.nan_yes),
        target_treeids=trees.tree[leaf],
        target_nodeids=trees.node[leaf],
        target_ids=trees.target[leaf],
        **_values(trees, leaf),
    )
    return nodes.double(scores, f"{name}_64")


def _values(trees: TreeEnsemble, leaf: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Return the attributes that hold numbers: lists are float32, tensors may be double."""
    values = {"base_values": trees.offset, "nodes_values": trees.threshold, "target_weights": trees.leaf[leaf]}
    if trees.leaf.dtype == np.float64:
        return {f"{name}_as_tensor": numpy_helper.from_array(np.asarray(value, np.float64), name) for name, value in values.items()}
    return {name: np.asarray(value) for name, value in values.items()}


def _double_input(nodes: Nodes) -> str:
    return "X_64" if any(node.name == "X_64" for node in nodes.nodes) else nodes.double(INPUT, "X_64")


def _linear(nodes: Nodes, part: Linear, name: str) -> str:
    """Add Σ (x - center) · weights + bias, an output at a time: what a converter's Gemm does depends on the number of rows."""
    x = _double_input(nodes)
    if part.bounds is not None:
        lower, upper = (nodes.constant(f"{name}_{end}", getattr(part.bounds, end)[None, :]) for end in ("lower", "upper"))
        x = nodes.add("Min", [nodes.add("Max", [x, lower], f"{name}_above"), upper], f"{name}_within")
    moved = nodes.add("Sub", [x, nodes.constant(f"{name}_center", part.center[None, :])], f"{name}_moved")
    outputs = [
        nodes.logistic_sum(moved, weights, float(bias), f"{name}_{index}")
        for index, (weights, bias) in enumerate(zip(part.weights, part.bias, strict=True))
    ]
    return nodes.beside(outputs, f"{name}_scores")
