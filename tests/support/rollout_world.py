"""A small world around one ModelRollout: a document store with versions, pods that follow it, gates that say what they are told to.

The world carries out a decision write by write, as the service does, and can die between any two of them: all that a new operator
then knows is the object, its status and the routing document.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import structs

from walkforward_core import gates as core
from walkforward_core.api.rollout import Gates, RolloutSpec
from walkforward_core.bundle import (
    Costs,
    DataRecord,
    DecisionKind,
    Horizon,
    Input,
    Manifest,
    Output,
    Parity,
    RetrainRef,
    ValidationRecord,
    Verdict,
)
from walkforward_core.bundle import (
    Decision as DecisionRule,
)
from walkforward_core.documents import decode, digest, encode
from walkforward_core.errors import DocumentError
from walkforward_core.evidence import Evidence
from walkforward_core.pods import Applied, ModelReport, ModelRole, ModelState, PodReport
from walkforward_core.routing import ModelRef, RoutingDocument
from walkforward_operator.rollout.decide import decide
from walkforward_operator.rollout.judge import nothing_seen
from walkforward_operator.rollout.model import (
    Action,
    Bundle,
    Decision,
    DeletePod,
    Document,
    Emit,
    Ledger,
    Observation,
    Pod,
    RolloutObject,
    SetFinalizer,
    Source,
    Target,
    WriteRouting,
)
from walkforward_operator.rollout.status import RolloutStatus

if TYPE_CHECKING:
    from collections.abc import Callable

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
START = 1_790_000_000_000
UID = "11111111-1111-1111-1111-111111111111"


class Crash(Exception):  # noqa: N818 - the operator dies here
    """The operator process ends."""


def bundle(name: str, *, kind: DecisionKind = DecisionKind.FILTER, threshold: float = 0.5, model: str = "", **changes: Any) -> Bundle:
    """Return a bundle; its digests follow from its name, so the same name is the same bundle."""
    model = "sha256:" + hashlib.sha256((model or name).encode()).hexdigest()
    manifest = Manifest(
        version=name,
        retrain=RetrainRef(namespace="prod", name="fx", uid="r", run="fx-1"),
        files={},
        input=Input(features=("a", "b")),
        output=Output(),
        decision=DecisionRule(kind=kind, threshold=threshold),
        horizon=Horizon(bars=5, ms=5 * HOUR),
        costs=Costs(round_trip=0.0002),
        data=DataRecord(as_of="", from_="", to="", digest="", symbols=("EURUSD",), timeframe="1h"),
        validation=ValidationRecord(scheme="PurgedKFold", folds=5, purge="5h", embargo_hours=24),
        trials=1,
        seeds={},
        libraries={},
        metrics={"auc": 0.66},
        gates=(),
        baseline=None,
        parity=Parity(max_abs=0.0, rows=1),
    )
    manifest = structs.replace(manifest, **changes)
    ref = ModelRef(version=name, uri=f"s3://models/fx/{name}/", digest=digest(manifest.to_bytes()), model=model)
    return Bundle(ref=ref, manifest=manifest)


def spec_of(**fields: Any) -> RolloutSpec:
    """Return a spec from its JSON form, with a target and a source filled in."""
    whole = {"target": {"deployment": "fx-server"}, "source": {"retrainRef": {"name": "fx"}}, **fields}
    return msgspec.convert(whole, RolloutSpec)


@dataclass
class SimPod:
    """A server pod; ``follows`` False keeps it on what it has, ``states`` says how single bundles fare on it."""

    name: str
    uid: str
    created_ms: int
    follows: bool = True
    ready: bool = True
    terminating: bool = False
    crash_looping: bool = False
    states: dict[str, ModelState] = field(default_factory=dict)
    applied: Applied | None = None
    document: RoutingDocument | None = None
    answers: bool = True

    def follow(self, text: bytes | None) -> None:
        """Apply the document, as the mounted volume brings it."""
        if text is None or not self.follows or self.terminating:
            return
        try:
            self.document = RoutingDocument.parse(text)
        except DocumentError:
            return
        self.applied = Applied(generation=self.document.generation, digest=digest(text))

    def report(self) -> PodReport | None:
        if not self.answers:
            return None
        models: dict[str, ModelReport] = {}
        document = self.document
        for role, ref in (
            ()
            if document is None
            else ((ModelRole.STABLE, document.stable), (ModelRole.CANDIDATE, document.candidate), (ModelRole.PREVIOUS, document.previous))
        ):
            if ref is None:
                continue
            waits = role is ModelRole.CANDIDATE and document is not None and document.prove_on not in (None, self.uid)
            state = ModelState.WAITING if waits else self.states.get(ref.version, ModelState.READY)
            models[ref.version] = ModelReport(role=role, state=state, digest=ref.digest)
        return PodReport(pod_uid=self.uid, boot="b-" + self.uid, applied=self.applied, models=models)


@dataclass
class Stored:
    """The routing ConfigMap."""

    text: bytes
    version: int
    owner: str


class World:
    """Everything outside of the operator, and the operator's loop around ``decide``."""

    def __init__(self, spec: RolloutSpec | None = None, *, pods: int = 2) -> None:
        self.now = START
        self.spec: RolloutSpec | None = spec if spec is not None else spec_of()
        self.spec_error = ""
        self.generation = 1
        self.annotations: dict[str, str] = {}
        self.deleting_since: int | None = None
        self.finalizer = False
        self.gone = False
        self.status_text = b'{"observedGeneration":-1}'
        self.stored: Stored | None = None
        self.living_owners = {UID: "fx"}
        self.pods: dict[str, SimPod] = {}
        self.pod_number = 0
        self.scale(pods)
        self.bundles: dict[str, Bundle] = {}
        self.source = Source(reason="NoBundle", message="nothing published yet")
        self.verdicts: dict[str, Verdict] = {}
        self.values: dict[str, float] = {}
        self.results: dict[str, core.GateResult] = {}
        self.requests = 10_000
        self.ledger_up = True
        self.ledger: dict[int, str] = {}
        self.ledger_known = True
        self.evidence_full = False
        self.router_error = ""
        self.namespace_terminating = False
        self.unattended = 0
        self.status_writes = 0
        self.document_writes = 0
        self.events: list[tuple[str, str]] = []
        self.deleted_pods: list[str] = []
        self.writes_left: int | None = None
        self.on_document: Callable[[RoutingDocument, str], None] | None = None
        self.last: Decision | None = None

    # what people and others do

    @property
    def status(self) -> RolloutStatus:
        return decode(RolloutStatus, self.status_text, source="status")

    @property
    def document(self) -> RoutingDocument:
        assert self.stored is not None
        return RoutingDocument.parse(self.stored.text)

    @property
    def readable(self) -> bool:
        """Whether there is a routing document, and one that can be read."""
        return self.stored is not None and self.stored.text.startswith(b'{"schema"')

    def publish(self, found: Bundle) -> Bundle:
        """Make ``found`` the newest bundle of the source."""
        self.bundles[found.ref.digest] = found
        self.source = Source(bundle=found, run="fx-1", at_ms=self.now)
        return found

    def edit(self, **fields: Any) -> None:
        """Replace the spec by one with these fields."""
        assert self.spec is not None
        known = msgspec.to_builtins(self.spec)
        self.spec = msgspec.convert({**known, **fields}, RolloutSpec)
        self.generation += 1

    def annotate(self, verb: str, **fields: str) -> None:
        self.annotations[f"walkforward.dev/{verb}"] = encode({"by": "ann", **fields}).decode()

    def rewrite(self, **changes: Any) -> None:
        """Edit the routing document by hand."""
        assert self.stored is not None
        self.stored = Stored(structs.replace(self.document, **changes).to_bytes(), self.stored.version + 1, self.stored.owner)
        if self.on_document is not None:
            self.on_document(self.document, "person")

    def scale(self, count: int) -> None:
        while len(self.pods) < count:
            self.pod_number += 1
            name = f"fx-server-{self.pod_number}"
            pod = SimPod(name, f"uid-{self.pod_number}", self.now + self.pod_number)
            self.pods[name] = pod
        for name in list(self.pods)[count:]:
            del self.pods[name]

    def replace_pods(self) -> None:
        """Let the Deployment finish what was begun: terminating pods go, others come in their place."""
        count = len(self.pods)
        self.pods = {name: pod for name, pod in self.pods.items() if not pod.terminating}
        self.scale(count)
        self.follow()

    def follow(self) -> None:
        for pod in self.pods.values():
            pod.follow(self.stored.text if self.stored is not None else None)

    # what the operator sees

    def judge(self, gates: Gates, evidence: Evidence, context: core.Context) -> tuple[core.GateResult, ...]:
        named = {
            "offlineAuc": gates.offline_auc,
            "psi": gates.psi,
            "sharpe": gates.sharpe,
            "latency": gates.latency,
            "errorRate": gates.error_rate,
        }
        return tuple(
            dataclasses.replace(self._result(name, evidence, context), dry_run=gate.dry_run)
            for name, gate in named.items()
            if gate is not None
        )

    def _result(self, name: str, evidence: Evidence, context: core.Context) -> core.GateResult:
        if name in self.results:
            return self.results[name]
        verdict = self.verdicts.get(name, Verdict.NO_DATA)
        if name == "offlineAuc":
            verdict = self.verdicts.get(name, Verdict.PASS)
        reason = {
            Verdict.PASS: core.GateReason.NOT_WORSE,
            Verdict.FAIL: core.GateReason.HARM,
            Verdict.NO_DATA: core.GateReason.TOO_FEW_SAMPLES,
        }[verdict]
        latch = ""
        if name == "sharpe":
            mine = f"sharpe/{evidence.plan}/0.05"
            if verdict is Verdict.NO_DATA and mine in context.latches:
                verdict, reason = Verdict.PASS, core.GateReason.PASSED_BEFORE
            latch = mine if verdict is Verdict.PASS else ""
        missing = 100 if verdict is Verdict.NO_DATA else 0
        return core.GateResult(
            name,
            verdict,
            reason,
            f"{name} says {verdict}",
            self.values.get(name),
            0.2,
            samples=100,
            missing=missing,
            latch=latch,
        )

    def observe(self) -> Observation:
        document = None
        if self.stored is not None:
            routing, error = None, ""
            try:
                routing = RoutingDocument.parse(self.stored.text)
            except DocumentError as problem:
                error = str(problem)
            document = Document(
                str(self.stored.version),
                digest(self.stored.text),
                routing,
                error,
                self.stored.owner,
                self.living_owners.get(self.stored.owner, ""),
            )
        evidence = None
        routing = document.routing if document is not None else None
        if routing is not None and routing.measure is not None and routing.on_trial is not None and routing.reference is not None:
            evidence = nothing_seen(routing.measure.plan, routing.reference.version, routing.on_trial.version)
            pair = structs.replace(evidence.walk.pair, n=self.requests)
            evidence = Evidence(evidence.plan, evidence.stable, evidence.candidate, core_scope(evidence, pair), evidence.phase, sources=1)
        stored = max(self.ledger, default=0) if self.ledger_known else None
        return Observation(
            target=Target(exists=True, replicas=len(self.pods), pods=tuple(self._pod(pod) for pod in self.pods.values())),
            document=document,
            source=self.source,
            bundles=dict(self.bundles),
            evidence=evidence,
            evidence_full=self.evidence_full,
            poll_age_ms=0,
            ledger=Ledger(stored=stored, error="" if self.ledger_up else "store away"),
            unattended_ms=self.unattended,
            namespace_terminating=self.namespace_terminating,
            router_error=self.router_error,
        )

    def _pod(self, pod: SimPod) -> Pod:
        return Pod(
            name=pod.name,
            uid=pod.uid,
            created_ms=pod.created_ms,
            running=not pod.terminating,
            ready=pod.ready and not pod.crash_looping,
            terminating=pod.terminating,
            restarts=5 if pod.crash_looping else 0,
            crash_looping=pod.crash_looping,
            report=pod.report(),
            report_age_ms=0,
        )

    def object(self) -> RolloutObject:
        return RolloutObject(
            namespace="prod",
            name="fx",
            uid=UID,
            generation=self.generation,
            created_ms=START,
            spec=self.spec,
            spec_error=self.spec_error,
            annotations=dict(self.annotations),
            deleting_since_ms=self.deleting_since,
            has_finalizer=self.finalizer,
        )

    # what the operator does

    def decide(self) -> Decision:
        return decide(self.object(), self.status, self.observe(), self.now, judge=self.judge)

    def reconcile(self, *, crash_after: int | None = None) -> Decision | None:
        """Look once and carry the decision out; die after ``crash_after`` writes. None when the object is gone."""
        if self.gone:
            return None
        self.writes_left = crash_after
        decision = self.decide()
        self.last = decision
        self._carry_out(decision)
        return decision

    def _carry_out(self, decision: Decision) -> None:
        for action in decision.first:
            assert isinstance(action, WriteRouting), "only a document is ever written before the status"
            self._write_document(action)
        if decision.status != self.status:
            self._spend()
            text = encode(decision.status)
            assert decode(RolloutStatus, text, source="status") == decision.status
            self.status_text = text
            self.status_writes += 1
            self.unattended = 0
        for action in decision.then:
            self._do(action)

    def _do(self, action: Action) -> None:
        if isinstance(action, WriteRouting):
            self._write_document(action)
        elif isinstance(action, SetFinalizer):
            self._spend()
            self.finalizer = action.present
            self.gone = self.deleting_since is not None and not action.present
        elif isinstance(action, DeletePod):
            self._spend()
            pod = self.pods.get(action.name)
            if pod is not None and pod.uid == action.uid:
                pod.terminating, pod.ready = True, False
                self.deleted_pods.append(action.name)
        elif isinstance(action, Emit):
            self.events.append((str(action.reason), action.message))
        else:
            assert self.ledger.get(action.seq, action.body) == action.body, f"two different entries with number {action.seq}"
            if self.ledger_up:
                self.ledger[action.seq] = action.body

    def _write_document(self, write: WriteRouting) -> None:
        self._spend()
        version = None if self.stored is None else str(self.stored.version)
        if version != write.resource_version:
            raise Crash("conflict: the document changed since the decision")
        owner = UID if self.stored is None or write.takeover else self.stored.owner
        number = 1 if self.stored is None else self.stored.version + 1
        self.stored = Stored(write.document.to_bytes(), number, owner)
        self.document_writes += 1
        if self.on_document is not None:
            self.on_document(write.document, "operator")

    def _spend(self) -> None:
        if self.writes_left is None:
            return
        if self.writes_left == 0:
            raise Crash("died before a write")
        self.writes_left -= 1

    # time

    def tick(self, ms: int = 2 * SECOND) -> None:
        """Let time pass, the pods follow, and look once."""
        self.now += ms
        self.follow()
        self.reconcile()

    def settle(self, limit: int = 60) -> None:
        """Look again and again, without time passing beyond milliseconds, until nothing changes any more."""
        for _ in range(limit):
            before = (self.status_text, self.stored.text if self.stored else b"", self.finalizer, len(self.ledger))
            self.now += 10
            self.follow()
            self.reconcile()
            if self.gone or before == (self.status_text, self.stored.text if self.stored else b"", self.finalizer, len(self.ledger)):
                return
        raise AssertionError(f"does not come to rest: {self.status.phase} {self.status.reason} {self.status.message}")

    def run(self, ms: int, *, every: int = 2 * SECOND) -> None:
        end = self.now + ms
        while self.now < end and not self.gone:
            self.tick(min(every, end - self.now))

    # short cuts

    def passing(self, *names: str) -> None:
        for name in names or ("psi", "sharpe", "latency", "errorRate"):
            self.verdicts[name] = Verdict.PASS

    def go_live(self, name: str = "v1") -> Bundle:
        """Bring the first model live."""
        found = self.publish(bundle(name))
        self.settle()
        assert self.status.phase == "Stable", self.status
        return found

    def reasons(self) -> list[str]:
        return [reason for reason, _ in self.events]

    def until(self, phase: str, *, limit_ms: int = 4 * HOUR, every: int = 10 * SECOND) -> None:
        """Look until the phase is reached."""
        end = self.now + limit_ms
        while self.status.phase != phase:
            assert self.now < end, f"{phase} was not reached: {self.status.phase} {self.status.reason} {self.status.message}"
            self.tick(every)

    def until_weight(self, weight: int, *, limit_ms: int = 4 * HOUR, every: int = 10 * SECOND) -> None:
        end = self.now + limit_ms
        while self.document.weight != weight:
            assert self.now < end, f"{weight} % was not reached: {self.status.phase} {self.status.reason} {self.status.message}"
            self.tick(every)
        self.settle()


def core_scope(evidence: Evidence, pair: Any) -> Any:
    """Return the walk's scope with another count of pairs."""
    return dataclasses.replace(evidence.walk, pair=pair)


def conditions(status: RolloutStatus) -> dict[str, tuple[str, str]]:
    """Return status and reason by type."""
    return {condition.type: (condition.status, condition.reason) for condition in status.conditions}
