"""A first look that does not read everything: whether ticks are enough, from what their files say of themselves and a sample.

A dry run asks no more than that. A run that trains reads every tick, and judges by those.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from walkforward_core.durations import format_ms, parse_ms
from walkforward_trainer.data.tick_sample import sample_ticks
from walkforward_trainer.eligibility import Seen, limits, regime, unmet
from walkforward_trainer.errors import BadData, Reason
from walkforward_trainer.specfile import timestamp
from walkforward_trainer.stages import stage
from walkforward_trainer.trade_rows import trade_log

if TYPE_CHECKING:
    from walkforward_core.runs import RunDocument
    from walkforward_trainer.data.sources import Access
    from walkforward_trainer.data.tick_sample import TickSample
    from walkforward_trainer.plan import Plan

__all__ = ["Look", "look_at_ticks"]


@dataclass(frozen=True, slots=True)
class Look:
    """What is missing, a sentence each; what was seen, in words and in numbers."""

    unmet: tuple[str, ...]
    message: str
    metrics: dict[str, float]


def look_at_ticks(run: RunDocument, plan: Plan, access: Access) -> Look | None:
    """Return what eligibility says of the ticks, or nothing where they have to be read to know.

    Raises
    ------
    RunError
        Ticks are too old or too few for any training; the files cannot be read.
    """
    asked = limits(run.spec.eligibility)
    with stage("ticks"):
        seen = sample_ticks(access, plan, recent_ms=asked.recent_ms, least=run.spec.eligibility.tick_sample)
    # a symbol that no sampled row group has may be in the others
    if seen is None or seen.share == 0.0:
        return None
    with stage("eligibility"):
        _check(seen, plan)
        count = min(seen.bar_count, *_window(plan))
        span = min(seen.last_ms - seen.first_ms, plan.window_ms or seen.last_ms - seen.first_ms)
        found = Seen(rows=count, span_ms=span, bars=seen.bars, log=trade_log(access, plan, None))
        missing = tuple(unmet(asked, found, plan.as_of_ms))
    metrics = {
        "ticks": float(round(seen.ticks * seen.share)),
        "bars": float(count),
        "spanHours": span / 3_600_000,
        "sampledTicks": float(seen.sampled),
    }
    if asked.regime is not None:
        shares = regime(seen.bars, asked.regime, asked.recent_ms, plan.as_of_ms)
        metrics |= {"calmShare": shares.calm, "volatileShare": shares.volatile}
    ticks = round(seen.ticks * seen.share)
    message = f"about {count} bars of {plan.data.timeframe} from {ticks} ticks, judged by {seen.sampled} of them; a full run reads them all"
    return Look(unmet=missing, message=message, metrics=metrics)


def _window(plan: Plan) -> list[int]:
    """Return the most bars that the window has room for."""
    rooms = [] if plan.window_ms is None else [plan.window_ms // plan.bar_ms]
    return rooms if plan.window_bars is None else [*rooms, plan.window_bars]


def _check(seen: TickSample, plan: Plan) -> None:
    """Refuse what every run would refuse: ticks that have stopped, or that are too few for any model."""
    age = plan.as_of_ms - seen.last_ms
    if age > parse_ms(plan.quality.max_staleness):
        raise BadData(
            Reason.STALE,
            f"data.quality.maxStaleness: the newest tick is of {timestamp(seen.last_ms)}, {format_ms(age // 60_000 * 60_000)} before asOf, "
            f"limit {plan.quality.max_staleness}; look why no newer ticks arrive",
        )
    if seen.bar_count < plan.warmup_bars + plan.quality.min_rows:
        raise BadData(
            Reason.TOO_FEW_ROWS,
            f"data.quality.minRows: {round(seen.ticks * seen.share)} ticks make about {seen.bar_count} bars of {plan.data.timeframe}; "
            f"{plan.warmup_bars} for the warm-up and {plan.quality.min_rows} to learn from are needed; deliver more ticks",
        )
