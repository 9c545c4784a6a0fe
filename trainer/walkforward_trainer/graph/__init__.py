"""The shipped ONNX graph, written node by node: base models → log-odds in double → meta model or vote → calibration → ``p``.

Input ``X`` (N, features) float32. Output ``p`` (N, classes) float32: everything after the trees is computed in double and rounded once.
Further heads are further outputs. Opset 18 with ai.onnx.ml 3, which every ONNX Runtime since 1.16 loads. The same model gives the same
bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import onnx
from onnx import TensorProto, helper

from walkforward_trainer.graph.bases import INPUT, add_log_odds
from walkforward_trainer.graph.ending import add_tail, both
from walkforward_trainer.graph.nodes import Nodes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from walkforward_trainer.models.parts import Part
    from walkforward_trainer.tail import Tail

__all__ = ["INPUT", "OUTPUT", "HeadPart", "base_graph", "full_graph"]

OUTPUT: Final = "p"
RAW: Final = "z"
OPSETS: Final = {"": 18, "ai.onnx.ml": 3}
IR_VERSION: Final = 9


@dataclass(frozen=True, slots=True, eq=False)
class HeadPart:
    """A further output: the probabilities of both classes where ``classes`` is 2, an estimate plus ``shift`` where it is 0.

    ``part`` may be that of another head, told by being the same object: its nodes are then written once.
    """

    name: str
    part: Part
    classes: int
    shift: float = 0.0


def base_graph(parts: Sequence[Part], features: int) -> bytes:
    """Return the graph of the base models alone: ``X`` → ``z`` double, their log-odds (N, m · (C - 1)), or their estimates."""
    nodes = Nodes()
    z = nodes.add("Identity", [add_log_odds(nodes, parts)], RAW)
    return _model(nodes, features, {z: (TensorProto.DOUBLE, None)}, {}, check=False)


def full_graph(
    parts: Sequence[Part],
    tail: Tail,
    features: Sequence[str],
    metadata: Mapping[str, str],
    heads: Sequence[HeadPart] = (),
    *,
    check: bool = True,
) -> bytes:
    """Return the whole graph, with the ordered feature names in its metadata; ``check`` by ONNX's own checker what is shipped."""
    nodes = Nodes()
    p = nodes.single(add_tail(nodes, add_log_odds(nodes, parts), tail), OUTPUT)
    outputs: dict[str, tuple[int, int | None]] = {p: (TensorProto.FLOAT, tail.classes)}
    known: dict[int, str] = {}
    for index, head in enumerate(heads):
        if id(head.part) not in known:
            known[id(head.part)] = add_log_odds(nodes, [head.part], f"head{index}_base")
        outputs[_head(nodes, head, known[id(head.part)], f"head{index}")] = (TensorProto.FLOAT, head.classes or 1)
    described = {
        "feature_names": json.dumps(list(features)),
        "class_map": json.dumps(list(range(tail.classes))),
        "float32_cast": "true",
        **metadata,
    }
    return _model(nodes, len(features), outputs, described, check=check)


def _head(nodes: Nodes, head: HeadPart, score: str, name: str) -> str:
    if head.classes:
        return nodes.single(both(nodes, nodes.add("Sigmoid", [score], f"{name}_p1"), name), head.name)
    return nodes.single(nodes.add("Add", [score, nodes.number(head.shift)], f"{name}_shifted"), head.name)


def _model(
    nodes: Nodes, features: int, outputs: Mapping[str, tuple[int, int | None]], metadata: Mapping[str, str], *, check: bool
) -> bytes:
    graph = helper.make_graph(
        nodes.nodes,
        "walkforward",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", features])],
        [helper.make_tensor_value_info(name, kind, ["N", columns or "M"]) for name, (kind, columns) in outputs.items()],
        nodes.constants,
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
    model: Any = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="walkforward")
    for key in sorted(metadata):
        model.metadata_props.add(key=key, value=metadata[key])
    if check:
        onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))
