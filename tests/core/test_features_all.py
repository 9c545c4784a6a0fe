"""What every feature of the table promises: causal, finite memory, exact look-back, finite, neutral where nothing moves."""

from __future__ import annotations

import numpy as np
import pytest
from feature_rows import flat_bars, random_bars, random_samples
from hypothesis import given, settings
from hypothesis import strategies as st

from walkforward_core.features import DAILY_40, FEATURES, SETS, Bars, Of, Samples, Sheet, check_causal, compute, latest, lookback, matrix

OF_BARS = [name for name, feature in FEATURES.items() if feature.of is Of.BARS]
OF_SAMPLES = [name for name, feature in FEATURES.items() if feature.of is Of.SAMPLES]
NEUTRAL = {
    "vol_ratio_5_20": 1.0,
    "vol_ratio_20_100": 1.0,
    "range_atr_14": 1.0,
    "rsi_14": 50.0,
    "rsi_14_unit": 0.5,
    "stoch_k_14": 50.0,
    "stoch_d_14": 50.0,
    "williams_14": -50.0,
    "ultimate": 50.0,
    "aroon_up_25": 100.0,
    "aroon_down_25": 100.0,
    "mfi_14": 50.0,
    "bollinger_20": 0.5,
    "keltner_20": 0.5,
    "donchian_20": 0.5,
    "close_place": 0.5,
    "volume_spike_20": 1.0,
}


@pytest.mark.parametrize("name", OF_BARS)
def test_bars_causal_and_finite_memory(name: str) -> None:
    check_causal(FEATURES[name], random_bars(11, 420), name=name)


@pytest.mark.parametrize("name", OF_SAMPLES)
def test_samples_causal_and_finite_memory(name: str) -> None:
    check_causal(FEATURES[name], random_samples(11, 2_000, missing=0.01), name=name, cuts=3)


@pytest.mark.parametrize("name", OF_BARS)
def test_lookback_is_exact(name: str) -> None:
    column = compute(random_bars(3, 360), [name])[:, 0]
    back = FEATURES[name].lookback
    assert np.isnan(column[:back]).all()
    assert np.isfinite(column[back:]).all()


@pytest.mark.parametrize("name", OF_BARS)
def test_a_shorter_lookback_would_not_do(name: str) -> None:
    bars, back = random_bars(3, 360), FEATURES[name].lookback
    if back == 0:
        return
    short = FEATURES[name].formula(matrix.readable(bars[360 - back :]))
    assert np.isnan(short[-1])


@settings(max_examples=20)
@given(
    seed=st.integers(0, 10_000), start=st.integers(0, 150), names=st.sampled_from([SETS[name] for name in SETS if name != "DRIFT_ROBUST_7"])
)
def test_a_client_with_a_short_history_has_the_trainers_bits(seed: int, start: int, names: tuple[str, ...]) -> None:
    bars = random_bars(seed, 420)
    whole, back = compute(bars, names), lookback(names)
    assert compute(bars[start:], names)[back:].tobytes() == whole[start + back :].tobytes()
    assert latest(bars, names).tobytes() == whole[-1].tobytes()


@pytest.mark.parametrize("rows", [256, 300, 1_000])
def test_blocks_do_not_show(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    bars = random_bars(5, 2_500)
    at_once = compute(bars, OF_BARS)
    # a block is eight look-backs at least
    monkeypatch.setattr(matrix, "BLOCK", rows)
    for names in (OF_BARS, ["ret_1", "log_volume"], ["atr_14", "aroon_up_25"]):
        in_blocks = compute(bars, names)
        assert in_blocks.tobytes() == np.ascontiguousarray(at_once[:, [OF_BARS.index(name) for name in names]]).tobytes()


@pytest.mark.parametrize("price", [1.1, 44_000.37])
@pytest.mark.parametrize("volume", [0.0, 137.3])
def test_a_market_that_does_not_move_is_neutral(price: float, volume: float) -> None:
    names = [name for name in OF_BARS if not name.startswith(("log_volume", "hour", "week", "year"))]
    row = dict(zip(names, latest(flat_bars(300, price, volume), names).tolist(), strict=True))
    assert row == pytest.approx({name: NEUTRAL.get(name, 0.0) for name in names}, abs=1e-12)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), level=st.floats(-5, 9), scale=st.sampled_from([0.0, 1e-9, 1e-3, 0.5]), still=st.integers(0, 300))
