"""Which model is on trial: first ones, newer ones, the same one again, rejected ones, and a target that has an owner already."""

from __future__ import annotations

import pytest
from msgspec import structs
from rollout_world import HOUR, MINUTE, UID, Stored, World, bundle, conditions, spec_of

from walkforward_core.bundle import DecisionKind, Horizon, Verdict
from walkforward_core.documents import encode
from walkforward_core.pods import ModelState
from walkforward_core.routing import RolloutRef, RoutingDocument, WithoutModel, salt_for
from walkforward_operator.rollout.model import Source

STRATEGY = {"shadow": {}, "phases": [{"weight": 5, "duration": "30m"}, {"weight": 100, "duration": "30m"}], "watch": {"duration": "1h"}}
PINNED = {"retrainRef": None, "bundle": {"uri": "s3://models/fx/v1/", "digest": "sha256:" + "0" * 64}}


@pytest.fixture
def world() -> World:
    """Return a world in which v1 is live."""
    made = World(spec_of(strategy=STRATEGY))
    made.go_live()
    return made


def walking(world: World, name: str = "v2", weight: int = 0) -> None:
    world.publish(bundle(name))
    world.settle()
    if weight:
        world.passing()
        world.until_weight(weight)


# the first model


def test_nothing_published_yet() -> None:
    world = World()
    world.settle()
    assert (world.status.phase, world.status.reason) == ("Pending", "NoBundle")
    assert world.status.observed_generation == 1
    assert conditions(world.status)["Reconciling"] == ("True", "NoBundle")
    assert world.stored is None


def test_the_first_model_is_live_once_a_pod_serves_it() -> None:
    world = World(pods=3)
    for pod in world.pods.values():
        pod.ready = False  # no pod is ready without a model
        pod.states["v1"] = ModelState.LOADING
    world.publish(bundle("v1"))
    world.settle()
    assert world.status.phase == "Bootstrapping"
    assert world.document.stable.version == "v1"
    assert world.document.without_model is WithoutModel.ALLOW
    next(iter(world.pods.values())).states.clear()
    world.settle()
    assert world.status.phase == "Stable", "one pod suffices"
    assert conditions(world.status)["Ready"] == ("True", "Bootstrapped")


def test_a_first_model_that_the_pods_refuse_leaves_its_own_policy() -> None:
    world = World()
    for pod in world.pods.values():
        pod.states["v1"] = ModelState.REFUSED
    world.publish(bundle("v1"))
    world.settle()
    assert world.document.stable is None
    assert world.document.without_model is WithoutModel.ALLOW
    assert world.status.phase == "RolledBack"
    assert world.status.reason == "CandidateCrashed"
    assert conditions(world.status)["Stalled"][0] == "True", "nothing serves"
    world.publish(bundle("v2"))
    world.settle()
    assert world.status.phase == "Stable"
    assert world.document.stable.version == "v2"


def test_a_newer_bundle_takes_the_place_of_a_first_model_that_is_not_live_yet() -> None:
    world = World(pods=0)
    world.publish(bundle("v1"))
    world.settle()
    assert world.document.stable.version == "v1"
    world.publish(bundle("v2"))
    world.settle()
    assert world.document.stable.version == "v2"
    assert [one.outcome for one in world.status.history] == ["Superseded"]


def test_a_dry_run_exposes_nothing_not_even_a_first_model() -> None:
    world = World(spec_of(mode="DryRun"))
    world.publish(bundle("v1"))
    world.settle()
    assert (world.status.phase, world.status.reason) == ("Pending", "DryRunNeedsStable")
    assert world.stored is None


def test_a_first_model_below_the_gate_on_its_manifest_never_goes_live() -> None:
    world = World(spec_of(gates={"psi": {}, "offlineAuc": {"min": 0.6}}))
    world.verdicts["offlineAuc"] = Verdict.FAIL
    world.publish(bundle("v1"))
    world.settle()
    assert world.status.phase == "RolledBack"
    assert world.status.reason == "OfflineAucFailed"
    assert world.stored is None


