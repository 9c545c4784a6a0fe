"""Of a window with more rows than are used, whole stretches are left out: evenly, bit by bit what they would be, and never silently."""

from __future__ import annotations

import dataclasses
import json
import logging
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from trainer_runs import HOUR, random_bars, run_document, spec, write_csv

from walkforward_core.bundle import Manifest
from walkforward_core.runs import RunVerdict
from walkforward_trainer import runtime
from walkforward_trainer.data.bars import RawBars
from walkforward_trainer.data.quality import check_quality
from walkforward_trainer.errors import BadConfiguration
from walkforward_trainer.pipeline import execute
from walkforward_trainer.plan import Plan, make_plan
from walkforward_trainer.reference import make_reference
from walkforward_trainer.rows import JoinedColumns, bar_features, label_bars
from walkforward_trainer.specfile import timestamp
from walkforward_trainer.stretches import length_of, positions, stretches

if TYPE_CHECKING:
    from walkforward_trainer.dataset import Dataset

MOST = 10_000
BARS = random_bars(3, 24_000)


def plan_for(recipe: str = "ohlcv-direction", **data: Any) -> Plan:
    fields = {name: part for name, part in spec("file:///bars.csv", "file:///models").items() if name in ("data", "artifacts")}
    fields["recipe"] = recipe
    fields["data"] |= {"windowBars": 23_000} | data
    return make_plan(run_document(fields, timestamp(int(BARS.time[-1]))))


def rows_for(plan: Plan, **joined: np.ndarray) -> Dataset:
    window = check_quality(RawBars(bars=BARS, files=1, later=0), plan)
    more = {f"macro.{name}": column[-len(window.bars) :] for name, column in joined.items()}
    plan = dataclasses.replace(plan, features=(*plan.features, *more))
    return label_bars(*bar_features(window, plan, more), plan)


@given(first=st.integers(0, 1_000), rows=st.integers(1, 300_000), most=st.integers(100, 200_000))
def test_stretches_are_even_equally_long_and_reach_both_ends(first: int, rows: int, most: int) -> None:
    used = stretches(first, first + rows, most)
    assert (used[0][0], used[-1][1]) == (first, first + rows)
    sizes = {end - begin for begin, end in used}
    assert sum(end - begin for begin, end in used) <= most
    if rows <= most:
        assert used == ((first, first + rows),)
        return
    assert sizes == {length_of(most)}
    gaps = [begin - end for (_, end), (begin, _) in pairwise(used)]
    assert min(gaps) >= 0
    assert max(gaps) - min(gaps) <= 1
    # what is asked for is used, but for less than one stretch
    assert sum(end - begin for begin, end in used) > most - length_of(most)


