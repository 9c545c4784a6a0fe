"""Edits of the routing document by others: lower exposure is an abort, anything else is put right. Healing never raises exposure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from walkforward_operator.reasons import ConditionType, Reason
from walkforward_operator.rollout.abort import abort
from walkforward_operator.rollout.status import Purpose
from walkforward_operator.rollout.turn import exposed, exposure
from walkforward_operator.rollout.writes import plan_write, written

if TYPE_CHECKING:
    from walkforward_core.routing import RoutingDocument
    from walkforward_operator.rollout.turn import Turn

__all__ = ["drift"]


def drift(turn: Turn) -> Turn:
    """Compare the document that is there with the one that was written last."""
    kept, applied, found = turn.status.routing.applied, turn.applied, turn.document
    if turn.observation.router_error:
        turn = turn.note(ConditionType.ROUTER_FAILING, ConditionType.ROUTER_FAILING, turn.observation.router_error)
    if kept is None or applied is None:
        return turn
    if found is not None and turn.mine and found.digest == kept.digest:
        return turn
    if found is not None and turn.mine and _only_newer(found.routing, applied, found.digest):
        return turn if found.routing is None else turn.with_routing(applied=written(found.routing))
    turn = _unknown(turn, kept.digest) if found is None or found.routing is None else _as_abort(turn, found.routing)
    return turn if turn.ended else _heal(turn, applied)


def _only_newer(found: RoutingDocument | None, applied: RoutingDocument, digest: str) -> bool:
    """Return whether only the generation differs: nothing to put right, and nothing to tell."""
    if found is None or found.generation <= applied.generation or written(found).digest != digest:
        return False
    return structs.replace(found, generation=applied.generation) == applied


def _as_abort(turn: Turn, found: RoutingDocument) -> Turn:
    """Adopt an abort that names the model on trial, and a lower exposure of it: a person's zero at three in the morning counts."""
    walk = turn.walk
    if walk is None:
        return turn
    if found.abort is not None and found.abort.candidate == walk.model.digest:
        reason = next((known for known in Reason if known == found.abort.reason), Reason.MANUAL_ROUTE)
        message = f"the routing document carries an abort of {found.abort.at}: {found.abort.reason}"
        return abort(turn, reason, message, quarantine=reason is not Reason.EXPOSURE_EXPIRED)
    there, was = exposure(found, walk.model.digest), exposed(turn)
    if there < was:
        return abort(turn, Reason.MANUAL_ROUTE, f"the routing document was edited: exposure {was} to {there} %")
    return turn


def _unknown(turn: Turn, digest: str) -> Turn:
    """Nothing can be read where the document was: it is put right only if the pods still act on it, since that raises nothing."""
    walk, pods = turn.walk, turn.ready_pods()
    if walk is None or exposed(turn) == 0:
        return turn
    on_pods = [pod.report.applied.digest if pod.report is not None and pod.report.applied is not None else "" for pod in pods]
    if on_pods and all(one == digest for one in on_pods):
        return turn
    return abort(turn, Reason.MANUAL_ROUTE, "the routing document is gone or cannot be read, and not every pod still has it")


def _heal(turn: Turn, applied: RoutingDocument) -> Turn:
    found = turn.document
    lost_write = bool(turn.observation.router_error) and found is not None and found.routing is not None
    if not lost_write:
        what = "was deleted" if found is None else f"was edited{f' and cannot be read: {found.error}' if found.error else ''}"
        turn = turn.with_routing(drift=turn.status.routing.drift + 1)
        turn = turn.tell(Reason.ROUTE_DRIFT, f"the routing document {what}; it is put right", warning=True)
    document = structs.replace(applied, generation=turn.next_generation())
    walk = turn.walk
    if walk is not None:
        walk = structs.replace(walk, last_generation=document.generation)
    return plan_write(turn, document, Purpose.HEAL, walk=walk, takeover=found is not None and not turn.mine)
