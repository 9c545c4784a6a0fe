"""``make bench``: our figures beside the peers', in one run.

``python dev/bench/run.py`` measures server, trainer, operator and images, and prints them; the figures are kept below ``.work/bench``.
``run.py server trainer`` measures these parts alone; ``run.py --write`` measures nothing and writes the tables of docs/benchmarks.md from
what was kept. Exit status 1 if one of our own parts could not be measured; a peer that cannot be had is said so.
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
    "operator": operator,
    "images": images,
}


def measured(name: str, options: argparse.Namespace) -> bool:
    """Measure one part, keep and print it; return whether that succeeded."""
    print(f"=== {name}", flush=True)
    on, began = record.machine(), time.monotonic()
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
    made.add_argument("part", nargs="*", metavar="PART", help=f"measure only these of {', '.join(PARTS)}")
    made.add_argument("--write", action="store_true", help="measure nothing, write the tables of docs/benchmarks.md from what was kept")
    made.add_argument("--seconds", type=float, default=4.0, help="server: length of a run at 16 connections (default: %(default)s)")
    made.add_argument("--runs", type=int, default=3, help="trainer: runs of which the median counts (default: %(default)s)")
    made.add_argument("--objects", type=int, default=1000, help="operator: so many of each kind (default: %(default)s)")
    made.add_argument("--idle", type=float, default=60.0, help="operator: seconds of rest that are watched (default: %(default)s)")
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
    passed = [measured(name, options) for name in options.part or PARTS]
    print(page.bars(page.kept()))
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
