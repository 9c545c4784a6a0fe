"""Columns of other tables, each as it was published by the time of the row: never by the period that it is about.

A value counts from its instant of publication on, that instant included; a revision, which is a later publication, from then on and not
before. Rows before the first publication of every joined column have no value, and are left out like a warm-up. Later a value can only miss
by being older than ``maxAge``, and that is refused: a feed that has stopped must be noticed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from walkforward_core.durations import parse_ms
from walkforward_trainer.data.sources import Source, Span
from walkforward_trainer.data.tables import Column, Kind, read
from walkforward_trainer.errors import BadData, Reason
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    import numpy.typing as npt
    import polars as pl

    from walkforward_core.api.data import JoinSpec
    from walkforward_trainer.data.sources import Access
    from walkforward_trainer.plan import Plan

    Vector = npt.NDArray[np.float64]
    Times = npt.NDArray[np.int64]

__all__ = ["as_of", "read_join", "read_joins"]

TIME, WRITTEN, SYMBOL, VALUE = "published", "published as written", "joined symbol", "column "
DATE_LENGTH = len("2026-01-31")


def read_joins(access: Access, plan: Plan, time: Times) -> dict[str, Vector]:
    """Return the joined features ``<name>.<column>`` at ``time`` (ascending, epoch ms UTC), NaN before the first publication.

    Raises
    ------
    BadData, BadConfiguration, Transient
        As ``read`` does; two values published at one instant; a value that is too old.
    """
    found: dict[str, Vector] = {}
    for join in plan.data.joins:
        table = read_join(access, join, plan)
        longest = None if join.max_age is None else parse_ms(join.max_age)
        for column in join.columns:
            known = table.filter(table.get_column(VALUE + column).is_finite())
            published = known.get_column(TIME).to_numpy()
            _check_twice(published, known.get_column(VALUE + column).to_numpy(), f"{join.name}.{column}")
            values, age = as_of(published, known.get_column(VALUE + column).to_numpy(), time)
            _check_age(age, time, longest, f"{join.name}.{column}", join)
            found[f"{join.name}.{column}"] = values
    return found


def read_join(access: Access, join: JoinSpec, plan: Plan) -> pl.DataFrame:
    """Return what was published before ``asOf`` about the plan's symbol, in the order of publication: ``published`` and every column.

    Raises
    ------
    BadData, BadConfiguration, Transient
        As ``read`` does; nothing published; publications that have a date and no time of day.
    """
    import polars as pl  # noqa: PLC0415 - the command line answers before it loads

    field = f"data.joins.{join.name}"
    columns = [Column(TIME, Kind.TIME), Column(WRITTEN, Kind.RAW), *(Column(VALUE + column) for column in join.columns)]
    names = {TIME: join.published, WRITTEN: join.published} | {VALUE + column: column for column in join.columns}
    if join.symbol is not None:
        columns.append(Column(SYMBOL, Kind.TEXT))
        names[SYMBOL] = join.symbol
    source = Source(field=field, uri=join.uri, format=join.format, query=join.query, columns=names, renamed=False)
    parts = [part.frame for part in read(access, source, columns, Span(until_ms=plan.as_of_ms + 1), zone=plan.data.time_zone)]
    for part in parts:
        _check_time_of_day(part.get_column(WRITTEN), field)
    table = pl.concat([part.drop(WRITTEN) for part in parts]) if parts else pl.DataFrame()
    if join.symbol is not None and table.height:
        table = table.filter(pl.col(SYMBOL) == plan.symbol)
    if not table.height:
        about = f" about {plan.symbol}" if join.symbol is not None else ""
        raise BadData(
            Reason.NOT_PUBLISHED,
            f"{field}: nothing{about} was published before asOf {timestamp(plan.as_of_ms)}; check uri, published and symbol",
        )
    return table.sort(TIME, maintain_order=True)


def as_of(published: Times, values: Vector, time: Times) -> tuple[Vector, Times]:
    """Return for every instant the newest value published until then, NaN before the first, and its age in ms (0 where there is none).

    >>> values, age = as_of(np.array([10, 20]), np.array([1.0, 2.0]), np.array([5, 10, 19, 25]))
    >>> values.tolist(), age.tolist()
    ([nan, 1.0, 1.0, 2.0], [0, 0, 9, 5])
    """
    at = np.searchsorted(published, time, side="right") - 1
    found, age = np.full(len(time), np.nan), np.zeros(len(time), np.int64)
    known = at >= 0
    found[known] = values[at[known]]
    age[known] = time[known] - published[at[known]]
    return found, age


def _check_time_of_day(written: pl.Series, field: str) -> None:
    """Refuse dates: a figure of four in the afternoon would be known from midnight on."""
    import polars as pl  # noqa: PLC0415 - see read_join

    texts = written.dtype == pl.String
    if written.dtype == pl.Date or (texts and bool((written.str.strip_chars().str.len_chars() <= DATE_LENGTH).any())):
        raise BadData(
            Reason.TIME_STAMPS,
            f"{field}.published: {written[0]!s} is a date; a value counts from an instant on, write the time of day of the publication",
        )


def _check_twice(published: Times, values: Vector, name: str) -> None:
    clash = (np.diff(published) == 0) & (np.diff(values) != 0)
    if clash.any():
        where = int(np.argmax(clash))
        raise BadData(
            Reason.DUPLICATE_ROWS,
            f"data.joins: {int(clash.sum())} times two values of {name} were published at one instant, first at "
            f"{timestamp(int(published[where]))} ({values[where]:g} and {values[where + 1]:g}); keep the one of the newest period",
        )


def _check_age(age: Times, time: Times, longest: int | None, name: str, join: JoinSpec) -> None:
    if longest is None or not len(age) or int(age.max()) <= longest:
        return
    where = int(np.argmax(age > longest))
    raise BadData(
        Reason.STALE,
        f"data.joins.{join.name}.maxAge: {name} at {timestamp(int(time[where]))} is older than {join.max_age}, and in "
        f"{int((age > longest).sum())} of {len(age)} rows; look why nothing newer was published",
    )
