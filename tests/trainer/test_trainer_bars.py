"""Reading bars: formats, time stamps, symbols, the cut at asOf; what is refused and in which words."""

from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl
import pytest
from trainer_runs import HOUR, NOW, eurusd, run_document, spec

from walkforward_core.api.data import DataFormat
from walkforward_trainer.data.bars import RawBars, read_bars
from walkforward_trainer.data.sources import Access, Source, Span
from walkforward_trainer.data.tables import Column, Kind
from walkforward_trainer.data.tables import read as table
from walkforward_trainer.errors import BadConfiguration, BadData, Reason, RunError
from walkforward_trainer.plan import make_plan
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

AS_OF = "2024-01-02T00:00:00Z"
START = 1_704_067_200_000  # 2024-01-01T00:00:00Z


def frame(count: int = 30) -> pl.DataFrame:
    close = [1.0 + i / 100 for i in range(count)]
    return pl.DataFrame(
        {
            "time": pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 1, 1) + pl.duration(hours=count - 1), "1h", eager=True),
            "open": close,
            "high": [c + 0.001 for c in close],
            "low": [c - 0.001 for c in close],
            "close": close,
            "volume": list(range(count)),
        }
    )


def read(uri: Path | str, **data: Any) -> RawBars:
    fields = spec(uri, "file:///models")
    fields["data"] |= data
    return read_bars(Access(allow_file=True), make_plan(run_document(fields, AS_OF)), now_ms=NOW)


def write(table: pl.DataFrame, path: Path) -> Path:
    suffix = path.name.partition(".")[2]
    if suffix == "csv.gz":
        path.write_bytes(gzip.compress(table.write_csv().encode()))
    elif suffix == "csv":
        table.write_csv(path)
    elif suffix == "parquet":
        table.write_parquet(path)
    elif suffix == "feather":
        table.write_ipc(path)
    else:
        table.write_ndjson(path)
    return path


@pytest.mark.parametrize(
    ("name", "kind"), [("b.csv", "csv"), ("b.csv.gz", "csv"), ("b.parquet", "parquet"), ("b.feather", "feather"), ("b.jsonl", "jsonl")]
)
def test_every_format_gives_the_same_bars(tmp_path: Path, name: str, kind: str) -> None:
    raw = read(write(frame(), tmp_path / name), format=kind)
    assert raw.bars.time.dtype == np.int64
    np.testing.assert_array_equal(raw.bars.time, START + HOUR * np.arange(1, 25))
    np.testing.assert_allclose(raw.bars.close, 1 + np.arange(24) / 100)
    assert raw.bars.volume.dtype == np.float64
    assert (raw.files, raw.later) == (1, 6)


def test_the_bar_that_is_still_open_at_as_of_is_left_out(tmp_path: Path) -> None:
    path = write(frame(24), tmp_path / "b.csv")
    assert len(read(path).bars) == 24
    fields = spec(path, "file:///models")
    late = read_bars(Access(allow_file=True), make_plan(run_document(fields, "2024-01-01T23:59:59Z")), now_ms=NOW)
    assert (len(late.bars), late.later) == (23, 1)


def test_stamps_at_the_close_are_taken_as_the_close(tmp_path: Path) -> None:
    raw = read(write(frame(), tmp_path / "b.csv"), barTime="close")
    assert raw.bars.time[0] == START
    assert len(raw.bars) == 25


@pytest.mark.parametrize("unit", [1_000, 1, 0.001, 0.000_001])
def test_numbers_since_1970_in_any_unit(tmp_path: Path, unit: float) -> None:
    stamps = [round((START + HOUR * i) / unit) for i in range(30)]
    raw = read(write(frame().with_columns(pl.Series("time", stamps)), tmp_path / "b.csv"))
    assert raw.bars.time[0] == START + HOUR


