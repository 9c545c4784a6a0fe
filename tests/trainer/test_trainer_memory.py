"""Memory grows with the bars and with the rows that are used, a few bytes each: eight GiB are enough for fifty million bars."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[2] / "dev" / "bench"))
from walkforward_bench import memory

MIB = 2**20
BYTES_A_BAR = 100
"""48 of a bar itself stay; 50 million of 100 bytes are 4.7 GiB."""
BYTES_A_ROW = 1_400
"""Of four million rows, the most that are used, each takes less: the blocks in which graphs are asked no longer grow."""


@pytest.fixture(scope="module")
def grow() -> Any:
    """Return by how many bytes a unit the largest size of a whole run grows between two sizes."""

    def between(few: dict[str, int], many: dict[str, int], unit: str) -> float:
        sizes = []
        for asked in (few, many):
            found = memory.measure(asked["bars"], recipes=["ohlcv"], overrides={"model": {"trees": 3}}, max_rows=asked["rows"])
            (run,) = found["runs"]
            assert run["verdict"] == "Published", run
            # parity looks at a hundred thousand rows at most, so of few rows it grows with them
            sizes.append(max(stage["MiB"] for name, stage in run["stages"].items() if name != "parity"))
        return (sizes[1] - sizes[0]) * MIB / (many[unit] - few[unit])

    return between


def test_a_bar_that_is_no_row_takes_few_bytes(grow: Any) -> None:
    assert grow({"bars": 1_000_000, "rows": 10_000}, {"bars": 3_000_000, "rows": 10_000}, "bars") < BYTES_A_BAR


def test_a_row_takes_few_bytes_in_every_stage(grow: Any) -> None:
    assert grow({"bars": 40_000, "rows": 40_000}, {"bars": 100_000, "rows": 100_000}, "rows") < BYTES_A_ROW
