"""The execution calibrator: averages against an oracle, buckets, multipliers, and a whole run of its mode."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trade_log import FIRST_MS, trade_log
from trainer_runs import HOUR, NOW, run_document, spec

from walkforward_core.runs import ExitCode, ResultDocument, RunVerdict
from walkforward_trainer.__main__ import main
from walkforward_trainer.calibrator.document import Calibration
from walkforward_trainer.calibrator.measure import ALPHA, RECENT_N, Executions, ema, measure, multiplier
from walkforward_trainer.calibrator.run import closed_trades
from walkforward_trainer.data.sources import Access
from walkforward_trainer.errors import Reason
from walkforward_trainer.pipeline import execute
from walkforward_trainer.plan import make_plan
from walkforward_trainer.result import termination_message

if TYPE_CHECKING:
    from pathlib import Path

AS_OF = "2024-03-01T00:00:00Z"


def trades(slip: list[float], *, hours: int = 6, volatility: float | None = 1.0, pnl: list[float] | None = None) -> Executions:
    """Trades ``hours`` apart from midnight on."""
    count = len(slip)
    return Executions(
        opened=FIRST_MS + hours * HOUR * np.arange(count, dtype=np.int64),
        slip=np.array(slip),
        pnl=np.array(pnl if pnl is not None else [1.0, -0.5] * (count // 2) + [1.0] * (count % 2)),
        volatility=None if volatility is None else np.full(count, volatility),
    )


def run(path: Path, artifacts: Path, as_of: str = AS_OF, **changes: Any) -> tuple[ResultDocument, ExitCode | None]:
    fields = spec(path.parent / "never-read.csv", artifacts, costs={"slippage": {"bps": 2.0}})
    fields["data"]["trades"] = {"uri": path.as_uri()}
    return execute(run_document(fields, as_of, **({"mode": "Calibrate"} | changes)), allow_file=True, now_ms=NOW)


# -- the average ----------------------------------------------------------------------------------------------------------------


def test_the_newest_fifty_weigh_three_times_as_much() -> None:
    """51 trades: after the first come 50 recent ones, each with weight 0.45."""
    slip = [0.0] + [1.0] * RECENT_N
    found = measure(trades(slip), assumed_pct=0.02, generated_at=AS_OF)
    assert found.execution.ema_slippage_per_side_pct == pytest.approx(1.0 - 0.55**50)
    assert (found.execution.recent_n_weighted, found.execution.recent_weight_mult) == (50, 3.0)
    # the first of 52 is followed by one that is not recent
    older = measure(trades([0.0, 1.0] + [0.0] * RECENT_N), assumed_pct=0.02, generated_at=AS_OF)
    assert older.execution.ema_slippage_per_side_pct == pytest.approx(0.15 * 0.55**50, abs=1e-9)


@given(values=st.lists(st.floats(-1, 1), min_size=1, max_size=80), recent_n=st.integers(0, 80))
@settings(max_examples=50)
def test_the_average_is_a_weighted_mean_of_what_was_paid(values: list[float], recent_n: int) -> None:
    """Unrolled: value i has weight w_i · Π(1 - w_j) over all later j; the first has what is left."""
    recent = np.arange(len(values)) >= len(values) - recent_n
    weight = np.where(recent, 3 * ALPHA, ALPHA)
    weight[0] = 1.0
    later = np.concatenate((np.cumprod((1 - weight)[:0:-1])[::-1], [1.0]))
    assert ema(np.array(values), recent) == pytest.approx(float(np.sum(values * weight * later)), abs=1e-12)
    assert min(values) - 1e-12 <= ema(np.array(values), recent) <= max(values) + 1e-12


def test_the_order_of_trades_counts() -> None:
    recent = np.array([False] * 3)
    assert ema(np.array([0.0, 0.0, 1.0]), recent) == pytest.approx(0.15)
    assert ema(np.array([1.0, 0.0, 0.0]), recent) == pytest.approx(0.85**2)


# -- multipliers and buckets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "slip", "size"),
    [
        (0.06, 0.06, 1.0),
        (0.06, 0.08, 0.75),
        (0.06, 0.6, 0.5),
        (0.06, 0.055, 0.06 / 0.055),
        (0.06, 0.01, 1.2),
        (0.06, 0.0, 1.2),
        (0.06, -0.01, 1.2),
        (0.0, 0.06, 1.0),
        (-0.01, 0.06, 1.0),
    ],
)
def test_less_slippage_never_means_less_size(reference: float, slip: float, size: float) -> None:
    assert multiplier(reference, slip) == pytest.approx(size)
    assert multiplier(reference, slip - 0.001) >= multiplier(reference, slip)


def test_hours_are_utc_and_each_trade_is_in_one() -> None:
    """Every six hours from midnight on: the trade at 18:00 costs twice as much."""
    found = measure(trades([0.05, 0.05, 0.05, 0.10] * 12), assumed_pct=0.02, generated_at=AS_OF)
    assert [bucket.count for bucket in found.time_of_day.values()] == [12, 12, 12, 12]
    assert list(found.time_of_day) == ["00-06", "06-12", "12-18", "18-24"]
    evening = found.time_of_day["18-24"]
    assert evening.ema_slip == pytest.approx(0.10)
    assert evening.pos_mult == pytest.approx(found.execution.ema_slippage_per_side_pct / 0.10)
    assert found.time_of_day["00-06"].pos_mult == pytest.approx(1.2)
    assert any(text.startswith("between 18-24 UTC it is 0.1000 % a side: trade 0.") for text in found.recommendations)


@pytest.mark.parametrize(
    ("volatility", "regime"), [(0.0, "ranging"), (0.2999, "ranging"), (0.3, "trending"), (1.9999, "trending"), (2.0, "volatile")]
)
def test_a_regime_is_what_was_known_before_the_trade(volatility: float, regime: str) -> None:
    found = measure(trades([0.05] * 20, volatility=volatility, pnl=[9.0, -9.0] * 10), assumed_pct=0.02, generated_at=AS_OF)
    assert {name: bucket.count for name, bucket in found.regime_slippage.items() if bucket.count} == {regime: 20}
    assert found.regime_by == "volatility"


def test_a_regime_by_outcome_is_for_reading_only() -> None:
    """|PnL| is known when the trade is over: it must not size the next one."""
    slip = [0.01] * 30 + [0.09] * 30
    found = measure(trades(slip, volatility=None, pnl=[0.1] * 30 + [-3.0] * 30), assumed_pct=0.02, generated_at=AS_OF)
    assert found.regime_by == "pnl"
    assert found.regime_slippage["volatile"].ema_slip == pytest.approx(0.09)
    assert {bucket.pos_mult for bucket in found.regime_slippage.values()} == {1.0}
    assert any("for reading only" in text for text in found.recommendations)


def test_a_bucket_of_few_trades_sizes_nothing() -> None:
    found = measure(trades([0.05] * 36 + [0.5] * 4, hours=0), assumed_pct=0.02, generated_at=AS_OF)
    assert found.time_of_day["06-12"] == type(found.time_of_day["06-12"])(count=0, ema_slip=None, pos_mult=1.0)
    few = measure(trades([0.05, 0.05, 0.05, 0.5] * 9), assumed_pct=0.02, generated_at=AS_OF)
    assert (few.time_of_day["18-24"].count, few.time_of_day["18-24"].pos_mult) == (9, 1.0)


@pytest.mark.parametrize(("slip", "words"), [(0.06, "assumed: worse;"), (0.01, "assumed: better;"), (0.02, "as assumed")])
def test_lower_slippage_is_the_better_one(slip: float, words: str) -> None:
    found = measure(trades([slip] * 20), assumed_pct=0.02, generated_at=AS_OF)
    assert words in found.recommendations[0]
    assert (found.execution.position_size_multiplier < 1) is (slip > 0.02)


def test_wins_and_profit() -> None:
    found = measure(trades([0.05] * 4, pnl=[2.0, -1.0, 1.0, 0.0]), assumed_pct=0.02, generated_at=AS_OF)
    assert (found.win_rate, found.profit_factor) == (0.5, 3.0)
    assert measure(trades([0.05] * 2, pnl=[2.0, 1.0]), assumed_pct=0.0, generated_at=AS_OF).profit_factor is None


# -- a run of the mode ----------------------------------------------------------------------------------------------------------


def test_the_file_has_every_field_by_its_name(tmp_path: Path) -> None:
    result, code = run(trade_log(tmp_path / "trades.parquet"), tmp_path / "models")
    assert (result.verdict, result.reason, code) == (RunVerdict.CALIBRATED, Reason.CALIBRATED, None), result.message
    raw = (tmp_path / "models" / "execution_calibration.json").read_bytes()
    assert (tmp_path / "models" / "calibrations" / "20240301T000000Z.json").read_bytes() == raw
    assert result.uri.endswith("/calibrations/20240301T000000Z.json")
    fields = json.loads(raw)
    assert {
        "generated_at",
        "trade_count",
        "win_rate",
        "profit_factor",
        "execution",
        "time_of_day",
        "regime_slippage",
        "recommendations",
    } <= set(fields)
    assert {"ema_slippage_per_side_pct", "position_size_multiplier", "recent_n_weighted", "recent_weight_mult"} <= set(fields["execution"])
    assert set(fields["time_of_day"]) == {"00-06", "06-12", "12-18", "18-24"}
    assert set(fields["regime_slippage"]) == {"ranging", "trending", "volatile"}
    for bucket in [*fields["time_of_day"].values(), *fields["regime_slippage"].values()]:
        assert set(bucket) == {"count", "ema_slip", "pos_mult"}
    assert (fields["generated_at"], fields["trade_count"], fields["win_rate"], fields["profit_factor"]) == (AS_OF, 60, 0.5, 2.0)
    assert fields["execution"]["ema_slippage_per_side_pct"] == pytest.approx(0.06)
    assert fields["execution"]["position_size_multiplier"] == 0.5, "0.02 assumed / 0.06 measured is below the limit"
    assert [fields["regime_slippage"][name]["count"] for name in ("ranging", "trending", "volatile")] == [20, 20, 20]
    assert "0.0600 % a side, 0.0200 % were assumed: worse" in result.message


def test_its_metrics_fit_into_a_termination_message(tmp_path: Path) -> None:
    result, _ = run(trade_log(tmp_path / "trades.parquet"), tmp_path / "models")
    short = ResultDocument.parse(termination_message(result))
    assert short.metrics["slippagePct"] == pytest.approx(0.06)
    assert len(short.metrics) == len(result.metrics) <= 8


def test_what_closed_after_as_of_is_not_seen(tmp_path: Path) -> None:
    path = trade_log(tmp_path / "trades.parquet", fill_price=[100.06 if at % 2 == 0 else 99.94 for at in range(40)] + [150.0] * 20)
    result, code = run(path, tmp_path / "models", "2024-01-10T19:00:00Z")
    assert (result.verdict, code) == (RunVerdict.CALIBRATED, None), result.message
    assert result.metrics["trades"] == 40
    assert result.metrics["slippagePct"] == pytest.approx(0.06)


def test_the_pointer_moves_forward_and_copies_stay(tmp_path: Path) -> None:
    path, models = trade_log(tmp_path / "trades.parquet"), tmp_path / "models"
    for as_of in ("2024-02-01T00:00:00Z", AS_OF, "2024-01-20T00:00:00Z"):
        assert run(path, models, as_of)[1] is None
    assert Calibration.parse((models / "execution_calibration.json").read_bytes()).generated_at == AS_OF
    assert [found.name for found in sorted((models / "calibrations").iterdir())] == [
        "20240120T000000Z.json",
        "20240201T000000Z.json",
        "20240301T000000Z.json",
    ]
    assert run(path, models)[0].verdict is RunVerdict.CALIBRATED, "the same once more is no conflict"
    changed = trade_log(tmp_path / "trades.parquet", fill_price=[100.1, 99.9] * 30)
    result, code = run(changed, models)
    assert (result.reason, code) == (Reason.CALIBRATION_EXISTS, ExitCode.BAD_CONFIGURATION)
    assert Calibration.parse((models / "calibrations" / "20240301T000000Z.json").read_bytes()).execution.ema_slippage_per_side_pct == 0.06


@pytest.mark.parametrize(
    ("columns", "verdict", "reason", "words"),
    [
        ({"symbol": ["GBPUSD"] * 60}, "Ineligible", "TooFewTrades", "0 closed trades of EURUSD"),
        ({"symbol": ["EURUSD"] * 19 + ["GBPUSD"] * 41}, "Ineligible", "TooFewTrades", "data.trades: 19 closed trades of EURUSD"),
        (
            {"fill_price": [None] * 50 + [100.0] * 10},
            "Ineligible",
            "TooFewTrades",
            "10 closed trades of EURUSD with expected and fill price",
        ),
        ({"fill_price": None}, "Ineligible", "TooFewTrades", "60 more without prices"),
        ({"expected_price": [100.0] * 59 + [0.0]}, "Failed", "ImpossiblePrices", "expected_price of the trade opened at"),
        ({"expected_price": [1.0] * 60}, "Failed", "ImpossibleSlippage", "limit 20 %"),
        ({"side": ["up"] * 60}, "Failed", "ColumnType", "side of 60 trades"),
        ({"pnl_pct": None}, "Failed", "ColumnMissing", "pnl_pct"),
    ],
)
def test_a_log_that_measures_nothing_says_why(tmp_path: Path, columns: dict[str, Any], verdict: str, reason: str, words: str) -> None:
    result, _ = run(trade_log(tmp_path / "trades.parquet", **columns), tmp_path / "models")
    assert (result.verdict, result.reason) == (verdict, reason), result.message
    assert words in result.message
    assert not (tmp_path / "models" / "execution_calibration.json").exists()


def test_slippage_may_be_given_as_it_is(tmp_path: Path) -> None:
    path = trade_log(tmp_path / "trades.parquet", fill_price=None, expected_price=None, slippage_pct=[0.03] * 60)
    assert run(path, tmp_path / "models")[0].metrics["slippagePct"] == pytest.approx(0.03)


def test_rows_that_are_trades_are_their_own_log(tmp_path: Path) -> None:
    fields = spec(trade_log(tmp_path / "trades.parquet"), tmp_path / "models", recipe="risk-filter", overrides={})
    fields["data"]["format"] = "parquet"
    run = run_document(fields, AS_OF, mode="Calibrate")
    result, code = execute(run, allow_file=True, now_ms=NOW)
    assert (result.verdict, code) == (RunVerdict.CALIBRATED, None), result.message
    assert result.metrics["trades"] == 60
    assert closed_trades(make_plan(run), Access(allow_file=True)) == 60
    earlier = make_plan(run_document(fields, "2024-01-10T19:00:00Z"))
    assert closed_trades(earlier, Access(allow_file=True)) == 40, "what closed later does not count"


def test_bars_without_a_log_have_no_trades_to_count(tmp_path: Path) -> None:
    plan = make_plan(run_document(spec(tmp_path / "bars.csv", tmp_path)))
    assert closed_trades(plan, Access(allow_file=True)) is None


def test_without_a_log_of_trades_there_is_nothing_to_measure(tmp_path: Path) -> None:
    fields = spec(tmp_path / "bars.csv", tmp_path / "models")
    result, code = execute(run_document(fields, mode="Calibrate"), allow_file=True, now_ms=NOW)
    assert (result.reason, code) == (Reason.SPEC_INVALID, ExitCode.BAD_CONFIGURATION)
    assert result.message.startswith("data.trades: mode Calibrate")


def test_on_a_laptop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = trade_log(tmp_path / "trades.parquet")
    fields = spec(tmp_path / "never-read.csv", tmp_path / "models")
    fields["data"]["trades"] = {"uri": path.as_uri()}
    fields["data"]["asOf"] = AS_OF
    source = tmp_path / "fx.json"
    resource = {"apiVersion": "walkforward.dev/v1alpha1", "kind": "ModelRetrain", "metadata": {"name": "fx"}, "spec": fields}
    source.write_text(json.dumps(resource), encoding="utf-8")
    assert main(["run", "--spec", str(source), "--calibrate", "--allow-file"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "Calibrated"
