"""Three classes and further heads: the score that positions, agreement and drift are taken on, and outputs that only those pay who ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from bundles import logistic, make_bundle, remade, score
from onnx import TensorProto, helper, numpy_helper
from server_harness import T0, routing

from walkforward_core.bundle import Decision, DecisionKind, Head, Output
from walkforward_core.errors import DocumentError, IntegrityError
from walkforward_server.bundles import check_golden
from walkforward_server.decision import choice_rule, position_rule, score_rule
from walkforward_server.graphs import keep_outputs
from walkforward_server.model import Model
from walkforward_server.stats.drift import DriftCounters

if TYPE_CHECKING:
    from pathlib import Path

    from bundles import Made
    from server_harness import Running

HEADS = (Head(name="risk", target="Risk", columns=2), Head(name="price", target="Price", columns=1))
THREE = Output(classes=(0, 1, 2), positive=2, negative=0, heads=HEADS)
UP, DOWN, NEITHER = [0.0, 0.0, 4.0], [4.0, 0.0, 0.0], [0.0, 4.0, 1.0]


def three(*, price: float = 0.5) -> bytes:
    """Return X [n, 3] -> p = softmax(X), and two heads: risk = (1 - s, s) with s = sigmoid(x0), price = x0 · price."""
    nodes = [
        helper.make_node("Softmax", ["X"], ["p"], axis=1),
        helper.make_node("Gather", ["X", "first"], ["x0"], axis=1),
        helper.make_node("Sigmoid", ["x0"], ["s"]),
        helper.make_node("Sub", ["one", "s"], ["q"]),
        helper.make_node("Concat", ["q", "s"], ["risk"], axis=1),
        helper.make_node("Mul", ["x0", "slope"], ["price"]),
    ]
    constants = [
        numpy_helper.from_array(np.array([0], np.int64), "first"),
        numpy_helper.from_array(np.array([[1.0]], np.float32), "one"),
        numpy_helper.from_array(np.array([[price]], np.float32), "slope"),
    ]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width]) for name, width in (("p", 3), ("risk", 2), ("price", 1))
    ]
    graph = helper.make_graph(nodes, "three", [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["n", 3])], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def bundle(root: Path, **fields: Any) -> Made:
    return make_bundle(root, **({"content": three(), "output": THREE, "threshold": 0.6} | fields))


def loaded(made: Made) -> Model:
    from walkforward_core.bundle import Reference

    return Model(made.files["model.onnx"], made.manifest, Reference.parse(made.files["reference.json"]), made.ref.digest)


def test_positions_of_three_classes_mean_what_the_threshold_says() -> None:
    """Against the definition, for every kind of row and threshold."""
    rng = np.random.default_rng(0)
    found = score_rule(THREE)
    for p in rng.dirichlet((0.5, 0.5, 0.5), 2_000).tolist():
        for threshold in (0.5, 0.6, 0.8):
            sign = position_rule(Decision(kind=DecisionKind.SIGN, threshold=threshold))
            assert sign(found(p), 0.0) == (1.0 if p[2] > threshold else -1.0 if p[0] > threshold else 0.0)
        size = position_rule(Decision(kind=DecisionKind.SIZE))(found(p), 0.0)
        assert size == pytest.approx(max(2 * p[2] - 1, 0.0) - max(2 * p[0] - 1, 0.0))


def test_two_classes_have_the_probability_itself() -> None:
    assert score_rule(Output())([0.25, 0.1 + 0.2]) == 0.1 + 0.2
    assert choice_rule(Decision(kind=DecisionKind.SIZE))(0.5) == -1.0
    assert choice_rule(Decision(kind=DecisionKind.SIZE), 3)(0.5) == 0.0


def test_a_bundle_of_three_classes_is_verified_by_its_golden_rows(tmp_path: Path) -> None:
    made = bundle(tmp_path)
    model = loaded(made)
    check_golden(model, made.golden)
    assert set(made.golden.position) == {-1.0, 0.0, 1.0}
    flipped = remade(made, tmp_path, bytes(_without_softmax()))
    with pytest.raises(IntegrityError, match="does not reproduce"):
        check_golden(loaded(flipped), made.golden)


def _without_softmax() -> bytes:
    model = onnx.load_from_string(three())
    model.graph.node[0].op_type = "LogSoftmax"
    return bytes(model.SerializeToString())


def test_drift_counts_the_score_as_the_trainer_did(tmp_path: Path) -> None:
    made = bundle(tmp_path)
    model = loaded(made)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2000, 3)).astype(np.float32)
    counters = DriftCounters(model)
    for row in x:
        counters.add(row.tobytes(), model.score(row.tobytes()))
    counters.flush()
    assert counters.score.tolist() == list(model.reference.score.counts)
    assert counters.classes.tolist() == np.bincount(score(three(), x).argmax(axis=1), minlength=3).tolist()


def test_outputs_that_nobody_asked_for_are_not_computed() -> None:
    whole = three()
    alone = onnx.load_from_string(keep_outputs(whole, {"p"}))
    assert [output.name for output in alone.graph.output] == ["p"]
    assert [node.op_type for node in alone.graph.node] == ["Softmax"]
    assert [name.name for name in alone.graph.input] == ["X"]
    rows = np.random.default_rng(1).standard_normal((50, 3)).astype(np.float32)
    np.testing.assert_array_equal(score(keep_outputs(whole, {"p"}), rows), score(whole, rows))
    everything = onnx.load_from_string(keep_outputs(whole, {"p", "risk", "price"}))
    assert everything == onnx.load_from_string(whole)
    plain = logistic([1.0, 2.0])
    assert onnx.load_from_string(keep_outputs(plain, {"p"})) == onnx.load_from_string(plain)


@pytest.mark.parametrize("spoiled", [b"\x3a\xff", b"no model at all", three()[:-7], b"\x3b\x00"])
def test_what_is_no_model_is_refused(spoiled: bytes) -> None:
    with pytest.raises(IntegrityError, match="is not an ONNX model"):
        keep_outputs(spoiled, {"p"})


def test_a_head_that_the_graph_does_not_have_is_refused(tmp_path: Path) -> None:
    wrong = Output(classes=(0, 1, 2), positive=2, negative=0, heads=(Head(name="volatility", target="Volatility"),))
    with pytest.raises(DocumentError, match="promises a float tensor 'volatility'"):
        loaded(bundle(tmp_path, output=wrong))


class TestServed:
    """Over a socket."""

    @pytest.fixture
    async def made(self, server: Running, tmp_path: Path) -> Made:
        found = bundle(tmp_path / "store")
        await server.apply(routing(stable=found.ref))
        return found

    async def ask(self, server: Running, row: list[float], *names: str, binary: bool = False) -> Any:
        wanted = [{"name": name, "parameters": {"binary_data": binary}} for name in names]
        request = {"inputs": [{"name": "X", "shape": [len(row) // 3, 3], "datatype": "FP32", "data": row}]}
        return await server.post("/v2/models/fx/infer", request | ({"outputs": wanted} if names else {}))

    async def test_positions(self, server: Running, made: Made) -> None:
        reply = (await self.ask(server, [*UP, *DOWN, *NEITHER])).json
        p, position = reply["outputs"]
        assert p["shape"] == [3, 3]
        assert position["data"] == [1.0, -1.0, 0.0]
        assert [(await self.ask(server, row)).json["outputs"][1]["data"] for row in (UP, DOWN, NEITHER)] == [[1.0], [-1.0], [0.0]]

    async def test_heads_come_when_asked_for(self, server: Running, made: Made) -> None:
        assert [output["name"] for output in (await self.ask(server, UP)).json["outputs"]] == ["p", "position"]
        price, risk = (await self.ask(server, [*DOWN, *UP], "price", "risk")).json["outputs"]
        assert (price["shape"], price["data"]) == ([2, 1], [2.0, 0.0])
        assert risk["shape"] == [2, 2]
        assert risk["data"] == pytest.approx([1 / (1 + np.exp(4)), 1 / (1 + np.exp(-4)), 0.5, 0.5], abs=1e-6)
        (alone,) = (await self.ask(server, DOWN, "price")).json["outputs"]
        assert alone["data"] == [2.0]
        reply = await self.ask(server, DOWN, "price", binary=True)
        assert np.frombuffer(reply.body[-4:], "<f4").tolist() == [2.0]
        refused = await self.ask(server, DOWN, "volatility")
        assert refused.status == 400
        names = [output["name"] for output in (await server.get("/v2/models/fx")).json["outputs"]]
        assert names == ["p", "position", "risk", "price"]

    async def test_a_candidate_without_the_head_lets_stable_answer(self, server: Running, made: Made, tmp_path: Path) -> None:
        plain = Output(classes=(0, 1, 2), positive=2, negative=0)
        candidate = bundle(tmp_path / "store", content=three(price=0.7), output=plain, day=2)
        await server.apply(routing(generation=2, stable=made.ref, candidate=candidate.ref, weight=100))
        request = {"inputs": [{"name": "X", "shape": [1, 3], "datatype": "FP32", "data": DOWN}], "parameters": {"client": "a", "ts": T0}}
        arms = []
        for wanted in ({}, {"outputs": [{"name": "price"}]}):
            reply = (await server.post("/v2/models/fx/infer", request | wanted)).json
            arms.append((reply["parameters"]["arm"], reply["parameters"]["fallback"], reply["outputs"][0]["data"][:1]))
        assert arms[0][:2] == ("candidate", False)
        assert arms[1] == ("stable", True, [2.0])
