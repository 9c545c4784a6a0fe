"""A model of several symbols in pods: an Indexed Job prepares each, a second Job gathers; a symbol that fails ends the run by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from e2e_kube import await_true, item
from e2e_stage import WORK, store_of
from planted import market, write_bars

from walkforward_core.bundle import Manifest
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e_scene import Scene

    from walkforward_core.objectstore import ObjectStore

pytestmark = [pytest.mark.e2e]

SYMBOLS = ("EURUSD", "GBPUSD")
ROWS = 1_200
DATA = "s3://bars/shards/"
MODELS = "s3://models/e2e-shards"


def upload(store: ObjectStore, seed: int, symbol: str, *, without: slice = slice(0)) -> int:
    """Put a symbol's bars, less some, into a file of their own; return when the last one closes."""
    made = market(seed, ROWS, edge=1.5).bars
    path = write_bars(WORK / f"{symbol}.csv", made, symbol=symbol)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    del lines[without]
    store.put(f"{DATA}{symbol}.csv", "".join(lines).encode())
    return int(made.time[-1])


def jobs(scene: Scene, run: str) -> dict[str, Any]:
    """Return the Jobs of a run by name."""
    found = scene.kube.request("GET", f"/apis/batch/v1/namespaces/{scene.namespace}/jobs", labelSelector=f"walkforward.dev/run={run}")
    return {job["metadata"]["name"]: job for job in found.json()["items"]}


@pytest.mark.timeout(150)
def test_symbols_are_prepared_gathered_and_named(scene_of: Callable[[str], Scene]) -> None:
    scene = scene_of("shards")
    store = store_of(scene.kube)
    last = max(upload(store, seed, symbol) for seed, symbol in enumerate(SYMBOLS))
    data = {"uri": DATA, "format": "csv", "symbols": list(SYMBOLS), "timeframe": "1h", "windowBars": 1_000, "asOf": timestamp(last)}
    spec = {
        "overrides": {"target": {"kind": "Direction"}, "model": {"trees": 10}},
        "data": data,
        "validation": {"folds": 3},
        "gates": {"auc": {"min": 0.55}},
        "job": {"backoffLimit": 0},
        "artifacts": {"uri": MODELS},
    }
    scene.kube.apply(item("ModelRetrain", scene.namespace, "fx", spec=spec)).raise_for_status()

    scene.run_retrain("fx", "whole")
    whole = scene.verdict("fx", "Published")
    made = jobs(scene, whole["run"])
    assert sorted(made) == [whole["run"], f"{whole['run']}-gather"]
    prepared, gathered = (made[name] for name in sorted(made))
    assert (prepared["spec"]["completionMode"], prepared["status"]["completedIndexes"]) == ("Indexed", "0,1")
    assert gathered["status"]["succeeded"] == 1
    assert prepared["status"]["completionTime"] <= gathered["status"]["startTime"]
    manifest = Manifest.parse(store.get(f"{MODELS}/{whole['version']}/manifest.json"))
    assert (manifest.data.symbols, manifest.retrain.run) == (SYMBOLS, whole["run"])

    upload(store, 1, SYMBOLS[1], without=slice(500, 700))
    scene.run_retrain("fx", "broken")
    broken = scene.verdict("fx", "Failed", after=whole["run"])
    assert broken["reason"] == "BadData"
    assert broken["message"].startswith("symbol GBPUSD (shard 1): Gap: GBPUSD: data.quality.maxGap: 8d")
    assert list(jobs(scene, broken["run"])) == [broken["run"]], "what is not whole is not gathered"
    latest = scene.kube.get(item("ModelRetrain", scene.namespace, "fx")).json()["status"]["latestBundle"]
    assert latest["version"] == whole["version"]
    await_true("no pod is left at work", lambda: not active(scene), 30)


def active(scene: Scene) -> list[str]:
    """Return the pods that have not ended."""
    pods = scene.kube.request("GET", f"/api/v1/namespaces/{scene.namespace}/pods").json()["items"]
    return [pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] in {"Pending", "Running"}]
