"""Stage 2, data quality: what the bars must be before anything is learned from them; each limit refuses by its own name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from walkforward_core.durations import format_ms, parse_ms
from walkforward_trainer.data.prices import bar_jumps, check_flat, check_jump, check_prices, flat_bars, newest_move, shown
from walkforward_trainer.data.tables import PRICES
from walkforward_trainer.errors import BadData, Reason
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    import numpy.typing as npt

    from walkforward_core.features import Bars
    from walkforward_trainer.data.bars import RawBars
    from walkforward_trainer.plan import Plan

__all__ = ["QualityFacts", "Window", "check_gaps", "check_quality"]


@dataclass(frozen=True, slots=True)
class QualityFacts:
    """What was found, beside the limits of the spec; times in milliseconds, ``max_jump`` a factor.

    ``flat_share`` and ``max_jump`` are None for trades, which have no price that could stand still or jump.
    """

    bars: int
    dropped: int
    nan_share: dict[str, float]
    max_gap_ms: int
    completeness: float
    staleness_ms: int
    flat_share: float | None = None
    max_jump: float | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """Clean bars, ascending: ``start`` bars of warm-up, then the training window."""

    bars: Bars
    start: int
    facts: QualityFacts


def check_quality(raw: RawBars, plan: Plan) -> Window:
    """Return the warm-up and the window, without bars that miss a value.

    Raises
    ------
    BadData
        A limit does not hold; the message has the limit's name, the value found, where, and what to do.
    """
    _check_order(raw.bars.time, plan.bar_ms)
    start, first = _cut(raw.bars.time, plan)
    bars = raw.bars[first:]
    _check_timeframe(bars.time, plan.bar_ms)
    share = _check_values(bars, plan.quality.max_nan)
    present = _present(bars)
    # bars that miss a value leave a gap, which labels and gap checks then see; where none does, nothing is copied
    clean, start = bars if present.all() else bars[present], int(present[: start - first].sum())
    check_prices(clean)
    gap = check_gaps(clean.time, plan)
    completeness = _check_completeness(clean.time, start, plan)
    flat = flat_bars(clean)
    flat_share = check_flat(flat, clean.time, plan.quality.max_flat)
    staleness = _check_staleness(newest_move(flat, clean.time), plan)
    return Window(
        bars=clean,
        start=start,
        facts=QualityFacts(
            bars=len(clean) - start,
            dropped=int((~present).sum()),
            nan_share=share,
            max_gap_ms=gap,
            completeness=completeness,
            staleness_ms=staleness,
            flat_share=flat_share,
            max_jump=check_jump(bar_jumps(clean), clean.time, plan.quality.max_jump, lambda row: shown(clean, row)),
        ),
    )


def _check_order(time: npt.NDArray[np.int64], bar_ms: int) -> None:
    step = np.diff(time)
    if (step < 0).any():
        where = int(np.argmax(step < 0))
        raise BadData(
            Reason.OUT_OF_ORDER,
            f"data: {int((step < 0).sum())} bars lie before the one that precedes them in the file, first at "
            f"{timestamp(int(time[where + 1]))}; sort by time, and look whether two sources were mixed",
        )
    if (step == 0).any():
        where = int(np.argmax(step == 0))
        raise BadData(
            Reason.DUPLICATE_BARS,
            f"data: {int((step == 0).sum())} bars occur twice, first the one that closes at {timestamp(int(time[where]))}; "
            "keep one of each",
        )
    if (step < bar_ms).any():
        where = int(np.argmax(step < bar_ms))
        raise BadData(
            Reason.TIMEFRAME_MISMATCH,
            f"data.timeframe is {format_ms(bar_ms)}, but {int((step < bar_ms).sum())} bars are closer, first {format_ms(int(step[where]))} "
            f"at {timestamp(int(time[where]))}; correct data.timeframe, or aggregate the bars",
        )


def _cut(time: npt.NDArray[np.int64], plan: Plan) -> tuple[int, int]:
    """Return the index at which the window starts and that at which its warm-up does."""
    start = 0
    if plan.window_ms is not None:
        # a bar belongs to the window when it opens in it
        start = int(np.searchsorted(time - plan.bar_ms, plan.as_of_ms - plan.window_ms, side="left"))
        if start == len(time):
            raise BadData(
                Reason.EMPTY_WINDOW,
                f"data.window {plan.data.window} before asOf {timestamp(plan.as_of_ms)} holds no bar, the newest closes at "
                f"{timestamp(int(time[-1]))}; deliver newer bars, or choose an earlier data.asOf",
            )
    if plan.window_bars is not None:
        start = max(start, len(time) - plan.window_bars)
    if len(time) <= plan.warmup_bars:
        raise BadData(
            Reason.TOO_FEW_ROWS,
            f"data: {len(time)} bars were closed at asOf {timestamp(plan.as_of_ms)}, the warm-up alone takes {plan.warmup_bars}; "
            "deliver more bars",
        )
    # where the file has no bars for the warm-up, the first bars of the window serve
    start = max(start, plan.warmup_bars)
    return start, max(0, start - plan.warmup_bars)


def _check_timeframe(time: npt.NDArray[np.int64], bar_ms: int) -> None:
    if len(time) < 3:
        return
    usual = int(np.median(np.diff(time)))
    if usual != bar_ms:
        raise BadData(
            Reason.TIMEFRAME_MISMATCH,
            f"data.timeframe is {format_ms(bar_ms)}, but bars are usually {format_ms(usual)} apart; correct data.timeframe",
        )


def _check_values(bars: Bars, limit: float) -> dict[str, float]:
    missing = {column: ~np.isfinite(getattr(bars, column)) for column in PRICES}
    share = {column: float(np.mean(missing[column])) for column in PRICES}
    worst = max(share, key=lambda column: share[column])
    if share[worst] > limit:
        where = int(np.argmax(missing[worst]))
        raise BadData(
            Reason.MISSING_VALUES,
            f"data.quality.maxNan: column {worst} misses {share[worst]:.1%} of its values, limit {limit:.1%}, first in the bar that "
            f"closes at {timestamp(int(bars.time[where]))}; repair the column at its source",
        )
    return share


def _present(bars: Bars) -> npt.NDArray[np.bool_]:
    """Return which bars have all their values."""
    present = np.isfinite(bars.open)
    for column in PRICES[1:]:
        present &= np.isfinite(getattr(bars, column))
    return present


def check_gaps(
    time: npt.NDArray[np.int64], plan: Plan, row: str = "bar", remedy: str = "fill in the missing bars, or shorten data.window"
) -> int:
    """Return the longest time between two rows, in milliseconds.

    Raises
    ------
    BadData
        It is longer than ``quality.maxGap``; ``row`` and ``remedy`` are the words of the message.
    """
    step = np.diff(time, prepend=time[:1])
    longest = int(step.max(initial=0))
    if longest > parse_ms(plan.quality.max_gap):
        where = int(np.argmax(step))
        raise BadData(
            Reason.GAP,
            f"data.quality.maxGap: {format_ms(longest)} without a {row} before {timestamp(int(time[where]))}, limit "
            f"{plan.quality.max_gap}; {remedy}",
        )
    return longest


def _check_completeness(time: npt.NDArray[np.int64], start: int, plan: Plan) -> float:
    time = time[start:]
    if len(time) == 0:
        raise BadData(
            Reason.TOO_FEW_ROWS, f"data: no bar is left after the {plan.warmup_bars} bars of warm-up; deliver more bars before asOf"
        )
    possible = (int(time[-1]) - int(time[0])) // plan.bar_ms + 1
    share = len(time) / possible
    if share < plan.quality.min_completeness:
        raise BadData(
            Reason.INCOMPLETE,
            f"data.quality.minCompleteness: {len(time)} bars of {possible} possible ones, {share:.2f}, limit "
            f"{plan.quality.min_completeness:.2f}; fill in the missing bars, or state a limit that fits the market's hours",
        )
    return share


def _check_staleness(newest_ms: int, plan: Plan) -> int:
    age = plan.as_of_ms - newest_ms
    if age > parse_ms(plan.quality.max_staleness):
        raise BadData(
            Reason.STALE,
            f"data.quality.maxStaleness: the newest bar with a new price closed at {timestamp(newest_ms)}, {format_ms(age)} before "
            f"asOf, limit {plan.quality.max_staleness}; look why no newer bars arrive, or why they only repeat it",
        )
    return age
