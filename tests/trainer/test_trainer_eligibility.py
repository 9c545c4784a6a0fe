"""Eligibility: what is missing is said in a sentence each; what nothing can be learned from is refused."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from trainer_datasets import dataset, plan_of
from trainer_runs import HOUR, RISK, random_bars, run_document, spec

from walkforward_core.api.data import Eligibility, RegimeSpec
from walkforward_core.durations import format_ms
from walkforward_trainer.data.bars import RawBars
from walkforward_trainer.data.quality import check_quality
from walkforward_trainer.eligibility import Log, Seen, check_learnable, limits, regime, smoked, unmet
from walkforward_trainer.errors import BadConfiguration, BadData, Reason
from walkforward_trainer.plan import make_plan
from walkforward_trainer.rows import bar_features, label_bars
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from walkforward_core.features import Bars

DAY = 24 * HOUR
UP = {"target": {"kind": "Direction"}}
GOOD = random_bars(3, 1_000)
REGIME = RegimeSpec()


def asked(**fields: Any) -> Any:
    return limits(msgspec.convert(fields, Eligibility))


def log(count: int, days: float) -> Log:
    return Log(count=count, opened_ms=0, closed_ms=round(days * DAY), where="data.trades")


def wide(bars: Bars, share: np.ndarray) -> Bars:
    """Return bars whose range is ``share`` of the close."""
    return dataclasses.replace(bars, high=bars.close * (1 + share / 2), low=bars.close * (1 - share / 2))


def test_what_is_missing_is_said_with_what_is_there() -> None:
    seen = Seen(rows=800, span_ms=800 * HOUR)
    assert unmet(asked(minAge="34d", minBars=801), seen, 0) == [
        "eligibility.minBars: 800 rows in the window, 801 wanted",
        "eligibility.minAge: the window's rows span 33d8h, 34d wanted",
    ]
    assert unmet(asked(minAge="33d8h", minBars=800), seen, 0) == []


def test_with_a_log_of_trades_their_age_counts_from_the_first_opened_to_the_last_closed() -> None:
    wanted = asked(minAge="14d", minClosedTrades=75)
    assert unmet(wanted, Seen(rows=9_999, span_ms=999 * DAY, log=log(74, 13.5)), 0) == [
        "eligibility.minAge: the closed trades of data.trades span 13d12h, 14d wanted",
        "eligibility.minClosedTrades: 74 closed trades in data.trades, 75 wanted",
    ]
    assert unmet(wanted, Seen(rows=1, span_ms=0, log=log(75, 14)), 0) == []


def test_an_age_of_days_is_said_to_the_minute_and_a_shorter_one_exactly() -> None:
    for span_ms, words in ((13 * DAY + HOUR + 61_500, "span 13d1h1m, "), (HOUR + 61_500, f"span {format_ms(HOUR + 61_500)}, ")):
        (missing,) = unmet(asked(minAge="14d"), Seen(rows=1, span_ms=span_ms), 0)
        assert words in missing


def test_a_smoke_run_needs_seven_days_and_ten_trades() -> None:
    wanted = smoked(asked(minAge="14d", minClosedTrades=75, minBars=5_000), HOUR)
    assert unmet(wanted, Seen(rows=1_000, span_ms=0, log=log(10, 7)), 0) == []
    assert len(unmet(wanted, Seen(rows=1_000, span_ms=0, log=log(9, 6.9)), 0)) == 2
    # a thousand bars of five minutes are three days and a half, which the log of trades knows nothing of
    wanted = smoked(asked(minAge="14d", minClosedTrades=75), HOUR // 12)
    (missing,) = unmet(wanted, Seen(rows=1_000, span_ms=0, log=log(10, 6.9)), 0)
    assert "7d wanted" in missing
    assert unmet(wanted, Seen(rows=1_000, span_ms=1_000 * HOUR // 12), 0) == []
    # what asks for less than that stays as it is
    assert unmet(smoked(asked(minAge="1d", minClosedTrades=3), HOUR), Seen(rows=0, span_ms=0, log=log(3, 1)), 0) == []


def test_the_recent_window_of_a_smoke_run_is_a_quarter_of_its_bars_at_most() -> None:
    """Ten days of five minutes are 2,880 bars: none of its 1,000 would be left to hold the others against."""
    wanted = smoked(asked(regime={}), HOUR // 12)
    bars = random_bars(5, 1_000)
    five = dataclasses.replace(bars, time=bars.time[0] + (bars.time - bars.time[0]) // 12)
    assert not any("lengthen" in missing for missing in unmet(wanted, Seen(rows=1_000, span_ms=0, bars=five), int(five.time[-1])))
    assert wanted.recent_ms == 250 * HOUR // 12
    assert smoked(asked(regime={}), DAY).recent_ms == 10 * DAY


def test_the_embargo_of_a_smoke_run_leaves_bars_to_test_on() -> None:
    """A day of embargo would be 288 of its 1,000 bars of five minutes."""
    fields = spec("s3://x/bars", "s3://x/models", recipe="ohlcv-direction", overrides={})
    fields["data"]["timeframe"] = "5m"
    assert make_plan(run_document(fields, mode="Smoke")).embargo_ms == 50 * HOUR // 12
    assert make_plan(run_document(fields)).embargo_ms == DAY
    fields["data"]["timeframe"] = "1d"
    assert make_plan(run_document(fields, mode="Smoke")).embargo_ms == DAY


class TestRegime:
    """The recent bars are held against quantiles of the bars before them, not against their own."""

    bars = random_bars(4, 2_000)
    recent = bars.time > bars.time[-1] - 10 * DAY

    def shares(self, recent: np.ndarray) -> list[str]:
        rng = np.random.default_rng(0)
        share = rng.uniform(0.001, 0.011, 2_000)
        share[self.recent] = recent
        return unmet(asked(regime={}), Seen(rows=1, span_ms=0, bars=wide(self.bars, share)), int(self.bars.time[-1]))

    def test_a_recent_window_like_the_past_passes(self) -> None:
        assert self.shares(np.random.default_rng(1).uniform(0.001, 0.011, int(self.recent.sum()))) == []

    def test_a_recent_window_between_the_tails_misses_both(self) -> None:
        """Its own minimum is below its own 20 % quantile all the same: the gate that asks for that never fails."""
        calm, volatile = self.shares(np.random.default_rng(1).uniform(0.005, 0.007, int(self.recent.sum())))
        assert calm.startswith("eligibility.regime: 0.0% of the bars of the last 10d are calm (range below 0.")
        assert calm.endswith("the 20% quantile of the bars before), 5.0% wanted")
        assert "are volatile (range above 0." in volatile

    def test_one_tail_is_not_enough(self) -> None:
        (missing,) = self.shares(np.full(int(self.recent.sum()), 0.02))
        assert "are calm" in missing

    def test_one_bar_in_a_tail_is_no_share_of_it(self) -> None:
        recent = np.random.default_rng(1).uniform(0.005, 0.007, int(self.recent.sum()))
        recent[0], recent[1] = 0.0001, 0.5
        assert len(self.shares(recent)) == 2

    def test_the_share_that_is_wanted_is_enough(self) -> None:
        recent = np.random.default_rng(1).uniform(0.005, 0.007, 240)
        recent[:12], recent[12:24] = 0.0001, 0.5
        assert self.shares(recent) == []
        recent[0], recent[12] = 0.006, 0.006
        assert len(self.shares(recent)) == 2

    def test_bars_on_the_very_quantile_are_in_no_tail(self) -> None:
        """Where every bar has the same range, none is calmer than the others."""
        flat = np.full(len(self.bars), 100.0)
        even = dataclasses.replace(self.bars, high=flat + 1.0, low=flat, close=flat)
        found = regime(even, REGIME, 10 * DAY, int(self.bars.time[-1]))
        assert (found.low, found.high, found.calm, found.volatile) == (0.01, 0.01, 0.0, 0.0)

    def test_the_shares_are_those_of_numpy(self) -> None:
        found = regime(self.bars, REGIME, 10 * DAY, int(self.bars.time[-1]))
        spread = (self.bars.high - self.bars.low) / self.bars.close
        low, high = np.quantile(spread[~self.recent], [0.2, 0.8])
        assert (found.low, found.high) == (low, high)
        assert found.calm == np.mean(spread[self.recent] < low)
        assert found.volatile == np.mean(spread[self.recent] > high)
        assert (found.recent, found.past) == (240, 1_760)

    @pytest.mark.parametrize(("hours", "enough"), [(19, False), (20, True)])
    def test_of_a_few_recent_bars_nothing_can_be_said(self, hours: int, *, enough: bool) -> None:
        missing = unmet(asked(regime={"recent": f"{hours}h"}), Seen(rows=1, span_ms=0, bars=self.bars), int(self.bars.time[-1]))
        few = f"eligibility.regime: {hours} bars in the last {hours}h and {2_000 - hours} before, 20 and 100 wanted; lengthen data.window"
        assert (few in missing) is not enough

    def test_without_a_past_nothing_can_be_said(self) -> None:
        (missing,) = unmet(asked(regime={}), Seen(rows=1, span_ms=0, bars=self.bars[-240:]), int(self.bars.time[-1]))
        assert "240 bars in the last 10d and 0 before, 20 and 100 wanted; lengthen data.window" in missing


class TestLearnable:
    """What no request skips."""

    def rows(self, bars: Bars, **changes: Any) -> Any:
        fields = spec("file:///bars.csv", "file:///models", **changes)
        fields["data"]["windowBars"] = 800
        plan = make_plan(run_document(fields, timestamp(int(bars.time[-1]))))
        return plan, label_bars(*bar_features(check_quality(RawBars(bars=bars, files=1, later=0), plan), plan), plan)

    def test_one_class_only(self) -> None:
        plan, rows = self.rows(GOOD, overrides=RISK | {"target": {"kind": "Risk", "threshold": 50.0}})
        with pytest.raises(BadData, match="0 are 1, the rarest answer has 0 rows and needs 20; choose another threshold") as caught:
            check_learnable(rows, plan)
        assert caught.value.reason is Reason.ONE_CLASS

    @pytest.mark.parametrize(("count", "asked_for", "limit"), [(199, 50, 200), (200, 50, None), (299, 300, 300), (300, 300, None)])
    def test_drift_is_judged_against_two_hundred_rows_at_least(self, count: int, asked_for: int, limit: int | None) -> None:
        plan = plan_of()
        plan = dataclasses.replace(plan, quality=dataclasses.replace(plan.quality, min_rows=asked_for))
        rows = dataset(np.zeros((count, 1), np.float32), np.arange(count) % 2.0)
        if limit is None:
            check_learnable(rows, plan)
            return
        with pytest.raises(BadData, match=f"{count} of {count} rows have a label, limit {limit}"):
            check_learnable(rows, plan)

    @pytest.mark.parametrize("rare", [0.0, 1.0])
    def test_the_rarer_answer_is_given_twenty_times_at_least(self, rare: float) -> None:
        plan, x = plan_of(), np.zeros((600, 1), np.float32)
        check_learnable(dataset(x, np.where(np.arange(600) < 20, rare, 1.0 - rare)), plan)
        with pytest.raises(BadData, match="the rarest answer has 19 rows and needs 20"):
            check_learnable(dataset(x, np.where(np.arange(600) < 19, rare, 1.0 - rare)), plan)

    def test_too_few_rows(self) -> None:
        plan, rows = self.rows(GOOD[:400])
        with pytest.raises(BadData, match="minRows: 295 of 300 rows have a label, limit 500") as caught:
            check_learnable(rows, plan)
        assert caught.value.reason is Reason.TOO_FEW_ROWS


@pytest.mark.parametrize(
    ("data", "changes", "words"),
    [
        ({}, {"eligibility": {"minClosedTrades": 75}}, "say in data.trades where the log of trades is"),
        ({"kind": "Trades", "symbols": ["*"]}, {}, "Risk is not a question about Trades"),
        ({}, {"overrides": {"target": {"kind": "BadTrade"}}}, "BadTrade is not a question about Bars"),
        ({"symbols": ["*"]}, {}, r"data\.symbols: \* stands for all symbols of a log of trades"),
        ({"kind": "Samples"}, {"overrides": UP}, "samples are taken every minute, not every 1h; write 1m"),
        ({"kind": "Samples", "timeframe": "1m"}, {}, "Risk needs bars with a high and a low"),
        (
            {"kind": "Samples", "timeframe": "1m", "format": "jsonl"},
            {"overrides": UP},
            "ret_1, .* cannot be had of Samples",
        ),
        (
            {"kind": "Samples", "timeframe": "1m"},
            {"overrides": UP},
            "samples are the feature logger's JSON lines",
        ),
        (
            {"kind": "Trades", "symbols": ["*"]},
            {"overrides": {"target": {"kind": "BadTrade"}, "decision": {"baseRule": "long"}}},
            "long is a rule about bars; trades bring their side",
        ),
        (
            {"kind": "Trades", "symbols": ["*"]},
            {"overrides": {"target": {"kind": "BadTrade", "horizonBars": 3}}},
            "a trade ends when it is closed",
        ),
        ({"kind": "Samples", "timeframe": "1m", "timeZone": "Europe/London"}, {"overrides": UP}, "ts of samples is epoch milliseconds"),
        ({"kind": "Ticks", "barTime": "close"}, {}, "Ticks have one time stamp a row"),
        (
            {"kind": "Trades", "symbols": ["*"], "quality": {"maxGap": "1d"}},
            {"overrides": {"target": {"kind": "BadTrade"}}},
            "trades come when they come, and are no prices; remove maxGap, minCompleteness, maxFlat and maxJump",
        ),
        (
            {"kind": "Trades", "symbols": ["*"], "quality": {"maxJump": 3}},
            {"overrides": {"target": {"kind": "BadTrade"}}},
            "remove maxGap, minCompleteness, maxFlat and maxJump",
        ),
        ({}, {"overrides": {"features": ["bias"]}}, "bias cannot be had of Bars"),
        ({}, {"overrides": {"features": ["macro.vix"]}}, "macro.vix not known"),
        ({}, {"overrides": {"features": ["ret_1", "ret_1"]}}, "ret_1 named twice"),
        (
            {"joins": [{"name": "a", "uri": "s3://x/a", "columns": ["v"]}, {"name": "a", "uri": "s3://x/b", "columns": ["v"]}]},
            {},
            "names must differ, there are a, a",
        ),
    ],
)
def test_what_rows_of_a_kind_cannot_give_is_refused_before_anything_is_read(
    data: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    fields = spec("s3://x/bars", "s3://x/models", **changes)
    fields["data"] |= data
    with pytest.raises(BadConfiguration, match=words) as caught:
        make_plan(run_document(fields))
    assert caught.value.reason is Reason.SPEC_INVALID
