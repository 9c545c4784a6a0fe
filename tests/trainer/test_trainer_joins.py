"""Joined columns count from their publication on: what a period-join would see early, an as-of join must not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import DAY, market, write_bars, write_macro
from trainer_runs import run_document, spec

from walkforward_trainer.data.joins import as_of
from walkforward_trainer.data.sources import Access
from walkforward_trainer.errors import BadData, Reason
from walkforward_trainer.metrics.probability import auc
from walkforward_trainer.plan import make_plan
from walkforward_trainer.prepare import Prepared, prepare
from walkforward_trainer.rows import JoinedColumns
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from pathlib import Path

    from walkforward_core.features import Bars

BARS = market(5, 900, bar_ms=DAY).bars
START = int(BARS.time[50])


def table(path: Path, **columns: Any) -> Path:
    pl.DataFrame(columns).write_parquet(path)
    return path


def joined(folder: Path, *joins: dict[str, Any], bars: Bars = BARS, as_of_ms: int | None = None, **changes: Any) -> Prepared:
    path = write_bars(folder / "bars.csv", bars, bar_ms=DAY)
    found = spec(path, folder / "models", overrides={"target": {"kind": "Direction", "horizonBars": 1}, **changes})
    found["data"] |= {"timeframe": "1d", "windowBars": 700, "joins": list(joins), "symbols": ["X"], "quality": {"minRows": 200}}
    run = run_document(found, timestamp(int(bars.time[-1]) if as_of_ms is None else as_of_ms))
    return prepare(run, make_plan(run), Access(allow_file=True), now_ms=int(BARS.time[-1]))


def join(path: Path, *columns: str, **fields: Any) -> dict[str, Any]:
    return {"name": "macro", "uri": path.as_uri(), "columns": list(columns), "format": path.suffix[1:]} | fields


def test_values_are_those_published_last(tmp_path: Path) -> None:
    path = write_macro(tmp_path / "macro.csv", BARS, 3)
    found = joined(tmp_path, join(path, "vix", "yield10"))
    rows, known = found.rows, pl.read_csv(path)
    assert rows.names[-2:] == ("macro.vix", "macro.yield10")
    assert len(rows) == 700
    published, vix = known["published_at"].to_numpy(), known["vix"].to_numpy()
    for row in (0, 1, 300, 699):
        assert rows.x[row, -2] == np.float32(vix[published <= rows.t0[row]][-1])


@settings(max_examples=80)
@given(st.lists(st.integers(0, 60), unique=True, max_size=20), st.lists(st.integers(0, 60), max_size=20))
def test_the_as_of_join_is_that_of_polars(published: list[int], time: list[int]) -> None:
    published.sort()
    time.sort()
    values = np.arange(len(published), dtype=np.float64)
    found, age = as_of(np.array(published, np.int64), values, np.array(time, np.int64))
    left = pl.DataFrame({"time": pl.Series(time, dtype=pl.Int64)}).set_sorted("time")
    right = pl.DataFrame({"time": pl.Series(published, dtype=pl.Int64), "value": values, "at": pl.Series(published, dtype=pl.Int64)})
    oracle = left.join_asof(right.set_sorted("time"), on="time", strategy="backward")
    np.testing.assert_array_equal(found, oracle["value"].fill_null(float("nan")).to_numpy())
    np.testing.assert_array_equal(age, (oracle["time"] - oracle["at"]).fill_null(0).to_numpy())


class TestPlantedLookAhead:
    """A table that tells the direction of the day that it is about, published a day after that day."""

    def table(self, folder: Path, *, late_ms: int) -> Path:
        about = BARS.time[:-1]
        tells = np.sign(np.diff(BARS.close))
        return table(folder / "ahead.parquet", period=about, published_at=about + late_ms, tells=tells)

    def seen(self, found: Prepared) -> float:
        rows = found.rows
        return auc(rows.y[rows.known], rows.x[rows.known, -1].astype(np.float64))

    def test_by_its_period_it_would_tell_everything(self, tmp_path: Path) -> None:
        assert self.seen(joined(tmp_path, join(self.table(tmp_path, late_ms=DAY), "tells", published="period"))) > 0.99

    def test_by_its_publication_it_tells_nothing(self, tmp_path: Path) -> None:
        assert 0.43 < self.seen(joined(tmp_path, join(self.table(tmp_path, late_ms=DAY), "tells"))) < 0.57

    def test_a_millisecond_too_late_is_too_late(self, tmp_path: Path) -> None:
        assert self.seen(joined(tmp_path, join(self.table(tmp_path, late_ms=0), "tells"))) > 0.99
        assert 0.43 < self.seen(joined(tmp_path, join(self.table(tmp_path, late_ms=1), "tells"))) < 0.57


def test_a_revision_counts_from_its_own_publication_on(tmp_path: Path) -> None:
    first, second = int(BARS.time[300]), int(BARS.time[600])
    path = table(tmp_path / "r.parquet", period=[1, 1], published_at=[first, second], gdp=[2.0, 7.0])
    rows = joined(tmp_path, join(path, "gdp")).rows
    assert rows.t0[0] == first
    np.testing.assert_array_equal(rows.x[:, -1], np.where(rows.t0 < second, np.float32(2), np.float32(7)))


def test_what_is_published_after_as_of_is_not_read(tmp_path: Path) -> None:
    early, late = int(BARS.time[100]), int(BARS.time[850]) + 1
    path = table(tmp_path / "r.parquet", published_at=[early, late], gdp=[2.0, 7.0])
    assert set(joined(tmp_path, join(path, "gdp"), as_of_ms=int(BARS.time[850])).rows.x[:, -1].tolist()) == {2.0}


def test_rows_before_the_first_publication_are_left_out(tmp_path: Path) -> None:
    path = table(tmp_path / "r.parquet", published_at=[int(BARS.time[150]), int(BARS.time[400]) - 5], a=[1.0, None], b=[None, 4.0])
    found = joined(tmp_path, join(path, "a", "b"))
    assert found.rows.t0[0] == BARS.time[400]
    assert (found.facts.bars, found.facts.dropped) == (500, 200)
    assert np.isfinite(found.rows.x).all()


def test_symbols_have_their_own_values(tmp_path: Path) -> None:
    at = int(BARS.time[50])
    path = table(tmp_path / "f.parquet", published_at=[at, at], ticker=["Y", "X"], pe=[5.0, 9.0])
    assert set(joined(tmp_path, join(path, "pe", symbol="ticker")).rows.x[:, -1].tolist()) == {9.0}


@pytest.mark.parametrize(
    ("columns", "fields", "reason", "words"),
    [
        ({"published_at": [START], "v": [1.0]}, {"maxAge": "30d"}, Reason.STALE, r"macro\.maxAge: macro\.v at .* older than 30d"),
        ({"published_at": [int(BARS.time[-1]) + DAY], "v": [1.0]}, {}, Reason.NOT_PUBLISHED, "nothing was published before asOf"),
        ({"published_at": [START] * 2, "v": [1.0, 2.0]}, {}, Reason.DUPLICATE_ROWS, r"\(1 and 2\); keep the one of the newest"),
        ({"published_at": [START], "v": ["high"]}, {}, Reason.COLUMN_TYPE, "not a number"),
        (
            {"published_at": [START], "w": [1.0]},
            {},
            Reason.COLUMN_MISSING,
            "no column v among 'published_at', 'w'.*; correct its name in data.joins.macro, or add",
        ),
        (
            {"published_at": [START], "v": [1.0], "ticker": ["Y"]},
            {"symbol": "ticker"},
            Reason.NOT_PUBLISHED,
            "nothing about X was published",
        ),
        ({"published_at": ["2025-03-01"], "v": [1.0]}, {}, Reason.TIME_STAMPS, "2025-03-01 is a date; a value counts from an instant on"),
        (
            {"published_at": pl.Series(["2025-03-01"]).str.to_date(), "v": [1.0]},
            {},
            Reason.TIME_STAMPS,
            "2025-03-01 is a date; a value counts from an instant on",
        ),
    ],
)
def test_refusals(tmp_path: Path, columns: dict[str, Any], fields: dict[str, Any], reason: Reason, words: str) -> None:
    path = table(tmp_path / "t.parquet", **columns)
    with pytest.raises(BadData, match=words) as caught:
        joined(tmp_path, join(path, "v", **fields))
    assert caught.value.reason is reason


def test_the_live_model_may_read_other_columns_of_the_same_join(tmp_path: Path) -> None:
    path = write_macro(tmp_path / "macro.csv", BARS, 3)
    rows = joined(tmp_path, join(path, "vix", "yield10"), features=["ret_1", "macro.vix"]).rows
    assert rows.names == ("ret_1", "macro.vix")
    assert isinstance(rows.columns, JoinedColumns)
    assert rows.columns.missing(["macro.yield10", "ret_3"]) == ""
    assert "nothing.else" in rows.columns.missing(["nothing.else"])
    wider = rows.columns.matrix(["macro.yield10", "ret_1", "macro.vix"])
    np.testing.assert_array_equal(wider[:, 1:], rows.x)
    assert rows.warmup == 1
    plain = joined(tmp_path, features=["ret_1"]).rows
    assert plain.digest != rows.digest


def test_other_values_of_a_join_are_other_data(tmp_path: Path) -> None:
    first = joined(tmp_path, join(write_macro(tmp_path / "a.csv", BARS, 3), "vix")).rows
    again = joined(tmp_path, join(write_macro(tmp_path / "b.csv", BARS, 3), "vix")).rows
    other = joined(tmp_path, join(write_macro(tmp_path / "c.csv", BARS, 4), "vix")).rows
    assert first.digest == again.digest != other.digest
