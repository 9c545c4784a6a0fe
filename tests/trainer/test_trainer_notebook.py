"""The Python API gives what the command line gives, stage by stage."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from planted import DAY, START, write_trades
from trainer_runs import DIRECTION, FIRST, NOW, RISK, SECOND, eurusd, spec

from walkforward_trainer.errors import BadConfiguration, BadData, Reason
from walkforward_trainer.notebook import Experiment
from walkforward_trainer.pipeline import execute
from walkforward_trainer.specfile import timestamp

TOLD_BY_THE_LEDGER = {"trials", "trialsEffective", "trialSharpeVariance", "expectedMaxSharpe", "deflatedSharpe", "latencyMicros"}
"""Metrics that depend on what ran before, or on the clock."""
FEW: dict[str, Any] = {"model": {"trees": 15}}


def experiment(tmp_path: Path, **changes: Any) -> Experiment:
    fields = spec(eurusd(), tmp_path / "models") | {"overrides": RISK | FEW, **changes}
    path = tmp_path / "fx.yaml"
    resource = {"apiVersion": "walkforward.dev/v1alpha1", "kind": "ModelRetrain", "metadata": {"name": "fx"}, "spec": fields}
    path.write_text(yaml.safe_dump(resource), encoding="utf-8")
    return Experiment.load(path, as_of=FIRST, allow_file=True)


def test_one_of_several_timeframes_by_its_name() -> None:
    path = Path(__file__).resolve().parents[2] / "docs" / "examples" / "recipes" / "multi-timeframe.yaml"
    plans = {name: Experiment.load(path, name=name, as_of=FIRST).plan for name in ("btc-5m", "btc-24h")}
    assert plans["btc-5m"].features != plans["btc-24h"].features
    with pytest.raises(BadConfiguration, match=r"4 ModelRetrain documents \(btc-5m, btc-1h, btc-12h, btc-24h\); name the one"):
        Experiment.load(path)


def test_stage_by_stage_is_the_run(tmp_path: Path) -> None:
    fx = experiment(tmp_path)
    rows = fx.dataset()
    assert rows.stats["rows"] == 2000
    assert rows.stats["share.0"] + rows.stats["share.1"] == pytest.approx(1.0)
    candidate = fx.train(rows)
    bundle = fx.publish(rows, candidate)
    whole, _ = execute(fx.run, allow_file=True, now_ms=NOW)
    assert whole.version == bundle.version
    same = set(whole.metrics) - TOLD_BY_THE_LEDGER
    assert {name: whole.metrics[name] for name in same} == {name: candidate.metrics[name] for name in same}
    assert {"auc", "brier", "sharpePerOutcome"} <= same
    assert (tmp_path / "models" / bundle.version / "manifest.json").exists()


def test_another_instant_is_another_dataset(tmp_path: Path) -> None:
    fx = experiment(tmp_path)
    later = fx.at(SECOND)
    assert repr(later) == "Experiment(fx, recipe ohlcv, as of 2017-09-01T01:00:00Z)"
    assert int(later.dataset().dataset.t0[-1]) > int(fx.dataset().dataset.t0[-1])
    with pytest.raises(BadConfiguration, match="as_of 'yesterday'"):
        fx.at("yesterday")


def test_an_instant_that_has_not_been_has_no_rows(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match=r"lies .* ahead of now, .* by the clock here; choose an instant that has been"):
        experiment(tmp_path).at("2190-01-01T00:00:00Z").dataset()


def test_what_is_not_eligible_or_failed_goes_no_further(tmp_path: Path) -> None:
    short = experiment(tmp_path, eligibility={"minBars": 5000})
    with pytest.raises(BadData, match=r"minBars: 2000 .*force=True") as caught:
        short.train(short.dataset())
    assert caught.value.reason is Reason.NOT_ELIGIBLE
    assert short.train(short.dataset(), force=True).metrics["auc"] > 0.5
    coin = experiment(tmp_path, overrides=DIRECTION | FEW)
    rows = coin.dataset()
    candidate = coin.train(rows)
    with pytest.raises(BadConfiguration, match="not published, since it failed auc"):
        coin.publish(rows, candidate)
    assert not list((tmp_path / "models").glob("*/manifest.json"))


def test_each_instant_and_each_override_is_a_run_of_its_own(tmp_path: Path) -> None:
    """Otherwise the second would be counted as another attempt of the first, and its trials not at all."""
    fx = experiment(tmp_path)
    later, other = fx.at(SECOND), fx.overridden(model={"trees": 14})
    assert len({fx.run.run, later.run.run, other.run.run}) == 3
    assert other.run.run == fx.overridden(model={"trees": 14}).run.run
    assert [one.train(one.dataset()).trials for one in (fx, later, other)] == [1, 2, 3]


def test_overrides_are_those_of_a_spec(tmp_path: Path) -> None:
    fx = experiment(tmp_path)
    deeper = fx.overridden(model={"depth": 5}, decision={"threshold": 0.45}).plan
    assert (deeper.model.depth, deeper.model.trees, deeper.decision.threshold) == (5, 15, 0.45)
    assert deeper.target == fx.plan.target
    with pytest.raises(BadConfiguration, match="overrides: modle is not known; did you mean model"):
        fx.overridden(modle={})
    with pytest.raises(BadConfiguration, match=r"overrides: .*trees"):
        fx.overridden(model={"trees": 0})


class TestTrades:
    """The risk filter from a notebook: dataset, trainer, registry."""

    def risk(self, tmp_path: Path, **fields: Any) -> Experiment:
        log = write_trades(tmp_path / "trades.jsonl", 4, 300)
        data = {"uri": log.as_uri(), "format": "jsonl", "symbols": ["*"], "windowBars": 5_000}
        changes = {"recipe": "risk-filter", "overrides": {}, "data": data} | fields
        return experiment(tmp_path, **changes).at(timestamp(START + 40 * DAY))

    def test_stats_are_of_what_the_trades_made(self, tmp_path: Path) -> None:
        risk = self.risk(tmp_path)
        log = tmp_path / "trades.jsonl"
        trades = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        for index, trade in enumerate(trades):
            trade["side"] = [1, -1][index % 2]
        log.write_text("".join(json.dumps(trade) + "\n" for trade in trades), encoding="utf-8")
        stats = risk.dataset().stats
        assert stats["rows"] == 300
        assert stats["avg_pnl_pct"] == pytest.approx(np.mean([trade["pnl_pct"] for trade in trades]))
        # of the instrument, which a short trade is against
        assert stats["avg_return"] == pytest.approx(np.mean([trade["side"] * trade["pnl_pct"] for trade in trades]) / 100)
        assert "avg_pnl_pct" not in experiment(tmp_path).dataset().stats

    def test_it_is_the_very_run_of_the_command_line(self, tmp_path: Path) -> None:
        """Features come from the log, and costs from the trades counted in it."""
        risk = self.risk(tmp_path, costs={"slippage": {"bps": 2, "byTrades": {}}})
        rows = risk.dataset()
        candidate = risk.train(rows)
        bundle = risk.publish(rows, candidate)
        whole, _ = execute(risk.run, allow_file=True, now_ms=NOW)
        assert whole.reason == "AlreadyPublished"
        assert whole.version == bundle.version
        assert whole.metrics["expectancy"] == candidate.metrics["expectancy"]
        (manifest,) = (tmp_path / "models").glob("2*/manifest.json")
        assert json.loads(manifest.read_bytes())["costs"]["multiplier"] == pytest.approx(2.0 - 0.5 * 300 / 500)

    def test_a_log_without_a_trade_has_no_mean(self, tmp_path: Path) -> None:
        risk = self.risk(tmp_path)
        (tmp_path / "trades.jsonl").write_bytes(b"")
        rows = risk.dataset()
        assert rows.stats["rows"] == 0
        assert math.isnan(rows.stats["avg_pnl_pct"])
        assert "normal during bootstrap" in rows.unmet[0]

    def test_from_the_log_to_the_active_model(self, tmp_path: Path) -> None:
        risk = self.risk(tmp_path)
        strict = risk.overridden(target={"maxAdverse": 0.002})
        assert strict.dataset().stats["share.1"] > risk.dataset().stats["share.1"]
        rows = risk.dataset()
        bundle = risk.publish(rows, risk.train(rows))
        models = risk.registry()
        assert models.list_candidates()[bundle.version]["metrics"]["auc"] > 0.55
        models.promote_candidate(bundle.version, reason="fewer bad trades")
        summary = models.get_registry_summary()
        assert summary["active"] == bundle.version
        assert summary["promotions"][0]["reason"] == "fewer bad trades"
        assert not models.list_candidates()
