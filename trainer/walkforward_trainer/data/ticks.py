"""Ticks become bars: open, high, low, close and volume of every interval of ``data.timeframe`` in which something was traded.

A bar covers [open, open + timeframe), in whole timeframes since 1970 UTC; a tick on the boundary belongs to the later bar. Its time is its
close. An interval without ticks has no bar: it is a gap, for the limits on gaps and for the labels, and never a copy of the bar before. The
newest bar counts only once a tick at or after its close has been seen: until then nobody knows whether it is whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.features import Bars
from walkforward_trainer.data.bars import RawBars, told_apart
from walkforward_trainer.data.instants import DAY_MS, show
from walkforward_trainer.data.sources import Source, Span
from walkforward_trainer.data.tables import Column, Kind, read
from walkforward_trainer.errors import BadData, Reason
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import polars as pl

    from walkforward_trainer.data.sources import Access
    from walkforward_trainer.plan import Plan

    Vector = npt.NDArray[np.float64]
    Times = npt.NDArray[np.int64]

__all__ = ["Run", "bars_of", "check_missing", "read_ticks", "run_of", "tick_columns", "whole_bars"]

COLUMNS: Final = ("time", "open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Bars of a run of ticks that follow each other, the first and the last of them perhaps cut; ``first_ms`` and ``last_ms`` are ticks."""

    bars: Bars
    first_ms: int
    last_ms: int
    ticks: int


def tick_columns() -> list[Column]:
    """Return the columns of ticks: ``time``, ``price`` and, where known, ``size`` and ``symbol``."""
    return [
        Column("time", Kind.TIME, aliases=("timestamp", "ts", "datetime")),
        Column("price", aliases=("last",)),
        Column("size", required=False, aliases=("qty", "quantity", "amount", "volume")),
        Column("symbol", Kind.TEXT, required=False),
    ]


def read_ticks(access: Access, plan: Plan, *, now_ms: int) -> RawBars:
    """Return the bars of the plan's symbol that were whole at ``asOf``, from every tick of the window and its warm-up.

    Raises
    ------
    BadData, BadConfiguration, Transient
        As ``read`` does; no ticks of the symbol, none that make a whole bar, ticks out of order or from the future, or without a price.
    """
    span = Span(until_ms=plan.as_of_ms + 1, since_ms=_since(plan))
    runs: list[Run] = []
    missing, later = 0, 0
    files: set[str] = set()
    strangers: set[str] = set()
    for part in read(access, Source.of("data", plan.data), told_apart(tick_columns(), plan), span, zone=plan.data.time_zone):
        files.add(part.name)
        later += part.later
        _check_future(part.last_ms, max(now_ms, plan.as_of_ms), part.name)
        found, lost = run_of(part.frame, part.name, plan, strangers)
        missing += lost
        if found is not None:
            runs.append(found)
    if not runs:
        others = f"; there are {', '.join(sorted(strangers)[:10])}" if strangers else ""
        raise BadData(
            Reason.SYMBOL_MISSING if strangers else Reason.EMPTY_WINDOW,
            f"data.uri {plan.data.uri}: no ticks of {plan.symbol} before asOf {timestamp(plan.as_of_ms)}{others}; "
            "correct data.symbols, or deliver ticks",
        )
    ticks = sum(run.ticks for run in runs)
    check_missing(missing, ticks, plan)
    bars = whole_bars(runs, plan.bar_ms)
    if not len(bars):
        raise BadData(
            Reason.TOO_FEW_ROWS,
            f"data: {ticks} ticks from {timestamp(runs[0].first_ms)} to {timestamp(runs[-1].last_ms)} make no whole bar of "
            f"{plan.data.timeframe}; deliver more ticks, or shorten data.timeframe",
        )
    return RawBars(bars=bars, files=len(files), later=later)


def check_missing(missing: int, ticks: int, plan: Plan) -> None:
    """Hold ticks to ``quality.maxNan``: ``missing`` have no price or no size, ``ticks`` have both.

    Raises
    ------
    BadData
        More than the limit.
    """
    share = missing / max(ticks + missing, 1)
    if share > plan.quality.max_nan:
        raise BadData(
            Reason.MISSING_VALUES,
            f"data.quality.maxNan: {share:.1%} of {ticks + missing} ticks have no price or no size, limit {plan.quality.max_nan:.1%}; "
            "repair the column at its source",
        )


