"""SQLite: the database as it stood at one moment is copied, then read from the copy, which nothing can change.

A file of this machine is copied by SQLite itself, while others go on writing. From an object store come the file and its journals, all of
one moment; what was committed to the write-ahead log counts, what was under way is taken back.
"""

from __future__ import annotations

import math
import sqlite3
import time
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from walkforward_trainer.data.snapshot import copy_together
from walkforward_trainer.data.sources import listing
from walkforward_trainer.data.sql import BATCH, STATEMENT_S, Asked, asked, date_bounds, frames, number_bounds, one_select, refused, select
from walkforward_trainer.errors import BadConfiguration, BadData, Reason, Transient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import polars as pl

    from walkforward_trainer.data.columns import Column
    from walkforward_trainer.data.sources import Access, Source, Span

__all__ = ["read_sqlite"]

JOURNALS: Final = ("-wal", "-journal")
"""Files beside a database that belong to its content: what was committed and not yet moved, or has to be taken back."""
LIVE: Final = "file:"
"""Databases of this machine, which SQLite itself copies."""
ALLOWED: Final = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
BROKEN: Final = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR}
"""What SQLite says of a file that is no database, or a damaged one; the extended codes have these in their low byte."""
LOCKED: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
LOCKED_S: Final = 30
"""How long a writer may keep everybody out: its own transactions take less."""
STEPS: Final = 100_000
"""Steps of SQLite's machine between two looks at the clock."""


def read_sqlite(access: Access, source: Source, columns: Sequence[Column], span: Span, *, zone: str) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield the address of the database and rows of the query whose first TIME column lies in ``span``, ascending.

    Raises
    ------
    BadData, BadConfiguration, Transient
        No database there, or a broken one; no SELECT; columns as ``resolve`` refuses them; the file changes while it is copied, or a writer
        keeps it locked.
    """
    query = one_select(source)
    entries = listing(access, source, span)
    if len(entries) != 1:
        raise BadConfiguration(Reason.SPEC_INVALID, f"{source.field}.uri {source.uri}: {len(entries)} databases lie there; name one file")
    name = entries[0].uri
    with TemporaryDirectory(prefix="walkforward-") as folder, _errors(source, name):
        path = Path(folder) / "copy.db"
        _copy(access, source, name, path)
        with closing(_opened(path)) as connection:
            wanted = _asked(connection, query, columns, source, name)
            for frame in _rows(connection, wanted, span, name, zone):
                yield name, frame


def _copy(access: Access, source: Source, uri: str, path: Path) -> None:
    """Put the database at ``path``, whole, with everything that was committed."""
    if uri.startswith(LIVE):
        original = Path(unquote(uri.removeprefix("file://")))
        try:
            with (
                closing(sqlite3.connect(f"{original.as_uri()}?mode=ro", timeout=1, uri=True)) as live,
                closing(sqlite3.connect(path)) as copy,
            ):
                live.backup(copy, progress=_patience(uri))  # in one step: one moment
        except sqlite3.OperationalError:
            # a folder that may not be written, or a crashed writer's journal: then like an object
            path.unlink(missing_ok=True)
        else:
            return
    copy_together(access, source, {uri: path} | {uri + suffix: path.with_name(path.name + suffix) for suffix in JOURNALS})


def _patience(uri: str) -> Callable[[int, int, int], None]:
    """Return what SQLite calls after each attempt to copy: while a writer keeps everybody out it would try for ever."""
    deadline = time.monotonic() + LOCKED_S

    def step(status: int, _remaining: int, _total: int) -> None:
        if status in LOCKED and time.monotonic() > deadline:
            raise Transient(
                Reason.DATABASE_UNAVAILABLE,
                f"{uri}: a writer has had the database locked for {LOCKED_S} s; let it commit, or stop it; the run is tried again",
            )

    return step


def _opened(path: Path) -> sqlite3.Connection:
    """Return a connection that reads and does nothing else, of the copy with its journals worked in."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA schema_version").fetchall()
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.set_authorizer(_only_reads)
    deadline = time.monotonic() + STATEMENT_S
    connection.set_progress_handler(lambda: time.monotonic() > deadline, STEPS)
    return connection


