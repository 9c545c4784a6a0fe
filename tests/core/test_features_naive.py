"""Features written out for a single row, one after the other, as a reader of their meaning would."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from feature_rows import random_bars
from hypothesis import given, settings
from hypothesis import strategies as st

from walkforward_core.features import FEATURES, OHLCV, Bars, Of, compute
from walkforward_core.features.matrix import column, readable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Row = Callable[[Bars, int], Any]


def mean(values: Sequence[float]) -> float:
    """In the order of time, as ``rolling.mean`` adds: its very bits."""
    total = 0.0
    for value in values:
        total += value
    return total / len(values)


def deviation(values: Sequence[float]) -> float:
    centre = mean(values)
    return math.sqrt(mean([np.square(value - centre) for value in values]))


def returns(b: Bars, t: int, n: int) -> list[float]:
    logs = np.log(b.close)
    return [float(logs[i] - logs[i - 1]) for i in range(t - n + 1, t + 1)]


def ranges(b: Bars, t: int, n: int) -> list[float]:
    return [max(b.high[i], b.close[i - 1]) - min(b.low[i], b.close[i - 1]) for i in range(t - n + 1, t + 1)]


def last(values: np.ndarray, t: int, n: int) -> list[float]:
    return list(map(float, values[t - n + 1 : t + 1]))


def weighted(values: Sequence[float], span: int) -> float:
    """Exponential average of the newest values, as many as weigh all but 1e-4."""
    keep = 1 - 2 / (span + 1)
    rows = math.ceil(math.log(1e-4) / math.log(keep))
    weights = [keep**age for age in range(rows)]
    return sum(weight * value for weight, value in zip(weights, list(values)[::-1][:rows], strict=True)) / sum(weights)


def macd(b: Bars, t: int) -> float:
    return weighted(last(b.close, t, 130), 12) - weighted(last(b.close, t, 130), 26)


def middle(b: Bars, t: int, n: int) -> float:
    return (max(last(b.high, t, n)) + min(last(b.low, t, n))) / 2


def typical(b: Bars, t: int, n: int) -> list[float]:
    return [(b.high[i] + b.low[i] + b.close[i]) / 3 for i in range(t - n + 1, t + 1)]


def moment(values: Sequence[float], power: int) -> float:
    centre, spread = np.mean(values), np.std(values)
    return float(np.mean(((np.array(values) - centre) / spread) ** power))


def rsi(b: Bars, t: int) -> float:
    moves = [b.close[i] - b.close[i - 1] for i in range(t - 13, t + 1)]
    gain, loss = mean([max(move, 0.0) for move in moves]), mean([max(-move, 0.0) for move in moves])
    return 100.0 * (gain / (gain + loss) if gain + loss else 0.5)


def z(b: Bars, t: int, n: int) -> float:
    return float(b.close[t] - mean(last(b.close, t, n))) / deviation(last(b.close, t, n))


def angle(b: Bars, t: int) -> float:
    return 2.0 * np.pi * (int(b.time[t]) % 86_400_000) / 86_400_000


def week(b: Bars, t: int) -> float:
    at = datetime.fromtimestamp(b.time[t] / 1000, UTC)
    return 2 * math.pi * (at.weekday() + at.hour / 24) / 7


def year(b: Bars, t: int) -> float:
    return 2 * math.pi * (float(b.time[t]) / 86_400_000 % 365.2425) / 365.2425


def log(b: Bars, t: int, n: int) -> float:
    return float(np.log(b.close[t]) - np.log(b.close[t - n]))


def surprise(b: Bars, t: int) -> float:
    return float(np.log1p(b.volume[t]) - np.log1p(mean(last(b.volume, t, 24))))


EXACT: dict[str, Row] = {
    **{f"ret_{n}": partial(log, n=n) for n in (1, 3, 6, 12, 24)},
    "vol_20": lambda b, t: deviation(returns(b, t, 20)),
    "vol_ratio_5_20": lambda b, t: deviation(returns(b, t, 5)) / deviation(returns(b, t, 20)),
    "vol_ratio_20_100": lambda b, t: deviation(returns(b, t, 20)) / deviation(returns(b, t, 100)),
    "atr_14": lambda b, t: mean(ranges(b, t, 14)) / b.close[t],
    "range_atr_14": lambda b, t: (b.high[t] - b.low[t]) / mean(ranges(b, t, 14)),
    "rsi_14": rsi,
    "z_20": lambda b, t: z(b, t, 20),
    "z_50": lambda b, t: z(b, t, 50),
    "log_volume": lambda b, t: np.log1p(b.volume[t]),
    "log_volume_mean_24": lambda b, t: np.log1p(mean(last(b.volume, t, 24))),
    "log_volume_surprise_24": surprise,
    "hour_sin": lambda b, t: np.sin(angle(b, t)),
    "hour_cos": lambda b, t: np.cos(angle(b, t)),
}
"""The recipe ``ohlcv``: the very bits."""

CLOSE: dict[str, Row] = {
    "ret_5": lambda b, t: math.log(b.close[t] / b.close[t - 5]),
    "ret_20": lambda b, t: math.log(b.close[t] / b.close[t - 20]),
    "mean_ret_5": lambda b, t: np.mean(returns(b, t, 5)),
    "mean_ret_20": lambda b, t: np.mean(returns(b, t, 20)),
    "parkinson_20": lambda b, t: math.sqrt(
        np.mean([math.log(h / low) ** 2 for h, low in zip(last(b.high, t, 20), last(b.low, t, 20), strict=True)]) / (4 * math.log(2))
    ),
    "skew_60": lambda b, t: moment(returns(b, t, 60), 3),
    "kurt_60": lambda b, t: moment(returns(b, t, 60), 4) - 3,
    "autocorr_20": lambda b, t: np.corrcoef(returns(b, t, 20), returns(b, t - 1, 20))[0, 1],
    "gap_1": lambda b, t: math.log(b.open[t] / b.close[t - 1]),
    "range_share": lambda b, t: (b.high[t] - b.low[t]) / b.close[t],
    "body_place": lambda b, t: (b.close[t] - b.open[t]) / (b.high[t] - b.low[t]),
    "close_place": lambda b, t: (b.close[t] - b.low[t]) / (b.high[t] - b.low[t]),
    "week_sin": lambda b, t: math.sin(week(b, t)),
    "week_cos": lambda b, t: math.cos(week(b, t)),
    "year_sin": lambda b, t: math.sin(year(b, t)),
    "year_cos": lambda b, t: math.cos(year(b, t)),
    "rsi_14_unit": lambda b, t: rsi(b, t) / 100,
    "roc_10": lambda b, t: 100 * (b.close[t] / b.close[t - 10] - 1),
    "williams_14": lambda b, t: -100 * (max(last(b.high, t, 14)) - b.close[t]) / (max(last(b.high, t, 14)) - min(last(b.low, t, 14))),
    "aroon_up_25": lambda b, t: 100 - 4 * int(np.argmax(last(b.high, t, 26)[::-1])),
    "aroon_down_25": lambda b, t: 100 - 4 * int(np.argmin(last(b.low, t, 26)[::-1])),
    "ema_9_away": lambda b, t: b.close[t] / weighted(last(b.close, t, 60), 9) - 1,
    "ema_21_away": lambda b, t: b.close[t] / weighted(last(b.close, t, 120), 21) - 1,
    "macd_12_26": lambda b, t: macd(b, t) / b.close[t],
    "macd_hist_12_26_9": lambda b, t: (macd(b, t) - weighted([macd(b, i) for i in range(t - 49, t + 1)], 9)) / b.close[t],
    "ichimoku_tenkan": lambda b, t: b.close[t] / middle(b, t, 9) - 1,
    "ichimoku_kijun": lambda b, t: b.close[t] / middle(b, t, 26) - 1,
    "ichimoku_cross": lambda b, t: middle(b, t, 9) / middle(b, t, 26) - 1,
    "ichimoku_cloud_a": lambda b, t: b.close[t] / ((middle(b, t - 26, 9) + middle(b, t - 26, 26)) / 2) - 1,
    "ichimoku_cloud_b": lambda b, t: b.close[t] / middle(b, t - 26, 52) - 1,
    "sma_50_away": lambda b, t: b.close[t] / np.mean(last(b.close, t, 50)) - 1,
    "sma_50_200": lambda b, t: np.mean(last(b.close, t, 50)) / np.mean(last(b.close, t, 200)) - 1,
    "slope_20": lambda b, t: np.polyfit(range(20), np.log(last(b.close, t, 20)), 1)[0],
    "bollinger_20": lambda b, t: 0.5 + z(b, t, 20) / 4,
    "bollinger_width_20": lambda b, t: 4 * np.std(last(b.close, t, 20)) / np.mean(last(b.close, t, 20)),
    "keltner_20": lambda b, t: 0.5 + (b.close[t] - weighted(last(b.close, t, 120), 20)) / (4 * mean(ranges(b, t, 10))),
    "keltner_width_20": lambda b, t: 4 * mean(ranges(b, t, 10)) / weighted(last(b.close, t, 120), 20),
    "donchian_width_20": lambda b, t: (max(last(b.high, t, 20)) - min(last(b.low, t, 20))) / b.close[t],
    "obv_20": lambda b, t: (
        sum(math.copysign(b.volume[i], b.close[i] - b.close[i - 1]) for i in range(t - 19, t + 1)) / sum(last(b.volume, t, 20))
    ),
    "vwap_away_20": lambda b, t: b.close[t] / np.average(typical(b, t, 20), weights=last(b.volume, t, 20)) - 1,
    "volume_spike_20": lambda b, t: b.volume[t] / np.mean(last(b.volume, t, 20)),
    "volume_z_20": lambda b, t: (
        (np.log1p(b.volume[t]) - np.mean(np.log1p(last(b.volume, t, 20)))) / np.std(np.log1p(last(b.volume, t, 20)))
    ),
}
"""Equal but for rounding."""

IN_TALIB = {
    "stoch_k_14",
    "stoch_d_14",
    "cci_20",
    "ultimate",
    "trix_15",
    "mfi_14",
    "plus_di_14",
    "minus_di_14",
    "di_14",
    "adx_14",
    "psar_96",
    "donchian_20",
    "cmf_20",
}
"""Their second opinion is in test_features_talib.py; of ``di_14`` below."""


@settings(max_examples=8)
@given(seed=st.integers(0, 10_000), row=st.integers(101, 139))
def test_the_recipe_ohlcv_keeps_its_bits(seed: int, row: int) -> None:
    bars = random_bars(seed, 140)
    assert tuple(EXACT) == OHLCV
    # in float64, since another order of adding hardly ever shows after rounding
    found = {name: float(column(name, FEATURES[name], readable(bars))[row]).hex() for name in OHLCV}
    assert found == {name: float(EXACT[name](bars, row)).hex() for name in OHLCV}


@settings(max_examples=8)
@given(seed=st.integers(0, 10_000), row=st.integers(210, 259))
def test_the_other_features_of_bars(seed: int, row: int) -> None:
    bars = random_bars(seed, 260)
    found = dict(zip(CLOSE, compute(bars, list(CLOSE))[row].tolist(), strict=True))
    assert found == pytest.approx({name: float(formula(bars, row)) for name, formula in CLOSE.items()}, rel=2e-6, abs=1e-8)


def test_direction_is_the_difference_of_its_sides() -> None:
    x = compute(random_bars(2, 300), ["di_14", "plus_di_14", "minus_di_14"])[130:]
    np.testing.assert_allclose(x[:, 0], x[:, 1] - x[:, 2], atol=1e-5)


def test_every_feature_of_bars_has_a_second_opinion() -> None:
    assert {name for name, feature in FEATURES.items() if feature.of is Of.BARS} == {*EXACT, *CLOSE, *IN_TALIB}
