"""Files, prefixes, patterns and date partitions; what a list finds is read as it was, whoever goes on writing."""

from __future__ import annotations

import threading
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trainer_runs import HOUR, NOW, run_document, spec

from walkforward_core.api.data import DataFormat
from walkforward_core.errors import Forbidden, NotFound, StoreError, Unavailable
from walkforward_core.objectstore import FileStore
from walkforward_trainer.data.bars import RawBars, read_bars
from walkforward_trainer.data.sources import Access, Source, Span, listing
from walkforward_trainer.data.tables import Column, Kind, read
from walkforward_trainer.errors import BadConfiguration, BadData, Reason, RunError, Transient
from walkforward_trainer.plan import make_plan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from walkforward_core.objectstore import ObjectHead

START = 1_704_067_200_000  # 2024-01-01T00:00:00Z
DAY = 24 * HOUR
TIME = (Column("time", Kind.TIME),)


class Recorder(FileStore):
    """A store that notes what was read, and lets a test write in between."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.before_get: Callable[[str], None] = lambda _: None

    def get(self, uri: str, *, limit: int | None = None) -> bytes:
        self.read.append(unquote(uri.rpartition("/bars/")[2]))
        self.before_get(unquote(uri))
        return super().get(uri, limit=limit)

    def head(self, uri: str) -> ObjectHead:
        return FileStore().head(uri)  # which reads, but is no reading here


def day_of_bars(index: int) -> pl.DataFrame:
    times = [START + index * DAY + hour * HOUR for hour in range(24)]
    close = [1 + index / 1_000 + hour / 100_000 for hour in range(24)]
    return pl.DataFrame({"time": times, "open": close, "high": close, "low": close, "close": close, "volume": [1.0] * 24})


def partitions(folder: Path, days: int, layout: str = "date=%Y-%m-%d") -> Path:
    for index in range(days):
        target = folder / "bars" / (date(2024, 1, 1) + timedelta(days=index)).strftime(layout)
        target.mkdir(parents=True)
        day_of_bars(index).write_parquet(target / "part-0.parquet")
    return folder / "bars"


def bars(uri: Path | str, as_of: str, store: FileStore | None = None, **data: Any) -> RawBars:
    fields = spec(uri, "file:///models")
    fields["data"] |= {"format": "parquet", "windowBars": 100} | data
    access = Access(allow_file=True, env={}, stores={"file": store} if store else None)
    return read_bars(access, make_plan(run_document(fields, as_of)), now_ms=NOW)


def found(uri: str) -> list[str]:
    entries = listing(Access(allow_file=True, env={}), Source("data", uri, DataFormat.PARQUET), Span(2**60))
    return sorted(unquote(entry.uri.rpartition("/bars/")[2]) for entry in entries)


class TestPatterns:
    """Which files an address means."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> str:
        names = (
            "a.parquet",
            "k=1/y1.parquet",
            "b.csv",
            "fx/x1.parquet",
            "fx/x2.parquet",
            "fx/deep/x3.parquet",
            "fx/_tmp/x4.parquet",
            "fx/.x5.parquet",
            "fx/a b+c.pq",
        )
        for name in names:
            path = tmp_path / "bars" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        return (tmp_path / "bars").as_uri()

    @pytest.mark.parametrize(
        ("pattern", "names"),
        [
            ("/fx/x1.parquet", ["fx/x1.parquet"]),
            ("/fx", ["fx/a b+c.pq", "fx/deep/x3.parquet", "fx/x1.parquet", "fx/x2.parquet"]),
            ("/fx/", ["fx/a b+c.pq", "fx/deep/x3.parquet", "fx/x1.parquet", "fx/x2.parquet"]),
            ("/fx/x*.parquet", ["fx/x1.parquet", "fx/x2.parquet"]),
            ("/fx/x?.parquet", ["fx/x1.parquet", "fx/x2.parquet"]),
            ("/f*/x1*", ["fx/x1.parquet"]),
            ("/*/*/x3.parquet", ["fx/deep/x3.parquet"]),
            ("/f*", ["fx/a b+c.pq", "fx/deep/x3.parquet", "fx/x1.parquet", "fx/x2.parquet"]),
            ("/f?/d*/", ["fx/deep/x3.parquet"]),
            ("/*.parquet", ["a.parquet"]),
            ("/k=1/*", ["k=1/y1.parquet"]),
            ("/k=?/y1*", ["k=1/y1.parquet"]),
            ("/k=1", ["k=1/y1.parquet"]),
            ("/b*", ["b.csv"]),  # whole names are taken whatever they end with
            ("/fx/a*", ["fx/a b+c.pq"]),
        ],
    )
    def test_wildcards_stay_in_their_part_of_the_path(self, folder: str, pattern: str, names: list[str]) -> None:
        assert found(folder + pattern) == names

    @pytest.mark.parametrize("pattern", ["/none*", "/fx/x[12].parquet", "/x1.parquet", "/fx/X1*"])
    def test_nothing_matches(self, folder: str, pattern: str) -> None:
        with pytest.raises(BadData, match=r"data\.uri .*; check the address and data\.format") as caught:
            found(folder + pattern)
        assert caught.value.reason is Reason.DATA_NOT_FOUND

    def test_files_are_of_the_laptop(self, folder: str) -> None:
        with pytest.raises(BadConfiguration, match="use s3:// here"):
            listing(Access(allow_file=False, env={}), Source("data.trades", folder, DataFormat.CSV), Span(0))


