"""Whether a policy can reach a verdict with the traffic seen, asked before any exposure (``PolicyUnreachable``)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from walkforward_core.durations import format_ms
from walkforward_core.gates import error_rate, latency, psi, sharpe

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Exposure", "GateSet", "Rates", "Unreachable", "reachability"]


@dataclass(frozen=True, slots=True)
class GateSet:
    """The gates of a plan that look at live traffic; None where the plan has none."""

    psi: psi.PsiConfig | None = None
    sharpe: sharpe.SharpeConfig | None = None
    latency: latency.LatencyConfig | None = None
    error_rate: error_rate.ErrorRateConfig | None = None


@dataclass(frozen=True, slots=True)
class Rates:
    """What was observed, or is expected, per second of wall time: requests, distinct (symbol, bar) rows, matured outcomes.

    ``horizon`` is H, the outcomes per label horizon; ``kappa`` and ``rho`` as far as known.
    """

    requests: float
    bars: float
    outcomes: float
    horizon: float
    kappa: float = 2.0
    rho: float = 0.9


@dataclass(frozen=True, slots=True)
class Exposure:
    """One phase: percent of the keys, and the time in which its gates must pass (duration and hold), milliseconds."""

    weight: int
    allowed_ms: int


@dataclass(frozen=True, slots=True)
class Unreachable:
    """A gate that cannot pass in time: ``needed`` of ``what`` at ``rate`` a second take ``takes_ms`` (None: for ever)."""

    gate: str
    what: str
    needed: int
    rate: float
    takes_ms: int | None
    allowed_ms: int

    @property
    def message(self) -> str:
        """The finding in words, with the way out."""
        takes = "no traffic brings them" if self.takes_ms is None else f"{format_ms(self.takes_ms // 1000 * 1000)} at the rate seen"
        allowed = format_ms(self.allowed_ms // 1000 * 1000)
        numbers = f"{self.needed} {self.what} are needed, {takes}, {allowed} are planned"
        return f"{self.gate}: {numbers}; lengthen phases or maxHold, or relax the gate"


def reachability(
    gates: GateSet, rates: Rates, *, paired_ms: int, sharpe_ms: int | None, exposures: Sequence[Exposure]
) -> tuple[Unreachable, ...]:
    """Return the gates that cannot pass in time; empty when all can.

    Parameters
    ----------
    gates, rates:
        The policy and the traffic.
    paired_ms:
        Time from the start of the walk until psi and errorRate must have passed: the shadow or the first phase, with its hold.
    sharpe_ms:
        Time until the paired gate must have passed; None when the hold follows from it (``maxHold: auto``), so that it always can.
    exposures:
        The phases, for latency.
    """
    found: list[Unreachable | None] = []
    if gates.psi is not None:
        found.append(_late(psi.NAME, "distinct bars", gates.psi.needed(), rates.bars, paired_ms))
    if gates.error_rate is not None:
        found.append(_late(error_rate.NAME, "requests without an error", gates.error_rate.needed(), rates.requests, paired_ms))
    if gates.sharpe is not None:
        needed = gates.sharpe.needed(rates.horizon, kappa=rates.kappa, rho=rates.rho)
        if gates.sharpe.mode is sharpe.SharpeMode.HARM_ONLY:
            needed = 1  # one matured outcome shows that harm could be seen
        if sharpe_ms is not None or rates.outcomes <= 0.0:
            found.append(_late(sharpe.NAME, "outcomes", needed, rates.outcomes, sharpe_ms or 0))
    if gates.latency is not None:
        slow = (_latency(gates.latency, rates.requests * phase.weight / 100.0, phase.allowed_ms) for phase in exposures)
        found.append(next((one for one in slow if one is not None), None))
    return tuple(one for one in found if one is not None)


def _late(gate: str, what: str, needed: int, rate: float, allowed_ms: int) -> Unreachable | None:
    takes = math.ceil(needed / rate * 1000.0) if rate > 0.0 else None
    return None if takes is not None and takes <= allowed_ms else Unreachable(gate, what, needed, rate, takes, allowed_ms)


def _latency(config: latency.LatencyConfig, rate: float, allowed_ms: int) -> Unreachable | None:
    """Answers, and slices that hold one: with sparse requests (Poisson) a share exp(-rate · slice) of the slices is empty."""
    late = _late(latency.NAME, "answers of the candidate", config.needed(), rate, allowed_ms)
    if late is not None or rate <= 0.0:
        return late
    slice_ms = config.min_duration_ms / latency.SLICES
    takes = math.ceil(latency.SLICES * slice_ms / -math.expm1(-rate * slice_ms / 1000.0))
    return None if takes <= allowed_ms else Unreachable(latency.NAME, "slices with an answer", latency.SLICES, rate, takes, allowed_ms)
