"""The recipes at the size of ninety days of five-minute bars: three models and a meta model, five models at once, a search of a hundred.

The market is made, with an edge (``tests/support/planted.py``), so that the gates of each recipe let it pass and all stages run. Whole
runs are fresh processes in an environment of the image's own requirements. Peers get the trainer's own matrix and do the fits alone.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import yaml
from planted import MINUTE, market, write_bars

from walkforward_bench.fresh import PEERS, median, scored, used, whole
from walkforward_bench.record import ROOT
from walkforward_bench.venvs import Missing, environment
from walkforward_core.features import DAILY_40
from walkforward_trainer.data.sources import Access
from walkforward_trainer.labels import classes_of
from walkforward_trainer.plan import make_plan
from walkforward_trainer.prepare import prepare
from walkforward_trainer.specfile import load, timestamp
from walkforward_trainer.splits import evaluation_splits

if TYPE_CHECKING:
    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.plan import Plan

__all__ = ["measure"]

ROWS: Final = 25_920
FORTY: Final = DAILY_40[:40]
BAR_MS: Final = 5 * MINUTE
HISTORY: Final = 600
"""Bars before the window, more than any of the features looks back."""
EDGE: Final = {"edge": 1.5, "length": 25}
DAY_OF_BARS: Final = 288

RECIPES: Final[dict[str, dict[str, Any]]] = {
    "three": {
        "recipe": "multi-timeframe",
        "overrides": {"features": list(FORTY)},
        "validation": {"scheme": "PurgedKFold", "folds": 5},
    },
    "five": {"recipe": "ohlcv-direction"},
    "search": {"recipe": "daily-ensemble", "overrides": {"features": list(FORTY), "tuning": {"trials": 100}}},
}
"""What each ModelRetrain says beside its data."""
WALKERS: Final = {
    "trainer": ("trainer", "LightGBM, as the trainer"),
    "qlib": ("qlib", "Qlib LGBModel"),
    "freqai": ("freqai", "FreqAI LightGBMClassifier"),
    "scaled": ("freqai", "LightGBM alone, scaled like FreqAI's"),
}
"""Who predicts five blocks, by what ``peers/walks.py`` calls them: the environment, and what they are in the table."""


def measure(runs: int, rows: int = ROWS, trials: int = 100) -> dict[str, Any]:
    """Return what whole runs, a search and the peers' fits used: medians of ``runs``."""
    python = environment("trainer", ROOT / "requirements" / "trainer.txt")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        RECIPES["search"]["overrides"]["tuning"]["trials"] = trials
        specs = _specs(home, rows)
        found: dict[str, Any] = {"rows": rows, "features": len(FORTY), "missing": {}}
        for name, peer in (("three", _pipeline), ("five", _five)):
            done = [whole(python, yaml.safe_load(specs[name].read_text()), home, number) for number in range(runs)]
            _say(f"{name} models, whole run", done[-1][0])
            plan, data = _dataset(specs[name])
            found[name] = {
                "whole": median([one for one, _ in done]),
                "stages": median([stages for _, stages in done]),
                "features": len(plan.features),
                "trees": plan.trees,
                "depth": plan.model.depth,
                "peer": median([peer(plan, data, home) for _ in range(runs)]),
            }
            _say(f"{name} models, scikit-learn", found[name]["peer"])
        found["search"] = median([_search(python, specs["search"], home) for _ in range(runs)])
        found["walks"] = _walks(python, specs["search"], home, runs, found["missing"])
    return found