def test_a_first_model_whose_manifest_shows_nothing_never_goes_live() -> None:
    world = World(spec_of(gates={"psi": {}, "offlineAuc": {"min": 0.6}}))
    world.verdicts["offlineAuc"] = Verdict.NO_DATA
    world.publish(bundle("v1"))
    world.settle()
    assert (world.status.phase, world.status.reason) == ("Pending", "GatesWait")
    assert world.stored is None
    world.verdicts["offlineAuc"] = Verdict.PASS
    world.settle()
    assert world.document.stable.version == "v1"


def test_the_next_first_model_waits_until_the_refused_one_is_gone_from_every_pod() -> None:
    world = World()
    for pod in world.pods.values():
        pod.states["v1"] = ModelState.REFUSED
    world.publish(bundle("v1"))
    world.settle(limit=60)
    world.status_text = encode(structs.replace(world.status, rollback=structs.replace(world.status.rollback, verified_at=None)))
    slow = next(iter(world.pods.values()))
    slow.applied = None
    slow.follows = False
    world.publish(bundle("v2"))
    world.tick(10)
    assert world.status.walk is None
    assert world.document.stable is None
    slow.follows = True
    world.settle()
    assert world.document.stable.version == "v2"


def test_a_rejected_first_model_does_not_push_aside_the_one_that_is_asked_for() -> None:
    world = World(spec_of(approval={"required": True}))
    rejected = bundle("v1")
    world.publish(rejected)
    world.settle()
    world.annotate("abort", id="1")
    world.settle()
    world.publish(bundle("v2"))
    world.settle()
    assert world.status.approval.candidate == "v2"
    world.publish(rejected)
    world.annotate("approve", id="2", candidate="v2", phase="Bootstrap")
    world.settle()
    assert world.document.stable.version == "v2"


# a walk begins


def test_the_document_of_a_walk(world: World) -> None:
    before = world.document.generation
    candidate = world.publish(bundle("v2"))
    world.reconcile()
    document = world.document
    assert document.generation == before + 1
    assert document.candidate == candidate.ref
    assert (document.weight, document.shadow, document.exposure_not_after) == (0, True, None)
    assert document.salt == salt_for(UID, candidate.ref.digest)
    assert document.evidence_from == document.generation
    assert document.prove_on == "uid-1", "the pod that has served longest"
    measure = document.measure
    assert (measure.base_ms, measure.bar_ms, measure.round_trip) == (5 * HOUR, HOUR, 0.0002)
    assert (measure.latency_ms, measure.slice_ms) == (80, 10_000)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (bundle("v2", horizon=Horizon(bars=1, ms=HOUR)), "horizon"),
        (bundle("v2", kind=DecisionKind.SIGN), "decision"),
    ],
)
def test_what_cannot_be_compared_is_stalled_before_the_shadow(world: World, other: object, said: str) -> None:
    writes = world.document_writes
    world.publish(other)  # type: ignore[arg-type]
    world.settle()
    assert world.document_writes == writes
    assert conditions(world.status)["Stalled"] == ("True", "Incomparable")
    assert said in world.status.message


def test_no_walk_without_a_ready_pod_or_beside_a_crash_loop(world: World) -> None:
    world.scale(0)
    world.publish(bundle("v2"))
    world.settle()
    assert (world.status.phase, world.status.reason) == ("Stable", "WaitingForPods")
    world.scale(2)
    next(iter(world.pods.values())).crash_looping = True
    world.settle()
    assert world.status.reason == "ServerCrashLooping"
    next(iter(world.pods.values())).crash_looping = False
    world.settle()
    assert world.status.phase == "Shadow"


def test_the_manifest_of_stable_cannot_be_read(world: World) -> None:
    world.bundles.clear()
    world.publish(bundle("v2"))
    world.settle()
    assert (world.status.phase, world.status.reason) == ("Stable", "BundleUnreadable")
    assert world.last.requeue_after_ms == 30_000


def test_nothing_begins_while_it_is_paused(world: World) -> None:
    world.edit(paused=True)
    world.publish(bundle("v2"))
    world.settle()
    assert (world.status.phase, world.status.reason) == ("Stable", "Paused")
    assert world.status.waiting.version == "v2"