def test_milliseconds_near_1970_are_not_taken_for_seconds(tmp_path: Path) -> None:
    folder = tmp_path / "bars"
    folder.mkdir()
    old = frame().with_columns(pl.Series("time", [86_400_000 * (i - 15) for i in range(30)]))
    new = frame().with_columns(pl.Series("time", [START + 86_400_000 * (i - 30) for i in range(30)]))
    write(new, folder / "a.csv")
    write(old, folder / "b.csv")
    with pytest.raises(
        BadData, match=r"b\.csv: .*up to 1296000000, seconds since 1970 by their size, but milliseconds in .*a\.csv"
    ) as caught:
        read(folder, timeframe="1d")
    assert caught.value.reason is Reason.TIME_STAMPS
    ancient = frame().with_columns(pl.Series("time", [-8_640_000_000 + i for i in range(30)]))
    with pytest.raises(BadData, match=r"a time stamp is 1696-.*, if numbers up to 8640000000 are seconds since 1970; check the unit"):
        read(write(ancient, tmp_path / "c.csv"))


def test_rows_without_a_time_are_left_out_where_that_is_said(tmp_path: Path) -> None:
    path = write(frame(4).with_columns(pl.Series("time", [None, "2024-01-01T01:00:00Z", None, "2024-01-01T03:00:00Z"])), tmp_path / "b.csv")
    source = Source("data", path.as_uri(), DataFormat.CSV)
    columns = (Column("time", Kind.TIME, blank=True), Column("close"))
    (part,) = table(Access(allow_file=True), source, columns, Span(START + 9 * HOUR))
    assert part.frame.rows() == [(START + HOUR, 1.01), (START + 3 * HOUR, 1.03)]
    assert (part.rows, part.later, part.first_ms, part.last_ms) == (4, 0, START + HOUR, START + 3 * HOUR)
    (part,) = table(Access(allow_file=True), source, columns, Span(START))
    assert (part.frame.height, part.later) == (0, 2)


@pytest.mark.parametrize(
    ("text", "zone", "expected_hours"),
    [
        ("%Y-%m-%dT%H:%M:%SZ", "America/New_York", 1),
        ("%Y-%m-%d %H:%M:%S+02:00", "Etc/UTC", -1),
        ("%Y-%m-%d %H:%M", "America/New_York", 6),
        ("%Y-%m-%d %H:%M:%S%.3f", "Etc/UTC", 1),
    ],
)
def test_text_with_and_without_offset(tmp_path: Path, text: str, zone: str, expected_hours: int) -> None:
    table = frame(20).with_columns(pl.col("time").dt.strftime(text))
    raw = read(write(table, tmp_path / "b.jsonl"), format="jsonl", timeZone=zone)
    assert (raw.bars.time[0] - START) / HOUR == expected_hours


def test_daily_dates(tmp_path: Path) -> None:
    table = frame(3).with_columns(pl.Series("time", ["2023-12-29", "2023-12-30", "2023-12-31"]))
    raw = read(write(table, tmp_path / "b.csv"), timeframe="1d")
    assert raw.bars.time[-1] == START


def test_columns_in_any_case_and_an_unnamed_index() -> None:
    assert eurusd().read_text(encoding="utf-8").startswith(",Open,High,Low,Close,Volume")
    fields = spec(eurusd(), "file:///models")
    raw = read_bars(Access(allow_file=True), make_plan(run_document(fields)), now_ms=NOW)
    assert (len(raw.bars), raw.later) == (2200, 2800)


def test_files_below_a_prefix_are_joined_by_time_not_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "bars"
    folder.mkdir()
    write(frame()[12:], folder / "a.csv")
    write(frame()[:12], folder / "b.csv")
    (folder / "README.txt").write_text("not bars", encoding="utf-8")
    for uri in (folder, folder.as_uri() + "/"):
        raw = read(uri)
        np.testing.assert_array_equal(raw.bars.time, START + HOUR * np.arange(1, 25))
        assert raw.files == 2


def test_only_the_symbol_that_was_asked_for(tmp_path: Path) -> None:
    both = pl.concat([frame(10).with_columns(symbol=pl.lit("EURUSD")), frame(10).with_columns(symbol=pl.lit("GBPUSD"), close=pl.lit(2.0))])
    assert read(write(both, tmp_path / "b.csv")).bars.close.max() < 2
    with pytest.raises(BadData, match="no rows of symbol 'USDJPY', there are EURUSD, GBPUSD") as caught:
        read(tmp_path / "b.csv", symbols=["USDJPY"])
    assert caught.value.reason is Reason.SYMBOL_MISSING


def bad(table: pl.DataFrame, **columns: Any) -> pl.DataFrame:
    return table.with_columns(**columns)