def test_finite_for_finite_positive_prices(seed: int, level: float, scale: float, still: int) -> None:
    """A level from 0.00001 to a billion, moves from none to doubling, any part of it standing still, without volume there."""
    bars = random_bars(seed, 300, scale=scale)
    stopped = np.arange(300) < still
    prices = {name: 10**level * np.where(stopped, bars.close[still - 1], getattr(bars, name)) for name in ("open", "high", "low", "close")}
    moved = Bars(time=bars.time, volume=np.where(stopped, 0.0, bars.volume * 1e6), **prices)
    assert np.isfinite(compute(moved, OF_BARS)[lookback(OF_BARS) :]).all()


@pytest.mark.parametrize("name", OF_BARS)
def test_a_missing_bar_is_missing_there_and_forgotten_after_the_lookback(name: str) -> None:
    bars, row, back = random_bars(9, 640), 300, FEATURES[name].lookback
    columns = {field: getattr(bars, field).copy() for field in ("open", "high", "low", "close", "volume")}
    for column in columns.values():
        column[row] = np.nan
    whole, holed = compute(bars, [name]), compute(Bars(time=bars.time, **columns), [name])
    assert np.isnan(holed[row]).all() or name.endswith(("_sin", "_cos"))
    assert holed[:row].tobytes() == whole[:row].tobytes()
    assert holed[row + back + 1 :].tobytes() == whole[row + back + 1 :].tobytes()


@pytest.mark.parametrize("column", ["high", "low", "close"])
def test_a_single_missing_price_is_not_stepped_over(column: str) -> None:
    bars, row = random_bars(9, 300), 299
    columns = {field: getattr(bars, field).copy() for field in ("open", "high", "low", "close", "volume")}
    columns[column][row] = np.nan
    found = dict(zip(OF_BARS, latest(Bars(time=bars.time, **columns), OF_BARS).tolist(), strict=True))
    before = dict(zip(OF_BARS, latest(bars, OF_BARS).tolist(), strict=True))
    # a feature either does not look at this price, or says that it is missing
    assert {name for name in OF_BARS if not np.isnan(found[name]) and found[name] != before[name]} == set()


@pytest.mark.parametrize("price", ["high", "low"])
def test_the_parabolic_says_that_a_price_of_its_window_is_missing(price: str) -> None:
    bars = random_bars(9, 400)
    columns = {field: getattr(bars, field).copy() for field in ("open", "high", "low", "close", "volume")}
    columns[price][200] = np.nan
    found = compute(Bars(time=bars.time, **columns), ["psar_96"])[96:, 0]
    assert (np.flatnonzero(np.isnan(found)) + 96).tolist() == list(range(200, 297))


def test_formulae_cannot_change_what_the_next_one_reads() -> None:
    bars = random_bars(1, 400)
    sheet = Sheet.over(bars)
    with pytest.raises(ValueError, match="read-only"):
        sheet.close[0] = 0.0
    before = {field: getattr(bars, field).tobytes() for field in ("time", "open", "high", "low", "close", "volume")}
    compute(bars, DAILY_40)
    assert {field: getattr(bars, field).tobytes() for field in before} == before
    assert bars.close.flags.writeable


def test_columns_of_a_matrix_have_the_bits_of_arrays() -> None:
    """Scattered values take the same path through numpy as values side by side."""
    bars = random_bars(2, 400)
    table = np.column_stack([bars.open, bars.high, bars.low, bars.close, bars.volume])
    scattered = Bars(time=bars.time, open=table[:, 0], high=table[:, 1], low=table[:, 2], close=table[:, 3], volume=table[:, 4])
    assert compute(scattered, OF_BARS).tobytes() == compute(bars, OF_BARS).tobytes()
    samples = random_samples(2, 1_600)
    sparse = Samples(*(np.repeat(getattr(samples, name), 3)[::3] for name in ("time", "mid", "spread_bp", "vol1m", "rsi14")))
    assert compute(sparse, OF_SAMPLES).tobytes() == compute(samples, OF_SAMPLES).tobytes()


def test_sets_name_what_there_is() -> None:
    assert {name: len(names) for name, names in SETS.items()} == {
        "OHLCV": 18,
        "OHLCV_11": 11,
        "TECHNICAL_17": 17,
        "DAILY_40": 54,
        "DRIFT_ROBUST_7": 7,
    }
    for names in SETS.values():
        assert len(set(names)) == len(names)
        assert set(names) <= set(FEATURES)
        assert len({FEATURES[name].of for name in names}) == 1


def test_bars_and_samples_are_not_mixed_up() -> None:
    with pytest.raises(ValueError, match="'bias' is of samples, the rows are bars"):
        compute(random_bars(1, 5), ["ret_1", "bias"])
    with pytest.raises(ValueError, match="'ret_1' is of bars, the rows are samples"):
        compute(random_samples(1, 5), ["ret_1"])
