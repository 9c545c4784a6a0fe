"""Every recipe from ``kubectl apply`` to a rollout that follows it: Job, verdict, bundle, served, and its successor on trial."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from e2e_kube import await_true, item
from e2e_scene import FAST
from e2e_stage import WORK, store_of
from planted import DAY, HOUR, MINUTE, START, market, write_bars, write_macro, write_samples, write_ticks, write_trades

from walkforward_core.bundle import Manifest
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e_scene import Scene

    from walkforward_core.objectstore import ObjectStore

pytestmark = [pytest.mark.e2e]
EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples" / "recipes"


@dataclass(frozen=True)
class Case:
    """Where the data of a recipe are, what of its example is changed for them, and the instants of two runs."""

    data: dict[str, Any]
    changes: dict[str, Any]
    first: int
    second: int


def upload(store: ObjectStore, path: Path) -> str:
    uri = f"s3://bars/recipes/{path.name}"
    store.put(uri, path.read_bytes())
    return uri


def ohlcv_direction(store: ObjectStore, folder: Path) -> Case:
    made = market(1, 5_000, bar_ms=5 * MINUTE, edge=0.6)
    ticks = upload(store, write_ticks(folder / "ticks.parquet", made.bars, bar_ms=5 * MINUTE))
    trades = upload(store, write_trades(folder / "paper.jsonl", 1, 200, symbol="BTCUSDT"))
    data = {"uri": ticks, "window": "10d", "trades": {"uri": trades, "format": "jsonl"}}
    last = int(made.bars.time[-1])
    return Case(data, {"schedules": [], "costs": {"feeBps": 2}, "eligibility": {"minClosedTrades": 75}}, last - DAY // 2, last)


def multi_timeframe(store: ObjectStore, folder: Path) -> Case:
    made = market(2, 5_000, edge=1.5, length=25)
    bars = upload(store, write_bars(folder / "hourly.csv", made.bars))
    last = int(made.bars.time[-1])
    data = {"uri": bars, "format": "csv", "timeframe": "1h", "window": None, "windowBars": 4_500}
    return Case(data, {"schedules": [], "overrides": {"model": {"trees": 30}}}, last - 20 * HOUR, last)


def risk_filter(store: ObjectStore, folder: Path) -> Case:
    log = upload(store, write_trades(folder / "closed.jsonl", 4, 600))
    return Case({"uri": log}, {"schedules": []}, START + 40 * DAY, START + 55 * DAY)


def daily_ensemble(store: ObjectStore, folder: Path) -> Case:
    made = market(6, 1_300, bar_ms=DAY, edge=1.0, length=60, week=5, sigma=1e-2, start=START - 1_827 * DAY)
    bars = upload(store, write_bars(folder / "daily.csv", made.bars, bar_ms=DAY))
    macro = upload(store, write_macro(folder / "macro.csv", made.bars, 6))
    join = {"name": "macro", "uri": macro, "format": "csv", "columns": ["vix", "yield10"], "published": "published_at"}
    last = int(made.bars.time[-1])
    data = {"uri": bars, "joins": [join], "window": None, "windowBars": 900}
    # a search of two trials shows that the image can; the speed of a hundred is a benchmark
    overrides = {"tuning": {"trials": 2}, "model": {"trees": 30}}
    # the live model is compared on rows that neither has learned from: half a year of them
    return Case(data, {"schedules": [], "overrides": overrides}, last - 150 * DAY, last)


def drift_robust(store: ObjectStore, folder: Path) -> Case:
    log = upload(store, write_samples(folder / "features_raw.log", 7, 6_000))
    last = START + 6_000 * MINUTE
    return Case({"uri": log, "window": "3d"}, {}, last - 60 * MINUTE, last)


CASES: dict[str, Callable[[ObjectStore, Path], Case]] = {
    "ohlcv-direction": ohlcv_direction,
    "multi-timeframe": multi_timeframe,
    "risk-filter": risk_filter,
    "daily-ensemble": daily_ensemble,
    "drift-robust": drift_robust,
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("recipe", CASES)
def test_a_recipe_is_trained_served_and_followed(recipe: str, scene_of: Callable[[str], Scene]) -> None:
    scene = scene_of(recipe)
    folder = WORK / "recipes" / recipe
    folder.mkdir(parents=True, exist_ok=True)
    store = store_of(scene.kube)
    case = CASES[recipe](store, folder)
    retrain = item("ModelRetrain", scene.namespace, "fx", spec=spec_of(recipe, case))
    scene.kube.apply(retrain).raise_for_status()
    scene.run_retrain("fx", "first")
    first = scene.verdict("fx", "Published")
    manifest = Manifest.parse(store.get(f"s3://models/e2e-recipes/{recipe}/{first['version']}/manifest.json"))
    scene.serve(replicas=1)
    scene.roll("stable", source={"retrainRef": {"name": "fx"}}, strategy=FAST, gates={"errorRate": {}})
    scene.until_stable(first["version"], 90)
    await_true("the Service answers", lambda: answered(scene, manifest) == first["version"], 30)
    scene.kube.patch(retrain, {"spec": {"data": {"asOf": timestamp(case.second)}}}).raise_for_status()
    scene.run_retrain("fx", "second")
    second = scene.verdict("fx", "Published", after=first["run"])
    # no traffic, so no gate may pass: the successor is exposed to the first five percent and no further
    scene.until_applied(5, 90)
    assert scene.status["candidate"]["version"] == second["version"]
    scene.act("abort", candidate=second["version"])
    scene.until_rolled_back(30)
    assert answered(scene, manifest) == first["version"]


def spec_of(recipe: str, case: Case) -> dict[str, Any]:
    """Return the example's spec on the data of ``case``."""
    resource = next(yaml.safe_load_all((EXAMPLES / f"{recipe}.yaml").read_text(encoding="utf-8")))
    spec: dict[str, Any] = resource["spec"] | case.changes
    data = spec["data"] | case.data | {"asOf": timestamp(case.first)}
    return spec | {
        "data": {name: value for name, value in data.items() if value is not None},
        "artifacts": {"uri": f"s3://models/e2e-recipes/{recipe}"},
    }


def answered(scene: Scene, manifest: Manifest) -> str:
    """Return the version that answers one row of zeros; its features are those of the manifest."""
    body = {
        "inputs": [
            {"name": "X", "shape": [1, len(manifest.input.features)], "datatype": "FP32", "data": [0.0] * len(manifest.input.features)}
        ],
        "parameters": {"client": "e2e", "base_position": 1.0, "features": ",".join(manifest.input.features)},
    }
    answer = scene.infer(body)
    return str(answer["parameters"]["version"]) if answer else ""
