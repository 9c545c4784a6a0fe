"""The beginning of a walk: what may stand in its way, and the document with which both models are scored."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from msgspec import structs

from walkforward_core import gates as core
from walkforward_core.api.rollout import Gates
from walkforward_core.durations import parse_ms
from walkforward_core.routing import Measure, salt_for
from walkforward_operator.reasons import Reason
from walkforward_operator.rollout.abort import ended, reject
from walkforward_operator.rollout.clock import stamp
from walkforward_operator.rollout.judge import nothing_seen
from walkforward_operator.rollout.status import Outcome, Purpose, Walk, WalkKind
from walkforward_operator.rollout.turn import Hold, clip, model_of
from walkforward_operator.rollout.writes import at_rest, body, plan_write, record

if TYPE_CHECKING:
    from walkforward_core.gates import GateResult
    from walkforward_operator.rollout.model import Bundle, Pod
    from walkforward_operator.rollout.plan import Plan
    from walkforward_operator.rollout.turn import Turn

__all__ = ["admission", "admitted", "new_walk", "obstacle", "prover", "refuse", "start"]


def obstacle(turn: Turn, bundle: Bundle) -> Hold | None:
    """Return what stands in the way of a walk of ``bundle`` against the model that serves."""
    applied = turn.applied
    if applied is None or applied.reference is None:
        return Hold(Reason.NO_BUNDLE, "nothing serves yet")
    against = turn.observation.bundles.get(applied.reference.digest)
    if against is None:
        text = f"the manifest of {applied.reference.version}, which serves, cannot be read: {applied.reference.uri}; restore it"
        return Hold(Reason.BUNDLE_UNREADABLE, text)
    if differences := _differences(against, bundle):
        text = f"{bundle.ref.version} cannot be compared with {against.ref.version}, which serves: {differences}"
        return Hold(Reason.INCOMPARABLE, text)
    return _servers(turn)


def _differences(stable: Bundle, candidate: Bundle) -> str:
    one, other = stable.manifest, candidate.manifest
    pairs = (
        ("horizon", f"{one.horizon.ms} ms", f"{other.horizon.ms} ms"),
        ("timeframe", one.data.timeframe, other.data.timeframe),
        ("decision", one.decision.kind.value, other.decision.kind.value),
    )
    return ", ".join(f"{name} {here} against {there}" for name, here, there in pairs if here != there)


def _servers(turn: Turn) -> Hold | None:
    looping = next((pod for pod in turn.observation.target.pods if pod.crash_looping and not pod.terminating), None)
    if looping is not None:
        return Hold(Reason.SERVER_CRASH_LOOPING, f"pod {looping.name} ended {looping.restarts} times; no walk begins until it runs")
    return None if turn.ready_pods() else Hold(Reason.WAITING_FOR_PODS, "no pod of the target is ready")


def admission(turn: Turn, plan: Plan, bundle: Bundle) -> GateResult | None:
    """Return what the gate on the manifest says; None where the plan has none. The others need live traffic."""
    gate = plan.gates.offline_auc
    if gate is None:
        return None
    context = core.Context(poll_age_ms=None, base_ms=bundle.manifest.horizon.ms, bar_ms=1, manifest=bundle.manifest)
    results = turn.judge(Gates(offline_auc=gate), nothing_seen("", "", bundle.ref.version), context)
    return next((result for result in results if result.name == core.offline_auc.NAME), None)


def admitted(turn: Turn, plan: Plan, bundle: Bundle) -> Turn:
    """Return the turn with the bundle refused, and the chain ended, where its manifest fails already."""
    result = admission(turn, plan, bundle)
    return refuse(turn, bundle, result) if result is not None and result.failed else turn


def refuse(turn: Turn, bundle: Bundle, result: GateResult) -> Turn:
    """Return the turn with a bundle rejected that was never on trial."""
    model, at, reason = model_of(bundle), stamp(turn.now_ms), Reason.OFFLINE_AUC_FAILED
    message = clip(result.message)
    never = new_walk(turn, WalkKind.CANARY, bundle, plan_hash="", count=0)
    entry = body(turn, "Abort", candidate=model, reason=reason, message=message)
    turn = reject(turn, model, reason, message)
    gone = ended(turn, never, Outcome.ROLLED_BACK, reason, message)
    turn = turn.with_status(history=(gone, *turn.status.history)[:50], walk=None, approval=None, waiting=None)
    if turn.status.rollback is not None:
        turn = turn.with_status(rollback=structs.replace(turn.status.rollback, verified_at=at))
    return record(turn, "Abort", entry).tell(reason, f"{model.version}: {message}", warning=True).end()


def start(turn: Turn, plan: Plan, bundle: Bundle) -> Turn:
    """Return the turn with the beginning of the walk planned: no exposure, both models scored on every request."""
    applied = turn.applied
    if applied is None or applied.stable is None or turn.rollout.spec is None:
        return turn
    generation, spec, model = turn.next_generation(), turn.rollout.spec, model_of(bundle)
    pod = prover(turn)
    document = at_rest(
        applied,
        generation=generation,
        rollout=turn.ref,
        candidate=bundle.ref,
        shadow=True,
        split_by=spec.split_by,
        salt=salt_for(turn.rollout.uid, bundle.ref.digest),
        prove_on=pod.uid if pod is not None else None,
        evidence_from=generation,
        measure=_measure(turn, plan, bundle, generation),
    )
    walk = new_walk(turn, WalkKind.CANARY, bundle, plan_hash=plan.hash, count=plan.count)
    walk = structs.replace(walk, first_generation=generation, last_generation=generation)
    entry = body(turn, Purpose.START, candidate=model, plan=plan.hash)
    return plan_write(turn.with_status(waiting=None), document, Purpose.START, walk=walk, entry=entry)


def new_walk(turn: Turn, kind: WalkKind, bundle: Bundle, *, plan_hash: str, count: int) -> Walk:
    """Return a walk that begins now."""
    now = stamp(turn.now_ms)
    return Walk(kind=kind, model=model_of(bundle), plan=plan_hash, count=count, started_at=now, step_at=now)


def prover(turn: Turn) -> Pod | None:
    """Return the pod that proves a new candidate before the others: the one that has served longest."""
    return min(turn.ready_pods(), key=lambda pod: (pod.created_ms, pod.name), default=None)


def _measure(turn: Turn, plan: Plan, bundle: Bundle, generation: int) -> Measure | None:
    applied, spec = turn.applied, turn.rollout.spec
    if applied is None or applied.stable is None or spec is None:
        return None
    against = turn.observation.bundles[applied.stable.digest]
    # evidence is kept under this name: with the generation in it, a retry counts on new evidence only
    name = f"{plan.hash}/{turn.rollout.uid}/{bundle.ref.digest}/{generation}"
    return Measure(
        plan=hashlib.sha256(name.encode()).hexdigest()[:16],
        outcomes=spec.outcomes.source,
        latency_ms=plan.latency_ms,
        slice_ms=plan.slice_ms,
        base_ms=bundle.manifest.horizon.ms,
        bar_ms=parse_ms(bundle.manifest.data.timeframe),
        round_trip=max(bundle.manifest.costs.round_trip, against.manifest.costs.round_trip),
    )
