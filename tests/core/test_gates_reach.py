from __future__ import annotations

import math

from walkforward_core.gates import (
    ErrorRateConfig,
    Exposure,
    GateSet,
    LatencyConfig,
    PsiConfig,
    Rates,
    SharpeConfig,
    SharpeMode,
    reachability,
)

HOUR, DAY = 3_600_000, 86_400_000
ALL = GateSet(PsiConfig(), SharpeConfig(), LatencyConfig(), ErrorRateConfig())
# one symbol of hourly bars, a request a second
HOURLY = Rates(requests=1.0, bars=1 / 3600, outcomes=1 / 3600, horizon=5.0)
MINUTELY = Rates(requests=10.0, bars=1 / 60, outcomes=1 / 60, horizon=5.0)
PHASES = [Exposure(5, 2 * HOUR), Exposure(25, 2 * HOUR), Exposure(100, 2 * HOUR)]


def test_ninety_minutes_of_hourly_bars_decide_nothing_about_drift_and_profit() -> None:
    found = reachability(ALL, HOURLY, paired_ms=90 * 60_000, sharpe_ms=90 * 60_000, exposures=PHASES)
    assert [(one.gate, one.needed) for one in found] == [("psi", 200), ("sharpe", 1_516)]
    psi = found[0]
    assert (psi.takes_ms, psi.allowed_ms) == (200 * HOUR, 90 * 60_000)
    assert psi.message == (
        "psi: 200 distinct bars are needed, 8d8h at the rate seen, 1h30m are planned; lengthen phases or maxHold, or relax the gate"
    )


def test_a_policy_with_time_enough_is_reachable() -> None:
    assert reachability(ALL, MINUTELY, paired_ms=4 * HOUR, sharpe_ms=2 * DAY, exposures=PHASES) == ()


def test_an_automatic_hold_waits_for_the_paired_gate_but_not_for_outcomes_that_never_come() -> None:
    assert reachability(GateSet(sharpe=SharpeConfig()), HOURLY, paired_ms=0, sharpe_ms=None, exposures=[]) == ()
    silent = Rates(requests=1.0, bars=1.0, outcomes=0.0, horizon=5.0)
    (found,) = reachability(GateSet(sharpe=SharpeConfig()), silent, paired_ms=0, sharpe_ms=None, exposures=[])
    assert found.takes_ms is None
    assert "no traffic brings them" in found.message


def test_harm_only_needs_the_first_outcome() -> None:
    gates = GateSet(sharpe=SharpeConfig(mode=SharpeMode.HARM_ONLY))
    assert reachability(gates, HOURLY, paired_ms=0, sharpe_ms=HOUR, exposures=[]) == ()
    assert len(reachability(gates, HOURLY, paired_ms=0, sharpe_ms=HOUR - 1, exposures=[])) == 1


def test_latency_is_judged_at_the_smallest_weight_in_answers_and_in_slices() -> None:
    gates = GateSet(latency=LatencyConfig())
    few = Rates(requests=0.5, bars=1.0, outcomes=1.0, horizon=5.0)
    (found,) = reachability(gates, few, paired_ms=0, sharpe_ms=None, exposures=PHASES)
    assert (found.gate, found.what, found.takes_ms) == ("latency", "answers of the candidate", 200 * 40 * 1_000)
    # 30 min at 5 % of 2.5 requests a second: 225 answers, and a slice of 10 s is empty in three of ten cases
    some = Rates(requests=2.5, bars=1.0, outcomes=1.0, horizon=5.0)
    assert reachability(gates, some, paired_ms=0, sharpe_ms=None, exposures=[Exposure(5, 30 * 60_000)]) == ()
    # 28 min: 210 answers, but a slice of 28 s is empty in three of a hundred cases, and all sixty must hold one
    slices = LatencyConfig(min_duration_ms=28 * 60_000)
    sparse = Rates(requests=2.5, bars=1.0, outcomes=1.0, horizon=5.0)
    (found,) = reachability(GateSet(latency=slices), sparse, paired_ms=0, sharpe_ms=None, exposures=[Exposure(5, 28 * 60_000)])
    assert (found.what, found.takes_ms) == ("slices with an answer", math.ceil(60 * 28_000 / (1 - math.exp(-0.125 * 28))))


def test_no_gates_need_nothing() -> None:
    assert reachability(GateSet(), Rates(requests=0.0, bars=0.0, outcomes=0.0, horizon=1.0), paired_ms=0, sharpe_ms=0, exposures=[]) == ()
