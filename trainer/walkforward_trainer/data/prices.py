"""What prices may do: be above zero, move now and then, and not by a factor from one row to the next.

A feed that repeats its last price, over a weekend or since it broke, teaches a model when the market is closed, and that it can do very
well: the direction of hourly EURUSD, of which nothing is known (AUC 0.50), is known at 0.69 with the weekends filled in. One price that is
a hundred times too large, or a share that was split, is an outcome that no other makes up for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from walkforward_trainer.data.tables import PRICES
from walkforward_trainer.errors import BadData, Reason
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from walkforward_core.features import Bars

    Flags = npt.NDArray[np.bool_]
    Times = npt.NDArray[np.int64]
    Vector = npt.NDArray[np.float64]

__all__ = ["bar_jumps", "check_flat", "check_jump", "check_prices", "flat_bars", "newest_move", "shown"]


def check_prices(bars: Bars) -> None:
    """Refuse bars that no market makes.

    Raises
    ------
    BadData
        A price is not above zero, low and high do not hold the others between them, or volume is below zero.
    """
    # one after the other: of many bars each of these is as large as a column
    rules: tuple[tuple[str, Callable[[], Flags]], ...] = (
        ("a price is not above zero", lambda: np.minimum(bars.low, np.minimum(bars.open, bars.close)) <= 0),
        ("high is below open or close", lambda: bars.high < np.maximum(bars.open, bars.close)),
        ("low is above open or close", lambda: bars.low > np.minimum(bars.open, bars.close)),
        ("volume is below zero", lambda: bars.volume < 0),
    )
    for what, test in rules:
        wrong = test()
        if wrong.any():
            where = int(np.argmax(wrong))
            raise BadData(
                Reason.IMPOSSIBLE_PRICES,
                f"data: in {int(wrong.sum())} bars {what}, first in the one that closes at {timestamp(int(bars.time[where]))}: "
                f"{shown(bars, where)}; check the order of the columns and the source",
            )


def flat_bars(bars: Bars) -> Flags:
    """Return which bars repeat the close before them and have no range, shape (n,): what a feed writes while nothing is traded."""
    flat = np.asarray(bars.high == bars.low)
    flat[1:] &= bars.close[1:] == bars.close[:-1]
    flat[:1] = False
    return flat


def newest_move(flat: Flags, time: Times) -> int:
    """Return the time of the newest row that is not ``flat``, of which the first never is: a feed that stands still is as good as none."""
    return int(time[len(time) - 1 - int(np.argmin(flat[::-1]))])


def bar_jumps(bars: Bars) -> Vector:
    """Return by which factor the price moved at most within each bar, its way from the close before included; shape (n,), 1 or more."""
    high, low = bars.high.copy(), bars.low.copy()
    np.maximum(high[1:], bars.close[:-1], out=high[1:])
    np.minimum(low[1:], bars.close[:-1], out=low[1:])
    return np.asarray(np.divide(high, low, out=high))


def check_flat(flat: Flags, time: Times, limit: float, rows: str = "bars") -> float:
    """Return the share of rows that are ``flat``; ``rows`` is the word of the message.

    Raises
    ------
    BadData
        It is above ``limit``, the spec's ``quality.maxFlat``.
    """
    share = float(flat.mean())
    if share > limit:
        raise BadData(
            Reason.FLAT,
            f"data.quality.maxFlat: {share:.1%} of the {rows} only repeat the one before, limit {limit:.1%}, first at "
            f"{timestamp(int(time[int(np.argmax(flat))]))}; leave out what was filled in (weekends, an outage), or state a limit that fits "
            "a market with so little trade",
        )
    return share


def check_jump(factor: Vector, time: Times, limit: float, show: Callable[[int], str]) -> float:
    """Return the largest of ``factor``; ``show`` says what stands in a row.

    Raises
    ------
    BadData
        It is above ``limit``, the spec's ``quality.maxJump``.
    """
    where = int(np.argmax(factor))
    largest = float(factor[where])
    if largest > limit:
        raise BadData(
            Reason.JUMP,
            f"data.quality.maxJump: the price moves by a factor of {largest:.4g} at {timestamp(int(time[where]))} ({show(where)}), limit "
            f"{limit:g}, and so in {int((factor > limit).sum())} places; correct the print, adjust earlier prices for the split, or state "
            "a limit that the market has really reached",
        )
    return largest


def shown(bars: Bars, row: int) -> str:
    """Return the values of a bar for a person."""
    return ", ".join(f"{column} {getattr(bars, column)[row]:g}" for column in PRICES)
