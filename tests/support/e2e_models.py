"""The bundles of all scenarios: trained once on this machine from the real bars, changed where a scenario needs it, and uploaded."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from e2e_bundles import Bundle, Where, heavy, later, read, spoilt, turned, upload

from walkforward_core.bundle import MODEL
from walkforward_core.documents import digest
from walkforward_demo.bars import FIRST, SECOND, VENDOR_UNIT, Bars, eurusd

if TYPE_CHECKING:
    from walkforward_core.objectstore import ObjectStore

__all__ = ["HINDSIGHT", "ODD_FEATURE", "Model", "make_models"]

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "dev" / "demo" / "manifests"
HINDSIGHT = 4_900
"""Bar as of which the model is trained that has seen the bars it is replayed on: it earns there, so its opposite must lose."""
ODD_FEATURE = "log_volume_surprise_24"
"""The feature that is far out of its range in the odd rows of the replayer."""
MORNING = Where("hour_sin", 0.95)
"""Three hours of the day: an eighth of all bars."""


@dataclass(frozen=True, slots=True)
class Model:
    """A published bundle, as a rollout names it."""

    version: str
    uri: str
    digest: str
    model: str


def make_models(folder: Path, store: ObjectStore) -> dict[str, Model]:
    """Train, derive and upload; return the bundles by what they are for."""
    folder.mkdir(parents=True, exist_ok=True)
    bars = eurusd()
    (folder / "bars.csv").write_bytes(bars.csv())
    (folder / "vendor.csv").write_bytes(bars.csv(volume_unit=VENDOR_UNIT))
    runs = {"stable": (FIRST, "risk", "bars.csv"), "candidate": (SECOND, "risk", "bars.csv"), "vendor": (SECOND, "risk", "vendor.csv")}
    runs["hindsight"] = (HINDSIGHT, "direction", "bars.csv")
    with ThreadPoolExecutor(max_workers=2) as pool:
        futures = {name: pool.submit(_train, folder, name, bars, *what) for name, what in runs.items()}
        made = {name: future.result() for name, future in futures.items()}
    candidate = made["candidate"]
    made |= {
        "next": later(candidate, 1),
        "newest": later(candidate, 2),
        "opposite": turned(made["hindsight"], 3),
        "raises": spoilt(candidate, "raise", MORNING, 4),
        "nan": spoilt(candidate, "nan", MORNING, 5),
        "kills": spoilt(candidate, "hog", Where(ODD_FEATURE, 50.0), 6),
        "slow": heavy(candidate, 7),
    }
    store.put("s3://bars/eurusd.csv", bars.csv())
    return {
        name: Model(bundle.version, upload(store, bundle, f"s3://models/e2e/{name}"), bundle.digest, digest(bundle.files[MODEL]))
        for name, bundle in made.items()
    }


def _train(folder: Path, name: str, bars: Bars, bar: int, question: str, data: str) -> Bundle:
    """Run the trainer as on a laptop."""
    spec = yaml.safe_load((MANIFESTS / f"retrain-{question}.yaml").read_text())
    spec["spec"]["data"].update(uri=f"file://{folder}/{data}", asOf=bars.as_of(bar))
    spec["spec"]["artifacts"]["uri"] = f"file://{folder}/{name}"
    if question == "direction":
        # as it stands this gate rejects it, which is a scenario of its own; here it must only be a bundle
        spec["spec"]["gates"] = {"precisionAtK": {"min": 0.01}}
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(spec))
    command = [sys.executable, "-m", "walkforward_trainer", "run", "--spec", str(file), "--allow-file"]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"training {name} ended with {done.returncode}: {done.stdout}{done.stderr[-2000:]}"
    (home,) = (path for path in (folder / name).iterdir() if (path / "manifest.json").exists())
    return read(home)
