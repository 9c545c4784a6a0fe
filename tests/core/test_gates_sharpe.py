from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from walkforward_core.bundle import Verdict
from walkforward_core.evidence.outcomes import merge_outcomes
from walkforward_core.gates import GateReason, SharpeConfig, SharpeMode, SignalKind, sharpe
from walkforward_core.gates.paired import annualised, harm_evidence, log_evidence, outcomes_needed, paired
from walkforward_core.stats import Bars, Outcomes

if TYPE_CHECKING:
    from numpy.typing import NDArray

HOUR = 3_600_000
BASE = 5 * HOUR
PLAIN = SharpeConfig()
PAIR = {"plan": "plan", "stable": "stable", "candidate": "candidate", "base_ms": BASE}


def table(stable: NDArray[np.float64], candidate: NDArray[np.float64], *, per_bar: int = 1) -> Outcomes:
    """One outcome of each of ``per_bar`` symbols a bar, hourly, horizon 5 bars."""
    drawn = ((number // per_bar * HOUR, s, c) for number, (s, c) in enumerate(zip(stable.tolist(), candidate.tolist(), strict=True)))
    return merge_outcomes(
        Outcomes(**PAIR, rows={str(ts // BASE): (1.0, s, c, s * s, c * c, s * c)}, newest=ts, matured=1) for ts, s, c in drawn
    )


def independent(s: NDArray[np.float64], c: NDArray[np.float64], batch: int, h: float, m: float) -> dict[str, float]:
    """The definition again, from the single outcomes."""
    n = len(s)
    zs, zc = s / s.std(), c / c.std()
    theta = zc.mean() - zs.mean()
    d = zc - zs - theta
    e = np.array([d[start : start + batch].sum() for start in range(0, n, batch)])
    j = len(e)
    se2 = (j / (j - 1) * (e**2).sum() + 2 * max(0.0, float(e[:-1] @ e[1:]))) / n**2
    iid = (d**2).sum() / n**2
    kappa = float(np.clip(se2 / iid, 1, h))
    theta_v = (n * theta - 6 * kappa) / (n + 3)
    se2_v = (n**2 * se2 + 12 * kappa**2) / (n + 3) ** 2
    with np.errstate(over="ignore"):  # certain harm is infinite evidence
        harm = float(np.mean([np.exp(-q * (theta + q / 2) / se2) for q in (m, 4 * m, 20 * m)]))
    return {
        "theta": theta,
        "se2": se2,
        "kappa": kappa,
        "lambda": m * (theta_v + m / 2) / se2_v,
        "e": harm,
        "rho": float(np.corrcoef(s, c)[0, 1]),
    }


@given(st.integers(0, 10_000), st.integers(150, 1_500), st.floats(0.0, 1.0), st.floats(-0.2, 0.2), st.sampled_from([0.02, 0.05, 0.1]))
def test_the_statistic_is_that_of_the_single_outcomes(seed: int, n: int, mix: float, shift: float, m: float) -> None:
    rng = np.random.default_rng(seed)
    s = np.convolve(rng.standard_t(4, n + 4), np.ones(5), "valid") * 1e-3
    c = mix * s + (1 - mix) * rng.standard_normal(n) * 1e-3 + shift * 1e-3 + (rng.random(n) < 0.05) * 1e-4
    made = table(s, c)
    statistic = paired(made, 5.0)
    expected = independent(s, c, 5 * 2**made.level, 5.0, m)
    assert statistic.n == n
    assert statistic.theta == pytest.approx(expected["theta"], rel=1e-6, abs=1e-9)
    assert statistic.variance == pytest.approx(expected["se2"], rel=1e-6)
    assert statistic.kappa == pytest.approx(expected["kappa"], rel=1e-6)
    assert statistic.rho == pytest.approx(expected["rho"], rel=1e-6, abs=1e-9)
    assert log_evidence(statistic, m) == pytest.approx(expected["lambda"], rel=1e-5, abs=1e-8)
    if expected["e"] < 1e30:  # beyond, rounding in the exponent shows
        assert harm_evidence(statistic, m) == pytest.approx(expected["e"], rel=1e-4, abs=1e-12)
    else:
        assert harm_evidence(statistic, m) > 1e29


def test_full_agreement_passes_after_16_h_over_m_outcomes() -> None:
    # h = 5, m = 0.05: 1,640
    def passes(n: int) -> bool:
        r = np.random.default_rng(1).standard_normal(n)
        statistic = paired(table(r, r), 5.0)
        assert statistic.kappa == 5.0
        assert statistic.variance == 0.0
        assert harm_evidence(statistic, 0.05) == 0.0  # who decides as stable does harms nobody
        return log_evidence(statistic, 0.05) >= math.log(20)

    assert passes(1_640)
    assert not passes(1_600)


def test_one_batch_says_nothing_either_way() -> None:
    s, c = pair(4, shift=-2.0)
    statistic = paired(table(s, c), 5.0)
    assert (statistic.batches, log_evidence(statistic, 0.05)) == (1, 0.0)
    assert harm_evidence(statistic, 0.05) <= 1.0


def test_expected_outcomes_are_those_published() -> None:
    published = {(0.1, 0.9): 534, (0.05, 0.98): 813, (0.05, 0.9): 1_515, (0.02, 0.98): 2_668, (0.05, 0.6): 4_341}
    for (m, rho), n in published.items():
        assert outcomes_needed(m, 1, rho=rho) == pytest.approx(n, rel=2e-3)
    assert outcomes_needed(1.0, 1) == 100
    assert outcomes_needed(1.0, 24) == 32 * 24


def test_annualised_margins_are_those_published() -> None:
    assert annualised(0.05, BASE) == pytest.approx(2.1, abs=0.05)
    assert annualised(0.05, BASE // 12) == pytest.approx(7.3, abs=0.05)
    assert annualised(0.05, BASE // 60) == pytest.approx(16, abs=0.5)


def judge(
    build: Any, outcomes: Outcomes | None, config: SharpeConfig = PLAIN, *, symbols: int = 1, newest_ts: int | None = None, **context: Any
) -> Any:
    from walkforward_core.pods import ModelRole

    newest = (outcomes.newest + BASE if outcomes else 0) if newest_ts is None else newest_ts
    bars = Bars(distinct=1, symbols=tuple(f"S{number}" for number in range(symbols)), first_ts=0, newest_ts=newest)
    rows = {"stable": build.row(ModelRole.STABLE, bars=bars), "candidate": build.row(ModelRole.CANDIDATE, bars=bars)}
    return sharpe.judge(config, build.evidence(outcomes=outcomes, **rows), build.context(**context))


def pair(n: int, *, shift: float = 0.0, noise: float = 0.1, seed: int = 3) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    s = rng.standard_normal(n)
    c = s + noise * rng.standard_normal(n)
    return s, c - c.mean() + s.mean() + shift


def test_an_equal_candidate_passes_latches_and_stays_passed(build: Any) -> None:
    result = judge(build, table(*pair(2_000)))
    assert (result.verdict, result.reason, result.latch, result.threshold) == (
        Verdict.PASS,
        GateReason.NOT_WORSE,
        "sharpe/plan/0.05",
        -0.05,
    )
    assert abs(result.value) < 0.01
    assert "(a year: 2.1)" in result.message
    kept = frozenset({result.latch})
    later = judge(build, table(*pair(2_000, shift=-0.025)), latches=kept)
    assert (later.verdict, later.reason, later.latch) == (Verdict.PASS, GateReason.PASSED_BEFORE, result.latch)
    # outcomes that stop, or pods that vanish with theirs, take nothing back
    for lost in (None, table(*pair(50))):
        assert judge(build, lost, latches=kept).verdict is Verdict.PASS
    assert judge(build, table(*pair(2_000)), latches=kept, poll_age_ms=None).verdict is Verdict.PASS


def test_a_latch_is_of_one_plan_and_one_margin(build: Any) -> None:
    undecided = table(*pair(2_000, shift=-0.025))
    assert judge(build, undecided).verdict is Verdict.NO_DATA
    for foreign in ("sharpe/plan/0.1", "sharpe/another/0.05", "psi/plan/0.05"):
        assert judge(build, undecided, latches=frozenset({foreign})).verdict is Verdict.NO_DATA
    assert judge(build, undecided, latches=frozenset({"sharpe/plan/0.05"})).verdict is Verdict.PASS


def test_pass_and_fail_keep_to_error_rates_of_their_own(build: Any) -> None:
    good, bad = table(*pair(2_000)), table(*pair(2_000, shift=-0.06, noise=0.3))
    proof, harm = math.exp(-log_evidence(paired(good, 5.0), 0.05)), 1.0 / harm_evidence(paired(bad, 5.0), 0.05)
    assert max(proof, harm) < 0.05
    for alpha, verdict in ((proof * 1.01, Verdict.PASS), (proof * 0.99, Verdict.NO_DATA)):
        for other in (0.9, 1e-30):
            assert judge(build, good, SharpeConfig(alpha=alpha, alpha_harm=other)).verdict is verdict
    for alpha, verdict in ((harm * 1.01, Verdict.FAIL), (harm * 0.99, Verdict.NO_DATA)):
        for other in (0.05, 1e-30):
            assert judge(build, bad, SharpeConfig(alpha=other, alpha_harm=alpha)).verdict is verdict


def test_harm_fails_also_after_a_pass(build: Any) -> None:
    harmful = table(*pair(2_000, shift=-0.2))
    for latches in (frozenset(), frozenset({"sharpe/plan/0.05"})):
        result = judge(build, harmful, latches=latches)
        assert (result.verdict, result.reason, result.latch, result.missing) == (Verdict.FAIL, GateReason.HARM, "", 0)
        assert result.value == pytest.approx(-0.2, abs=0.01)


def test_certain_harm_does_not_overflow(build: Any) -> None:
    r = np.random.default_rng(1).standard_normal(1_000)
    statistic = paired(table(r, r - 1.0), 5.0)
    assert harm_evidence(statistic, 0.05) == math.inf
    assert judge(build, table(r, r - 1.0)).verdict is Verdict.FAIL


def test_floors_are_outcomes_and_batches(build: Any) -> None:
    few = judge(build, table(*pair(99), per_bar=1))
    assert (few.verdict, few.reason, few.samples) == (Verdict.NO_DATA, GateReason.TOO_FEW_SAMPLES, 99)
    assert few.missing == outcomes_needed(0.05, 5) - 99
    # ten symbols: 310 outcomes lie in 7 batches of market time only, whatever they say
    harmful = pair(310, shift=-2.0)
    assert judge(build, table(*harmful, per_bar=10), symbols=10).reason is GateReason.TOO_FEW_SAMPLES
    assert judge(build, table(*pair(155, shift=-2.0))).reason is GateReason.TOO_FEW_SAMPLES  # 31 batches
    assert judge(build, table(*pair(156, shift=-2.0))).verdict is Verdict.FAIL  # the 32nd
    assert judge(build, table(*pair(160, shift=-2.0)), SharpeConfig(min_outcomes=161)).reason is GateReason.TOO_FEW_SAMPLES
    assert judge(build, table(*pair(160, shift=-2.0)), SharpeConfig(min_batches=33)).reason is GateReason.TOO_FEW_SAMPLES


def test_models_that_never_trade_cannot_be_compared(build: Any) -> None:
    s, c = pair(1_000)
    for arms in ((s * 0, c), (s, c * 0), (s * 0, c * 0), (s * 0 + 1e-4, c)):
        result = judge(build, table(*arms))
        assert (result.verdict, result.reason, result.value) == (Verdict.NO_DATA, GateReason.NO_VARIANCE, None)


def test_freshness_is_judged_in_market_time_and_by_the_poll(build: Any) -> None:
    good = table(*pair(2_000))
    assert judge(build, good, newest_ts=good.newest + 2 * BASE).verdict is Verdict.PASS
    late = judge(build, good, newest_ts=good.newest + 2 * BASE + 1)
    assert (late.verdict, late.reason) == (Verdict.NO_DATA, GateReason.STALE_EVIDENCE)
    assert judge(build, good, poll_age_ms=30_001).reason is GateReason.STALE_EVIDENCE
    assert judge(build, good, newest_ts=0).verdict is Verdict.PASS  # undated requests


def test_nothing_and_conflicts_are_no_data(build: Any) -> None:
    assert judge(build, None).reason is GateReason.NO_EVIDENCE
    blank = Outcomes(plan="plan", stable="stable", candidate="candidate", base_ms=BASE)
    assert judge(build, blank).reason is GateReason.NO_EVIDENCE
    conflicting = build.evidence(conflict="two horizons")
    assert sharpe.judge(PLAIN, conflicting, build.context()).reason is GateReason.INCONSISTENT_EVIDENCE


@pytest.mark.parametrize(
    "batch",
    [
        (9.0, 1.0, 1.0, math.inf, 1.0, 1.0),
        (9.0, 1.0, 1.0, math.nan, 1.0, 1.0),
        (9.0, 1.0, 1.0, -1.0, 1.0, 1.0),
        (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        (-1.0, 0.0, 0.0, 1.0, 1.0, 1.0),
        (1.0, 2.0, 1.0, 1.0, 1.0, 1.0),
        (4.0, 1.0, 1.0, 1.0, 1.0, 1.1),
    ],
)
def test_sums_of_no_possible_outcomes_are_no_data(build: Any, batch: tuple[float, ...]) -> None:
    good = table(*pair(2_000))
    spoiled = Outcomes(plan="plan", stable="stable", candidate="candidate", base_ms=BASE, rows={**good.rows, "100000": batch})
    result = judge(build, spoiled)
    assert (result.verdict, result.reason) == (Verdict.NO_DATA, GateReason.INCONSISTENT_EVIDENCE)


@given(
    st.dictionaries(st.integers(0, 60).map(str), st.tuples(*[st.floats(-1e200, 1e200)] * 6), max_size=60),
    st.sampled_from(SharpeMode),
    st.integers(0, 3),
    st.integers(0, BASE),
)
def test_no_table_whatever_raises(build: Any, rows: dict, mode: SharpeMode, symbols: int, bar_ms: int) -> None:
    made = Outcomes(plan="plan", stable="stable", candidate="candidate", base_ms=BASE, rows=rows)
    result = judge(build, made, SharpeConfig(mode=mode), symbols=symbols, bar_ms=bar_ms)
    assert result.missing >= 0
    assert result.value is None or math.isfinite(result.value)


def test_what_is_missing_is_estimated_from_what_was_seen(build: Any) -> None:
    s, c = pair(300, shift=-0.02, noise=0.4)
    result = judge(build, table(s, c))
    statistic = paired(table(s, c), 5.0)
    needed = outcomes_needed(0.05, 5, kappa=statistic.kappa, rho=statistic.rho)
    assert (result.reason, result.missing) == (GateReason.UNDECIDED, needed - 300)
    # at n* and beyond: up to its next multiple, never zero while undecided
    n = needed + 10
    longer = judge(build, table(*pair(n, shift=-0.024, noise=0.4)))
    assert longer.missing > 0


def test_the_horizon_counts_bars_and_symbols(build: Any) -> None:
    from walkforward_core.pods import ModelRole

    bars = Bars(distinct=1, symbols=("A", "B", "C"), newest_ts=1)
    evidence = build.evidence(candidate=build.row(ModelRole.CANDIDATE, bars=bars))
    assert sharpe.per_horizon(evidence, build.context()) == 15.0
    assert sharpe.per_horizon(build.evidence(), build.context(bar_ms=0)) == 1.0


def test_a_margin_wider_than_half_of_what_stable_earned_is_said(build: Any) -> None:
    good = table(*pair(2_000))
    for earned, wide in ((0.1, False), (0.099, True), (-0.3, True), (None, False)):
        kinds = [signal.kind for signal in judge(build, good, stable_sharpe=earned).signals]
        assert kinds == ([SignalKind.MARGIN_TOO_WIDE] if wide else [])


def test_harm_only_holds_for_the_first_outcome_and_aborts_on_harm(build: Any) -> None:
    config = SharpeConfig(mode=SharpeMode.HARM_ONLY)
    assert judge(build, None, config).reason is GateReason.NO_EVIDENCE
    early = judge(build, table(*pair(20, shift=-3.0)), config)
    assert (early.verdict, early.reason, early.latch) == (Verdict.PASS, GateReason.NO_HARM_SEEN, "")
    assert [signal.kind for signal in early.signals] == [SignalKind.HARM_UNDETECTABLE]
    later = judge(build, table(*pair(500, shift=-0.02)), config)
    assert (later.verdict, later.signals) == (Verdict.PASS, ())
    assert judge(build, table(*pair(500, shift=-0.5)), config).reason is GateReason.HARM
    # a latch of the paired mode means nothing here
    latched = judge(build, table(*pair(500, shift=-0.5)), config, latches=frozenset({"sharpe/plan/0.05"}))
    assert latched.verdict is Verdict.FAIL
    assert judge(build, None, config, latches=frozenset({"sharpe/plan/0.05"})).verdict is Verdict.NO_DATA
    s, c = pair(500)
    assert judge(build, table(s, c * 0), config).reason is GateReason.NO_VARIANCE
    assert config.needed(5.0) == 160


@pytest.mark.parametrize("fields", [{"margin": 0.0}, {"alpha": 0.0}, {"alpha_harm": 1.0}, {"margin": math.nan}])
def test_settings_without_meaning_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="sharpe"):
        SharpeConfig(**fields)
