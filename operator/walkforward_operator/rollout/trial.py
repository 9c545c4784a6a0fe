"""What a walk has measured of its two models, and the sum of it for the audit once it has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from walkforward_core import gates as core
from walkforward_core.bundle import Verdict
from walkforward_operator.reasons import Reason
from walkforward_operator.rollout.judge import nothing_seen
from walkforward_operator.rollout.status import WalkKind

if TYPE_CHECKING:
    from walkforward_core.evidence import Evidence
    from walkforward_operator.rollout.turn import Turn

__all__ = ["FAILURES", "ab_test", "evidence_of"]

FAILURES: Final = {
    core.psi.NAME: Reason.PSI_FAILED,
    core.sharpe.NAME: Reason.SHARPE_FAILED,
    core.latency.NAME: Reason.LATENCY_FAILED,
    core.error_rate.NAME: Reason.ERROR_RATE_FAILED,
    core.offline_auc.NAME: Reason.OFFLINE_AUC_FAILED,
}
"""Why a walk is aborted, by the gate that failed."""


def evidence_of(turn: Turn) -> Evidence | None:
    """Return the evidence of the pair on trial: that of any other pair or plan counts for nothing."""
    applied, found = turn.applied, turn.observation.evidence
    if applied is None or applied.measure is None or applied.on_trial is None or applied.reference is None:
        return None
    pair = (applied.measure.plan, applied.reference.version, applied.on_trial.version)
    if found is not None and (found.plan, found.stable, found.candidate) == pair:
        return found
    return nothing_seen(*pair)


def ab_test(turn: Turn, *, executed: bool, reason: str = "") -> dict[str, Any]:
    """Return the facts of a ledger entry that tell how the trial under way ends; nothing where there was no second model.

    Arm A is stable, arm B the candidate. Both are scored on the same requests, so they have the same outcomes. ``executed`` says whether
    the candidate serves everything from now on; it is recommended where every gate that acts has passed. ``reason`` is that of an abort:
    an operator that died in the middle of one finds no more than this of the gate that failed.
    """
    applied, evidence = turn.applied, evidence_of(turn)
    if turn.walk is None or turn.walk.kind is WalkKind.BOOTSTRAP or applied is None or applied.reference is None or evidence is None:
        return {}
    outcomes = 0 if evidence.outcomes is None else round(sum(row[0] for row in evidence.outcomes.rows.values()))
    acting = [gate.verdict for gate in turn.results or turn.status.gates if not gate.dry_run]
    passed = bool(acting) and reason not in {Reason.GATE_FAILED, *FAILURES.values()} and all(verdict is Verdict.PASS for verdict in acting)
    return {
        "abTest": {
            "stable": applied.reference.version,
            "outcomes": outcomes,
            "recommended": executed or passed,
            "executed": executed,
        }
    }
