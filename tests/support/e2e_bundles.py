"""Bundles for the scenarios: trained once from the real bars, and kept whole in every respect where they are made to misbehave.

A derived bundle has its graph, its reference and its golden rows changed together, and a manifest over them: digests match and golden rows
score as promised, so nothing but live traffic can find out what is wrong with it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from walkforward_core.bundle import GOLDEN, MANIFEST, MODEL, REFERENCE, FileRecord, Golden, Manifest, Reference
from walkforward_core.documents import digest
from walkforward_trainer.decision import position
from walkforward_trainer.runtime import run

if TYPE_CHECKING:
    from pathlib import Path

    from walkforward_core.objectstore import ObjectStore

__all__ = ["Bundle", "Where", "heavy", "later", "read", "spoilt", "turned", "upload"]

HOG_BYTES = 3 * 2**30
"""More than any container here may have, less than the machine has."""
LAST = ("p_rest", "p_64", "p")
"""The nodes that follow the probability of the positive class, in their order."""
WORK_SIZE = 700
"""Side of the square matrices that a heavy graph multiplies: about eight milliseconds on one core."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """The files of one bundle, the manifest among them."""

    files: dict[str, bytes]

    @property
    def manifest(self) -> Manifest:
        return Manifest.parse(self.files[MANIFEST])

    @property
    def version(self) -> str:
        return self.manifest.version

    @property
    def digest(self) -> str:
        return digest(self.files[MANIFEST])


@dataclass(frozen=True, slots=True)
class Where:
    """Rows in which ``feature`` is above ``limit``."""

    feature: str
    limit: float


def read(folder: Path) -> Bundle:
    """Return the bundle that a run of the trainer left in ``folder``."""
    return Bundle({path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()})


def upload(store: ObjectStore, bundle: Bundle, root: str) -> str:
    """Put a bundle below ``root``, the manifest last; return its folder."""
    folder = f"{root.rstrip('/')}/{bundle.version}/"
    for name, data in bundle.files.items():
        if name != MANIFEST:
            store.put(folder + name, data)
    store.put(folder + MANIFEST, bundle.files[MANIFEST])
    return folder


def later(bundle: Bundle, minutes: int) -> Bundle:
    """Return the same model with one harmless difference, so that it is another one: a candidate as good as ``bundle``."""
    graph = onnx.load_from_string(bundle.files[MODEL])
    graph.metadata_props.add(key="rebuilt", value=str(minutes))
    return _with(bundle, graph, minutes=minutes)


def turned(bundle: Bundle, minutes: int) -> Bundle:
    """Return the model that always says the opposite: where ``bundle`` earns, it loses. Its score's reference is turned too."""
    graph = onnx.load_from_string(bundle.files[MODEL])
    (last,) = (node for node in graph.graph.node if node.op_type == "Concat" and "p_64" in node.output)
    last.input[:] = list(reversed(last.input))
    reference = Reference.parse(bundle.files[REFERENCE])
    score = reference.score
    edges = tuple(float(np.float32(1.0 - edge)) for edge in reversed(score.edges))
    score = msgspec.structs.replace(score, edges=edges, counts=tuple(reversed(score.counts)), min=1.0 - score.max, max=1.0 - score.min)
    return _with(bundle, graph, minutes=minutes, reference=msgspec.structs.replace(reference, score=score))


def spoilt(bundle: Bundle, how: str, where: Where, minutes: int) -> Bundle:
    """Return a model that misbehaves in the rows of ``where``, which golden rows leave out.

    ``raise``: the runtime raises. ``nan``: it answers NaN. ``hog``: it fills :data:`HOG_BYTES` of memory, which no container survives.
    """
    graph = onnx.load_from_string(bundle.files[MODEL])
    index = bundle.manifest.input.features.index(where.feature)
    _trap(graph.graph, _over(graph.graph, index, where.limit), how)
    return _with(bundle, graph, minutes=minutes, without=(index, where.limit))


def heavy(bundle: Bundle, minutes: int) -> Bundle:
    """Return a model that gives the same answers, but multiplies large matrices for each of them."""
    graph = onnx.load_from_string(bundle.files[MODEL])
    inner = graph.graph
    inner.initializer.append(numpy_helper.from_array(np.array([WORK_SIZE, WORK_SIZE], np.int64), "work_shape"))
    inner.initializer.append(numpy_helper.from_array(np.array(0.0), "work_nothing"))
    inner.node.extend(
        [
            helper.make_node("ReduceMax", ["X"], ["work_seed"], keepdims=0),
            helper.make_node("Cast", ["work_seed"], ["work_seed64"], to=TensorProto.DOUBLE),
            helper.make_node("Expand", ["work_seed64", "work_shape"], ["work_left"]),
            helper.make_node("MatMul", ["work_left", "work_left"], ["work_product"]),
            helper.make_node("ReduceMax", ["work_product"], ["work_sum"], keepdims=0),
            helper.make_node("Mul", ["work_sum", "work_nothing"], ["trap"]),
        ]
    )
    _add_to_score(inner)
    return _with(bundle, graph, minutes=minutes, rows=32)


