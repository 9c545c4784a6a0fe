from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from walkforward_core.drift import NullCurve, bin_index, edges_digest, psi, window

counts = st.lists(st.integers(0, 10_000), min_size=10, max_size=10)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=9, max_size=9).map(sorted), st.floats(allow_nan=False))
def test_bins_are_those_of_numpy_on_float32(edges: list[float], x: float) -> None:
    with np.errstate(over="ignore"):
        expected = int(np.searchsorted(np.array(edges, np.float32), np.float32(x), side="right"))
    assert bin_index(edges, x) == expected


def test_a_value_on_an_edge_lies_above_it_after_rounding_to_float32() -> None:
    edge = float(np.float32(0.1))
    assert bin_index([edge], 0.1) == 1  # 0.1 < float32(0.1), yet equal as float32
    assert bin_index([edge], float(np.nextafter(np.float32(0.1), np.float32(0)))) == 0
    assert bin_index([edge], math.nan) is None
    assert bin_index([edge], 1e300) == 1
    assert bin_index([edge], -1e300) == 0


@given(counts, counts)
def test_psi_is_the_formula_of_the_contract(live: list[int], reference: list[int]) -> None:
    p = (np.array(live) + 0.5) / (sum(live) + 5)
    q = (np.array(reference) + 0.5) / (sum(reference) + 5)
    assert psi(live, reference) == pytest.approx(float(np.sum((p - q) * np.log(p / q))), rel=1e-9, abs=1e-12)


@given(counts, counts)
def test_psi_is_symmetric_and_never_negative(live: list[int], reference: list[int]) -> None:
    assert psi(live, reference) == pytest.approx(psi(reference, live))
    assert psi(live, reference) >= 0.0
    assert psi(live, live) == 0.0


def test_psi_by_hand_and_where_it_saturates() -> None:
    assert psi([100, 0, *[0] * 8], [10] * 10) == pytest.approx(
        sum((p - 0.1) * math.log(p / 0.1) for p in [100.5 / 105] + [0.5 / 105] * 9),
    )
    # about 5.3 with all of 200 rows in one of ten equal bins: why the gate cannot compare beyond
    assert psi([200] + [0] * 9, [200] * 10) == pytest.approx(5.3, abs=0.5)
    with pytest.raises(ValueError, match="10 bins"):
        psi([1, 2], [1] * 10)
    with pytest.raises(ValueError, match="negative"):
        psi([-1] * 10, [1] * 10)


def test_w_counts_a_bar_once_however_many_pods_counted_it() -> None:
    hour = 3_600_000
    assert window(500, 0, 49 * hour, hour, 1) == 50
    assert window(40, 0, 49 * hour, hour, 1) == 40
    assert window(500, 0, 49 * hour + 1, hour, 3) == 150
    assert window(7, 0, 0, hour, 1) == 7  # undated rows
    assert window(0, 0, 0, hour, 0) == 0


def test_null_quantiles_at_between_and_beyond_the_stored_lengths() -> None:
    curve = NullCurve.of({"100": 0.5, "50": 0.9, "200": 0.6}, rows=2_000)
    assert curve.quantile(50) == 0.9
    assert curve.quantile(100) == 0.5
    assert curve.quantile(70) == 0.9  # the larger neighbour
    assert curve.quantile(150) == 0.6
    assert NullCurve.of({"50": 0.2, "100": 0.5}, rows=2_000).quantile(70) == 0.5
    scaled = 0.6 * math.sqrt((1 / 800 + 1 / 2000) / (1 / 200 + 1 / 2000))
    assert curve.quantile(800) == pytest.approx(scaled)
    assert curve.quantile(25) == pytest.approx(0.9 * (1 / 25 + 1 / 2000) / (1 / 50 + 1 / 2000))
    assert NullCurve.of({}, 2_000).quantile(200) is None
    assert curve.quantile(0) is None


def test_the_null_multiple_is_that_of_the_nearest_lengths() -> None:
    curve = NullCurve.of({"50": 1.8, "100": 1.6}, rows=2_000)
    assert [curve.factor(w) for w in (10, 50, 75, 100, 5_000)] == [1.8, 1.8, 1.8, 1.6, 1.6]
    assert NullCurve.of({}, 1).factor(100) is None


@given(st.integers(1, 100_000), st.integers(1, 100_000))
def test_the_null_quantile_never_grows_with_the_window_beyond_what_is_stored(a: int, b: int) -> None:
    curve = NullCurve.of({"50": 0.9, "100": 0.5}, rows=2_000)
    low, high = sorted((a, b))
    assert curve.quantile(low) >= curve.quantile(high) > 0.0  # type: ignore[operator]


@pytest.mark.parametrize("stored", [{"0": 1.0}, {"x": 1.0}, {"50": math.inf}])
def test_null_bands_that_mean_nothing_are_refused(stored: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"50|0|x"):
        NullCurve.of(stored, 1_000)


def test_the_digest_of_edges_sees_names_order_and_values(build: Any) -> None:
    a, b = build.feature("a"), build.feature("b")
    digests = {
        edges_digest(build.reference(a, b)),
        edges_digest(build.reference(b, a)),
        edges_digest(build.reference(a)),
        edges_digest(build.reference(a, build.feature("b", edges=(0.0,) * 9))),
    }
    assert len(digests) == 4
    # counts and null bands may differ: live counts of both can be added
    assert edges_digest(build.reference(a)) == edges_digest(build.reference(build.feature("a", (1,) * 10, q95=9.0)))
