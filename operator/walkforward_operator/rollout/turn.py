"""One look at one rollout: what the stages of a decision hand on to each other.

A stage is a function ``Turn -> Turn``. It may change the status, ask for actions, or end the chain by :meth:`Turn.end`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from msgspec import structs

from walkforward_core.routing import RolloutRef, RoutingDocument
from walkforward_operator.conditions import Condition
from walkforward_operator.rollout.model import Emit
from walkforward_operator.rollout.status import Model, Walk, WalkKind

if TYPE_CHECKING:
    from walkforward_core.bundle import Manifest
    from walkforward_core.gates import GateResult
    from walkforward_core.routing import ModelRef
    from walkforward_operator.reasons import ConditionType, Reason
    from walkforward_operator.rollout.judge import Judge
    from walkforward_operator.rollout.model import Action, Bundle, Document, Observation, Pod, RolloutObject
    from walkforward_operator.rollout.plan import Plan
    from walkforward_operator.rollout.status import RolloutStatus

__all__ = ["Hold", "Turn", "clip", "decision_of", "exposed", "exposure", "known_model", "model_of", "same_model"]

LONGEST = 1_000


@dataclass(frozen=True, slots=True)
class Hold:
    """Why nothing more happens at this moment."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Turn:
    """What is known, and what was decided so far.

    ``before`` is the status as it was read, ``status`` as it becomes. ``plan`` is None where the spec cannot be read. ``results`` are
    what the gates say now; the status may show slightly older numbers.
    """

    rollout: RolloutObject
    observation: Observation
    now_ms: int
    judge: Judge
    plan: Plan | None
    before: RolloutStatus
    status: RolloutStatus
    first: tuple[Action, ...] = ()
    then: tuple[Action, ...] = ()
    wakes: tuple[int, ...] = ()
    hold: Hold | None = None
    notes: tuple[Condition, ...] = ()
    results: tuple[GateResult, ...] = ()
    ended: bool = False

    @property
    def document(self) -> Document | None:
        """The routing ConfigMap as it is."""
        return self.observation.document

    @property
    def applied(self) -> RoutingDocument | None:
        """The routing document as this rollout wrote it last."""
        written = self.status.routing.applied
        return None if written is None else RoutingDocument.parse(written.document.encode(), source="status.routing.applied.document")

    @property
    def walk(self) -> Walk | None:
        """The walk under way."""
        return self.status.walk

    @property
    def mine(self) -> bool:
        """Whether the routing document belongs to this rollout."""
        return self.document is not None and self.document.owner_uid == self.rollout.uid

    @property
    def ref(self) -> RolloutRef:
        """The rollout, as the routing document names it."""
        return RolloutRef(namespace=self.rollout.namespace, name=self.rollout.name, uid=self.rollout.uid)

    def next_generation(self) -> int:
        """Return the generation of the next document: above everything that was ever seen or asked for."""
        routing, found = self.status.routing, self.document.routing if self.document is not None else None
        known = routing.applied.generation if routing.applied is not None else 0
        reports = (pod.report.applied for pod in self.observation.target.pods if pod.report is not None)
        on_pods = (applied.generation for applied in reports if applied is not None)
        return max(routing.generation, known, found.generation if found is not None else 0, *on_pods) + 1

    def ready_pods(self) -> tuple[Pod, ...]:
        """Return the pods that must be verified: ready and not terminating."""
        return tuple(pod for pod in self.observation.target.pods if pod.ready and not pod.terminating)

    def living_pods(self) -> tuple[Pod, ...]:
        """Return the pods that run and are not terminating, ready or not."""
        return tuple(pod for pod in self.observation.target.pods if pod.running and not pod.terminating)

    def with_status(self, **changes: Any) -> Turn:
        """Return the turn with fields of the status changed."""
        return replace(self, status=structs.replace(self.status, **changes))

    def with_walk(self, **changes: Any) -> Turn:
        """Return the turn with fields of the walk changed."""
        if self.walk is None:
            raise RuntimeError(f"no walk is under way, so {sorted(changes)} cannot change")
        return self.with_status(walk=structs.replace(self.walk, **changes))

    def with_routing(self, **changes: Any) -> Turn:
        """Return the turn with fields of ``status.routing`` changed."""
        return self.with_status(routing=structs.replace(self.status.routing, **changes))

    def do(self, *actions: Action) -> Turn:
        """Return the turn with actions to be taken once the status is written."""
        return replace(self, then=(*self.then, *actions))

    def tell(self, reason: Reason, message: str, *, warning: bool = False) -> Turn:
        """Return the turn with an Event for people."""
        return self.do(Emit(reason, clip(message), warning))

    def note(self, kind: ConditionType, reason: str, message: str) -> Turn:
        """Return the turn with a condition of the domain that is true now."""
        return replace(self, notes=(*self.notes, Condition(type=kind, status="True", reason=reason, message=clip(message))))

    def wait(self, reason: Reason, message: str) -> Turn:
        """Return the turn with the reason why nothing more happens; the first one given stands."""
        return self if self.hold is not None else replace(self, hold=Hold(reason, clip(message)))

    def wake(self, *instants_ms: int) -> Turn:
        """Return the turn with instants at which to look again."""
        return replace(self, wakes=(*self.wakes, *instants_ms))

    def end(self) -> Turn:
        """Return the turn as the last word: no later stage is asked."""
        return replace(self, ended=True)


def clip(text: str) -> str:
    """Return ``text``, shortened to what a message in a status, a condition or an Event may hold."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def exposure(document: RoutingDocument | None, digest: str) -> int:
    """Return the percent of the request keys that the model with manifest ``digest`` answers under ``document``."""
    if document is None:
        return 0
    if document.stable is not None and document.stable.digest == digest:
        return 100
    return document.weight if document.candidate is not None and document.candidate.digest == digest else 0


def exposed(turn: Turn) -> int:
    """Return the percent of the request keys that the model on trial answers under the applied document."""
    walk = turn.walk
    return 0 if walk is None or walk.kind is WalkKind.BOOTSTRAP else exposure(turn.applied, walk.model.digest)


def decision_of(manifest: Manifest) -> str:
    """Return a decision rule in one word; a model with another rule is another model."""
    return f"{manifest.decision.kind}@{manifest.decision.threshold:g}"


def model_of(bundle: Bundle) -> Model:
    """Return a bundle as the status names it."""
    ref = bundle.ref
    return Model(version=ref.version, uri=ref.uri, digest=ref.digest, model=ref.model, decision=decision_of(bundle.manifest))


def known_model(turn: Turn, ref: ModelRef | None) -> Model | None:
    """Return a model of the document as the status names it, with its decision rule where that is known."""
    if ref is None:
        return None
    bundle, status = turn.observation.bundles.get(ref.digest), turn.before
    if bundle is not None:
        return model_of(bundle)
    walked = status.walk.model if status.walk is not None else None
    known = (one for one in (status.stable, status.candidate, status.previous, walked) if one is not None and one.digest == ref.digest)
    return next(known, Model(version=ref.version, uri=ref.uri, digest=ref.digest, model=ref.model))


def same_model(one: Model | None, other: Model | None) -> bool:
    """Return whether two bundles would answer alike: the same bundle, or the same model with the same known decision rule."""
    if one is None or other is None:
        return False
    if one.digest == other.digest:
        return True
    return one.model == other.model and one.decision == other.decision and bool(one.decision)