class TestPartitions:
    """Folders of a day are read where the window and its warm-up reach, newest first."""

    @pytest.mark.parametrize("layout", ["date=%Y-%m-%d", "dt=%Y-%m-%d", "%Y/%m/%d", "symbol=EURUSD/date=%Y-%m-%d"])
    def test_no_more_is_read_than_is_needed(self, tmp_path: Path, layout: str) -> None:
        uri, store = partitions(tmp_path, 60, layout), Recorder()
        raw = bars(uri, "2024-02-20T12:00:00Z", store)
        assert raw.bars.time[-1] == START + 50 * DAY + 12 * HOUR
        # 100 bars and 100 of warm-up are nine days; a day around in case of another time zone; eight were fetched ahead
        assert 10 <= len(store.read) <= 20
        whole = bars(uri.as_uri().replace("/bars", "/*"), "2024-02-20T12:00:00Z")
        np.testing.assert_array_equal(whole.bars.close[-200:], raw.bars.close[-200:])
        assert len(raw.bars) >= 200

    def test_a_window_in_time_prunes_before_the_list_is_looked_at(self, tmp_path: Path) -> None:
        store = Recorder()
        raw = bars(partitions(tmp_path, 60), "2024-02-20T12:00:00Z", store, windowBars=None, window="3d", quality={"maxGap": "1h"})
        assert raw.bars.time[-1] == START + 50 * DAY + 12 * HOUR
        assert (raw.bars.time <= START + 47 * DAY + 12 * HOUR).sum() >= 100
        assert len(store.read) <= 13

    def test_too_little_before_the_window_reads_all_there_is(self, tmp_path: Path) -> None:
        store = Recorder()
        assert len(bars(partitions(tmp_path, 6), "2024-01-06T12:00:00Z", store).bars) == 132
        assert len(store.read) == 6

    @given(
        day=st.integers(0, 40),
        hour=st.integers(0, 23),
        window=st.integers(10, 300),
        zone=st.sampled_from(["Etc/UTC", "Pacific/Kiritimati"]),
    )
    @settings(max_examples=15)
    def test_pruned_bars_are_those_of_all_partitions(self, forty_days: Path, day: int, hour: int, window: int, zone: str) -> None:
        as_of = f"{date(2024, 1, 1) + timedelta(days=day)}T{hour:02d}:30:00Z"
        few = answer(lambda: bars(forty_days, as_of, windowBars=window, timeZone=zone))
        flat = answer(lambda: bars(forty_days.parent / "flat", as_of, windowBars=window, timeZone=zone))
        if isinstance(few, str) or isinstance(flat, str):
            assert isinstance(few, str)
            assert isinstance(flat, str)
            return
        needed = min(len(flat.bars), window + 100)
        np.testing.assert_array_equal(few.bars.time[-needed:], flat.bars.time[-needed:])
        np.testing.assert_array_equal(few.bars.close[-needed:], flat.bars.close[-needed:])

    def test_partitions_of_another_time(self, tmp_path: Path) -> None:
        uri = partitions(tmp_path, 3)
        with pytest.raises(BadData, match="3 files in partitions from 2024-01-01 to 2024-01-03, none of which reaches") as caught:
            bars(uri, "2023-06-01T00:00:00Z")
        assert caught.value.reason is Reason.EMPTY_WINDOW

    def test_rows_later_than_their_partition_would_make_pruning_unsafe(self, tmp_path: Path) -> None:
        uri = partitions(tmp_path, 10)
        day_of_bars(9).write_parquet(uri / "date=2024-01-03" / "part-0.parquet")
        with pytest.raises(
            BadData, match=r"date%3D2024-01-03/part-0\.parquet: a row is of 2024-01-10T23:00:00Z, days after the partition"
        ) as caught:
            bars(uri, "2024-01-10T12:00:00Z")
        assert caught.value.reason is Reason.TIME_STAMPS

    def test_the_fixed_part_of_an_address_is_no_partition(self, tmp_path: Path) -> None:
        target = tmp_path / "bars" / "2020" / "01" / "31"
        target.mkdir(parents=True)
        pl.concat([day_of_bars(index) for index in range(10)]).write_parquet(target / "all.parquet")
        assert len(bars(target, "2024-01-10T12:00:00Z").bars) == 228


