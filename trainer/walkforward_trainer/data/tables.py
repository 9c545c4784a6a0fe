"""Tables of any kind as polars frames with the columns that were asked for, rows of the span only, a bounded number at a time."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.api.data import DataFormat
from walkforward_trainer.data.columns import Column, Kind, resolve, typed
from walkforward_trainer.data.formats import is_blank, open_table, unreadable
from walkforward_trainer.data.instants import UNITS, epoch_ms, instants, largest, show, unit_of
from walkforward_trainer.data.snapshot import contents
from walkforward_trainer.data.sources import listing, partition_end, symbol_of
from walkforward_trainer.errors import BadConfiguration, BadData, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt
    import polars as pl

    from walkforward_trainer.data.columns import Found
    from walkforward_trainer.data.sources import Access, Entry, Source, Span

__all__ = ["PRICES", "SYMBOL", "Column", "Kind", "Part", "read"]

PRICES: Final = ("open", "high", "low", "close", "volume")
SYMBOL: Final = "symbol"
ROWS: Final = 1 << 20
"""Rows of a part: what is held twice while it is taken over."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of one table, in the order in which they stand.

    Parameters
    ----------
    name
        The file's address, or the database's field in the spec.
    frame
        The rows of the span, columns by the names asked for.
    rows, later
        On the first part of a file how many rows it has, and how many lie at or after the end of the span; else 0.
    first_ms, last_ms
        On the same its earliest and latest time stamp, whether in the span or not.
    older_ms
        On the last part of a file: rows of the files that follow all lie before it, where that is known.
    """

    name: str
    frame: pl.DataFrame
    rows: int = 0
    later: int = 0
    first_ms: int | None = None
    last_ms: int | None = None
    older_ms: int | None = None


def read(
    access: Access, source: Source, columns: Sequence[Column], span: Span, *, zone: str = "Etc/UTC", growing: bool = False
) -> Iterator[Part]:
    """Yield the rows of ``source`` whose first TIME column lies in ``span``; date partitions newest first, other files by name.

    ``zone`` is for time stamps that carry none. A caller may stop early: nothing is held that it did not take. ``growing`` is of a log:
    a blank text file is one without a row yet, not one that cannot be read.

    Raises
    ------
    BadData, BadConfiguration, Transient
        Nothing there, not of that format, a column is missing or holds something else; not allowed; not reachable.
    """
    if source.format in {DataFormat.POSTGRES, DataFormat.SQLITE}:
        yield from _database(access, source, columns, span, zone=zone)
        return
    if source.query is not None:
        raise BadConfiguration(
            Reason.SPEC_INVALID, f"{source.field}.query: files of format {source.format} are read as they are; leave the query out"
        )
    entries = listing(access, source, span)
    units = _Units()
    with closing(contents(access, source, entries)) as files:
        for following in [*entries[1:], None]:
            entry, data = next(files)
            with _decoding(source, entry.uri):
                if growing and is_blank(data, source, entry.uri):
                    continue
            older = partition_end(following.day_ms, span) if following is not None and following.day_ms is not None else None
            yield from _file(data, entry, source, columns, span, units, zone=zone, older_ms=older)
            del data


def _database(access: Access, source: Source, columns: Sequence[Column], span: Span, *, zone: str) -> Iterator[Part]:
    """Yield the rows of a query; what lies outside the span the database keeps to itself."""
    if source.format is DataFormat.SQLITE:
        from walkforward_trainer.data.sqlite import read_sqlite as rows  # noqa: PLC0415 - most runs have no database
    else:
        from walkforward_trainer.data.postgres import read_postgres as rows  # noqa: PLC0415 - and psycopg is large
    for number, (name, frame) in enumerate(rows(access, source, columns, span, zone=zone)):
        times = frame.to_series(0)
        known = frame.height and number == 0
        first, last = (int(times.min()), int(times.max())) if known else (None, None)  # type: ignore[arg-type]  # Int64
        yield Part(name, frame, rows=frame.height, first_ms=first, last_ms=last)


def _file(
    data: bytes, entry: Entry, source: Source, columns: Sequence[Column], span: Span, units: _Units, *, zone: str, older_ms: int | None
) -> Iterator[Part]:
    """Yield the parts of one file, at least one; the time stamps decide which rows are decoded at all."""
    with _decoding(source, entry.uri):
        table = _with_symbol(open_table(data, source, entry.uri), source, entry.uri)
        found = resolve(columns, table.collect_schema(), source, entry.uri)
        time, stated = _times(table, found[0], units, entry.uri, zone)
    wanted = stated & (time < span.until_ms)
    later = int(stated.sum()) - int(wanted.sum())
    if span.since_ms is not None:
        wanted &= time >= span.since_ms
    facts = _facts(time[stated], entry, span)
    del stated
    parts = [slice(start, start + ROWS) for start in range(0, len(time), ROWS) if wanted[start : start + ROWS].any()] or [slice(0, 0)]
    for number, rows in enumerate(parts, 1):
        with _decoding(source, entry.uri):
            frame = _rows(table, found, time[rows], rows.start, wanted[rows], name=entry.uri, zone=zone)
        first, last = facts if number == 1 else (None, None)
        yield Part(
            entry.uri,
            frame,
            rows=len(time) if number == 1 else 0,
            later=later if number == 1 else 0,
            first_ms=first,
            last_ms=last,
            older_ms=older_ms if number == len(parts) else None,
        )


def _with_symbol(table: pl.LazyFrame, source: Source, uri: str) -> pl.LazyFrame:
    """Return ``table`` with the symbol of its folder, ``symbol=BTCUSDT/``, where it has no column of it: all its rows are of that one."""
    import polars as pl  # noqa: PLC0415 - see _rows

    symbol = symbol_of(uri)
    there = symbol is None or SYMBOL in source.columns or any(name.strip().lower() == SYMBOL for name in table.collect_schema())
    return table if there else table.with_columns(pl.lit(symbol).alias(SYMBOL))


class _Units:
    """The unit of the numbers that are time stamps, which is that of all files: near 1970 a file by itself does not tell it."""

    def __init__(self) -> None:
        self._first: tuple[float, str] | None = None

    def hold(self, stamps: pl.Series, name: str) -> None:
        """Refuse a file whose numbers look like another unit than those before."""
        size = largest(stamps)
        if not size:
            return
        unit = unit_of(size)
        before, where = self._first = self._first or (unit, name)
        if unit != before:
            raise BadData(
                Reason.TIME_STAMPS,
                f"{name}: its time stamps are numbers up to {size}, {UNITS[unit]} since 1970 by their size, but {UNITS[before]} in "
                f"{where}; write one unit, or ISO 8601",
            )


def _times(table: pl.LazyFrame, key: Found, units: _Units, name: str, zone: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the time of every row of a file, and which rows have one."""
    stamps = table.select(key.expression.alias(key.name)).collect().to_series()
    units.hold(stamps, name)
    if not key.blank:
        time = epoch_ms(stamps, name, zone)
        return time, np.ones(len(time), bool)
    times = instants(stamps, name, zone)
    return times.fill_null(0).to_numpy(), times.is_not_null().to_numpy()


