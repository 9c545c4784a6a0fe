"""What the evidence shows beside the verdicts: the market drifts, a policy that cannot be met, keys too few to be split."""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING, Final

from walkforward_core import gates as core
from walkforward_operator.reasons import ConditionType
from walkforward_operator.rollout.clock import millis
from walkforward_operator.rollout.judge import gate_set
from walkforward_operator.rollout.plan import HOLD_MAX, HOUR

if TYPE_CHECKING:
    from walkforward_core.evidence import Evidence
    from walkforward_core.gates import Context, Rates
    from walkforward_operator.rollout.plan import Plan
    from walkforward_operator.rollout.turn import Turn

__all__ = ["distinct_keys", "notices"]

KEYS_NEEDED: Final = 200
"""With fewer distinct keys a weight of 5 % is a handful of clients, or none."""
_KEYED_REQUESTS: Final = 1_000
_BITS: Final = 2_048
_LOOK_MS: Final = 30_000
_SILENCE_MS: Final = 600_000
_KINDS: Final = {
    core.SignalKind.MARKET_DRIFT: ConditionType.MARKET_DRIFT,
    core.SignalKind.INPUTS_BROKEN: ConditionType.INPUTS_BROKEN,
}


def notices(turn: Turn, evidence: Evidence, context: Context) -> Turn:
    """Return the turn with conditions for what was noticed."""
    turn = _signals(turn)
    turn = _unreachable(turn, evidence, context)
    return _coarse(turn, evidence)


def _signals(turn: Turn) -> Turn:
    found: dict[ConditionType, list[tuple[str, str]]] = {}
    for result in turn.results:
        for signal in result.signals:
            kind = _KINDS.get(signal.kind, ConditionType.GATE_NOTICE)
            found.setdefault(kind, []).append((signal.kind, f"{result.name}: {signal.message}"))
    for kind, said in found.items():
        turn = turn.note(kind, said[0][0], "; ".join(text for _, text in said))
    return turn


def _unreachable(turn: Turn, evidence: Evidence, context: Context) -> Turn:
    """Say before any exposure which gate cannot reach a verdict with the traffic seen."""
    walk, plan = turn.walk, turn.plan
    if walk is None or plan is None or walk.step > 0 or walk.verified_at is None:
        return turn
    elapsed = turn.now_ms - millis(walk.verified_at)
    requests = evidence.walk.pair.n
    if elapsed < _LOOK_MS or (requests == 0 and elapsed < _SILENCE_MS):
        return turn
    rates, gates = _rates(evidence, context, elapsed), gate_set(plan.gates)
    if rates.outcomes <= 0.0 and elapsed < context.base_ms + _SILENCE_MS:
        # none can have matured yet
        gates = core.GateSet(psi=gates.psi, latency=gates.latency, error_rate=gates.error_rate)
    late = core.reachability(
        gates, rates, paired_ms=_paired_ms(plan), sharpe_ms=plan.max_hold_ms, exposures=[_phase(plan, step) for step in range(plan.count)]
    )
    if not late:
        return turn
    return turn.note(ConditionType.POLICY_UNREACHABLE, ConditionType.POLICY_UNREACHABLE, "; ".join(one.message for one in late))


def _rates(evidence: Evidence, context: Context, elapsed_ms: int) -> Rates:
    seconds = elapsed_ms / 1000.0
    outcomes = sum(row[0] for row in evidence.outcomes.rows.values()) if evidence.outcomes is not None else 0.0
    return core.Rates(
        requests=evidence.walk.pair.n / seconds,
        bars=evidence.distinct_bars(context.bar_ms) / seconds,
        outcomes=outcomes / seconds,
        horizon=core.sharpe.per_horizon(evidence, context),
    )


def _paired_ms(plan: Plan) -> int:
    if plan.shadow is not None:
        return plan.max_hold_ms if plan.max_hold_ms is not None else HOLD_MAX
    return _phase(plan, 0).allowed_ms


def _phase(plan: Plan, step: int) -> core.Exposure:
    hold = plan.max_hold_ms if plan.max_hold_ms is not None else HOUR
    return core.Exposure(weight=plan.steps[step].weight, allowed_ms=plan.steps[step].duration_ms + hold)


def _coarse(turn: Turn, evidence: Evidence) -> Turn:
    keyed = evidence.walk.pair.n - evidence.walk.stable.requests.unkeyed
    if keyed < _KEYED_REQUESTS:
        return turn
    keys = distinct_keys(evidence)
    if keys >= KEYS_NEEDED:
        return turn
    message = f"about {keys} distinct keys in {keyed} requests, {KEYS_NEEDED} make weights mean what they say; split by another parameter"
    return turn.note(ConditionType.SPLIT_TOO_COARSE, ConditionType.SPLIT_TOO_COARSE, message)


def distinct_keys(evidence: Evidence) -> int:
    """Return about how many distinct request keys were seen: linear counting on the 2,048 bits (Whang et al. 1990)."""
    merged = bytearray(_BITS // 8)
    for arm in (evidence.walk.stable, evidence.walk.candidate):
        for place, byte in enumerate(base64.b64decode(arm.keys)[: len(merged)]):
            merged[place] |= byte
    clear = _BITS - sum(byte.bit_count() for byte in merged)
    return round(-_BITS * math.log(clear / _BITS)) if clear else 10_000
