from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from walkforward_core.bundle import Verdict
from walkforward_core.drift import edges_digest, psi
from walkforward_core.gates import GateReason, PsiConfig, SignalKind
from walkforward_core.gates import psi as gate
from walkforward_core.pods import ModelRole

PLAIN = PsiConfig()
EVEN = (20,) * 10
FLAT = (0.0, 1.0)


def skewed(n: int, excess: int) -> tuple[int, ...]:
    """``n`` counts with ``excess`` more in the last bin than in the others."""
    rest = (n - excess) // 10
    return (*(rest,) * 9, n - 9 * rest)


def judge(
    build: Any,
    candidate: list[tuple[int, ...]],
    stable: list[tuple[int, ...]] | None = None,
    *,
    config: PsiConfig = PLAIN,
    candidate_reference: Any = None,
    stable_reference: Any = None,
    candidate_row: dict[str, Any] | None = None,
    stable_row: dict[str, Any] | None = None,
    **context: Any,
) -> Any:
    stable = candidate if stable is None else stable
    names = [build.feature(name) for name in "abcdef"]
    references = {
        "candidate_reference": candidate_reference or build.reference(*names[: len(candidate)]),
        "stable_reference": stable_reference or build.reference(*names[: len(stable)]),
    }
    rows = {
        "candidate": build.drift_row(ModelRole.CANDIDATE, candidate, **(candidate_row or {})),
        "stable": build.drift_row(ModelRole.STABLE, stable, **(stable_row or {})),
    }
    return gate.judge(config, build.evidence(**rows), build.context(**{**references, **context}))


def test_200_distinct_bars_like_the_reference_pass(build: Any) -> None:
    result = judge(build, [EVEN, EVEN])
    assert (result.verdict, result.reason, result.samples, result.missing) == (Verdict.PASS, GateReason.DRIFT_WITHIN_LIMIT, 200, 0)
    few = judge(build, [(19,) * 10])
    assert (few.verdict, few.reason, few.missing) == (Verdict.NO_DATA, GateReason.TOO_FEW_SAMPLES, 10)
    assert judge(build, [(30,) * 10], config=PsiConfig(min_samples=301)).reason is GateReason.TOO_FEW_SAMPLES


def test_the_candidate_fails_above_both_limits_only(build: Any) -> None:
    drifted = skewed(200, 100)
    level = psi(drifted, (100,) * 10)
    assert 0.2 < level < 2.0
    failed = judge(build, [EVEN, drifted], [EVEN, EVEN])
    assert (failed.verdict, failed.reason) == (Verdict.FAIL, GateReason.CANDIDATE_DRIFT)
    assert failed.value == pytest.approx(level)
    assert failed.threshold == pytest.approx(0.2)
    assert failed.message.startswith("b: PSI")
    # its own null band: the feature wanders as far in every healthy window
    wanders = build.reference(build.feature("a"), build.feature("b", q95=level + 0.01))
    passed = judge(build, [EVEN, drifted], [EVEN, EVEN], candidate_reference=wanders)
    assert (passed.verdict, passed.threshold) == (Verdict.PASS, pytest.approx(level + 0.01))
    # stable sees the same on the same rows: 0.2 + 1.5 · PSI is above it
    assert judge(build, [EVEN, drifted], [EVEN, drifted]).verdict is Verdict.PASS


@given(st.integers(0, 150), st.integers(0, 150), st.floats(0.01, 3.0))
def test_rule_2_is_that_of_the_formula(build: Any, own: int, beside: int, q95: float) -> None:
    candidate, stable = skewed(200, own), skewed(200, beside)
    level, other = psi(candidate, (100,) * 10), psi(stable, (100,) * 10)
    result = judge(build, [candidate], [stable], candidate_reference=build.reference(build.feature("a", q95=q95)))
    if math.isclose(level, 0.2 + 1.5 * other) or math.isclose(level, q95):
        return
    assert (result.verdict is Verdict.FAIL) == (level > 0.2 + 1.5 * other and level > q95)


def test_stables_psi_counts_one_and_a_half_times(build: Any) -> None:
    beside = skewed(200, 100)
    limit = 0.2 + 1.5 * psi(beside, (100,) * 10)
    within, above = skewed(200, 130), skewed(200, 140)
    assert limit - 0.5 * psi(beside, (100,) * 10) < psi(within, (100,) * 10) < limit < psi(above, (100,) * 10)
    assert judge(build, [within], [beside]).verdict is Verdict.PASS
    assert judge(build, [above], [beside]).verdict is Verdict.FAIL


