"""The shipped ONNX graph, written node by node: trees → log-odds → double → meta model → isotonic → ``p``.

Input ``X`` (N, features) float32. Output ``p`` (N, 2) float32: everything after the trees is computed in double and rounded once.
Opset 18 with ai.onnx.ml 3, which every ONNX Runtime since 1.16 loads. The same model gives the same bytes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from walkforward_trainer.models.boosted import TreeEnsemble
    from walkforward_trainer.tail import Tail

__all__ = ["INPUT", "OUTPUT", "base_graph", "full_graph"]

INPUT: Final = "X"
OUTPUT: Final = "p"
OPSETS: Final = {"": 18, "ai.onnx.ml": 3}
IR_VERSION: Final = 9


def base_graph(models: Sequence[TreeEnsemble], features: int) -> bytes:
    """Return the graph of the base models alone: ``X`` → ``z`` (N, models) float32, their log-odds."""
    nodes, score = _bases(models)
    return _model(nodes, [], features, (score, TensorProto.FLOAT, len(models)), {})


def full_graph(models: Sequence[TreeEnsemble], tail: Tail, features: Sequence[str], metadata: Mapping[str, str]) -> bytes:
    """Return the graph that is shipped: ``X`` → ``p``, with the ordered feature names in its metadata."""
    nodes, score = _bases(models)
    more, constants = _tail(score, tail)
    described = {"feature_names": json.dumps(list(features)), "class_map": json.dumps([0, 1]), "float32_cast": "true", **metadata}
    return _model([*nodes, *more], constants, len(features), (OUTPUT, TensorProto.FLOAT, 2), described)


def _bases(models: Sequence[TreeEnsemble]) -> tuple[list[Any], str]:
    """Return a node for each ensemble and the name of the (N, models) tensor of their scores."""
    nodes = [_ensemble(trees, f"base{index}") for index, trees in enumerate(models)]
    if len(nodes) == 1:
        return nodes, "base0"
    return [*nodes, helper.make_node("Concat", [f"base{i}" for i in range(len(nodes))], ["z"], name="z", axis=1)], "z"


def _ensemble(trees: TreeEnsemble, name: str) -> Any:
    leaf = trees.yes < 0
    return helper.make_node(
        "TreeEnsembleRegressor",
        [INPUT],
        [name],
        name=name,
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function="SUM",
        post_transform="NONE",
        base_values=[trees.offset],
        nodes_treeids=trees.tree.tolist(),
        nodes_nodeids=trees.node.tolist(),
        nodes_featureids=np.where(leaf, 0, trees.feature).tolist(),
        nodes_values=trees.threshold.tolist(),
        nodes_modes=np.where(leaf, "LEAF", "BRANCH_LT").tolist(),
        nodes_truenodeids=np.where(leaf, 0, trees.yes).tolist(),
        nodes_falsenodeids=np.where(leaf, 0, trees.no).tolist(),
        nodes_missing_value_tracks_true=np.where(leaf, 0, trees.nan_yes).tolist(),
        target_treeids=trees.tree[leaf].tolist(),
        target_nodeids=trees.node[leaf].tolist(),
        target_ids=[0] * int(leaf.sum()),
        target_weights=trees.leaf[leaf].tolist(),
    )


def _tail(score: str, tail: Tail) -> tuple[list[Any], list[Any]]:
    """Return nodes and constants of meta model and calibrator.

    Isotonic, exactly: y0 + Σ slope_k · clip(m - x_k, 0, width_k), one term a segment. Products are summed by ReduceSum, row by row:
    a matrix product may round one row otherwise than the same row among others.
    """
    width = np.diff(tail.x)
    rising = width > 0
    width, start = width[rising], tail.x[:-1][rising]
    slope = np.diff(tail.y)[rising] / width
    if not len(width):  # one knot: constant
        width, start, slope = np.ones(1), tail.x[:1], np.zeros(1)
    constants = [
        _constant("meta_weights", tail.weights[None, :]),
        _constant("meta_bias", np.array([[tail.bias]])),
        _constant("iso_start", start[None, :]),
        _constant("iso_width", width[None, :]),
        _constant("iso_slope", slope[None, :]),
        _constant("iso_floor", np.array([[tail.y[0]]])),
        _constant("zero", np.array([[0.0]])),
        _constant("one", np.array([[1.0]])),
        numpy_helper.from_array(np.array([1], np.int64), "columns"),
    ]
    steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("Cast", [score], "z64", {"to": TensorProto.DOUBLE}),
        ("Mul", ["z64", "meta_weights"], "meta_terms", {}),
        ("ReduceSum", ["meta_terms", "columns"], "meta_sum", {"keepdims": 1}),
        ("Add", ["meta_sum", "meta_bias"], "meta_logit", {}),
        ("Sigmoid", ["meta_logit"], "meta", {}),
        ("Sub", ["meta", "iso_start"], "iso_beyond", {}),
        ("Max", ["iso_beyond", "zero"], "iso_positive", {}),
        ("Min", ["iso_positive", "iso_width"], "iso_part", {}),
        ("Mul", ["iso_part", "iso_slope"], "iso_terms", {}),
        ("ReduceSum", ["iso_terms", "columns"], "iso_rise", {"keepdims": 1}),
        ("Add", ["iso_rise", "iso_floor"], "iso_sum", {}),
        # the last digit of the sum may lie outside
        ("Max", ["iso_sum", "zero"], "iso_low", {}),
        ("Min", ["iso_low", "one"], "p1", {}),
        ("Sub", ["one", "p1"], "p0", {}),
        ("Concat", ["p0", "p1"], "p64", {"axis": 1}),
        ("Cast", ["p64"], OUTPUT, {"to": TensorProto.FLOAT}),
    ]
    return [helper.make_node(kind, inputs, [out], name=out, **more) for kind, inputs, out, more in steps], constants


def _constant(name: str, value: npt.NDArray[np.float64]) -> Any:
    return numpy_helper.from_array(np.ascontiguousarray(value, dtype=np.float64), name)


def _model(nodes: list[Any], constants: list[Any], features: int, output: tuple[str, int, int], metadata: Mapping[str, str]) -> bytes:
    name, kind, columns = output
    graph = helper.make_graph(
        nodes,
        "walkforward",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", features])],
        [helper.make_tensor_value_info(name, kind, ["N", columns])],
        constants,
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="walkforward")
    for key in sorted(metadata):
        model.metadata_props.add(key=key, value=metadata[key])
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))
