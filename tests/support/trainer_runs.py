"""Bars, runs and stores that the trainer's tests share."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from walkforward_core.features import Bars
from walkforward_core.runs import RunDocument
from walkforward_trainer.specfile import instant

HOUR = 3_600_000
FIRST, SECOND = "2017-08-25T01:00:00Z", "2017-09-01T01:00:00Z"
"""Bars 2,200 and 2,320 of the real series open at these times."""
NOW = instant("2026-06-01T00:00:00Z", "now")

RISK = {"target": {"kind": "Risk", "horizonBars": 5, "threshold": 1.5, "volatilityBars": 100}, "decision": {"threshold": 0.4}}
DIRECTION = {"target": {"kind": "Direction", "horizonBars": 5}}


def spec(data: Path | str, artifacts: Path | str, **changes: Any) -> dict[str, Any]:
    """Return the demo's ModelRetrain spec; ``changes`` replace whole fields."""
    fields = {
        "overrides": RISK,
        # the momentum rule loses on these bars, so nothing about money is asked; another recipe has its own gates
        **({} if "recipe" in changes else {"gates": {"auc": {"min": 0.62, "aboveChance": 2.5}}}),
        "data": {
            "uri": data.as_uri() if isinstance(data, Path) else data,
            "format": "csv",
            "symbols": ["EURUSD"],
            "timeframe": "1h",
            "windowBars": 2000,
        },
        "artifacts": {"uri": artifacts.as_uri() if isinstance(artifacts, Path) else artifacts},
    }
    return fields | changes


def run_document(fields: dict[str, Any], as_of: str = FIRST, **changes: Any) -> RunDocument:
    """Return a run of ``fields``, as the operator writes it."""
    document = {
        "schema": "walkforward.dev/run/v1",
        "run": "fx-1a2b3c4d",
        "retrain": {"namespace": "demo", "name": "fx", "uid": "u-1"},
        "trigger": {"id": "t-1", "kind": "Manual", "by": "ann"},
        "asOf": as_of,
        "spec": fields,
    }
    return RunDocument.parse(msgspec.json.encode(document | changes))


def random_bars(seed: int, count: int, start: str = "2024-01-01T01:00:00Z") -> Bars:
    """Return hourly bars of a market without any edge, round the clock."""
    rng = np.random.default_rng(seed)
    close = 1.1 * np.exp(np.cumsum(rng.standard_t(4, count) * 1e-3))
    opened = np.concatenate((close[:1], close[:-1]))
    high = np.maximum(opened, close) * (1 + rng.exponential(3e-4, count))
    low = np.minimum(opened, close) * (1 - rng.exponential(3e-4, count))
    time = instant(start, "start") + HOUR * np.arange(count, dtype=np.int64)
    return Bars(time=time, open=opened, high=high, low=low, close=close, volume=rng.integers(1, 5_000, count).astype(float))


def write_csv(path: Path, bars: Bars) -> Path:
    """Write ``bars`` with the time at which each opens, in milliseconds."""
    columns = (bars.time - HOUR, bars.open, bars.high, bars.low, bars.close, bars.volume)
    lines = ["time,open,high,low,close,volume", *(",".join(map(repr, row)) for row in zip(*(c.tolist() for c in columns), strict=True))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def eurusd() -> Path:
    """Return the path of 5,000 real hourly bars."""
    found = find_spec("backtesting")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "test" / "EURUSD.csv"
