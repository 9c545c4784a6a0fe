"""Windows by doubling against the same windows written out row by row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walkforward_core.features.folds import (
    REST,
    ages,
    average,
    decayed,
    highest,
    known_moments,
    lowest,
    moments,
    reach,
    smallest,
    total,
)

LENGTH = 90
rows = st.tuples(st.integers(0, 2**32 - 1), st.integers(1, LENGTH), st.booleans())


def series(seed: int, *, ties: bool) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.normal(1.0, 2.0, LENGTH)
    return np.round(values) if ties else values


def windows(values: np.ndarray, window: int) -> list[np.ndarray]:
    return [values[end - window : end] for end in range(window, len(values) + 1)]


@given(rows)
def test_windows(drawn: tuple[int, int, bool]) -> None:
    seed, window, ties = drawn
    values = series(seed, ties=ties)
    parts = windows(values, window)
    for found, expected in (
        (total(values, window), [part.sum() for part in parts]),
        (average(values, window), [part.mean() for part in parts]),
        (highest(values, window), [part.max() for part in parts]),
        (lowest(values, window), [part.min() for part in parts]),
        (ages(values, window), [int(np.argmax(part[::-1])) for part in parts]),
        (moments(values, window)[0], [part.mean() for part in parts]),
        (moments(values, window)[1], [part.std() for part in parts]),
    ):
        assert np.isnan(found[: window - 1]).all()
        np.testing.assert_allclose(found[window - 1 :], expected, rtol=1e-10, atol=1e-10)


@settings(max_examples=40)
@given(rows, st.integers(1, 12))
def test_the_smallest_of_a_window_without_what_is_missing(drawn: tuple[int, int, bool], count: int) -> None:
    seed, window, ties = drawn
    values = series(seed, ties=ties)
    values[np.random.default_rng(seed + 1).random(LENGTH) < 0.2] = np.nan
    found = smallest(values, window, count)[window - 1 :]
    for row, part in zip(found, windows(values, window), strict=True):
        expected = np.sort(part[~np.isnan(part)])[:count]
        np.testing.assert_array_equal(row[: len(expected)], expected)
        assert np.isnan(row[len(expected) :]).all()


@settings(max_examples=40)
@given(rows)
def test_moments_of_what_is_known(drawn: tuple[int, int, bool]) -> None:
    seed, window, ties = drawn
    values = series(seed, ties=ties)
    values[np.random.default_rng(seed + 1).random(LENGTH) < 0.3] = np.nan
    known, mean, spread = (found[window - 1 :] for found in known_moments(values, window))
    for at, part in enumerate(windows(values, window)):
        there = part[~np.isnan(part)]
        assert known[at] == len(there)
        if len(there):
            np.testing.assert_allclose([mean[at], spread[at]], [there.mean(), there.std()], rtol=1e-9, atol=1e-9)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.floats(0.05, 0.9))
def test_decayed_is_the_weighted_mean_of_its_window(seed: int, keep: float) -> None:
    values, window = series(seed, ties=False), reach(keep)
    weights = keep ** np.arange(window)
    assert keep**window <= REST * (1 + 1e-9)
    assert keep ** (window - 1) > REST * (1 - 1e-9)
    found = decayed(values, keep)
    assert np.isnan(found[: window - 1]).all()
    for end in range(window, LENGTH + 1):
        assert found[end - 1] == pytest.approx(np.average(values[end - window : end][::-1], weights=weights), rel=1e-10)


@pytest.mark.parametrize("value", [1.1, 1 / 3, 44_000.37])
def test_equal_values_average_to_that_very_value(value: float) -> None:
    flat = np.full(200, value)
    assert set(average(flat, 77)[76:].tolist()) == {value}
    assert set(decayed(flat, 0.9)[100:].tolist()) == {value}
    assert moments(flat, 60)[1][-1] == 0.0


@pytest.mark.parametrize("window", [1, 5, 20])
def test_a_missing_value_is_missing_in_every_window_that_holds_it(window: int) -> None:
    values = series(1, ties=False)
    values[40] = np.nan
    for found in (total, average, highest, lowest, ages, lambda *args: moments(*args)[1]):
        assert np.flatnonzero(np.isnan(found(values, window))).tolist() == [*range(window - 1), *range(40, 40 + window)]


def test_too_short_a_series_has_no_window() -> None:
    few = np.ones(4)
    for found in (
        total(few, 5),
        average(few, 5),
        ages(few, 5),
        decayed(few, 0.9),
        smallest(few, 5, 2),
        *moments(few, 5),
        *known_moments(few, 5),
    ):
        assert len(found) == 4
        assert np.isnan(found).all()
