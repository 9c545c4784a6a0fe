"""The drift-robust features of samples: lags in time, gaps that are seen, a day's statistics, the client's bits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from feature_rows import MINUTE, START, random_samples
from hypothesis import given, settings
from hypothesis import strategies as st

from walkforward_core.features import DRIFT_ROBUST_7, FEATURES, Of, Samples, compute, latest, lookback, matrix

EVERY = [name for name, feature in FEATURES.items() if feature.of is Of.SAMPLES]


def at(times_ms: list[int], mid: list[float] | None = None) -> Samples:
    count = len(times_ms)
    values = np.arange(1.0, count + 1.0) if mid is None else np.array(mid)
    return Samples(
        time=START + np.array(times_ms, np.int64), mid=values, spread_bp=np.ones(count), vol1m=np.ones(count), rsi14=np.full(count, 50.0)
    )


def column(samples: Samples, name: str) -> list[float]:
    return list(map(float, FEATURES[name].formula(samples)))


def test_the_formulae_row_by_row() -> None:
    samples = random_samples(1, 1_600)
    x = compute(samples, DRIFT_ROBUST_7).astype(np.float64)
    for t in (1_439, 1_500, 1_599):
        day = samples.mid[t - 1_439 : t + 1]
        assert x[t].tolist() == pytest.approx(
            [
                1.0,
                math.log(samples.mid[t] / samples.mid[t - 1]),
                math.log(samples.mid[t] / samples.mid[t - 5]),
                samples.spread_bp[t],
                math.log1p(samples.vol1m[t]),
                (samples.rsi14[t] - 50) / 30,
                (samples.mid[t] - day.mean()) / (day.std() + 1e-8),
            ],
            rel=1e-5,
            abs=1e-9,
        )


def test_five_minutes_are_five_minutes_not_the_last_sample() -> None:
    returns = column(at([MINUTE * minute for minute in range(8)]), "mid_logret_5m")
    assert returns[5:] == pytest.approx([math.log(6 / 1), math.log(7 / 2), math.log(8 / 3)])
    assert np.isnan(returns[:5]).all()


def test_a_lag_is_found_by_its_time_stamp_when_samples_are_missing() -> None:
    minutes = [0, 1, 2, 4, 5, 6, 7, 9]
    samples = at([MINUTE * minute for minute in minutes])
    one, five = column(samples, "mid_logret_1m"), column(samples, "mid_logret_5m")
    value = dict(zip(minutes, samples.mid.tolist(), strict=True))
    for row, minute in enumerate(minutes):
        for found, lag in ((one[row], 1), (five[row], 5)):
            if minute - lag in value:
                assert found == pytest.approx(math.log(value[minute] / value[minute - lag]))
            else:
                assert math.isnan(found), (minute, lag)


@pytest.mark.parametrize(
    ("off_ms", "known"), [(0, True), (29_000, True), (30_000, True), (30_001, False), (-30_000, True), (-30_001, False)]
)
def test_half_an_interval_is_near_enough(off_ms: int, known: bool) -> None:  # noqa: FBT001 - a parameter of the table above
    samples = at([0, 300_000 + off_ms])
    assert math.isnan(column(samples, "mid_logret_5m")[1]) is not known


def test_the_nearest_sample_counts_and_of_two_as_near_the_older() -> None:
    # a minute before the last: 40 and 55 s → 5 s off; then 10 s off on either side
    assert column(at([0, 20_000, 35_000, 90_000]), "mid_logret_1m")[3] == pytest.approx(math.log(4 / 3))
    assert column(at([0, 20_000, 40_000, 90_000]), "mid_logret_1m")[3] == pytest.approx(math.log(4 / 2))


def test_after_a_gap_there_is_no_return_instead_of_none() -> None:
    returns = column(at([0, MINUTE, 60 * MINUTE, 61 * MINUTE]), "mid_logret_1m")
    assert math.isnan(returns[2])
    assert returns[1] != 0
    assert returns[3] == pytest.approx(math.log(4 / 3))


@pytest.mark.parametrize(("missing", "known"), [(0, True), (60, True), (61, False)])
def test_a_day_may_lack_an_hour_of_its_samples(missing: int, known: bool) -> None:  # noqa: FBT001 - a parameter of the table above
    minutes = [*range(700), *range(700 + missing, 1_440 + missing)]
    z = column(at([MINUTE * minute for minute in minutes]), "zscore_mid_24h")
    assert math.isnan(z[-1]) is not known


@pytest.mark.parametrize(("empty", "known"), [(60, True), (61, False)])
def test_samples_without_a_value_are_missing_ones(empty: int, known: bool) -> None:  # noqa: FBT001 - a parameter of the table above
    samples = random_samples(2, 1_440)
    samples.mid[100 : 100 + empty] = np.nan
    z = column(samples, "zscore_mid_24h")[-1]
    assert math.isnan(z) is not known
    if known:
        assert z == pytest.approx((samples.mid[-1] - np.nanmean(samples.mid)) / np.nanstd(samples.mid), rel=1e-6)
    samples.mid[-1] = np.nan
    assert math.isnan(column(samples, "zscore_mid_24h")[-1])


def test_a_mid_that_does_not_move_is_neutral() -> None:
    row = latest(at([MINUTE * minute for minute in range(1_440)], [44_000.1] * 1_440), DRIFT_ROBUST_7)
    assert row.tolist() == pytest.approx([1.0, 0.0, 0.0, 1.0, math.log(2.0), 0.0, 0.0])
    assert row[6] == 0.0


@settings(max_examples=6)
@given(seed=st.integers(0, 10_000), start=st.integers(0, 300), missing=st.sampled_from([0.0, 0.01, 0.03]))
def test_a_client_with_the_last_day_has_the_trainers_bits(seed: int, start: int, missing: float) -> None:
    samples = random_samples(seed, 2_000, missing=missing)
    for names in (DRIFT_ROBUST_7, EVERY):
        whole, back = compute(samples, names), lookback(names)
        assert compute(samples[start:], names)[back:].tobytes() == whole[start + back :].tobytes()
        assert latest(samples, names).tobytes() == whole[-1].tobytes()


def test_rows_without_their_lookback_are_missing() -> None:
    """Even where the answer lies nearer: a client's history begins anywhere."""
    x = compute(random_samples(3, 1_500), EVERY)
    for index, name in enumerate(EVERY):
        back = FEATURES[name].lookback
        assert np.isnan(x[:back, index]).all(), name
        assert np.isfinite(x[back:, index]).all(), name


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = random_samples(5, 15_000, missing=0.002)
    at_once = compute(samples, EVERY)
    monkeypatch.setattr(matrix, "BLOCK", 1_000)
    assert compute(samples, EVERY).tobytes() == at_once.tobytes()
    assert np.isfinite(at_once[2_000:]).mean() > 0.9


def test_samples_out_of_order_and_too_few_are_refused() -> None:
    samples = random_samples(1, 10)
    twice = samples[np.array([0, 1, 1, 2])]
    with pytest.raises(ValueError, match="samples: row 2 is not later than the one before; sort them"):
        compute(twice, ["bias"])
    with pytest.raises(ValueError, match=r"samples: 10 are too few, bias … zscore_mid_24h need 1440"):
        latest(samples, DRIFT_ROBUST_7)


def test_samples_are_cut_and_joined_as_bars_are() -> None:
    samples = random_samples(1, 20)
    joined = samples[:15].append(samples[15:], keep=8)
    assert len(joined) == 8
    np.testing.assert_array_equal(joined.rsi14, samples.rsi14[12:])
    with pytest.raises(ValueError, match=r"samples: the columns have different lengths.*'rsi14': 2"):
        Samples(time=np.arange(3), mid=np.ones(3), spread_bp=np.ones(3), vol1m=np.ones(3), rsi14=np.ones(2))
