"""Which column of a table is meant, and its values as one type; names match without case and blanks, or as ``columns`` maps them."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from walkforward_trainer.data.instants import instants, show
from walkforward_trainer.errors import BadConfiguration, BadData, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import polars as pl

    from walkforward_trainer.data.sources import Source

__all__ = ["Column", "Found", "Kind", "resolve", "short", "typed"]


class Kind(StrEnum):
    """What a column holds, and as what it is delivered."""

    TIME = "time"
    """A time stamp of any usual kind; Int64, epoch milliseconds UTC."""
    NUMBER = "number"
    """Float64, null where it misses."""
    TEXT = "text"
    """String."""
    RAW = "raw"
    """As it stands."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column to be read, by the name that the trainer uses; ``f_*`` is every column whose name begins so.

    ``aliases`` are names under which it is found as well, the first of them wins. ``blank`` says of the first TIME column that rows
    without a time stamp are left out; otherwise they are refused.
    """

    name: str
    kind: Kind = Kind.NUMBER
    required: bool = True
    aliases: tuple[str, ...] = ()
    blank: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A column of a table: ``theirs`` is its name there, ``expression`` how polars gets at it."""

    name: str
    kind: Kind
    theirs: str
    expression: pl.Expr
    blank: bool = False

    @property
    def quoted(self) -> str:
        """Its name there as an identifier of standard SQL."""
        return '"' + self.theirs.replace('"', '""') + '"'


def resolve(columns: Sequence[Column], schema: Mapping[str, pl.DataType], source: Source, table: str) -> list[Found]:
    """Return where the columns are, the first TIME column first; fields of structures (JSON objects) are ``outer.inner``.

    Raises
    ------
    BadData
        A required column is not there, or there are two of that name.
    BadConfiguration
        ``columns`` maps a name that nobody reads, or two to one.
    """
    _check_mapping(columns, source)
    flat = dict(_flat(schema))
    by_name = _Names(flat, table)
    found: list[Found] = []
    missing: list[Column] = []
    for column in columns:
        if column.name.endswith("*"):
            found += [Found(name, column.kind, theirs, flat[theirs]) for name, theirs in _matching(column, by_name, source)]
            continue
        known = _place(column, flat, by_name, source)
        if known is not None:
            found.append(Found(column.name, column.kind, known, flat[known], column.blank))
        elif column.required:
            missing.append(column)
    if missing:
        raise BadData(Reason.COLUMN_MISSING, _missing(missing, list(flat), source, table))
    found.sort(key=lambda column: column.kind is not Kind.TIME)  # stable
    return found


class _Names(dict[str, str]):
    """The columns by their name without case and blanks; of two that are one then, the one that is written so."""

    def __init__(self, flat: Mapping[str, object], table: str) -> None:
        super().__init__()
        self._table = table
        self._others: dict[str, str] = {}
        for theirs in flat:
            name = theirs.strip().lower()
            other = self.setdefault(name, theirs)
            if theirs == name:
                self[name] = theirs
            elif other not in (theirs, name):
                self._others[name] = theirs

    def sole(self, name: str) -> str | None:
        """Return the column that is called ``name``, nothing where there is none.

        Raises
        ------
        BadData
            There are two, and neither is written so.
        """
        found, other = self.get(name), self._others.get(name)
        if other is not None and found != name:
            raise BadData(
                Reason.COLUMN_TWICE,
                f"{self._table}: {found!r} and {other!r} are both called {name}; rename one of them at its source, or leave it out",
            )
        return found


def typed(frame: pl.DataFrame, found: Sequence[Found], table: str, zone: str) -> pl.DataFrame:
    """Return ``frame``, whose first column holds the rows' times, with every column as its kind says.

    Raises
    ------
    BadData
        A value is none of that kind; the message has column, value and time of the first.
    """
    import polars as pl  # noqa: PLC0415 - the command line answers before it loads

    series = [frame.to_series(0)]
    for column in found[1:]:
        values = frame.get_column(column.name)
        if column.kind is Kind.TIME:
            values = instants(values, f"{table}: column {column.theirs!r}", zone)
        elif column.kind is Kind.NUMBER:
            values = _numbers(values, series[0], column, table)
        elif column.kind is Kind.TEXT:
            values = _text(values, column, table)
        series.append(values.alias(column.name))
    return pl.DataFrame(series)


