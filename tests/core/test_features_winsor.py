"""Winsorising by bounds of the past and by frozen ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walkforward_core.features import Bounds, rolling_winsorised


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), window=st.integers(2, 60), percent=st.sampled_from([0.0, 0.5, 5.0, 25.0, 49.0]))
def test_bounds_are_quantiles_of_the_rows_before(seed: int, window: int, percent: float) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_t(3, 80)
    values[rng.random(80) < 0.1] = np.nan
    found = rolling_winsorised(values, window, percent)
    for row in range(80):
        past = values[row - window : row] if row >= window else values[:0]
        there = past[~np.isnan(past)]
        if len(there) < window / 2 or not len(there) or np.isnan(values[row]):
            assert np.isnan(found[row]), row
        else:
            lower, upper = np.quantile(there, [percent / 100, 1 - percent / 100])
            assert found[row] == pytest.approx(np.clip(values[row], lower, upper), rel=1e-9, abs=1e-12)


def test_an_outlier_does_not_move_its_own_bound() -> None:
    values = np.append(np.sin(np.arange(100.0)), 1_000.0)
    assert rolling_winsorised(values, 100, 0.5)[-1] <= 1.0


def test_frozen_bounds_cut_so_many_percent_at_either_end() -> None:
    rows = np.random.default_rng(1).normal(size=(20_000, 2)).astype(np.float32) * np.array([1, 50], np.float32)
    rows[5] = np.nan
    bounds = Bounds.of(rows, 0.5)
    pulled = bounds.clip(rows)
    assert pulled.dtype == np.float32
    assert (np.nanmean(pulled != rows, axis=0) - 1 / 20_000).tolist() == pytest.approx([0.01, 0.01], abs=2e-4)
    np.testing.assert_allclose(bounds.upper, np.nanquantile(rows, 0.995, axis=0), rtol=1e-6)
    np.testing.assert_allclose(bounds.lower, np.nanquantile(rows, 0.005, axis=0), rtol=1e-6)
    assert np.isnan(pulled[5]).all()


@pytest.mark.parametrize("percent", [-0.1, 50.0, 99.5])
def test_a_percentage_that_leaves_nothing_is_refused(percent: float) -> None:
    with pytest.raises(ValueError, match="percent per tail would leave nothing; write a number from 0 to below 50"):
        rolling_winsorised(np.ones(5), 2, percent)
    with pytest.raises(ValueError, match="percent per tail"):
        Bounds.of(np.ones((5, 1), np.float32), percent)


def test_a_column_without_values_has_no_bounds() -> None:
    rows = np.ones((5, 2), np.float32)
    rows[:, 1] = np.nan
    with pytest.raises(ValueError, match="column 1 has no finite value"):
        Bounds.of(rows, 0.5)
