"""Ten million ticks: the first look of a dry run, from footers and a sample, beside reading all of them.

The look is measured as a process of its own sees it, imports of polars included, and once more when they are loaded.
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
from typing import Any, Final

import numpy as np
import polars as pl

from walkforward_core.objectstore import FileStore
from walkforward_core.runs import RunDocument
from walkforward_trainer.data.sources import Access
from walkforward_trainer.data.ticks import read_ticks
from walkforward_trainer.look import look_at_ticks
from walkforward_trainer.plan import make_plan
from walkforward_trainer.specfile import timestamp

__all__ = ["measure", "write_ticks"]

TICKS: Final = 10_000_000
DAYS: Final = 120
DAY_MS: Final = 86_400_000
START: Final = 1_767_225_600_000


class _Counting(FileStore):
    """A store that counts the bytes that it hands out."""

    def __init__(self) -> None:
        self.read = 0

    def get_range(self, uri: str, start: int, length: int) -> bytes:
        data = super().get_range(uri, start, length)
        self.read += len(data)
        return data


def measure(runs: int = 5, ticks: int = TICKS) -> dict[str, Any]:
    """Return seconds of the look and of reading everything, and the share of the bytes that the look takes."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_ticks(Path(folder) / "ticks.parquet", ticks)
        run = _run(path)
        plan = make_plan(run)
        store = _Counting()
        access = Access(allow_file=True, stores={"file": store})
        seen = look_at_ticks(run, plan, access)
        assert seen is not None, "the footers did not tell"
        share = store.read / path.stat().st_size
        looks = [_seconds(lambda: look_at_ticks(run, plan, Access(allow_file=True))) for _ in range(runs)]
        cold = [_alone(path) for _ in range(min(runs, 3))]
        whole = [_seconds(lambda: read_ticks(Access(allow_file=True), plan, now_ms=plan.as_of_ms)) for _ in range(min(runs, 3))]
        found = {
            "ticks": ticks,
            "fileMiB": path.stat().st_size / 2**20,
            "lookSeconds": statistics.median(looks),
            "lookWithImportsSeconds": statistics.median(cold),
            "lookShareOfBytes": share,
            "sampledTicks": seen.metrics["sampledTicks"],
            "wholeSeconds": statistics.median(whole),
        }
    print(
        f"ticks: a look at {ticks:,} in {found['lookSeconds']:.3f} s ({found['lookWithImportsSeconds']:.2f} s with imports), "
        f"{share:.1%} of the bytes; all of them read in {found['wholeSeconds']:.2f} s",
        flush=True,
    )
    return found


def write_ticks(path: Path, ticks: int) -> Path:
    """Write ``ticks`` of :data:`DAYS` days as polars writes Parquet by default."""
    rng = np.random.default_rng(1)
    time_ms = np.sort(rng.integers(0, DAYS * DAY_MS, ticks)) + START
    price = 100 * np.exp(np.cumsum(rng.standard_normal(ticks) * 1e-5))
    stamps = pl.Series(time_ms).cast(pl.Datetime("ms"))
    pl.DataFrame({"time": stamps, "price": price, "size": rng.random(ticks)}).write_parquet(path)
    return path


def _run(path: Path) -> RunDocument:
    data = {"uri": path.as_uri(), "format": "parquet", "kind": "Ticks", "symbols": ["X"], "timeframe": "5m", "window": f"{DAYS}d"}
    document = {
        "run": "look",
        "retrain": {"namespace": "bench", "name": "look", "uid": "1"},
        "trigger": {"id": "1", "kind": "Manual"},
        "asOf": timestamp(START + DAYS * DAY_MS),
        "spec": {
            "recipe": "ohlcv-direction",
            "data": data,
            "artifacts": {"uri": path.parent.as_uri()},
            "eligibility": {"minAge": "14d", "regime": {}},
        },
    }
    return RunDocument.parse(json.dumps(document).encode())


def _seconds(call: Any) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _alone(path: Path) -> float:
    """Return the seconds from the first import to the answer, in a process of its own."""
    code = f"import time; began = time.perf_counter(); import walkforward_bench.ticks as t; t._cold({str(path)!r})"
    code += "; print(time.perf_counter() - began)"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _cold(path: str) -> None:
    run = _run(Path(path))
    look_at_ticks(run, make_plan(run), Access(allow_file=True))
