"""SQLite and PostgreSQL, both real: the same rows as from files, and a bound on time that no query leaves."""

from __future__ import annotations

import re
import resource
import sqlite3
from contextlib import closing
from threading import Event, Thread, Timer
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import psycopg
import pytest
from postgres_server import PASSWORD, postgres_server
from trainer_runs import HOUR, NOW, eurusd, run_document, spec

from walkforward_core.api.data import DataFormat
from walkforward_core.objectstore import FileStore
from walkforward_trainer.data import sqlite
from walkforward_trainer.data.bars import read_bars
from walkforward_trainer.data.quality import check_quality
from walkforward_trainer.data.sources import Access, Source, Span
from walkforward_trainer.data.tables import Column, Kind, read
from walkforward_trainer.errors import BadConfiguration, BadData, Reason, RunError, Transient
from walkforward_trainer.plan import make_plan
from walkforward_trainer.rows import bars_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

START = 1_704_067_200_000  # 2024-01-01T00:00:00Z
AS_OF = START + 10 * HOUR
BARS = (Column("time", Kind.TIME), Column("open"), Column("close"), Column("symbol", Kind.TEXT))
STAMPS = {
    "seconds": "1704067200 + i * 3600",
    "ms": "1704067200000 + i * 3600000",
    "ns": "1704067200000000000 + i * 3600000000000",
    "part": "1704067200.25 + i * 3600",
}


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with postgres_server() as address:
        with psycopg.connect(address) as connection:
            numbers = ", ".join(f"({stamp}) AS {name}" for name, stamp in STAMPS.items()).replace("1704067200000 ", "1704067200000::int8 ")
            hour = "timestamp '2024-01-01' + i * interval '1h'"
            connection.execute(
                f"CREATE TABLE bars AS SELECT ({hour}) AT TIME ZONE 'UTC' AS time, {hour} AS naive, "
                f"to_char({hour}, 'YYYY-MM-DD\"T\"HH24:MI:SSZ') AS text, {numbers}, "
                "i::float8 AS open, i::numeric AS close, 'A'::varchar(8) AS symbol FROM generate_series(0::int8, 99) i ORDER BY random()"
            )
            connection.execute("CREATE TABLE secrets AS SELECT 1 AS a")
            connection.execute(f"CREATE USER reader PASSWORD '{PASSWORD}'")
            connection.execute("GRANT SELECT ON bars TO reader")
        yield address.replace("owner:", "reader:")


def fill(path: Path, *, wal: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    if wal:
        connection.execute("PRAGMA journal_mode = WAL")
    numbers = ", ".join(f"({stamp}) AS {name}" for name, stamp in STAMPS.items())
    moment = "datetime('2024-01-01', i || ' hours')"
    with connection:
        connection.execute(
            "CREATE TABLE bars AS WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99) "
            f"SELECT {moment} || 'Z' AS time, {moment} AS naive, strftime('%Y-%m-%dT%H:%M:%SZ', {moment}) AS text, {numbers}, "
            "i AS open, i * 1.0 AS close, 'A' AS symbol FROM n ORDER BY random()"
        )
    return connection


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "bars.db"
    fill(path).close()
    return path


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest) -> Any:
    """Return what reads a query of the engine's table ``bars``."""
    if request.param == "sqlite":
        uri, env = request.getfixturevalue("database").as_uri(), {}
    else:
        uri, env = "secret://BARS_DSN", {"BARS_DSN": request.getfixturevalue("postgres")}

    def rows(query: str, columns: Sequence[Column] = BARS, span: Span | None = None, **mapping: str) -> list[tuple[Any, ...]]:
        source = Source("data", uri, DataFormat(request.param), query, mapping)
        parts = read(Access(allow_file=True, env=env), source, columns, span or Span(AS_OF))
        return [row for part in parts for row in part.frame.rows()]

    return rows


def expected(first: int, last: int) -> list[tuple[Any, ...]]:
    return [(START + i * HOUR, float(i), float(i), "A") for i in range(first, last)]


@pytest.mark.parametrize("key", ["time", "naive", "text", "seconds", "ms", "ns"])
def test_time_stamps_of_every_kind_are_bounded_and_ordered(engine: Any, key: str) -> None:
    assert engine("SELECT * FROM bars", time=key) == expected(0, 10)
    assert engine("SELECT * FROM bars", time=key, span=Span(AS_OF, since_ms=START + 3 * HOUR)) == expected(3, 10)
    assert engine("SELECT * FROM bars", time=key, span=Span(AS_OF + 1)) == expected(0, 11)
    assert engine("SELECT * FROM bars", time=key, span=Span(START)) == []


