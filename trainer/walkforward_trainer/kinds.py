"""What a spec may ask of rows of each kind; checked before anything is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from walkforward_core.api.data import BarTime, DataFormat, DataKind
from walkforward_core.features import Of, timeframe_ms, unknown
from walkforward_core.features import features as known_features
from walkforward_trainer.errors import BadConfiguration, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from walkforward_core.api.retrain import RetrainSpec
    from walkforward_trainer.recipes.recipe import Recipe

__all__ = ["EVERY_SYMBOL", "check_kind", "joined_names", "table_names"]

EVERY_SYMBOL: Final = "*"
"""Of trades: all symbols of the log, as one set of rows."""
SAMPLE_MS: Final = 60_000
UTC: Final = "Etc/UTC"
_WITH_BARS: Final = (DataKind.BARS, DataKind.TICKS)


def joined_names(spec: RetrainSpec) -> tuple[str, ...]:
    """Return the features that joins bring, ``<name>.<column>``, in order."""
    return tuple(f"{join.name}.{column}" for join in spec.data.joins for column in join.columns)


def table_names(features: Sequence[str], joined: Sequence[str], kind: DataKind) -> tuple[str, ...]:
    """Return those of ``features`` that the table of features computes; those of trades come with the trades."""
    return () if kind is DataKind.TRADES else tuple(name for name in features if name not in joined)


def check_kind(spec: RetrainSpec, recipe: Recipe, kind: DataKind, target: str, features: Sequence[str]) -> None:
    """Refuse what rows of ``kind`` cannot give.

    Raises
    ------
    BadConfiguration
        A target, a feature, a join or a condition that needs rows of another kind.
    """
    names = [join.name for join in spec.data.joins]
    if len(set(names)) != len(names):
        raise _wrong(f"data.joins: names must differ, there are {', '.join(names)}; rename one of them")
    _check_target(kind, target)
    _check_samples(spec, kind, target)
    _check_trades(spec, kind)
    _check_features(spec, recipe, kind, features)
    if spec.data.joins and kind not in _WITH_BARS:
        raise _wrong(f"data.joins: {kind} bring their own features; remove the joins, or set data.kind to Bars")
    if EVERY_SYMBOL in spec.data.symbols and (kind is not DataKind.TRADES or len(spec.data.symbols) > 1):
        raise _wrong(f"data.symbols: {EVERY_SYMBOL} stands for all symbols of a log of trades, and alone; name the symbols of {kind}")
    if spec.data.bar_time is BarTime.CLOSE and kind is not DataKind.BARS:
        raise _wrong(f"data.barTime: {kind} have one time stamp a row, no open and no close; remove it")
    asked = spec.eligibility
    if asked.regime is not None and kind not in _WITH_BARS:
        raise _wrong(f"eligibility.regime: {kind} have no bars to take the volatility of; remove it")
    if asked.min_closed_trades is not None and spec.data.trades is None and kind is not DataKind.TRADES:
        raise _wrong("eligibility.minClosedTrades: say in data.trades where the log of trades is, or remove it")


def _check_trades(spec: RetrainSpec, kind: DataKind) -> None:
    """Refuse what would be of no effect: a trade brings its own rule, and its own end."""
    if kind is not DataKind.TRADES:
        return
    asked, quality = spec.overrides, spec.data.quality
    if any(limit is not None for limit in (quality.max_gap, quality.min_completeness, quality.max_flat, quality.max_jump)):
        raise _wrong("data.quality: trades come when they come, and are no prices; remove maxGap, minCompleteness, maxFlat and maxJump")
    if asked.decision.base_rule is not None:
        raise _wrong(f"overrides.decision.baseRule: {asked.decision.base_rule} is a rule about bars; trades bring their side, remove it")
    if asked.target.horizon_bars is not None:
        raise _wrong("overrides.target.horizonBars: a trade ends when it is closed; remove it, data.timeframe is its usual length")


def _check_samples(spec: RetrainSpec, kind: DataKind, target: str) -> None:
    if kind is not DataKind.SAMPLES:
        return
    if target != "Direction":
        raise _wrong(f"overrides.target.kind: {target} needs bars with a high and a low; Samples have a mid, ask for Direction")
    if len(spec.data.symbols) > 1:
        raise _wrong(
            f"data.symbols: a log of samples is of one symbol, not of {len(spec.data.symbols)}; name one, and a retrain for each other"
        )
    if timeframe_ms(spec.data.timeframe) != SAMPLE_MS:
        raise _wrong(f"data.timeframe: samples are taken every minute, not every {spec.data.timeframe}; write 1m")
    if spec.data.time_zone != UTC:
        raise _wrong(f"data.timeZone: ts of samples is epoch milliseconds, which {spec.data.time_zone} does not change; remove it")
    if spec.data.format is not DataFormat.JSONL or spec.data.columns:
        raise _wrong("data.format: samples are the feature logger's JSON lines; write jsonl, and no data.columns")


def _check_target(kind: DataKind, target: str) -> None:
    if (target == "BadTrade") != (kind is DataKind.TRADES):
        raise _wrong(f"overrides.target.kind: {target} is not a question about {kind}; BadTrade is asked of Trades, and of nothing else")


def _check_features(spec: RetrainSpec, recipe: Recipe, kind: DataKind, features: Sequence[str]) -> None:
    if len(set(features)) != len(features):
        twice = sorted({name for name in features if list(features).count(name) > 1})
        raise _wrong(f"overrides.features: {', '.join(twice)} named twice; name each once")
    if kind is DataKind.TRADES:
        return
    wanted = table_names(features, joined_names(spec), kind)
    strangers = unknown(wanted)
    if strangers:
        own = ", ".join((*recipe.features, *joined_names(spec)))
        raise _wrong(f"overrides.features: {', '.join(strangers)} not known; the recipe's own are {own}")
    of, known = Of.SAMPLES if kind is DataKind.SAMPLES else Of.BARS, known_features()
    others = [name for name in wanted if known[name].of is not of]
    if others:
        raise _wrong(f"overrides.features: {', '.join(others)} cannot be had of {kind}; name features of {of}, or set data.kind")


def _wrong(message: str) -> BadConfiguration:
    return BadConfiguration(Reason.SPEC_INVALID, message)
