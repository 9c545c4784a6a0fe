"""The plan of a walk, read out of a spec: numbers instead of text, defaults filled in, and the hash that tells plans apart."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from walkforward_core import gates as core
from walkforward_core.api.rollout import (
    ErrorRateGate,
    EvidenceMode,
    Gates,
    LatencyGate,
    Mode,
    OfflineAucGate,
    OnNewCandidate,
    PsiGate,
    SharpeGate,
    SharpeMode,
)
from walkforward_core.durations import parse_ms
from walkforward_operator.rollout.clock import millis

if TYPE_CHECKING:
    from walkforward_core.api.rollout import RolloutSpec

__all__ = ["DAY", "HOLD_MAX", "HOUR", "Freeze", "Plan", "Step", "freeze_at", "plan_of", "required"]

HOUR: Final = 3_600_000
DAY: Final = 24 * HOUR
HOLD_MAX: Final = 14 * DAY
"""Longest hold that ``maxHold: auto`` comes to."""
_DEFAULT_LATENCY: Final = LatencyGate()
_SLICES: Final = 60


@dataclass(frozen=True, slots=True)
class Step:
    """One phase of exposure."""

    weight: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Freeze:
    """A time in which nothing rises, from ``begin_ms`` (included) to ``end_ms`` (excluded)."""

    begin_ms: int
    end_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a spec asks for, ready to be decided on.

    Attributes
    ----------
    hash:
        16 hexadecimal digits over what restarts a walk when it is edited: phases, shadow, gates, and how outcomes and keys are counted.
    shadow:
        Requests to be scored by both models before the first weight; None where the plan has no shadow.
    max_hold_ms:
        Longest time without a verdict; None stands for auto.
    approval_ms:
        How long an approval is waited for; None where none is asked for.
    latency_ms, slice_ms:
        Limit of an answer and length of a slice, as the servers are to measure them.
    """

    hash: str
    live: bool
    paused: bool
    pinned: bool
    supersede: bool
    shadow: int | None
    steps: tuple[Step, ...]
    watch_ms: int
    gates: Gates
    max_hold_ms: int | None
    freezes: tuple[Freeze, ...]
    approval_ms: int | None
    latency_ms: int
    slice_ms: int
    problem: str = ""

    @property
    def count(self) -> int:
        """Number of phases."""
        return len(self.steps)

    def weight_after(self, step: int) -> int | None:
        """Return the weight that follows ``step``; None after the last phase, where promotion follows."""
        return self.steps[step].weight if step < self.count else None


def plan_of(spec: RolloutSpec) -> Plan:
    """Return the plan of ``spec``; ``problem`` says what the schema's rules should have refused."""
    gates = (
        spec.gates
        if spec.gates is not None
        else Gates(psi=PsiGate(), sharpe=SharpeGate(), latency=LatencyGate(), error_rate=ErrorRateGate())
    )
    strategy, latency = spec.strategy, gates.latency or _DEFAULT_LATENCY
    steps = tuple(Step(weight=phase.weight, duration_ms=parse_ms(phase.duration)) for phase in strategy.phases)
    return Plan(
        hash=_hash(spec, gates, steps),
        live=spec.mode is Mode.LIVE,
        paused=spec.paused,
        pinned=spec.source.bundle is not None,
        supersede=spec.source.bundle is not None or spec.on_new_candidate is OnNewCandidate.SUPERSEDE,
        shadow=strategy.shadow.min_requests if strategy.shadow is not None else None,
        steps=steps,
        watch_ms=parse_ms(strategy.watch.duration),
        gates=gates,
        max_hold_ms=None if strategy.max_hold == "auto" else parse_ms(strategy.max_hold),
        freezes=tuple(Freeze(millis(freeze.from_), millis(freeze.to), freeze.reason) for freeze in strategy.freezes),
        approval_ms=parse_ms(spec.approval.expires) if spec.approval.required else None,
        latency_ms=parse_ms(latency.p95),
        slice_ms=max(1, parse_ms(latency.min_duration) // _SLICES),
        problem=_problem(spec, gates, steps),
    )


def required(plan: Plan, step: int) -> frozenset[str]:
    """Return the names of the gates that must say Pass before ``step`` is left.

    Paired evidence needs no exposure, so leaving the shadow already asks for all of it; latency needs answers, so it is asked for from
    the first weight on. ``HarmOnly`` proves nothing, so nobody waits for it.
    """
    gates, following = plan.gates, plan.weight_after(step)
    judged = step > 0 or plan.shadow is not None
    wanted = {
        core.offline_auc.NAME: _acts(gates.offline_auc),
        core.psi.NAME: _acts(gates.psi) and judged,
        core.error_rate.NAME: _acts(gates.error_rate) and judged,
        core.latency.NAME: _acts(gates.latency) and step > 0,
        core.sharpe.NAME: _sharpe_due(gates.sharpe, following, judged=judged),
    }
    return frozenset(name for name, needed in wanted.items() if needed)


def freeze_at(plan: Plan, now_ms: int) -> Freeze | None:
    """Return the freeze that ``now_ms`` lies in."""
    return next((freeze for freeze in plan.freezes if freeze.begin_ms <= now_ms < freeze.end_ms), None)


def _acts(gate: PsiGate | ErrorRateGate | LatencyGate | OfflineAucGate | None) -> bool:
    return gate is not None and not gate.dry_run


def _sharpe_due(gate: SharpeGate | None, following: int | None, *, judged: bool) -> bool:
    if gate is None or gate.dry_run or gate.mode is not SharpeMode.PAIRED:
        return False
    if gate.evidence is EvidenceMode.SHADOW_FIRST:
        return judged
    return following is None or following >= 100


def _hash(spec: RolloutSpec, gates: Gates, steps: tuple[Step, ...]) -> str:
    # outcomes and splitBy belong to it: a pair counted in two ways, or over two samples of keys, is no evidence
    parts = {
        "phases": [(step.weight, step.duration_ms) for step in steps],
        "shadow": spec.strategy.shadow,
        "gates": gates,
        "outcomes": spec.outcomes,
        "splitBy": spec.split_by,
    }
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]


def _problem(spec: RolloutSpec, gates: Gates, steps: tuple[Step, ...]) -> str:
    """Return what is wrong with a spec that an older CRD let through; the schema's rules say the same with better words."""
    weights = [step.weight for step in steps]
    if weights != sorted(set(weights)) or weights[-1] != 100:
        return f"strategy.phases: weights {weights} must rise and end with 100"
    first = gates.sharpe is not None and gates.sharpe.mode is SharpeMode.PAIRED and gates.sharpe.evidence is EvidenceMode.SHADOW_FIRST
    if first and spec.strategy.shadow is None:
        return "gates.sharpe.evidence: ShadowFirst needs strategy.shadow; add it, or write InPhases"
    return ""
