"""Costs of a run: assumed, counted and measured, and never by what came later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trade_log import trade_log
from trainer_runs import FIRST, NOW, eurusd, run_document, spec

from walkforward_core.api.retrain import CostsSpec, Slippage, SlippageByTrades
from walkforward_core.bundle import Manifest
from walkforward_core.objectstore import FileStore
from walkforward_core.runs import RunVerdict
from walkforward_trainer.calibrator.document import Bucket, Calibration, Execution, RegimeBy, copy_uri, stamp, stamp_ms
from walkforward_trainer.costs import RunCosts, assumed_costs, caution, newest_calibration, resolve_costs
from walkforward_trainer.errors import BadData, Reason
from walkforward_trainer.pipeline import execute
from walkforward_trainer.recipes.recipe import Recipe
from walkforward_trainer.resolved import Target
from walkforward_trainer.specfile import instant, timestamp

RECIPE = Recipe(features=(), target=Target(kind="Risk"), models=())
S0 = Recipe(features=(), target=Target(kind="Risk"), models=(), slippage_bps=2.0, by_trades=SlippageByTrades())
NOON = instant("2024-06-01T12:00:00Z", "noon")


def calibration(as_of_ms: int, pct: float) -> Calibration:
    return Calibration(
        generated_at=timestamp(as_of_ms),
        trade_count=60,
        win_rate=0.5,
        profit_factor=None,
        execution=Execution(
            ema_slippage_per_side_pct=pct,
            position_size_multiplier=1.0,
            recent_n_weighted=50,
            recent_weight_mult=3.0,
            assumed_slippage_per_side_pct=0.02,
        ),
        time_of_day={},
        regime_slippage={"ranging": Bucket(count=0, ema_slip=None, pos_mult=1.0)},
        recommendations=(),
        regime_by=RegimeBy.VOLATILITY,
    )


def put(at: Path, as_of_ms: int, pct: float) -> str:
    uri = copy_uri(at.as_uri(), stamp(as_of_ms))
    FileStore().put(uri, calibration(as_of_ms, pct).to_bytes())
    return uri


def resolved(at: Path, slippage: Slippage, recipe: Recipe = RECIPE, *, as_of_ms: int = NOON, trades: int | None = None) -> RunCosts:
    costs = CostsSpec(fee_bps=0.5, slippage=slippage)
    return resolve_costs(costs, recipe, FileStore(), artifacts=at.as_uri(), as_of_ms=as_of_ms, closed_trades=lambda: trades)


# -- assumed and counted --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slippage", "recipe", "bps", "multiplier", "round_trip"),
    [
        (Slippage(), RECIPE, 0.0, 1.0, 1e-4),
        (Slippage(), S0, 2.0, 2.0, 9e-4),
        (Slippage(bps=3.0), S0, 3.0, 2.0, 13e-4),
        (Slippage(bps=0.0), S0, 0.0, 2.0, 1e-4),
        (Slippage(bps=3.0, multiplier=1.5), RECIPE, 3.0, 1.5, 10e-4),
        (Slippage(bps=1.0, by_trades=SlippageByTrades(initial=3.0, min=1.0, trades=10)), S0, 1.0, 3.0, 7e-4),
    ],
)
def test_what_spec_and_recipe_assume(slippage: Slippage, recipe: Recipe, bps: float, multiplier: float, round_trip: float) -> None:
    found = assumed_costs(CostsSpec(fee_bps=0.5, slippage=slippage), recipe)
    assert (found.slippage_bps, found.multiplier, found.round_trip) == (bps, multiplier, pytest.approx(round_trip))


@pytest.mark.parametrize(("trades", "multiplier"), [(0, 2.0), (1, 1.999), (250, 1.75), (499, 1.501), (500, 1.5), (10_000, 1.5)])
def test_caution_falls_with_experience(tmp_path: Path, trades: int, multiplier: float) -> None:
    found = resolved(tmp_path, Slippage(), S0, trades=trades)
    assert (found.multiplier, found.closed_trades) == (pytest.approx(multiplier), trades)
    assert found.round_trip == pytest.approx(2 * (0.5 + 2.0 * multiplier) / 10_000)
    assert found.note == ""


def test_the_spec_s_own_rule_of_caution_stands_before_the_recipe_s(tmp_path: Path) -> None:
    rule = SlippageByTrades(initial=3.0, min=1.0, trades=10)
    assert resolved(tmp_path, Slippage(by_trades=rule), S0, trades=5).multiplier == pytest.approx(2.0)


@given(first=st.integers(0, 2_000), more=st.integers(0, 2_000))
@settings(max_examples=30)
def test_caution_never_rises_and_stays_in_its_limits(first: int, more: int) -> None:
    rule = SlippageByTrades()
    assert rule.initial >= caution(rule, first) >= caution(rule, first + more) >= rule.min


def test_without_a_log_of_trades_caution_is_greatest_and_that_is_said(tmp_path: Path) -> None:
    found = resolved(tmp_path, Slippage(), S0)
    assert (found.multiplier, found.closed_trades) == (2.0, None)
    assert "no log of trades (data.trades), so slippage is multiplied by 2" in found.note


def test_nothing_is_counted_unless_it_matters(tmp_path: Path) -> None:
    def never() -> int:
        raise AssertionError

    costs = CostsSpec(slippage=Slippage(bps=1.0))
    resolve_costs(costs, RECIPE, FileStore(), artifacts=tmp_path.as_uri(), as_of_ms=NOON, closed_trades=never)


# -- measured -------------------------------------------------------------------------------------------------------------------


def test_the_newest_calibration_at_or_before_as_of(tmp_path: Path) -> None:
    put(tmp_path, NOON - 86_400_000, 0.01)
    exact = put(tmp_path, NOON, 0.06)
    put(tmp_path, NOON + 500, 0.5)
    put(tmp_path, NOON + 86_400_000, 0.9)
    found = resolved(tmp_path, Slippage(bps=2.0, multiplier=1.5, calibrated=True))
    assert (found.slippage_bps, found.multiplier, found.calibration) == (pytest.approx(6.0), 1.5, exact)
    assert found.round_trip == pytest.approx(2 * (0.5 + 6.0 * 1.5) / 10_000)
    assert resolved(tmp_path, Slippage(bps=2.0, calibrated=True), as_of_ms=NOON - 1).slippage_bps == pytest.approx(1.0)
    assert resolved(tmp_path, Slippage(bps=2.0)).slippage_bps == 2.0, "only where it is asked for"


@given(times=st.lists(st.integers(0, 4_000_000_000_000), min_size=1, max_size=6, unique=True), as_of_ms=st.integers(0, 4_000_000_000_000))
@settings(max_examples=30)
def test_a_later_calibration_is_never_opened(tmp_path_factory: pytest.TempPathFactory, times: list[int], as_of_ms: int) -> None:
    at = tmp_path_factory.mktemp("models")
    for number, when in enumerate(times):
        put(at, when, number / 100)
    opened: list[str] = []

    class Watching(FileStore):
        def get(self, uri: str, *, limit: int | None = None) -> bytes:
            opened.append(uri)
            return super().get(uri, limit=limit)

    found = newest_calibration(Watching(), at.as_uri(), as_of_ms)
    before = [when for when in times if when <= as_of_ms]
    if before:
        assert found is not None
        assert opened == [found[0]] == [copy_uri(at.as_uri(), stamp(max(before)))]
    else:
        assert (found, opened) == (None, [])


def test_stamps_come_back_and_sort_by_time() -> None:
    for when in (0, 999, 1_000, 1_704_153_600_000, 1_704_153_600_001, 1_704_153_600_999):
        assert stamp_ms(stamp(when)) == when
    assert stamp_ms("20240102T000000Z-1a2b3c4d") is None


def test_without_a_calibration_the_assumed_slippage_stands_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "calibrations").mkdir()
    (tmp_path / "calibrations" / "notes.txt").write_text("mine")
    found = resolved(tmp_path, Slippage(bps=2.0, calibrated=True))
    assert (found.slippage_bps, found.calibration) == (2.0, "")
    assert "the 2 bps a side that are assumed" in found.note


def test_a_better_price_than_expected_is_not_counted_on(tmp_path: Path) -> None:
    put(tmp_path, NOON, -0.03)
    assert resolved(tmp_path, Slippage(bps=2.0, calibrated=True)).slippage_bps == 0.0


@pytest.mark.parametrize(("content", "words"), [(b"{", "remove it, or calibrate once more"), (None, "which its name does not say")])
def test_a_calibration_that_is_none_is_refused(tmp_path: Path, content: bytes | None, words: str) -> None:
    FileStore().put(copy_uri(tmp_path.as_uri(), stamp(NOON)), content or calibration(NOON + 1, 0.1).to_bytes())
    with pytest.raises(BadData, match=words) as caught:
        resolved(tmp_path, Slippage(calibrated=True))
    assert caught.value.reason is Reason.CALIBRATION_BROKEN


# -- a whole run ----------------------------------------------------------------------------------------------------------------


def test_a_measured_cost_reaches_manifest_report_and_verdict(tmp_path: Path) -> None:
    """Calibrate at one time, train later: the later run has the costs, and says where they come from."""
    models = tmp_path / "models"
    first_ms = instant(FIRST, "first") - 30 * 86_400_000
    fields: dict[str, Any] = spec(eurusd(), models, costs={"slippage": {"bps": 1.0, "byTrades": {}, "calibrated": True}})
    fields["data"]["trades"] = {"uri": trade_log(tmp_path / "trades.parquet", first_ms=first_ms).as_uri()}
    earlier = timestamp(instant(FIRST, "first") - 3_600_000)
    measured, code = execute(run_document(fields, earlier, mode="Calibrate"), allow_file=True, now_ms=NOW)
    assert (measured.verdict, code) == (RunVerdict.CALIBRATED, None), measured.message
    result, code = execute(run_document(fields), allow_file=True, now_ms=NOW)
    assert (result.verdict, code) == (RunVerdict.PUBLISHED, None), result.message
    folder = Path(result.uri.removeprefix("file://"))
    costs = Manifest.parse((folder / "manifest.json").read_bytes()).costs
    assert costs.calibration == measured.uri
    assert (costs.fee_bps, costs.slippage_bps, costs.closed_trades) == (0.5, pytest.approx(6.0), 60)
    assert costs.multiplier == pytest.approx(2.0 - 0.5 * 60 / 500)
    assert costs.round_trip == pytest.approx(2 * (0.5 + 6.0 * costs.multiplier) / 10_000)
    assert json.loads((folder / "report.json").read_bytes())["question"]["roundTrip"] == costs.round_trip


def test_a_report_says_that_nothing_was_measured(tmp_path: Path) -> None:
    fields = spec(eurusd(), tmp_path, costs={"slippage": {"bps": 1.0, "calibrated": True}})
    result, _ = execute(run_document(fields), allow_file=True, now_ms=NOW)
    report = json.loads((Path(result.uri.removeprefix("file://")) / "report.json").read_bytes())
    assert any("no execution calibration up to asOf" in note for note in report["notes"])
