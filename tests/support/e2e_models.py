"""The bundles of all scenarios: trained once on this machine from the real bars, changed where a scenario needs it, and uploaded."""

from __future__ import annotations

import shutil
import subprocess
import sys
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
ODD = Where(ODD_FEATURE, 50.0)


@dataclass(frozen=True, slots=True)
class Model:
    """A published bundle, as a rollout names it."""

    version: str
    uri: str
    digest: str
    model: str


def make_models(folder: Path, store: ObjectStore) -> dict[str, Model]:
    """Train, derive and upload; return the bundles by what they are for."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    bars = eurusd()
    (folder / "bars.csv").write_bytes(bars.csv())
    (folder / "vendor.csv").write_bytes(bars.csv(volume_unit=VENDOR_UNIT))
    runs = {"stable": (FIRST, "risk", "bars.csv"), "candidate": (SECOND, "risk", "bars.csv"), "vendor": (SECOND, "risk", "vendor.csv")}
    runs["hindsight"] = (HINDSIGHT, "direction", "bars.csv")
    made = dict(zip(runs, _train(folder, bars, runs), strict=True))
    candidate = made["candidate"]
    made |= {
        "next": later(candidate, 1),
        "newest": later(candidate, 2),
        "opposite": turned(made["hindsight"], 3),
        "raises": spoilt(candidate, "raise", ODD, 4),
        "nan": spoilt(candidate, "nan", ODD, 5),
        "kills": spoilt(candidate, "hog", ODD, 6),
        "slow": heavy(candidate, 7),
    }
    store.put("s3://bars/eurusd.csv", bars.csv())
    return {
        name: Model(bundle.version, upload(store, bundle, f"s3://models/e2e/{name}"), bundle.digest, digest(bundle.files[MODEL]))
        for name, bundle in made.items()
    }


def _train(folder: Path, bars: Bars, runs: dict[str, tuple[int, str, str]]) -> list[Bundle]:
    """Run the trainer as on a laptop, one run after the other in one process: its libraries take longer to load than it takes to train."""
    files = [_spec(folder, name, bars, *what) for name, what in runs.items()]
    script = """
import sys
from walkforward_trainer.__main__ import main
sys.exit(max(main(["run", "--allow-file", "--spec", file]) for file in sys.argv[1:]))
"""
    done = subprocess.run([sys.executable, "-c", script, *map(str, files)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"training ended with {done.returncode}: {done.stdout}{done.stderr[-2000:]}"
    return [read(path.parent) for name in runs for path in (folder / name).glob("*/manifest.json")]


def _spec(folder: Path, name: str, bars: Bars, bar: int, question: str, data: str) -> Path:
    """Write the demo's ModelRetrain as it is run here; return the file."""
    spec = yaml.safe_load((MANIFESTS / f"retrain-{question}.yaml").read_text())
    spec["spec"]["data"].update(uri=f"file://{folder}/{data}", asOf=bars.as_of(bar))
    spec["spec"]["artifacts"]["uri"] = f"file://{folder}/{name}"
    if question == "direction":
        # as it stands this gate rejects it, which is a scenario of its own; here it must only be a bundle
        spec["spec"]["gates"] = {"precisionAtK": {"min": 0.01}}
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(spec))
    return file
