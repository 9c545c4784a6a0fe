"""The gates: judged at every look, shown at most every ten seconds, obeyed at once when one fails."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from msgspec import structs

from walkforward_core import gates as core
from walkforward_core.bundle import Verdict
from walkforward_operator.conditions import find
from walkforward_operator.reasons import ConditionType, Reason
from walkforward_operator.rollout.abort import abort
from walkforward_operator.rollout.clock import millis, stamp
from walkforward_operator.rollout.notices import notices
from walkforward_operator.rollout.plan import required
from walkforward_operator.rollout.status import GateStatus, WalkKind
from walkforward_operator.rollout.trial import FAILURES, evidence_of
from walkforward_operator.rollout.turn import clip
from walkforward_operator.rollout.verify import soaked
from walkforward_operator.rollout.writes import VERDICT, body, record

if TYPE_CHECKING:
    from walkforward_core.evidence import Evidence
    from walkforward_core.gates import Context, GateResult
    from walkforward_core.routing import Measure
    from walkforward_operator.rollout.turn import Turn

__all__ = ["verdicts", "waiting_gates"]

RENEW_MS: Final = 10_000
"""Values in the status are at most this old while something is on trial."""
_NOTICES: Final = (
    ConditionType.MARKET_DRIFT,
    ConditionType.INPUTS_BROKEN,
    ConditionType.GATE_NOTICE,
    ConditionType.POLICY_UNREACHABLE,
    ConditionType.SPLIT_TOO_COARSE,
)


def verdicts(turn: Turn) -> Turn:
    """Judge every gate on all evidence of the walk; abort at once where one fails that is not a dry run."""
    walk, applied, plan = turn.walk, turn.applied, turn.plan
    if walk is None or plan is None or applied is None or applied.measure is None or walk.kind is WalkKind.BOOTSTRAP:
        return turn
    evidence, context = evidence_of(turn), _context(turn, applied.measure)
    if evidence is None or context is None:
        return turn
    results = turn.judge(plan.gates, evidence, context)
    turn = replace(turn, results=results)
    latched = tuple(sorted({*walk.latched, *(result.latch for result in results if result.latch)}))
    if latched != walk.latched:
        turn = turn.with_walk(latched=latched)
    turn = _show(turn, evidence, context)
    failed = next((result for result in results if result.failed), None)
    if failed is None:
        return turn
    advice = f"; {failed.remedy}" if failed.remedy else ""
    return abort(turn, FAILURES.get(failed.name, Reason.GATE_FAILED), f"{failed.name}: {failed.message}{advice}")


def waiting_gates(turn: Turn) -> tuple[str, ...]:
    """Return the names of the gates that keep the step from being left: a gate that gave no result has not passed."""
    walk, plan = turn.walk, turn.plan
    if walk is None or plan is None:
        return ()
    passed = {result.name for result in turn.results if result.verdict is Verdict.PASS}
    return tuple(sorted(required(plan, walk.step) - passed))


def _context(turn: Turn, measure: Measure) -> Context | None:
    walk, applied, bundles = turn.walk, turn.applied, turn.observation.bundles
    if walk is None or applied is None or applied.on_trial is None or applied.reference is None:
        return None
    candidate, stable = bundles.get(applied.on_trial.digest), bundles.get(applied.reference.digest)
    return core.Context(
        poll_age_ms=turn.observation.poll_age_ms,
        base_ms=measure.base_ms,
        bar_ms=measure.bar_ms,
        soak_ms=soaked(walk, turn.now_ms),
        candidate_reference=candidate.reference if candidate is not None else None,
        stable_reference=stable.reference if stable is not None else None,
        manifest=candidate.manifest if candidate is not None else None,
        stable_sharpe=stable.manifest.metrics.get("sharpePerOutcome") if stable is not None else None,
        latches=frozenset(walk.latched),
    )


def _show(turn: Turn, evidence: Evidence, context: Context) -> Turn:
    """Write down what the gates say: at once when a verdict changed, otherwise now and then."""
    shown, known = tuple(_shown(turn, result) for result in turn.results), turn.status.gates
    turn = _changed(turn, known)
    due = turn.status.gates_at is None or turn.now_ms >= millis(turn.status.gates_at) + RENEW_MS
    if [_word(gate) for gate in shown] == [_word(gate) for gate in known] and not (due and _values(shown) != _values(known)):
        late = turn.walk is not None and turn.walk.step > 0  # once it is exposed, what was to be said before is no news
        kept = (find(turn.before.conditions, kind) for kind in _NOTICES if not (late and kind is ConditionType.POLICY_UNREACHABLE))
        turn = replace(turn, notes=(*turn.notes, *(condition for condition in kept if condition is not None)))
        return turn.with_status(gates=tuple(_without_stale_eta(turn, gate) for gate in known))
    turn = turn.with_status(gates=shown, gates_at=stamp(turn.now_ms))
    return notices(turn, evidence, context)


def _without_stale_eta(turn: Turn, gate: GateStatus) -> GateStatus:
    """Return the gate without a promise that has passed: nothing came, so nobody knows when anything will."""
    return structs.replace(gate, eta=None) if gate.eta is not None and millis(gate.eta) < turn.now_ms else gate


def _changed(turn: Turn, known: tuple[GateStatus, ...]) -> Turn:
    """Put changes of a verdict into the ledger; the first NoData is none."""
    before = {gate.name: gate.verdict for gate in known}
    changed = [result for result in turn.results if result.verdict is not before.get(result.name, Verdict.NO_DATA)]
    if not changed:
        return turn
    words = {result.name: clip(f"{before.get(result.name, Verdict.NO_DATA)} to {result.verdict}: {result.message}") for result in changed}
    return record(turn, VERDICT, body(turn, VERDICT, changed=words))


def _word(gate: GateStatus) -> tuple[str, str, str, bool, bool]:
    return gate.name, gate.verdict, gate.reason, gate.latched, gate.dry_run


def _values(gates: tuple[GateStatus, ...]) -> list[tuple[float | None, float | None, int, int | None]]:
    return [(gate.value, gate.threshold, gate.samples, gate.missing) for gate in gates]


def _shown(turn: Turn, result: GateResult) -> GateStatus:
    return GateStatus(
        name=result.name,
        verdict=result.verdict,
        value=result.value,
        threshold=result.threshold,
        samples=result.samples,
        missing=result.missing,
        eta=_eta(turn, result),
        reason=result.reason,
        message=clip(result.message),
        remedy=clip(result.remedy),
        dry_run=result.dry_run,
        latched=bool(result.latch),
    )


def _eta(turn: Turn, result: GateResult) -> str | None:
    """Return when the missing samples are expected, at the rate seen since the step (latency) or the walk (all else) was verified."""
    walk = turn.walk
    if walk is None or result.missing <= 0 or result.samples <= 0:
        return None
    since = walk.verified_at if result.name == core.latency.NAME else walk.started_at
    elapsed = turn.now_ms - millis(since) if since is not None else 0
    if elapsed < RENEW_MS:
        return None
    wait = result.missing * elapsed // result.samples
    return stamp(turn.now_ms + wait) if 0 < wait < 365 * 86_400_000 else None
