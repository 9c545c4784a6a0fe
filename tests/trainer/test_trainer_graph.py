"""The graph gives what was evaluated, for any batch, on any side of a threshold, and the same bytes every time."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

from walkforward_trainer.graph import base_graph, full_graph
from walkforward_trainer.models.boosted import MODELS, BaseModel
from walkforward_trainer.resolved import Model
from walkforward_trainer.runtime import run, runtime
from walkforward_trainer.tail import Tail, fit_tail

NAMES = ("a", "b", "c", "d")


def rows(seed: int, count: int = 1_500) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 4)).astype(np.float32)
    x[:, 3] = np.round(44_000 + 100 * x[:, 3], 2)
    y = (rng.random(count) < 1 / (1 + np.exp(-2 * x[:, 0] * x[:, 1]))).astype(float)
    return x, y


def fitted(seed: int = 1, trees: int = 60, depth: int = 4) -> tuple[BaseModel, np.ndarray, np.ndarray]:
    x, y = rows(seed)
    return MODELS["xgboost"](x, y, Model(depth=depth, seed=seed), trees), x, y


@pytest.mark.parametrize(("trees", "depth"), [(1, 1), (60, 4), (200, 8)])
def test_trees_equal_those_of_the_library(trees: int, depth: int) -> None:
    model, x, _ = fitted(trees=trees, depth=depth)
    z = run(base_graph([model.trees()], 4), x)
    assert z.shape == (len(x), 1)
    np.testing.assert_allclose(z[:, 0], model.raw(x), atol=2e-6)


def test_a_row_on_a_threshold_goes_the_library_s_way() -> None:
    model, x, _ = fitted()
    around = []
    for number, (feature, threshold) in enumerate(model.trees().splits):
        for value in (
            np.nextafter(np.float32(threshold), np.float32(-9e9)),
            threshold,
            np.nextafter(np.float32(threshold), np.float32(9e9)),
        ):
            around.append(x[number % len(x)].copy())
            around[-1][feature] = value
    edge = np.array(around, np.float32)
    np.testing.assert_allclose(run(base_graph([model.trees()], 4), edge)[:, 0], model.raw(edge), atol=2e-6)


def test_missing_values_go_the_library_s_way() -> None:
    x, y = rows(3)
    x[::7, 0] = np.nan
    model = MODELS["xgboost"](x, y, Model(), 40)
    np.testing.assert_allclose(run(base_graph([model.trees()], 4), x)[:, 0], model.raw(x), atol=2e-6)


@pytest.mark.parametrize("count", [1, 3])
def test_the_whole_graph_is_the_evaluated_model(count: int) -> None:
    """Three base models too: another recipe needs no other stage."""
    models = [fitted(seed)[0] for seed in range(count)]
    x, y = rows(9)
    z = run(base_graph([model.trees() for model in models], 4), x)
    assert z.shape == (len(x), count)
    tail = fit_tail(z.astype(float), y)
    p = run(full_graph([model.trees() for model in models], tail, NAMES, {}), x)
    assert p.dtype == np.float32
    np.testing.assert_allclose(p[:, 1], tail.probability(z.astype(float)), atol=1e-7)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-7)
    assert ((p >= 0) & (p <= 1)).all()


def test_a_row_has_the_same_bits_alone_and_among_others() -> None:
    model, x, y = fitted()
    tail = fit_tail(run(base_graph([model.trees()], 4), x).astype(float), y)
    graph = full_graph([model.trees()], tail, NAMES, {})
    whole = run(graph, x)
    for size in (1, 7, 64):
        part = np.vstack([run(graph, x[start : start + size]) for start in range(0, 320, size)])[:320]
        assert part.tobytes() == whole[: len(part)].tobytes()


@pytest.mark.parametrize("knots", [1, 2])
def test_a_calibrator_that_says_the_same_to_all(knots: int) -> None:
    model, x, _ = fitted(trees=3)
    tail = Tail(np.array([1.0]), 0.0, np.linspace(0.4, 0.6, knots), np.full(knots, 0.3))
    p = run(full_graph([model.trees()], tail, NAMES, {}), x)
    np.testing.assert_allclose(p, np.tile(np.float32([0.7, 0.3]), (len(x), 1)), atol=1e-7)


def test_what_the_graph_says_about_itself() -> None:
    model, _, _ = fitted(trees=3)
    tail = Tail(np.array([1.0]), 0.0, np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    data = full_graph([model.trees()], tail, NAMES, {"warmup_bars": "100"})
    assert data == full_graph([model.trees()], tail, NAMES, {"warmup_bars": "100"})
    proto = onnx.load_from_string(data)
    assert {(entry.domain, entry.version) for entry in proto.opset_import} == {("", 18), ("ai.onnx.ml", 3)}
    assert len(proto.opset_import) == 2
    assert proto.ir_version == 9
    about = {entry.key: entry.value for entry in proto.metadata_props}
    assert json.loads(about["feature_names"]) == list(NAMES)
    assert about["warmup_bars"] == "100"
    session = runtime().InferenceSession(data, providers=["CPUExecutionProvider"])
    assert [(i.name, i.type, i.shape) for i in session.get_inputs()] == [("X", "tensor(float)", ["N", 4])]
    assert [(o.name, o.type, o.shape) for o in session.get_outputs()] == [("p", "tensor(float)", ["N", 2])]


def test_telemetry_is_off_before_the_runtime_loads() -> None:
    import subprocess
    import sys

    code = "import os, walkforward_trainer.runtime as r; r.runtime(); assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
