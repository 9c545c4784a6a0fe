"""``make bench``: our figures beside the peers', in one run.

``python dev/bench/run.py`` measures all parts but the longest two, and prints them; the figures are kept below ``.work/bench``.
``run.py server trainer`` measures these parts alone, ``run.py memory`` and ``run.py edge`` the longest; ``run.py --write`` measures nothing
and writes the tables of docs/benchmarks.md from what was kept. Exit status 1 if one of our own parts
could not be measured; a peer that cannot be had is said so.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tests" / "support")]

from walkforward_bench import page, record  # noqa: E402 - after the path was set

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PAGE: Final = record.ROOT / "docs" / "benchmarks.md"


def server(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the server and its peers."""
    from walkforward_bench import serving  # noqa: PLC0415 - each part imports what it needs

    return serving.measure(options.seconds)


def trainer(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the demo's retrain and its peer."""
    from walkforward_bench import training  # noqa: PLC0415 - each part imports what it needs

    return training.measure(options.runs)


def recipes(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the recipes at the size of ninety days of five-minute bars, and their peers."""
    from walkforward_bench import recipes  # noqa: PLC0415 - each part imports what it needs

    return recipes.measure(options.runs)


def features(options: argparse.Namespace) -> dict[str, Any]:
    """Measure features beside TA-Lib, and how reading, checking and features grow with the bars."""
    from walkforward_bench import features, memory  # noqa: PLC0415 - each part imports what it needs

    figures = features.measure(options.runs)
    return {**figures, "reading": [memory.reading(bars) for bars in features.CURVE]}


def ticks(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the first look at ten million ticks."""
    from walkforward_bench import ticks  # noqa: PLC0415 - each part imports what it needs

    return ticks.measure(options.runs)


def memory(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the memory of whole runs on fifty million bars."""
    from walkforward_bench import memory  # noqa: PLC0415 - each part imports what it needs

    return memory.measure(options.bars)


def edge(options: argparse.Namespace) -> dict[str, Any]:
    """Count what the gates publish of markets without and with an edge."""
    from made_runs import CASES  # noqa: PLC0415 - each part imports what it needs
    from walkforward_bench import no_edge  # noqa: PLC0415 - the same

    return {"recipes": [no_edge.measure(name, options.seeds, options.planted) for name in CASES]}


def operator(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the operator at rest and after changes."""
    from walkforward_bench import resting  # noqa: PLC0415 - each part imports what it needs

    return resting.measure(options.objects, options.idle)


def images(_: argparse.Namespace) -> dict[str, Any]:
    """Weigh the images that are there."""
    from walkforward_bench import sizes  # noqa: PLC0415 - each part imports what it needs

    return sizes.measure()


PARTS: Final[Mapping[str, Callable[[argparse.Namespace], dict[str, Any]]]] = {
    "server": server,
    "trainer": trainer,
    "recipes": recipes,
    "features": features,
    "ticks": ticks,
    "operator": operator,
    "images": images,
    "memory": memory,
    "edge": edge,
}
LONG: Final = ("memory", "edge")
"""Parts that are measured only when they are named."""


def measured(name: str, options: argparse.Namespace) -> bool:
    """Measure one part, keep and print it; return whether that succeeded."""
    on, began = record.machine(), time.monotonic()
    print(f"=== {name}: {PARTS[name].__doc__ or ''}", flush=True)
    if on["load"] > on["cpus"]:
        print(f"a busy machine: load average {on['load']} on {on['cpus']} CPUs; times are those of the queue for one", flush=True)
    try:
        figures = PARTS[name](options)
    except (Exception, SystemExit):  # noqa: BLE001 - the other parts are still measured
        traceback.print_exc()
        print(f"=== {name}: NOT measured after {time.monotonic() - began:.0f} s", flush=True)
        return False
    record.write(name, figures, on=on)
    print(page.table(name, figures))
    print(f"=== {name}: {time.monotonic() - began:.0f} s\n", flush=True)
    return True


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(prog="run.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument(
        "part", nargs="*", metavar="PART", help=f"measure only these of {', '.join(PARTS)}; {' and '.join(LONG)} only when named"
    )
    made.add_argument("--write", action="store_true", help="measure nothing, write the tables of docs/benchmarks.md from what was kept")
    made.add_argument("--seconds", type=float, default=4.0, help="server: length of a run at 16 connections (default: %(default)s)")
    made.add_argument(
        "--runs", type=int, default=3, help="trainer, recipes, features, ticks: runs of which the median counts (default: %(default)s)"
    )
    made.add_argument("--objects", type=int, default=1000, help="operator: so many of each kind (default: %(default)s)")
    made.add_argument("--idle", type=float, default=60.0, help="operator: seconds of rest that are watched (default: %(default)s)")
    made.add_argument("--bars", type=int, default=50_000_000, help="memory: bars that are trained on (default: %(default)s)")
    made.add_argument("--seeds", type=int, help="edge: markets without an edge (default: 300, risk-filter 3,000)")
    made.add_argument("--planted", type=int, default=50, help="edge: markets with one (default: %(default)s)")
    return made


def main() -> int:
    """Measure or write; return the exit status."""
    options = parser().parse_args()
    strangers = sorted(set(options.part) - set(PARTS))
    if strangers:
        parser().error(f"no part {', '.join(strangers)}; there are {', '.join(PARTS)}")
    if options.write:
        PAGE.write_text(page.filled(PAGE.read_text(), page.kept()))
        print(f"written: {PAGE.relative_to(record.ROOT)}")
        return 0
    parts = options.part or [part for part in PARTS if part not in LONG]
    print(
        f"{', '.join(parts)}: {PAGE.relative_to(record.ROOT)} says how each is measured; figures are kept below .work/bench\n", flush=True
    )
    failed = [name for name in parts if not measured(name, options)]
    print(f"What we hold ourselves to, and the newest figures that this checkout has:\n\n{page.bars(page.kept())}")
    if failed:
        print(f"\nNOT measured: {', '.join(failed)}; the reason is above, below '=== {failed[0]}'")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
