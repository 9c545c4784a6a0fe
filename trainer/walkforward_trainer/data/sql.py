"""What SQLite and PostgreSQL have in common: one SELECT, its as-of bound that it cannot leave, and rows as typed parts.

The query of the spec is first given to the engine's own parser by itself. What that takes for one whole statement has balanced
parentheses, closed strings and no second statement, so that in ``SELECT … FROM (query) q WHERE time < asOf`` it can only be what stands
between the parentheses; a line break before the closing one ends a comment of its last line.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from walkforward_trainer.data.columns import Kind, resolve, short, typed
from walkforward_trainer.data.formats import first_line
from walkforward_trainer.data.instants import DAY_MS, EARLIEST_MS, instants, unit_of
from walkforward_trainer.errors import BadConfiguration, BadData, Reason
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import polars as pl

    from walkforward_trainer.data.columns import Column, Found
    from walkforward_trainer.data.sources import Source, Span

__all__ = [
    "BATCH",
    "EARLIEST_MS",
    "STATEMENT_S",
    "Asked",
    "asked",
    "date_bounds",
    "frames",
    "number_bounds",
    "one_select",
    "refused",
    "select",
]

BATCH: Final = 1 << 16
"""Rows fetched at a time."""
STATEMENT_S: Final = 600
"""Seconds that a statement may take."""
COMMENT: Final = re.compile(r"\s+|--[^\n]*(?:\n|$)|/\*(?:[^*]|\*(?!/))*\*/")


@dataclass(frozen=True, slots=True)
class Asked:
    """A query as it will run: without its last semicolon, the columns that are wanted of it, and the one with the rows' times."""

    query: str
    found: tuple[Found, ...]

    @property
    def key(self) -> Found:
        """The column that the as-of bound is about."""
        return self.found[0]

    def select(self, what: str, rest: str) -> str:
        """Return a statement about the rows of the query, which are ``q`` there; the line break ends a comment of its last line."""
        return f"SELECT {what} FROM (\n{self.query}\n) q {rest}"  # noqa: S608 - the engine has parsed the query alone


def one_select(source: Source) -> str:
    """Return the query, which begins with SELECT or WITH; that it is one statement the engine has to say.

    Raises
    ------
    BadConfiguration
        It does not.
    """
    query = (source.query or "").strip()
    query = query[:-1].rstrip() if query.endswith(";") else query
    rest = query
    while comment := COMMENT.match(rest):
        rest = rest[comment.end() :]
    if "\0" in query or not re.match(r"(?i)(select|with)\b", rest):
        raise refused(source, "it does not begin with SELECT or WITH")
    return query


def refused(source: Source, why: str) -> BadConfiguration:
    """Return what a query is refused with that is not one SELECT."""
    return BadConfiguration(
        Reason.QUERY_REFUSED, f"{source.field}.query: {why}; write one SELECT (or WITH … SELECT) without parameters that yields the rows"
    )


def asked(query: str, names: Sequence[str], columns: Sequence[Column], source: Source, table: str) -> Asked:
    """Return what to ask for of a query that yields the columns ``names``.

    Raises
    ------
    BadData, BadConfiguration
        As ``resolve`` does; two columns of one name, which SQL cannot tell apart.
    """
    import polars as pl  # noqa: PLC0415 - the command line answers before it loads

    found = resolve(columns, dict.fromkeys(names, pl.Null()), source, table)
    counts = Counter(names)
    for column in found:
        if counts[column.theirs] > 1:
            raise refused(source, f"it yields {counts[column.theirs]} columns {column.theirs!r}; name each once, with AS")
    return Asked(query, tuple(found))


