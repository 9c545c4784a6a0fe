"""Stage 1, bars: files → the bars of one symbol that were closed at ``asOf``, times in UTC at the close of each bar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from walkforward_core.api.data import BarTime
from walkforward_core.features import Bars
from walkforward_trainer.data.tables import PRICES, fetch, read_table
from walkforward_trainer.errors import BadConfiguration, BadData, Reason
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    import numpy.typing as npt
    import polars as pl

    from walkforward_core.objectstore import ObjectStore
    from walkforward_trainer.plan import Plan

__all__ = ["RawBars", "read_bars"]

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class RawBars:
    """Bars as they were delivered, not cleaned, NaN where values miss; ``later`` counts those closed after ``asOf``, left out."""

    bars: Bars
    files: int
    later: int


def read_bars(store: ObjectStore, plan: Plan, *, now_ms: int) -> RawBars:
    """Return every bar of the plan's symbol that was closed at ``asOf``; the bar that is still open then is not among them.

    Raises
    ------
    BadData, BadConfiguration, Transient
        As ``fetch`` and ``read_table`` do; no rows of the symbol; nothing before ``asOf``; bars from the future.
    """
    files = fetch(store, plan.data.uri, plan.data.format)
    parts = [_of_symbol(read_table(name, data, plan.data.format), name, plan) for name, data in files]
    parts = [part for part in parts if len(part)]
    # one file after the other in time, whatever their names are; inside a file the order is looked at as it stands
    parts.sort(key=lambda part: int(part.time[0]))
    if not parts:
        raise BadData(Reason.EMPTY_WINDOW, f"data.uri {plan.data.uri}: no rows; check the address and what was written there")
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.append(part)
    latest = int(whole.time.max())
    if latest > max(now_ms, plan.as_of_ms) + DAY_MS:
        raise BadData(
            Reason.FUTURE_BARS,
            f"data.uri: {int((whole.time > max(now_ms, plan.as_of_ms) + DAY_MS).sum())} bars lie in the future, the last closes at "
            f"{_show(latest)}, it is {_show(now_ms)} now; check the unit and data.timeZone of the time stamps",
        )
    closed = whole.time <= plan.as_of_ms
    if not closed.any():
        raise BadData(
            Reason.EMPTY_WINDOW,
            f"data: no bar was closed at asOf {timestamp(plan.as_of_ms)}, the first one closes at {_show(int(whole.time.min()))}; "
            "choose a later data.asOf or older data",
        )
    return RawBars(bars=whole[closed], files=len(files), later=int((~closed).sum()))


def _of_symbol(frame: pl.DataFrame, name: str, plan: Plan) -> Bars:
    """Return the rows of the plan's symbol; a file without a symbol column is all of that symbol."""
    import polars as pl  # noqa: PLC0415 - the command line answers before it loads

    if "symbol" in frame.columns:
        chosen = frame.filter(pl.col("symbol") == plan.symbol)
        if frame.height and not chosen.height:
            found = ", ".join(sorted(map(str, frame.get_column("symbol").unique().to_list()))[:10])
            raise BadData(Reason.SYMBOL_MISSING, f"{name}: no rows of symbol {plan.symbol!r}, there are {found}; correct data.symbols")
        frame = chosen
    opened = plan.data.bar_time is BarTime.OPEN
    close_ms = _epoch_ms(frame.get_column("time"), name, plan.data.time_zone) + (plan.bar_ms if opened else 0)
    columns = {column: frame.get_column(column).fill_null(float("nan")).to_numpy() for column in PRICES}
    return Bars(time=close_ms, **columns)


def _epoch_ms(series: pl.Series, name: str, zone: str) -> npt.NDArray[np.int64]:
    """Return time stamps of any usual kind in epoch milliseconds UTC; ``zone`` is for those that carry none."""
    import polars as pl  # noqa: PLC0415 - see _of_symbol

    if series.null_count():
        raise BadData(Reason.TIME_STAMPS, f"{name}: {series.null_count()} rows have no time stamp; remove or repair them")
    try:
        if series.dtype == pl.String:
            series = _parse(series, name)
        if series.dtype.is_numeric():
            return _from_number(series.cast(pl.Int64).to_numpy())
        if series.dtype == pl.Date:
            series = series.cast(pl.Datetime("ms"))
        if not isinstance(series.dtype, pl.Datetime):
            raise BadData(Reason.TIME_STAMPS, f"{name}: time stamps are {series.dtype}; write ISO 8601, or a number since 1970 in UTC")
        if series.dtype.time_zone is None:
            series = series.dt.replace_time_zone(zone, ambiguous="raise", non_existent="raise")
        return series.dt.epoch("ms").to_numpy()
    except pl.exceptions.PolarsError as error:
        first = str(error).splitlines()[0].partition(". You may")[0]
        if "parse time zone" in first:
            raise BadConfiguration(Reason.SPEC_INVALID, f"data.timeZone {zone!r}: {first}; write an IANA name, Europe/London") from error
        raise BadData(
            Reason.TIME_STAMPS,
            f"{name}: time stamps are not unambiguous ISO 8601 in {zone}: {first}; deliver them in UTC or with an offset",
        ) from error


def _parse(series: pl.Series, name: str) -> pl.Series:
    """Return ISO 8601 text as instants; text with an offset is UTC at once. Other orders of day and month would be guessed: refused."""
    text = series.str.strip_chars()
    strange = text.filter(~text.str.contains(r"^\d{4}-\d{2}-\d{2}([T ]|$)"))
    if len(strange):
        raise BadData(
            Reason.TIME_STAMPS,
            f"{name}: {len(strange)} time stamps are not ISO 8601, the first is {strange[0]!r}; write 2026-01-31T13:00:00Z",
        )
    offset = text.str.contains(r"([Zz]|[+-]\d{2}:?\d{2})$") & (text.str.len_chars() > len("2026-01-31"))
    if offset.any() and not offset.all():
        raise BadData(Reason.TIME_STAMPS, f"{name}: {int((~offset).sum())} of {len(text)} time stamps have no offset; give all or none one")
    aware = bool(len(text)) and bool(offset[0])
    return text.str.to_datetime(time_unit="ms", time_zone="UTC" if aware else None, strict=True)


def _from_number(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return epoch numbers in milliseconds; their size tells seconds, milliseconds, microseconds and nanoseconds apart."""
    size = int(np.abs(values).max(initial=0))
    if size < 10**11:
        return values * 1_000
    if size < 10**14:
        return values.astype(np.int64)
    return values // (1_000 if size < 10**17 else 1_000_000)


def _show(epoch_ms: int) -> str:
    """Return a time that may be absurd, as the data's are when the unit is wrong."""
    try:
        return timestamp(epoch_ms)
    except (ValueError, OverflowError, OSError):
        return f"{epoch_ms} ms after 1970"
