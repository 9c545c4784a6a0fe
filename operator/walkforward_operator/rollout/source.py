"""Which model is to be on trial: a new one, one that waits, the same one under an edited plan, or none any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from walkforward_operator.reasons import ConditionType, Reason
from walkforward_operator.rollout.abort import quarantined
from walkforward_operator.rollout.bootstrap import bootstrap
from walkforward_operator.rollout.people import paused_by
from walkforward_operator.rollout.start import admitted, obstacle, start
from walkforward_operator.rollout.status import Purpose, WalkKind
from walkforward_operator.rollout.trial import ab_test
from walkforward_operator.rollout.turn import exposed, known_model, model_of, same_model
from walkforward_operator.rollout.writes import at_rest, body, plan_write

if TYPE_CHECKING:
    from walkforward_operator.rollout.model import Bundle
    from walkforward_operator.rollout.plan import Plan
    from walkforward_operator.rollout.turn import Turn

__all__ = ["source"]


def source(turn: Turn) -> Turn:
    """Follow the source, by the rules of what is under way."""
    plan, bundle = turn.plan, turn.observation.source.bundle
    if plan is None:
        return turn
    turn = _same_candidate(turn, plan)
    if turn.ended:
        return turn
    if not turn.observation.target.exists:
        turn = turn.wait(Reason.TARGET_MISSING, "the Deployment of spec.target does not exist; create it, or correct the name")
        if turn.walk is None:
            return turn
    if bundle is None:
        return _without(turn)
    applied, walk = turn.applied, turn.walk
    if applied is None or applied.stable is None or (walk is not None and walk.kind is WalkKind.BOOTSTRAP):
        return bootstrap(turn, plan, bundle)
    return _resting(turn, plan, bundle) if walk is None else _walking(turn, plan, bundle)


def _same_candidate(turn: Turn, plan: Plan) -> Turn:
    """Apply an edit of the spec to the walk under way: DryRun ends exposure, another plan begins anew. The watch is past both."""
    walk, applied = turn.walk, turn.applied
    if walk is None or applied is None or walk.kind is WalkKind.BOOTSTRAP or applied.previous is not None:
        return turn
    if plan.hash != walk.plan:
        bundle = turn.observation.bundles.get(walk.model.digest)
        if bundle is not None and (problem := obstacle(turn, bundle)) is None:
            return start(turn, plan, bundle)
        why = problem.message if bundle is not None and problem is not None else f"the manifest of {walk.model.version} cannot be read"
        return turn.wait(Reason.PLAN_CHANGED, f"the plan was edited, but the walk cannot begin anew: {why}")
    if not plan.live and exposed(turn) > 0:
        return _lower(turn)
    return turn


def _lower(turn: Turn) -> Turn:
    walk, applied = turn.walk, turn.applied
    if walk is None or applied is None:
        return turn
    generation = turn.next_generation()
    document = structs.replace(applied, generation=generation, weight=0, exposure_not_after=None)
    # soaked in the shadow already: it only goes on from there
    below = structs.replace(
        walk, step=0, verified_at=None, soak_since=None, soaked_ms=0, first_generation=generation, last_generation=generation, deadline=None
    )
    return plan_write(turn, document, Purpose.LOWER, walk=structs.replace(below, held_since=None, suspended_since=None, cut=False))


def _without(turn: Turn) -> Turn:
    found = turn.observation.source
    reason = next((known for known in Reason if known == found.reason), Reason.SOURCE_UNAVAILABLE)
    message = found.message or "the source has published nothing yet"
    turn = turn.with_status(waiting=None)
    if turn.applied is None or turn.applied.stable is None:
        turn = turn.wait(reason, message)
    elif reason is not Reason.NO_BUNDLE:
        turn = turn.note(ConditionType.SOURCE_UNAVAILABLE, reason, message)
    return turn.wake(turn.now_ms + 30_000) if reason is not Reason.NO_BUNDLE else turn


def _walking(turn: Turn, plan: Plan, bundle: Bundle) -> Turn:
    """A candidate beside the one on trial: it is the same, or stable, or it waits, or it takes the place."""
    walk, applied, model = turn.walk, turn.applied, model_of(bundle)
    if walk is None or applied is None:
        return turn
    turn = turn.with_status(waiting=None)
    if same_model(model, walk.model):
        return turn
    if same_model(model, known_model(turn, applied.reference)):
        return _cancel(turn)
    if quarantined(turn, model):
        return turn
    problem = obstacle(turn, bundle)
    if problem is not None or not (plan.supersede or walk.would_promote):
        return turn.with_status(waiting=model)
    if applied.previous is not None:
        # it has passed every phase: what replaces it is compared with it
        document = at_rest(applied, generation=turn.next_generation())
        entry = body(turn, Purpose.FINISH, supersededBy=model.version, **ab_test(turn, executed=True))
        return plan_write(turn, document, Purpose.FINISH, walk=None, entry=entry)
    return start(turn, plan, bundle)


def _cancel(turn: Turn) -> Turn:
    applied = turn.applied
    if applied is None:
        return turn
    document = at_rest(applied, generation=turn.next_generation(), stable=applied.reference)
    return plan_write(turn, document, Purpose.CANCEL, walk=None, entry=body(turn, Purpose.CANCEL))


def _resting(turn: Turn, plan: Plan, bundle: Bundle) -> Turn:
    """Nothing is on trial: begin with the newest candidate, if it may and nothing is in the way."""
    applied, model, rollback = turn.applied, model_of(bundle), turn.status.rollback
    if applied is None:
        return turn
    turn = turn.with_status(waiting=None)
    stable = known_model(turn, applied.stable)
    if same_model(model, stable):
        return turn.with_status(rollback=None) if rollback is not None and rollback.verified_at is not None else turn
    if quarantined(turn, model):
        why = next(entry for entry in turn.status.quarantine if (entry.model, entry.decision) == (model.model, model.decision))
        return turn.wait(Reason.CANDIDATE_REJECTED, f"{model.version} is quarantined since {why.at}: {why.reason}")
    if rollback is not None and rollback.verified_at is None:
        return turn
    turn = turn.with_status(waiting=model)
    if why_not := paused_by(turn):
        return turn.wait(Reason.PAUSED, f"{why_not}; {model.version} waits")
    if (problem := obstacle(turn, bundle)) is not None:
        return turn.wait(problem.reason, problem.message)
    turn = admitted(turn, plan, bundle)
    return turn if turn.ended else start(turn, plan, bundle)
