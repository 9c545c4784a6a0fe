"""The first model: nothing is live, so there is nothing to compare it with. The pods check it, a person approves where one is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from walkforward_core.routing import RoutingDocument
from walkforward_operator.reasons import Reason
from walkforward_operator.rollout.abort import conclude, quarantined
from walkforward_operator.rollout.approval import asked
from walkforward_operator.rollout.people import paused_by
from walkforward_operator.rollout.start import admission, new_walk, refuse
from walkforward_operator.rollout.status import Outcome, Purpose, WalkKind
from walkforward_operator.rollout.turn import model_of, same_model
from walkforward_operator.rollout.writes import at_rest, body, plan_write

if TYPE_CHECKING:
    from walkforward_operator.rollout.model import Bundle
    from walkforward_operator.rollout.plan import Plan
    from walkforward_operator.rollout.turn import Turn

__all__ = ["APPROVAL_PHASE", "WRITTEN", "bootstrap"]

APPROVAL_PHASE = "Bootstrap"
"""What an approval of the first model names as its phase."""
WRITTEN = 1
"""Step of a first model that is in the routing document."""


def bootstrap(turn: Turn, plan: Plan, bundle: Bundle) -> Turn:
    """Bring the newest bundle live as the first model; a newer one takes the place of one that is not live yet."""
    turn = turn.with_status(waiting=None)
    if turn.walk is not None and quarantined(turn, model_of(bundle)):
        # rejected before: the one that is under way goes on
        kept = turn.observation.bundles.get(turn.walk.model.digest)
        if kept is None:
            return turn.wait(Reason.BUNDLE_UNREADABLE, f"the manifest of {turn.walk.model.version} cannot be read")
        bundle = kept
    if turn.walk is None or not same_model(turn.walk.model, model_of(bundle)):
        turn = _begin(turn, plan, bundle)
    walk = turn.walk
    if turn.ended or walk is None or walk.step >= WRITTEN or not same_model(walk.model, model_of(bundle)):
        return turn
    if why := paused_by(turn):
        return turn.wait(Reason.PAUSED, why)
    if plan.approval_ms is not None:
        turn = asked(turn, walk.model, APPROVAL_PHASE, plan.approval_ms)
        if turn.hold is not None:
            return turn
    return _write(turn, bundle)


def _begin(turn: Turn, plan: Plan, bundle: Bundle) -> Turn:
    model, walk, rollback = model_of(bundle), turn.walk, turn.status.rollback
    if quarantined(turn, model):
        return turn.wait(Reason.CANDIDATE_REJECTED, f"{model.version} is quarantined and nothing else can serve")
    if not plan.live:
        return turn.wait(
            Reason.DRY_RUN_NEEDS_STABLE, "nothing is live and a dry run exposes nothing; set spec.mode to Live for the first model"
        )
    if rollback is not None and rollback.verified_at is None:
        return turn
    if why := paused_by(turn):
        return turn.wait(Reason.PAUSED, why)
    result = admission(turn, plan, bundle)
    if result is not None and result.failed:
        return refuse(turn, bundle, result)
    if result is not None and not result.passed:
        return turn.wait(Reason.GATES_WAIT, f"{result.name} has no verdict: {result.message}")
    if walk is not None:
        turn = conclude(turn, walk, Outcome.SUPERSEDED, Reason.SUPERSEDED, f"{model.version} is newer")
    return turn.with_status(walk=new_walk(turn, WalkKind.BOOTSTRAP, bundle, plan_hash=plan.hash, count=0), rollback=None)


def _write(turn: Turn, bundle: Bundle) -> Turn:
    walk, applied, spec = turn.walk, turn.applied, turn.rollout.spec
    if walk is None or spec is None:
        return turn
    generation, policy = turn.next_generation(), bundle.manifest.decision.without_model
    base = applied if applied is not None else RoutingDocument(generation=generation, rollout=turn.ref, split_by=spec.split_by)
    document = at_rest(base, generation=generation, rollout=turn.ref, stable=bundle.ref, without_model=policy, split_by=spec.split_by)
    after = structs.replace(walk, step=WRITTEN, first_generation=generation, last_generation=generation)
    return plan_write(turn, document, Purpose.BOOTSTRAP, walk=after, entry=body(turn, Purpose.BOOTSTRAP))
