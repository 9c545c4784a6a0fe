"""Ticks become bars that close when they say, and no bar that nobody saw whole; a first look reads next to nothing."""

from __future__ import annotations

import io
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import planted
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import MINUTE, market, write_ticks
from trainer_runs import HOUR, NOW, eurusd, run_document, spec

from walkforward_core.features import Bars
from walkforward_core.objectstore import FileStore
from walkforward_core.runs import ResultDocument, RunVerdict
from walkforward_trainer.data.instants import epoch_ms
from walkforward_trainer.data.parquet import NotParquet, read_footer
from walkforward_trainer.data.quality import check_quality
from walkforward_trainer.data.sources import Access
from walkforward_trainer.data.tick_sample import sample_ticks
from walkforward_trainer.data.ticks import Run, bars_of, read_ticks, whole_bars
from walkforward_trainer.errors import BadData, Reason
from walkforward_trainer.pipeline import execute
from walkforward_trainer.plan import Plan, make_plan
from walkforward_trainer.prepare import prepare
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from walkforward_trainer.data.bars import RawBars

FIVE = 5 * MINUTE
START = planted.START


def fields(uri: str, artifacts: Path, **data: Any) -> dict[str, Any]:
    found = spec("file:///x", artifacts, eligibility=data.pop("eligibility", {}))
    found["data"] |= {"uri": uri, "format": "parquet", "kind": "Ticks", "timeframe": "5m", "symbols": ["X"]} | data
    return found


def plan_of(uri: str, as_of_ms: int, **data: Any) -> Plan:
    from pathlib import Path

    return make_plan(run_document(fields(uri, Path("/models"), **data), timestamp(as_of_ms)))


def read(path: Path, as_of_ms: int, **data: Any) -> RawBars:
    return read_ticks(Access(allow_file=True), plan_of(path.as_uri(), as_of_ms, **data), now_ms=NOW)


def write(path: Path, time: Any, price: Any, **columns: Any) -> Path:
    pl.DataFrame({"time": time, "price": price} | columns).write_parquet(path)
    return path


class TestBars:
    """The rules of a bar, on ticks that one can count."""

    def test_a_bar_is_named_by_its_close_and_holds_what_was_traded_before_it(self) -> None:
        time = START + np.array([0, 1, FIVE - 1, FIVE, 2 * FIVE - 1, 3 * FIVE])
        bars = bars_of(time, np.array([2.0, 3, 1, 7, 8, 9]), np.array([1.0, 2, 3, 4, 5, 6]), FIVE)
        assert (bars.time - START).tolist() == [FIVE, 2 * FIVE, 4 * FIVE]
        assert bars.open.tolist() == [2, 7, 9]
        assert bars.high.tolist() == [3, 8, 9]
        assert bars.low.tolist() == [1, 7, 9]
        assert bars.close.tolist() == [1, 8, 9]
        assert bars.volume.tolist() == [6, 9, 6]

    def test_a_tick_on_the_boundary_is_of_the_later_bar(self) -> None:
        """Closed on the right, the bar would know the first price of its future."""
        bars = bars_of(np.array([START, START + FIVE]), np.array([1.0, 50.0]), np.ones(2), FIVE)
        assert bars.close.tolist() == [1.0, 50.0]
        assert bars.high[0] == 1.0

    def test_an_interval_without_ticks_is_a_gap(self) -> None:
        bars = bars_of(np.array([START, START + 10 * FIVE]), np.ones(2), np.ones(2), FIVE)
        assert np.diff(bars.time).tolist() == [10 * FIVE]

    @given(st.lists(st.tuples(st.integers(0, 3_000), st.floats(0.5, 2.0)), min_size=1, max_size=80), st.integers(0, 80))
    def test_bars_are_those_of_polars_however_the_ticks_are_cut_into_files(self, ticks: list[tuple[int, float]], cut: int) -> None:
        ticks.sort(key=lambda tick: tick[0])
        time = np.array([tick[0] for tick in ticks], np.int64)
        price = np.array([tick[1] for tick in ticks])
        parts = [part for part in (slice(0, cut), slice(cut, None)) if len(time[part])]
        runs = [
            Run(bars_of(time[part], price[part], np.ones(len(time[part])), 100), int(time[part][0]), int(time[part][-1]), len(time[part]))
            for part in parts
        ]
        bars = whole_bars(runs, 100)
        frame = pl.DataFrame({"time": pl.Series(time).cast(pl.Datetime("ms")), "price": price})
        oracle = frame.group_by_dynamic("time", every="100ms", closed="left", label="right").agg(
            pl.col("price").first().alias("open"),
            pl.col("price").max().alias("high"),
            pl.col("price").min().alias("low"),
            pl.col("price").last().alias("close"),
            pl.len().cast(pl.Float64).alias("volume"),
        )
        close = oracle.get_column("time").cast(pl.Int64).to_numpy()
        whole = close <= time[-1]
        whole[0] &= time[0] % 100 == 0
        assert bars.time.tolist() == close[whole].tolist()
        for name in ("open", "high", "low", "close", "volume"):
            assert getattr(bars, name).tolist() == oracle.get_column(name).to_numpy()[whole].tolist()

    def test_the_newest_bar_waits_for_a_tick_after_its_close(self) -> None:
        def close_of(*offsets: int) -> list[int]:
            time = START + np.array(offsets)
            runs = [Run(bars_of(time, np.ones(len(time)), np.ones(len(time)), FIVE), int(time[0]), int(time[-1]), len(time))]
            return [int(at) for at in whole_bars(runs, FIVE).time - START]

        assert close_of(0, FIVE, 2 * FIVE - 1) == [FIVE]
        assert close_of(0, FIVE, 2 * FIVE) == [FIVE, 2 * FIVE]
        # and the first one for its first tick
        assert close_of(1, FIVE, 2 * FIVE) == [2 * FIVE]


