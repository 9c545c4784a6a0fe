"""What ticks there are, from the footers of Parquet files and a few of their row groups: seconds of work instead of minutes.

The footers say exactly how many ticks there are and from when to when. How many bars they make, and how volatile these are, is estimated
from whole bars of a few row groups, spread over the time before the recent window and over the recent window itself.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.api.data import DataFormat
from walkforward_core.features import Bars
from walkforward_trainer.data.columns import resolve, typed
from walkforward_trainer.data.formats import unreadable
from walkforward_trainer.data.instants import epoch_ms
from walkforward_trainer.data.parquet import MAGIC, NotParquet, read_footer
from walkforward_trainer.data.sources import Source, Span, names, symbol_of
from walkforward_trainer.data.ticks import COLUMNS, check_missing, run_of, tick_columns
from walkforward_trainer.errors import BadData, Reason, Transient
from walkforward_trainer.specfile import timestamp
from walkforward_trainer.stages import store_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt
    import polars as pl

    from walkforward_core.objectstore import ObjectStore
    from walkforward_trainer.data.columns import Found
    from walkforward_trainer.data.parquet import Footer, Group
    from walkforward_trainer.data.sources import Access
    from walkforward_trainer.plan import Plan

__all__ = ["TickSample", "sample_ticks"]

RECENT_GROUPS: Final = 2
PAST_GROUPS: Final = 3
READERS: Final = 8


@dataclass(frozen=True, slots=True, eq=False)
class TickSample:
    """``ticks`` at ``asOf`` and the time between the first and the last, of the files as a whole; the rest is from ``sampled`` ticks.

    ``share`` of the ticks are of the symbol; they make about ``bar_count`` bars, of which ``bars`` are some.
    """

    ticks: int
    first_ms: int
    last_ms: int
    sampled: int
    share: float
    bar_count: int
    bars: Bars


@dataclass(frozen=True, slots=True)
class _Place:
    """One row group with the times of its first and last tick."""

    uri: str
    footer: Footer
    group: Group
    first_ms: int
    last_ms: int

    def until(self, as_of_ms: int) -> int:
        """Return about how many of its ticks there were at ``as_of_ms``."""
        if self.last_ms <= as_of_ms:
            return self.group.rows
        return round(self.group.rows * (as_of_ms - self.first_ms) / (self.last_ms - self.first_ms))


def sample_ticks(access: Access, plan: Plan, *, recent_ms: int, least: int) -> TickSample | None:
    """Return what there is, or nothing where the footers do not say it and everything has to be read.

    ``least`` ticks are looked at, where there are as many.

    Raises
    ------
    BadData, BadConfiguration, Transient
        Nothing there at ``asOf``; not Parquet; not allowed; not reachable.
    """
    if plan.data.format is not DataFormat.PARQUET:
        return None
    source = Source.of("data", plan.data)
    files = names(access, source, Span(until_ms=plan.as_of_ms + 1))
    if any(symbol_of(uri) is not None for uri in files):
        return None
    store = access.store(source.uri, source.field)
    places = _places(store, files, source, plan)
    if places is None:
        return None
    known = [place for place in places if place.first_ms <= plan.as_of_ms]
    if not known:
        raise BadData(
            Reason.EMPTY_WINDOW,
            f"data.uri {plan.data.uri}: no ticks before asOf {timestamp(plan.as_of_ms)}; choose a later data.asOf, or deliver ticks",
        )
    known = _window(known, plan)
    return _estimate(store, known, _chosen(known, plan.as_of_ms - recent_ms, least), source, plan)


def _window(places: Sequence[_Place], plan: Plan) -> list[_Place]:
    """Return the row groups that the window and its warm-up reach into; the newest is always one."""
    start = plan.as_of_ms - (plan.window_ms or 0) - plan.warmup_bars * plan.bar_ms if plan.window_ms is not None else None
    found: list[_Place] = []
    slots = 0
    for place in reversed(places):
        enough = plan.window_bars is not None and slots >= plan.window_bars + plan.warmup_bars
        if found and (enough or (start is not None and place.last_ms < start)):
            break
        found.append(place)
        slots += place.last_ms // plan.bar_ms - place.first_ms // plan.bar_ms
    return found[::-1]


def _places(store: ObjectStore, files: Sequence[str], source: Source, plan: Plan) -> list[_Place] | None:
    """Return the row groups in the order of time; nothing where one does not tell its times."""
    with ThreadPoolExecutor(READERS) as pool:
        footers = list(pool.map(lambda uri: _footer(store, uri), files))
    found = []
    for uri, footer in zip(files, footers, strict=True):
        column = _time_column(footer, source)
        bounds = None if column is None else [group.integers(column) for group in footer.groups if group.rows]
        if column is None or bounds is None or None in bounds:
            return None
        stamps = _instants([bound for bound in bounds if bound is not None], footer, column, uri, plan.data.time_zone)
        groups = [group for group in footer.groups if group.rows]
        found += [_Place(uri, footer, group, first, last) for group, (first, last) in zip(groups, stamps, strict=True)]
    return sorted(found, key=lambda place: (place.first_ms, place.last_ms))


def _footer(store: ObjectStore, uri: str) -> Footer:
    with store_errors("data.uri"):
        try:
            return read_footer(lambda start, length: store.get_range(uri, start, length))
        except NotParquet as error:
            raise BadData(Reason.DATA_UNREADABLE, f"{uri}: not readable as parquet: {error}; check data.format and the file") from error


def _time_column(footer: Footer, source: Source) -> str | None:
    """Return the column of 64-bit integers that the time stamps are in."""
    by_name = {name.strip().lower(): name for name in footer.integers}
    column = tick_columns()[0]
    names = [source.columns[column.name]] if column.name in source.columns else [column.name, *column.aliases]
    return next((by_name[name.strip().lower()] for name in names if name.strip().lower() in by_name), None)


def _instants(bounds: Sequence[tuple[int, int]], footer: Footer, column: str, name: str, zone: str) -> list[tuple[int, int]]:
    """Return pairs of raw time stamps in epoch milliseconds UTC."""
    import polars as pl  # noqa: PLC0415 - the command line answers before it loads

    series = pl.Series(column, [value for pair in bounds for value in pair], dtype=pl.Int64)
    unit = {1_000: "ms", 1_000_000: "us", 1_000_000_000: "ns"}.get(footer.ticks_per_second.get(column, 0))
    if unit is not None:
        series = series.cast(pl.Datetime(unit, "UTC" if column in footer.utc else None))  # type: ignore[arg-type]  # one of three words
    flat = epoch_ms(series, name, zone).tolist()
    return list(zip(flat[::2], flat[1::2], strict=True))


def _chosen(places: Sequence[_Place], since_ms: int, least: int) -> list[_Place]:
    """Return row groups of the recent window and of the time before, evenly spread, and enough for ``least`` ticks."""
    recent = [place for place in places if place.last_ms > since_ms]
    past = [place for place in places if place.last_ms <= since_ms]
    chosen = [*_spread(past, PAST_GROUPS), *_spread(recent, RECENT_GROUPS)]
    count = RECENT_GROUPS
    while sum(place.group.rows for place in chosen) < least and len(chosen) < len(places):
        count *= 2
        chosen = [*_spread(past, count), *_spread(recent, count)]
    return sorted(chosen, key=lambda place: place.first_ms)


def _spread(places: Sequence[_Place], count: int) -> list[_Place]:
    if len(places) <= count:
        return list(places)
    return [places[index] for index in np.unique(np.linspace(0, len(places) - 1, count).round().astype(int)).tolist()]


def _estimate(store: ObjectStore, places: Sequence[_Place], chosen: Sequence[_Place], source: Source, plan: Plan) -> TickSample:
    """Return what the sampled row groups say about all of them; too many without a price or a size are refused, as by a run that trains."""
    ticks = sum(place.until(plan.as_of_ms) for place in places)
    sampled, own, found, possible, lost = 0, 0, 0, 0, 0
    bars: list[Bars] = []
    for place, frame in zip(chosen, _frames(store, chosen, source, plan), strict=True):
        rows = frame.filter(frame.get_column("time") <= plan.as_of_ms)
        run, missing = run_of(rows, place.uri, plan, set())
        sampled += rows.height
        own += missing
        lost += missing
        if run is None:
            continue
        own += run.ticks
        # what the row group cuts off at either end is no whole bar
        whole = run.bars[1:-1]
        bars.append(whole)
        found += len(run.bars)
        possible += (run.last_ms // plan.bar_ms) - (run.first_ms // plan.bar_ms) + 1
    check_missing(lost, own - lost, plan)
    slots = sum(min(place.last_ms, plan.as_of_ms) // plan.bar_ms - place.first_ms // plan.bar_ms for place in places)
    joined = _joined(bars)
    return TickSample(
        ticks=ticks,
        first_ms=min(place.first_ms for place in places),
        last_ms=min(max(place.last_ms for place in places), plan.as_of_ms),
        sampled=sampled,
        share=own / sampled if sampled else 0.0,
        bar_count=round(slots * found / possible) if possible else 0,
        bars=joined,
    )


def _frames(store: ObjectStore, chosen: Sequence[_Place], source: Source, plan: Plan) -> Iterator[pl.DataFrame]:
    """Yield the ticks of the row groups: nothing else of their files is fetched."""
    import polars as pl  # noqa: PLC0415 - see _instants

    for place in chosen:
        with store_errors("data.uri"):
            data = store.get_range(place.uri, place.group.start, place.group.end - place.group.start)
        try:
            frame, columns = _decoded(place, data, source)
        except OSError as error:
            raise Transient(Reason.NO_SPACE, f"{tempfile.gettempdir()}: {error.strerror}; give the run a larger /tmp") from error
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError, OverflowError) as error:
            raise unreadable(error, source, place.uri) from error
        time = pl.Series("time", epoch_ms(frame.get_column("time"), place.uri, plan.data.time_zone))
        yield typed(frame.with_columns(time), columns, place.uri, plan.data.time_zone)


def _decoded(place: _Place, data: bytes, source: Source) -> tuple[pl.DataFrame, list[Found]]:
    """Return the rows of a row group, whose bytes are ``data``, and where their columns are.

    A file with holes serves: the footer says where each row group lies, and what lies elsewhere is never looked at.
    """
    import polars as pl  # noqa: PLC0415 - see _instants

    group, end = place.group, max(other.end for other in place.footer.groups)
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        for at, part in ((0, MAGIC), (group.start, data), (end, place.footer.tail)):
            file.seek(at)
            file.write(part)
        file.flush()
        table = pl.scan_parquet(file.name)
        columns = resolve(tick_columns(), table.collect_schema(), source, place.uri)
        frame = table.slice(group.row, group.rows).select(column.expression.alias(column.name) for column in columns).collect()
    return frame, columns


def _joined(bars: Sequence[Bars]) -> Bars:
    arrays: dict[str, npt.NDArray[np.float64]] = {
        name: np.concatenate([getattr(part, name) for part in bars]) if bars else np.empty(0) for name in COLUMNS
    }
    arrays["time"] = arrays["time"].astype(np.int64)
    return Bars(**arrays)  # type: ignore[arg-type]  # time is of integers again
