"""PostgreSQL: one read-only transaction that sees the database as it was when it began, whoever goes on writing.

The address comes from the environment (the Secret) and appears in no message.
"""

from __future__ import annotations

import math
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import ExecStatus
from psycopg.types.numeric import FloatLoader

from walkforward_trainer.data.formats import first_line
from walkforward_trainer.data.instants import EARLIEST_MS
from walkforward_trainer.data.sql import BATCH, STATEMENT_S, asked, date_bounds, frames, number_bounds, one_select, refused, select
from walkforward_trainer.errors import BadConfiguration, BadData, Reason, RunError, Transient
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl

    from walkforward_trainer.data.columns import Column
    from walkforward_trainer.data.sources import Access, Source, Span
    from walkforward_trainer.data.sql import Asked

__all__ = ["read_postgres"]

CONNECT_S: Final = 10
SCHEME: Final = "secret://"
REFUSED_AT_THE_DOOR: Final = re.compile(r"authentication|pg_hba|does not exist|permission denied|no password supplied|SSL", re.IGNORECASE)
"""Why a server turns a connection away that a second try does not change."""
DEAD: Final = {"", "08", "40", "53", "55", "57", "58"}
"""Classes of errors that are the server's: connection, conflict, resources, locks, intervention, disk; without one the line broke."""
NUMBERS: Final = ("int2", "int4", "int8", "float4", "float8", "numeric")
TEXTS: Final = ("text", "varchar", "bpchar")


