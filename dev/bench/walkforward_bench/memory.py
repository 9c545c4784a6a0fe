"""The largest resident size of whole runs of the trainer, by number of bars: from Parquet files to verdict and bundle.

``python dev/bench/walkforward_bench/memory.py --bars 50000000`` writes that many made bars, a million a file, and trains on them, each
recipe in a process of its own; every stage says how long it took and how much memory the process had at most meanwhile. The made market
holds no edge, so the metric gates are skipped by request: what is measured is the whole way to a bundle.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from walkforward_core.api.defaults import effective_gates
from walkforward_core.api.retrain import RetrainSpec
from walkforward_core.offline import names
from walkforward_core.runs import RetrainObject, RunDocument, SkippedGate, Trigger, TriggerKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["measure", "reading", "write_bars"]

MINUTE_MS: Final = 60_000
FILE_ROWS: Final = 1_000_000
END_MS: Final = 1_767_225_600_000
AS_OF: Final = "2026-01-01T00:00:00Z"
NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
RECIPES: Final = ("ohlcv", "ohlcv-direction")


def measure(
    bars: int,
    folder: Path | None = None,
    recipes: Sequence[str] = RECIPES,
    *,
    overrides: Mapping[str, Any] = NOTHING,
    max_rows: int | None = None,
) -> dict[str, Any]:
    """Return seconds and MiB of each stage of a whole run on ``bars`` bars of a minute, for each of ``recipes``.

    ``overrides`` and ``max_rows`` are of the spec; without them the runs are what a user gets who says nothing.
    """
    changes = json.dumps({"overrides": dict(overrides), "data": {} if max_rows is None else {"maxRows": max_rows}})
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        size = write_bars(_data(Path(scratch)), bars)
        runs = [_in_child(scratch, bars, "--recipe", name, "--changes", changes) for name in recipes]
    return {"bars": bars, "fileMiB": size >> 20, "runs": runs}


def reading(bars: int, folder: Path | None = None) -> dict[str, Any]:
    """Return the same of the stages up to the matrix of the default recipe alone."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        size = write_bars(_data(Path(scratch)), bars)
        found = _in_child(scratch, bars)
    return {"bars": bars, "fileMiB": size >> 20} | found