def test_a_source_that_is_away_changes_nothing_for_what_serves(world: World) -> None:
    world.source = Source(reason="SourceUnavailable", message="ModelRetrain fx is gone")
    world.settle()
    assert world.status.phase == "Stable"
    assert conditions(world.status)["Ready"][0] == "True"
    assert conditions(world.status)["SourceUnavailable"][0] == "True"
    walking(world, weight=5)
    world.source = Source(reason="SourceUnavailable", message="ModelRetrain fx is gone")
    world.until_weight(100)


def test_the_same_model_again_is_no_change(world: World) -> None:
    writes = world.document_writes
    world.publish(bundle("v1-again", model="v1"))
    world.settle()
    assert world.document_writes == writes
    assert world.status.reason == "NoChange"


def test_the_same_model_with_another_threshold_is_another_one(world: World) -> None:
    world.publish(bundle("v1-bold", model="v1", threshold=0.4))
    world.settle()
    assert world.status.phase == "Shadow"


# a newer one beside it


def test_finish_lets_the_walk_end_and_keeps_only_the_newest(world: World) -> None:
    walking(world, weight=5)
    world.publish(bundle("v3"))
    world.settle()
    assert world.status.waiting.version == "v3"
    world.publish(bundle("v4"))
    world.settle()
    assert world.status.waiting.version == "v4"
    assert world.document.candidate.version == "v2"
    world.until("Watching")
    world.run(HOUR, every=5 * MINUTE)
    world.settle()
    assert world.document.stable.version in ("v2", "v4")
    assert [one.version for one in world.status.history][-2:] == ["v2", "v1"]
    assert "v3" not in [one.version for one in world.status.history]


def test_supersede_goes_back_to_0_and_begins_with_the_newer_one(world: World) -> None:
    world.edit(onNewCandidate="Supersede")
    walking(world, weight=5)
    world.verdicts.clear()
    world.publish(bundle("v3"))
    world.settle()
    assert (world.document.candidate.version, world.document.weight) == ("v3", 0)
    assert world.status.phase == "Shadow"
    assert next(one.outcome for one in world.status.history) == "Superseded"
    assert world.status.quarantine == ()
    assert not world.finalizer


def test_supersede_in_the_watch_keeps_what_was_promoted(world: World) -> None:
    world.edit(onNewCandidate="Supersede")
    walking(world)
    world.passing()
    world.until("Watching")
    world.verdicts.clear()
    world.publish(bundle("v3"))
    world.settle()
    assert world.document.stable.version == "v2"
    assert world.document.candidate.version == "v3"
    assert world.document.previous is None


def test_a_newer_one_that_cannot_be_compared_does_not_supersede(world: World) -> None:
    world.edit(onNewCandidate="Supersede")
    walking(world, weight=5)
    world.publish(bundle("odd", horizon=Horizon(bars=1, ms=HOUR)))
    world.settle()
    assert world.document.candidate.version == "v2"


@pytest.mark.parametrize("weight", [0, 5, 100])
def test_back_to_stable_cancels_without_quarantine(world: World, weight: int) -> None:
    walking(world, weight=weight)
    world.publish(bundle("v1"))
    world.settle()
    assert world.document.candidate is None
    assert world.document.weight == 0
    assert world.document.stable.version == "v1"
    assert world.status.phase == "Stable"
    assert world.status.quarantine == ()
    assert next(one.outcome for one in world.status.history) == "Cancelled"
    world.verdicts.clear()
    walking(world, "v2")
    assert world.status.phase == "Shadow", "it may be tried again"


def test_back_to_the_previous_model_in_the_watch(world: World) -> None:
    walking(world)
    world.passing()
    world.until("Watching")
    world.publish(bundle("v1"))
    world.settle()
    assert world.document.stable.version == "v1"
    assert world.document.previous is None
    assert world.status.phase == "Stable"