def read_postgres(
    access: Access, source: Source, columns: Sequence[Column], span: Span, *, zone: str
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield the source's address as the spec has it, and rows of the query whose first TIME column lies in ``span``, ascending.

    Raises
    ------
    BadConfiguration
        No such variable, or no address in it; the server turns the user away; the query is not one SELECT.
    BadData
        Columns as ``resolve`` refuses them.
    Transient
        The server does not answer, or not in time.
    """
    query = one_select(source)
    name = source.uri
    with _connected(access, source) as connection, _errors(source):
        names, types = _described(connection, query, source)
        wanted = asked(query, names, columns, source, name)
        yield from ((name, frame) for frame in _rows(connection, wanted, types[names.index(wanted.key.theirs)], span, zone, source))


@contextmanager
def _connected(access: Access, source: Source) -> Iterator[psycopg.Connection[Any]]:
    """Open the read-only, repeatable-read transaction."""
    variable = source.uri.removeprefix(SCHEME)
    dsn = access.env.get(variable, "")
    if not source.uri.startswith(SCHEME) or not dsn:
        raise BadConfiguration(
            Reason.SPEC_INVALID,
            f"{source.field}.uri {source.uri}: there is no {variable} in the environment; put it into the Secret of the run "
            "(postgresql://user:password@host/database)",
        )
    try:
        password = conninfo_to_dict(dsn).get("password")
        connection = psycopg.connect(
            dsn, connect_timeout=CONNECT_S, application_name="walkforward-trainer", cursor_factory=psycopg.RawCursor
        )
    except psycopg.ProgrammingError:
        # the text of the error would have the address in it
        raise BadConfiguration(
            Reason.SPEC_INVALID, f"{source.field}.uri: what is in {variable} is no address; write postgresql://user:password@host/database"
        ) from None
    except psycopg.OperationalError as error:
        raise _turned_away(error, source, variable, str(password or "")) from None
    with connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        connection.server_cursor_factory = psycopg.RawServerCursor
        connection.adapters.register_loader("numeric", FloatLoader)
        yield connection
        connection.rollback()


def _turned_away(error: psycopg.OperationalError, source: Source, variable: str, password: str) -> RunError:
    # "connection to server at "host" (address), port 5432 failed: reason": the reason is enough
    why = first_line(error).rpartition("failed: ")[2]
    why = why.replace(password, "…") if password else why
    message = f"{source.field}.uri: the database of {variable} says: {why}"
    if REFUSED_AT_THE_DOOR.search(why):
        return BadConfiguration(Reason.FORBIDDEN, f"{message}; correct the Secret, or what that user may do")
    return Transient(Reason.DATABASE_UNAVAILABLE, f"{message}; check that it runs and can be reached from here; the run is tried again")


def _described(connection: psycopg.Connection[Any], query: str, source: Source) -> tuple[list[str], list[str]]:
    """Return names and types of what ``query`` yields, which the server takes for one whole statement."""
    connection.execute("SET LOCAL TIME ZONE 'UTC'")
    connection.execute(f"SET LOCAL statement_timeout = {STATEMENT_S * 1_000}")
    for answer in (connection.pgconn.prepare(b"", query.encode()), connection.pgconn.describe_prepared(b"")):
        if answer.status != ExecStatus.COMMAND_OK:
            raise psycopg.errors.error_from_result(answer)
    if answer.nparams or not answer.nfields:
        raise refused(source, "it has parameters" if answer.nparams else "it yields nothing")
    names = [(answer.fname(index) or b"").decode() for index in range(answer.nfields)]
    known = {info.oid: info.name for info in psycopg.adapters.types}
    return names, [known.get(answer.ftype(index), "another type") for index in range(answer.nfields)]


def _rows(connection: psycopg.Connection[Any], wanted: Asked, kind: str, span: Span, zone: str, source: Source) -> Iterator[pl.DataFrame]:
    where, bounds, size = _bounds(connection, wanted, kind, span, source)
    if not wanted.key.blank and _any_missing(connection, wanted):
        raise BadData(Reason.TIME_STAMPS, f"{source.uri}: rows of the query have no {wanted.key.theirs!r}; leave them out or repair them")
    with connection.cursor(name="rows", binary=True) as cursor:
        cursor.execute(select(wanted, where), bounds)
        yield from frames(iter(lambda: cursor.fetchmany(BATCH), []), wanted, span, source.uri, zone, size)


def _bounds(
    connection: psycopg.Connection[Any], wanted: Asked, kind: str, span: Span, source: Source
) -> tuple[str, tuple[float | str, float | str], int]:
    """Return the condition, the end and the start of the span in it, and the largest number among the time stamps."""
    key = f"q.{wanted.key.quoted}"
    if kind in NUMBERS:
        extremes = connection.execute(wanted.select(f"min({key}), max({key})", "")).fetchone() or ()
        values = [abs(value) for value in extremes if value is not None]
        if not all(map(math.isfinite, values)):
            raise BadData(
                Reason.TIME_STAMPS, f"{source.uri}: a time stamp in {wanted.key.theirs!r} is not finite; remove or repair the row"
            )
        size = int(max(values, default=0))
        # whole numbers, so that an index on whole numbers serves; the rest is left out later
        since, until = (math.ceil(bound) for bound in number_bounds(span, size))
        return f"{key} < $1 AND {key} >= $2", (until, since), size
    if kind == "timestamptz":
        since_ms = EARLIEST_MS if span.since_ms is None else span.since_ms
        return f"{key} < $1::timestamptz AND {key} >= $2::timestamptz", (timestamp(span.until_ms), timestamp(since_ms)), 0
    since_day, until_day = date_bounds(span)
    if kind in {"timestamp", "date"}:
        return f"{key} < $1::{kind} AND {key} >= $2::{kind}", (until_day, since_day), 0
    if kind in TEXTS:
        day = f'left(ltrim({key}), 10) COLLATE "C"'
        return f"{day} < $1 AND {day} >= $2", (until_day, since_day), 0
    raise BadData(
        Reason.TIME_STAMPS,
        f"{source.uri}: time stamps in {wanted.key.theirs!r} are {kind}; select timestamptz, or a number since 1970 in UTC",
    )


def _any_missing(connection: psycopg.Connection[Any], wanted: Asked) -> bool:
    return connection.execute(wanted.select("1", f"WHERE q.{wanted.key.quoted} IS NULL LIMIT 1")).fetchone() is not None


@contextmanager
def _errors(source: Source) -> Iterator[None]:
    """Turn errors of the server into those of a run; their texts are about the query, never about the address."""
    try:
        yield
    except psycopg.Error as error:
        state, why = error.sqlstate or "", first_line(error)
        if state == "42501":
            raise BadConfiguration(
                Reason.FORBIDDEN, f"{source.field}.query: {why}; grant SELECT on it to the user of {source.uri}"
            ) from error
        if state == "57014":
            raise Transient(
                Reason.DATABASE_UNAVAILABLE,
                f"{source.field}.query took more than {STATEMENT_S} s; add an index on the time, or ask for less; the run is tried again",
            ) from error
        if isinstance(error, psycopg.DataError) and not state:
            raise BadData(Reason.COLUMN_TYPE, f"{source.field}.query: a value cannot be read: {why}; leave it out or repair it") from error
        if state[:2] in DEAD:
            raise Transient(
                Reason.DATABASE_UNAVAILABLE, f"{source.field}.uri {source.uri}: {why}; look at the server; the run is tried again"
            ) from error
        raise refused(source, f"PostgreSQL says {why}") from error
