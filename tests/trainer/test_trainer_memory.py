"""Memory grows with the bars and with the rows that are used, a few bytes each: eight GiB are enough for fifty million bars."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "dev" / "bench"))
from walkforward_bench import memory

MIB = 2**20
BYTES_A_BAR = 110
"""48 of a bar itself stay; 50 million of 110 bytes are 5.1 GiB."""
BYTES_A_ROW = 1_400
"""Of four million rows, the most that are used, each takes less: the blocks in which graphs are asked no longer grow."""


def largest(bars: int, rows: int) -> int:
    """Return the MiB that a whole run on ``bars``, of which ``rows`` are used, takes at most."""
    (run,) = memory.measure(bars, recipes=["ohlcv"], overrides={"model": {"trees": 3}}, max_rows=rows)["runs"]
    assert run["verdict"] == "Published", run
    # parity looks at a hundred thousand rows at most, so of few rows it grows with them
    return max(int(stage["MiB"]) for name, stage in run["stages"].items() if name != "parity")


def test_a_bar_and_a_row_take_few_bytes_in_every_stage() -> None:
    least = largest(80_000, 15_000)
    assert (largest(2_000_000, 15_000) - least) * MIB / 1_920_000 < BYTES_A_BAR
    assert (largest(80_000, 80_000) - least) * MIB / 65_000 < BYTES_A_ROW
