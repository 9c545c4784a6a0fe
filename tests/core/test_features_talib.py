"""Features against TA-Lib: equal where the textbook's window is finite, close where its average never ends and ours is cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import talib
from feature_rows import random_bars

from walkforward_core.features import FEATURES, Bars, Sheet
from walkforward_core.features import parabolic as module
from walkforward_core.features.matrix import column, readable
from walkforward_core.features.parabolic import parabolic

if TYPE_CHECKING:
    from collections.abc import Callable

SETTLED = 600
"""TA-Lib's recursions have forgotten by then how they began."""

FINITE: dict[str, Callable[[Bars], np.ndarray]] = {
    "roc_10": lambda b: talib.ROC(b.close, 10),
    "stoch_k_14": lambda b: talib.STOCH(b.high, b.low, b.close, fastk_period=14, slowk_period=3, slowd_period=3)[0],
    "stoch_d_14": lambda b: talib.STOCH(b.high, b.low, b.close, fastk_period=14, slowk_period=3, slowd_period=3)[1],
    "williams_14": lambda b: talib.WILLR(b.high, b.low, b.close, 14),
    "cci_20": lambda b: talib.CCI(b.high, b.low, b.close, 20),
    "ultimate": lambda b: talib.ULTOSC(b.high, b.low, b.close, 7, 14, 28),
    "aroon_up_25": lambda b: talib.AROON(b.high, b.low, 25)[1],
    "aroon_down_25": lambda b: talib.AROON(b.high, b.low, 25)[0],
    "mfi_14": lambda b: talib.MFI(b.high, b.low, b.close, b.volume, 14),
    "cmf_20": lambda b: talib.CMF(b.high, b.low, b.close, b.volume, 20),
    "sma_50_away": lambda b: b.close / talib.SMA(b.close, 50) - 1,
    "sma_50_200": lambda b: talib.SMA(b.close, 50) / talib.SMA(b.close, 200) - 1,
    "slope_20": lambda b: talib.LINEARREG_SLOPE(np.log(b.close), 20),
    "bollinger_20": lambda b: (b.close - talib.BBANDS(b.close, 20, 2, 2)[2]) / np.subtract(*talib.BBANDS(b.close, 20, 2, 2)[::2]),
    "bollinger_width_20": lambda b: np.subtract(*talib.BBANDS(b.close, 20, 2, 2)[::2]) / talib.BBANDS(b.close, 20, 2, 2)[1],
    "donchian_20": lambda b: (b.close - talib.MIN(b.low, 20)) / (talib.MAX(b.high, 20) - talib.MIN(b.low, 20)),
    "donchian_width_20": lambda b: (talib.MAX(b.high, 20) - talib.MIN(b.low, 20)) / b.close,
    "ichimoku_kijun": lambda b: b.close / talib.MIDPRICE(b.high, b.low, 26) - 1,
    "ichimoku_tenkan": lambda b: b.close / talib.MIDPRICE(b.high, b.low, 9) - 1,
    "body_place": lambda b: talib.BOP(b.open, b.high, b.low, b.close),
    "volume_spike_20": lambda b: b.volume / talib.SMA(b.volume, 20),
    "vwap_away_20": lambda b: b.close * talib.SUM(b.volume, 20) / talib.SUM(talib.TYPPRICE(b.high, b.low, b.close) * b.volume, 20) - 1,
    "autocorr_20": lambda b: np.concatenate(([np.nan] * 2, talib.CORREL(np.diff(np.log(b.close))[1:], np.diff(np.log(b.close))[:-1], 20))),
}
CUT_OFF: dict[str, tuple[Callable[[Bars], np.ndarray], float]] = {
    "ema_9_away": (lambda b: b.close / talib.EMA(b.close, 9) - 1, 0.01),
    "ema_21_away": (lambda b: b.close / talib.EMA(b.close, 21) - 1, 0.01),
    "macd_12_26": (lambda b: talib.MACD(b.close, 12, 26, 9)[0] / b.close, 0.01),
    "macd_hist_12_26_9": (lambda b: talib.MACD(b.close, 12, 26, 9)[2] / b.close, 0.01),
    "trix_15": (lambda b: talib.TRIX(b.close, 15), 0.01),
    "plus_di_14": (lambda b: talib.PLUS_DI(b.high, b.low, b.close, 14), 0.005),
    "minus_di_14": (lambda b: talib.MINUS_DI(b.high, b.low, b.close, 14), 0.005),
    "adx_14": (lambda b: talib.ADX(b.high, b.low, b.close, 14), 0.01),
}
"""Largest difference, in standard deviations of the feature."""


@pytest.fixture(scope="module", params=["random", "coarse"])
def bars(request: pytest.FixtureRequest) -> Bars:
    """Return bars of a random walk, and the same in steps so coarse that highs, lows and moves are often equal."""
    fine = random_bars(3, 4_000)
    if request.param == "random":
        return fine
    steps = {name: np.round(getattr(fine, name), 3) for name in ("open", "high", "low", "close")}
    return Bars(time=fine.time, volume=fine.volume, **steps)


