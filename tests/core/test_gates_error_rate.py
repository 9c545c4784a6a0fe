from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from walkforward_core.bundle import Verdict
from walkforward_core.gates import ErrorRateConfig, GateReason, error_rate
from walkforward_core.gates.binomial import binomial_tail

PLAIN = ErrorRateConfig()


@given(st.integers(0, 3_000), st.integers(-2, 3_002), st.floats(0.0, 1.0))
def test_binomial_tails_are_those_of_scipy(n: int, k: int, p: float) -> None:
    assert binomial_tail(k, n, p) == pytest.approx(float(binom.sf(k - 1, n, p)), rel=1e-8, abs=1e-12)


def test_binomial_tails_of_millions_are_right_and_quick() -> None:
    for n, k in ((10**6, 500_800), (10**6, 499_000)):
        assert binomial_tail(k, n, 0.5) == pytest.approx(float(binom.sf(k - 1, n, 0.5)), rel=1e-6)
    assert binomial_tail(5_003_000, 10**7, 0.5) == pytest.approx(float(binom.sf(5_002_999, 10**7, 0.5)), rel=1e-3)
    assert binomial_tail(5 * 10**17 + 10**9, 10**18, 0.5) == pytest.approx(0.0228, rel=1e-2)


def test_published_minima_of_one_look_at_p95() -> None:
    # 59, 93 and 124 requests with 0, 1 and 2 exceedances; 200 allow 4, 1,000 allow 38
    def certifies(n: int, exceedances: int) -> bool:
        return 1.0 - binomial_tail(exceedances + 1, n, 0.05) < 0.05

    for n, exceedances in ((59, 0), (93, 1), (124, 2)):
        assert certifies(n, exceedances)
        assert not certifies(n - 1, exceedances)
    for n, exceedances in ((200, 4), (1_000, 38)):
        assert certifies(n, exceedances)
        assert not certifies(n, exceedances + 1)


@pytest.mark.parametrize(("n", "p"), [(-1, 0.5), (3, 1.5), (3, -0.1), (3, math.nan)])
def test_binomials_that_do_not_exist_are_refused(n: int, p: float) -> None:
    with pytest.raises(ValueError, match="binomial"):
        binomial_tail(1, n, p)


def judge(build: Any, n: int, own: int = 0, stables: int = 0, config: ErrorRateConfig = PLAIN, **context: Any) -> Any:
    return error_rate.judge(config, build.paired(n, own, stables), build.context(**context))


def test_332_clean_requests_pass_and_331_do_not(build: Any) -> None:
    assert PLAIN.needed() == 332
    assert judge(build, 332).verdict is Verdict.PASS
    short = judge(build, 331)
    assert (short.verdict, short.reason, short.missing) == (Verdict.NO_DATA, GateReason.UNDECIDED, 1)
    few = judge(build, 299)
    assert (few.reason, few.missing) == (GateReason.TOO_FEW_SAMPLES, 33)


def test_a_pass_needs_min_samples_too(build: Any) -> None:
    config = ErrorRateConfig(min_samples=1_000)
    assert judge(build, 999, config=config).reason is GateReason.TOO_FEW_SAMPLES
    assert judge(build, 1_000, config=config).verdict is Verdict.PASS


def test_five_own_errors_are_needed_while_stable_makes_none(build: Any) -> None:
    assert judge(build, 20, own=4).verdict is Verdict.NO_DATA
    failed = judge(build, 20, own=5)
    assert (failed.verdict, failed.reason, failed.value, failed.threshold) == (Verdict.FAIL, GateReason.OWN_ERRORS, 0.25, 0.01)
    # ℓ alone would have failed from three on
    assert PLAIN.evidence(20, 3) > math.log(100)


def test_as_clean_requests_go_on_five_errors_are_too_few_again(build: Any) -> None:
    # five errors weigh 5·ln 10, the bar is ln 100: what is left is worth so many clean requests
    most = 5 + math.floor(3 * math.log(10) / math.log(0.999 / 0.99))
    assert judge(build, most, own=5).verdict is Verdict.FAIL
    assert judge(build, most + 1, own=5).verdict is Verdict.NO_DATA


def test_only_the_requests_of_the_phase_count(build: Any) -> None:
    clean, spoiled, nothing = build.paired(332), build.paired(20, own=5), build.paired(0)
    assert error_rate.judge(PLAIN, replace(clean, walk=spoiled.walk), build.context()).verdict is Verdict.PASS
    assert error_rate.judge(PLAIN, replace(nothing, walk=clean.walk), build.context()).reason is GateReason.NO_EVIDENCE


def test_stables_own_errors_excuse_as_many_of_the_candidate(build: Any) -> None:
    assert judge(build, 50, own=9, stables=3).verdict is Verdict.NO_DATA  # P(Bin(12, 1/2) >= 9) = 0.073
    assert judge(build, 50, own=10, stables=3).verdict is Verdict.FAIL  # P(Bin(13, 1/2) >= 10) = 0.046


@given(n=st.integers(0, 5_000), own=st.integers(0, 200), stables=st.integers(0, 200))
def test_verdicts_are_those_of_the_formulae(build: Any, n: int, own: int, stables: int) -> None:
    result = judge(build, n, own, stables)
    if own + stables > n:
        assert result.reason is GateReason.INCONSISTENT_EVIDENCE
        return
    level = own * math.log(10) + (n - own) * math.log(0.99 / 0.999)
    sign = float(binom.sf(own - 1, own + stables, 0.5)) if own + stables else 1.0
    expected = Verdict.NO_DATA
    if level >= math.log(100) and sign < 0.05:
        expected = Verdict.FAIL
    elif level <= -3 and n >= 300:
        expected = Verdict.PASS
    assert result.verdict is expected
    if expected is Verdict.NO_DATA:
        # what is said to be missing is enough, and nothing less is
        after = judge(build, n + result.missing, own, stables)
        assert after.verdict in {Verdict.PASS, Verdict.FAIL}
        assert judge(build, n + result.missing - 1, own, stables).verdict is Verdict.NO_DATA


def test_old_polls_never_pass_but_a_fail_stands(build: Any) -> None:
    for age in (None, 30_001):
        assert judge(build, 332, poll_age_ms=age).reason is GateReason.STALE_EVIDENCE
        assert judge(build, 20, own=5, poll_age_ms=age).verdict is Verdict.FAIL
    assert judge(build, 332, poll_age_ms=30_000).verdict is Verdict.PASS


def test_no_evidence_and_impossible_counts_are_no_data(build: Any) -> None:
    assert judge(build, 0).reason is GateReason.NO_EVIDENCE
    assert judge(build, 0).value is None
    assert judge(build, 10, own=11).reason is GateReason.INCONSISTENT_EVIDENCE
    assert judge(build, 10, own=-1).reason is GateReason.INCONSISTENT_EVIDENCE


def test_a_dry_run_says_what_it_would_have_said(build: Any) -> None:
    result = judge(build, 20, own=5, config=ErrorRateConfig(dry_run=True))
    assert (result.verdict, result.failed, result.passed) == (Verdict.FAIL, False, True)
    assert judge(build, 20, own=5).failed


@pytest.mark.parametrize("rates", [{"max": 0.001}, {"expected": 0.0}, {"max": 1.0}, {"expected": 0.02}])
def test_rates_that_can_never_decide_are_refused(rates: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        ErrorRateConfig(**rates)
