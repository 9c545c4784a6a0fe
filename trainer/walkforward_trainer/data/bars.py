"""Stage 1, bars: rows of a table → the bars of one symbol that were closed at ``asOf``, times in UTC at the close of each bar."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from walkforward_core.api.data import BarTime
from walkforward_core.durations import parse_ms
from walkforward_core.features import Bars
from walkforward_trainer.data.instants import DAY_MS, show
from walkforward_trainer.data.sources import Source, Span
from walkforward_trainer.data.tables import PRICES, SYMBOL, Column, Kind, read
from walkforward_trainer.errors import BadData, Reason
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from walkforward_trainer.data.sources import Access
    from walkforward_trainer.data.tables import Part
    from walkforward_trainer.plan import Plan

__all__ = ["RawBars", "read_bars", "told_apart"]

TIME_NAMES: Final = ("timestamp", "ts", "datetime", "date", "open_time", "")
"""Names under which the time stamp is found as well; the empty one is a data frame's unnamed index."""
COLUMNS: Final = (
    Column("time", Kind.TIME, aliases=TIME_NAMES),
    *(Column(name) for name in PRICES),
    Column(SYMBOL, Kind.TEXT, required=False),
)
SHOWN: Final = 10
"""Names of other symbols in a message."""


@dataclass(frozen=True, slots=True)
class RawBars:
    """Bars as they were delivered, not cleaned, NaN where values miss; ``later`` counts those closed after ``asOf``, left out."""

    bars: Bars
    files: int
    later: int


def read_bars(access: Access, plan: Plan, *, now_ms: int) -> RawBars:
    """Return the plan's bars that were closed at ``asOf``; the bar that is still open then is not among them.

    Of date partitions, newest first, only those are read that the window and its warm-up reach into.

    Raises
    ------
    BadData, BadConfiguration, Transient
        As ``read`` does; no rows of the symbol; nothing before ``asOf``; bars from the future; files that overlap in time.
    """
    # a stamp at the open means that the bar is known one bar later
    shift = plan.bar_ms if plan.data.bar_time is BarTime.OPEN else 0
    span = Span(until_ms=plan.as_of_ms + 1 - shift, since_ms=_since(plan), slack_ms=plan.bar_ms)
    source, found = Source.of("data", plan.data), _Found(shift=shift)
    for part in read(access, source, told_apart(COLUMNS, plan), span, zone=plan.data.time_zone):
        found.add(part, plan.symbol)
        if found.last_ms is not None and found.last_ms > max(now_ms, plan.as_of_ms) + DAY_MS:
            raise BadData(
                Reason.FUTURE_BARS,
                f"{part.name}: bars lie in the future, the last closes at {show(found.last_ms)}, it is {show(now_ms)} now; "
                "check the unit and data.timeZone of the time stamps",
            )
        if part.older_ms is not None and _enough(found, part.older_ms, plan):
            break
    if not found.files:
        raise _nothing(found, plan)
    files, count, later = found.files, found.count, found.later
    del found, part  # so that each column is let go as soon as it is taken over
    return RawBars(bars=_joined(files), files=count, later=later)


def told_apart(columns: Sequence[Column], plan: Plan) -> list[Column]:
    """Return ``columns``, of which the one of the symbol has to be there where the spec names several: each would get all rows without."""
    several = len(plan.data.symbols) > 1
    return [replace(column, required=True) if several and column.name == SYMBOL else column for column in columns]


class _Found:
    """What was read so far, by file: arrays by column, ``time`` at the close; and what the files hold beside it."""

    def __init__(self, *, shift: int) -> None:
        self.shift = shift
        self.files: dict[str, list[dict[str, npt.NDArray[Any]]]] = {}
        self.count = 0
        self.later = 0
        self.first_ms: int | None = None
        self.last_ms: int | None = None
        self.strangers: set[str] = set()
        self._times: list[tuple[int, int, npt.NDArray[np.int64]]] = []

    def add(self, part: Part, symbol: str) -> None:
        """Take over the rows of ``symbol``; a table without a symbol column is all of that symbol."""
        import polars as pl  # noqa: PLC0415 - the command line answers before it loads

        self.count += part.first_ms is not None
        self.later += part.later
        if part.first_ms is not None and part.last_ms is not None:
            first, last = part.first_ms + self.shift, part.last_ms + self.shift
            self.first_ms = first if self.first_ms is None else min(self.first_ms, first)
            self.last_ms = last if self.last_ms is None else max(self.last_ms, last)
        own = part.frame
        if "symbol" in own.columns:
            own = part.frame.filter(pl.col("symbol") == symbol)
            if own.height < part.frame.height and len(self.strangers) < SHOWN:
                self.strangers |= set(map(str, part.frame.get_column("symbol").unique().head(SHOWN).to_list())) - {symbol}
        if own.height:
            arrays = {name: own.get_column(name).fill_null(float("nan")).to_numpy() for name in PRICES}
            time = own.get_column("time").to_numpy() + self.shift
            self.files.setdefault(part.name, []).append({"time": time} | arrays)
            self._times.append((int(time.min()), int(time.max()), time))

    def since(self, close_ms: int) -> int:
        """Return how many bars of the symbol were closed at ``close_ms`` or later."""
        return sum(
            len(time) if first >= close_ms else int((time >= close_ms).sum()) for first, last, time in self._times if last >= close_ms
        )