class TestReading:
    """From files to bars, relative to asOf."""

    def test_planted_bars_come_back(self, tmp_path: Path) -> None:
        made = market(3, 400, bar_ms=FIVE).bars
        raw = read(write_ticks(tmp_path / "t.parquet", made, bar_ms=FIVE), int(made.time[-1]))
        np.testing.assert_array_equal(raw.bars.time, made.time[:-1])
        for name in ("open", "high", "low", "close"):
            np.testing.assert_allclose(getattr(raw.bars, name), getattr(made, name)[:-1], rtol=1e-12)
        np.testing.assert_allclose(raw.bars.volume, made.volume[:-1])

    def test_real_bars_come_back_from_their_prices(self, tmp_path: Path) -> None:
        """Hourly EURUSD with its weekends: what was closed stays a gap."""
        real = pl.read_csv(eurusd(), try_parse_dates=True).head(1_500)
        opened = epoch_ms(real.to_series(0), "EURUSD", "Etc/UTC")
        close = opened + HOUR
        made = Bars(close, *(real.get_column(name).to_numpy() for name in ("Open", "High", "Low", "Close", "Volume")))
        raw = read(write_ticks(tmp_path / "t.parquet", made, bar_ms=HOUR), int(close[-1]), timeframe="1h", symbols=["EURUSD"])
        np.testing.assert_array_equal(raw.bars.time, close[:-1])
        for name in ("open", "high", "low", "close"):
            np.testing.assert_array_equal(getattr(raw.bars, name), getattr(made, name)[:-1])
        assert np.diff(raw.bars.time).max() > planted.DAY

    def test_later_ticks_change_nothing(self, tmp_path: Path) -> None:
        made = market(3, 400, bar_ms=FIVE).bars
        path = write_ticks(tmp_path / "t.parquet", made, bar_ms=FIVE)
        as_of = int(made.time[299]) + 1234
        before = read(path, as_of)
        table = pl.read_parquet(path)
        early = table.filter(pl.col("time") <= as_of)
        early.write_parquet(tmp_path / "early.parquet")
        assert [read(tmp_path / "early.parquet", as_of).bars.time[-1], before.bars.time[-1]] == [made.time[299], made.time[299]]
        np.testing.assert_array_equal(read(tmp_path / "early.parquet", as_of).bars.close, before.bars.close)
        assert before.later == table.height - early.height

    def test_a_bar_that_two_files_share_is_put_together(self, tmp_path: Path) -> None:
        time, price = START + np.array([0, 100, 200, FIVE + 1, 2 * FIVE]), np.array([1.0, 5, 2, 3, 4])
        (tmp_path / "d").mkdir()
        write(tmp_path / "d" / "b.parquet", time[2:], price[2:])
        write(tmp_path / "d" / "a.parquet", time[:2], price[:2])
        bars = read_ticks(Access(allow_file=True), plan_of((tmp_path / "d").as_uri(), START + 3 * FIVE), now_ms=NOW).bars
        assert (bars.open[0], bars.high[0], bars.close[0], bars.volume[0]) == (1.0, 5.0, 2.0, 3.0)

    @pytest.mark.parametrize(
        ("time", "price", "reason", "words"),
        [
            ([0, 9, 5, FIVE], [1.0] * 4, Reason.OUT_OF_ORDER, "1 ticks lie before the one that precedes them"),
            ([0, 5, FIVE], [1.0, -1.0, 1.0], Reason.IMPOSSIBLE_PRICES, "not above zero"),
            ([0, 5, FIVE], [1.0, None, None], Reason.MISSING_VALUES, "66.7% of 3 ticks have no price or no size, limit 0.5%"),
            ([0, 5, 7], [1.0, 1.0, 1.0], Reason.TOO_FEW_ROWS, "3 ticks from 2025-01-06T00:00:00Z to .* make no whole bar of 5m"),
        ],
    )
    def test_refusals(self, tmp_path: Path, time: list[int], price: list[float], reason: Reason, words: str) -> None:
        path = write(tmp_path / "t.parquet", [START + at for at in time], price)
        with pytest.raises(BadData, match=words) as caught:
            read(path, START + 10 * FIVE)
        assert caught.value.reason is reason

    @pytest.mark.parametrize("column", ["price", "size"])
    @pytest.mark.parametrize("missing", [None, float("nan")])
    def test_ticks_without_price_or_size_by_a_look_and_by_reading_all(self, tmp_path: Path, column: str, missing: float | None) -> None:
        """A size that misses is not a size of nothing: above the limit volumes would be too small, and nobody would know."""
        made = market(3, 400, bar_ms=FIVE).bars
        path = write_ticks(tmp_path / "t.parquet", made, bar_ms=FIVE)
        row, table = pl.int_range(pl.len()), pl.read_parquet(path)
        plan = plan_of(path.as_uri(), int(made.time[-1]))
        for every, refused in ((100, True), (400, False)):
            value = pl.when(row % every == 50).then(missing).otherwise(pl.col(column)).alias(column)
            table.with_columns(value).write_parquet(path)
            for look in (
                lambda: read_ticks(Access(allow_file=True), plan, now_ms=NOW),
                lambda: sample_ticks(Access(allow_file=True), plan, recent_ms=24 * HOUR, least=10_000),
            ):
                if not refused:
                    look()
                    continue
                with pytest.raises(BadData, match=r"1\.0% of 1600 ticks have no price or no size, limit 0\.5%") as caught:
                    look()
                assert caught.value.reason is Reason.MISSING_VALUES

    def test_ticks_that_two_files_hold_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "d").mkdir()
        for name in ("a", "b"):
            write(tmp_path / "d" / f"{name}.parquet", [START, START + FIVE, START + 2 * FIVE], [1.0, 2.0, 3.0])
        with pytest.raises(BadData, match="two files overlap") as caught:
            read_ticks(Access(allow_file=True), plan_of((tmp_path / "d").as_uri(), START + 10 * FIVE), now_ms=NOW)
        assert caught.value.reason is Reason.OUT_OF_ORDER

    def test_another_symbol_is_named(self, tmp_path: Path) -> None:
        path = write(tmp_path / "t.parquet", [START, START + FIVE], [1.0, 1.0], symbol=["BTCUSDT", "BTCUSDT"])
        with pytest.raises(BadData, match=r"no ticks of X before .* there are BTCUSDT") as caught:
            read(path, START + 10 * FIVE)
        assert caught.value.reason is Reason.SYMBOL_MISSING

    def test_too_few_candles_for_features_are_said_with_their_number(self, tmp_path: Path) -> None:
        made = market(3, 60, bar_ms=FIVE).bars
        path = write_ticks(tmp_path / "t.parquet", made, bar_ms=FIVE)
        plan = plan_of(path.as_uri(), int(made.time[-1]))
        with pytest.raises(BadData, match=r"59 bars were closed at asOf .* the warm-up alone takes 100") as caught:
            check_quality(read(path, int(made.time[-1])), plan)
        assert caught.value.reason is Reason.TOO_FEW_ROWS


