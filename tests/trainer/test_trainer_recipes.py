"""The five recipes, each through every stage on a market with a planted edge; and what their page says of them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import onnx
import pytest
import yaml
from planted import DAY, HOUR, MINUTE, START, market, write_bars, write_macro, write_samples, write_ticks, write_trades

from walkforward_core.bundle import Golden, Manifest
from walkforward_core.runs import RunVerdict
from walkforward_trainer.__main__ import main
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
    # 10 days less the warm-up, of which 5 % are less than a day
    assert manifest.validation.embargo_hours == 24
    # 200 closed trades: 2.0 - 0.5 · 200 / 500
    assert manifest.costs.closed_trades == 200
    assert manifest.costs.multiplier == pytest.approx(1.8)
    assert manifest.costs.round_trip == pytest.approx(2 * (2 + 2 * 1.8) / 10_000)
    assert {"sharpePerOutcome", "expectancy", "hitRate", "profitFactor"} <= set(manifest.metrics)
    assert {"riskAuc", "priceR2", "momentumAuc", "volatilityR2"} <= set(manifest.metrics)
    graph = onnx.load(tmp_path / "models" / manifest.version / "model.onnx").graph
    models = [node for node in graph.node if "TreeEnsemble" in node.op_type]
    trees = [set(next(one.ints for one in node.attribute if one.name == "nodes_treeids")) for node in models]
    assert [len(one) for one in trees] == [100] * 5, "five models of a hundred trees in one graph"


def test_the_documented_numbers_of_ohlcv_direction() -> None:
    recipe = BUILT_IN["ohlcv-direction"]
    assert (recipe.model.trees, recipe.model.depth, recipe.model.learning_rate, recipe.model.subsample) == (100, 4, 0.05, 0.8)
    assert [recipe.target.kind, *(head.target.kind for head in recipe.heads)] == ["Direction", "Risk", "Price", "Momentum", "Volatility"]
    assert {recipe.target.horizon_bars, *(head.target.horizon_bars for head in recipe.heads)} == {5}
    plan = recipe.validation
    assert (plan.scheme, plan.train_share, plan.embargo, plan.embargo_rows) == ("Holdout", 0.7, "24h", 0.05)
    assert recipe.by_trades is not None
    assert (recipe.by_trades.initial, recipe.by_trades.min, recipe.by_trades.trades) == (2.0, 1.5, 500)


@pytest.mark.parametrize(
    ("timeframe", "shares", "bars", "fresh"),
    [
        ("5m", (0.4, 0.2, 0.4), 288, "1d"),
        ("1h", (0.45, 0.1, 0.45), 168, "3d"),
        ("12h", (0.4, 0.2, 0.4), 60, "4d"),
        ("24h", (0.45, 0.1, 0.45), 60, "5d"),
    ],
)
def test_each_timeframe_has_its_own_methodology(timeframe: str, shares: tuple[float, ...], bars: int, fresh: str) -> None:
    profiles = BUILT_IN["multi-timeframe"].profiles
    recipe = profiles[timeframe]
    wanted = recipe.target.class_target
    assert wanted is not None
    assert (wanted.down, wanted.neutral, wanted.up) == shares
    assert (recipe.target.threshold, recipe.target.volatility_scale, recipe.target.volatility_bars) == (1.5, "Bar", bars)
    assert recipe.quality.max_staleness == fresh
    assert len(set(recipe.features)) == 17
    others = [profile.features for name, profile in profiles.items() if {name, timeframe} not in ({"24h", "1d"}, {timeframe})]
    assert recipe.features not in others, "one methodology for all is a cause of its own"
    assert recipe.models == ("forest", "xgboost", "linear")
    assert (recipe.validation.train_share, recipe.validation.calibration_share, recipe.calibration) == (0.7, 0.15, "Isotonic")


def test_multi_timeframe_holds_its_distribution_gates(tmp_path: Path) -> None:
    made = market(2, 5_000, edge=1.5, length=25)
    bars = write_bars(tmp_path / "bars.csv", made.bars)
    data = {"format": "csv", "timeframe": "1h", "window": None, "windowBars": 4_500}
    few = {"model": {"trees": 20}}
    manifest = published(tmp_path, run(tmp_path, "multi-timeframe", bars, int(made.bars.time[-1]), data=data, overrides=few))
    assert manifest.output.classes == (0, 1, 2)
    limits = {gate.name: gate.threshold for gate in manifest.gates if gate.name.startswith("distribution")}
    assert limits == {
        "distribution.minDownPct": 0.35,
        "distribution.maxDownPct": 0.50,
        "distribution.minUpPct": 0.35,
        "distribution.maxUpPct": 0.50,
        "distribution.maxNeutralPct": 0.30,
        "distribution.minConfMean": 0.60,
        "distribution.minPctAboveConf060": 0.40,
        "distribution.minAlphaMean": 0.12,
        "distribution.minEligibilityPct": 0.30,
    }
    assert "leakage.shuffledAuc" in {gate.name for gate in manifest.gates}
    assert manifest.metrics["distribution.eligibilityPct"] >= 0.30
    # asked for 10 %: without the last step it was hardly ever the most probable class
    assert manifest.metrics["distribution.neutralPct"] == pytest.approx(0.10, abs=0.06)
    assert 1.0 < manifest.metrics["neutralFactor"] <= 4.0
    assert {"forensic_report.txt", "forensic_analysis_results.json"} <= set(manifest.files)


def test_multi_timeframe_without_an_edge_is_rejected_loudly(tmp_path: Path) -> None:
    made = market(3, 3_000, bar_ms=5 * MINUTE)
    bars = write_bars(tmp_path / "bars.csv", made.bars, bar_ms=5 * MINUTE)
    data = {"format": "csv", "window": None, "windowBars": 2_500}
    result = run(tmp_path, "multi-timeframe", bars, int(made.bars.time[-1]), data=data, overrides={"model": {"trees": 15}})
    assert result.verdict is RunVerdict.REJECTED
    assert "distribution.minConfMean" in result.failed
    assert not list((tmp_path / "models").glob("2*"))
    (text,) = (tmp_path / "models" / "runs").glob("*/forensic_report.txt")
    assert "NoSignal" in text.read_text(encoding="utf-8")


def test_multi_timeframe_that_knows_what_does_not_pay_is_rejected(tmp_path: Path) -> None:
    """Trading utility and not accuracy: the same market as above, and costs that eat what can be known of it."""
    made = market(2, 5_000, edge=1.5, length=25)
    bars = write_bars(tmp_path / "bars.csv", made.bars)
    data = {"format": "csv", "timeframe": "1h", "window": None, "windowBars": 2_500}
    dear = {"data": data, "overrides": {"model": {"trees": 10}}, "costs": {"feeBps": 500}}
    result = run(tmp_path, "multi-timeframe", bars, int(made.bars.time[-1]), **dear)
    assert result.verdict is RunVerdict.REJECTED
    assert "expectancy" in result.failed
    assert "auc" not in result.failed
    (text,) = (tmp_path / "models" / "runs").glob("*/forensic_report.txt")
    assert "[x] WrongObjective" in text.read_text(encoding="utf-8")


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


def test_all_timeframes_in_one_file_run_one_after_the_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One runner for all and for each; the largest exit code tells that one of them did not go through."""
    documents = list(yaml.safe_load_all((EXAMPLES / "multi-timeframe.yaml").read_text(encoding="utf-8")))
    made = market(8, 1_000, bar_ms=DAY, edge=2.0, length=15, start=START - 600 * DAY).bars
    for document in documents:
        spec = document["spec"]
        bar = {"5m": 5 * MINUTE, "1h": HOUR, "12h": 12 * HOUR, "1d": DAY}[spec["data"]["timeframe"]]
        bars = replace(made, time=made.time[-1] - (made.time[-1] - made.time) // DAY * bar)[-400 if bar < HOUR else 0 :]
        path = write_bars(tmp_path / f"{document['metadata']['name']}.csv", bars, bar_ms=bar)
        spec["data"] |= {"uri": path.as_uri(), "format": "csv", "asOf": timestamp(int(made.time[-1]))}
        spec["artifacts"]["uri"] = (tmp_path / document["metadata"]["name"]).as_uri()
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    command = ["run", "--spec", str(path), "--allow-file"]
    assert main([*command, "--dry-run"]) == 65
    told = {line["run"].rpartition("-")[0]: line for line in map(json.loads, capsys.readouterr().out.splitlines())}
    assert list(told) == ["btc-5m", "btc-1h", "btc-12h", "btc-24h"]
    # 400 bars of 5m are too few; the others go on all the same
    assert told["btc-5m"]["reason"] == "TooFewRows"
    assert [told[name]["verdict"] for name in ("btc-1h", "btc-12h", "btc-24h")] == ["DryRun"] * 3
    assert main([*command, "--dry-run", "--name", "btc-24h"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


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