@pytest.mark.parametrize(
    ("table", "reason", "words"),
    [
        (frame().drop("close"), Reason.COLUMN_MISSING, "no column close among 'time', 'open'"),
        (frame().rename({"time": "when"}), Reason.COLUMN_MISSING, "no column time among"),
        (bad(frame(), close=pl.lit("1,08")), Reason.COLUMN_TYPE, "'close' is String, not a number .first value '1,08'."),
        (
            bad(frame(), time=pl.lit("31.01.2024 12:00")),
            Reason.TIME_STAMPS,
            "30 time stamps are not ISO 8601, the first is '31.01.2024 12:00'",
        ),
        (bad(frame(), time=pl.lit("2024-13-01 00:00:00")), Reason.TIME_STAMPS, "not unambiguous ISO 8601"),
        (bad(frame(), time=pl.lit(None)), Reason.TIME_STAMPS, "30 rows have no time stamp"),
        (frame().clear(), Reason.EMPTY_WINDOW, "no rows"),
        (bad(frame(), time=pl.col("time") + pl.duration(days=400)), Reason.EMPTY_WINDOW, "no bar was closed at asOf"),
        (
            bad(frame(), time=pl.col("time") + pl.duration(days=3650)),
            Reason.FUTURE_BARS,
            "bars lie in the future, the last closes at 20",
        ),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path: Path, table: pl.DataFrame, reason: Reason, words: str) -> None:
    with pytest.raises(BadData, match=words) as caught:
        read(write(table, tmp_path / "b.csv"))
    assert caught.value.reason is reason


def test_of_two_columns_the_one_that_is_written_as_here_is_taken(tmp_path: Path) -> None:
    """A file with ``Close`` adjusted and ``close`` not is usual."""
    table = frame().with_columns((pl.col("close") * 2).alias("CLOSE"), (pl.col("close") * 3).alias("Close"))
    for order in (table.columns, table.columns[::-1]):
        raw = read(write(table.select(order), tmp_path / "b.parquet"), format="parquet")
        np.testing.assert_array_equal(raw.bars.close, read(write(frame(), tmp_path / "a.csv")).bars.close)
    with pytest.raises(BadData, match="'CLOSE' and 'Close' are both called close; rename one") as caught:
        read(write(table.drop("close"), tmp_path / "c.parquet"), format="parquet")
    assert caught.value.reason is Reason.COLUMN_TWICE
    mapped = read(write(table.drop("close"), tmp_path / "c.parquet"), format="parquet", columns={"close": "Close"})
    np.testing.assert_allclose(mapped.bars.close, raw.bars.close * 3)


def test_a_folder_of_a_symbol_stands_for_the_column(tmp_path: Path) -> None:
    """As pyarrow and Spark write partitions: what is in the path is left out of the file."""
    for index, symbol in enumerate(("EURUSD", "BTC%2FUSDT")):
        folder = tmp_path / "bars" / f"symbol={symbol}" / "date=2024-01-01"
        folder.mkdir(parents=True)
        write(frame(24).with_columns(volume=pl.lit(float(index))), folder / "a.parquet")
    for index, symbol in enumerate(("EURUSD", "BTC/USDT")):
        raw = read(tmp_path / "bars", format="parquet", symbols=[symbol])
        assert (set(raw.bars.volume.tolist()), len(raw.bars)) == ({float(index)}, 24)
        assert len(read(tmp_path / "bars", format="parquet", symbols=[symbol, "ETHUSDT"]).bars) == 24
    one = tmp_path / "bars" / "symbol=EURUSD"
    with pytest.raises(BadData, match="no rows of symbol 'GBPUSD', there are EURUSD") as caught:
        read(one, format="parquet", symbols=["GBPUSD"])
    assert caught.value.reason is Reason.SYMBOL_MISSING
    write(frame(24).with_columns(ticker=pl.lit("GBPUSD")), one / "date=2024-01-01" / "a.parquet")
    assert len(read(one, format="parquet", symbols=["GBPUSD"], columns={"symbol": "ticker"}).bars) == 24, "what is mapped counts"


LINES: Final = frame().write_ndjson().encode()


@pytest.mark.parametrize(("cut", "bars"), [(0, 24), (1, 24), (2, 23), (60, 23)])
def test_a_last_line_that_is_being_written_is_not_there_yet(tmp_path: Path, cut: int, bars: int) -> None:
    text = frame(24).write_ndjson().encode()
    path = tmp_path / "b.jsonl"
    path.write_bytes(text[: len(text) - cut])
    assert len(read(path, format="jsonl").bars) == bars


def arrow_stream() -> bytes:
    out = io.BytesIO()
    frame().write_ipc_stream(out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (frame().write_csv(separator=";").encode(), "csv", "not readable as csv: its fields are separated by ';'; write commas"),
        (frame().write_csv(separator="\t").encode(), "csv", r"its fields are separated by '\\t'; write commas"),
        (frame().write_csv().encode("utf-16"), "csv", "the text is UTF-16; write UTF-8"),
        (frame().write_csv().replace("volume", "close").encode(), "csv", "its header has the column 'close' more than once; keep one"),
        (LINES.replace(b'"open":1.1', b'"open":oops', 1), "jsonl", r"not readable as jsonl: line 11: JSON is malformed: .*\(byte \d+\)"),
        (b"[" + LINES.strip().replace(b"}\n{", b"},{") + b"]", "jsonl", "line 1: it is no JSON object"),
        (LINES + b"null\n", "jsonl", "line 31: it is no JSON object"),
        (arrow_stream(), "feather", "not readable as feather: it is a stream of Arrow, which has no index; write an Arrow file"),
    ],
)
def test_a_file_that_is_nearly_of_the_format_says_what_it_is(tmp_path: Path, content: bytes, kind: str, words: str) -> None:
    (tmp_path / "b.bin").write_bytes(content)
    with pytest.raises(BadData, match=words) as caught:
        read(tmp_path / "b.bin", format=kind)
    assert caught.value.reason is Reason.DATA_UNREADABLE