def frames(batches: Iterable[Sequence[Any]], wanted: Asked, span: Span, table: str, zone: str, size: int) -> Iterator[pl.DataFrame]:
    """Yield ``batches`` of rows, at least one, as frames with every column as its kind says, without the rows outside ``span``.

    ``size`` is the largest number among the time stamps, which tells their unit.

    Raises
    ------
    BadData
        A value is none of that kind.
    """
    import polars as pl  # noqa: PLC0415 - see asked

    first: Sequence[Any] = next(iterator := iter(batches), [])
    for rows in chain([first], iterator):
        # column by column: in SQLite each value may be of another type
        values = zip(*rows, strict=True) if rows else ((),) * len(wanted.found)
        raw = pl.DataFrame([_series(column, found, table) for column, found in zip(values, wanted.found, strict=True)])
        times = instants(raw.to_series(0), f"{table}: column {wanted.key.theirs!r}", zone, size=size)
        if times.null_count() and not wanted.key.blank:
            raise BadData(
                Reason.TIME_STAMPS, f"{table}: {times.null_count()} rows have no {wanted.key.theirs!r}; leave them out of the query"
            )
        inside = times.is_not_null() & (times < span.until_ms)
        if span.since_ms is not None:
            inside &= times >= span.since_ms
        yield typed(raw.with_columns(times.alias(wanted.key.name)).filter(inside), wanted.found, table, zone)


def _series(values: Sequence[Any], column: Found, table: str) -> pl.Series:
    """Return the values of one column, which are of one type, or whole and broken numbers."""
    import polars as pl  # noqa: PLC0415 - see asked

    if column.kind is Kind.NUMBER and Decimal in set(map(type, values)):
        values = [None if value is None else float(value) for value in values]  # whose NaN is ours
    kinds = set(map(type, values)) - {type(None)}
    try:
        if kinds == {int, float}:
            return pl.Series(column.name, values, dtype=pl.Float64, strict=False)
        if len(kinds) <= 1 or column.kind is Kind.RAW:
            return pl.Series(column.name, values, strict=column.kind is not Kind.RAW)
    except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError) as error:
        raise BadData(
            Reason.COLUMN_TYPE, f"{table}: column {column.theirs!r} cannot be read: {first_line(error)}; convert it in the query"
        ) from error
    odd = next(value for value in values if value is not None and type(value) is not type(values[0]))
    names = " and ".join(sorted(kind.__name__ for kind in kinds))
    raise BadData(
        Reason.COLUMN_TYPE,
        f"{table}: column {column.theirs!r} holds values of the types {names}, one of them is {short(odd)}; convert them in the query",
    )


def number_bounds(span: Span, size: int) -> tuple[float, float]:
    """Return start and end of ``span`` in the unit of time stamps of which ``size`` is the largest.

    >>> from walkforward_trainer.data.sources import Span
    >>> number_bounds(Span(1_500, since_ms=0), 2_000_000_000), number_bounds(Span(1_500, since_ms=1), 10**18)
    ((0.0, 1.5), (1000000, 1500000000))
    """
    since = EARLIEST_MS if span.since_ms is None else span.since_ms
    unit = unit_of(size)
    if unit == 1_000:
        return since / unit, span.until_ms / unit
    return since * round(1 / unit), span.until_ms * round(1 / unit)


def date_bounds(span: Span) -> tuple[str, str]:
    """Return days, as ISO 8601 text, between which every wanted time stamp lies in any time zone; the rest is left out later.

    >>> from walkforward_trainer.data.sources import Span
    >>> date_bounds(Span(0, since_ms=0))
    ('1969-12-30', '1970-01-03')
    """
    since = EARLIEST_MS if span.since_ms is None else span.since_ms
    return timestamp(since - 2 * DAY_MS)[:10], timestamp(span.until_ms + 2 * DAY_MS)[:10]


def select(wanted: Asked, where: str, cast: str = "TEXT") -> str:
    """Return the statement: the wanted columns of the query, by time, rows of one time by their other values: every run sees the same.

    Text is asked for as text, whatever type stands for it. ``where`` is the as-of condition, about ``q``.
    """
    columns = (f"q.{column.quoted}" for column in wanted.found)
    chosen = ", ".join(
        f"CAST({place} AS {cast})" if column.kind is Kind.TEXT else place for place, column in zip(columns, wanted.found, strict=True)
    )
    order = ", ".join(str(place) for place, column in enumerate(wanted.found, 1) if place == 1 or column.kind is not Kind.RAW)
    return wanted.select(chosen, f"WHERE {where} ORDER BY {order}")