@pytest.mark.parametrize("recipe", ["ohlcv", "ohlcv-direction", "multi-timeframe"])
def test_what_is_used_is_what_it_would_be_among_all_rows(recipe: str) -> None:
    every, some = rows_for(plan_for(recipe)), rows_for(plan_for(recipe, maxRows=MOST))
    at = positions(stretches(0, len(every), MOST))
    assert (len(some), some.left_out, some.stretch) == (MOST, len(every) - MOST, MOST // 20)
    assert (every.left_out, every.stretch) == (0, 0)
    for name in ("x", "y", "t0", "t1", "returns", "base", "weight", "symbol"):
        assert getattr(some, name).tobytes() == getattr(every, name)[at].tobytes(), name
    assert some.targets.keys() == every.targets.keys()
    for name, answers in some.targets.items():
        assert answers.tobytes() == every.targets[name][at].tobytes(), name
    assert (some.warmup, some.horizon_ms) == (every.warmup, every.horizon_ms)
    other = ("rsi_14", "atr_14")
    assert some.columns.missing(other) == ""
    assert some.columns.matrix(other).tobytes() == every.columns.matrix(other)[at].tobytes()
    # another choice of rows is another set of data
    assert len({every.digest, some.digest, rows_for(plan_for(recipe, maxRows=MOST + 1_000)).digest}) == 3


def test_joined_columns_go_with_their_rows() -> None:
    vix = np.arange(len(BARS), dtype=np.float64)
    vix[:1_500] = np.nan
    every, some = rows_for(plan_for(), vix=vix), rows_for(plan_for(maxRows=MOST), vix=vix)
    at = positions(stretches(0, len(every), MOST))
    assert len(every) == 22_500
    assert isinstance(some.columns, JoinedColumns)
    assert some.x.tobytes() == every.x[at].tobytes()
    assert some.columns.matrix(("macro.vix",)).tobytes() == every.columns.matrix(("macro.vix",))[at].tobytes()


def test_no_window_of_the_reference_reaches_into_the_next_stretch() -> None:
    # two stretches whose values have nothing in common: a window over the seam would look like half of either
    x = np.concatenate((np.random.default_rng(1).random(500), 10 + np.random.default_rng(2).random(500))).astype(np.float32)[:, None]
    across, apart = make_reference(x, ["f"], x[:, 0]), make_reference(x, ["f"], x[:, 0], 500)
    assert apart.features[0].counts == across.features[0].counts
    assert apart.null_m != across.null_m
    first, second = (make_reference(part, ["f"], part[:, 0]) for part in (x[:500], x[500:]))
    assert set(apart.null_m) == {"50"} == set(first.null_m) == set(second.null_m)


def test_a_run_says_what_it_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_csv(tmp_path / "bars.csv", BARS)
    overrides = {"target": {"kind": "Direction"}, "model": {"trees": 3}}
    fields = spec(path, tmp_path, overrides=overrides, eligibility={"minBars": 23_000})
    fields["data"] |= {"windowBars": 23_000, "maxRows": MOST}
    run = run_document(fields, timestamp(int(BARS.time[-1])), skipGates=[{"name": "auc", "reason": "no edge is looked for"}])
    with caplog.at_level(logging.WARNING, "walkforward.trainer"):
        result, _ = execute(run, allow_file=True, now_ms=int(BARS.time[-1]) + HOUR)
    assert result.verdict is RunVerdict.PUBLISHED, result.message
    assert "13,000 of 23,000 rows of the window are neither trained nor tested on" in caplog.text
    folder = Path(result.uri.removeprefix("file://"))
    assert Manifest.parse((folder / "manifest.json").read_bytes()).metrics["rowsLeftOut"] == 13_000
    report = json.loads((folder / "report.json").read_bytes())
    assert any("13,000 of 23,000 rows" in note for note in report["notes"])
    assert (report["data"]["rows"], report["data"]["quality"]["bars"]) == (MOST, 23_000)


def test_a_limit_that_cannot_hold_is_refused() -> None:
    with pytest.raises(BadConfiguration, match=r"minRows: 20000 rows of each symbol are wanted, and data\.maxRows lets 10000"):
        plan_for(maxRows=MOST, quality={"minRows": 20_000})
    assert plan_for(maxRows=30_000, symbols=["A", "B", "C"]).max_rows == 10_000
    with pytest.raises(BadConfiguration, match=r"data\.maxRows: trades are no series .* remove it"):
        plan_for("risk-filter", format="jsonl", maxRows=MOST)


def test_a_graph_answers_block_by_block_what_it_answers_at_once() -> None:
    x = np.random.default_rng(5).random((2 * runtime.BLOCK + 7, 3), np.float32)
    graph = helper.make_graph(
        [helper.make_node("ReduceSum", ["X", "one"], ["s"], keepdims=1), helper.make_node("Neg", ["s"], ["n"])],
        "sums",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1]) for name in ("s", "n")],
        [helper.make_tensor("one", TensorProto.INT64, [1], [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    (at_once,) = runtime.open_session(model).run(["n"], {"X": x})
    assert runtime.run_all(model, x, ["n"])[0].tobytes() == at_once.tobytes()
    sums, negated = runtime.run_all(model, x, [])
    assert sums.shape == (len(x), 1)
    assert (negated == -sums).all()
    assert runtime.run(model, x[:0]).shape == (0, 1)