def test_numbers_in_an_absurd_unit_are_bars_from_the_future(tmp_path: Path) -> None:
    stamps = [(START + HOUR * i) * 3 for i in range(30)]
    with pytest.raises(BadData, match="check the unit") as caught:
        read(write(frame().with_columns(pl.Series("time", stamps)), tmp_path / "b.csv"))
    assert caught.value.reason is Reason.FUTURE_BARS


def test_mixed_offsets_are_refused(tmp_path: Path) -> None:
    stamps = ["2024-01-01T00:00:00Z", *(f"2024-01-01T{hour:02d}:00:00" for hour in range(1, 24))]
    with pytest.raises(BadData, match="23 of 24 time stamps have no offset"):
        read(write(frame(24).with_columns(pl.Series("time", stamps)), tmp_path / "b.csv"))


def test_an_hour_that_the_zone_does_not_have_is_refused(tmp_path: Path) -> None:
    table = frame(5).with_columns(time=pl.datetime_range(pl.datetime(2023, 3, 26), pl.datetime(2023, 3, 26, 4), "1h", eager=True))
    with pytest.raises(BadData, match="non-existent in time zone 'Europe/London'; deliver them in UTC") as caught:
        read(write(table, tmp_path / "b.parquet"), format="parquet", timeZone="Europe/London")
    assert caught.value.reason is Reason.TIME_STAMPS


def test_a_zone_that_does_not_exist_is_the_spec_s_fault(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match=r"data\.timeZone 'Mars/Olympus'"):
        read(write(frame(), tmp_path / "b.csv"), timeZone="Mars/Olympus")


@pytest.mark.parametrize("kind", ["csv", "parquet", "feather", "jsonl"])
@pytest.mark.parametrize("content", [b"", b"\x00\x01garbage\xff", b'{"time": '])
def test_a_broken_file_is_refused_whatever_it_holds(tmp_path: Path, kind: str, content: bytes) -> None:
    path = tmp_path / "b.bin"
    path.write_bytes(content)
    with pytest.raises(RunError) as caught:
        read(path, format=kind)
    assert caught.value.reason in {Reason.DATA_UNREADABLE, Reason.COLUMN_MISSING}
    assert "b.bin" in str(caught.value)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"neither a file nor a prefix with \.parquet or \.pq files") as caught:
        read(tmp_path / "nowhere", format="parquet")
    assert caught.value.reason is Reason.DATA_NOT_FOUND


