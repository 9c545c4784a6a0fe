"""The graph gives what was evaluated, for any batch, on any side of a threshold, and the same bytes every time."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import onnx
import pytest

from walkforward_core.api.recipe import Calibration
from walkforward_trainer.calibration import Curve, Sigmoid
from walkforward_trainer.graph import HeadPart, base_graph, full_graph
from walkforward_trainer.models.parts import BaseModel, Linear, Link, TreeEnsemble, to_log_odds
from walkforward_trainer.models.table import models
from walkforward_trainer.models.training import Binned, Training
from walkforward_trainer.resolved import Join, Model
from walkforward_trainer.runtime import latency_us, open_session, run, run_all
from walkforward_trainer.tail import Meta, Tail, TailKind, Vote, fit_tail

NAMES = ("a", "b", "c", "d")


def rows(seed: int, classes: int = 2, count: int = 900) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 4)).astype(np.float32)
    x[:, 3] = np.round(44_000 + 100 * x[:, 3], 2)
    score = x[:, 0] * x[:, 1] + (x[:, 3] - 44_000) / 100 + rng.normal(size=count)
    return x, {0: score, 2: (score > 0).astype(float), 3: np.digitize(score, [-0.7, 0.7]).astype(float)}[classes]


def fitted(name: str = "xgboost", seed: int = 1, classes: int = 2, trees: int = 30) -> tuple[BaseModel, np.ndarray, np.ndarray]:
    x, y = rows(seed, classes)
    return models()[name](Training(Binned(x), y, np.ones(len(y)), classes), Model(trees=trees, depth=4, seed=seed)), x, y


def in_parts(graph: bytes, x: np.ndarray, size: int) -> np.ndarray:
    """Return the first output, asked for ``size`` rows at a time."""
    session = open_session(graph)
    return np.vstack([session.run(None, {"X": x[start : start + size]})[0] for start in range(0, len(x), size)])


def test_missing_values_go_the_library_s_way() -> None:
    for name in ("xgboost", "forest", "boosted", "lightgbm"):
        for share in (0, 7):
            x, y = rows(3)
            if share:
                x[::share, 0] = np.nan
            model = models()[name](Training(Binned(x), y, np.ones(len(y))), Model(trees=30))
            x[::5, 1] = np.nan
            z = to_log_odds(model.raw(x), model.part.link)
            np.testing.assert_allclose(run(base_graph([model.part], 4), x), z, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("calibration", list(Calibration))
@pytest.mark.parametrize("join", list(Join))
def test_the_whole_graph_is_the_evaluated_model(classes: int, calibration: Calibration, join: Join) -> None:
    """Whatever is joined and however it is calibrated: another recipe needs no other stage."""
    names = ("xgboost", "forest", "linear")
    found = [fitted(name, 2, classes)[0] for name in names]
    x, y = rows(9, classes)
    z = run(base_graph([model.part for model in found], 4), x)
    assert z.shape == (len(x), len(names) * (classes - 1))
    assert z.dtype == np.float64
    tail = fit_tail(z, y, np.ones(len(y)), TailKind(classes, join, (2.0, 1.0, 1.5), calibration))
    graph = full_graph([model.part for model in found], tail, NAMES, {})
    p = run(graph, x)
    assert p.dtype == np.float32
    np.testing.assert_allclose(p, tail.probability(z), atol=6e-8)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=2e-7)
    assert ((p >= 0) & (p <= 1)).all()
    # a row is the same alone and among others, up to the sixteenth digit of a logarithm
    for size in (1, 7):
        np.testing.assert_allclose(in_parts(graph, x[:42], size), p[:42], rtol=1.2e-7, atol=1e-12)


def test_a_row_has_the_same_bits_alone_and_among_others_for_every_model() -> None:
    for name in models():
        model, x, _ = fitted(name, 4, 3)
        graph = base_graph([model.part], 4)
        # a logarithm of doubles may differ in its sixteenth digit, which float32 does not have
        whole = run(graph, x).astype(np.float32)
        for size in (1, 64):
            assert in_parts(graph, x[:128], size).astype(np.float32).tobytes() == whole[:128].tobytes(), name


@pytest.mark.parametrize("knots", [1, 2])
def test_a_calibrator_that_says_the_same_to_all(knots: int) -> None:
    model, x, _ = fitted(trees=3)
    tail = Tail(2, Meta(np.array([[1.0]]), np.zeros(1)), (Curve(np.linspace(0.4, 0.6, knots), np.full(knots, 0.3)),))
    p = run(full_graph([model.part], tail, NAMES, {}), x)
    np.testing.assert_allclose(p, np.tile(np.float32([0.7, 0.3]), (len(x), 1)), atol=1e-7)


def test_a_score_that_is_certain_is_calibrated_as_it_was_evaluated() -> None:
    """Of a probability of exactly 1 the log-odds are not finite: Platt keeps it 1e-6 away, in the graph as beside it."""
    sure = Linear(center=np.zeros(4), weights=np.array([[90.0, 0, 0, 0]]), bias=np.zeros(1), scale=np.ones(4))
    tail = Tail(2, Meta(np.array([[1.0]]), np.zeros(1)), (Sigmoid(0.5, 0.1),))
    x = np.array([[-1, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]], np.float32)
    z = run(base_graph([sure], 4), x)
    p = run(full_graph([sure], tail, NAMES, {}), x)
    np.testing.assert_allclose(p, tail.probability(z), atol=6e-8)
    assert 0.998 < p[2, 1] < 0.9999


def test_three_calibrators_that_know_nothing_give_a_third_each() -> None:
    model, x, _ = fitted(classes=3, trees=3)
    nothing = Curve(np.array([0.5]), np.zeros(1))
    tail = Tail(3, Meta(np.zeros((3, 2)), np.zeros(3)), (nothing, nothing, nothing))
    np.testing.assert_allclose(run(full_graph([model.part], tail, NAMES, {}), x), 1 / 3, atol=1e-7)


@pytest.mark.parametrize("leaf", [0.0, 1.0])
def test_a_forest_that_is_certain_is_half_a_percent_away_from_it(leaf: float) -> None:
    """By its definition, in the graph and beside it: of a share of 0 or 1 the log-odds are not finite."""
    none, zero = np.array([-1]), np.array([0])
    one = TreeEnsemble(
        tree=zero, node=zero, feature=zero, threshold=np.zeros(1, np.float32), yes=none, no=none, nan_yes=zero,
        leaf=np.array([leaf], np.float32), target=zero, offset=(0.0,), features=4, link=Link.SHARE,
    )  # fmt: skip
    expected = math.copysign(math.log(0.995 / 0.005), leaf - 0.5)
    assert run(base_graph([one], 4), rows(1)[0][:3]) == pytest.approx(np.full((3, 1), expected))
    assert to_log_odds(np.full((3, 1), leaf), Link.SHARE) == pytest.approx(np.full((3, 1), expected))


VOTES = [(1.0, 1.8, 2.9), (2.4, 1.0, 1.4, 0.5, 1.3, 0.7, 0.9), (1.2, 1.3, 2.0, 1.4, 1.8, 2.5, 2.2), (0.3, 2.9, 1.7, 2.3, 1.6, 1.9, 0.2)]
"""Weights whose shares add up to more than 1, in the last digit."""


@pytest.mark.parametrize("votes", VOTES)
def test_votes_that_are_all_certain_leave_the_other_class_nothing_and_not_less(votes: tuple[float, ...]) -> None:
    sure = Linear(center=np.zeros(4), weights=np.array([[90.0, 0, 0, 0]]), bias=np.zeros(1), scale=np.ones(4))
    join = Vote(np.array(votes) / sum(votes), 2)
    p = run(full_graph([sure] * len(votes), Tail(2, join, ()), NAMES, {}), np.ones((2, 4), np.float32))
    assert ((p >= 0.0) & (p <= 1.0)).all()


def test_a_graph_whose_parts_do_not_fit_is_not_written() -> None:
    sure = Linear(center=np.zeros(4), weights=np.array([[1.0, 0, 0, 0]]), bias=np.zeros(1), scale=np.ones(4))
    with pytest.raises(onnx.shape_inference.InferenceError, match="Incompatible dimensions"):
        full_graph([sure, sure], Tail(2, Meta(np.ones((1, 3)), np.zeros(1)), ()), NAMES, {})


def test_heads_are_further_outputs_and_change_nothing_else() -> None:
    model, x, y = fitted()
    yes, number = fitted("boosted", 5)[0], fitted("forest", 6, 0)[0]
    tail = fit_tail(run(base_graph([model.part], 4), x), y, np.ones(len(y)), TailKind())
    heads = [HeadPart("risk", yes.part, 2), HeadPart("price", number.part, 0), HeadPart("price_upper", number.part, 0, 0.25)]
    graph = full_graph([model.part], tail, NAMES, {}, heads)
    p, risk, price, upper = run_all(graph, x, [])
    assert [a.shape[1] for a in (p, risk, price, upper)] == [2, 2, 1, 1]
    assert {a.dtype for a in (p, risk, price, upper)} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(p, run(full_graph([model.part], tail, NAMES, {}), x))
    np.testing.assert_array_equal(p, run_all(graph, x, ["p"])[0])
    np.testing.assert_allclose(risk[:, 1:], 1 / (1 + np.exp(-yes.raw(x))), atol=1e-6)
    np.testing.assert_allclose(price, number.raw(x), atol=1e-6)
    np.testing.assert_allclose(upper - price, 0.25, atol=1e-6)
    # the trees of the estimate are there once
    kinds = [node.op_type for node in onnx.load_from_string(graph).graph.node]
    assert kinds.count("TreeEnsembleRegressor") == 3


def test_what_the_graph_says_about_itself() -> None:
    model, x, _ = fitted("lightgbm", classes=3, trees=3)
    tail = Tail(3, Meta(np.ones((3, 2)), np.zeros(3)), ())
    data = full_graph([model.part], tail, NAMES, {"warmup_bars": "100"})
    assert data == full_graph([model.part], tail, NAMES, {"warmup_bars": "100"})
    told = {"warmup_bars": "100", "calibration": "none"}
    assert len({full_graph([model.part], tail, NAMES, dict(order)) for order in (told.items(), reversed(told.items()))}) == 1
    proto = onnx.load_from_string(data)
    assert {(entry.domain, entry.version) for entry in proto.opset_import} == {("", 18), ("ai.onnx.ml", 3)}
    assert len(proto.opset_import) == 2
    assert proto.ir_version == 9
    about = {entry.key: entry.value for entry in proto.metadata_props}
    assert json.loads(about["feature_names"]) == list(NAMES)
    assert json.loads(about["class_map"]) == [0, 1, 2]
    assert about["warmup_bars"] == "100"
    session = open_session(data)
    assert [(i.name, i.type, i.shape) for i in session.get_inputs()] == [("X", "tensor(float)", ["N", 4])]
    assert [(o.name, o.type, o.shape) for o in session.get_outputs()] == [("p", "tensor(float)", ["N", 3])]
    assert 0 < latency_us(data, x) < 1e6


def test_telemetry_is_off_before_the_runtime_loads() -> None:
    code = "import os, walkforward_trainer.runtime as r; r.runtime(); assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