def test_fractions_of_seconds(engine: Any) -> None:
    rows = engine("SELECT * FROM bars", time="part", span=Span(AS_OF + 250))
    assert [row[0] for row in rows] == [START + 250 + i * HOUR for i in range(10)]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM bars WHERE symbol LIKE 'A%' ;",
        "  -- why\n /* and */ select * from bars -- a comment at the end",
        "WITH b AS (SELECT * FROM bars) SELECT * FROM b ORDER BY open DESC",
        "SELECT * FROM bars WHERE symbol <> ')' AND symbol <> '; --'",
        "SELECT * FROM bars UNION ALL SELECT * FROM bars WHERE open < 0",
        "SELECT * FROM bars LIMIT 100",
    ],
)
def test_queries_that_are_one_select(engine: Any, query: str) -> None:
    assert engine(query) == expected(0, 10)


ESCAPES = [
    "SELECT * FROM bars) q UNION ALL SELECT * FROM (SELECT * FROM bars",
    "SELECT * FROM bars) q --",
    "SELECT * FROM bars) q; --",
    "SELECT * FROM bars) q /*",
    "SELECT * FROM bars /*",
    "SELECT * FROM bars WHERE symbol = 'A",
    'SELECT * FROM bars AS "b',
    "SELECT * FROM bars; SELECT * FROM bars",
    "SELECT * FROM bars;;",
    "SELECT * FROM bars; --",
    "SELECT 1;\nDROP TABLE bars",
    "DELETE FROM bars",
    "DELETE FROM bars RETURNING *",
    "UPDATE bars SET open = 1 RETURNING *",
    "WITH gone AS (DELETE FROM bars RETURNING *) SELECT * FROM gone",
    "WITH b AS (SELECT 1) DELETE FROM bars",
    "WITH b AS (SELECT 1) INSERT INTO bars SELECT * FROM bars",
    "SELECT * INTO other FROM bars",
    "EXPLAIN SELECT * FROM bars",
    "PRAGMA table_info(bars)",
    "ATTACH 'other.db' AS other",
    "VALUES (1)",
    "TABLE bars",
    "COPY bars TO STDOUT",
    "SELECT * FROM bars WHERE open = $1",
    "SELECT * FROM bars WHERE open = ?",
    "SELECT * FROM bars WHERE open = :as_of",
    "SELECT * FROM bars WHERE time < '2030-01-01' OR 1 = 1) q WHERE 1 = 1 OR (1 = 1",
    "SELECT * FROM nowhere",
    "SELECT $$ ) q; $$ AS a FROM bars) q --",
    "SELECT E'\\') q --' FROM bars) q --",
    "SELECT `)` FROM bars",
    "SELECT * FROM bars \0",
    "SELECT load_extension('x') AS time, * FROM bars",
    "/* SELECT */ DROP TABLE bars",
    "SELECTED",
    "",
    ";",
]


@pytest.mark.parametrize("query", ESCAPES)
def test_queries_that_are_not_are_refused_and_change_nothing(engine: Any, query: str) -> None:
    with pytest.raises(BadConfiguration, match=r"data\.query: .*; write one SELECT") as caught:
        engine(query)
    assert caught.value.reason is Reason.QUERY_REFUSED
    assert engine("SELECT * FROM bars") == expected(0, 10)


def test_whatever_the_query_says_later_rows_stay_away(engine: Any) -> None:
    for query in (
        "SELECT * FROM bars WHERE 1 = 1 OR 1 = 1",
        "SELECT * FROM bars q WHERE open < 1e9",
        "SELECT q.* FROM bars q ORDER BY 1 DESC",
    ):
        assert max(row[0] for row in engine(query)) == AS_OF - HOUR


