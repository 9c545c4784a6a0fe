"""The Python API gives what the command line gives, stage by stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from trainer_runs import DIRECTION, FIRST, NOW, RISK, SECOND, eurusd, spec

from walkforward_trainer.errors import BadConfiguration, BadData, Reason
from walkforward_trainer.notebook import Experiment
from walkforward_trainer.pipeline import execute

if TYPE_CHECKING:
    from pathlib import Path

TOLD_BY_THE_LEDGER = {"trials", "trialsEffective", "trialSharpeVariance", "expectedMaxSharpe", "deflatedSharpe", "latencyMicros"}
"""Metrics that depend on what ran before, or on the clock."""
FEW: dict[str, Any] = {"model": {"trees": 15}}


def experiment(tmp_path: Path, **changes: Any) -> Experiment:
    fields = spec(eurusd(), tmp_path / "models", **{"overrides": RISK | FEW, **changes})
    path = tmp_path / "fx.yaml"
    resource = {"apiVersion": "walkforward.dev/v1alpha1", "kind": "ModelRetrain", "metadata": {"name": "fx"}, "spec": fields}
    path.write_text(yaml.safe_dump(resource), encoding="utf-8")
    return Experiment.load(path, as_of=FIRST, allow_file=True)


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
