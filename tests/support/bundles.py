"""Small bundles that are valid in every respect, made in milliseconds: a logistic model over a few features.

``trap`` is how the model misbehaves on rows whose first feature is above :data:`TRIGGER`; golden rows never are:
``nan`` answers NaN, ``raise`` makes the runtime raise, ``hog`` asks for ``hog_bytes`` of memory, ``kill`` ends the process by SIGFPE.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from walkforward_core.bundle import (
    Costs,
    DataRecord,
    Decision,
    DecisionKind,
    FeatureReference,
    FileRecord,
    Golden,
    Horizon,
    Input,
    Manifest,
    NanPolicy,
    Output,
    Parity,
    Reference,
    RetrainRef,
    ValidationRecord,
)
from walkforward_core.decision import decision_score
from walkforward_core.documents import digest
from walkforward_core.routing import ModelRef

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

TRIGGER = 100.0
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Made:
    """A bundle: its address, its documents and the bytes by file name."""

    ref: ModelRef
    manifest: Manifest
    golden: Golden
    files: dict[str, bytes]


def logistic(weights: Sequence[float], bias: float = 0.0, *, trap: str = "", hog_bytes: int = 2**31, double: bool = False) -> bytes:
    """Return an ONNX graph X [n, F] -> p [n, 2] = (1 - s, s), s = sigmoid(X·w + b), with an optional trap."""
    column = np.array(weights, np.float32).reshape(-1, 1)
    inits: list[Any] = [
        numpy_helper.from_array(column, "w"),
        numpy_helper.from_array(np.array([bias], np.float32), "b"),
        numpy_helper.from_array(np.array([1.0], np.float32), "one"),
    ]
    nodes = [helper.make_node("MatMul", ["X", "w"], ["xw"])]
    nodes += [helper.make_node("Add", ["xw", "b"], ["z"])]
    logit = "z"
    if trap:
        extra_nodes, extra_inits = _trap(trap, hog_bytes)
        nodes += [*extra_nodes, helper.make_node("Add", ["z", "trap"], ["zt"])]
        inits += extra_inits
        logit = "zt"
    nodes += [helper.make_node("Sigmoid", [logit], ["s"]), helper.make_node("Sub", ["one", "s"], ["q"])]
    nodes += [helper.make_node("Concat", ["q", "s"], ["pf" if double else "p"], axis=1)]
    if double:
        nodes += [helper.make_node("Cast", ["pf"], ["p"], to=TensorProto.DOUBLE)]
    kind = TensorProto.DOUBLE if double else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "logistic",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["n", len(weights)])],
        [helper.make_tensor_value_info("p", kind, ["n", 2])],
        inits,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def blind_to_missing(weights: Sequence[float]) -> bytes:
    """Return the logistic graph with NaN taken for 0, as trees have a branch for it."""
    model = onnx.load_from_string(logistic(weights))
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array([0.0], np.float32), "zero"))
    graph.node[0].input[0] = "filled"
    graph.node.insert(0, helper.make_node("IsNaN", ["X"], ["absent"]))
    graph.node.insert(1, helper.make_node("Where", ["absent", "zero", "X"], ["filled"]))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _trap(kind: str, hog_bytes: int) -> tuple[list[Any], list[Any]]:
    """Return nodes that give ``trap``, which is 0 unless the largest first feature is above the trigger."""
    inits = [
        numpy_helper.from_array(np.array([0], np.int64), "first"),
        numpy_helper.from_array(np.array([TRIGGER], np.float32), "trigger"),
        numpy_helper.from_array(np.array([0.0], np.float32), "zero"),
    ]
    nodes = [
        helper.make_node("Gather", ["X", "first"], ["x0"], axis=1),
        helper.make_node("ReduceMax", ["x0"], ["xmax"], keepdims=0),
        helper.make_node("Greater", ["xmax", "trigger"], ["over"]),
        helper.make_node("Cast", ["over"], ["overf"], to=TensorProto.FLOAT),
    ]
    if kind == "nan":
        # 0 / (1 - over) is 0, or NaN
        inits += [numpy_helper.from_array(np.array([1.0], np.float32), "unit")]
        nodes += [helper.make_node("Sub", ["unit", "overf"], ["den"]), helper.make_node("Div", ["zero", "den"], ["trap"])]
    elif kind == "raise":
        # element `over` of a tensor that has one
        nodes += [
            helper.make_node("Cast", ["over"], ["at"], to=TensorProto.INT64),
            helper.make_node("Gather", ["zero", "at"], ["trap"], axis=0),
        ]
    elif kind == "hog":
        inits += [numpy_helper.from_array(np.array([hog_bytes // 4], np.int64), "amount")]
        nodes += [
            helper.make_node("Cast", ["over"], ["at"], to=TensorProto.INT64),
            helper.make_node("Mul", ["at", "amount"], ["count"]),
            helper.make_node("ConstantOfShape", ["count"], ["memory"], value=helper.make_tensor("v", TensorProto.FLOAT, [1], [1e-30])),
            helper.make_node("ReduceSum", ["memory"], ["trap"], keepdims=0),
        ]
    elif kind == "kill":
        # the least integer divided by 1 - 2 over: by -1 there is no such integer, which the processor does not forgive
        least = np.array([np.iinfo(np.int32).min], np.int32)
        inits += [numpy_helper.from_array(least, "least"), numpy_helper.from_array(np.array([1], np.int32), "unit")]
        nodes += [
            helper.make_node("Cast", ["over"], ["at"], to=TensorProto.INT32),
            helper.make_node("Add", ["at", "at"], ["twice"]),
            helper.make_node("Sub", ["unit", "twice"], ["den"]),
            helper.make_node("Div", ["least", "den"], ["whole"]),
            helper.make_node("Cast", ["whole"], ["ratio"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["ratio", "zero"], ["trap"]),
        ]
    else:
        raise ValueError(kind)
    return nodes, inits


def make_bundle(
    root: Path,
    *,
    features: Sequence[str] = ("a", "b", "c"),
    weights: Sequence[float] | None = None,
    bias: float = 0.0,
    kind: DecisionKind = DecisionKind.SIGN,
    threshold: float = 0.5,
    nan: NanPolicy = NanPolicy.REFUSE,
    day: int = 1,
    trap: str = "",
    hog_bytes: int = 2**31,
    double: bool = False,
    blind: bool = False,
    content: bytes | None = None,
    output: Output | None = None,
    seed: int = 0,
    change: Callable[[dict[str, bytes]], None] | None = None,
) -> Made:
    """Write a bundle below ``root`` and return it; ``blind`` makes a model that takes NaN for 0, ``change`` may spoil its files."""
    width = len(features)
    values = list(weights) if weights is not None else [((-1) ** index) * (1.0 + 0.1 * index) for index in range(width)]
    if content is not None:
        model = content
    else:
        model = blind_to_missing(values) if blind else logistic(values, bias, trap=trap, hog_bytes=hog_bytes, double=double)
    rng = np.random.default_rng(seed)
    decision = Decision(kind=kind, threshold=threshold)
    rows = rng.standard_normal((2000, width)).astype(np.float32)
    p = score(model, rows)
    described = output or Output()
    ends = (p[:, described.positive].astype(float), p[:, described.negative].astype(float))
    decided = decision_score(*ends, len(described.classes))
    golden = Golden(
        x=tuple(tuple(float(v) for v in row) for row in rows[:32]),
        p=tuple(tuple(float(v) for v in row) for row in p[:32]),
        position=tuple(_position(decision, float(one)) for one in decided[:32]),
    )
    reference = Reference(
        rows=len(rows),
        null_m={"50": 1.5},
        features=tuple(_reference(name, rows[:, index]) for index, name in enumerate(features)),
        score=_reference("score", decided.astype(np.float32)),
    )
    files = {"model.onnx": model, "reference.json": reference.to_bytes(), "golden.json": golden.to_bytes(), "report.json": b"{}"}
    version = f"202601{day:02d}T000000Z-{hashlib.sha256(model).hexdigest()[:8]}"
    manifest = msgspec.structs.replace(_manifest(version, tuple(features), decision, nan, files), output=described)
    files["manifest.json"] = manifest.to_bytes()
    ref = ModelRef(
        version=version,
        uri=f"file://{root}/{version}/",
        digest=digest(files["manifest.json"]),
        model=digest(model),
    )
    if change is not None:
        change(files)
    _write(root / version, files)
    return Made(ref=ref, manifest=manifest, golden=golden, files=files)


def remade(made: Made, root: Path, model: bytes) -> Made:
    """Write the bundle again around another graph: all digests are right, the golden rows are the old model's."""
    files = {**made.files, "model.onnx": model}
    version = f"{made.ref.version[:16]}-{hashlib.sha256(model).hexdigest()[:8]}"
    records = {**made.manifest.files, "model.onnx": FileRecord(sha256=hashlib.sha256(model).hexdigest(), size=len(model))}
    manifest = msgspec.structs.replace(made.manifest, version=version, files=records)
    files["manifest.json"] = manifest.to_bytes()
    ref = ModelRef(version=version, uri=f"file://{root}/{version}/", digest=digest(files["manifest.json"]), model=digest(model))
    _write(root / version, files)
    return Made(ref=ref, manifest=manifest, golden=made.golden, files=files)