class TestFooter:
    """What a Parquet file says of itself, read without a library for it."""

    @pytest.mark.parametrize("unit", ["ms", "us", "ns"])
    @pytest.mark.parametrize("zone", [None, "UTC"])
    def test_rows_times_and_places_are_those_of_the_file(self, tmp_path: Path, unit: Any, zone: str | None) -> None:
        time = pl.Series(np.arange(1_000) * 1_000 + START).cast(pl.Datetime("ms", zone)).dt.cast_time_unit(unit)
        path = tmp_path / "t.parquet"
        pl.DataFrame({"time": time, "price": np.arange(1_000.0), "symbol": ["é"] * 1_000}).write_parquet(path, row_group_size=300)
        store = FileStore()
        footer = read_footer(lambda start, length: store.get_range(path.as_uri(), start, length))
        assert footer.rows == 1_000
        assert sum(group.rows for group in footer.groups) == 1_000
        assert len(footer.groups) > 2
        scale = footer.ticks_per_second["time"]
        assert scale == {"ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
        assert footer.utc == ({"time"} if zone else set())
        for group in footer.groups:
            bounds = group.integers("time")
            assert bounds is not None
            assert bounds[0] * 1_000 // scale == START + group.row * 1_000
            assert bounds[1] * 1_000 // scale == START + (group.row + group.rows - 1) * 1_000
            prices = tuple(struct.unpack("<d", value)[0] for value in group.bounds["price"])
            assert prices == (group.row, group.row + group.rows - 1)

    @pytest.mark.parametrize("data", [b"", b"PAR1", b"not parquet at all PAR1", b"PAR1" + b"\xff" * 40 + b"\x20\0\0\0PAR1", b"x" * 70_000])
    def test_what_is_no_footer_is_refused(self, data: bytes) -> None:
        with pytest.raises(NotParquet):
            read_footer(_part_of(data))

    def test_a_cut_footer_is_refused(self, tmp_path: Path) -> None:
        path = write(tmp_path / "t.parquet", [START], [1.0])
        whole = path.read_bytes()
        size = int.from_bytes(whole[-8:-4], "little")
        for cut in range(0, size, 7):
            data = whole[: len(whole) - 8 - size] + whole[-8 - size : -8][:cut] + cut.to_bytes(4, "little") + b"PAR1"
            with pytest.raises(NotParquet):
                read_footer(_part_of(data))


_FOOTER = io.BytesIO()
pl.DataFrame({"time": [START, START + 1], "price": [1.0, 2.0], "symbol": ["a", "b"]}).write_parquet(_FOOTER)


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_footer_with_other_bytes_in_it_is_read_or_refused(changes: list[tuple[int, int]]) -> None:
    data = bytearray(_FOOTER.getvalue())
    size = int.from_bytes(data[-8:-4], "little")
    for at, value in changes:
        data[len(data) - 8 - size + at % size] = value
    with suppress(NotParquet):
        read_footer(_part_of(bytes(data)))


def _part_of(data: bytes) -> Callable[[int, int], bytes]:
    return lambda start, length: data[max(0, len(data) + start) :][:length]


class Counting(FileStore):
    """A store that counts the bytes that it hands out."""

    def __init__(self) -> None:
        self.read = 0

    def get(self, uri: str, *, limit: int | None = None) -> bytes:
        data = super().get(uri, limit=limit)
        self.read += len(data)
        return data

    def get_range(self, uri: str, start: int, length: int) -> bytes:
        data = super().get_range(uri, start, length)
        self.read += len(data)
        return data


@pytest.fixture(scope="module")
def ticks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Bars]:
    made = market(7, 12_000, bar_ms=FIVE).bars
    folder = tmp_path_factory.mktemp("ticks")
    path = folder / "small-groups.parquet"
    pl.read_parquet(write_ticks(folder / "t.parquet", made, bar_ms=FIVE)).write_parquet(path, row_group_size=1_000)
    return path, made


