"""Share of the candidate's answers above the limit, over slices of time (`docs/reference/gates.md`).

Counting exceedances of an exact bucket edge needs no quantile. Stalls put them into few slices; φ, the over-dispersion over slices,
divides the evidence accordingly (McCullagh & Nelder 1989). The limit is on p95, so an exceedance share of 5 % is the border.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from walkforward_core.bundle import Verdict
from walkforward_core.gates.result import Context, GateReason, GateResult, stale

if TYPE_CHECKING:
    from walkforward_core.evidence.view import Evidence
    from walkforward_core.stats import Latency

__all__ = ["NAME", "LatencyConfig", "dispersion", "judge", "log_ratio", "quantile_ms"]

NAME = "latency"
SLICES = 60
"""Slices in ``min_duration``; a Pass needs as many that held a request."""
_FAIL_PART = 5
_BORDER, _GOOD, _BAD = 0.05, 0.025, 0.10
_EVIDENCE = 3.0
_LESS = 1.0 - 1e-9
"""Room for rounding."""


@dataclass(frozen=True, slots=True)
class LatencyConfig:
    """p95 limit in milliseconds; answers before any verdict; soak before a Pass in milliseconds, a fifth of it before a Fail."""

    p95_ms: float = 80.0
    min_samples: int = 200
    min_duration_ms: int = 600_000
    dry_run: bool = False

    def needed(self) -> int:
        """Return the answers that a Pass needs when none is slow."""
        return max(self.min_samples, math.ceil(_EVIDENCE / log_ratio(1, 0, _GOOD)))


class _Say(Protocol):
    def __call__(self, verdict: Verdict, reason: GateReason, message: str, *, missing: int = 0, remedy: str = "") -> GateResult: ...


def log_ratio(n: int, k: int, share: float) -> float:
    """Return ℓ(share) = k·ln(share/0.05) + (n - k)·ln((1 - share)/0.95), the evidence for ``share`` against the border."""
    return k * math.log(share / _BORDER) + (n - k) * math.log((1.0 - share) / (1.0 - _BORDER))


def dispersion(latency: Latency) -> float:
    """Return φ = max(1, (Σk²/n - p̂·Σk) / (p̂·(1 - p̂)·(S - 1))); 1 where nothing varies."""
    n, k, slices = latency.n, latency.k, latency.slices
    if n <= 0 or slices < 2 or not 0 < k < n:
        return 1.0
    share = k / n
    return max(1.0, (latency.k2n - share * k) / (share * (1.0 - share) * (slices - 1)))


def quantile_ms(latency: Latency, q: float = 0.95) -> float | None:
    """Return the ``q`` quantile in milliseconds by linear interpolation within its bucket; None without counts.

    For show only: no verdict rests on it. Above the last edge the last edge stands.
    """
    count = sum(latency.counts)
    if count <= 0 or min(latency.counts) < 0 or len(latency.counts) != len(latency.le) + 1:
        return None
    rank, seen, lower = q * count, 0, 0.0
    for edge, inside in zip(latency.le, latency.counts, strict=False):
        if inside and seen + inside >= rank:
            return (lower + (edge - lower) * ((rank - seen) / inside)) / 1000.0
        seen, lower = seen + inside, edge
    return latency.le[-1] / 1000.0 if latency.le else None


def judge(config: LatencyConfig, evidence: Evidence, context: Context) -> GateResult:
    """Return the verdict on the candidate's exposed answers of the phase. Fail stays possible for ever."""
    latency = evidence.phase.candidate.latency
    n, k, slices = latency.n, latency.k, latency.slices

    def say(verdict: Verdict, reason: GateReason, message: str, *, missing: int = 0, remedy: str = "") -> GateResult:
        return GateResult(NAME, verdict, reason, message, quantile_ms(latency), config.p95_ms, n, missing, remedy, config.dry_run)

    if problem := evidence.phase.conflict or _problem(config, latency):
        return say(Verdict.NO_DATA, GateReason.INCONSISTENT_EVIDENCE, problem, remedy="compare the versions of the server pods")
    if n == 0:
        return say(Verdict.NO_DATA, GateReason.NO_EVIDENCE, "the candidate has answered no request in this phase", missing=config.needed())
    phi = dispersion(latency)
    good, bad = log_ratio(n, k, _GOOD) / phi, log_ratio(n, k, _BAD) / phi
    seen = (
        f"{k} of {n} answers above {config.p95_ms:g} ms in {slices} slices (dispersion {phi:.2f}, evidence {good:.2f} good, {bad:.2f} bad)"
    )
    enough = n >= config.min_samples
    if enough and bad >= _EVIDENCE and slices >= SLICES // _FAIL_PART and context.soak_ms * _FAIL_PART >= config.min_duration_ms:
        return say(Verdict.FAIL, GateReason.TOO_SLOW, seen, remedy="compare the candidate's latency histogram with stable's")
    if enough and good >= _EVIDENCE and slices >= SLICES and context.soak_ms >= config.min_duration_ms:
        if old := stale(context):
            return say(Verdict.NO_DATA, GateReason.STALE_EVIDENCE, f"{old}; {seen}", remedy="check that the pods' admin port answers")
        return say(Verdict.PASS, GateReason.FAST_ENOUGH, seen)
    return _undecided(config, latency, context, seen, good * phi, say)


def _problem(config: LatencyConfig, latency: Latency) -> str:
    n, k, slices = latency.n, latency.k, latency.slices
    # (Σk)²/Σn ≤ Σk²/n ≤ Σk, as no slice has more slow answers than answers
    possible = 0 <= k <= n and 0 <= slices <= n and (n == 0 or k * k / n * _LESS <= latency.k2n <= k / _LESS)
    if not possible:
        return f"{k} of {n} answers in {slices} slices (squares {latency.k2n:g}) cannot be"
    if n and not math.isclose(latency.limit_ms, config.p95_ms):
        return f"pods count against {latency.limit_ms:g} ms, the gate asks for {config.p95_ms:g} ms"
    return ""


def _undecided(config: LatencyConfig, latency: Latency, context: Context, seen: str, raw: float, say: _Say) -> GateResult:
    """Say what is missing: answers, or only time."""
    phi = dispersion(latency)
    more = max(config.min_samples - latency.n, math.ceil((_EVIDENCE * phi - raw) / log_ratio(1, 0, _GOOD)), 0)
    if more:
        reason = GateReason.TOO_FEW_SAMPLES if latency.n < config.min_samples else GateReason.UNDECIDED
        return say(Verdict.NO_DATA, reason, f"{seen}; {more} more fast ones would pass", missing=more)
    rest = max(config.min_duration_ms - context.soak_ms, 0) // 1000
    text = f"{seen}; {max(SLICES - latency.slices, 0)} more slices with an answer and {rest} s more soak would pass"
    return say(Verdict.NO_DATA, GateReason.SOAK_TOO_SHORT, text, missing=max(SLICES - latency.slices, 0))
