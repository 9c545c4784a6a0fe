from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from walkforward_core.bundle import Verdict
from walkforward_core.gates import GateReason, LatencyConfig, latency
from walkforward_core.gates.latency import dispersion, log_ratio, quantile_ms
from walkforward_core.stats import Latency

PLAIN = LatencyConfig()


def judge(
    build: Any, n: int, k: int, *, config: LatencyConfig = PLAIN, slices: int | None = None, k2n: float | None = None, **context: Any
) -> Any:
    return latency.judge(config, build.latency(n, k, slices=slices, k2n=k2n), build.context(**context))


def test_200_fast_answers_over_ten_minutes_pass(build: Any) -> None:
    assert PLAIN.needed() == 200
    assert judge(build, 200, 0).verdict is Verdict.PASS
    few = judge(build, 199, 0)
    assert (few.verdict, few.reason, few.missing) == (Verdict.NO_DATA, GateReason.TOO_FEW_SAMPLES, 1)
    # without the floor the evidence itself needs 116
    assert LatencyConfig(min_samples=1).needed() == 116
    assert judge(build, 116, 0, config=LatencyConfig(min_samples=1)).verdict is Verdict.PASS
    assert judge(build, 115, 0, config=LatencyConfig(min_samples=1)).missing == 1


def test_time_is_needed_beside_answers(build: Any) -> None:
    for fields in ({"slices": 59}, {"soak_ms": 599_999}):
        assert judge(build, 5_000, 0, **fields).reason is GateReason.SOAK_TOO_SHORT
    assert judge(build, 5_000, 0, slices=59).missing == 1
    assert judge(build, 400, 100, slices=12, soak_ms=120_000).verdict is Verdict.FAIL
    for fields in ({"slices": 11, "soak_ms": 600_000}, {"slices": 12, "soak_ms": 119_999}):
        assert judge(build, 400, 100, **fields).verdict is Verdict.NO_DATA
    assert judge(build, 199, 150).verdict is Verdict.NO_DATA


@given(n=st.integers(1, 20_000), share=st.floats(0.0, 1.0) | st.floats(0.0, 0.15), phi=st.floats(1.0, 6.0))
def test_verdicts_are_those_of_the_formulae(build: Any, n: int, share: float, phi: float) -> None:
    k, slices = round(n * share), min(n, 60)
    p = k / n
    k2n = min(p * k + phi * p * (1 - p) * (slices - 1), k)
    phi = max(1.0, (k2n - p * k) / (p * (1 - p) * (slices - 1))) if 0 < k < n and slices > 1 else 1.0
    result = judge(build, n, k, slices=slices, k2n=k2n)

    def ratio(p1: float) -> float:
        return (k * math.log(p1 / 0.05) + (n - k) * math.log((1 - p1) / 0.95)) / phi

    if min(abs(ratio(0.025) - 3), abs(ratio(0.10) - 3)) < 1e-6:
        return  # on the border rounding decides
    expected = Verdict.NO_DATA
    if ratio(0.10) >= 3 and n >= 200:
        expected = Verdict.FAIL
    elif ratio(0.025) >= 3 and n >= 200 and slices >= 60:
        expected = Verdict.PASS
    assert result.verdict is expected


@given(st.lists(st.tuples(st.integers(1, 200), st.floats(0, 1)), min_size=2, max_size=80))
def test_the_dispersion_from_sums_is_pearsons_over_the_slices(drawn: list[tuple[int, float]]) -> None:
    n = np.array([count for count, _ in drawn])
    k = np.round(n * np.array([share for _, share in drawn])).astype(int)
    sums = Latency(n=int(n.sum()), k=int(k.sum()), k2n=float((k**2 / n).sum()), slices=len(n))
    p = k.sum() / n.sum()
    expected = 1.0
    if 0 < p < 1:
        expected = max(1.0, float(((k - n * p) ** 2 / (n * p * (1 - p))).sum() / (len(n) - 1)))
    assert dispersion(sums) == pytest.approx(expected, rel=1e-6)


def test_stalls_weigh_less_than_slowness_spread_over_time(build: Any) -> None:
    # 10 % slow either way; in six slices of sixty it may be chance, in all of them it is the model
    spread = judge(build, 600, 60)
    stalls = judge(build, 600, 60, k2n=6 * 10**2 / 10)
    assert spread.verdict is Verdict.FAIL
    assert (stalls.verdict, stalls.reason) == (Verdict.NO_DATA, GateReason.UNDECIDED)


