"""Data on a real S3 server: patterns and partitions, writers that go on, the cache, a database with its journal."""

from __future__ import annotations

import io
import sqlite3
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from s3_server import s3_server

from walkforward_core.api.data import DataFormat
from walkforward_core.objectstore import open_store
from walkforward_trainer.data.sources import Access, Source, Span
from walkforward_trainer.data.tables import Column, Kind, read
from walkforward_trainer.errors import BadConfiguration, BadData, Reason, RunError, Transient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from walkforward_core.objectstore import ObjectStore

pytestmark = pytest.mark.integration

START = 1_704_067_200_000  # 2024-01-01T00:00:00Z
HOUR = 3_600_000
COLUMNS = (Column("time", Kind.TIME), Column("close"))


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with s3_server(tmp_path_factory.mktemp("s3")) as settings:
        yield settings


@pytest.fixture(scope="module")
def store(env: dict[str, str]) -> ObjectStore:
    return open_store("s3://models/", allow_file=False, env=env)


def day(index: int, rows: int = 24) -> bytes:
    out = io.BytesIO()
    hours = np.arange(24 * index, 24 * index + rows)
    pl.DataFrame({"time": START + HOUR * hours, "close": hours.astype(float)}).write_parquet(out)
    return out.getvalue()


def hours(
    env: dict[str, str], uri: str, until: int = 24 * 400, since: int | None = None, kind: DataFormat = DataFormat.PARQUET
) -> list[float]:
    query = "SELECT * FROM bars" if kind is DataFormat.SQLITE else None
    span = Span(START + until * HOUR, None if since is None else START + since * HOUR)
    parts = list(read(Access(allow_file=False, env=env), Source("data", uri, kind, query), COLUMNS, span))
    return sorted(hour for part in parts for hour in part.frame.get_column("close").to_list())


def name(index: int) -> str:
    return f"date={date(2024, 1, 1) + timedelta(days=index)}"


def test_patterns_and_partitions(store: ObjectStore, env: dict[str, str]) -> None:
    for index in range(40):
        store.put(f"s3://models/days/{name(index)}/part 0+a.parquet", day(index))
    store.put(f"s3://models/days/{name(5)}/_SUCCESS", b"")
    assert hours(env, "s3://models/days/") == list(range(960))
    assert hours(env, "s3://models/days") == list(range(960))
    assert hours(env, "s3://models/days/date=2024-01-0?/*.parquet") == list(range(216))
    assert hours(env, "s3://models/days/date=2024-02-*") == list(range(31 * 24, 960))
    assert hours(env, f"s3://models/days/{name(7)}/part 0+a.parquet") == list(range(168, 192))
    assert hours(env, "s3://models/days/", until=500, since=450) == list(range(450, 500))
    with pytest.raises(BadData, match="no file matches the pattern"):
        hours(env, "s3://models/days/date=2023-*")
    with pytest.raises(BadConfiguration, match="no-such-bucket") as caught:
        hours(env, "s3://no-such-bucket/days/")
    assert caught.value.reason is Reason.STORE_REFUSED


def test_a_writer_that_goes_on(store: ObjectStore, env: dict[str, str]) -> None:
    for index in range(10):
        store.put(f"s3://models/live/{name(index)}/p.parquet", day(index))
    done = Event()

    def write() -> None:
        rows = 1
        while not done.is_set():  # today is rewritten again and again, and a new day begins now and then
            rows = rows % 24 + 1
            store.put(f"s3://models/live/{name(10)}/p.parquet", day(10, rows))
            store.put(f"s3://models/live/{name(11)}/{rows}.parquet", day(11, rows)[:-rows] if rows % 2 else day(11, rows))

    thread = Thread(target=write)
    thread.start()
    outcomes: list[list[float] | RunError] = []
    try:
        for _ in range(15):
            try:
                outcomes.append(hours(env, "s3://models/live/", until=10 * 24))
            except RunError as error:
                outcomes.append(error)
    finally:
        done.set()
        thread.join()
    seen = [outcome for outcome in outcomes if isinstance(outcome, list)]
    # what was there before is the same whatever the writer does; today's partition is not even needed, but its zone might be another
    assert all(outcome == list(range(240)) for outcome in seen)
    for outcome in outcomes:
        if isinstance(outcome, RunError):
            assert (type(outcome), outcome.reason) in {(Transient, Reason.DATA_CHANGED), (BadData, Reason.DATA_UNREADABLE)}
    assert hours(env, "s3://models/live/date=2024-01-0*/", until=10 * 24) == list(range(216))


def test_the_cache_follows_the_store(store: ObjectStore, env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri, folder = "s3://models/one.parquet", tmp_path / "cache"
    cached = env | {"WALKFORWARD_CACHE_DIR": str(folder)}
    store.put(uri, day(0))
    assert hours(cached, uri) == hours(cached, uri) == list(range(24))
    assert len(list(folder.iterdir())) == 1
    store.put(uri, day(1))
    assert hours(cached, uri) == list(range(24, 48))
    # what is read now comes from the folder
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert hours(cached, uri) == list(range(24, 48))
    store.delete(uri)
    with pytest.raises(BadData) as caught:
        hours(cached, uri)
    assert caught.value.reason is Reason.DATA_NOT_FOUND


def test_a_database_with_its_log(store: ObjectStore, env: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "bars.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        with connection:
            connection.execute("CREATE TABLE bars (time INTEGER, close REAL)")
            connection.executemany("INSERT INTO bars VALUES (?, ?)", [(START + i * HOUR, i) for i in range(100)])
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with connection:
            connection.executemany("INSERT INTO bars VALUES (?, ?)", [(START + i * HOUR, i) for i in range(100, 120)])
        store.put("s3://models/db/bars.db", path.read_bytes())
        assert hours(env, "s3://models/db/bars.db", kind=DataFormat.SQLITE) == list(range(100))
        store.put("s3://models/db/bars.db-wal", Path(f"{path}-wal").read_bytes())
        assert hours(env, "s3://models/db/bars.db", kind=DataFormat.SQLITE) == list(range(120))
        assert hours(env, "s3://models/db/bars.db", until=50, kind=DataFormat.SQLITE) == list(range(50))