def run_of(frame: pl.DataFrame, name: str, plan: Plan, strangers: set[str]) -> tuple[Run | None, int]:
    """Return the bars of the plan's symbol in ``frame``, and how many of its ticks have no price, or no size, which then adds nothing.

    Other symbols are added to ``strangers``.

    Raises
    ------
    BadData
        Ticks out of order, or a price that is none.
    """
    import polars as pl  # noqa: PLC0415 - the command line answers before it loads

    if "symbol" in frame.columns:
        chosen = frame.filter(pl.col("symbol") == plan.symbol)
        if frame.height and not chosen.height:
            strangers.update(map(str, frame.get_column("symbol").unique().to_list()))
        frame = chosen
    there = frame.filter(pl.col("price").is_not_null() & pl.col("price").is_not_nan())
    missing = frame.height - there.height
    if not there.height:
        return None, missing
    time, price = there.get_column("time").to_numpy(), there.get_column("price").to_numpy()
    # where no size is known every tick counts as one
    size = there.get_column("size").fill_null(np.nan).to_numpy() if "size" in there.columns else np.ones(there.height)
    unsized = np.isnan(size)
    missing += int(unsized.sum())
    size = np.where(unsized, 0.0, size)
    _check_ticks(time, price, size, name)
    bars = bars_of(time, price, size, plan.bar_ms)
    return Run(bars=bars, first_ms=int(time[0]), last_ms=int(time[-1]), ticks=int(len(time) - unsized.sum())), missing


def bars_of(time: Times, price: Vector, size: Vector, bar_ms: int) -> Bars:
    """Return the bars of ticks in time order; a bar's time is its close.

    >>> ticks = np.array([0, 30_000, 59_999, 60_000])
    >>> bars = bars_of(ticks, np.array([2.0, 3.0, 1.0, 5.0]), np.ones(4), 60_000)
    >>> bars.time.tolist(), bars.high.tolist(), bars.close.tolist(), bars.volume.tolist()
    ([60000, 120000], [3.0, 5.0], [1.0, 5.0], [3.0, 1.0])
    """
    slot = time // bar_ms
    first = np.flatnonzero(np.diff(slot, prepend=slot[0] - 1))
    last = np.append(first[1:], len(time)) - 1
    return Bars(
        time=(slot[first] + 1) * bar_ms,
        open=price[first],
        high=np.maximum.reduceat(price, first),
        low=np.minimum.reduceat(price, first),
        close=price[last],
        volume=np.add.reduceat(size, first),
    )


def whole_bars(runs: Sequence[Run], bar_ms: int) -> Bars:
    """Return the bars of all ``runs`` as one series; a bar cut by two files is put together, the first and the last are left out if cut.

    Raises
    ------
    BadData
        Two runs overlap: ticks would be counted twice.
    """
    ordered = sorted(runs, key=lambda run: (run.first_ms, run.last_ms))
    for one, other in pairwise(ordered):
        if other.first_ms < one.last_ms:
            raise BadData(
                Reason.OUT_OF_ORDER,
                f"data: two files overlap, one ends at {timestamp(one.last_ms)}, the next begins at {timestamp(other.first_ms)}; "
                "their ticks would be counted twice: keep every tick in one file",
            )
    bars = _merged(ordered[0].bars, [run.bars for run in ordered[1:]])
    closed = bars.time <= ordered[-1].last_ms
    # the first tick that is there need not be the first of its bar
    closed[0] &= ordered[0].first_ms == bars.time[0] - bar_ms
    return bars[closed]


def _merged(first: Bars, others: Sequence[Bars]) -> Bars:
    """Return bars in time order, those of one interval put together."""
    whole = first
    if others:
        joined = [first, *others]
        whole = Bars(*(np.concatenate([getattr(bars, name) for bars in joined]) for name in COLUMNS))
    start = np.flatnonzero(np.diff(whole.time, prepend=whole.time[0] - 1))
    last = np.append(start[1:], len(whole)) - 1
    return Bars(
        time=whole.time[start],
        open=whole.open[start],
        high=np.maximum.reduceat(whole.high, start),
        low=np.minimum.reduceat(whole.low, start),
        close=whole.close[last],
        volume=np.add.reduceat(whole.volume, start),
    )


def _since(plan: Plan) -> int | None:
    """Return the time of the oldest tick that is needed: the window, its warm-up, and one bar that may be cut."""
    if plan.window_ms is None:
        return None
    gap = (plan.warmup_bars + 1) * plan.bar_ms
    # a market that is closed at times needs a longer time for as many bars
    return plan.as_of_ms - plan.window_ms - 3 * gap - 7 * DAY_MS


def _check_ticks(time: Times, price: Vector, size: Vector, name: str) -> None:
    step = np.diff(time)
    if (step < 0).any():
        where = int(np.argmax(step < 0))
        raise BadData(
            Reason.OUT_OF_ORDER,
            f"{name}: {int((step < 0).sum())} ticks lie before the one that precedes them, first at {timestamp(int(time[where + 1]))}; "
            "sort by time: which tick opens and closes a bar depends on it",
        )
    wrong = ~(price > 0) | ~np.isfinite(price) | (size < 0)
    if wrong.any():
        where = int(np.argmax(wrong))
        raise BadData(
            Reason.IMPOSSIBLE_PRICES,
            f"{name}: {int(wrong.sum())} ticks have a price that is not above zero, or a size below zero, first at "
            f"{timestamp(int(time[where]))}: {price[where]}; check which column is which",
        )


def _check_future(last_ms: int | None, now_ms: int, name: str) -> None:
    if last_ms is not None and last_ms > now_ms + DAY_MS:
        raise BadData(
            Reason.FUTURE_BARS,
            f"{name}: ticks lie in the future, the last at {show(last_ms)}; check the unit and data.timeZone of the time stamps",
        )
