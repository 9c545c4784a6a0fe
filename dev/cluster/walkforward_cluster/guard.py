"""Cleans up an API-only control plane when the process that started it is gone, however it went.

It holds the reading end of a pipe whose other end only that process has: the end of file is the sign.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from walkforward_cluster.procs import Daemons


def main(state: Path) -> None:
    """Wait for the end of the starter, then stop what its records name; after an orderly end there is nothing left to do."""
    sys.stdin.buffer.read()
    daemons = Daemons(state)
    for record in daemons.records():
        daemons.stop(record.name, kill=True)
    shutil.rmtree(state, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