def test_a_rejected_model_trained_again_is_still_rejected(world: World) -> None:
    walking(world)
    world.verdicts["psi"] = Verdict.FAIL
    world.settle()
    world.verdicts.clear()
    world.publish(bundle("v2-again", model="v2"))
    world.settle()
    assert world.status.phase == "RolledBack"
    walking(world, "v3")
    assert world.status.phase == "Shadow"
    assert [one.version for one in world.status.quarantine] == ["v2"]


def test_a_rejected_model_with_another_threshold_may_be_walked(world: World) -> None:
    walking(world)
    world.verdicts["psi"] = Verdict.FAIL
    world.settle()
    assert world.status.phase == "RolledBack"
    world.verdicts.clear()
    walking_again = bundle("v3", model="v2", threshold=0.6)
    world.publish(walking_again)
    world.settle()
    assert world.document.candidate == walking_again.ref


def test_what_the_next_candidate_waits_for_is_said_although_the_last_was_rejected(world: World) -> None:
    walking(world)
    world.verdicts["psi"] = Verdict.FAIL
    world.settle()
    world.scale(0)
    world.publish(bundle("v3"))
    world.settle()
    assert (world.status.phase, world.status.reason) == ("RolledBack", "WaitingForPods")
    assert conditions(world.status)["Ready"] == ("True", "CandidateRejected")


# pinned


def test_a_pinned_bundle_that_is_edited_supersedes_although_finish_is_asked() -> None:
    world = World(spec_of(strategy=STRATEGY, source={"bundle": PINNED["bundle"]}))
    world.go_live()
    walking(world, weight=5)
    world.verdicts.clear()
    world.publish(bundle("v3"))
    world.settle()
    assert (world.document.candidate.version, world.document.weight) == ("v3", 0)


def test_a_pinned_bundle_that_is_rolled_back_is_stalled_until_the_pin_moves() -> None:
    world = World(spec_of(strategy=STRATEGY, source={"bundle": PINNED["bundle"]}))
    world.go_live()
    walking(world, weight=5)
    world.verdicts["latency"] = Verdict.FAIL
    world.settle()
    assert world.status.phase == "RolledBack"
    assert conditions(world.status)["Stalled"] == ("True", "CandidateRejected")
    assert conditions(world.status)["Ready"][0] == "False"
    world.publish(bundle("v1"))
    world.settle()
    assert world.status.phase == "Stable"
    assert "Stalled" not in conditions(world.status)


# edits of the plan


@pytest.mark.parametrize(
    "change",
    [
        {"gates": {"psi": {"max": 0.4}}},
        {"strategy": {**STRATEGY, "shadow": {"minRequests": 500}}},
        {"strategy": {**STRATEGY, "phases": [{"weight": 10, "duration": "30m"}, {"weight": 100, "duration": "30m"}]}},
        {"splitBy": "symbol"},
        {"outcomes": {"source": "Price"}},
    ],
)
def test_an_edit_of_the_plan_begins_anew_and_says_so(world: World, change: dict[str, object]) -> None:
    walking(world, weight=5)
    world.verdicts.clear()
    plan = world.document.measure.plan
    world.edit(**change)
    world.settle()
    assert (world.document.candidate.version, world.document.weight) == ("v2", 0)
    assert world.document.measure.plan != plan
    assert "PlanChanged" in world.reasons()
    assert next(one.outcome for one in world.status.history) == "Restarted"
    assert world.document.split_by == world.spec.split_by


@pytest.mark.parametrize(
    "change",
    [
        {"approval": {"required": True}},
        {"strategy": {**STRATEGY, "maxHold": "9h"}},
        {"strategy": {**STRATEGY, "watch": {"duration": "5h"}}},
        {"strategy": {**STRATEGY, "window": {"calendar": "24/7", "when": "Open"}}},
        {"historyLimit": 3},
        {"onNewCandidate": "Supersede"},
    ],
)
def test_an_edit_of_anything_else_takes_effect_in_place(world: World, change: dict[str, object]) -> None:
    walking(world, weight=5)
    world.edit(**change)
    world.settle()
    assert world.document.weight == 5
    assert world.status.walk.step == 1


def test_an_edit_of_the_plan_does_not_touch_the_watch(world: World) -> None:
    walking(world)
    world.passing()
    world.until("Watching")
    world.edit(gates={"psi": {"max": 0.4}})
    world.settle()
    assert world.status.phase == "Watching"


