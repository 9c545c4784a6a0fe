"""The largest resident size of the trainer up to its matrix, by number of bars: from Parquet files to features.

``python dev/bench/walkforward_bench/memory.py --bars 50000000`` writes that many made bars, a million a file, and reads them in a
process of its own; every stage says how long it took and how much memory the process had at most so far.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from walkforward_core.api.retrain import RetrainSpec
from walkforward_core.runs import RetrainObject, RunDocument, Trigger, TriggerKind

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["measure", "write_bars"]

MINUTE_MS: Final = 60_000
FILE_ROWS: Final = 1_000_000
END_MS: Final = 1_767_225_600_000
AS_OF: Final = "2026-01-01T00:00:00Z"


def measure(bars: int, folder: Path | None = None) -> dict[str, Any]:
    """Return seconds and MiB at most after each stage, for ``bars`` bars of a minute and the features of the default recipe."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        size = write_bars(Path(scratch), bars)
        command = [sys.executable, __file__, "--child", scratch, "--bars", str(bars)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the reading process ended with {done.returncode}: {done.stderr[-2_000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {"bars": bars, "fileMiB": size >> 20} | found


def write_bars(folder: Path, bars: int) -> int:
    """Write ``bars`` bars of a minute that end at :data:`AS_OF`, and return the bytes of the files."""
    import polars as pl  # noqa: PLC0415 - what is measured loads it by itself

    rng = np.random.default_rng(7)
    last = 0.0
    for number, first in enumerate(range(0, bars, FILE_ROWS)):
        count = min(FILE_ROWS, bars - first)
        path = last + np.cumsum(rng.standard_t(5, count) * 2e-4)
        last = float(path[-1])
        # a market that comes back, so that a hundred years of minutes stay among numbers
        close = 100 * np.exp(np.sin(path))
        opened = np.concatenate((close[:1], close[:-1]))
        table = {
            "time": END_MS + MINUTE_MS * np.arange(first - bars, first - bars + count),
            "open": opened,
            "high": np.maximum(opened, close) * 1.0001,
            "low": np.minimum(opened, close) * 0.9999,
            "close": close,
            "volume": rng.integers(1, 5_000, count).astype(float),
        }
        pl.DataFrame(table).write_parquet(folder / f"{number:05d}.parquet")
    return sum(path.stat().st_size for path in folder.iterdir())


def _child(folder: Path, bars: int) -> dict[str, Any]:
    return {"stages": dict(_stages(folder, bars)), "rows": bars}


def _stages(folder: Path, bars: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield each stage with its seconds and the largest MiB so far."""
    began = time.perf_counter()

    def so_far() -> dict[str, float]:
        # getrusage would count the memory of whoever started this process
        status = Path("/proc/self/status").read_text(encoding="ascii")
        mib = next(int(line.split()[1]) / 1_024 for line in status.splitlines() if line.startswith("VmHWM"))
        return {"seconds": round(time.perf_counter() - began, 2), "MiB": round(mib)}

    from walkforward_trainer.data.bars import read_bars  # noqa: PLC0415 - its imports are measured too
    from walkforward_trainer.data.quality import check_quality  # noqa: PLC0415 - the same
    from walkforward_trainer.data.sources import Access  # noqa: PLC0415 - the same
    from walkforward_trainer.plan import make_plan  # noqa: PLC0415 - the same
    from walkforward_trainer.rows import bar_features  # noqa: PLC0415 - the same

    fields = {
        "data": {"uri": folder.as_uri(), "symbols": ["MADE"], "timeframe": "1m", "windowBars": bars - 1_000},
        "artifacts": {"uri": "s3://none/none"},
    }
    run = RunDocument(
        run="memory-00000000",
        retrain=RetrainObject(namespace="bench", name="memory", uid="bench"),
        trigger=Trigger(id="bench", kind=TriggerKind.MANUAL),
        as_of=AS_OF,
        spec=msgspec.convert(fields, RetrainSpec),
    )
    plan = make_plan(run)
    yield "import", so_far()
    raw = read_bars(Access(allow_file=True), plan, now_ms=time.time_ns() // 1_000_000)
    yield "bars", so_far()
    window = check_quality(raw, plan)
    del raw
    yield "quality", so_far()
    x, _ = bar_features(window, plan)
    yield f"features ({x.shape[1]})", so_far()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bars", type=int, default=50_000_000)
    parser.add_argument("--folder", type=Path, help="where the files are written (default: the temporary folder)")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    print(json.dumps(_child(options.child, options.bars) if options.child else measure(options.bars, options.folder)))


if __name__ == "__main__":
    main()
