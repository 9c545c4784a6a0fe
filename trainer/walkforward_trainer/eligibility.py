"""Stage 5, eligibility: whether there is enough to train on. Not met is no error; the next occasion tries again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.api.data import DataKind
from walkforward_core.durations import format_ms, parse_ms
from walkforward_trainer.errors import BadData, Reason
from walkforward_trainer.splits import evaluation_splits

if TYPE_CHECKING:
    import numpy.typing as npt

    from walkforward_core.api.data import Eligibility, RegimeSpec
    from walkforward_core.features import Bars
    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.plan import Plan

__all__ = ["Log", "Regime", "Seen", "bootstrap", "check_learnable", "regime", "smoked", "unmet"]

MIN_REFERENCE_ROWS: Final = 200
"""Rows below which no drift can be judged against the reference (four windows of 50)."""
MIN_CLASS_ROWS: Final = 20
"""Rows of the rarer answer below which neither a fold nor a gate says anything."""
MIN_TRADES: Final = 2
"""Trades of either answer that the training rows of every fold of a filter of trades must have; of one nothing can be learned."""
MIN_RECENT_BARS: Final = 20
MIN_PAST_BARS: Final = 100
"""Bars below which the share of a tail, and its quantile, say nothing."""
SMOKE_AGE_MS: Final = 7 * 86_400_000
SMOKE_TRADES: Final = 10
SMOKE_BARS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Log:
    """Closed trades: how many, when the first was opened and the last closed, epoch ms UTC; ``where`` is the field that names them."""

    count: int
    opened_ms: int
    closed_ms: int
    where: str


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What there is: rows in the window and the time that they span, bars for the regimes, closed trades."""

    rows: int
    span_ms: int
    bars: Bars | None = None
    log: Log | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What must be there; ``recent_ms`` is the length of the recent window of the regimes.

    ``reach_ms`` is the most that the rows of a run can span which reads no more: its rows, not the trades in a log, need no higher age.
    """

    age_ms: int | None
    bars: int | None
    trades: int | None
    regime: RegimeSpec | None
    recent_ms: int
    reach_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Regime:
    """Shares of the recent bars in either tail of the volatility of the bars before them, and the limits of these tails."""

    calm: float
    volatile: float
    low: float
    high: float
    recent: int
    past: int


def limits(asked: Eligibility) -> Limits:
    """Return what a full run needs."""
    return Limits(
        age_ms=None if asked.min_age is None else parse_ms(asked.min_age),
        bars=asked.min_bars,
        trades=asked.min_closed_trades,
        regime=asked.regime,
        recent_ms=0 if asked.regime is None else parse_ms(asked.regime.recent),
    )


def smoked(asked: Limits, bar_ms: int) -> Limits:
    """Return what a smoke run needs: 7 days, 10 trades, and no more bars than it reads."""
    reach = SMOKE_BARS * bar_ms
    return Limits(
        age_ms=None if asked.age_ms is None else min(asked.age_ms, SMOKE_AGE_MS),
        bars=None if asked.bars is None else min(asked.bars, SMOKE_BARS),
        trades=None if asked.trades is None else min(asked.trades, SMOKE_TRADES),
        regime=asked.regime,
        recent_ms=min(asked.recent_ms, reach // 4),
        reach_ms=reach,
    )


def unmet(asked: Limits, seen: Seen, as_of_ms: int) -> list[str]:
    """Return what is missing, a sentence each; none means that training may go on."""
    missing = []
    if asked.bars is not None and seen.rows < asked.bars:
        missing.append(f"eligibility.minBars: {seen.rows} rows in the window, {asked.bars} wanted")
    if asked.age_ms is not None:
        span, what, wanted = seen.span_ms, "the window's rows span", min(asked.age_ms, asked.reach_ms or asked.age_ms)
        if seen.log is not None:
            span, what, wanted = seen.log.closed_ms - seen.log.opened_ms, f"the closed trades of {seen.log.where} span", asked.age_ms
        if span < wanted:
            missing.append(f"eligibility.minAge: {what} {_age(span)}, {format_ms(wanted)} wanted")
    if asked.trades is not None and seen.log is not None and seen.log.count < asked.trades:
        missing.append(f"eligibility.minClosedTrades: {seen.log.count} closed trades in {seen.log.where}, {asked.trades} wanted")
    if asked.regime is not None and seen.bars is not None:
        missing += _unmet_regime(seen.bars, asked.regime, asked.recent_ms, as_of_ms)
    return missing


def regime(bars: Bars, asked: RegimeSpec, recent_ms: int, as_of_ms: int) -> Regime:
    """Return how far the bars of the last ``recent_ms`` reach into the tails of the volatility of all bars before them.

    The volatility of a bar is (high - low) / close. A window held against its own quantiles would always reach into both tails: the
    quantiles are those of the bars *before* the recent ones.
    """
    spread = (bars.high - bars.low) / bars.close
    recent = bars.time > as_of_ms - recent_ms
    past, now = spread[~recent], spread[recent]
    if not len(past) or not len(now):
        return Regime(calm=0.0, volatile=0.0, low=np.nan, high=np.nan, recent=len(now), past=len(past))
    low, high = (float(limit) for limit in np.quantile(past, (asked.low_quantile, asked.high_quantile)))
    return Regime(
        calm=float(np.mean(now < low)),
        volatile=float(np.mean(now > high)),
        low=low,
        high=high,
        recent=len(now),
        past=len(past),
    )


def bootstrap(rows: Dataset, plan: Plan) -> str:
    """Return why there are not yet the trades to learn from, or nothing; only trades have a bootstrap."""
    if plan.kind is not DataKind.TRADES:
        return ""
    known = rows.y[rows.known]
    if len(known) < plan.quality.min_rows:
        why = f"{len(known)} closed trades, {plan.quality.min_rows} wanted"
    elif (fewest := _fewest(rows, plan)) < MIN_TRADES:
        why = (
            f"of {len(known)} closed trades {int(known.sum())} are bad, and one of the {plan.folds} folds would learn from {fewest} of one "
            f"kind, {MIN_TRADES} wanted"
        )
    else:
        return ""
    return f"{why}: normal during bootstrap, the rules alone decide"


def check_learnable(rows: Dataset, plan: Plan) -> None:
    """Refuse data that nothing can be learned from; no request skips this.

    Raises
    ------
    BadData
        Too few rows with a label, or one answer that is never or hardly ever given.
    """
    if plan.kind is DataKind.TRADES:
        _check_trades(rows, plan)
        return
    known = rows.y[rows.known]
    limit = max(plan.quality.min_rows, MIN_REFERENCE_ROWS)
    if len(known) < limit:
        raise BadData(
            Reason.TOO_FEW_ROWS,
            f"data.quality.minRows: {len(known)} of {len(rows.y)} rows have a label, limit {limit}; deliver more bars or lengthen "
            "the window (rows whose horizon crosses a market gap, or the end of the data, have none)",
        )
    shares = np.bincount(known.astype(np.intp), minlength=plan.classes)
    if shares.min() < MIN_CLASS_ROWS:
        what = "horizonBars" if plan.target.kind == "Direction" else "threshold or horizonBars"
        raise BadData(
            Reason.ONE_CLASS,
            f"overrides.target: of {len(known)} labels {int(shares[-1])} are {plan.classes - 1}, the rarest answer has {int(shares.min())} "
            f"rows and needs {MIN_CLASS_ROWS}; choose another {what}",
        )


def _check_trades(rows: Dataset, plan: Plan) -> None:
    """Refuse trades of which some fold could not learn both answers: a person may skip the bootstrap, but not this."""
    known = rows.y[rows.known]
    if not _fewest(rows, plan):
        raise BadData(
            Reason.TOO_FEW_ROWS,
            f"data: of {len(known)} closed trades {int(known.sum())} are bad; each of {plan.folds} folds has to learn from trades of "
            "either kind, and one has none of one; wait for more trades",
        )


def _fewest(rows: Dataset, plan: Plan) -> int:
    """Return how many trades of the rarer answer are among the training rows of the fold that has fewest."""
    if len(rows) < plan.folds:
        return 0
    return min(_rarer(rows.y[split.train]) for split in evaluation_splits(rows, plan))


def _rarer(y: npt.NDArray[np.float64]) -> int:
    """Return how often the rarer of the answers 0 and 1 is given."""
    return int(min(np.sum(y == 0), np.sum(y == 1)))


def _unmet_regime(bars: Bars, asked: RegimeSpec, recent_ms: int, as_of_ms: int) -> list[str]:
    found = regime(bars, asked, recent_ms, as_of_ms)
    window = format_ms(recent_ms)
    if found.recent < MIN_RECENT_BARS or found.past < MIN_PAST_BARS:
        few = f"{found.recent} bars in the last {window} and {found.past} before, {MIN_RECENT_BARS} and {MIN_PAST_BARS} wanted"
        return [f"eligibility.regime: {few}; lengthen data.window"]
    missing = []
    for name, share, side, limit, quantile in (
        ("calm", found.calm, "below", found.low, asked.low_quantile),
        ("volatile", found.volatile, "above", found.high, asked.high_quantile),
    ):
        if share < asked.min_share:
            tail = f"range {side} {limit:.3%}, the {quantile:.0%} quantile of the bars before"
            missing.append(
                f"eligibility.regime: {share:.1%} of the bars of the last {window} are {name} ({tail}), {asked.min_share:.1%} wanted"
            )
    return missing


def _age(span_ms: int) -> str:
    """Return a span of days to the minute, a shorter one exactly."""
    return format_ms(span_ms // 60_000 * 60_000 if span_ms >= 86_400_000 else span_ms)
