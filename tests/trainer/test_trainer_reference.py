"""Bins, counts and the frozen null; golden rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walkforward_core import drift
from walkforward_trainer.golden import MAX_ROWS, golden_rows
from walkforward_trainer.reference import make_reference, null_windows, psi, quantile_edges

SEEDS = st.integers(0, 10_000)


@settings(max_examples=50)
@given(seed=SEEDS, count=st.integers(1, 400), digits=st.integers(0, 6))
def test_edges_lie_between_values_and_divide_into_tenths(seed: int, count: int, digits: int) -> None:
    column = np.round(np.random.default_rng(seed).normal(size=count), digits).astype(np.float32)
    edges = quantile_edges(column)
    assert edges.dtype == np.float32
    assert (np.diff(edges) >= 0).all()
    below = [float((column < edge).mean()) for edge in edges]
    ordered = np.sort(column)
    for index, share in enumerate(below):
        # all values below the edge are below the tenth, and the value at the tenth is not
        assert share <= (index + 1) / 10
        assert ordered[count * (index + 1) // 10 if count > 9 else min(count * (index + 1) // 10, count - 1)] >= edges[index]


def test_a_value_on_an_edge_is_above_it() -> None:
    """Between neighbouring float32 numbers there is no middle: the edge is the upper one."""
    low = np.float32(1.0)
    column = np.repeat([low, np.nextafter(low, np.float32(2))], 200).astype(np.float32)
    feature = make_reference(column[:, None], ["f"], np.arange(400.0)).features[0]
    bins = [drift.bin_index(feature.edges, value) for value in column.tolist()]
    assert feature.counts == tuple(bins.count(index) for index in range(10))
    assert sorted(feature.counts)[-2:] == [200, 200]


def test_continuous_columns_have_equal_bins() -> None:
    column = np.random.default_rng(1).normal(size=2_000).astype(np.float32)
    reference = make_reference(column[:, None], ["f"], column.astype(float))
    assert reference.features[0].counts == (200,) * 10
    assert not set(reference.features[0].edges) & set(column.astype(float).tolist())
    assert (reference.features[0].min, reference.features[0].max) == (float(column.min()), float(column.max()))


@settings(max_examples=50)
@given(seed=SEEDS)
def test_counts_and_psi_are_those_of_core(seed: int) -> None:
    rng = np.random.default_rng(seed)
    column = rng.normal(size=300).astype(np.float32)
    column[rng.random(300) < 0.1] = np.nan
    feature = make_reference(column[:, None], ["f"], rng.random(300)).features[0]
    bins = [drift.bin_index(feature.edges, value) for value in column.tolist()]
    assert feature.counts == tuple(bins.count(index) for index in range(10))
    assert feature.missing == bins.count(None)
    live = rng.integers(0, 60, (4, 10))
    expected = [drift.psi(row.tolist(), list(feature.counts)) for row in live]
    np.testing.assert_allclose(psi(live, np.array(feature.counts)), expected, atol=1e-12)


def test_the_null_is_the_psi_of_each_stretch_against_the_rest() -> None:
    column = np.cumsum(np.random.default_rng(3).normal(size=1_200)).astype(np.float32)
    reference = make_reference(column[:, None], ["f"], np.arange(1_200.0) % 7)
    feature = reference.features[0]
    bins = np.array([drift.bin_index(feature.edges, value) for value in column.tolist()])
    found = []
    for start in range(0, 1_200 - 50 + 1, 12):
        inside = np.zeros(1_200, bool)
        inside[start : start + 50] = True
        found.append(drift.psi(np.bincount(bins[inside], minlength=10).tolist(), np.bincount(bins[~inside], minlength=10).tolist()))
    assert feature.null.q95["50"] == pytest.approx(np.quantile(found, 0.95))
    score = reference.score.null.q95["50"]
    assert reference.null_m["50"] >= max(found) / feature.null.q95["50"] - 1e-12
    assert score < feature.null.q95["50"]  # a walk drifts by itself, a saw tooth does not


@pytest.mark.parametrize(
    ("rows", "windows"),
    [
        (250, (50,)),
        (2_000, (50, 100)),
        (3_999, (50, 100)),
        (10_000, (50, 100, 200, 500)),
        (200_000, (50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)),
    ],
)
def test_windows_up_to_a_twentieth_of_the_rows(rows: int, windows: tuple[int, ...]) -> None:
    assert null_windows(rows) == windows


def test_a_column_that_never_moves_is_no_trouble() -> None:
    rng = np.random.default_rng(5)
    x = np.column_stack((np.ones(400), rng.normal(size=400))).astype(np.float32)
    reference = make_reference(x, ["still", "moving"], np.full(400, 0.25))
    assert sum(reference.features[0].counts) == 400
    assert all(np.isfinite(value) and value >= 1 for value in reference.null_m.values())
    # all of 50 rows and all of 350 in one bin: nothing but the smoothing
    alike = drift.psi([0] * 9 + [50], [0] * 9 + [350])
    assert reference.features[0].null.q95["50"] == reference.score.null.q95["50"] == pytest.approx(alike)


def test_golden_rows_lie_on_and_around_thresholds() -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=(900, 3)).astype(np.float32)
    splits = [
        (int(feature), float(np.float32(value))) for feature, value in zip(rng.integers(0, 3, 2_000), rng.normal(size=2_000), strict=True)
    ]
    rows = golden_rows(x, splits)
    assert rows.shape == (MAX_ROWS, 3)
    assert rows.dtype == np.float32
    exact = {(feature, value) for feature, value in splits}
    on = [(feature, float(row[feature])) for row in rows[62:] for feature in range(3) if (feature, float(row[feature])) in exact]
    assert len(on) >= (MAX_ROWS - 62) // 3
    first = rows[62:65]
    moved = int(np.flatnonzero(first[0] != first[1])[0])
    assert first[0, moved] < first[1, moved] < first[2, moved]
    assert np.nextafter(first[0, moved], np.float32(np.inf)) == first[1, moved]


def test_golden_rows_of_a_model_without_splits_are_rows_of_the_window() -> None:
    x = np.random.default_rng(7).normal(size=(30, 2)).astype(np.float32)
    np.testing.assert_array_equal(golden_rows(x, []), x)
