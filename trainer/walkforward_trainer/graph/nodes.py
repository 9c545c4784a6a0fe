"""A small writer of ONNX nodes: names are given, so the same model gives the same bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import AttributeProto, TensorProto, helper, numpy_helper

__all__ = ["Nodes"]


class Nodes:
    """Nodes and constants of one graph, in the order in which they were added. Everything but the trees is in double precision."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self._constants: dict[str, Any] = {}

    @property
    def constants(self) -> list[Any]:
        """Initialisers."""
        return list(self._constants.values())

    def add(self, kind: str, inputs: list[str], out: str, *, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        node = helper.make_node(kind, inputs, [out], name=out, domain=domain)
        node.attribute.extend(_attribute(name, value) for name, value in sorted(attributes.items()))
        self.nodes.append(node)
        return out

    def constant(self, name: str, value: Any, kind: type[np.generic] = np.float64) -> str:
        """Return ``name``, of a constant that is there from now on; the same name always stands for the same value."""
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(value, dtype=kind), name)
        return name

    def number(self, value: float) -> str:
        """Return the name of a (1, 1) constant."""
        return self.constant(f"number_{value!r}", [[value]])

    def total(self, terms: str, out: str) -> str:
        """Sum a (N, k) tensor row by row: a matrix product may round one row otherwise than the same row among others."""
        return self.add("ReduceSum", [terms, self.constant("columns", [1], np.int64)], out, keepdims=1)

    def pick(self, tensor: str, columns: list[int], out: str) -> str:
        """Return the columns of a (N, k) tensor."""
        at = self.constant("at_" + "_".join(map(str, columns)), columns, np.int64)
        return self.add("Gather", [tensor, at], out, axis=1)

    def double(self, tensor: str, out: str) -> str:
        """Cast to double."""
        return self.add("Cast", [tensor], out, to=TensorProto.DOUBLE)

    def single(self, tensor: str, out: str) -> str:
        """Round to float32."""
        return self.add("Cast", [tensor], out, to=TensorProto.FLOAT)

    def beside(self, tensors: list[str], out: str) -> str:
        """Join (N, k) tensors side by side; a single one stays what it is."""
        return tensors[0] if len(tensors) == 1 else self.add("Concat", tensors, out, axis=1)

    def within(self, tensor: str, low: float, high: float, out: str) -> str:
        """Keep every value in [low, high]."""
        return self.add("Min", [self.add("Max", [tensor, self.number(low)], out + "_low"), self.number(high)], out)

    def logistic_sum(self, tensor: str, weights: Any, bias: float, out: str) -> str:
        """Return Σ tensor · weights + bias, shape (N, 1)."""
        terms = self.add("Mul", [tensor, self.constant(out + "_weights", np.asarray(weights)[None, :])], out + "_terms")
        return self.add("Add", [self.total(terms, out + "_sum"), self.constant(out + "_bias", [[bias]])], out)


def _attribute(name: str, value: Any) -> Any:
    """Return what ``helper.make_attribute`` does; of arrays at once: it looks at each element, and no other fit may run meanwhile."""
    if not isinstance(value, np.ndarray):
        return helper.make_attribute(name, value)
    made = AttributeProto(name=name)
    if value.dtype.kind == "S":
        made.type = AttributeProto.STRINGS
        made.strings.extend(value.tolist())
    elif value.dtype.kind == "i":
        made.type = AttributeProto.INTS
        made.ints.extend(value.tolist())
    else:
        made.type = AttributeProto.FLOATS
        made.floats.extend(value.tolist())
    return made
