"""Time stamps of any usual kind become epoch milliseconds UTC; what could be read in two ways is refused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, cast

from walkforward_trainer.errors import BadConfiguration, BadData, Reason
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt
    import polars as pl

__all__ = ["DAY_MS", "EARLIEST_MS", "UNITS", "epoch_ms", "instants", "largest", "show", "unit_of"]

DAY_MS: Final = 86_400_000
EARLIEST_MS: Final = -5_364_662_400_000
"""1800-01-01: older than any price, so that a number before it is of another unit."""
UNITS: Final[Mapping[float, str]] = {1_000: "seconds", 1: "milliseconds", 1e-3: "microseconds", 1e-6: "nanoseconds"}
ISO: Final = (
    r"^(?P<date>\d{4}-\d{2}-\d{2})"
    r"(?:[T ](?P<minute>\d{2}:\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?\s?(?P<offset>[Zz]|[+-]\d{2}:?\d{2})?)?$"
)
"""ISO 8601 in its extended form. Other orders of day and month would have to be guessed."""


def epoch_ms(series: pl.Series, name: str, zone: str) -> npt.NDArray[np.int64]:
    """Return the time stamps of ``series`` in epoch milliseconds UTC; ``zone`` is for those that carry none, ``name`` for messages.

    Raises
    ------
    BadData, BadConfiguration
        A row has no time stamp, or as ``instants`` does.
    """
    if series.null_count():
        raise BadData(Reason.TIME_STAMPS, f"{name}: {series.null_count()} rows have no time stamp; remove or repair them")
    return instants(series, name, zone).to_numpy()


def instants(series: pl.Series, name: str, zone: str, *, size: int = 0) -> pl.Series:
    """Return the same as Int64, null where there is none; of numbers that are a part of more ``size`` is the largest of all.

    Raises
    ------
    BadData
        Not ISO 8601, ambiguous in ``zone``, or no kind of time stamp.
    BadConfiguration
        There is no such zone.
    """
    import polars as pl  # noqa: PLC0415 - the command line answers before it loads

    try:
        if series.null_count() == len(series):
            return pl.Series(series.name, [None] * len(series), dtype=pl.Int64)
        if series.dtype == pl.String:
            return _from_text(series, name, zone)
        if series.dtype.is_numeric():
            return _from_number(series, name, size)
        if series.dtype == pl.Date:
            series = series.cast(pl.Datetime("ms"))
        if not isinstance(series.dtype, pl.Datetime):
            raise BadData(Reason.TIME_STAMPS, f"{name}: time stamps are {series.dtype}; write ISO 8601, or a number since 1970 in UTC")
        return _in_zone(series, zone)
    except pl.exceptions.PolarsError as error:
        first = str(error).splitlines()[0].partition(". You may")[0]
        if "parse time zone" in first:
            raise BadConfiguration(Reason.SPEC_INVALID, f"data.timeZone {zone!r}: {first}; write an IANA name, Europe/London") from error
        raise BadData(
            Reason.TIME_STAMPS,
            f"{name}: time stamps are not unambiguous ISO 8601 in {zone}: {first}; deliver them in UTC or with an offset",
        ) from error


def show(epoch: int) -> str:
    """Return a time that may be absurd, as the data's are when the unit is wrong."""
    try:
        return timestamp(epoch)
    except (ValueError, OverflowError, OSError):
        return f"{epoch} ms after 1970"


def _in_zone(series: pl.Series, zone: str) -> pl.Series:
    dtype = series.dtype
    if getattr(dtype, "time_zone", None) is None:
        series = series.dt.replace_time_zone(zone, ambiguous="raise", non_existent="raise")
    return series.dt.epoch("ms")


def _from_text(series: pl.Series, name: str, zone: str) -> pl.Series:
    """Return ISO 8601 text as instants, with or without seconds and their fractions, row by row; offsets all or none."""
    import polars as pl  # noqa: PLC0415 - see instants

    text = series.str.strip_chars()
    parts = text.str.extract_groups(ISO).struct.unnest()
    strange = text.filter(text.is_not_null() & parts["date"].is_null())
    if len(strange):
        raise BadData(
            Reason.TIME_STAMPS,
            f"{name}: {len(strange)} time stamps are not ISO 8601, the first is {strange[0]!r}; write 2026-01-31T13:00:00Z",
        )
    known = len(text) - text.null_count()
    offsets = known - int((parts["offset"].is_null() & text.is_not_null()).sum())
    if 0 < offsets < known:
        raise BadData(Reason.TIME_STAMPS, f"{name}: {known - offsets} of {known} time stamps have no offset; give all or none one")
    local = parts.select(
        pl.format(
            "{} {}:{}.{}",
            "date",
            pl.col("minute").fill_null("00:00"),
            pl.col("second").fill_null("00"),
            pl.col("fraction").fill_null("0"),
        ).str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="ms", strict=True)
    ).to_series()
    if not offsets:
        return _in_zone(local, zone)
    digits = parts["offset"].str.replace("^[Zz]$", "+0000").str.replace(":", "", literal=True)
    minutes = digits.str.slice(1, 2).cast(pl.Int64) * 60 + digits.str.slice(3, 2).cast(pl.Int64)
    east = pl.select(pl.when(digits.str.starts_with("-")).then(-minutes).otherwise(minutes)).to_series()
    return local.dt.epoch("ms") - east * 60_000


def _from_number(series: pl.Series, name: str, size: int) -> pl.Series:
    """Return epoch numbers in milliseconds; their size tells seconds, milliseconds, microseconds and nanoseconds apart."""
    import polars as pl  # noqa: PLC0415 - see instants

    whole = series.dtype.is_integer()
    values = series.cast(pl.Int64 if whole else pl.Float64)
    if not whole and not bool(values.drop_nulls().is_finite().all()):
        raise BadData(Reason.TIME_STAMPS, f"{name}: a time stamp is not a finite number; remove or repair the row")
    size = max(size, largest(values))
    unit = unit_of(size)
    if unit == 1_000:
        values = values * unit
    elif unit != 1:
        values = values // round(1 / unit) if whole else values * unit
    values = values if whole else values.round().cast(pl.Int64)
    earliest = values.min()
    if earliest is not None and int(earliest) < EARLIEST_MS:  # type: ignore[arg-type]  # Int64
        raise BadData(
            Reason.TIME_STAMPS,
            f"{name}: a time stamp is {show(int(earliest))}, if numbers up to {size} are {UNITS[unit]} since 1970; check the unit, or "  # type: ignore[arg-type]
            "write ISO 8601",
        )
    return values


def largest(values: pl.Series) -> int:
    """Return the size of the largest number, by which its unit is told; 0 where there is none."""
    if not values.dtype.is_numeric() or values.null_count() == len(values):
        return 0
    size = max(abs(float(cast("float", values.min()))), abs(float(cast("float", values.max()))))
    return int(size) if math.isfinite(size) else 0  # what is not finite is refused elsewhere


def unit_of(size: int) -> float:
    """Return the milliseconds of one step of epoch numbers, the largest of which is ``size``.

    Seconds, milliseconds, microseconds and nanoseconds of one day are a thousand times as many each; ten billion seconds are the year
    2286, ten billion milliseconds April 1970.

    >>> [unit_of(1_700_000_000 * 1_000**step) for step in range(4)]
    [1000, 1, 0.001, 1e-06]
    """
    return 1_000 if size < 10**10 else 1 if size < 10**13 else 1e-3 if size < 10**16 else 1e-6
