"""The files beside a linear model say what was done, also where the spec departs from the recipe."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from planted import MINUTE, START, write_samples
from trainer_runs import run_document

from walkforward_core.runs import RunVerdict
from walkforward_trainer.pipeline import execute
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from pathlib import Path

SAMPLES = 4_000
LAST = START + SAMPLES * MINUTE


def manifest(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    """Return the training manifest of a run on a market with an edge."""
    log = write_samples(tmp_path / "features_raw.log", 7, SAMPLES)
    data = {"uri": log.as_uri(), "format": "jsonl", "symbols": ["BTCUSDT"], "timeframe": "1m", "windowBars": 2_000}
    fields = {"recipe": "drift-robust", "data": data, "artifacts": {"uri": (tmp_path / "m").as_uri()}} | changes
    result, _ = execute(run_document(fields, timestamp(LAST)), allow_file=True, now_ms=LAST)
    assert result.verdict is RunVerdict.PUBLISHED, result.message
    (path,) = (tmp_path / "m" / result.version).glob("training_manifest_*.json")
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


@pytest.mark.parametrize(
    ("validation", "cv"),
    [
        ({}, {"scheme": "purged_time_series", "folds": 5, "embargo_min": 60.0}),
        # the longer of both applies: a twentieth of 2,000 minutes
        ({"folds": 4, "embargoRows": 0.05}, {"scheme": "purged_time_series", "folds": 4, "embargo_min": pytest.approx(100.0, rel=0.01)}),
        ({"scheme": "WalkForward", "folds": 3, "embargo": "30m"}, {"scheme": "walk_forward", "folds": 3, "embargo_min": 30.0}),
    ],
    ids=["the recipe", "a share of the rows", "forward"],
)
def test_the_splits_are_those_that_were_made(tmp_path: Path, validation: dict[str, Any], cv: dict[str, Any]) -> None:
    assert manifest(tmp_path, validation=validation)["cv"] == cv


def test_the_scaler_is_the_one_of_the_features(tmp_path: Path) -> None:
    names = ["bias", "mid_logret_1m", "mid_logret_5m", "rsi14_z"]
    found = manifest(tmp_path, overrides={"features": names})
    assert found["features"] == names
    assert found["transform"] == {"returns": "log", "scaler": "standard", "winsorize_bp": 0.5}


def test_winsorising_is_a_field_of_the_spec(tmp_path: Path) -> None:
    """Percent a tail, as ``overrides.model.winsorise`` says: the bounds in the scaler cut so many of the rows."""
    found = manifest(tmp_path, overrides={"model": {"winsorise": 5.0}})
    assert found["transform"]["winsorize_bp"] == 5.0
    (path,) = (tmp_path / "m").glob("2*/scaler_params_*.json")
    scaler = json.loads(path.read_bytes())
    raw = [json.loads(line)["raw"]["spreadBp"] for line in (tmp_path / "features_raw.log").read_text(encoding="utf-8").splitlines()[1:]]
    seen = np.sort(raw[-2_000:])
    assert scaler["lower"]["spread_bp"] == pytest.approx(np.quantile(seen, 0.05), rel=0.01)
    assert scaler["upper"]["spread_bp"] == pytest.approx(np.quantile(seen, 0.95), rel=0.01)
