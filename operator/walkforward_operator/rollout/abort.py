"""The way back: stable takes everything, the document first, then the status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from walkforward_core.routing import Abort, RoutingDocument
from walkforward_operator.rollout.clock import stamp
from walkforward_operator.rollout.status import QUARANTINE_KEPT, Ended, Outcome, Quarantined, Rollback, WalkKind
from walkforward_operator.rollout.trial import ab_test
from walkforward_operator.rollout.turn import clip
from walkforward_operator.rollout.writes import at_rest, body, first_write, record, written

if TYPE_CHECKING:
    from walkforward_operator.reasons import Reason
    from walkforward_operator.rollout.status import Model, Walk
    from walkforward_operator.rollout.turn import Turn

__all__ = ["abort", "aborted", "conclude", "ended", "quarantined", "reject"]


def abort(turn: Turn, reason: Reason, message: str, *, by: str = "", quarantine: bool = True) -> Turn:
    """Return the turn with the walk aborted: weight 0 is written before anything else, unless it is there already."""
    walk = turn.walk
    if walk is None:
        return turn
    message = clip(message)
    entry = body(
        turn, "Abort", reason=reason, message=message, by=by, quarantine=quarantine, **ab_test(turn, executed=False, reason=reason)
    )
    turn = _take_back(turn, walk, reason)
    turn = conclude(turn, walk, Outcome.ROLLED_BACK, reason, message)
    turn = reject(turn, walk.model, reason, message, by=by, quarantine=quarantine)
    return record(turn, "Abort", entry).tell(reason, f"{walk.model.version}: {message}", warning=True).end()


def aborted(document: RoutingDocument, walk: Walk, *, generation: int, reason: str, at: str) -> RoutingDocument:
    """Return the document in which stable serves everything and the model of ``walk`` is named as aborted.

    In the watch the model that served before comes back. An aborted first model leaves nothing to serve: its own no-model policy stands.
    """
    named = Abort(candidate=walk.model.digest, reason=reason, at=at)
    stable = document.previous if document.previous is not None else document.stable
    if walk.kind is WalkKind.BOOTSTRAP:
        stable = None
    return at_rest(document, generation=generation, stable=stable, abort=named)


def _take_back(turn: Turn, walk: Walk, reason: Reason) -> Turn:
    applied, found = turn.applied, turn.document
    if applied is None or not _shown(applied, walk):
        return turn.with_routing(pending=None)
    wanted = aborted(applied, walk, generation=turn.next_generation(), reason=reason, at=stamp(turn.now_ms))
    if found is not None and found.routing is not None and turn.mine and _agrees(found.routing, wanted):
        # written before, by an operator that died before its status, or by a person who left nothing to do
        kept = written(found.routing)
        if kept.digest == found.digest:
            return turn.with_routing(applied=kept, pending=None)
    return first_write(turn, wanted)


def _shown(document: RoutingDocument, walk: Walk) -> bool:
    """Return whether the document names the model on trial at all."""
    return any(ref is not None and ref.digest == walk.model.digest for ref in (document.stable, document.candidate))


def _agrees(found: RoutingDocument, wanted: RoutingDocument) -> bool:
    """Return whether ``found`` is that abort already, whenever and for whatever reason it was written."""
    if found.abort is None or wanted.abort is None or found.abort.candidate != wanted.abort.candidate:
        return False
    return structs.replace(found, generation=0, abort=None) == structs.replace(wanted, generation=0, abort=None)


def conclude(turn: Turn, walk: Walk, outcome: Outcome, reason: str, message: str = "") -> Turn:
    """Return the turn without its walk, which goes into the history."""
    return turn.with_status(walk=None, approval=None, history=(ended(turn, walk, outcome, reason, message), *turn.status.history)[:50])


def ended(turn: Turn, walk: Walk, outcome: Outcome, reason: str, message: str) -> Ended:
    """Return ``walk`` as the history keeps it."""
    return Ended(
        version=walk.model.version,
        digest=walk.model.digest,
        outcome=outcome,
        reason=reason,
        message=message,
        weight=walk.top_weight,
        started_at=walk.started_at,
        ended_at=stamp(turn.now_ms),
    )


def reject(turn: Turn, model: Model, reason: str, message: str, *, by: str = "", quarantine: bool = True) -> Turn:
    """Return the turn with ``model`` on its way back and, if asked for, in quarantine."""
    at = stamp(turn.now_ms)
    way = Rollback(version=model.version, reason=reason, message=message, by=by, at=at, quarantined=quarantine)
    turn = turn.with_status(rollback=way)
    if not quarantine or quarantined(turn, model):
        return turn
    entry = Quarantined(model=model.model, decision=model.decision, version=model.version, reason=reason, at=at)
    return turn.with_status(quarantine=(*turn.status.quarantine, entry)[-QUARANTINE_KEPT:])


def quarantined(turn: Turn, model: Model) -> bool:
    """Return whether ``model`` stays out; trained again on the same data it is the same model, so that is no way around it."""
    return any((entry.model, entry.decision) == (model.model, model.decision) for entry in turn.status.quarantine)
