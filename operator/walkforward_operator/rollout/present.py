"""How a rollout looks to people and programs: phase, reason, message and columns, all of them following from the state alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from walkforward_core import gates as core
from walkforward_core.bundle import Verdict
from walkforward_operator.reasons import Reason
from walkforward_operator.rollout.bootstrap import WRITTEN
from walkforward_operator.rollout.status import Outcome, Purpose, RolloutPhase, Summary, WalkKind
from walkforward_operator.rollout.turn import clip, exposed, known_model

if TYPE_CHECKING:
    from walkforward_operator.rollout.status import GateStatus, RolloutStatus
    from walkforward_operator.rollout.turn import Turn

__all__ = ["present"]

_HELD: Final = frozenset({Reason.GATES_WAIT, Reason.EVIDENCE_FULL, Reason.FROZEN})
_TOLD: Final = frozenset(
    {
        Reason.GATES_WAIT,
        Reason.EVIDENCE_FULL,
        Reason.PAUSED,
        Reason.FROZEN,
        Reason.APPROVAL_NEEDED,
        Reason.TARGET_LOCKED,
        Reason.INVALID_SPEC,
        Reason.ROUTING_UNREADABLE,
        Reason.INCOMPARABLE,
        Reason.BUNDLE_UNREADABLE,
        Reason.TARGET_MISSING,
        Reason.SERVER_CRASH_LOOPING,
        Reason.WAITING_FOR_PODS,
        Reason.SOURCE_UNAVAILABLE,
        Reason.DRY_RUN_NEEDS_STABLE,
    }
)
"""Reasons to wait that people are told of by an Event; decisions tell of themselves."""
_WRITING: Final = {
    Purpose.BOOTSTRAP: Reason.BOOTSTRAPPING,
    Purpose.START: Reason.WALK_STARTED,
    Purpose.STEP: Reason.STEP_STARTED,
    Purpose.PROMOTE: Reason.PROMOTING,
    Purpose.FINISH: Reason.WATCH_ENDED,
    Purpose.CANCEL: Reason.CANCELLED,
    Purpose.LOWER: Reason.MODE_CHANGED,
    Purpose.HEAL: Reason.ROUTE_DRIFT,
    Purpose.TAKEOVER: Reason.TARGET_TAKEN_OVER,
    Purpose.RELEASE: Reason.TERMINATING,
}
_ENDED: Final = {Outcome.BOOTSTRAPPED: Reason.BOOTSTRAPPED, Outcome.PROMOTED: Reason.PROMOTED}


def present(turn: Turn) -> Turn:
    """Return the turn with everything in the status that is there to be read, and an Event where it begins to wait."""
    applied, walk = turn.applied, turn.walk
    phase, (reason, message) = _phase(turn), _why(turn)
    changed = (phase, reason) != (turn.before.phase, turn.before.reason)
    if changed and turn.hold is not None and turn.hold.reason in _TOLD:
        turn = turn.tell(turn.hold.reason, turn.hold.message)
    return turn.with_status(
        observed_generation=turn.rollout.generation,
        phase=phase,
        reason=reason,
        message=clip(message),
        step=f"{min(walk.step, walk.count)}/{walk.count}" if walk is not None and walk.kind is WalkKind.CANARY else "",
        weight=exposed(turn),
        gate=_gate(turn.status.gates),
        summary=_summary(turn.status),
        stable=known_model(turn, applied.stable if applied is not None else None),
        candidate=known_model(turn, applied.candidate if applied is not None else None),
        previous=known_model(turn, applied.previous if applied is not None else None),
    )


def _phase(turn: Turn) -> RolloutPhase:
    walk, rollback, applied = turn.walk, turn.status.rollback, turn.applied
    if turn.rollout.deleting_since_ms is not None:
        return RolloutPhase.TERMINATING
    if rollback is not None and rollback.verified_at is None:
        return RolloutPhase.ROLLING_BACK
    if walk is not None:
        return _bootstrapping(turn) if walk.kind is WalkKind.BOOTSTRAP else _walking(turn)
    if rollback is not None:
        return RolloutPhase.ROLLED_BACK
    return RolloutPhase.STABLE if applied is not None and applied.stable is not None else RolloutPhase.PENDING


def _bootstrapping(turn: Turn) -> RolloutPhase:
    waits = {Reason.APPROVAL_NEEDED: RolloutPhase.AWAITING_APPROVAL, Reason.PAUSED: RolloutPhase.PAUSED}
    return waits.get(turn.hold.reason, RolloutPhase.BOOTSTRAPPING) if turn.hold is not None else RolloutPhase.BOOTSTRAPPING


def _walking(turn: Turn) -> RolloutPhase:
    walk, applied, pending = turn.walk, turn.applied, turn.status.routing.pending
    reason = turn.hold.reason if turn.hold is not None else None
    if reason is Reason.PAUSED:
        return RolloutPhase.PAUSED
    if pending is not None and pending.purpose is Purpose.PROMOTE:
        return RolloutPhase.PROMOTING
    if walk is None or (applied is not None and applied.previous is not None):
        return RolloutPhase.WATCHING if walk is not None and walk.verified_at is not None else RolloutPhase.PROMOTING
    if reason is Reason.APPROVAL_NEEDED:
        return RolloutPhase.AWAITING_APPROVAL
    stuck = reason is Reason.LEDGER_BEHIND and bool(turn.observation.ledger.error)
    if reason in _HELD or stuck:
        return RolloutPhase.HELD
    shadow = walk.step == 0 and turn.plan is not None and turn.plan.shadow is not None
    return RolloutPhase.SHADOW if shadow else RolloutPhase.PROGRESSING


def _why(turn: Turn) -> tuple[str, str]:
    """Return reason and message: what is being written, what it waits for, or how it came to rest."""
    pending, rollback = turn.status.routing.pending, turn.status.rollback
    if pending is not None and turn.hold is None:
        reason = _WRITING.get(pending.purpose)
        return (
            (turn.before.reason, turn.before.message) if reason is None else (reason, f"generation {pending.generation} is being written")
        )
    waits = turn.hold is not None and turn.hold.reason not in (Reason.CANDIDATE_REJECTED, Reason.ROLLING_BACK)
    if rollback is not None and not waits:
        return rollback.reason, f"{rollback.version}: {rollback.message}"
    if turn.hold is not None:
        return turn.hold.reason, turn.hold.message
    return _rest(turn)


def _rest(turn: Turn) -> tuple[str, str]:
    applied, walk = turn.applied, turn.walk
    if turn.rollout.deleting_since_ms is not None:
        return Reason.TERMINATING, "stable serves everything"
    if walk is not None:
        return (Reason.BOOTSTRAPPING if walk.step <= WRITTEN else Reason.SOAKING), f"{walk.model.version} is on trial"
    if applied is None or applied.stable is None:
        return Reason.NO_BUNDLE, "nothing serves yet"
    last = turn.status.history[0] if turn.status.history else None
    own = last is not None and last.digest == applied.stable.digest
    reason = _ENDED.get(last.outcome, Reason.SERVING) if last is not None and own else Reason.SERVING
    newest = turn.observation.source.bundle
    if newest is not None and newest.ref.digest != applied.stable.digest:
        return Reason.NO_CHANGE, f"{applied.stable.version} serves; {newest.ref.version} is the same model"
    return reason, f"{applied.stable.version} serves"


def _gate(gates: tuple[GateStatus, ...]) -> str:
    """Return the gate that decides: one that fails, else the first that has not passed."""
    open_gates = [gate for gate in gates if gate.verdict is not Verdict.PASS and not gate.dry_run]
    chosen = next((gate for gate in open_gates if gate.verdict is Verdict.FAIL), open_gates[0] if open_gates else None)
    return f"{chosen.name} {chosen.verdict}" if chosen is not None else ""


def _summary(status: RolloutStatus) -> Summary:
    values = {gate.name: gate.value for gate in status.gates if gate.value is not None}
    walk, approval = status.walk, status.approval
    waits_for_person = approval is not None and not approval.by
    deadline = approval.expires_at if approval is not None and waits_for_person else walk.deadline if walk is not None else None
    return Summary(
        psi=f"{values[core.psi.NAME]:.2f}" if core.psi.NAME in values else "",
        p95=f"{values[core.latency.NAME]:.1f}ms" if core.latency.NAME in values else "",
        sharpe=f"{values[core.sharpe.NAME]:+.3f}" if core.sharpe.NAME in values else "",
        held=walk.held_since or "" if walk is not None else "",
        deadline=deadline or "",
    )
