"""The money in parts: by time, by side, by symbol, and the deepest drawdowns. A sum that one week has earned is another sum."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_trainer.report.data import Table
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from walkforward_trainer.backtest import Backtest

    Times = npt.NDArray[np.int64]
    Vector = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.bool_]

__all__ = ["breakdown", "open_at_once"]

MOST_PERIODS: Final = 24
DRAWDOWNS: Final = 5
UNITS: Final[tuple[tuple[str, Callable[[datetime], str]], ...]] = (
    ("day", lambda at: f"{at:%Y-%m-%d}"),
    ("week from", lambda at: f"{at - timedelta(at.weekday()):%Y-%m-%d}"),
    ("month", lambda at: f"{at:%Y-%m}"),
    ("quarter", lambda at: f"{at:%Y} Q{(at.month + 2) // 3}"),
    ("year", lambda at: f"{at:%Y}"),
)
"""Calendar units of UTC, short ones first, with the name of the one that an instant lies in; names sort by time."""


def breakdown(t0: Times, model: Backtest, base: Backtest, symbol: npt.NDArray[np.int16], symbols: Sequence[str]) -> tuple[Table, ...]:
    """Return what adds up to the result: tables for calendar periods, sides, symbols and drawdowns, where there is more than one.

    ``t0`` (n,) is when each outcome was decided, ascending, epoch milliseconds UTC; ``symbol`` (n,) the index of its instrument.
    """
    if not len(t0):
        return ()
    names = np.array(symbols)[symbol]
    sides = np.array(["long", "no position", "short"])[1 - np.sign(model.position).astype(np.intp)]
    found = [
        _periods(t0, model, base),
        _parts("sides", "Long and short", "side", "By the model's position.", sides, ("long", "short"), model),
        _parts("symbols", "Symbol by symbol", "symbol", "", names, tuple(symbols), model),
        _drawdowns(t0, model),
    ]
    return tuple(table for table in found if table is not None)


def open_at_once(t0: Times, t1: Times, position: Vector) -> tuple[float, int]:
    """Return how many positions are open at once: the mean over the time from the first decision to the last answer, and the most.

    A position is open from ``t0`` until just before ``t1``, both (n,).
    """
    taken = np.abs(position) > 0
    start, end = np.sort(t0[taken]), np.sort(t1[taken])
    if not len(start):
        return 0.0, 0
    span = int(end[-1] - start[0])
    most = max(int((np.arange(1, len(start) + 1) - np.searchsorted(end, start, side="right")).max()), 1)
    return (float((end - start).sum() / span) if span > 0 else float(len(start))), most


def _periods(t0: Times, model: Backtest, base: Backtest) -> Table | None:
    """Return the sums by the shortest calendar unit of which at most :data:`MOST_PERIODS` hold a decision; None where all are in one."""
    days, inverse = np.unique(t0 // 86_400_000, return_inverse=True)
    unit, names = _calendar([datetime.fromtimestamp(int(day) * 86_400, UTC) for day in days])
    found = tuple(dict.fromkeys(names))
    if len(found) < 2:
        return None
    of = np.array(names)[inverse]
    rows = tuple((one, *_sums(of == one, model), float(base.net[of == one].sum())) for one in found)
    return Table(
        name="periods",
        title="Over time",
        note=f"Net of costs, by the {unit.removesuffix(' from')} in which it was decided (UTC).",
        columns=(unit, "outcomes", "trades", "trades that win", "sum of net returns", "base rule alone"),
        column_units=("", "", "", "share", "share", "share"),
        rows=rows,
    )


def _calendar(dates: Sequence[datetime]) -> tuple[str, list[str]]:
    """Return the unit, and the name that each of ``dates`` has in it; years where even these are many."""
    found = [(unit, [name(date) for date in dates]) for unit, name in UNITS]
    return next((one for one in found if len(set(one[1])) <= MOST_PERIODS), found[-1])


def _parts(name: str, title: str, what: str, note: str, of: npt.NDArray[np.str_], parts: Sequence[str], model: Backtest) -> Table | None:
    """Return the sums of each of ``parts`` that occurs; None where not two of them do."""
    there = [one for one in parts if (of == one).any()]
    if len(there) < 2:
        return None
    rows = tuple((one, *_sums(of == one, model), _mean_trade(of == one, model)) for one in there)
    return Table(
        name=name,
        title=title,
        note=f"{note} Net of costs.".strip(),
        columns=(what, "outcomes", "trades", "trades that win", "sum of net returns", "mean of a trade"),
        column_units=("", "", "", "share", "share", "bps"),
        rows=rows,
    )


def _sums(rows: Rows, model: Backtest) -> tuple[float, float, float | None, float]:
    """Return outcomes, trades, share of trades that win, and the sum of net returns."""
    taken = rows & (np.abs(model.position) > 0)
    won = float((model.net[taken] > 0).mean()) if taken.any() else None
    return float(rows.sum()), float(taken.sum()), won, float(model.net[rows].sum())


def _mean_trade(rows: Rows, model: Backtest) -> float | None:
    taken = rows & (np.abs(model.position) > 0)
    return float(model.net[taken].mean()) if taken.any() else None


def _drawdowns(t0: Times, model: Backtest) -> Table | None:
    """Return the deepest drawdowns, each from a high until the next one; None without any."""
    equity = np.concatenate(([0.0], np.cumsum(model.net)))
    high = np.maximum.accumulate(equity)
    highs = np.flatnonzero(equity >= high)
    edges = [*highs.tolist(), len(equity)]
    stretches = [(first, last) for first, last in pairwise(edges) if last - first > 1]
    deepest = sorted(stretches, key=lambda one: float((equity[one[0] : one[1]] - equity[one[0]]).min()))[:DRAWDOWNS]
    if not deepest:
        return None
    rows = tuple(_drawdown(t0, equity, first, last) for first, last in deepest)
    return Table(
        name="drawdowns",
        title="Deepest drawdowns",
        note="Of the sum of net returns with the model: from a high, to the lowest point, until the high was reached again (UTC).",
        columns=("from", "lowest", "over", "depth", "outcomes until over"),
        column_units=("", "", "", "share", ""),
        rows=rows,
    )


def _drawdown(t0: Times, equity: Vector, first: int, last: int) -> tuple[str | float | None, ...]:
    """Return the row of the stretch of ``equity`` (n + 1,) from ``first``, its high, up to ``last``, where it is over."""
    lowest = first + int((equity[first:last]).argmin())
    over = last < len(equity)
    stamps = [timestamp(int(t0[max(at - 1, 0)]))[:16].replace("T", " ") for at in (first, lowest)]
    end = timestamp(int(t0[last - 1]))[:16].replace("T", " ") if over else "not yet"
    return (*stamps, end, float(equity[lowest] - equity[first]), float(last - first) if over else None)