def _over(graph: Any, index: int, limit: float) -> str:
    """Add nodes that say (float64, 0 or 1) whether any row's feature is above ``limit``; return their tensor."""
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.array([index], np.int64), "trap_feature"),
            numpy_helper.from_array(np.array(limit, np.float32), "trap_limit"),
        ]
    )
    graph.node.extend(
        [
            helper.make_node("Gather", ["X", "trap_feature"], ["trap_column"], axis=1),
            helper.make_node("ReduceMax", ["trap_column"], ["trap_largest"], keepdims=0),
            helper.make_node("Greater", ["trap_largest", "trap_limit"], ["trap_over"]),
        ]
    )
    return "trap_over"


def _trap(graph: Any, over: str, how: str) -> None:
    """Add nodes that give ``trap``: 0 while ``over`` is false."""
    kind = {"raise": TensorProto.INT64, "nan": TensorProto.DOUBLE, "hog": TensorProto.INT64}[how]
    graph.node.append(helper.make_node("Cast", [over], ["trap_number"], to=kind))
    if how == "raise":
        # element 1 of a tensor that has one
        graph.initializer.append(numpy_helper.from_array(np.array([0.0]), "trap_nothing"))
        graph.node.append(helper.make_node("Gather", ["trap_nothing", "trap_number"], ["trap"], axis=0))
    elif how == "nan":
        # 0 / (1 - over) is 0, or NaN
        graph.initializer.append(numpy_helper.from_array(np.array(1.0), "trap_one"))
        graph.initializer.append(numpy_helper.from_array(np.array(0.0), "trap_nothing"))
        graph.node.append(helper.make_node("Sub", ["trap_one", "trap_number"], ["trap_rest"]))
        graph.node.append(helper.make_node("Div", ["trap_nothing", "trap_rest"], ["trap"]))
    else:
        graph.initializer.append(numpy_helper.from_array(np.array([HOG_BYTES // 8], np.int64), "trap_amount"))
        value = helper.make_tensor("trap_value", TensorProto.DOUBLE, [1], [1e-300])
        graph.node.append(helper.make_node("Mul", ["trap_number", "trap_amount"], ["trap_count"]))
        graph.node.append(helper.make_node("ConstantOfShape", ["trap_count"], ["trap_memory"], value=value))
        graph.node.append(helper.make_node("ReduceSum", ["trap_memory"], ["trap"], keepdims=0))
    _add_to_score(graph)


def _add_to_score(graph: Any) -> None:
    """Add ``trap``, which is 0 in rows that are well, to the probability of the positive class."""
    (score,) = (node for node in graph.node if "p1" in node.output)
    score.output[:] = ["p1_model"]
    graph.node.append(helper.make_node("Add", ["p1_model", "trap"], ["p1"]))
    ordered = [node for node in graph.node if node.op_type == "Add" or node.name not in LAST]
    ordered += [node for name in LAST for node in graph.node if node.name == name]
    nodes = [type(node).FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:]
    graph.node.extend(nodes)


def _with(
    bundle: Bundle,
    graph: Any,
    *,
    minutes: int,
    reference: Reference | None = None,
    without: tuple[int, float] | None = None,
    rows: int | None = None,
) -> Bundle:
    """Return ``bundle`` with another graph: golden rows scored again, a later version, and a manifest over what there is now."""
    onnx.checker.check_model(graph, full_check=True)
    model = graph.SerializeToString(deterministic=True)
    manifest = bundle.manifest
    files = {name: data for name, data in bundle.files.items() if name != MANIFEST}
    files[MODEL] = model
    files[GOLDEN] = _golden(bundle, model, without, rows).to_bytes()
    if reference is not None:
        files[REFERENCE] = reference.to_bytes()
    day, rest = manifest.version.split("T")
    version = f"{day}T{minutes // 60:02d}{minutes % 60:02d}{rest[4:7]}-{hashlib.sha256(model).hexdigest()[:8]}"
    records = {name: FileRecord(sha256=hashlib.sha256(data).hexdigest(), size=len(data)) for name, data in files.items()}
    files[MANIFEST] = msgspec.structs.replace(manifest, version=version, files=records).to_bytes()
    return Bundle(files)


def _golden(bundle: Bundle, model: bytes, without: tuple[int, float] | None, most: int | None) -> Golden:
    known = Golden.parse(bundle.files[GOLDEN])
    rows = np.array([[np.nan if value is None else value for value in row] for row in known.x[:most]], np.float32)
    if without is not None:
        index, limit = without
        rows = rows[~(rows[:, index] > limit)]
    p = run(model, rows)
    taken = position(bundle.manifest.decision, p[:, 1].astype(np.float64), np.ones(len(rows)))
    return Golden(
        x=tuple(tuple(None if np.isnan(value) else value for value in row) for row in rows.astype(np.float64).tolist()),
        p=tuple(map(tuple, p.astype(np.float64).tolist())),
        position=tuple(taken.tolist()),
        tolerance=known.tolerance,
    )
