"""The five recipes, each through every stage on a market with a planted edge; and what their page says of them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import yaml
from planted import DAY, MINUTE, START, market, write_bars, write_macro, write_samples, write_ticks, write_trades

from walkforward_core.bundle import Golden, Manifest
from walkforward_core.runs import RunVerdict
from walkforward_trainer.pipeline import execute
from walkforward_trainer.recipes.__main__ import written
from walkforward_trainer.recipes.table import BUILT_IN
from walkforward_trainer.specfile import load, timestamp

if TYPE_CHECKING:
    from walkforward_core.runs import ResultDocument

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples" / "recipes"


def run(tmp_path: Path, recipe: str, rows: Path, as_of: int, **changes: Any) -> ResultDocument:
    """Run the example of ``recipe`` on other data, as on a laptop."""
    resource = next(yaml.safe_load_all((EXAMPLES / f"{recipe}.yaml").read_text(encoding="utf-8")))
    spec = resource["spec"]
    spec["data"] |= {"uri": rows.as_uri(), "asOf": timestamp(as_of)} | changes.pop("data", {})
    spec["artifacts"]["uri"] = (tmp_path / "models").as_uri()
    for name, value in changes.items():
        spec[name] = {**spec.get(name, {}), **value}
    path = tmp_path / "retrain.yaml"
    path.write_text(yaml.safe_dump(resource), encoding="utf-8")
    result, _ = execute(load(path, now_ms=as_of), allow_file=True, now_ms=as_of)
    return result


def published(tmp_path: Path, result: ResultDocument) -> Manifest:
    assert result.verdict is RunVerdict.PUBLISHED, result.message
    return Manifest.parse((tmp_path / "models" / result.version / "manifest.json").read_bytes())


def test_ohlcv_direction_from_ticks(tmp_path: Path) -> None:
    made = market(1, 5_000, bar_ms=5 * MINUTE, edge=0.6)
    ticks = write_ticks(tmp_path / "ticks.parquet", made.bars, bar_ms=5 * MINUTE)
    trades = write_trades(tmp_path / "trades.jsonl", 1, 200, symbol="BTCUSDT")
    log = {"uri": trades.as_uri(), "format": "jsonl"}
    as_of = int(made.bars.time[-1])
    result = run(
        tmp_path,
        "ohlcv-direction",
        ticks,
        as_of,
        data={"trades": log, "window": "10d"},
        costs={"slippage": {}},
        eligibility={"regime": None},
    )
    manifest = published(tmp_path, result)
    assert [head.name for head in manifest.output.heads] == ["risk", "price", "momentum", "volatility"]
    assert len(manifest.input.features) == 11
    assert manifest.validation.scheme == "Holdout"
    assert manifest.validation.embargo_hours >= 24


def test_multi_timeframe_holds_its_distribution_gates(tmp_path: Path) -> None:
    made = market(2, 5_000, edge=1.5, length=25)
    bars = write_bars(tmp_path / "bars.csv", made.bars)
    data = {"format": "csv", "timeframe": "1h", "window": None, "windowBars": 4_500}
    few = {"model": {"trees": 20}}
    manifest = published(tmp_path, run(tmp_path, "multi-timeframe", bars, int(made.bars.time[-1]), data=data, overrides=few))
    assert manifest.output.classes == (0, 1, 2)
    named = {gate.name for gate in manifest.gates}
    assert {"distribution.minDownPct", "distribution.minConfMean", "distribution.minAlphaMean", "leakage.shuffledAuc"} <= named
    assert manifest.metrics["distribution.eligibilityPct"] >= 0.30


def test_multi_timeframe_without_an_edge_is_rejected_loudly(tmp_path: Path) -> None:
    made = market(3, 3_000, bar_ms=5 * MINUTE)
    bars = write_bars(tmp_path / "bars.csv", made.bars, bar_ms=5 * MINUTE)
    data = {"format": "csv", "window": None, "windowBars": 2_500}
    result = run(tmp_path, "multi-timeframe", bars, int(made.bars.time[-1]), data=data, overrides={"model": {"trees": 15}})
    assert result.verdict is RunVerdict.REJECTED
    assert "distribution.minConfMean" in result.failed
    assert not list((tmp_path / "models").glob("2*"))


def test_risk_filter(tmp_path: Path) -> None:
    log = write_trades(tmp_path / "trades.jsonl", 4, 600)
    as_of = START + 55 * DAY
    manifest = published(tmp_path, run(tmp_path, "risk-filter", log, as_of))
    assert manifest.decision.kind == "filter"
    assert set(manifest.input.features) == {"f_sma_20", "f_vol_ratio", "f_confidence"}


def test_risk_filter_in_its_bootstrap(tmp_path: Path) -> None:
    log = write_trades(tmp_path / "trades.jsonl", 5, 19)
    result = run(tmp_path, "risk-filter", log, START + 30 * DAY)
    assert (result.verdict, result.reason) == (RunVerdict.INELIGIBLE, "Bootstrap")


def test_daily_ensemble(tmp_path: Path) -> None:
    made = market(6, 1_000, bar_ms=DAY, edge=1.0, length=60, week=5, sigma=1e-2)
    bars = write_bars(tmp_path / "daily.csv", made.bars, bar_ms=DAY)
    macro = write_macro(tmp_path / "macro.csv", made.bars, 6)
    join = {"name": "macro", "uri": macro.as_uri(), "format": "csv", "columns": ["vix", "yield10"], "published": "published_at"}
    changes = {
        "data": {"joins": [join], "window": None, "windowBars": 1_000},
        "overrides": {"tuning": {"trials": 3}, "model": {"trees": 30}},
    }
    manifest = published(tmp_path, run(tmp_path, "daily-ensemble", bars, int(made.bars.time[-1]), **changes))
    assert {"macro.vix", "macro.yield10"} <= set(manifest.input.features)
    assert len(manifest.input.features) > 42
    assert manifest.trials >= 2
    assert manifest.horizon.ms == 7 * DAY


def test_drift_robust(tmp_path: Path) -> None:
    log = write_samples(tmp_path / "features_raw.log", 7, 6_000)
    as_of = START + 6_000 * MINUTE
    manifest = published(tmp_path, run(tmp_path, "drift-robust", log, as_of, data={"window": "3d"}))
    assert manifest.input.features[:3] == ("bias", "mid_logret_1m", "mid_logret_5m")
    assert manifest.metrics["precisionAtK"] >= 0.58
    check_evidence_files(tmp_path / "models" / manifest.version, manifest)


def check_evidence_files(folder: Path, manifest: Manifest) -> None:
    """The weights in plain JSON are the model: they give the golden rows' probabilities."""
    names = ("model_weights", "scaler_params", "reference_distributions", "training_manifest", "offline_report", "psi_snapshot")
    found = {name: json.loads((folder / f"{name}_{manifest.version}.json").read_bytes()) for name in names}
    assert {f"{name}_{manifest.version}.json" for name in names} <= set(manifest.files)
    assert (folder / f"eval_result_{manifest.version}.txt").read_text(encoding="utf-8") == "PASS\n"
    assert found["training_manifest"]["cv"] == {"scheme": "purged_time_series", "folds": 5, "embargo_min": 60.0}
    assert found["training_manifest"]["transform"] == {"returns": "log", "scaler": "rolling_zscore_24h", "winsorize_bp": 0.5}
    assert set(found["psi_snapshot"]["psi"]) == {*manifest.input.features, "score"}
    golden = Golden.parse((folder / "golden.json").read_bytes())
    weights, scaler = found["model_weights"], found["scaler_params"]
    (platt,) = weights["calibration"]
    for x, p in zip(golden.x, golden.p, strict=True):
        odds = weights["bias"]
        for name, value in zip(manifest.input.features, x, strict=True):
            kept = min(max(value, scaler["lower"][name]), scaler["upper"][name])
            odds += (kept - weights["center"][name]) * weights["weights"][name]
        assert p[1] == pytest.approx(1 / (1 + math.exp(-(odds * platt["slope"] + platt["offset"]))), abs=1e-5)


def test_the_page_says_what_the_recipes_are() -> None:
    page = (ROOT / "docs" / "reference" / "recipes.md").read_text(encoding="utf-8")
    assert written(page) == page, "run python -m walkforward_trainer.recipes docs/reference/recipes.md"
    for name in BUILT_IN:
        assert f"## `{name}`" in page


def test_every_example_is_a_spec_that_plans(tmp_path: Path) -> None:
    for path in EXAMPLES.glob("*.yaml"):
        for number, resource in enumerate(yaml.safe_load_all(path.read_text(encoding="utf-8"))):
            one = tmp_path / f"{path.stem}-{number}.yaml"
            one.write_bytes(msgspec.json.encode(resource))
            assert load(one, now_ms=START).spec.recipe == path.stem