@pytest.mark.parametrize(
    ("query", "reason", "words"),
    [
        ("SELECT time, open, close AS clse, symbol FROM bars", Reason.COLUMN_MISSING, "no column close among .*; the nearest is 'clse'"),
        (
            "SELECT time, 'x' AS open, close, symbol FROM bars",
            Reason.COLUMN_TYPE,
            "column 'open' is String, not a number .first value 'x' at 2024-",
        ),
        ("SELECT NULL AS time, open, close, symbol FROM bars", Reason.TIME_STAMPS, "no 'time'; leave them out"),
        ("SELECT nullif(seconds, 1704067200) AS time, open, close, symbol FROM bars", Reason.TIME_STAMPS, "no 'time'; leave them out"),
        ("SELECT 'soon' AS time, open, close, symbol FROM bars WHERE open < 3", None, ""),
        ("SELECT '2024-01-01 soon' AS time, open, close, symbol FROM bars", Reason.TIME_STAMPS, "time stamps are not ISO 8601"),
    ],
)
def test_rows_that_are_not_as_they_should_be(engine: Any, query: str, reason: Reason | None, words: str) -> None:
    if reason is None:  # text that does not even begin like a day lies after every day
        assert engine(query) == []
        return
    with pytest.raises(BadData, match=words) as caught:
        engine(query)
    assert caught.value.reason is reason


def test_rows_without_a_time_are_left_out_where_that_is_said(engine: Any) -> None:
    columns = (Column("time", Kind.TIME, blank=True), *BARS[1:])
    assert engine("SELECT nullif(seconds, 1704067200) AS time, open, close, symbol FROM bars", columns) == expected(1, 10)