def test_the_score_is_judged_like_a_feature(build: Any) -> None:
    failed = judge(build, [EVEN], candidate_row={"score": skewed(200, 150)})
    assert (failed.verdict, failed.message[:6]) == (Verdict.FAIL, "score:")
    both = judge(build, [EVEN], candidate_row={"score": skewed(200, 150)}, stable_row={"score": skewed(200, 150)})
    # scores are the models' own: what both of them say otherwise is no drift of the market
    assert (both.verdict, both.signals) == (Verdict.PASS, ())


def test_features_meet_by_name_not_by_place(build: Any) -> None:
    drifted = skewed(200, 100)
    swapped = build.reference(build.feature("b"), build.feature("a"))
    assert judge(build, [EVEN, drifted], [drifted, EVEN], stable_reference=swapped).verdict is Verdict.PASS
    assert judge(build, [EVEN, drifted], [EVEN, drifted], stable_reference=swapped).verdict is Verdict.FAIL


def test_a_feature_that_stable_does_not_know_has_its_null_band_alone(build: Any) -> None:
    drifted = skewed(200, 100)
    level = psi(drifted, (100,) * 10)
    for q95, verdict in ((level / 2.5 + 0.01, Verdict.PASS), (level / 2.5 - 0.01, Verdict.FAIL), (0.001, Verdict.FAIL)):
        reference = build.reference(build.feature("a"), build.feature("new", q95=q95), null_m=2.0)
        result = judge(build, [EVEN, drifted], [EVEN], candidate_reference=reference)
        assert result.verdict is verdict
        assert result.threshold == pytest.approx(max(0.2, 1.25 * 2.0 * q95))
    assert "stable does not know it" in result.message
    # 0.2 is the least for it too
    small = skewed(200, 30)
    assert psi(small, (100,) * 10) < 0.2
    reference = build.reference(build.feature("a"), build.feature("new", q95=0.0001))
    assert judge(build, [EVEN, small], [EVEN], candidate_reference=reference).verdict is Verdict.PASS


def test_drift_of_both_arms_is_the_markets(build: Any) -> None:
    drifted = skewed(200, 120)
    level = psi(drifted, (100,) * 10)
    result = judge(build, [EVEN, drifted])
    assert result.verdict is Verdict.PASS
    (signal,) = result.signals
    assert (signal.kind, signal.subjects, signal.value) == (SignalKind.MARKET_DRIFT, ("b",), pytest.approx(level))
    held = judge(build, [EVEN, drifted], config=PsiConfig(hold_on_market_drift=True))
    assert (held.verdict, held.reason) == (Verdict.NO_DATA, GateReason.MARKET_DRIFT)
    # one arm within its own band 1.25 · M · q95: no drift of the market
    wide = build.reference(build.feature("a"), build.feature("b", q95=level / 2.5 + 0.01))
    for fields in ({"candidate_reference": wide}, {"stable_reference": wide}):
        assert judge(build, [EVEN, drifted], **fields).signals == ()
    # nor with one arm below the least that counts, however narrow its band
    narrow = build.reference(build.feature("a"), build.feature("b", q95=0.001))
    slight = skewed(200, 30)
    assert 0.01 < psi(slight, (100,) * 10) < 0.2
    for arms in (([EVEN, slight], [EVEN, drifted]), ([EVEN, drifted], [EVEN, slight])):
        assert judge(build, *arms, candidate_reference=narrow, stable_reference=narrow).signals == ()
    # the candidate's defect is not the market's
    assert judge(build, [EVEN, drifted], [EVEN, EVEN]).signals == ()


def test_where_stable_is_beyond_comparison_that_is_said(build: Any) -> None:
    all_in_one = (0,) * 9 + (200,)
    result = judge(build, [EVEN, all_in_one])
    assert result.verdict is Verdict.PASS
    kinds = {signal.kind: signal.subjects for signal in result.signals}
    assert kinds == {SignalKind.MARKET_DRIFT: ("b",), SignalKind.SATURATED: ("b",)}