def _specs(home: Path, rows: int) -> dict[str, Path]:
    """Write the market and a ModelRetrain for each recipe; return the latter's paths."""
    bars = market(2, rows + HISTORY, bar_ms=BAR_MS, **EDGE).bars  # type: ignore[arg-type]
    path = write_bars(home / "bars.csv", bars, bar_ms=BAR_MS)
    data = {"uri": path.as_uri(), "format": "csv", "symbols": ["MADE"], "timeframe": "5m", "windowBars": rows}
    specs = {}
    for name, fields in RECIPES.items():
        spec = {"data": {**data, "asOf": timestamp(int(bars.time[-1]))}, "artifacts": {"uri": (home / "models").as_uri()}, **fields}
        metadata = {"name": name, "namespace": "bench"}
        specs[name] = home / f"{name}.yaml"
        document = {"apiVersion": "walkforward.dev/v1alpha1", "kind": "ModelRetrain", "metadata": metadata, "spec": spec}
        specs[name].write_text(yaml.safe_dump(document))
    return specs


def _dataset(spec: Path) -> tuple[Plan, Dataset]:
    """Return the plan of a ModelRetrain and its rows, made by the trainer's own code."""
    now_ms = time.time_ns() // 1_000_000
    run = load(spec, now_ms=now_ms)
    plan = make_plan(run)
    return plan, prepare(run, plan, Access(allow_file=True), now_ms=now_ms).rows


def _settings(plan: Plan, rows: int) -> dict[str, Any]:
    model = plan.model
    return {
        "trees": model.trees, "depth": model.depth, "rate": model.learning_rate, "subsample": model.subsample, "seed": model.seed,
        "gap": min(DAY_OF_BARS, rows // 50),
    }  # fmt: skip


def _pipeline(plan: Plan, rows: Dataset, home: Path) -> dict[str, float]:
    path, known = home / "three.npz", rows.known
    np.savez(path, x=rows.x[known], y=rows.y[known], folds=plan.folds, **_settings(plan, len(rows)))
    return scored(sys.executable, "pipeline.py", str(path), home=home)


def _five(plan: Plan, rows: Dataset, home: Path) -> dict[str, float]:
    path, split = home / "five.npz", evaluation_splits(rows, plan)[0]
    answers = [rows.y, *(rows.targets[head.name] for head in plan.recipe.heads)]
    classes = [plan.classes, *(classes_of(head.target) for head in plan.recipe.heads)]
    np.savez(path, x=rows.x, train=split.train, test=split.test, answers=np.stack(answers), classes=classes, **_settings(plan, len(rows)))
    return scored(sys.executable, "five.py", str(path), home=home)


def _search(python: Path, spec: Path, home: Path) -> dict[str, float]:
    found, said, _ = used([str(python), str(PEERS / "search.py"), str(spec)], home)
    _say("search", found)
    return {**found, **json.loads(said)}


def _walks(python: Path, spec: Path, home: Path, runs: int, missing: dict[str, str]) -> list[dict[str, Any]]:
    """Return what LightGBM on five blocks costs here, and by the peers that can be had; medians of ``runs``."""
    plan, rows = _dataset(spec)
    path, known = home / "walks.npz", rows.known
    np.savez(path, x=rows.x[known], y=rows.y[known], t0=rows.t0[known], **_settings(plan, len(rows)))
    found: list[dict[str, Any]] = []
    for library, (home_of, name) in WALKERS.items():
        try:
            own = python if home_of == "trainer" else environment(home_of, PEERS / f"{home_of}.txt")
            found.append({"name": name, **median([_walk(own, library, path, home) for _ in range(runs)])})
        except (Missing, RuntimeError) as error:
            if library == "trainer":
                raise
            # a peer that does not start here is as good as none
            missing[name] = str(error)[-300:]
        else:
            _say(name, found[-1])
    return found


def _walk(python: Path, library: str, path: Path, home: Path) -> dict[str, float]:
    """Return what one process used, the seconds of fits and answers in it, and the AUC of the tested rows."""
    found, said, _ = used([str(python), str(PEERS / "walks.py"), library, str(path)], home)
    seconds, area = said.split()[-2:]
    return {**found, "fits_s": float(seconds), "auc": float(area)}


def _say(what: str, found: dict[str, Any]) -> None:
    print(f"recipes: {what}: {found['wall_s']:.1f} s, {found['cpu_s']:.1f} s of CPU", flush=True)