def test_bars_from_sql_are_those_of_files(engine: Any, postgres: str, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BARS_DSN", postgres)
    query = "SELECT time, open + 1 AS open, open + 1 AS high, open + 1 AS low, close + 1 AS close, 1 AS volume, symbol FROM bars"
    for uri, kind in (("secret://BARS_DSN", "postgres"), (database.as_uri(), "sqlite")):
        fields = spec(uri, "file:///models")
        fields["data"] |= {"format": kind, "query": query, "symbols": ["A"]}
        raw = read_bars(Access(allow_file=True), make_plan(run_document(fields, "2024-01-01T09:59:59Z")), now_ms=NOW)
        assert (len(raw.bars), raw.bars.time[-1], raw.bars.close[-1]) == (9, START + 9 * HOUR, 9.0)


def test_the_same_bars_from_anywhere_are_the_same_data(postgres: str, tmp_path: Path) -> None:
    owner, real = postgres.replace("reader:", "owner:"), pl.read_csv(eurusd())
    table = real.rename({real.columns[0]: "time"})
    with psycopg.connect(owner) as connection:
        connection.execute("CREATE TABLE fx(time timestamp PRIMARY KEY, open float8, high float8, low float8, close float8, volume int8)")
        with connection.cursor().copy("COPY fx FROM STDIN (FORMAT csv, HEADER)") as copy:
            copy.write(table.write_csv())
    with closing(sqlite3.connect(tmp_path / "fx.db")) as writer, writer:
        writer.execute("CREATE TABLE fx(time, open, high, low, close, volume)")
        writer.executemany("INSERT INTO fx VALUES (?, ?, ?, ?, ?, ?)", table.rows())
    for (day,), part in table.with_columns(day=pl.col("time").str.slice(0, 10)).group_by("day"):
        folder = tmp_path / "days" / str(day).replace("-", "/")
        folder.mkdir(parents=True)
        part.drop("day").write_parquet(folder / "part.parquet")
    digests, access = set(), Access(allow_file=True, env={"FX_DSN": owner})
    for uri, kind in (
        (eurusd().as_uri(), "csv"),
        ("secret://FX_DSN", "postgres"),
        ((tmp_path / "fx.db").as_uri(), "sqlite"),
        ((tmp_path / "days").as_uri(), "parquet"),
    ):
        fields = spec(uri, "file:///models")
        fields["data"] |= {"format": kind} | ({"query": "SELECT * FROM fx"} if kind in {"postgres", "sqlite"} else {})
        plan = make_plan(run_document(fields))
        digests.add(bars_digest(check_quality(read_bars(access, plan, now_ms=NOW), plan).bars))
    assert len(digests) == 1


def test_no_rows_are_a_part_without_rows(database: Path) -> None:
    source = Source("data", database.as_uri(), DataFormat.SQLITE, "SELECT * FROM bars WHERE open < 0")
    (part,) = read(Access(allow_file=True), source, BARS, Span(AS_OF))
    assert part.frame.schema == {"time": pl.Int64, "open": pl.Float64, "close": pl.Float64, "symbol": pl.String}
    assert (part.frame.height, part.rows, part.first_ms) == (0, 0, None)
    fields = spec(database, "file:///models")
    fields["data"] |= {"format": "sqlite", "query": "SELECT time, open, open high, open low, close, open volume FROM bars WHERE open < 0"}
    with pytest.raises(BadData, match="no rows; check the address") as caught:
        read_bars(Access(allow_file=True), make_plan(run_document(fields)), now_ms=NOW)
    assert caught.value.reason is Reason.EMPTY_WINDOW


class TestSqlite:
    """What only a file can be."""

    def read(self, uri: str, **stores: Any) -> int:
        source = Source("data", uri, DataFormat.SQLITE, "SELECT * FROM bars")
        return sum(part.frame.height for part in read(Access(allow_file=True), source, BARS, Span(START + 200 * HOUR)))

    def test_what_was_committed_to_the_log_counts_and_what_is_under_way_does_not(self, tmp_path: Path) -> None:
        path = tmp_path / "live.db"
        with closing(fill(path, wal=True)) as writer:
            writer.execute("PRAGMA wal_autocheckpoint = 0")
            with writer:
                writer.execute("INSERT INTO bars SELECT * FROM bars WHERE open = 5")
            assert path.with_name("live.db-wal").stat().st_size
            writer.execute("DELETE FROM bars")
            before = path.read_bytes()
            assert self.read(path.as_uri()) == 101
            assert path.read_bytes() == before
            writer.rollback()

    @pytest.mark.parametrize("suffix", ["-wal", "-journal"])
    def test_journals_beside_an_object_are_copied_with_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
        # as an object store has them: SQLite's own copying is switched off
        monkeypatch.setattr(sqlite, "LIVE", "never:")
        path = tmp_path / "live.db"
        with closing(fill(path, wal=suffix == "-wal")) as writer:
            if suffix == "-wal":
                with writer:
                    writer.execute("INSERT INTO bars SELECT * FROM bars WHERE open = 5")
            else:
                writer.execute("PRAGMA cache_size = 1")
                writer.execute("PRAGMA cache_spill = 1")
                writer.execute("BEGIN")
                for _ in range(6):  # too much for the cache: pages of an open transaction are in the file
                    writer.execute("INSERT INTO bars SELECT * FROM bars")
            assert path.with_name(f"live.db{suffix}").stat().st_size
            assert self.read(path.as_uri()) == (101 if suffix == "-wal" else 100)
            writer.rollback()

    def test_a_copy_is_of_one_moment_while_a_writer_goes_on(self, tmp_path: Path) -> None:
        path = tmp_path / "live.db"
        done = Event()

        def write() -> None:
            with closing(sqlite3.connect(path, timeout=30)) as writer:
                while not done.is_set():
                    with writer:  # always an even number of rows of each kind
                        writer.execute("INSERT INTO bars(time, open, close, symbol) VALUES ('2024-01-02T00:00:00Z', -1, 1, 'A')")
                        writer.execute("INSERT INTO bars(time, open, close, symbol) VALUES ('2024-01-02T00:00:00Z', -2, 1, 'A')")

        fill(path, wal=True).close()
        thread = Thread(target=write)
        thread.start()
        try:
            for _ in range(5):
                assert self.read(path.as_uri()) % 2 == 0
        finally:
            done.set()
            thread.join()

    @pytest.mark.parametrize("content", [b"", b"SQLite format 3\0garbage", b"x" * 5_000])
    def test_a_file_that_is_no_database(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "bars.db"
        path.write_bytes(content)
        with pytest.raises(RunError, match=r"bars\.db: not readable as sqlite|no such table") as caught:
            self.read(path.as_uri())
        assert caught.value.reason in {Reason.DATA_UNREADABLE, Reason.QUERY_REFUSED}

    def test_values_of_two_types_in_one_column(self, database: Path) -> None:
        query = "SELECT time, CASE WHEN open = 3 THEN 'three' ELSE open END AS open, close, symbol FROM bars"
        source = Source("data", database.as_uri(), DataFormat.SQLITE, query)
        with pytest.raises(
            BadData, match="column 'open' holds values of the types int and str, one of them is 'three'; convert them"
        ) as caught:
            list(read(Access(allow_file=True), source, BARS, Span(AS_OF)))
        assert caught.value.reason is Reason.COLUMN_TYPE

    def test_no_room_for_the_copy(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sqlite, "LIVE", "never:")
        path = tmp_path / "bars.db"
        fill(path).close()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, hard))
        try:
            with pytest.raises(
                Transient, match=r"File too large while .*bars\.db \(\d+ bytes\) was copied there; give the run a larger /tmp"
            ) as caught:
                self.read(path.as_uri())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert caught.value.reason is Reason.NO_SPACE

    def test_a_database_that_is_rewritten_while_it_is_copied(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sqlite, "LIVE", "never:")
        path = tmp_path / "bars.db"
        with closing(fill(path)) as writer:

            class Busy(FileStore):
                def get_range(self, uri: str, start: int, length: int) -> bytes:
                    if start == 0 and length > 1:
                        with writer:
                            writer.execute("INSERT INTO bars SELECT * FROM bars WHERE open = 1")
                    return super().get_range(uri, start, length)

            source = Source("data", path.as_uri(), DataFormat.SQLITE, "SELECT * FROM bars")
            access = Access(allow_file=True, stores={"file": Busy()})
            with pytest.raises(Transient, match="was changed or removed while it was read") as caught:
                list(read(access, source, BARS, Span(AS_OF)))
        assert caught.value.reason is Reason.DATA_CHANGED

    def test_stamps_of_two_types_and_missing_files(self, tmp_path: Path) -> None:
        path = tmp_path / "bars.db"
        with closing(fill(path)) as writer, writer:
            writer.execute("UPDATE bars SET time = 1704067200 WHERE open = 3")
        with pytest.raises(BadData, match="time stamps in 'time' are integer and text") as caught:
            self.read(path.as_uri())
        assert caught.value.reason is Reason.TIME_STAMPS
        with pytest.raises(BadData, match=r"neither a file nor a prefix with \.db"):
            self.read((tmp_path / "none.db").as_uri())

    def test_a_writer_that_keeps_everybody_out(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """SQLite by itself would try for as long as the lock is held."""
        path = tmp_path / "bars.db"
        fill(path).close()
        with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as writer:
            writer.execute("BEGIN EXCLUSIVE")
            monkeypatch.setattr(sqlite, "LOCKED_S", 0)
            with pytest.raises(Transient, match=r"bars\.db: a writer has had the database locked for 0 s; let it commit") as caught:
                self.read(path.as_uri())
            assert caught.value.reason is Reason.DATABASE_UNAVAILABLE
            monkeypatch.setattr(sqlite, "LOCKED_S", 30)
            Timer(0.3, lambda: writer.execute("ROLLBACK")).start()
            assert self.read(path.as_uri()) == 100

    def test_a_query_that_does_not_end(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "bars.db"
        fill(path).close()
        monkeypatch.setattr(sqlite, "STATEMENT_S", 0)
        source = Source(
            "data",
            path.as_uri(),
            DataFormat.SQLITE,
            "WITH RECURSIVE n(time) AS (SELECT 0 UNION ALL SELECT time + 1 FROM n) SELECT * FROM n",
        )
        with pytest.raises(BadConfiguration, match="took more than 0 s"):
            list(read(Access(allow_file=True), source, BARS[:1], Span(AS_OF)))


class TestPostgres:
    """What only a server can be; its address is in no message."""

    def read(self, dsn: str | None, query: str = "SELECT * FROM bars") -> int:
        env = {} if dsn is None else {"BARS_DSN": dsn}
        source = Source("data", "secret://BARS_DSN", DataFormat.POSTGRES, query)
        return sum(part.frame.height for part in read(Access(allow_file=False, env=env), source, BARS, Span(AS_OF)))

    def refusal(self, dsn: str | None, query: str = "SELECT * FROM bars") -> RunError:
        with pytest.raises(RunError) as caught:
            self.read(dsn, query)
        chain: BaseException | None = caught.value
        while chain is not None:
            assert PASSWORD not in str(chain)
            assert "geheim" not in str(chain)
            assert "postgresql://" not in str(chain).replace("postgresql://user:password@host/database", "")
            chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)
        return caught.value

    @pytest.mark.parametrize(
        ("change", "kind", "reason", "words"),
        [
            (None, BadConfiguration, Reason.SPEC_INVALID, "there is no BARS_DSN in the environment; put it into the Secret"),
            ((".*", ""), BadConfiguration, Reason.SPEC_INVALID, "there is no BARS_DSN"),
            ((".*", "host=a password=geheim b"), BadConfiguration, Reason.SPEC_INVALID, "what is in BARS_DSN is no address"),
            ((":[^:@]*@", ":geheim@"), BadConfiguration, Reason.FORBIDDEN, "password authentication failed"),
            (("$", "x"), BadConfiguration, Reason.FORBIDDEN, 'database "postgresx" does not exist'),
            ((r":\d+/", ":1/"), Transient, Reason.DATABASE_UNAVAILABLE, "Connection refused"),
        ],
    )
    def test_addresses(self, postgres: str, change: tuple[str, str] | None, kind: type, reason: Reason, words: str) -> None:
        error = self.refusal(None if change is None else re.sub(*change, postgres, count=1))
        assert (type(error), error.reason) == (kind, reason)
        assert words in str(error)

    def test_what_the_user_may_not_read(self, postgres: str) -> None:
        error = self.refusal(postgres, "SELECT b.* FROM bars b, secrets")
        assert error.reason is Reason.FORBIDDEN
        assert "permission denied for table secrets; grant SELECT" in str(error)

    def test_nothing_is_written_even_where_the_user_might(self, postgres: str) -> None:
        owner = postgres.replace("reader:", "owner:")
        with psycopg.connect(owner) as connection:
            connection.execute("CREATE SEQUENCE counter")
        for query in (
            "SELECT nextval('counter') AS open, time, close, symbol FROM bars",
            "SELECT set_config('transaction_read_only', 'off', true)::float8 AS open, time, close, symbol FROM bars",
        ):
            error = self.refusal(owner, query)
            assert error.reason is Reason.QUERY_REFUSED
            assert "read-only transaction" in str(error) or "read-write mode must be set before any query" in str(error)

    def test_all_parts_are_of_one_moment_while_a_writer_goes_on(self, postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("walkforward_trainer.data.postgres.BATCH", 500)
        owner = postgres.replace("reader:", "owner:")
        with psycopg.connect(owner, autocommit=True) as writer:
            writer.execute("CREATE TABLE live AS SELECT * FROM bars, generate_series(1, 50) AS copies WHERE open < 100")
            source = Source("data", "secret://BARS_DSN", DataFormat.POSTGRES, "SELECT * FROM live")
            parts = read(Access(allow_file=False, env={"BARS_DSN": owner}), source, BARS, Span(START + 100 * HOUR))
            seen = next(parts).frame.height
            writer.execute("DELETE FROM live WHERE open > 1")
            writer.execute("INSERT INTO live SELECT * FROM bars, generate_series(1, 10)")
            assert seen + sum(part.frame.height for part in parts) == 5_000

    def test_a_line_that_breaks(self, postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("walkforward_trainer.data.postgres.BATCH", 500)
        owner = postgres.replace("reader:", "owner:")
        source = Source("data", "secret://BARS_DSN", DataFormat.POSTGRES, "SELECT b.* FROM bars b, generate_series(1, 50)")
        parts = read(Access(allow_file=False, env={"BARS_DSN": owner}), source, BARS, Span(START + 100 * HOUR))
        next(parts)
        with psycopg.connect(owner, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'walkforward-trainer'")
        with pytest.raises(Transient, match="the run is tried again") as caught:
            list(parts)
        assert caught.value.reason is Reason.DATABASE_UNAVAILABLE

    def test_types_that_are_numbers(self, postgres: str) -> None:
        kinds = {"numeric": "NaN", "float4": "1.5", "int2": "7", "numeric(9, 2)": "1.25", "real": "Infinity"}
        columns = ", ".join(f"'{value}'::{kind} AS n{index}" for index, (kind, value) in enumerate(kinds.items()))
        source = Source("data", "secret://BARS_DSN", DataFormat.POSTGRES, f"SELECT time, {columns} FROM bars")
        wanted = (BARS[0], *(Column(f"n{index}") for index in range(len(kinds))))
        (part,) = read(Access(allow_file=False, env={"BARS_DSN": postgres}), source, wanted, Span(START + 1))
        np.testing.assert_array_equal(part.frame.row(0)[1:], [float(value) for value in kinds.values()])

    def test_columns_of_one_name(self, postgres: str) -> None:
        error = self.refusal(postgres, "SELECT time, time, open, close, symbol FROM bars")
        assert "it yields 2 columns 'time'; name each once, with AS" in str(error)

    def test_time_stamps_that_are_none(self, postgres: str) -> None:
        assert self.read(postgres, "SELECT '-infinity'::timestamptz AS time, open, close, symbol FROM bars") == 0
        assert "time stamps in 'time' are bool; select timestamptz" in str(
            self.refusal(postgres, "SELECT true AS time, open, close, symbol FROM bars")
        )
        assert "is not finite" in str(self.refusal(postgres, "SELECT 'NaN'::float8 AS time, open, close, symbol FROM bars"))