def test_values_out_of_range_fail_after_50_bars(build: Any) -> None:
    bad = {"beyond": (0, 11)}
    result = judge(build, [(5,) * 10, (5,) * 10], candidate_row=bad)
    assert (result.verdict, result.reason, result.value, result.threshold) == (Verdict.FAIL, GateReason.OUT_OF_RANGE, 0.22, 0.2)
    assert "b: 22% of rows" in result.message
    assert judge(build, [(5,) * 10, (5,) * 10], candidate_row={"beyond": (0, 10)}).verdict is Verdict.NO_DATA
    assert judge(build, [(5,) * 9 + (4,), (5,) * 9 + (4,)], candidate_row=bad).verdict is Verdict.NO_DATA


def test_a_share_is_of_the_values_that_are_there_and_not_of_a_few(build: Any) -> None:
    # two values in five rows, as in the reference; 20 of them are too few for a share, of 50 a fifth may lie beyond
    usual = build.reference(build.feature("a"), build.feature("b", missing=1_500))
    for rows, beyond, verdict in ((50, 5, Verdict.NO_DATA), (125, 10, Verdict.NO_DATA), (125, 11, Verdict.FAIL)):
        there = rows * 2 // 5
        candidate = [build.even(rows), build.even(there)]
        row = {"missing": (0, rows - there), "beyond": (0, beyond)}
        result = judge(build, candidate, [build.even(rows)] * 2, candidate_row=row, candidate_reference=usual)
        assert result.verdict is verdict


def test_a_constant_fails_where_the_reference_varies(build: Any) -> None:
    one = (50,) + (0,) * 9
    same = {"min": (0.5, 0.5), "max": (9.5, 0.5)}
    stable = [(5,) * 10, (5,) * 10]
    result = judge(build, [(5,) * 10, one], stable, candidate_row=same)
    assert (result.verdict, result.reason) == (Verdict.FAIL, GateReason.CONSTANT_INPUT)
    constant = build.reference(build.feature("a"), build.feature("b", min=0.5, max=0.5))
    assert judge(build, [(5,) * 10, one], stable, candidate_row=same, candidate_reference=constant).verdict is Verdict.NO_DATA
    # a flag that is nearly always off may be off for 50 bars
    flag = build.reference(build.feature("a"), build.feature("b", (600, *(0,) * 8, 400)))
    assert judge(build, [(5,) * 10, one], stable, candidate_row=same, candidate_reference=flag).verdict is Verdict.NO_DATA


def test_nan_fails_above_the_limit_and_twice_the_references_share(build: Any) -> None:
    for missing, verdict in ((50, Verdict.PASS), (51, Verdict.FAIL)):
        row = {"missing": (0, missing)}
        candidate = [(100,) * 10, skewed(1_000 - missing, 0)]
        result = judge(build, candidate, candidate_row=row, stable_row={"missing": (0, 0)})
        assert result.verdict is verdict
    assert (result.reason, result.value) == (GateReason.MISSING_INPUT, pytest.approx(0.051))
    usual = build.reference(build.feature("a"), build.feature("b", missing=250))  # 20 % of its rows
    for missing, verdict in ((450, Verdict.PASS), (451, Verdict.FAIL)):
        candidate = [(100,) * 10, skewed(1_000 - missing, 0)]
        result = judge(build, candidate, [(100,) * 10] * 2, candidate_row={"missing": (0, missing)}, candidate_reference=usual)
        assert result.verdict is verdict


def test_a_feature_of_nan_only_is_found(build: Any) -> None:
    result = judge(
        build, [(5,) * 10, (0,) * 10], [(5,) * 10] * 2, candidate_row={"missing": (0, 50), "min": (0.5, None), "max": (9.5, None)}
    )
    assert (result.verdict, result.reason) == (Verdict.FAIL, GateReason.MISSING_INPUT)


def test_inputs_broken_for_both_arms_hold_and_are_said_at_once(build: Any) -> None:
    bad = {"beyond": (0, 40)}
    early = judge(build, [(6,) * 10, (6,) * 10], candidate_row=bad, stable_row=bad)
    assert (early.verdict, early.reason) == (Verdict.NO_DATA, GateReason.TOO_FEW_SAMPLES)
    assert [(signal.kind, signal.subjects) for signal in early.signals] == [(SignalKind.INPUTS_BROKEN, ("b",))]
    bad = {"beyond": (0, 150)}
    late = judge(build, [EVEN, EVEN], candidate_row=bad, stable_row=bad)
    assert (late.verdict, late.reason) == (Verdict.NO_DATA, GateReason.INPUTS_BROKEN)
    # broken for the candidate alone beside: that one decides
    both = judge(build, [EVEN, EVEN], candidate_row={"beyond": (150, 150)}, stable_row=bad)
    assert (both.verdict, both.message[:2]) == (Verdict.FAIL, "a:")
    assert [signal.subjects for signal in both.signals] == [("b",)]


