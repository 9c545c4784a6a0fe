"""Errors that let a model see its answer, planted in the data of whole runs: the gate ``leakage`` stops what the AUC lets pass."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from made_runs import CASES, asked
from planted import HOUR, market, write_bars

from walkforward_core.runs import ResultDocument, RunVerdict
from walkforward_trainer.pipeline import execute

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    Vector = npt.NDArray[np.float64]

BARS = 1_200
HORIZON = 5


def ran(folder: Path, leak: Vector, delay: int = 0) -> ResultDocument:
    """Run on a market without an edge and a table of one value of ``leak`` a bar, published at its close and ``delay`` bars more."""
    bars = market(11, BARS).bars
    path = write_bars(folder / "bars.csv", bars)
    noise = np.random.default_rng(12).normal(0, 0.3 * np.nanstd(leak), BARS)
    known = np.flatnonzero(np.isfinite(leak))
    rows = [f"{at},{value}" for at, value in zip((bars.time + delay * HOUR)[known].tolist(), (leak + noise)[known].tolist(), strict=True)]
    table = folder / "table.csv"
    table.write_text("\n".join(["published_at,v", *rows]) + "\n", encoding="utf-8")
    join = {"name": "table", "uri": table.as_uri(), "format": "csv", "columns": ["v"], "published": "published_at"}
    case = CASES["ohlcv"]
    case = replace(case, data=case.data | {"windowBars": 1_000, "joins": [join]}, gates={"auc": {"min": 0.62}, "leakage": {}})
    as_of = int(bars.time[-1])
    result, _ = execute(asked(case, path.as_uri(), as_of, folder), allow_file=True, now_ms=as_of)
    return result


def ahead() -> Vector:
    """Return what the price does over the bars of the answer; unknown at the end."""
    close = np.log(market(11, BARS).bars.close)
    return np.concatenate((close[HORIZON:] - close[:-HORIZON], np.full(HORIZON, np.nan)))


def filled_tail() -> Vector:
    """Return the answer itself, as a back-filled column would bring it."""
    return ahead()


def joined_by_its_open() -> Vector:
    """Return the move of the four-hour bar that opens now, known four hours later."""
    close = np.log(market(11, BARS).bars.close)
    return np.concatenate((close[4:] - close[:-4], np.full(4, np.nan)))


def centred_window() -> Vector:
    """Return the mean of eleven closes around a bar, less its own."""
    close = np.log(market(11, BARS).bars.close)
    mean = np.convolve(close, np.ones(11) / 11, "valid")
    return np.concatenate((np.full(5, np.nan), mean, np.full(5, np.nan))) - close


def regime_of_the_outcome() -> Vector:
    """Return whether the coming bars will be a rise, a fall or neither: a regime that is named from what follows."""
    found = ahead()
    return np.where(np.isnan(found), np.nan, np.sign(np.where(np.abs(found) > np.nanstd(found) / 2, found, 0.0)))


@pytest.mark.parametrize("leak", [filled_tail, joined_by_its_open, centred_window, regime_of_the_outcome])
def test_a_planted_leak_passes_the_auc_and_is_stopped_by_the_leak_detector(tmp_path: Path, leak: object) -> None:
    assert callable(leak)
    result = ran(tmp_path, leak())
    assert result.verdict is RunVerdict.REJECTED, result.message
    assert result.failed == ("leakage.shiftDrop",)
    assert result.metrics["auc"] > 0.62
    assert not list((tmp_path / "models").glob("2*"))


def test_the_same_table_at_the_time_when_it_is_known_leaks_nothing(tmp_path: Path) -> None:
    result = ran(tmp_path, filled_tail(), delay=HORIZON)
    assert result.failed == ("auc",), "nothing can be known of this market, and nothing leaks"
    assert abs(result.metrics["leakage.shiftDrop"]) < 0.1