def _numbers(values: pl.Series, time: pl.Series, column: Found, table: str) -> pl.Series:
    import polars as pl  # noqa: PLC0415 - see typed

    if values.null_count() == len(values):
        return pl.Series(column.name, [None] * len(values), dtype=pl.Float64)
    if values.dtype.is_numeric():
        return values.cast(pl.Float64)
    wrong = values.is_not_null()
    if values.dtype == pl.String:
        unfit = wrong & values.cast(pl.Float64, strict=False).is_null()
        wrong = unfit if unfit.any() else wrong
    where = int(wrong.arg_max() or 0)
    raise BadData(
        Reason.COLUMN_TYPE,
        f"{table}: column {column.theirs!r} is {values.dtype}, not a number (first value {short(values[where])} at "
        f"{show(int(time[where]))}); write plain numbers with a decimal point",
    )


def _text(values: pl.Series, column: Found, table: str) -> pl.Series:
    import polars as pl  # noqa: PLC0415 - see typed

    if values.dtype.is_nested() or values.dtype == pl.Binary:
        raise BadData(Reason.COLUMN_TYPE, f"{table}: column {column.theirs!r} is {values.dtype}, not text; write one plain value a row")
    return values.cast(pl.String)


def short(value: object) -> str:
    """Return a value as a message shows it."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _flat(schema: Mapping[str, pl.DataType]) -> Iterator[tuple[str, pl.Expr]]:
    """Yield the columns, then the fields of those that are structures."""
    import polars as pl  # noqa: PLC0415 - see typed

    # by position: a column that is called * or ^a$ would be taken for a pattern
    level: list[tuple[str, pl.Expr, Any]] = [(name, pl.nth(index), dtype) for index, (name, dtype) in enumerate(schema.items())]
    while level:
        yield from ((name, expression) for name, expression, _ in level)
        level = [
            (f"{name}.{field.name}", expression.struct.field(field.name), field.dtype)
            for name, expression, dtype in level
            if isinstance(dtype, pl.Struct)
            for field in dtype.fields
        ]


def _check_mapping(columns: Sequence[Column], source: Source) -> None:
    names = [column.name for column in columns]
    for ours in source.columns:
        if ours not in names and not any(name.endswith("*") and ours.startswith(name[:-1]) for name in names):
            near = difflib.get_close_matches(ours, names, n=1)
            raise BadConfiguration(
                Reason.SPEC_INVALID,
                f"{source.field}.columns: {ours!r} is no column that is read here; "
                f"{f'did you mean {near[0]!r}?' if near else ''} There are {', '.join(names)}; write them as {{ours: theirs}}",
            )


def _matching(column: Column, by_name: _Names, source: Source) -> list[tuple[str, str]]:
    """Return name and place of every column that the pattern ``column`` takes, those of the mapping first."""
    start = column.name[:-1].lower()
    chosen = {ours: theirs for ours, theirs in source.columns.items() if ours.startswith(column.name[:-1])}
    taken = set(chosen.values())
    known = {name: theirs for name, theirs in chosen.items() if theirs in by_name.values()}
    others = {name: by_name.sole(name) for name, theirs in by_name.items() if name.startswith(start) and theirs not in taken}
    return [*known.items(), *((name, theirs) for name, theirs in others.items() if theirs is not None)]


def _place(column: Column, flat: Mapping[str, object], by_name: _Names, source: Source) -> str | None:
    given = source.columns.get(column.name)
    if given is not None:
        return given if given in flat else by_name.sole(given.strip().lower())
    return next((by_name.sole(name) for name in (column.name.lower(), *column.aliases) if name in by_name), None)


def _missing(missing: Sequence[Column], known: Sequence[str], source: Source, table: str) -> str:
    mapped = {column.name: source.columns[column.name] for column in missing if column.name in source.columns}
    told = [mapped.get(column.name, column.name) for column in missing]
    if source.renamed:
        told = [f"{theirs} ({column.name})" if column.name in mapped else theirs for theirs, column in zip(told, missing, strict=True)]
    wanted = mapped.get(missing[0].name, missing[0].name)
    near = difflib.get_close_matches(wanted.lower(), [name.lower() for name in known], n=1, cutoff=0.5)
    nearest = next((name for name in known if near and name.lower() == near[0]), None)
    mapping = f"{source.field}.columns: {{{missing[0].name}: {nearest or 'its name there'}}}"
    hint = (
        f"write {mapping}, or rename or add it at its source" if source.renamed else f"correct its name in {source.field}, or add it there"
    )
    found = ", ".join(map(repr, known[:30])) + (f" and {len(known) - 30} more" if len(known) > 30 else "")
    return (
        f"{table}: no column {', '.join(dict.fromkeys(told))} among {found or 'none at all'}"
        f"{f'; the nearest is {nearest!r}' if nearest else ''}; {hint} (case does not matter)"
    )