class TestColumns:
    """Names that differ, and what is said when one is wrong."""

    def test_names_are_mapped(self, tmp_path: Path) -> None:
        table = frame().rename({"time": "kline_open", "volume": "Qty", "close": "Last "})
        raw = read(
            write(table, tmp_path / "b.parquet"), format="parquet", columns={"time": "kline_open", "volume": "qty", "close": "Last "}
        )
        np.testing.assert_allclose(raw.bars.close, 1 + np.arange(24) / 100)
        assert raw.bars.volume[3] == 3.0

    def test_a_mapping_goes_before_a_column_of_our_own_name(self, tmp_path: Path) -> None:
        table = frame().with_columns(adjusted=pl.col("close") * 2)
        raw = read(write(table, tmp_path / "b.csv"), columns={"close": "adjusted"})
        assert raw.bars.close[0] == 2.0

    @pytest.mark.parametrize(
        ("table", "columns", "words"),
        [
            (
                frame().rename({"close": "clse"}),
                {},
                r"no column close among 'time', 'open', .*; the nearest is 'clse'; write data\.columns: \{close: clse\}, or rename",
            ),
            (frame(), {"close": "last"}, r"no column last \(close\) among 'time', 'open'.*; write data\.columns: \{close: "),
            (frame().rename({"volume": "tick_volume"}), {}, r"no column volume .*; the nearest is 'tick_volume'"),
            (
                frame().select("time"),
                {},
                r"no column open, high, low, close, volume among 'time'; write data\.columns: \{open: its name there\}",
            ),
        ],
    )
    def test_missing_columns_name_the_nearest(self, tmp_path: Path, table: pl.DataFrame, columns: dict[str, str], words: str) -> None:
        with pytest.raises(BadData, match=words) as caught:
            read(write(table, tmp_path / "b.csv"), columns=columns)
        assert caught.value.reason is Reason.COLUMN_MISSING
        assert "b.csv" in str(caught.value)

    def test_a_mapping_that_nobody_reads(self, tmp_path: Path) -> None:
        with pytest.raises(
            BadConfiguration, match=r"data\.columns: 'clse' is no column that is read here; did you mean 'close'\?"
        ) as caught:
            read(write(frame(), tmp_path / "b.csv"), columns={"clse": "close"})
        assert caught.value.reason is Reason.SPEC_INVALID

    def test_the_first_value_that_is_no_number_is_shown_with_its_time(self, tmp_path: Path) -> None:
        table = frame().with_columns(pl.Series("volume", [str(i) if i != 7 else "n/a" for i in range(30)]))
        with pytest.raises(BadData, match=r"column 'volume' is String, not a number \(first value 'n/a' at 2024-01-01T07:00:00Z\)"):
            read(write(table, tmp_path / "b.csv"))

    def test_nested_fields_and_patterns_of_columns(self, tmp_path: Path) -> None:
        path = tmp_path / "b.jsonl"
        path.write_text('{"ts": 1704067200000, "raw": {"mid": 1.5, "in": {"a": 2}}, "f_one": 1, "F_two": null, "*": 3}\n', encoding="utf-8")
        source = Source("data", path.as_uri(), DataFormat.JSONL, columns={"f_mid": "raw.mid"})
        columns = (Column("ts", Kind.TIME), Column("raw.in.a"), Column("f_*"), Column("*x", required=False), Column("raw", Kind.RAW))
        (part,) = table(Access(allow_file=True), source, columns, Span(START + 1))
        assert part.frame.rows(named=True) == [
            {"ts": START, "raw.in.a": 2.0, "f_mid": 1.5, "f_one": 1.0, "f_two": None, "raw": {"mid": 1.5, "in": {"a": 2}}}
        ]

    def test_a_column_without_any_value_is_missing_values_not_a_wrong_type(self, tmp_path: Path) -> None:
        table = frame().with_columns(volume=pl.lit(None, dtype=pl.String))
        raw = read(write(table, tmp_path / "b.parquet"), format="parquet")
        assert np.isnan(raw.bars.volume).all()


