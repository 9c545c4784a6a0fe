"""The demo's retrain in a fresh process, in the environment of its image; beside it scikit-learn on the same rows.

A whole run is everything that a Job does: imports, bars, features, labels, five purged folds, calibration, backtest, gates, graph, parity,
bundle, report. The peer knows only one of these stages, so it is compared with our library on that stage: the six fits.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import yaml

from walkforward_bench.record import ROOT
from walkforward_bench.venvs import environment
from walkforward_demo.bars import eurusd
from walkforward_trainer.data.sources import Access
from walkforward_trainer.plan import make_plan
from walkforward_trainer.prepare import prepare
from walkforward_trainer.specfile import load
from walkforward_trainer.splits import purged_k_fold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from walkforward_core.runs import RunDocument
    from walkforward_trainer.plan import Plan

__all__ = ["measure"]

PEERS: Final = ROOT / "dev" / "bench" / "peers"
MANIFEST: Final = ROOT / "dev" / "demo" / "manifests" / "retrain-risk.yaml"
IMAGE: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "2", "ORT_DISABLE_TELEMETRY": "1"}
"""What Dockerfile.trainer sets."""
LIBRARIES: Final = {
    "xgboost": "XGBoost, as the trainer",
    "gradient": "scikit-learn GradientBoosting",
    "histogram": "scikit-learn HistGradientBoosting",
}


def measure(runs: int) -> dict[str, Any]:
    """Return wall and CPU seconds and peak memory of a whole run and of the six fits alone, medians of ``runs``."""
    python = environment("trainer", ROOT / "requirements" / "trainer.txt")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        spec = _spec(home)
        plan, rows = _matrix(home / "matrix.npz", spec)
        whole = [_whole(python, spec, home, number) for number in range(runs)]
        fits: dict[str, list[dict[str, float]]] = {name: [] for name in LIBRARIES}
        for _ in range(runs):
            for name, taken in fits.items():
                # scikit-learn is in the developers' environment only
                own = python if name == "xgboost" else Path(sys.executable)
                taken.append(_used([str(own), str(PEERS / "fits.py"), name, str(home / "matrix.npz")], home))
    return {
        "rows": rows,
        "features": len(plan.features),
        "trees": plan.trees,
        "depth": plan.model.depth,
        "folds": plan.folds,
        "whole": _median(whole),
        "fits": [{"name": LIBRARIES[name], "ours": name == "xgboost", **_median(taken)} for name, taken in fits.items()],
    }


def _spec(home: Path) -> Path:
    """Write the demo's bars and its ModelRetrain, with addresses on this machine; return the path of the latter."""
    (home / "eurusd.csv").write_bytes(eurusd().csv())
    manifest = yaml.safe_load(MANIFEST.read_text())
    manifest["spec"]["data"]["uri"] = (home / "eurusd.csv").as_uri()
    manifest["spec"]["artifacts"]["uri"] = (home / "models").as_uri()
    (home / "retrain.yaml").write_text(yaml.safe_dump(manifest))
    return home / "retrain.yaml"


def _matrix(path: Path, spec: Path) -> tuple[Plan, int]:
    """Write rows, labels, folds and hyper-parameters of that run, made by the trainer's own code."""
    now_ms = time.time_ns() // 1_000_000
    run: RunDocument = load(spec, now_ms=now_ms)
    plan = make_plan(run)
    prepared = prepare(run, plan, Access(allow_file=True), now_ms=now_ms)
    labels = prepared.rows
    splits = purged_k_fold(labels.t0, labels.t1, plan.folds, plan.embargo_ms)
    arrays: dict[str, Any] = {f"train{fold}": split.train[labels.known[split.train]] for fold, split in enumerate(splits)}
    arrays |= {f"test{fold}": split.test for fold, split in enumerate(splits)}
    model = plan.model
    np.savez(
        path, x=prepared.rows.x, y=labels.y, known=np.flatnonzero(labels.known), folds=len(splits), trees=plan.trees, depth=model.depth,
        rate=model.learning_rate, subsample=model.subsample, seed=model.seed, **arrays,
    )  # fmt: skip
    return plan, len(prepared.rows.x)


def _whole(python: Path, spec: Path, home: Path, number: int) -> dict[str, float]:
    """Run the trainer as its image does; a store of its own each time, so that every run publishes."""
    document = yaml.safe_load(spec.read_text())
    document["spec"]["artifacts"]["uri"] = (home / f"models-{number}").as_uri()
    own = home / f"retrain-{number}.yaml"
    own.write_text(yaml.safe_dump(document))
    said: dict[str, Any] = {}
    used = _used([str(python), "-m", "walkforward_trainer", "run", "--allow-file", "--spec", str(own)], home, said)
    if said.get("verdict") != "Published":
        raise RuntimeError(f"the demo's retrain ended {said}")
    return used


def _used(command: Sequence[str], home: Path, said: dict[str, Any] | None = None) -> dict[str, float]:
    """Run a command in a fresh process; return what it used, and ``auc`` or ``said`` from what it printed."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": f"{ROOT / 'core'}:{ROOT / 'trainer'}", **IMAGE}
    result = home / "usage.json"
    ended = subprocess.run(
        [sys.executable, "-I", "-S", str(PEERS / "usage.py"), str(result), *command],
        env=environ, cwd=home, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if ended.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {ended.returncode}: {ended.stderr[-2000:]}")
    used: dict[str, float] = json.loads(result.read_text())
    if said is None:
        return {**used, "auc": float(ended.stdout)}
    said.update(json.loads(ended.stdout))
    return used


def _median(taken: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in taken) for name in taken[0]}
