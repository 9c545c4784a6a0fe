"""Each limit on the data refuses by its own name, with the value, the place and the next step."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from trainer_runs import HOUR, random_bars, run_document, spec

from walkforward_trainer.data.bars import RawBars
from walkforward_trainer.data.quality import Window, check_quality
from walkforward_trainer.errors import BadData, Reason
from walkforward_trainer.plan import Plan, make_plan
from walkforward_trainer.rows import bar_features, bars_digest, label_bars
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from walkforward_core.features import Bars


def plan_for(bars: Bars, **data: Any) -> Plan:
    fields = spec("file:///bars.csv", "file:///models")
    fields["data"] |= {"windowBars": 800} | data
    return make_plan(run_document(fields, timestamp(int(bars.time[-1]))))


def check(bars: Bars, **data: Any) -> Window:
    return check_quality(RawBars(bars=bars, files=1, later=0), plan_for(bars, **data))


def changed(bars: Bars, **columns: Any) -> Bars:
    return dataclasses.replace(bars, **columns)


def without(bars: Bars, first: int, last: int) -> Bars:
    keep = np.ones(len(bars), bool)
    keep[first:last] = False
    return bars[keep]


GOOD = random_bars(1, 1_000)


def test_good_bars_are_cut_to_warm_up_and_window() -> None:
    window = check(GOOD)
    assert (len(window.bars), window.start) == (900, 100)
    assert window.facts.bars == 800
    assert (window.facts.max_gap_ms, window.facts.completeness, window.facts.staleness_ms, window.facts.dropped) == (HOUR, 1.0, 0, 0)
    np.testing.assert_array_equal(window.bars.time, GOOD.time[100:])


def test_where_there_is_no_warm_up_the_window_gives_it() -> None:
    window = check(GOOD, windowBars=950)
    assert (len(window.bars), window.start) == (1_000, 100)


def test_a_window_in_time_starts_at_a_bar_that_opens_in_it() -> None:
    window = check(GOOD, windowBars=None, window="10d")
    assert window.facts.bars == 240


def swap(values: np.ndarray, a: int, b: int) -> np.ndarray:
    out = values.copy()
    out[[a, b]] = out[[b, a]]
    return out


def put(values: np.ndarray, where: Any, value: float) -> np.ndarray:
    out = values.copy()
    out[where] = value
    return out


@pytest.mark.parametrize(
    ("bars", "data", "reason", "words"),
    [
        (changed(GOOD, time=swap(GOOD.time, 500, 501)), {}, Reason.OUT_OF_ORDER, "1 bars lie before the one that precedes them"),
        (GOOD[:500].append(GOOD[499:]), {}, Reason.DUPLICATE_BARS, "1 bars occur twice, first the one that closes at 2024-01-21T20:00:00Z"),
        (
            changed(GOOD, time=GOOD.time[0] + (GOOD.time - GOOD.time[0]) // 12),
            {},
            Reason.TIMEFRAME_MISMATCH,
            "999 bars are closer, first 5m",
        ),
        (changed(GOOD, time=GOOD.time[0] + (GOOD.time - GOOD.time[0]) * 4), {}, Reason.TIMEFRAME_MISMATCH, "usually 4h apart"),
        (
            changed(GOOD, close=put(GOOD.close, slice(500, 520), np.nan)),
            {},
            Reason.MISSING_VALUES,
            "maxNan: column close misses 2.2% .* first in the bar that closes at 2024-01-21T21:00:00Z; repair",
        ),
        (changed(GOOD, volume=put(GOOD.volume, slice(None), np.nan)), {}, Reason.MISSING_VALUES, "column volume misses 100.0%"),
        (changed(GOOD, high=GOOD.low, low=GOOD.high), {}, Reason.IMPOSSIBLE_PRICES, "high is below open or close"),
        (
            changed(GOOD, low=put(GOOD.low, 700, 9.0)),
            {},
            Reason.IMPOSSIBLE_PRICES,
            "in 1 bars low is above open or close, .*: open 1.* low 9, close 1.*; check the order",
        ),
        (changed(GOOD, low=put(GOOD.low, 700, 0.0)), {}, Reason.IMPOSSIBLE_PRICES, "in 1 bars a price is not above zero"),
        (changed(GOOD, volume=put(GOOD.volume, 700, -1.0)), {}, Reason.IMPOSSIBLE_PRICES, "volume is below zero"),
        (without(GOOD, 500, 640), {}, Reason.GAP, "maxGap: 5d21h without a bar before 2024-01-27T17:00:00Z, limit 5d"),
        (
            without(GOOD, 500, 600),
            {"quality": {"minCompleteness": 0.95}},
            Reason.INCOMPLETE,
            "800 bars of 900 possible ones, 0.89, limit 0.95",
        ),
        (GOOD[:80], {}, Reason.TOO_FEW_ROWS, "80 bars were closed at asOf .*, the warm-up alone takes 100"),
        (GOOD[:10], {}, Reason.TOO_FEW_ROWS, "10 bars were closed"),
    ],
)
def test_refusals(bars: Bars, data: dict[str, Any], reason: Reason, words: str) -> None:
    with pytest.raises(BadData, match=words) as caught:
        check(bars, **data)
    assert caught.value.reason is reason


def test_stale_bars_are_measured_from_as_of() -> None:
    fields = spec("file:///bars.csv", "file:///models")
    fields["data"]["windowBars"] = 800
    raw = RawBars(bars=GOOD, files=1, later=0)
    check_quality(raw, make_plan(run_document(fields, timestamp(int(GOOD.time[-1]) + 7 * 24 * HOUR))))
    late = make_plan(run_document(fields, timestamp(int(GOOD.time[-1]) + 7 * 24 * HOUR + 1_000)))
    with pytest.raises(BadData, match=r"maxStaleness: the newest bar with a new price closed at .*, 7d1s before asOf, limit 7d") as caught:
        check_quality(raw, late)
    assert caught.value.reason is Reason.STALE


def test_a_window_without_a_bar_in_it() -> None:
    fields = spec("file:///bars.csv", "file:///models")
    fields["data"] |= {"windowBars": None, "window": "3d"}
    late = make_plan(run_document(fields, timestamp(int(GOOD.time[-1]) + 5 * 24 * HOUR)))
    with pytest.raises(BadData, match=r"data\.window 3d before asOf .* holds no bar") as caught:
        check_quality(RawBars(bars=GOOD, files=1, later=0), late)
    assert caught.value.reason is Reason.EMPTY_WINDOW


def test_bars_that_miss_a_value_are_dropped_and_leave_a_gap_for_labels() -> None:
    bars = changed(GOOD, close=put(GOOD.close, [150, 500], np.nan))
    window = check(bars, quality={"maxNan": 0.01})
    assert window.facts.dropped == 2
    assert window.start == 99
    plan = plan_for(bars, quality={"maxNan": 0.01})
    rows = label_bars(*bar_features(window, plan), plan)
    assert len(rows) == 798
    assert np.isfinite(rows.x).all()
    crossing = (rows.t0 < GOOD.time[500]) & (GOOD.time[500] <= rows.t1)
    assert not rows.known[crossing].any()


def test_a_feature_that_is_no_number_is_named() -> None:
    window = check(GOOD)
    broken = Window(bars=changed(window.bars, volume=put(window.bars.volume, slice(None), np.nan)), start=window.start, facts=window.facts)
    with pytest.raises(BadData, match=r"feature log_volume.* is not a finite number in 800 of 800 rows") as caught:
        bar_features(broken, plan_for(GOOD))
    assert caught.value.reason is Reason.BAD_FEATURE


def test_the_digest_of_the_data_is_of_the_values() -> None:
    same = bars_digest(check(GOOD).bars)
    assert bars_digest(check(GOOD[100:].append(GOOD[:0])).bars) == same
    assert bars_digest(check(changed(GOOD, volume=put(GOOD.volume, 999, 3.5))).bars) != same