def _write(home: Path, files: dict[str, bytes]) -> None:
    home.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (home / name).write_bytes(data)


def score(model: bytes, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return what the graph answers, by a plain session."""
    from walkforward_server.ort import onnxruntime, session_options

    session = onnxruntime.InferenceSession(model, session_options(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["p"], {"X": rows})[0])


def _position(decision: Decision, p: float) -> float:
    if decision.kind is DecisionKind.SIGN:
        return 1.0 if p > decision.threshold else -1.0 if p < 1 - decision.threshold else 0.0
    if decision.kind is DecisionKind.FILTER:
        return 0.0 if p > decision.threshold else 1.0
    return 2 * p - 1


def _reference(name: str, values: np.ndarray[Any, Any]) -> FeatureReference:
    edges = np.quantile(values, np.arange(1, 10) / 10).astype(np.float32)
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=10)
    return FeatureReference(
        name=name,
        edges=tuple(float(edge) for edge in edges),
        counts=tuple(int(count) for count in counts),
        min=float(values.min()),
        max=float(values.max()),
    )


def _manifest(version: str, features: tuple[str, ...], decision: Decision, nan: NanPolicy, files: dict[str, bytes]) -> Manifest:
    return Manifest(
        version=version,
        retrain=RetrainRef(namespace="test", name="fx", uid="uid", run="run"),
        files={name: FileRecord(sha256=hashlib.sha256(data).hexdigest(), size=len(data)) for name, data in files.items()},
        input=Input(features=features, nan=nan),
        output=Output(),
        decision=decision,
        horizon=Horizon(bars=5, ms=5 * HOUR_MS),
        costs=Costs(round_trip=0.0002),
        data=DataRecord(
            as_of="2026-01-01T00:00:00Z",
            from_="2025-01-01T00:00:00Z",
            to="2026-01-01T00:00:00Z",
            digest="sha256:0",
            symbols=("EURUSD",),
            timeframe="1h",
        ),
        validation=ValidationRecord(scheme="PurgedKFold", folds=5, purge="5h", embargo_hours=24.0),
        trials=1,
        seeds={},
        libraries={},
        metrics={"auc": 0.66},
        gates=(),
        baseline=None,
        parity=Parity(max_abs=0.0, rows=len(features)),
    )