# dry run


def test_a_dry_run_says_what_would_have_happened(world: World) -> None:
    world.edit(mode="DryRun")
    walking(world)
    world.passing()
    world.settle()
    world.run(3 * 24 * HOUR, every=HOUR)
    assert world.document.weight == 0
    assert world.status.phase == "Shadow"
    assert world.status.reason == "WouldPromote"
    assert conditions(world.status)["WouldPromote"][0] == "True"
    assert world.reasons().count("WouldPromote") == 1
    world.edit(mode="Live")
    world.until_weight(5)


def test_a_dry_run_that_has_its_answer_makes_way_for_the_next(world: World) -> None:
    world.edit(mode="DryRun")
    walking(world)
    world.passing()
    world.settle()
    world.verdicts.clear()
    walking(world, "v3")
    assert world.document.candidate.version == "v3"


def test_live_to_dry_run_ends_exposure_at_once(world: World) -> None:
    walking(world, weight=5)
    world.edit(mode="DryRun")
    world.settle()
    assert world.document.weight == 0
    assert world.document.candidate.version == "v2"
    assert world.document.exposure_not_after is None
    assert world.status.phase == "Shadow"
    assert not world.finalizer


# one rollout per target


def foreign(owner: str, **fields: object) -> Stored:
    document = RoutingDocument(
        generation=41,
        rollout=RolloutRef(namespace="prod", name="other", uid=owner),
        stable=bundle("v0").ref,
        candidate=bundle("v0b").ref,
        weight=25,
        shadow=True,
        exposure_not_after="2030-01-01T00:00:00Z",
    )
    return Stored(document.to_bytes(), 7, owner)


def test_a_second_rollout_is_refused_with_the_name_of_the_first() -> None:
    world = World()
    world.living_owners["other-uid"] = "other"
    world.stored = foreign("other-uid")
    world.publish(bundle("v1"))
    world.settle()
    assert world.document_writes == 0
    assert "other" in world.status.message
    assert conditions(world.status)["Stalled"] == ("True", "TargetLocked")
    world.annotate("abort", id="1", candidate="v1")
    world.deleting_since = world.now
    world.settle()
    assert world.document_writes == 0, "nor does its deletion touch what is not its own"


def test_what_a_rollout_that_is_gone_left_is_adopted_in_one_write() -> None:
    world = World()
    world.stored = foreign("other-uid")
    world.publish(bundle("v0"))
    world.bundles[bundle("v0b").ref.digest] = bundle("v0b")
    world.reconcile()
    assert world.document.generation == 42
    assert (world.document.weight, world.document.candidate, world.document.stable.version) == (0, None, "v0")
    assert world.stored.owner == UID
    world.settle()
    assert world.status.phase == "Stable"
    assert world.status.stable.version == "v0"
    assert "TargetTakenOver" in world.reasons()
    walking(world, "v1")
    assert world.status.phase == "Shadow", "the newest bundle is walked against what was found"


def test_what_cannot_be_read_is_not_overwritten() -> None:
    world = World()
    world.stored = Stored(b"{", 1, "")
    world.publish(bundle("v1"))
    world.settle()
    assert world.stored.text == b"{"
    assert conditions(world.status)["Stalled"] == ("True", "RoutingUnreadable")


def test_a_status_that_was_lost_is_found_again_in_the_document(world: World) -> None:
    walking(world, weight=5)
    world.status_text = b'{"observedGeneration":-1}'
    world.verdicts.clear()
    world.settle()
    assert world.document.stable.version == "v1"
    assert world.document.weight == 0
    assert world.status.phase == "Shadow"


def test_an_invalid_spec_stalls_and_changes_nothing(world: World) -> None:
    walking(world, weight=5)
    spec, world.spec, world.spec_error = world.spec, None, "strategy.phases: unknown"
    world.settle()
    assert world.document.weight == 5
    assert conditions(world.status)["Stalled"] == ("True", "InvalidSpec")
    world.spec, world.spec_error = spec, ""
    world.until_weight(100)