class TestFilesOfOneSeries:
    """Several files are one series: apart in time, each bar in one of them."""

    @pytest.mark.parametrize(
        ("first", "second", "reason", "words"),
        [
            (slice(0, 13), slice(12, 30), Reason.DUPLICATE_BARS, "1 bars are in both"),
            (slice(0, 30), slice(0, 30), Reason.DUPLICATE_BARS, "24 bars are in both"),
            (slice(0, 30, 2), slice(1, 30, 2), Reason.OUT_OF_ORDER, "their bars mix"),
        ],
    )
    def test_files_that_overlap_are_both_named(self, tmp_path: Path, first: slice, second: slice, reason: Reason, words: str) -> None:
        folder = tmp_path / "bars"
        folder.mkdir()
        write(frame()[first], folder / "x.csv")
        write(frame()[second], folder / "y.csv")
        with pytest.raises(BadData, match=words) as caught:
            read(folder)
        assert caught.value.reason is reason
        assert "x.csv" in str(caught.value)
        assert "y.csv" in str(caught.value)

    def test_a_symbol_may_have_files_of_its_own(self, tmp_path: Path) -> None:
        folder = tmp_path / "bars"
        folder.mkdir()
        for name in ("EURUSD", "GBPUSD"):
            write(frame().with_columns(symbol=pl.lit(name)), folder / f"{name}.csv")
        assert len(read(folder, symbols=["GBPUSD"]).bars) == 24
        with pytest.raises(BadData, match="no rows of symbol 'USDJPY', there are EURUSD, GBPUSD"):
            read(folder, symbols=["USDJPY"])


@pytest.mark.parametrize(("stamp", "shift"), [("open", 1), ("close", 0)])
@pytest.mark.parametrize("late_ms", [-1, 0, 1])
def test_the_last_bar_counts_from_the_instant_of_its_close(tmp_path: Path, stamp: str, shift: int, late_ms: int) -> None:
    path = write(frame(10), tmp_path / "b.csv")
    fields = spec(path, "file:///models")
    fields["data"]["barTime"] = stamp
    close = START + (9 + shift) * HOUR
    raw = read_bars(Access(allow_file=True), make_plan(run_document(fields, timestamp(close + late_ms))), now_ms=NOW)
    assert (len(raw.bars), raw.later) == ((9, 1) if late_ms < 0 else (10, 0))


def test_text_with_and_without_fractions_in_one_file(tmp_path: Path) -> None:
    stamps = [
        "2024-01-01T00:00:00Z",
        "2024-01-01T01:00:00.250Z",
        "2024-01-01 02:00Z",
        "2024-01-01T03:00:00,5z",
        "2024-01-01T06:00:00+02:00",
    ]
    raw = read(write(frame(5).with_columns(pl.Series("time", stamps)), tmp_path / "b.jsonl"), format="jsonl", barTime="close")
    np.testing.assert_array_equal(raw.bars.time - START, [0, HOUR + 250, 2 * HOUR, 3 * HOUR + 500, 4 * HOUR])


class TestPackedText:
    """Gzip is unpacked as far as memory allows."""

    @pytest.mark.parametrize("change", [lambda b: b[:-9], lambda b: b[:30] + b"xxxx" + b[34:], lambda b: b + b"rest"])
    def test_damaged(self, tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
        path = write(frame(), tmp_path / "b.csv.gz")
        path.write_bytes(change(path.read_bytes()))
        with pytest.raises(BadData, match="not readable as csv: gzip: ") as caught:
            read(path)
        assert caught.value.reason is Reason.DATA_UNREADABLE

    def test_members_one_after_the_other(self, tmp_path: Path) -> None:
        path = tmp_path / "b.csv.gz"
        lines = frame().write_csv().splitlines(keepends=True)
        path.write_bytes(gzip.compress("".join(lines[:9]).encode()) + gzip.compress("".join(lines[9:]).encode()))
        assert len(read(path).bars) == 24

    @pytest.mark.parametrize("name", ["b.csv", "b.csv.gz"])
    def test_too_large(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.setattr("walkforward_trainer.data.formats.MAX_TEXT", 1_000)
        with pytest.raises(BadData, match="in one file, which is parsed as a whole; split it by day, or write Parquet") as caught:
            read(write(frame(), tmp_path / name))
        assert caught.value.reason is Reason.DATA_TOO_LARGE
