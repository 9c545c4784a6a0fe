"""What nobody could know is not published, what is there is: whole runs under the recipes' own gates.

Two hundred seeds a recipe are measured by dev/bench (docs/reference/statistics.md); these are few enough for every test run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from made_runs import CASES, once

from walkforward_core.runs import RunVerdict

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("recipe", "seeds"), [("risk-filter", 12), ("ohlcv-direction", 3), ("drift-robust", 1)])
def test_a_market_without_an_edge_is_rejected(tmp_path: Path, recipe: str, seeds: int) -> None:
    for seed in range(seeds):
        folder = tmp_path / str(seed)
        folder.mkdir()
        verdict, failed = once(recipe, seed, 0.0, folder)
        assert verdict == RunVerdict.REJECTED, f"seed {seed}: {failed}"
        assert not list((folder / "models").glob("2*"))


@pytest.mark.parametrize("recipe", ["risk-filter", "ohlcv-direction"])
def test_a_planted_edge_is_found(tmp_path: Path, recipe: str) -> None:
    verdict, message = once(recipe, 0, CASES[recipe].edge, tmp_path)
    assert verdict == RunVerdict.PUBLISHED, message
