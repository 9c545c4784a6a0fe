"""Files of bars in any of four formats, as one polars frame with the columns that bars have."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from walkforward_core.api.data import DataFormat
from walkforward_core.errors import Forbidden, NotFound, StoreError, Unavailable
from walkforward_trainer.errors import BadConfiguration, BadData, Reason, Transient

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import polars as pl

    from walkforward_core.objectstore import ObjectStore

__all__ = ["PRICES", "fetch", "read_table"]

PRICES: Final = ("open", "high", "low", "close", "volume")
TIME_NAMES: Final = ("time", "timestamp", "ts", "datetime", "date", "open_time", "")
"""Names under which the time stamp is found, the first of them wins; the empty one is a data frame's unnamed index."""
SUFFIXES: Final[Mapping[DataFormat, tuple[str, ...]]] = {
    DataFormat.PARQUET: (".parquet", ".pq"),
    DataFormat.CSV: (".csv", ".csv.gz"),
    DataFormat.FEATHER: (".feather", ".arrow", ".ipc"),
    DataFormat.JSONL: (".jsonl", ".ndjson", ".jsonl.gz"),
}


def fetch(store: ObjectStore, uri: str, kind: DataFormat) -> list[tuple[str, bytes]]:
    """Return address and bytes of the file at ``uri``, or of all files of that format below it.

    Raises
    ------
    BadData, BadConfiguration, Transient
        Nothing there; not allowed, or no address; the store does not answer.
    """
    try:
        if not uri.endswith("/"):
            with suppress(NotFound):  # then it is a prefix
                return [(uri, store.get(uri))]
        names = [name for name in store.list(uri.rstrip("/") + "/") if name.lower().endswith(SUFFIXES[kind])]
        if not names:
            raise BadData(
                Reason.DATA_NOT_FOUND,
                f"data.uri {uri}: neither a file nor a prefix with {' or '.join(SUFFIXES[kind])} files; check the address and data.format",
            )
        return [(name, store.get(name)) for name in names]
    except Unavailable as error:
        raise Transient(Reason.STORE_UNAVAILABLE, f"data.uri: {error}") from error
    except Forbidden as error:
        raise BadConfiguration(Reason.FORBIDDEN, f"data.uri: {error}") from error
    except NotFound as error:
        raise BadData(Reason.DATA_NOT_FOUND, f"data.uri: {error}") from error
    except StoreError as error:
        raise BadConfiguration(Reason.STORE_REFUSED, f"data.uri: {error}") from error


def read_table(name: str, data: bytes, kind: DataFormat) -> pl.DataFrame:
    """Return the columns ``time``, the :data:`PRICES` as float64 and, where there is one, ``symbol`` of one file, rows as they stand.

    Raises
    ------
    BadData
        Not of that format, or a column is missing or holds something else.
    """
    import polars as pl  # noqa: PLC0415 - the command line answers before it loads

    try:
        frame = _readers()[kind](data)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        raise BadData(
            Reason.DATA_UNREADABLE, f"{name}: not readable as {kind}: {_first_line(error)}; check data.format and the file"
        ) from error
    return _columns(frame, name)


def _readers() -> Mapping[DataFormat, Callable[[bytes], pl.DataFrame]]:
    import polars as pl  # noqa: PLC0415 - see read_table

    return {
        DataFormat.PARQUET: lambda data: pl.read_parquet(io.BytesIO(data)),
        # a volume that is whole for a thousand rows may have a fraction later
        DataFormat.CSV: lambda data: pl.read_csv(io.BytesIO(data), infer_schema_length=None, null_values=["", "NA", "NaN", "nan", "null"]),
        DataFormat.FEATHER: lambda data: pl.read_ipc(io.BytesIO(data)),
        DataFormat.JSONL: lambda data: pl.read_ndjson(io.BytesIO(data), infer_schema_length=None),
    }


def _columns(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    import polars as pl  # noqa: PLC0415 - see read_table

    by_lower: dict[str, str] = {}
    for column in frame.columns:
        by_lower.setdefault(column.strip().lower(), column)
    time = next((by_lower[alias] for alias in TIME_NAMES if alias in by_lower), None)
    missing = [column for column in PRICES if column not in by_lower] + (["time"] if time is None else [])
    if missing or time is None:
        raise BadData(
            Reason.COLUMN_MISSING,
            f"{name}: no column {', '.join(missing)} among {', '.join(map(repr, frame.columns))}; rename or add it (case does not matter)",
        )
    picked = [pl.col(time).alias("time")]
    for column in PRICES:
        series = frame.get_column(by_lower[column])
        if frame.height and not (series.dtype.is_numeric() or series.dtype == pl.Null):
            sample = series.drop_nulls().head(1).to_list()
            raise BadData(
                Reason.COLUMN_TYPE,
                f"{name}: column {by_lower[column]!r} is {series.dtype}, not a number (first value {sample[0] if sample else None!r}); "
                "write plain numbers with a decimal point",
            )
        picked.append(pl.col(by_lower[column]).cast(pl.Float64).alias(column))
    if "symbol" in by_lower:
        picked.append(pl.col(by_lower["symbol"]).cast(pl.String).alias("symbol"))
    return frame.select(picked)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