def ours(name: str, bars: Bars) -> np.ndarray:
    return column(name, FEATURES[name], readable(bars))


@pytest.mark.parametrize("name", FINITE)
def test_equal_where_the_window_is_finite(name: str, bars: Bars) -> None:
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = FINITE[name](bars)
    expected = np.concatenate((np.full(len(bars) - len(expected), np.nan), expected))
    np.testing.assert_allclose(ours(name, bars)[SETTLED:], expected[SETTLED:], rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("name", CUT_OFF)
def test_close_where_the_average_is_cut_off(name: str, bars: Bars) -> None:
    oracle, limit = CUT_OFF[name]
    expected = oracle(bars)[SETTLED:]
    away = np.abs(ours(name, bars)[SETTLED:] - expected).max() / expected.std()
    assert 0.0 < away < limit


def test_atr_is_the_simple_mean_of_true_ranges_not_wilders(bars: Bars) -> None:
    ranges = talib.TRANGE(bars.high, bars.low, bars.close)[1:]
    np.testing.assert_allclose(ours("atr_14", bars)[14:] * bars.close[14:], talib.SMA(ranges, 14)[13:], rtol=1e-9)


def test_obv_is_that_of_a_window(bars: Bars) -> None:
    line = talib.OBV(bars.close, bars.volume)
    expected = (line[20:] - line[:-20]) / talib.SUM(bars.volume, 20)[20:]
    np.testing.assert_allclose(ours("obv_20", bars)[20:], expected, atol=1e-12)


def test_williams_and_the_stochastic_say_the_same(bars: Bars) -> None:
    fast = talib.STOCHF(bars.high, bars.low, bars.close, fastk_period=14, fastd_period=1)[0]
    np.testing.assert_allclose(ours("williams_14", bars)[20:] + 100, fast[20:], atol=1e-9)


@pytest.mark.parametrize("seed", [3, 4])
def test_the_restarted_parabolic_is_nearly_always_the_textbooks(seed: int) -> None:
    bars = random_bars(seed, 4_000)
    expected = talib.SAR(bars.high, bars.low, 0.02, 0.2)
    same = np.isclose(parabolic(Sheet.over(bars)), expected, rtol=0, atol=1e-12)[SETTLED:].mean()
    assert 0.97 < same < 1.0


def test_the_parabolic_is_the_textbooks_over_its_window() -> None:
    """TA-Lib on the very window that a row restarts on."""
    bars = random_bars(8, 300)
    found = parabolic(Sheet.over(bars))
    for row in range(96, 300, 7):
        window = bars[row - 96 : row + 1]
        assert found[row] == pytest.approx(talib.SAR(window.high, window.low, 0.02, 0.2)[-1], abs=1e-12)


def step_by_step(high: list[float], low: list[float]) -> float:
    """Wilder's rule, one bar after the other; it begins as a fall where the second bar falls farther than it rises."""
    falls = low[0] > low[1] and low[0] - low[1] > high[1] - high[0]
    stop, best, speed = (high[0], low[1], 0.02) if falls else (low[0], high[1], 0.02)
    shown = stop
    for at in range(1, len(high)):
        if falls and high[at] >= stop:
            falls, stop, best, speed = False, min(best, *low[at - 1 : at + 1]), high[at], 0.02
        elif not falls and low[at] <= stop:
            falls, stop, best, speed = True, max(best, *high[at - 1 : at + 1]), low[at], 0.02
        elif (falls and low[at] < best) or (not falls and high[at] > best):
            best, speed = (low if falls else high)[at], min(speed + 0.02, 0.2)
        shown = stop
        stop += speed * (best - stop)
        stop = max(stop, *high[at - 1 : at + 1]) if falls else min(stop, *low[at - 1 : at + 1])
    return shown


def test_blocks_and_common_runs_give_the_bits_of_runs_on_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    bars = random_bars(5, 600)
    found = parabolic(Sheet.over(bars))
    for apart, block in ((module.WINDOW - 2, 1 << 15), (1, 1 << 15), (20, 100), (7, 33)):
        monkeypatch.setattr(module, "APART", apart)
        monkeypatch.setattr(module, "BLOCK", block)
        assert np.array_equal(parabolic(Sheet.over(bars)), found, equal_nan=True), (apart, block)


def test_a_short_parabolic_shows_which_way_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW", 4)
    monkeypatch.setattr(module, "APART", 1)
    bars = random_bars(8, 300)
    found = parabolic(Sheet.over(bars))
    for row in range(4, 300):
        window = slice(row - 4, row + 1)
        assert found[row] == pytest.approx(step_by_step(bars.high[window].tolist(), bars.low[window].tolist()), abs=1e-12)