def _since(plan: Plan) -> int | None:
    """Return a time before which no row is of use: the warm-up cannot reach further back without a gap that is refused."""
    if plan.window_ms is None:
        return None
    return plan.as_of_ms - plan.window_ms - (plan.warmup_bars + 1) * max(plan.bar_ms, parse_ms(plan.quality.max_gap))


def _enough(found: _Found, older_ms: int, plan: Plan) -> bool:
    """Return whether window and warm-up are there, when all that was not read is older than ``older_ms``, by its stamp."""
    known = found.since(older_ms + found.shift)
    if plan.window_bars is not None and known >= plan.window_bars + plan.warmup_bars:
        return True
    if plan.window_ms is None:
        return False
    # a bar belongs to the window when it opens in it
    start = plan.as_of_ms - plan.window_ms + plan.bar_ms
    return older_ms + found.shift <= start and known - found.since(start) >= plan.warmup_bars


def _nothing(found: _Found, plan: Plan) -> BadData:
    """Return why there is no bar at all."""
    where = f"data.uri {plan.data.uri}"
    if found.strangers:
        names = ", ".join(sorted(found.strangers)[:SHOWN])
        return BadData(Reason.SYMBOL_MISSING, f"{where}: no rows of symbol {plan.symbol!r}, there are {names}; correct data.symbols")
    if found.first_ms is None or found.last_ms is None:
        return BadData(Reason.EMPTY_WINDOW, f"{where}: no rows; check the address and what was written there")
    as_of = timestamp(plan.as_of_ms)
    if found.first_ms > plan.as_of_ms:
        return BadData(
            Reason.EMPTY_WINDOW,
            f"data: no bar was closed at asOf {as_of}, the first one closes at {show(found.first_ms)}; "
            "choose a later data.asOf or older data",
        )
    return BadData(
        Reason.EMPTY_WINDOW,
        f"data.window {plan.data.window} before asOf {as_of} holds no bar, the newest closes at {show(found.last_ms)}; deliver newer bars, "
        "or choose an earlier data.asOf",
    )


def _joined(files: dict[str, list[dict[str, npt.NDArray[Any]]]]) -> Bars:
    """Return the bars of all files, one after the other in time, whatever their names are; inside a file as they stand.

    Takes the arrays out of ``files``, so that no more than one column is held twice.
    """
    names = sorted(files, key=lambda name: int(files[name][0]["time"][0]))
    for one, other in pairwise(names):
        _check_apart(one, files[one], other, files[other])
    parts = [part for name in names for part in files[name]]
    if len(parts) == 1:
        return Bars(**parts[0])
    return Bars(**{column: np.concatenate([part.pop(column) for part in parts]) for column in ("time", *PRICES)})


def _check_apart(one: str, parts: list[dict[str, npt.NDArray[Any]]], other: str, others: list[dict[str, npt.NDArray[Any]]]) -> None:
    """Refuse two files of which one begins before the other ends."""
    end, start = max(int(part["time"].max()) for part in parts), min(int(part["time"].min()) for part in others)
    if start <= end:
        shared = len(np.intersect1d(np.concatenate([part["time"] for part in parts]), np.concatenate([part["time"] for part in others])))
        what = f"{shared} bars are in both" if shared else "their bars mix"
        raise BadData(
            Reason.DUPLICATE_BARS if shared else Reason.OUT_OF_ORDER,
            f"data: {other} begins at {timestamp(start)}, before {one} ends at {timestamp(end)}, and {what}; "
            "keep each bar in one file, and files apart in time",
        )
