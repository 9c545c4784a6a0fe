"""What happened since the last look: a planned write landed or did not, nobody watched for a while."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from msgspec import structs

from walkforward_core.routing import RoutingDocument
from walkforward_operator.reasons import Reason
from walkforward_operator.rollout.abort import conclude
from walkforward_operator.rollout.clock import millis, stamp
from walkforward_operator.rollout.status import Outcome, Purpose, Rollback, Written
from walkforward_operator.rollout.turn import same_model
from walkforward_operator.rollout.writes import record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from walkforward_operator.rollout.status import Pending, Walk
    from walkforward_operator.rollout.turn import Turn

__all__ = ["settle", "unattended"]


def settle(turn: Turn) -> Turn:
    """Adopt a pending write that is in the document; forget one that is not, so that its gates are asked again."""
    pending, found = turn.status.routing.pending, turn.document
    if pending is None:
        return turn
    if found is None or not turn.mine or not (found.digest == pending.digest or _edited_since(found.routing, pending)):
        return turn.with_routing(pending=None)
    applied = Written(generation=pending.generation, digest=pending.digest, weight=pending.weight, document=pending.document)
    before = turn.walk
    turn = turn.with_routing(applied=applied, pending=None).with_status(walk=pending.walk)
    if pending.record:
        turn = record(turn, pending.purpose, pending.record)
    landed = _LANDED.get(pending.purpose)
    return landed(_Landing(turn, before, pending)) if landed is not None else turn


def _edited_since(found: RoutingDocument | None, pending: Pending) -> bool:
    """Return whether a rise was written and edited before it was seen: its generation and its end of exposure are there.

    Taken as not written, the edit would be put right and the rise made again, against the hand that lowered it.
    """
    wanted = RoutingDocument.parse(pending.document.encode(), source="status.routing.pending.document")
    if found is None or wanted.exposure_not_after is None:
        return False
    return (found.generation, found.exposure_not_after) == (wanted.generation, wanted.exposure_not_after)


def unattended(turn: Turn) -> Turn:
    """Take the time in which no operator held the Lease out of the soak, and add it to the deadlines that had not passed by then."""
    away, walk = turn.observation.unattended_ms, turn.walk
    if away <= 0 or walk is None:
        return turn

    def later(instant: str | None) -> str | None:
        if instant is None or millis(instant) <= turn.now_ms - away:
            return instant
        return stamp(millis(instant) + away)

    if walk.soak_since is not None:
        turn = turn.with_walk(soak_since=stamp(min(turn.now_ms, millis(walk.soak_since) + away)))
    if walk.suspended_since is None:
        turn = turn.with_walk(deadline=later(walk.deadline))
    approval = turn.status.approval
    if approval is not None:
        turn = turn.with_status(approval=structs.replace(approval, expires_at=later(approval.expires_at)))
    return turn


@dataclass(frozen=True, slots=True)
class _Landing:
    """A planned write that is in the document: ``turn`` has it applied already, ``before`` is the walk until then."""

    turn: Turn
    before: Walk | None
    pending: Pending

    @property
    def version(self) -> str:
        walk = self.pending.walk
        return walk.model.version if walk is not None else ""


def _start(landing: _Landing) -> Turn:
    turn, before, walk = landing.turn, landing.before, landing.pending.walk
    if walk is None:
        return turn
    reason, message = Reason.WALK_STARTED, f"{walk.model.version} is on trial"
    if before is not None and same_model(before.model, walk.model):
        reason, message = Reason.PLAN_CHANGED, f"phases, shadow or gates were edited: the walk of {walk.model.version} begins anew"
        turn = conclude(turn, before, Outcome.RESTARTED, reason)
    elif before is not None:
        reason, message = Reason.SUPERSEDED, f"{walk.model.version} takes the place of {before.model.version}"
        turn = conclude(turn, before, Outcome.SUPERSEDED, reason, message)
    return turn.with_status(walk=walk, rollback=None, approval=None, gates=(), gates_at=None).tell(reason, message)


def _bootstrap(landing: _Landing) -> Turn:
    return landing.turn.with_status(rollback=None, approval=None)


def _step(landing: _Landing) -> Turn:
    was = landing.before.top_weight if landing.before is not None else 0
    message = f"{landing.version}: weight {was} to {landing.pending.weight} %"
    return landing.turn.with_status(approval=None).tell(Reason.STEP_STARTED, message)


def _promote(landing: _Landing) -> Turn:
    message = f"{landing.version} serves everything, its predecessor stays warm for the watch"
    return landing.turn.with_status(approval=None).tell(Reason.PROMOTED, message)


def _finish(landing: _Landing) -> Turn:
    turn, before = landing.turn, landing.before
    if before is None:
        return turn
    turn = conclude(turn, before, Outcome.PROMOTED, Reason.PROMOTED)
    return turn.tell(Reason.WATCH_ENDED, f"{before.model.version} is stable, its predecessor is released")


def _cancel(landing: _Landing) -> Turn:
    turn, before = landing.turn, landing.before
    if before is None:
        return turn
    version, at = before.model.version, stamp(turn.now_ms)
    message = f"the source went back to the model that serves; {version} is no longer on trial"
    turn = conclude(turn, before, Outcome.CANCELLED, Reason.CANCELLED, message)
    way = Rollback(version=version, reason=Reason.CANCELLED, message=message, at=at, quarantined=False)
    return turn.with_status(rollback=way).tell(Reason.CANCELLED, message)


def _lower(landing: _Landing) -> Turn:
    message = "mode is DryRun: exposure ended, the walk goes on in the shadow"
    return landing.turn.with_status(approval=None).tell(Reason.MODE_CHANGED, message)


def _takeover(landing: _Landing) -> Turn:
    message = "the routing document of a rollout that is gone was adopted, with its stable model"
    return landing.turn.tell(Reason.TARGET_TAKEN_OVER, message)


def _release(landing: _Landing) -> Turn:
    if landing.before is None:
        return landing.turn
    return conclude(landing.turn, landing.before, Outcome.CANCELLED, Reason.TERMINATING)


_LANDED: Final[Mapping[Purpose, Callable[[_Landing], Turn]]] = MappingProxyType(
    {
        Purpose.START: _start,
        Purpose.BOOTSTRAP: _bootstrap,
        Purpose.STEP: _step,
        Purpose.PROMOTE: _promote,
        Purpose.FINISH: _finish,
        Purpose.CANCEL: _cancel,
        Purpose.LOWER: _lower,
        Purpose.TAKEOVER: _takeover,
        Purpose.RELEASE: _release,
    }
)