def test_old_polls_never_pass_but_a_fail_stands(build: Any) -> None:
    assert judge(build, [EVEN], poll_age_ms=31_000).reason is GateReason.STALE_EVIDENCE
    assert judge(build, [EVEN], poll_age_ms=None).reason is GateReason.STALE_EVIDENCE
    assert judge(build, [skewed(200, 150)], [EVEN], poll_age_ms=None).verdict is Verdict.FAIL


def test_without_null_bands_nothing_passes(build: Any) -> None:
    without = build.reference(build.feature("a"), build.feature("b", q95=None))
    result = judge(build, [EVEN, EVEN], candidate_reference=without)
    assert (result.verdict, result.reason) == (Verdict.NO_DATA, GateReason.NULL_BANDS_MISSING)
    assert "b" in result.message
    # another feature may fail all the same
    assert judge(build, [skewed(200, 150), EVEN], [EVEN, EVEN], candidate_reference=without).verdict is Verdict.FAIL


def test_references_that_are_missing_or_others_are_no_data(build: Any) -> None:
    for name in ("candidate_reference", "stable_reference"):
        rows = {role.value: build.drift_row(role, [EVEN]) for role in (ModelRole.CANDIDATE, ModelRole.STABLE)}
        references = {
            "candidate_reference": build.reference(build.feature("a")),
            "stable_reference": build.reference(build.feature("a")),
            name: None,
        }
        result = gate.judge(PLAIN, build.evidence(**rows), build.context(**references))
        assert result.reason is GateReason.REFERENCE_MISSING
    two = build.reference(build.feature("a"), build.feature("b"))
    assert judge(build, [EVEN], candidate_reference=two).reason is GateReason.INCONSISTENT_EVIDENCE
    assert judge(build, [EVEN], candidate_row={"edges_digest": "sha256:0"}).reason is GateReason.INCONSISTENT_EVIDENCE
    own = edges_digest(build.reference(build.feature("a")))
    assert judge(build, [EVEN], candidate_row={"edges_digest": own}).verdict is Verdict.PASS
    assert judge(build, [EVEN], candidate_row={"score": (1,)}).reason is GateReason.INCONSISTENT_EVIDENCE
    assert judge(build, [(5,) * 10], candidate_row={"score": (1,)}).reason is GateReason.INCONSISTENT_EVIDENCE
    assert judge(build, [(100, 100)]).verdict is Verdict.NO_DATA


def test_nothing_and_conflicts_are_no_data(build: Any) -> None:
    references = {"candidate_reference": build.reference(build.feature("a")), "stable_reference": build.reference(build.feature("a"))}
    assert gate.judge(PLAIN, build.evidence(), build.context(**references)).reason is GateReason.NO_EVIDENCE
    for role in (ModelRole.CANDIDATE, ModelRole.STABLE):
        alone = build.evidence(**{role.value: build.drift_row(role, [EVEN])})
        assert gate.judge(PLAIN, alone, build.context(**references)).reason is GateReason.NO_EVIDENCE
    conflict = build.evidence(conflict="two sets of bins")
    assert gate.judge(PLAIN, conflict, build.context(**references)).reason is GateReason.INCONSISTENT_EVIDENCE


small = st.integers(0, 60)


@given(
    st.lists(st.tuples(*[small] * 10), min_size=1, max_size=3),
    st.lists(st.tuples(small, small, small), min_size=3, max_size=3),
    st.sampled_from([None, 0.1, 3.0]),
)
def test_no_counts_whatever_raise(build: Any, counts: list[tuple[int, ...]], others: list[tuple[int, ...]], q95: float | None) -> None:
    size = len(counts)
    row = {"missing": others[0][:size], "beyond": others[1][:size], "min": FLAT[:1] * size, "max": (None,) * size}
    reference = build.reference(*[build.feature(name, q95=q95) for name in "abc"[:size]])
    result = judge(build, counts, candidate_row=row, candidate_reference=reference)
    assert result.value is None or math.isfinite(result.value)
