"""Causality, finite memory, finiteness and known values of the feature table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walkforward_core.features import FEATURES, OHLCV, Bars, compute, latest, lookback, timeframe_ms, unknown

HOUR = 3_600_000


def random_bars(seed: int, count: int) -> Bars:
    rng = np.random.default_rng(seed)
    close = 1.1 * np.exp(np.cumsum(rng.standard_t(4, count) * 1e-3))
    start = close * np.exp(rng.normal(0, 3e-4, count))
    high = np.maximum(start, close) * (1 + rng.exponential(3e-4, count))
    low = np.minimum(start, close) * (1 - rng.exponential(3e-4, count))
    time = 1_500_000_000_000 // HOUR * HOUR + HOUR * np.arange(count, dtype=np.int64)
    return Bars(time=time, open=start, high=high, low=low, close=close, volume=rng.integers(0, 5_000, count).astype(float))


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), count=st.integers(102, 400), data=st.data())
def test_a_row_computed_from_its_lookback_alone_has_the_same_bits(seed: int, count: int, data: st.DataObject) -> None:
    bars = random_bars(seed, count)
    whole = compute(bars, OHLCV)
    back = lookback(OHLCV)
    start = data.draw(st.integers(0, count - back - 1))
    part = compute(bars[start:], OHLCV)
    assert part[back:].tobytes() == whole[start + back :].tobytes()
    assert latest(bars, OHLCV).tobytes() == whole[-1].tobytes()


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), cut=st.integers(101, 250))
def test_no_feature_reads_a_later_bar(seed: int, cut: int) -> None:
    bars, other = random_bars(seed, 300), random_bars(seed + 1, 300)
    mixed = bars[:cut].append(other[cut:])
    assert compute(mixed, OHLCV)[:cut].tobytes() == compute(bars, OHLCV)[:cut].tobytes()


@pytest.mark.parametrize("name", OHLCV)
def test_lookback_is_exact(name: str) -> None:
    column = compute(random_bars(3, 160), [name])[:, 0]
    back = FEATURES[name].lookback
    assert np.isnan(column[:back]).all()
    assert np.isfinite(column[back:]).all()


def test_a_flat_market_is_neutral_and_finite() -> None:
    flat = np.full(130, 1.1)
    bars = Bars(time=HOUR * np.arange(130), open=flat, high=flat, low=flat, close=flat, volume=np.zeros(130))
    row = dict(zip(OHLCV, latest(bars, OHLCV).tolist(), strict=True))
    assert row["rsi_14"] == 50.0
    assert row["z_20"] == row["z_50"] == row["ret_24"] == row["vol_20"] == row["atr_14"] == row["log_volume"] == 0.0
    assert row["vol_ratio_5_20"] == row["vol_ratio_20_100"] == row["range_atr_14"] == 1.0


def test_values_against_formulae_written_out() -> None:
    bars = random_bars(7, 150)
    row = dict(zip(OHLCV, latest(bars, OHLCV).astype(float).tolist(), strict=True))
    returns = np.diff(np.log(bars.close))
    before = bars.close[:-1]
    true_range = (np.maximum(bars.high[1:], before) - np.minimum(bars.low[1:], before))[-14:].mean()
    change = np.diff(bars.close)[-14:]
    expected = {
        "ret_6": np.log(bars.close[-1] / bars.close[-7]),
        "vol_20": returns[-20:].std(),
        "vol_ratio_5_20": returns[-5:].std() / returns[-20:].std(),
        "vol_ratio_20_100": returns[-20:].std() / returns[-100:].std(),
        "atr_14": true_range / bars.close[-1],
        "range_atr_14": (bars.high[-1] - bars.low[-1]) / true_range,
        "rsi_14": 100 * change[change > 0].sum() / np.abs(change).sum(),
        "z_50": (bars.close[-1] - bars.close[-50:].mean()) / bars.close[-50:].std(),
        "log_volume_mean_24": np.log1p(bars.volume[-24:].mean()),
        "log_volume_surprise_24": np.log1p(bars.volume[-1]) - np.log1p(bars.volume[-24:].mean()),
        "hour_sin": np.sin(2 * np.pi * (bars.time[-1] % (24 * HOUR)) / (24 * HOUR)),
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_the_order_and_choice_of_names_is_the_callers() -> None:
    bars = random_bars(1, 150)
    whole = compute(bars, OHLCV)
    some = compute(bars, ["z_20", "ret_1"])
    assert some.dtype == np.float32
    assert some.flags.c_contiguous
    np.testing.assert_array_equal(some[:, 0], whole[:, OHLCV.index("z_20")])
    np.testing.assert_array_equal(some[:, 1], whole[:, 0])


def test_unknown_names_and_short_histories_are_refused_by_name() -> None:
    assert unknown(["ret_1", "macd"]) == ["macd"]
    with pytest.raises(ValueError, match=r"'macd_12' is not known; near to it: macd_12_26.*; docs/reference/features\.md lists all"):
        compute(random_bars(1, 5), ["macd_12"])
    with pytest.raises(ValueError, match="'x' is not known; near to it: none;"):
        lookback(["x"])
    with pytest.raises(ValueError, match=r"100 are too few.*need 101"):
        latest(random_bars(1, 100), OHLCV)
    assert lookback(()) == 0


def test_short_series_have_no_rows_yet() -> None:
    assert np.isnan(compute(random_bars(1, 3), ["vol_20", "z_20", "ret_24"])).all()


def test_bars_append_keeps_the_newest() -> None:
    bars = random_bars(1, 20)
    joined = bars[:15].append(bars[15:], keep=8)
    assert len(joined) == 8
    np.testing.assert_array_equal(joined.close, bars.close[12:])


def test_bars_with_columns_of_different_length_are_refused() -> None:
    values = np.ones(3)
    with pytest.raises(ValueError, match=r"different lengths.*'volume': 2"):
        Bars(time=np.arange(3), open=values, high=values, low=values, close=values, volume=np.ones(2))


def test_timeframe() -> None:
    assert (timeframe_ms("5m"), timeframe_ms("1d")) == (300_000, 86_400_000)
    with pytest.raises(ValueError, match="longer than zero"):
        timeframe_ms("0m")
