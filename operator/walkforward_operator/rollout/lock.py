"""One rollout per target: the routing document is the lock. What a rollout that is gone left behind is adopted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from walkforward_operator.reasons import Reason
from walkforward_operator.rollout.status import Purpose
from walkforward_operator.rollout.writes import at_rest, body, plan_write

if TYPE_CHECKING:
    from walkforward_operator.rollout.turn import Turn

__all__ = ["lock"]


def lock(turn: Turn) -> Turn:
    """End the chain where another rollout holds the target; take over a document that nobody holds any more."""
    found = turn.document
    if found is None or (turn.mine and turn.status.routing.applied is not None):
        return turn
    if not turn.mine and found.owner_name:
        return turn.wait(Reason.TARGET_LOCKED, f"this target is routed by ModelRollout {found.owner_name}; delete one of the two").end()
    if turn.status.routing.applied is not None:
        return turn
    return _take_over(turn)


def _take_over(turn: Turn) -> Turn:
    found = turn.document
    if found is None or found.routing is None:
        error = found.error if found is not None else ""
        return turn.wait(Reason.ROUTING_UNREADABLE, f"{error}; restore its ConfigMap, or delete it to begin with a first model").end()
    document = at_rest(found.routing, generation=turn.next_generation(), rollout=turn.ref)
    entry = body(turn, Purpose.TAKEOVER, stable=document.stable)
    return plan_write(turn, document, Purpose.TAKEOVER, walk=None, entry=entry, takeover=True)
