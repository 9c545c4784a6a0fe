"""The rollout engine in a world that edits, kills, lies and repeats itself; the rules that never break are checked at every write.

The model is small on purpose: it knows what was authorised (bootstrap, or a step at whose moment every required gate passed), who was
rejected, and nothing of how the engine works.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, event, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from rollout_world import DAY, HOUR, MINUTE, SECOND, Crash, World, bundle, spec_of

from walkforward_core.bundle import Horizon, Verdict
from walkforward_core.documents import digest
from walkforward_core.pods import ModelState
from walkforward_core.routing import Abort
from walkforward_operator.rollout.plan import freeze_at, plan_of, required
from walkforward_operator.rollout.turn import exposure

if TYPE_CHECKING:
    from walkforward_core.routing import RoutingDocument

GATES = ("psi", "sharpe", "latency", "errorRate")
NAMES = ("v2", "v3", "v4", "v2-again", "odd")
PHASES = ({"weight": 5, "duration": "30m"}, {"weight": 25, "duration": "30m"}, {"weight": 100, "duration": "30m"})
SHORT = ({"weight": 10, "duration": "20m"}, {"weight": 100, "duration": "20m"})


def made(name: str) -> Any:
    """Return a bundle by name: ``v2-again`` is the model of v2 trained again, ``odd`` answers another question."""
    if name == "odd":
        return bundle(name, horizon=Horizon(bars=1, ms=HOUR))
    return bundle(name, model="v2" if name == "v2-again" else "")


class RolloutMachine(RuleBasedStateMachine):
    """One ModelRollout, its operator that dies, and everybody else."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(spec_of(strategy={"shadow": {}, "phases": PHASES, "watch": {"duration": "2h"}}))
        self.world.on_document = self.check_write
        self.previous: RoutingDocument | None = None
        self.rejected: set[str] = set()
        self.latched: set[str] = set()
        self.generations: list[int] = []
        self.entered_ms = 0
        self.unattended_since_entry = 0

    # the rules, checked at every write of the document

    def check_write(self, document: RoutingDocument, writer: str) -> None:
        before, self.previous = self.previous, document
        if writer == "person":
            return
        world = self.world
        assert not self.generations or document.generation > self.generations[-1], "generations only rise"
        self.generations.append(document.generation)
        if document.weight > 0:
            assert document.exposure_not_after is not None, "exposure has an end"
        if document.weight > 0 or document.previous is not None:
            assert world.finalizer, "whoever deletes the rollout must not leave exposure behind"
        for one in self.digests(before, document):
            was, now = exposure(before, one), exposure(document, one)
            if now > was:
                self.check_rise(before, document, one, was, now)

    def digests(self, *documents: RoutingDocument | None) -> set[str]:
        return {
            ref.digest for document in documents if document is not None for ref in (document.stable, document.candidate) if ref is not None
        }

    def check_rise(self, before: RoutingDocument | None, document: RoutingDocument, trial: str, was: int, now: int) -> None:
        world, status = self.world, self.world.status
        if before is None or before.stable is None:
            assert document.candidate is None, "the first model has nobody beside it"
            return
        if before.previous is not None and before.previous.digest == trial:
            return  # the way back: stable serves again
        if status.walk is not None and status.walk.kind == "Bootstrap":
            return  # a first model that no pod has served yet makes way for a newer one
        assert before.candidate is not None, f"{was} to {now} %: nobody was on trial"
        if before.candidate.digest != trial:
            return  # what the candidate gives up, stable gets
        assert world.spec is not None
        plan, walk = plan_of(world.spec), status.walk
        assert walk is not None
        assert not world.spec.paused, "nothing rises while it is paused"
        assert walk.pause is None, "nothing rises while it is paused"
        assert plan.live, "a dry run exposes nothing"
        assert freeze_at(plan, world.now) is None
        assert world.deleting_since is None, "nothing rises while it is being deleted"
        assert walk.model.model not in self.rejected, f"{walk.model.version} was rejected"
        assert status.routing.pending is not None, "a rise is in the status before it is in the document"
        if document.candidate is None:
            assert was == 100, "promotion follows the weight of 100 only"
        else:
            weights = [0, *(step.weight for step in plan.steps)]
            assert weights.index(now) == weights.index(was) + 1, f"{was} to {now} % leaves out a step of {weights}"
        for name in required(plan, walk.step):
            verdict = world.verdicts.get(name, Verdict.NO_DATA)
            assert verdict is Verdict.PASS or (name == "sharpe" and walk.latched), f"{name} says {verdict}, and {was} rose to {now} %"
        if walk.step > 0 and not walk.cut:
            soak = world.now - self.entered_ms - self.unattended_since_entry
            assert soak >= plan.steps[walk.step - 1].duration_ms, f"{soak} ms of soak"
        if plan.approval_ms is not None and now == 100 and document.candidate is not None:
            assert status.approval is not None
            assert status.approval.by
            assert status.approval.candidate == walk.model.version
        self.entered_ms, self.unattended_since_entry = world.now, 0

    # the operator

    @rule(times=st.integers(1, 3))
    def look(self, times: int) -> None:
        for _ in range(times):
            self.guarded()

    @rule(after=st.integers(0, 3))
    def look_and_die(self, after: int) -> None:
        self.guarded(crash_after=after)

    @rule(ms=st.sampled_from([SECOND, 11 * SECOND, MINUTE, 10 * MINUTE]), times=st.integers(1, 8))
    def time_passes(self, ms: int, times: int) -> None:
        for _ in range(times):
            self.world.now += ms
            self.world.follow()
            self.guarded()

    @rule(ms=st.sampled_from([30 * SECOND, HOUR, 13 * HOUR, 15 * DAY]))
    def nobody_watches(self, ms: int) -> None:
        self.world.now += ms
        self.world.unattended += ms
        self.unattended_since_entry += ms
        self.world.follow()

    def guarded(self, crash_after: int | None = None) -> None:
        """Look once; afterwards, whatever happened in between, check what a look leaves behind."""
        world = self.world
        walk = world.status.walk
        try:
            world.reconcile(crash_after=crash_after)
        except Crash:
            return
        self.rejected = {entry.model for entry in world.status.quarantine}
        self.check_look()
        if walk is None or world.gone or world.status.walk is None or world.spec_error:
            return
        failing = [name for name in GATES if world.verdicts.get(name) is Verdict.FAIL]
        same = world.status.walk.model == walk.model and world.status.routing.pending is None
        if failing and same and walk.kind == "Canary" and world.readable and world.document.measure is not None:
            raise AssertionError(f"{failing} failed and {walk.model.version} is still on trial: {world.status.phase} {world.status.reason}")

    def check_look(self) -> None:
        """Whoever looked to the end leaves the document as the status means it."""
        world, routing = self.world, self.world.status.routing
        if world.gone or world.deleting_since is not None or routing.applied is None:
            return
        assert world.stored is not None
        meant = routing.pending if routing.pending is not None else routing.applied
        assert digest(world.stored.text) == meant.digest, "the document is what was written last"
        if world.status.walk is None and routing.pending is None:
            assert world.document.weight == 0, "with nothing on trial nothing is exposed"

    # everybody else

    @initialize(
        steps=st.integers(0, 5),
        approval=st.sampled_from([{"required": False}, {"required": True, "expires": "5h"}]),
        supersede=st.sampled_from(["Finish", "Supersede"]),
    )
    def somewhere(self, steps: int, approval: dict[str, Any], supersede: str) -> None:
        """Begin anywhere: before the first model, in the shadow, at a weight, in the watch."""
        self.world.publish(bundle("v1"))
        self.time_passes(ms=SECOND, times=4)
        self.world.edit(approval=approval, onNewCandidate=supersede)
        if steps:
            self.it_goes_on(steps=steps, withheld="", approves=True, dies=0)

    @rule(name=st.sampled_from(NAMES))
    def a_bundle_is_published(self, name: str) -> None:
        self.world.publish(made(name))

    @rule()
    def the_source_goes_back(self) -> None:
        self.world.publish(bundle("v1"))

    @rule(
        steps=st.integers(1, 4),
        withheld=st.sampled_from(["", "", *GATES]),
        approves=st.booleans(),
        dies=st.sampled_from([0, 0, 2, 3, 5]),
    )
    def it_goes_on(self, *, steps: int, withheld: str, approves: bool, dies: int) -> None:
        """Let everything pass but what is withheld, and let the operator die at every so many-th look, after some of its writes."""
        world = self.world
        if world.status.walk is None:
            tried = {one.version for one in world.status.history}
            world.publish(made(next(name for name in ("v2", "v3", "v4", "v5", "v9") if name not in tried or name == "v9")))
        world.passing()
        if withheld:
            world.verdicts[withheld] = Verdict.NO_DATA
        looks = 0
        for _ in range(steps):
            weight, phase = world.status.weight, world.status.phase
            for _ in range(10):
                approval = world.status.approval
                if approves and approval is not None and not approval.by:
                    world.annotate("approve", id=f"well-{world.now}", candidate=approval.candidate, phase=approval.phase)
                world.now += 5 * MINUTE
                world.follow()
                for _ in range(3):
                    looks += 1
                    if dies and looks % dies == 0:
                        self.guarded(crash_after=looks // dies % 3)
                        known, world.verdicts = world.verdicts, {}
                        self.guarded()  # nobody knows anything for a moment: what was not written may not be written now
                        world.verdicts = known
                    self.guarded()
                if (world.status.weight, world.status.phase) != (weight, phase):
                    break
        event(f"{world.status.phase} {world.status.weight} %")

    @rule(gate=st.sampled_from(GATES), verdict=st.sampled_from(list(Verdict)))
    def a_gate_changes_its_mind(self, gate: str, verdict: Verdict) -> None:
        self.world.verdicts[gate] = verdict

    @rule(gate=st.sampled_from(GATES), steps=st.integers(0, 3))
    def a_gate_fails(self, gate: str, steps: int) -> None:
        if steps:
            self.it_goes_on(steps=steps, withheld="", approves=True, dies=0)
        self.world.verdicts[gate] = Verdict.FAIL
        self.guarded()
        self.guarded()

    @rule()
    def all_gates_pass(self) -> None:
        self.world.passing()

    @precondition(lambda self: self.world.readable)
    @rule(weight=st.sampled_from([0, 1, 25, 100]))
    def a_person_writes_a_weight(self, weight: int) -> None:
        self.world.rewrite(weight=weight)

    @precondition(lambda self: self.world.readable and self.world.status.walk is not None)
    @rule()
    def a_person_writes_an_abort(self) -> None:
        walk = self.world.status.walk
        assert walk is not None
        self.world.rewrite(weight=0, abort=Abort(candidate=walk.model.digest, reason="Because", at=""))

    @precondition(lambda self: self.world.stored is not None and self.world.status.routing.applied is not None)
    @rule()
    def a_person_deletes_the_document(self) -> None:
        self.world.stored = None
        self.only_pods_know()

    @precondition(lambda self: self.world.stored is not None and self.world.status.routing.applied is not None)
    @rule()
    def a_person_breaks_the_document(self) -> None:
        assert self.world.stored is not None
        self.world.stored.text = b"{}"
        self.world.stored.version += 1
        self.only_pods_know()

    def only_pods_know(self) -> None:
        """Whatever the document said last is lost; what is in effect is what the pods have."""
        walk, self.generations = self.world.status.walk, []
        held = [pod.document for pod in self.world.pods.values() if pod.document is not None]
        if walk is not None and walk.kind == "Canary" and held:
            self.previous = max(held, key=lambda one: exposure(one, walk.model.digest))

    @rule(verb=st.sampled_from(["abort", "approve", "promote", "retry", "pause", "resume"]), number=st.integers(0, 40), own=st.booleans())
    def a_person_asks(self, verb: str, number: int, own: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
        walk, quarantine = self.world.status.walk, self.world.status.quarantine
        version = walk.model.version if walk is not None and own else quarantine[-1].version if quarantine else "v9"
        phase = {"approve": "100", "promote": "25"}.get(verb, "")
        self.world.annotate(verb, id=f"{verb}-{number}", candidate=version, phase=phase)

    @rule(
        change=st.sampled_from(
            [
                {"paused": True},
                {"paused": False},
                {"mode": "DryRun"},
                {"mode": "Live"},
                {"onNewCandidate": "Supersede"},
                {"onNewCandidate": "Finish"},
                {"approval": {"required": True, "expires": "2h"}},
                {"approval": {"required": False}},
                {"strategy": {"shadow": {}, "phases": SHORT, "watch": {"duration": "2h"}}},
                {"strategy": {"shadow": {}, "phases": PHASES, "watch": {"duration": "2h"}, "maxHold": "3h"}},
            ]
        )
    )
    def the_spec_is_edited(self, change: dict[str, Any]) -> None:
        self.world.edit(**change)

    @rule()
    def a_freeze_begins(self) -> None:
        begin, end = self.world.now // 1000, (self.world.now + HOUR) // 1000
        freezes = [{"from": _instant(begin), "to": _instant(end)}]
        self.world.edit(strategy={"shadow": {}, "phases": PHASES, "watch": {"duration": "2h"}, "freezes": freezes})

    @rule(count=st.integers(0, 4))
    def the_target_is_scaled(self, count: int) -> None:
        self.world.scale(count)

    @rule()
    def pods_follow_again(self) -> None:
        for pod in self.world.pods.values():
            pod.follows, pod.answers, pod.crash_looping = True, True, False
            pod.states.clear()
        self.world.replace_pods()

    @precondition(lambda self: self.world.pods)
    @rule(data=st.data(), trouble=st.sampled_from(["stuck", "silent", "refuses", "tripped", "loops"]))
    def a_pod_is_in_trouble(self, data: st.DataObject, trouble: str) -> None:
        pod = data.draw(st.sampled_from(list(self.world.pods.values())))
        walk = self.world.status.walk
        pod.follows = trouble != "stuck"
        pod.answers = trouble != "silent"
        pod.crash_looping = trouble == "loops"
        if walk is not None and trouble in ("refuses", "tripped"):
            pod.states[walk.model.version] = ModelState.REFUSED if trouble == "refuses" else ModelState.TRIPPED

    @rule(up=st.booleans())
    def the_ledger(self, up: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
        self.world.ledger_up = up

    @rule(known=st.booleans())
    def the_ledger_was_read(self, known: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
        self.world.ledger_known = known

    @rule(full=st.booleans())
    def the_evidence_is_full(self, full: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
        self.world.evidence_full = full

    # what holds at every moment

    @invariant()
    def the_rejected_are_not_exposed_by_the_operator(self) -> None:
        status, applied = self.world.status, self.world.status.routing.applied
        if applied is None or status.walk is not None:
            return
        assert applied.weight == 0, "with nothing on trial nothing is exposed"

    @invariant()
    def no_action_ran_twice(self) -> None:
        for verb in {one.verb for one in self.world.status.actions}:
            ids = [one.id for one in self.world.status.actions if one.verb == verb]
            assert all(one != other for one, other in pairwise(ids)), f"{verb} twice: {ids}"

    @invariant()
    def a_rejected_model_is_not_on_trial(self) -> None:
        status = self.world.status
        if status.walk is not None:
            assert (status.walk.model.model, status.walk.model.decision) not in {(one.model, one.decision) for one in status.quarantine}

    def teardown(self) -> None:
        """In the end it comes to rest: calm, then idle, then deleted."""
        world = self.world
        self.pods_follow_again()
        world.scale(max(2, len(world.pods)))
        world.follow()
        world.ledger_up = world.ledger_known = True
        world.evidence_full = False
        world.annotations.clear()
        world.edit(paused=False, mode="Live", approval={"required": False})
        for gate in GATES:
            world.verdicts[gate] = Verdict.PASS
        for _ in range(400):
            world.now += 5 * MINUTE
            world.replace_pods()
            walk = world.status.walk
            if walk is not None and walk.pause is not None:
                world.annotate("resume", id=f"at-last-{world.now}", candidate=walk.model.version)
            self.guarded()
            if world.status.phase in ("Stable", "RolledBack"):
                world.settle()
                if world.status.phase in ("Stable", "RolledBack") and world.status.walk is None:
                    break
        assert world.status.phase in ("Stable", "RolledBack"), f"{world.status.phase} {world.status.reason} {world.status.message}"
        writes = world.status_writes, world.document_writes
        for _ in range(5):
            world.tick(MINUTE)
        assert (world.status_writes, world.document_writes) == writes, "an idle rollout is not written"
        self.delete()

    def delete(self) -> None:
        world = self.world
        world.deleting_since = world.now
        if not world.finalizer:
            return
        while not world.gone:
            world.now += SECOND
            world.follow()
            self.guarded()
            assert world.now < world.deleting_since + MINUTE, "deletion ends within a minute"


def _instant(seconds: int) -> str:
    from walkforward_operator.rollout.clock import stamp

    return stamp(seconds * 1000)


TestRolloutModel = RolloutMachine.TestCase
TestRolloutModel.settings = settings(
    max_examples=70,
    stateful_step_count=25,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
)