@pytest.fixture(scope="module")
def forty_days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forty")
    uri = partitions(folder, 40)
    (folder / "flat").mkdir()
    pl.concat([day_of_bars(index) for index in range(40)]).write_parquet(folder / "flat" / "all.parquet")
    return uri


def answer(call: Callable[[], RawBars]) -> RawBars | str:
    try:
        return call()
    except RunError as error:
        return str(error)


class TestSnapshot:
    """A writer that goes on while the run reads."""

    def test_files_that_come_later_are_not_seen(self, tmp_path: Path) -> None:
        uri, store = partitions(tmp_path, 9), Recorder()

        def write(_: str) -> None:
            store.before_get = lambda _: None
            partitions(tmp_path / "more", 12)
            for index in range(9, 12):
                name = f"date={date(2024, 1, 1) + timedelta(days=index)}"
                (tmp_path / "more" / "bars" / name).rename(uri / name)

        store.before_get = write
        raw = bars(uri, "2024-01-12T12:00:00Z", store)
        assert raw.bars.time[-1] == START + 9 * DAY
        assert bars(uri, "2024-01-12T12:00:00Z").bars.time[-1] == START + 11 * DAY + 12 * HOUR

    def test_a_file_that_is_rewritten_is_read_once_more(self, tmp_path: Path) -> None:
        uri, store = partitions(tmp_path, 9), Recorder()
        today = uri / "date=2024-01-09" / "part-0.parquet"
        day_of_bars(8)[:5].write_parquet(today)

        def write(which: str) -> None:
            if "2024-01-09" in which:
                store.before_get = lambda _: None
                day_of_bars(8).write_parquet(today)

        store.before_get = write
        raw = bars(uri, "2024-01-09T12:00:00Z", store)
        assert raw.bars.time[-1] == START + 8 * DAY + 12 * HOUR
        assert [name for name in store.read if "2024-01-09" in name] == ["date=2024-01-09/part-0.parquet"] * 2

    @pytest.mark.parametrize("how", ["changed", "gone"])
    def test_a_file_that_never_stands_still_ends_the_run_for_now(self, tmp_path: Path, how: str) -> None:
        uri, store = partitions(tmp_path, 9), Recorder()
        rows = iter(range(24, 0, -1))

        def write(which: str) -> None:
            if "2024-01-05" in which:
                path = uri / "date=2024-01-05" / "part-0.parquet"
                path.unlink(missing_ok=True) if how == "gone" else day_of_bars(4)[: next(rows) - 1].write_parquet(path)

        store.before_get = write
        with pytest.raises(
            Transient, match=r"date%3D2024-01-05/part-0\.parquet was changed or removed while it was read, and again"
        ) as caught:
            bars(uri, "2024-01-09T12:00:00Z", store)
        assert caught.value.reason is Reason.DATA_CHANGED

    def test_a_file_that_is_replaced_while_the_list_is_taken(self, tmp_path: Path) -> None:
        uri = partitions(tmp_path, 9)
        old, new = (uri / "date=2024-01-05" / name for name in ("part-0.parquet", "part-1.parquet"))

        class Compacted(Recorder):
            def list(self, prefix: str) -> list[str]:
                names = super().list(prefix)
                if old.exists():
                    old.rename(new)
                return names

        assert len(bars(uri, "2024-01-09T12:00:00Z", Compacted()).bars) == 8 * 24 + 12

    def test_bars_appended_all_the_time_by_another_thread(self, tmp_path: Path) -> None:
        folder = tmp_path / "bars"
        folder.mkdir()
        path, store, done = folder / "live.parquet", FileStore(), threading.Event()
        whole = pl.concat([day_of_bars(index) for index in range(10)])

        def put(rows: int) -> None:
            target = tmp_path / "next"
            whole[:rows].write_parquet(target)
            store.put(path.as_uri(), target.read_bytes())

        def write() -> None:
            for rows in range(150, 240):
                if done.wait(0.02):
                    return
                put(rows)

        put(149)
        thread = threading.Thread(target=write)
        thread.start()
        try:
            outcomes = [answer(lambda: bars(folder, "2024-01-07T00:00:00Z")) for _ in range(20)]
        finally:
            done.set()
            thread.join()
        times = [outcome.bars.time for outcome in outcomes if isinstance(outcome, RawBars)]
        assert times
        assert all("was changed or removed" in outcome for outcome in outcomes if isinstance(outcome, str))
        # bars up to asOf were there from the beginning, whatever came later: every run saw the same
        for seen in times:
            np.testing.assert_array_equal(seen, START + HOUR * np.arange(1, 145))


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (Unavailable("the line is down"), Transient, Reason.STORE_UNAVAILABLE),
        (Forbidden("not for you"), BadConfiguration, Reason.FORBIDDEN),
        (NotFound("no bucket"), BadConfiguration, Reason.STORE_REFUSED),
        (StoreError("odd"), BadConfiguration, Reason.STORE_REFUSED),
    ],
)
@pytest.mark.parametrize("call", ["list", "head", "get"])
def test_what_a_store_refuses_names_the_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: StoreError, kind: type, reason: Reason
) -> None:
    uri, store = partitions(tmp_path, 3), FileStore()

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(store, call, fail)
    source = Source("data.joins[1]", uri.as_uri(), DataFormat.PARQUET)
    with pytest.raises(RunError) as caught:
        list(read(Access(allow_file=True, env={}, stores={"file": store}), source, TIME, Span(2**60)))
    if isinstance(error, NotFound) and call != "list":  # gone since it was listed
        kind, reason = Transient, Reason.DATA_CHANGED
    assert (type(caught.value), caught.value.reason) == (kind, reason)
    assert str(caught.value).startswith("data.joins[1].uri: ")


def test_a_query_belongs_to_a_database(tmp_path: Path) -> None:
    source = Source("data", (tmp_path / "a.csv").as_uri(), DataFormat.CSV, "SELECT 1")
    with pytest.raises(BadConfiguration, match=r"data\.query: files of format csv are read as they are; leave the query out"):
        list(read(Access(allow_file=True, env={}), source, TIME, Span(0)))
