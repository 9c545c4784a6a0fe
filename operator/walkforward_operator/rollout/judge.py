"""The gates of a spec, put to the evidence: how ``core``'s gates are called from a rollout decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from walkforward_core import gates as core
from walkforward_core.api.rollout import OnMarketDrift
from walkforward_core.durations import parse_ms
from walkforward_core.evidence import Evidence, Scope
from walkforward_core.pods import ModelRole
from walkforward_core.stats import Pair, Row

if TYPE_CHECKING:
    from walkforward_core.api.rollout import Gates
    from walkforward_core.gates import Context, GateResult

__all__ = ["Judge", "gate_set", "judge", "nothing_seen"]


class Judge(Protocol):
    """Puts every gate of a plan to the evidence; injected into ``decide``, so that a test can say what a gate says."""

    def __call__(self, gates: Gates, evidence: Evidence, context: Context) -> tuple[GateResult, ...]:
        """Return one result for each gate that is named."""
        ...


def judge(gates: Gates, evidence: Evidence, context: Context) -> tuple[GateResult, ...]:
    """Return what the gates of ``gates`` say, in the order offlineAuc, psi, sharpe, latency, errorRate."""
    live, results = gate_set(gates), []
    if gates.offline_auc is not None:
        config = core.OfflineAucConfig(min=gates.offline_auc.min, dry_run=gates.offline_auc.dry_run)
        results.append(core.offline_auc.judge(config, evidence, context))
    if live.psi is not None:
        results.append(core.psi.judge(live.psi, evidence, context))
    if live.sharpe is not None:
        results.append(core.sharpe.judge(live.sharpe, evidence, context))
    if live.latency is not None:
        results.append(core.latency.judge(live.latency, evidence, context))
    if live.error_rate is not None:
        results.append(core.error_rate.judge(live.error_rate, evidence, context))
    return tuple(results)


def gate_set(gates: Gates) -> core.GateSet:
    """Return the gates that look at live traffic, as ``core`` configures them."""
    psi, sharpe, latency, errors = gates.psi, gates.sharpe, gates.latency, gates.error_rate
    return core.GateSet(
        psi=None
        if psi is None
        else core.PsiConfig(
            max=psi.max,
            ratio=psi.ratio,
            min_samples=psi.min_samples,
            hold_on_market_drift=psi.on_market_drift is OnMarketDrift.HOLD,
            dry_run=psi.dry_run,
        ),
        sharpe=None
        if sharpe is None
        else core.SharpeConfig(
            mode=core.SharpeMode(sharpe.mode.value),
            margin=sharpe.non_inferiority,
            alpha=sharpe.alpha,
            alpha_harm=sharpe.alpha_harm,
            min_outcomes=sharpe.min_outcomes,
            min_batches=sharpe.min_batches,
            dry_run=sharpe.dry_run,
        ),
        latency=None
        if latency is None
        else core.LatencyConfig(
            p95_ms=parse_ms(latency.p95),
            min_samples=latency.min_samples,
            min_duration_ms=parse_ms(latency.min_duration),
            dry_run=latency.dry_run,
        ),
        error_rate=None
        if errors is None
        else core.ErrorRateConfig(
            max=_share(errors.max), expected=_share(errors.expected), min_samples=errors.min_samples, dry_run=errors.dry_run
        ),
    )


def nothing_seen(plan: str, stable: str, candidate: str) -> Evidence:
    """Return the evidence of a walk of which nothing was polled yet."""
    scope = Scope(
        stable=Row(generation=0, version=stable, role=ModelRole.STABLE),
        candidate=Row(generation=0, version=candidate, role=ModelRole.CANDIDATE),
        pair=Pair(generation=0, stable=stable, candidate=candidate),
    )
    return Evidence(plan=plan, stable=stable, candidate=candidate, walk=scope, phase=scope)


def _share(percent: str) -> float:
    return float(percent.removesuffix("%")) / 100.0
