"""Ensembles at the size of 90 days of five-minute bars, as whole runs in fresh processes; beside the five heads scikit-learn's boosting.

- *ensemble*: 25,920 rows of 40 features, random forest + XGBoost + linear → meta model → isotonic, purged 5-fold; two and three classes.
- *five*: the recipe ``ohlcv-direction``, five models in one bundle; the peer fits the same five at equal hyper-parameters and no more.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import yaml

from walkforward_core.features import DAILY_40

__all__ = ["measure"]

BARS: Final = 25_920
WARMUP: Final = 1_500
BAR_MS: Final = 300_000
IMAGE: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "2", "ORT_DISABLE_TELEMETRY": "1"}
"""What Dockerfile.trainer sets."""
PURGED: Final = {"scheme": "PurgedKFold", "folds": 5, "embargo": "24h"}
DIRECTION: Final = {"kind": "Direction"}
RUNS: Final[dict[str, dict[str, Any]]] = {
    "ensemble": {"recipe": "multi-timeframe", "overrides": {"features": list(DAILY_40), "target": DIRECTION}, "validation": PURGED},
    "ensemble3": {"recipe": "multi-timeframe", "overrides": {"features": list(DAILY_40)}, "validation": PURGED},
    "ensembleHoldout": {"recipe": "multi-timeframe", "overrides": {"features": list(DAILY_40)}},
    "five": {"recipe": "ohlcv-direction"},
}
PEER: Final = """
import json, sys, time
import numpy as np
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
data = np.load(sys.argv[1])
begin = time.perf_counter()
for kind, y in (("c", "direction"), ("c", "risk"), ("r", "price"), ("c", "momentum"), ("r", "volatility")):
    model = (GradientBoostingClassifier if kind == "c" else GradientBoostingRegressor)(
        n_estimators=100, max_depth=4, learning_rate=0.05, subsample=0.8, random_state=7)
    model.fit(data["x"], data[y])
print(json.dumps(time.perf_counter() - begin))
"""


def measure(runs: int) -> dict[str, Any]:
    """Return wall and CPU seconds, imports included, of each run (medians of ``runs``), and the peer's seconds for the five fits alone."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        as_of = _bars(home / "bars.parquet")
        taken = {name: [_run(home, f"{name}-{number}", fields, as_of) for number in range(runs)] for name, fields in RUNS.items()}
        peer = statistics.median(_peer(home) for _ in range(runs))
    found = {name: {key: statistics.median(one[key] for one in many) for key in many[0]} for name, many in taken.items()}
    return {"rows": BARS, "features": len(DAILY_40), "runs": found, "gradientBoostingSeconds": peer}


def _bars(path: Path) -> str:
    """Write bars of a market without any edge and return an ``asOf`` just after the last."""
    rng = np.random.default_rng(3)
    count = BARS + WARMUP
    close = 100 * np.exp(np.cumsum(rng.standard_t(4, count) * 1e-3))
    opened = np.concatenate((close[:1], close[:-1]))
    at = 1_700_000_100_000 // BAR_MS * BAR_MS + BAR_MS * np.arange(count)
    high = np.maximum(opened, close) * (1 + rng.exponential(3e-4, count))
    low = np.minimum(opened, close) * (1 - rng.exponential(3e-4, count))
    volume = rng.integers(1, 5_000, count).astype(float)
    pl.DataFrame({"time": at, "open": opened, "high": high, "low": low, "close": close, "volume": volume}).write_parquet(path)
    return datetime.fromtimestamp(int(at[-1]) / 1_000 + 301, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _run(home: Path, name: str, fields: dict[str, Any], as_of: str) -> dict[str, float]:
    """Run the trainer once; what it makes of a market without an edge is a rejection or a model, either of them after every stage."""
    bars: dict[str, Any] = {"uri": (home / "bars.parquet").as_uri(), "format": "parquet", "symbols": ["X"], "timeframe": "5m"}
    bars |= {"windowBars": BARS, "asOf": as_of}
    spec = {"data": bars, "artifacts": {"uri": (home / name).as_uri()}, "gates": {"auc": {"min": 0.501}}, **fields}
    document = {"apiVersion": "walkforward.dev/v1alpha1", "kind": "ModelRetrain", "metadata": {"name": name.lower()}, "spec": spec}
    source = home / f"{name}.yaml"
    source.write_text(yaml.safe_dump(document))
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "walkforward_trainer", "run", "--allow-file", "--spec", str(source)]
    ended = subprocess.run(command, env=os.environ | IMAGE, capture_output=True, text=True, check=False)
    seconds, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    if ended.returncode not in (0, 1):
        raise RuntimeError(f"{name} ended with {ended.returncode}: {ended.stdout} {ended.stderr[-2000:]}")
    used = {"seconds": seconds, "cpuSeconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}
    return used | {f"{stage}Seconds": _stage(ended.stderr, stage) for stage in ("models", "parity", "leakage")}


def _stage(lines: str, stage: str) -> float:
    """Return the seconds that the log says a stage took; 0 where it was none of the run's."""
    said = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
    return float(sum(line["fields"]["ms"] / 1_000 for line in said if line.get("stage") == stage and "ms" in line.get("fields", {})))


def _peer(home: Path) -> float:
    """Return the seconds that scikit-learn needs for five models at equal hyper-parameters, on as many rows as trained ours."""
    rng = np.random.default_rng(5)
    count = int(0.7 * BARS)
    x = rng.normal(size=(count, 11)).astype(np.float32)
    answers: dict[str, Any] = {name: (rng.random(count) > 0.5).astype(float) for name in ("direction", "risk", "momentum")}
    answers |= {name: rng.normal(size=count) for name in ("price", "volatility")}
    np.savez(home / "peer.npz", x=x, **answers)
    command = [sys.executable, "-c", PEER, str(home / "peer.npz")]
    ended = subprocess.run(command, env=os.environ | IMAGE, capture_output=True, text=True, check=True)
    return float(json.loads(ended.stdout))
