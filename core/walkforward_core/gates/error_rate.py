"""Errors that the candidate alone made (`docs/reference/gates.md`).

b = requests where only the candidate failed, c = only stable; errors that both made, and the client's, count for neither. The evidence
is Wald's: ℓ = b·ln(max/expected) + (n - b)·ln((1 - max)/(1 - expected)). Beside it stable's own errors must not explain b: a sign test.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from walkforward_core.bundle import Verdict
from walkforward_core.gates.binomial import binomial_tail
from walkforward_core.gates.result import Context, GateReason, GateResult, stale

if TYPE_CHECKING:
    from walkforward_core.evidence.view import Evidence

__all__ = ["NAME", "ErrorRateConfig", "judge"]

NAME = "errorRate"
_PASS = -3.0
_FAIL = math.log(100.0)
_SIGN_LEVEL = 0.05
"""Never reached by fewer than five errors, since four of four are 6 % likely."""


@dataclass(frozen=True, slots=True)
class ErrorRateConfig:
    """Rates as shares, 0 < expected < max < 1; ``min_samples`` requests before a Pass."""

    max: float = 0.01
    expected: float = 0.001
    min_samples: int = 300
    dry_run: bool = False

    def __post_init__(self) -> None:
        """Refuse rates that can never fail or never pass."""
        if not 0.0 < self.expected < self.max < 1.0:
            raise ValueError(f"errorRate: expected {self.expected} and max {self.max} must satisfy 0 < expected < max < 1")

    def needed(self) -> int:
        """Return the requests that a Pass needs when none of them fails; 332 by default."""
        return max(self.min_samples, math.ceil(_PASS / self.clean))

    @property
    def clean(self) -> float:
        """Evidence of one request without an error of the candidate alone, negative."""
        return math.log((1.0 - self.max) / (1.0 - self.expected))

    def evidence(self, n: int, own: int) -> float:
        """Return ℓ for ``own`` errors of the candidate alone in ``n`` requests."""
        return own * math.log(self.max / self.expected) + (n - own) * self.clean


def judge(config: ErrorRateConfig, evidence: Evidence, context: Context) -> GateResult:
    """Return the verdict on the phase's paired requests. Fail needs no minimum but its own; it stays possible for ever."""
    pair = evidence.phase.pair
    n, own, stables = pair.n, pair.only_candidate_failed, pair.only_stable_failed

    def say(verdict: Verdict, reason: GateReason, message: str, *, missing: int = 0, remedy: str = "") -> GateResult:
        value = own / n if n > 0 else None
        return GateResult(NAME, verdict, reason, message, value, config.max, n, missing, remedy, config.dry_run)

    if min(n, own, stables) < 0 or own + stables > n:
        text = f"{own} errors of the candidate alone and {stables} of stable alone in {n} requests cannot be"
        return say(Verdict.NO_DATA, GateReason.INCONSISTENT_EVIDENCE, text, remedy="compare the versions of the server pods")
    if n == 0:
        return say(Verdict.NO_DATA, GateReason.NO_EVIDENCE, "no request was scored by both models in this phase", missing=config.needed())
    level = config.evidence(n, own)
    seen = f"{own} of {n} requests failed on the candidate alone, {stables} on stable alone (evidence {level:.2f})"
    if level >= _FAIL and binomial_tail(own, own + stables, 0.5) < _SIGN_LEVEL:
        return say(
            Verdict.FAIL,
            GateReason.OWN_ERRORS,
            f"{seen}; {config.max:.2%} is the limit",
            remedy="read the candidate's errors in the pods' logs",
        )
    if level <= _PASS and n >= config.min_samples:
        if old := stale(context):
            return say(Verdict.NO_DATA, GateReason.STALE_EVIDENCE, f"{old}; {seen}", remedy="check that the pods' admin port answers")
        return say(Verdict.PASS, GateReason.ERRORS_WITHIN_LIMIT, seen)
    # clean requests that would bring the evidence down to a Pass
    missing = max(config.min_samples - n, math.ceil((_PASS - level) / config.clean), 1)
    reason = GateReason.TOO_FEW_SAMPLES if n < config.min_samples else GateReason.UNDECIDED
    return say(Verdict.NO_DATA, reason, f"{seen}; {missing} more without an error would pass", missing=missing)
