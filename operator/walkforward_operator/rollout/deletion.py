"""Deletion: stable takes everything back and every pod says so, then the object may go; never later than its deadline."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from walkforward_operator.reasons import Reason
from walkforward_operator.rollout.model import SetFinalizer
from walkforward_operator.rollout.pods import unverified
from walkforward_operator.rollout.status import Purpose
from walkforward_operator.rollout.writes import at_rest, body, plan_write

if TYPE_CHECKING:
    from walkforward_operator.rollout.turn import Turn

__all__ = ["WITHIN_MS", "deletion"]

WITHIN_MS: Final = 45_000
"""A rollout that is deleted is gone within this time, whatever answers or does not."""


def deletion(turn: Turn) -> Turn:
    """End the chain for an object that is being deleted."""
    since = turn.rollout.deleting_since_ms
    if since is None:
        return turn
    if not turn.rollout.has_finalizer:
        return replace(turn, then=()).end()
    if turn.observation.namespace_terminating:
        # its ConfigMaps and RoleBindings go at the same time: nothing could be written, and nothing would read it
        return replace(turn, then=(SetFinalizer(present=False),)).end()
    if turn.now_ms >= since + WITHIN_MS:
        late = f"not every pod was seen back on stable within {WITHIN_MS // 1000} s: {_open(turn) or 'none answered'}"
        return turn.tell(Reason.TERMINATING, late, warning=True).do(SetFinalizer(present=False)).end()
    return _bring_back(turn).wake(since + WITHIN_MS)


def _bring_back(turn: Turn) -> Turn:
    applied, found = turn.applied, turn.document
    if applied is None or found is None or not turn.mine:
        return _release(turn)
    there = turn.status.routing.applied is not None and found.digest == turn.status.routing.applied.digest
    if not there or applied.candidate is not None or applied.previous is not None:
        document = at_rest(applied, generation=turn.next_generation())
        return plan_write(turn, document, Purpose.RELEASE, walk=None, entry=body(turn, Purpose.RELEASE))
    waiting = _open(turn)
    return turn.wait(Reason.TERMINATING, waiting).end() if waiting else _release(turn)


def _release(turn: Turn) -> Turn:
    return turn.tell(Reason.RELEASED, "stable serves everything; the rollout may go").do(SetFinalizer(present=False)).end()


def _open(turn: Turn) -> str:
    """Return which pod is not yet back on stable; no pod, nothing to wait for."""
    return unverified(turn, turn.ready_pods(), stable_only=True) if turn.ready_pods() else ""
