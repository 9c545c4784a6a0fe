"""The decision on one rollout: a chain of small pure stages, in an order that never changes.

deletion → abort asked by a person → crash → deadlines → routing drift → gates → approval → step. What stands between them only takes
in what happened (a write that landed, a new candidate, pods that follow). The first stage that ends the chain has the last word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from walkforward_operator.reasons import Reason
from walkforward_operator.rollout import judge as gates
from walkforward_operator.rollout.approval import approval
from walkforward_operator.rollout.bootstrap import WRITTEN
from walkforward_operator.rollout.crash import crash
from walkforward_operator.rollout.deadlines import deadlines
from walkforward_operator.rollout.deletion import deletion
from walkforward_operator.rollout.drift import drift
from walkforward_operator.rollout.health import health
from walkforward_operator.rollout.lock import lock
from walkforward_operator.rollout.model import Decision, Record, SetFinalizer
from walkforward_operator.rollout.people import abort_asked, requests
from walkforward_operator.rollout.plan import plan_of
from walkforward_operator.rollout.present import present
from walkforward_operator.rollout.settle import settle, unattended
from walkforward_operator.rollout.source import source
from walkforward_operator.rollout.status import WalkKind
from walkforward_operator.rollout.step import ready, step
from walkforward_operator.rollout.turn import Turn
from walkforward_operator.rollout.upkeep import upkeep
from walkforward_operator.rollout.verdicts import verdicts
from walkforward_operator.rollout.verify import first_model, verify, way_back

if TYPE_CHECKING:
    from collections.abc import Callable

    from walkforward_operator.rollout.judge import Judge
    from walkforward_operator.rollout.model import Observation, RolloutObject
    from walkforward_operator.rollout.status import RolloutStatus

__all__ = ["decide"]

ACTIVE_MS: Final = 2_000
"""Something is on trial, or on its way back."""
WRITING_MS: Final = 500
BLOCKED_MS: Final = 30_000
LEDGER_MS: Final = 10_000
_BLOCKED: Final = frozenset({Reason.TARGET_LOCKED, Reason.ROUTING_UNREADABLE, Reason.BUNDLE_UNREADABLE})


def _validity(turn: Turn) -> Turn:
    """End the chain where the spec cannot be used: what serves goes on, and everything above has been heard."""
    problem = turn.rollout.spec_error if turn.plan is None else turn.plan.problem
    return turn.wait(Reason.INVALID_SPEC, problem or "the spec cannot be read").end() if problem or turn.plan is None else turn


STAGES: Final[tuple[Callable[[Turn], Turn], ...]] = (
    settle,
    deletion,
    unattended,
    lock,
    abort_asked,
    crash,
    deadlines,
    drift,
    way_back,
    first_model,
    requests,
    _validity,
    source,
    verify,
    verdicts,
    ready,
    approval,
    step,
    upkeep,
)


def decide(rollout: RolloutObject, status: RolloutStatus, observation: Observation, now_ms: int, *, judge: Judge = gates.judge) -> Decision:
    """Return what is to be done about one rollout.

    Parameters
    ----------
    rollout, status:
        The object and its status as they are in the cluster, the status newer than any that this operator wrote.
    observation:
        What is seen at this moment.
    now_ms:
        The time, epoch milliseconds.
    judge:
        The gates; given by tests.
    """
    plan = plan_of(rollout.spec) if rollout.spec is not None else None
    turn = Turn(rollout=rollout, observation=observation, now_ms=now_ms, judge=judge, plan=plan, before=status, status=status)
    for stage in STAGES:
        turn = stage(turn)
        if turn.ended:
            break
    if rollout.deleting_since_ms is not None and (not rollout.has_finalizer or SetFinalizer(present=False) in turn.then):
        # the object goes now: nobody would read its status
        return Decision(status=status, then=turn.then)
    return _close(health(present(turn)))


def _close(turn: Turn) -> Decision:
    stored = turn.observation.ledger.stored
    open_entries = tuple(entry for entry in turn.status.entries if stored is None or entry.seq > stored)
    status = turn.status
    if status != turn.before:
        # entries that are stored go with the next write; they are no reason for one
        turn = turn.with_status(entries=open_entries, history=status.history[: _kept(turn)])
    records = tuple(Record(seq=entry.seq, kind=entry.kind, body=entry.body) for entry in open_entries)
    return Decision(status=turn.status, first=turn.first, then=(*turn.then, *records), requeue_after_ms=_requeue(turn, len(records)))


def _kept(turn: Turn) -> int:
    return turn.rollout.spec.history_limit if turn.rollout.spec is not None else 50


def _requeue(turn: Turn, behind: int) -> int | None:
    """Return when to look again, without an event: the nearest deadline, sooner while something is under way."""
    waits = [max(0, instant - turn.now_ms) for instant in turn.wakes]
    rollback, hold = turn.status.rollback, turn.hold.reason if turn.hold is not None else None
    walk = turn.walk
    moving = walk is not None and (walk.kind is WalkKind.CANARY or walk.step >= WRITTEN)
    if turn.status.routing.pending is not None:
        waits.append(WRITING_MS)
    if moving or turn.rollout.deleting_since_ms is not None or (rollback is not None and rollback.verified_at is None):
        waits.append(ACTIVE_MS)
    if behind:
        waits.append(LEDGER_MS)
    if hold in _BLOCKED:
        waits.append(BLOCKED_MS)
    return max(100, min(waits)) if waits else None