def _only_reads(action: int, _first: str | None, second: str | None, _database: str | None, _trigger: str | None) -> int:
    """Allow reading of tables and pure functions."""
    return sqlite3.SQLITE_OK if action in ALLOWED and second != "load_extension" else sqlite3.SQLITE_DENY


def _asked(connection: sqlite3.Connection, query: str, columns: Sequence[Column], source: Source, name: str) -> Asked:
    """Return the query, which the engine takes for one whole SELECT, and its columns."""
    try:
        connection.execute(f"EXPLAIN {query}").close()
        described = connection.execute(Asked(query, ()).select("*", "LIMIT 0")).description
    except (sqlite3.Error, sqlite3.Warning) as error:
        if _code(error) in BROKEN:
            raise
        raise refused(source, f"SQLite says {error}") from error
    return asked(query, [column[0] for column in described], columns, source, name)


def _rows(connection: sqlite3.Connection, wanted: Asked, span: Span, name: str, zone: str) -> Iterator[pl.DataFrame]:
    place, (since, as_of), size = _bounds(connection, wanted, span, name)
    cursor = connection.execute(select(wanted, f"{place} < :as_of AND {place} >= :since"), {"as_of": as_of, "since": since})
    yield from frames(iter(lambda: cursor.fetchmany(BATCH), []), wanted, span, name, zone, size)


def _bounds(connection: sqlite3.Connection, wanted: Asked, span: Span, name: str) -> tuple[str, tuple[float, float] | tuple[str, str], int]:
    """Return what is compared, with what, and the largest number among the time stamps: each value of SQLite has its own type."""
    key = f"q.{wanted.key.quoted}"
    kinds = {
        kind: (count, low, high)
        for kind, count, low, high in connection.execute(wanted.select(f"typeof({key}), count(*), min({key}), max({key})", "GROUP BY 1"))
    }
    missing = kinds.pop("null", (0,))[0]
    if missing and not wanted.key.blank:
        raise BadData(
            Reason.TIME_STAMPS, f"{name}: {missing} rows of the query have no {wanted.key.theirs!r}; leave them out or repair them"
        )
    if not kinds.keys() <= {"integer", "real"} and kinds.keys() != {"text"}:
        raise BadData(
            Reason.TIME_STAMPS,
            f"{name}: time stamps in {wanted.key.theirs!r} are {' and '.join(sorted(kinds))}; "
            "write all as numbers since 1970, or all as ISO 8601 text",
        )
    if "text" in kinds:
        return f"substr(ltrim({key}), 1, 10)", date_bounds(span), 0
    values = [abs(value) for _, low, high in kinds.values() for value in (low, high)]
    if not all(map(math.isfinite, values)):
        raise BadData(Reason.TIME_STAMPS, f"{name}: a time stamp in {wanted.key.theirs!r} is not finite; remove or repair the row")
    size = int(max(values, default=0))
    return key, number_bounds(span, size), size


@contextmanager
def _errors(source: Source, name: str) -> Iterator[None]:
    """Turn errors of SQLite into those of a run."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if _code(error) in BROKEN:
            raise BadData(
                Reason.DATA_UNREADABLE, f"{name}: not readable as {source.format}: {error}; check {source.field}.format and the file"
            ) from error
        if _code(error) == sqlite3.SQLITE_FULL:
            raise Transient(Reason.NO_SPACE, f"{gettempdir()}: {error} while {name} was read there; give the run a larger /tmp") from error
        if _code(error) == sqlite3.SQLITE_INTERRUPT:
            raise BadConfiguration(
                Reason.QUERY_REFUSED, f"{source.field}.query took more than {STATEMENT_S} s; make it simpler, or add an index on the time"
            ) from error
        raise refused(source, f"SQLite says {error}") from error


def _code(error: Exception) -> int | None:
    """Return SQLite's primary code; errors that Python itself raises have none."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else int(code) & 0xFF
