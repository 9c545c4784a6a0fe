"""Prices that stand still because nobody trades, and prices that no market has made: both are refused, since a model learns them well."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trainer_runs import HOUR, NOW, eurusd, random_bars, run_document, spec

from walkforward_core.features import Bars
from walkforward_core.runs import RunVerdict
from walkforward_trainer.data.bars import RawBars
from walkforward_trainer.data.prices import bar_jumps, flat_bars
from walkforward_trainer.data.quality import QualityFacts, check_quality
from walkforward_trainer.errors import BadData, Reason
from walkforward_trainer.pipeline import execute
from walkforward_trainer.plan import make_plan
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from pathlib import Path

    from walkforward_core.runs import ResultDocument

GOOD = random_bars(1, 1_000)
PRICES = ("open", "high", "low", "close")


def changed(rows: slice, factor: float, *columns: str) -> Bars:
    """Return good bars in which ``columns`` are larger by ``factor`` in ``rows``."""
    scale = np.ones(len(GOOD))
    scale[rows] = factor
    return replace(GOOD, **{name: getattr(GOOD, name) * scale for name in columns})


def standing(first: int, end: int) -> Bars:
    """Return good bars that repeat the close before them from ``first`` on, until before ``end``."""
    row = np.arange(len(GOOD))
    still = (row >= first) & (row < end)
    return replace(GOOD, **{name: np.where(still, GOOD.close[first - 1], getattr(GOOD, name)) for name in PRICES})


def facts(bars: Bars, **quality: Any) -> QualityFacts:
    fields = spec("file:///bars.csv", "file:///models")
    fields["data"] |= {"windowBars": 800, "quality": quality}
    plan = make_plan(run_document(fields, timestamp(int(bars.time[-1]))))
    return check_quality(RawBars(bars=bars, files=1, later=0), plan).facts


def filled_in(path: Path) -> Path:
    """Write the real hourly bars with their weekends filled in, as many a vendor does."""
    bars = pl.read_csv(eurusd()).rename({"": "time"}).with_columns(pl.col("time").str.to_datetime())
    hours = pl.DataFrame({"time": pl.datetime_range(bars["time"].min(), bars["time"].max(), "1h", eager=True)})
    close = pl.col("Close").fill_null(strategy="forward")
    table = hours.join(bars, on="time", how="left").with_columns(close)
    rest = [pl.col(name).fill_null(pl.col("Close")) for name in ("Open", "High", "Low")]
    table.with_columns(*rest, pl.col("Volume").fill_null(0)).write_csv(path)
    return path


def run(data: Path, folder: Path, **quality: Any) -> ResultDocument:
    fields = spec(data, folder / "models", overrides={"target": {"kind": "Direction"}, "model": {"trees": 30}})
    fields["data"]["quality"] = quality
    return execute(run_document(fields), allow_file=True, now_ms=NOW)[0]


def test_weekends_that_were_filled_in_are_refused(tmp_path: Path) -> None:
    """Nobody knows the direction of these bars; with the weekends filled in a model does, and would be published."""
    assert run(eurusd(), tmp_path / "real").metrics["auc"] < 0.55
    filled = filled_in(tmp_path / "filled.csv")
    result = run(filled, tmp_path / "a")
    assert (result.verdict, result.reason) == (RunVerdict.FAILED, Reason.FLAT)
    assert "data.quality.maxFlat: 27.4% of the bars only repeat the one before, limit 10.0%, first at 2017-06-02T22" in result.message
    allowed = run(filled, tmp_path / "b", maxFlat=1)
    assert allowed.verdict is RunVerdict.PUBLISHED
    assert allowed.metrics["auc"] > 0.65


def test_a_bar_without_range_that_moves_is_not_flat() -> None:
    price = np.array([1.0, 1.0, 2.0, 2.0, 2.0])
    high = np.array([1.0, 1.0, 2.0, 2.0, 2.5])
    bars = Bars(np.arange(5) * HOUR, price, high, price, price, np.ones(5))
    assert flat_bars(bars).tolist() == [False, True, False, True, False]


def test_some_bars_may_stand_still() -> None:
    assert facts(GOOD).flat_share == 0.0
    # the warm-up of 100 and the window of 800
    assert facts(standing(500, 590)).flat_share == pytest.approx(90 / 900)
    with pytest.raises(BadData, match=r"maxFlat: 10\.1% of the bars"):
        facts(standing(500, 591))
    assert facts(standing(500, 591), maxFlat=0.2).flat_share == pytest.approx(91 / 900)


def test_a_feed_that_stands_still_is_as_good_as_none() -> None:
    still = standing(950, 1_000)
    assert facts(still).staleness_ms == 50 * HOUR
    with pytest.raises(
        BadData, match=r"maxStaleness: the newest bar with a new price closed at .*, 2d2h before asOf, limit 2d; .* repeat it"
    ):
        facts(still, maxStaleness="2d")


@pytest.mark.parametrize(
    ("bars", "words"),
    [
        (changed(slice(600, 601), 100.0, *PRICES), r"a factor of 10\d.*, and so in 2 places; correct the print"),
        (changed(slice(600, 601), 0.01, *PRICES), r"a factor of 10\d"),
        (changed(slice(600, 601), 3.0, "high"), r"a factor of 3\.\d* at .* \(open 1.*, high 3.*, and so in 1 places"),
        (changed(slice(600, 601), 0.5, "low"), r"a factor of 2"),
        (changed(slice(600, None), 0.5, *PRICES), r"a factor of (1\.9\d|2)\S* at .*, limit 1\.9, .* adjust earlier prices for the split"),
    ],
    ids=["print", "decimals", "high", "low", "split"],
)
def test_a_price_that_no_market_makes_is_refused(bars: Bars, words: str) -> None:
    with pytest.raises(BadData, match=rf"data\.quality\.maxJump: the price moves by {words}") as caught:
        facts(bars)
    assert caught.value.reason is Reason.JUMP
    assert facts(bars, maxJump=200).max_jump > 1.9


@given(st.lists(st.tuples(*[st.floats(0.01, 100.0)] * 4), min_size=1, max_size=20))
def test_a_jump_is_the_way_from_the_close_before_to_either_end(rows: list[tuple[float, float, float, float]]) -> None:
    table = np.array(rows)
    bars = Bars(np.arange(len(rows)) * HOUR, table[:, 0], table.max(axis=1), table.min(axis=1), table[:, 3], np.ones(len(rows)))
    expected = []
    for at, row in enumerate(rows):
        seen = [*row, rows[at - 1][3]] if at else list(row)
        expected.append(max(seen) / min(seen))
    np.testing.assert_allclose(bar_jumps(bars), expected)
    assert bars.high.tolist() == table.max(axis=1).tolist()