class TestLook:
    """A dry run on ticks: footers and a sample."""

    def dry(self, ticks: tuple[Path, Bars], tmp_path: Path, **data: Any) -> ResultDocument:
        path, made = ticks
        run = run_document(fields(path.as_uri(), tmp_path, windowBars=8_000, **data), timestamp(int(made.time[-1])), mode="DryRun")
        result, code = execute(run, allow_file=True, now_ms=NOW)
        assert code is None, result.message
        return result

    def test_it_agrees_with_a_run_that_reads_everything(self, ticks: tuple[Path, Bars], tmp_path: Path) -> None:
        result = self.dry(ticks, tmp_path, eligibility={"minAge": "14d", "minBars": 5_000, "regime": {}})
        assert result.verdict is RunVerdict.DRY_RUN
        # of the row groups that the window and its warm-up reach into
        assert result.metrics["ticks"] == pytest.approx(4 * 8_100, abs=1_100)
        assert result.metrics["bars"] == 8_000
        path, made = ticks
        run = run_document(fields(path.as_uri(), tmp_path, windowBars=8_000, eligibility={"regime": {}}), timestamp(int(made.time[-1])))
        plan = make_plan(run)
        whole = prepare(run, plan, Access(allow_file=True), now_ms=NOW)
        assert whole.unmet == ()
        assert len(whole.rows) == 8_000
        # the volatility of the made market is one process: the sample finds the tails where all bars have them
        assert result.metrics["calmShare"] == pytest.approx(0.2, abs=0.15)

    def test_it_says_what_is_missing(self, ticks: tuple[Path, Bars], tmp_path: Path) -> None:
        result = self.dry(ticks, tmp_path, eligibility={"minAge": "60d", "minBars": 50_000})
        assert result.verdict is RunVerdict.INELIGIBLE
        assert "eligibility.minBars: 8000 rows in the window, 50000 wanted" in result.message
        assert "eligibility.minAge: the window's rows span 28d" in result.message

    def test_how_many_ticks_are_looked_at_is_the_spec_s(self, ticks: tuple[Path, Bars], tmp_path: Path) -> None:
        few, many = (self.dry(ticks, tmp_path, eligibility={"tickSample": least}).metrics["sampledTicks"] for least in (1_000, 30_000))
        assert few < 30_000 <= many

    def test_it_reads_a_fraction_of_the_bytes(self, ticks: tuple[Path, Bars]) -> None:
        from walkforward_trainer.data.tick_sample import sample_ticks

        path, made = ticks
        store = Counting()
        seen = sample_ticks(
            Access(allow_file=True, stores={"file": store}),
            plan_of(path.as_uri(), int(made.time[-1]), windowBars=20_000),
            recent_ms=5 * planted.DAY,
            least=10_000,
        )
        assert seen is not None
        assert store.read < path.stat().st_size / 2
        assert 10_000 <= seen.sampled <= 24_000
        assert seen.bar_count == pytest.approx(12_000, rel=0.01)
        # every sampled bar is one of the bars that all ticks make
        at = np.searchsorted(made.time, seen.bars.time)
        np.testing.assert_array_equal(made.time[at], seen.bars.time)
        np.testing.assert_allclose(seen.bars.high, made.high[at], rtol=1e-12)

    def test_nothing_after_as_of_is_counted(self, ticks: tuple[Path, Bars]) -> None:
        from walkforward_trainer.data.tick_sample import sample_ticks

        path, made = ticks
        as_of = int(made.time[5_999])
        seen = sample_ticks(
            Access(allow_file=True), plan_of(path.as_uri(), as_of, windowBars=20_000), recent_ms=5 * planted.DAY, least=1_000
        )
        assert seen is not None
        assert seen.ticks == pytest.approx(24_000, abs=8)
        assert seen.last_ms <= as_of
        assert seen.bars.time[-1] <= as_of

    def test_a_damaged_file_is_named(self, ticks: tuple[Path, Bars], tmp_path: Path) -> None:
        path, made = ticks
        data = path.read_bytes()
        broken = tmp_path / "broken.parquet"
        size = int.from_bytes(data[-8:-4], "little") + 8
        broken.write_bytes(b"PAR1" + b"\xff" * (len(data) - size - 4) + data[-size:])
        run = run_document(fields(broken.as_uri(), tmp_path / "m"), timestamp(int(made.time[-1])), mode="DryRun")
        result, _ = execute(run, allow_file=True, now_ms=NOW)
        assert result.reason == Reason.DATA_UNREADABLE
        assert "broken.parquet: not readable as parquet" in result.message

    def test_ticks_that_have_stopped_are_refused_as_a_full_run_would(self, ticks: tuple[Path, Bars], tmp_path: Path) -> None:
        path, made = ticks
        run = run_document(fields(path.as_uri(), tmp_path), timestamp(int(made.time[-1]) + 20 * planted.DAY), mode="DryRun")
        result, _ = execute(run, allow_file=True, now_ms=NOW)
        assert result.reason == Reason.STALE
        assert "the newest tick is of" in result.message