def test_one_stall_keeps_fast_answers_from_being_proof(build: Any) -> None:
    # 1 % slow either way; all of it in one slice, the next stall may bring any number
    assert judge(build, 1_000, 10).verdict is Verdict.PASS
    stalled = judge(build, 1_000, 10, k2n=10.0)
    assert (stalled.verdict, stalled.reason) == (Verdict.NO_DATA, GateReason.UNDECIDED)


def test_only_the_candidates_answers_of_the_phase_count(build: Any) -> None:
    fast, slow = build.latency(5_000, 0), build.latency(5_000, 2_000)
    assert latency.judge(PLAIN, replace(fast, walk=slow.walk), build.context()).verdict is Verdict.PASS
    beside = replace(fast.phase, stable=slow.phase.candidate)
    assert latency.judge(PLAIN, replace(fast, phase=beside), build.context()).verdict is Verdict.PASS


def test_what_is_said_to_be_missing_is_enough(build: Any) -> None:
    first = judge(build, 300, 8)
    assert first.reason is GateReason.UNDECIDED
    assert judge(build, 300 + first.missing, 8).verdict is Verdict.PASS


def test_old_polls_never_pass_but_a_fail_stands(build: Any) -> None:
    assert judge(build, 5_000, 0, poll_age_ms=31_000).reason is GateReason.STALE_EVIDENCE
    assert judge(build, 5_000, 2_000, poll_age_ms=None).verdict is Verdict.FAIL


def test_counts_that_cannot_be_or_meet_another_limit_are_no_data(build: Any) -> None:
    assert judge(build, 0, 0).reason is GateReason.NO_EVIDENCE
    assert judge(build, 100, 101).reason is GateReason.INCONSISTENT_EVIDENCE
    for k2n in (math.nan, math.inf, -math.inf, 0.24, 5.1):  # 25/100 at least, 5 at most
        assert judge(build, 100, 5, k2n=k2n).reason is GateReason.INCONSISTENT_EVIDENCE
    for k2n in (0.25, 5.0):
        assert judge(build, 100, 5, k2n=k2n).reason is not GateReason.INCONSISTENT_EVIDENCE
    assert judge(build, 100, 5, slices=101).reason is GateReason.INCONSISTENT_EVIDENCE
    other = latency.judge(PLAIN, build.latency(5_000, 0, limit_ms=90.0), build.context())
    assert other.reason is GateReason.INCONSISTENT_EVIDENCE
    assert "90 ms" in other.message
    fine = build.latency(5_000, 0)
    torn = replace(fine, phase=replace(fine.phase, conflict="two limits"))
    assert latency.judge(PLAIN, torn, build.context()).reason is GateReason.INCONSISTENT_EVIDENCE


def test_the_shown_quantile_interpolates_and_says_which_side_of_the_limit_it_is() -> None:
    buckets = Latency(le=(40_000.0, 80_000.0, 160_000.0), counts=(50, 45, 5, 0))
    assert quantile_ms(buckets) == pytest.approx(80.0)
    assert quantile_ms(buckets, 0.5) == pytest.approx(40.0)
    assert quantile_ms(buckets, 0.25) == pytest.approx(20.0)
    assert quantile_ms(Latency(le=(40_000.0,), counts=(0, 9))) == 40.0
    assert quantile_ms(Latency()) is None
    assert quantile_ms(Latency(le=(1.0,), counts=(5,))) is None


@given(st.integers(1, 400), st.integers(0, 100))
def test_the_shown_quantile_and_the_share_agree(fast: int, slow: int) -> None:
    shown = quantile_ms(Latency(le=(80_000.0, 160_000.0), counts=(fast, slow, 0)))
    assert shown is not None
    assert (shown > 80.0) == (slow / (fast + slow) > 0.05 + 1e-12)


def test_the_border_is_five_percent() -> None:
    # at 5 % neither side gains evidence in the mean
    assert log_ratio(1_000, 50, 0.025) < 0
    assert log_ratio(1_000, 50, 0.10) < 0
    assert log_ratio(1_000, 25, 0.025) > 0
    assert log_ratio(1_000, 100, 0.10) > 0