def _rows(
    table: pl.LazyFrame,
    found: Sequence[Found],
    time: npt.NDArray[np.int64],
    start: int,
    wanted: npt.NDArray[np.bool_],
    *,
    name: str,
    zone: str,
) -> pl.DataFrame:
    """Return the ``wanted`` ones of the rows from ``start`` on, whose times are known, with every column as its kind says."""
    import polars as pl  # noqa: PLC0415 - the command line answers before it loads

    others = table.slice(start, len(time)).select(column.expression.alias(column.name) for column in found[1:]).collect()
    frame = pl.DataFrame([pl.Series(found[0].name, time), *others.get_columns()])
    return typed(frame if wanted.all() else frame.filter(pl.Series(wanted)), found, name, zone)


def _facts(time: npt.NDArray[np.int64], entry: Entry, span: Span) -> tuple[int | None, int | None]:
    """Return the first and the last time of a file.

    Raises
    ------
    BadData
        A row is later than its partition: those before the window are not read because none may have such.
    """
    if not len(time):
        return None, None
    first, last = int(time.min()), int(time.max())
    if entry.day_ms is not None and last >= partition_end(entry.day_ms, span):
        raise BadData(
            Reason.TIME_STAMPS,
            f"{entry.uri}: a row is of {show(last)}, days after the partition that it lies in; write rows into the folder of their day, "
            "or into folders whose names are no dates",
        )
    return first, last


@contextmanager
def _decoding(source: Source, name: str) -> Iterator[None]:
    """Turn what a decoder raises into a refusal of the file."""
    import polars as pl  # noqa: PLC0415 - see _rows

    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError, OverflowError) as error:
        raise unreadable(error, source, name) from error
