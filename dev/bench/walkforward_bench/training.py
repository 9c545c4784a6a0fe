"""The demo's retrain in a fresh process, in the environment of its image; beside it scikit-learn on the same rows.

A whole run is everything that a Job does: imports, bars, features, labels, five purged folds, calibration, backtest, gates, graph, parity,
bundle, report. The peer knows only one of these stages, so it is compared with our library on that stage: the six fits.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import yaml

from walkforward_bench.fresh import median, scored, whole
from walkforward_bench.record import ROOT
from walkforward_bench.venvs import environment
from walkforward_demo.bars import eurusd
from walkforward_trainer.data.sources import Access
from walkforward_trainer.plan import make_plan
from walkforward_trainer.prepare import prepare
from walkforward_trainer.specfile import load
from walkforward_trainer.splits import purged_k_fold

if TYPE_CHECKING:
    from walkforward_core.runs import RunDocument
    from walkforward_trainer.plan import Plan

__all__ = ["measure"]

MANIFEST: Final = ROOT / "dev" / "demo" / "manifests" / "retrain-risk.yaml"
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
        manifest = yaml.safe_load(spec.read_text())
        runs_whole = [whole(python, manifest, home, number)[0] for number in range(runs)]
        fits: dict[str, list[dict[str, float]]] = {name: [] for name in LIBRARIES}
        for _ in range(runs):
            for name, taken in fits.items():
                # scikit-learn is in the developers' environment only
                own = python if name == "xgboost" else Path(sys.executable)
                taken.append(scored(own, "fits.py", name, str(home / "matrix.npz"), home=home))
    return {
        "rows": rows,
        "features": len(plan.features),
        "trees": plan.trees,
        "depth": plan.model.depth,
        "folds": plan.folds,
        "whole": median(runs_whole),
        "fits": [{"name": LIBRARIES[name], "ours": name == "xgboost", **median(taken)} for name, taken in fits.items()],
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