def _in_child(scratch: str, bars: int, *more: str) -> dict[str, Any]:
    # the kernel counts the memory of whoever starts a process into that process's peak, but not into its VmHWM
    command = [sys.executable, __file__, "--child", scratch, "--bars", str(bars), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the process ended with {done.returncode}: {done.stderr[-2_000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _data(scratch: Path) -> Path:
    folder = scratch / "bars"
    folder.mkdir()
    return folder


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


def _read(scratch: Path, bars: int) -> dict[str, Any]:
    return {"stages": dict(_stages(scratch, bars)), "rows": bars}


def _stages(scratch: Path, bars: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield each stage with its seconds and the largest MiB so far."""
    began = time.perf_counter()

    def so_far() -> dict[str, float]:
        return {"seconds": round(time.perf_counter() - began, 2), "MiB": _peak_mib()}

    from walkforward_trainer.data.bars import read_bars  # noqa: PLC0415 - its imports are measured too
    from walkforward_trainer.data.quality import check_quality  # noqa: PLC0415 - the same
    from walkforward_trainer.data.sources import Access  # noqa: PLC0415 - the same
    from walkforward_trainer.plan import make_plan  # noqa: PLC0415 - the same
    from walkforward_trainer.rows import bar_features  # noqa: PLC0415 - the same

    plan = make_plan(_document(scratch, bars, "ohlcv"))
    yield "import", so_far()
    raw = read_bars(Access(allow_file=True), plan, now_ms=time.time_ns() // 1_000_000)
    yield "bars", so_far()
    window = check_quality(raw, plan)
    del raw
    yield "quality", so_far()
    x, _ = bar_features(window, plan)
    yield f"features ({x.shape[1]})", so_far()


def _run(scratch: Path, bars: int, recipe: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a whole run took: seconds and MiB at most of every stage, and of the run."""
    from walkforward_trainer.pipeline import execute  # noqa: PLC0415 - its imports are measured too

    watch, log = _Watch(), logging.getLogger("walkforward.trainer")
    log.addHandler(watch)
    log.setLevel(logging.INFO)
    began, used = time.perf_counter(), time.process_time()
    result, _ = execute(_document(scratch, bars, recipe, changes), allow_file=True, now_ms=time.time_ns() // 1_000_000)
    watch.take("after it", time.perf_counter() - watch.since)
    return {
        "recipe": recipe,
        "verdict": str(result.verdict),
        "message": result.message,
        "seconds": round(time.perf_counter() - began, 1),
        "cpuSeconds": round(time.process_time() - used, 1),
        "leftOut": watch.left_out,
        "MiB": max(stage["MiB"] for stage in watch.stages.values()),
        "stages": watch.stages,
    }


class _Watch(logging.Handler):
    """Takes the largest resident size between two ends of a stage."""

    def __init__(self) -> None:
        super().__init__()
        self.stages: dict[str, dict[str, float]] = {}
        self.left_out = ""
        self.since = time.perf_counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Look at the end of a stage, and keep what is said of rows that are not used."""
        if record.levelno == logging.WARNING and "data.maxRows" in record.getMessage():
            self.left_out = record.getMessage()
        if "ms" in getattr(record, "fields", {}):
            self.take(getattr(record, "stage", ""), record.__dict__["fields"]["ms"] / 1_000)

    def take(self, name: str, seconds: float) -> None:
        """Keep what the process had at most since the last time, and begin anew."""
        self.stages[name] = {"seconds": round(seconds, 2), "MiB": _peak_mib()}
        self.since = time.perf_counter()
        # the kernel's own switch: the largest size so far is from here on that of now
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_mib() -> int:
    # getrusage would count the memory of whoever started this process
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return round(next(int(line.split()[1]) / 1_024 for line in status.splitlines() if line.startswith("VmHWM")))


def _document(scratch: Path, bars: int, recipe: str, changes: Mapping[str, Any] = NOTHING) -> RunDocument:
    """Return a manual run of ``recipe`` on the made bars, all of its metric gates skipped."""
    data = {"uri": (scratch / "bars").as_uri(), "symbols": ["MADE"], "timeframe": "1m", "windowBars": bars - 1_000}
    fields = {
        "recipe": recipe,
        "data": data | changes.get("data", {}),
        "overrides": changes.get("overrides", {}),
        "artifacts": {"uri": (scratch / recipe).as_uri()},
    }
    spec = msgspec.convert(fields, RetrainSpec)
    reason = "the made market holds no edge, the whole way to a bundle is measured"
    return RunDocument(
        run="memory-00000000",
        retrain=RetrainObject(namespace="bench", name="memory", uid="bench"),
        trigger=Trigger(id="bench", kind=TriggerKind.MANUAL),
        as_of=AS_OF,
        spec=spec,
        skip_gates=tuple(SkippedGate(name=name, reason=reason) for name in names(effective_gates(spec))),
    )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bars", type=int, default=50_000_000)
    parser.add_argument("--recipe", action="append", help=f"train this recipe (default: {' and '.join(RECIPES)})")
    parser.add_argument("--reading", action="store_true", help="end with the matrix of features")
    parser.add_argument("--folder", type=Path, help="where the files are written (default: the temporary folder)")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--changes", type=json.loads, default={}, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child and options.recipe:
        found = _run(options.child, options.bars, options.recipe[0], options.changes)
    elif options.child:
        found = _read(options.child, options.bars)
    elif options.reading:
        found = reading(options.bars, options.folder)
    else:
        found = measure(options.bars, options.folder, options.recipe or RECIPES)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
