"""What people ask for by annotation: parsed, bound to a candidate, done once, answered always."""

from __future__ import annotations

import pytest
from msgspec import structs
from rollout_world import HOUR, MINUTE, World, bundle, spec_of

from walkforward_core.bundle import Verdict
from walkforward_core.documents import encode
from walkforward_operator.rollout.actions import parse
from walkforward_operator.rollout.status import ActionOutcome

STRATEGY = {"shadow": {}, "phases": [{"weight": 5, "duration": "30m"}, {"weight": 100, "duration": "30m"}]}


@pytest.fixture
def world() -> World:
    """Return a world in which v2 is in the shadow of v1."""
    made = World(spec_of(strategy=STRATEGY))
    made.go_live()
    made.publish(bundle("v2"))
    made.settle()
    return made


def last(world: World) -> tuple[str, str]:
    action = world.status.actions[-1]
    return action.verb, action.outcome


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("abort it", "no JSON"),
        ("[1]", "no JSON object"),
        ('{"candidate":"v2"}', '"id" is missing'),
        ('{"id":"7","candidate":"' + "v" * 2000 + '"}', "at most 1024"),
    ],
)
def test_what_cannot_be_understood_is_refused_once_and_said(world: World, text: str, problem: str) -> None:
    world.annotations["walkforward.dev/abort"] = text
    world.settle()
    assert last(world) == ("abort", ActionOutcome.REFUSED)
    assert problem in world.status.actions[-1].message
    assert world.status.phase == "Shadow"
    world.run(MINUTE)
    assert len(world.status.actions) == 1
    assert world.reasons().count("ActionRefused") == 1


def test_a_flat_object_is_read_with_its_fields() -> None:
    asked = parse({"walkforward.dev/approve": '{"id":"a","candidate":"v2","phase":"100","by":"ann","reason":"fine"}', "other": "x"})
    request = asked["approve"]
    assert list(asked) == ["approve"]
    assert (request.id, request.candidate, request.phase, request.by, request.reason, request.problem) == (
        "a",
        "v2",
        "100",
        "ann",
        "fine",
        "",
    )


def test_abort_goes_first_and_quarantines(world: World) -> None:
    world.passing()
    world.until_weight(5)
    world.annotate("abort", id="1", candidate="v2", reason="looks wrong")
    decision = world.reconcile()
    assert decision is not None
    assert decision.first
    assert world.document.weight == 0
    assert world.status.rollback.by == "ann"
    assert world.status.rollback.reason == "Aborted"
    assert "looks wrong" in world.status.rollback.message
    assert last(world) == ("abort", ActionOutcome.DONE)
    assert [entry.version for entry in world.status.quarantine] == ["v2"]


@pytest.mark.parametrize("verb", ["approve", "promote", "retry"])
def test_what_opens_something_names_its_candidate(world: World, verb: str) -> None:
    world.annotate(verb, id="1")
    world.settle()
    assert last(world) == (verb, ActionOutcome.REFUSED)
    assert '"candidate" is missing' in world.status.actions[-1].message


def test_what_stops_something_may_mean_whatever_is_on_trial(world: World) -> None:
    world.annotate("pause", id="1")
    world.settle()
    assert world.status.phase == "Paused"
    world.annotate("abort", id="1")
    world.settle()
    assert world.status.reason == "Aborted"


def test_an_abort_that_found_nothing_does_not_strike_later(world: World) -> None:
    world.annotate("abort", id="1", candidate="v2")
    world.settle()
    world.annotate("abort", id="2")
    world.settle()
    assert last(world) == ("abort", ActionOutcome.IGNORED)
    world.publish(bundle("v3"))
    world.settle()
    assert world.status.phase == "Shadow"


@pytest.mark.parametrize(
    "trouble",
    [
        {"router_error": "forbidden"},
        {"ledger_up": False},
        {"ledger_known": False},
        {"evidence_full": True},
        {"spec_error": "strategy: nonsense"},
    ],
)
def test_abort_waits_for_nothing(world: World, trouble: dict[str, object]) -> None:
    world.passing()
    world.until_weight(5)
    for name, value in trouble.items():
        setattr(world, name, value)
    if world.spec_error:
        world.spec = None
    world.annotate("abort", id="1", candidate="v2")
    world.reconcile()
    assert world.document.weight == 0
    assert world.status.phase == "RollingBack"
    world.settle()
    assert world.status.rollback.verified_at is not None


def test_abort_of_another_candidate_is_ignored(world: World) -> None:
    world.annotate("abort", id="1", candidate="v9")
    world.settle()
    assert last(world) == ("abort", ActionOutcome.IGNORED)
    assert world.status.phase == "Shadow"


def test_an_action_never_runs_twice_even_if_it_stays(world: World) -> None:
    world.annotate("abort", id="1", candidate="v2")
    world.settle()
    world.annotate("retry", id="1", candidate="v2")
    world.settle()
    assert world.status.phase == "Shadow", "the abort that is still annotated was done already"
    assert [one.verb for one in world.status.actions] == ["abort", "retry"]
    assert world.status.handled == {"abort": "1", "retry": "1"}


def test_only_the_last_ten_actions_are_shown(world: World) -> None:
    for number in range(15):
        world.annotate("retry", id=str(number), candidate="v9")
        world.settle()
    assert [one.id for one in world.status.actions] == [str(number) for number in range(5, 15)]
    assert world.status.handled["retry"] == "14"


def test_retry_begins_anew_on_new_evidence_only(world: World) -> None:
    before = world.document.measure.plan
    world.verdicts["sharpe"] = Verdict.FAIL
    world.settle()
    assert world.status.phase == "RolledBack"
    world.verdicts["sharpe"] = Verdict.NO_DATA
    world.annotate("retry", id="1", candidate="v2")
    world.settle()
    assert world.status.phase == "Shadow"
    assert world.document.measure.plan != before, "evidence of the first walk is kept under another name"
    assert world.document.evidence_from == world.status.walk.first_generation


def test_pause_holds_the_weight_and_resume_goes_on(world: World) -> None:
    world.annotate("pause", id="1", candidate="v2", reason="payroll")
    world.passing()
    world.run(2 * HOUR, every=5 * MINUTE)
    assert world.status.phase == "Paused"
    assert "ann: payroll" in world.status.message
    assert world.document.weight == 0
    world.annotate("resume", id="1", candidate="v2")
    world.until_weight(5)
    assert last(world) == ("resume", ActionOutcome.DONE)


def test_an_abort_needs_no_resume(world: World) -> None:
    world.annotate("pause", id="1", candidate="v2")
    world.settle()
    world.verdicts["psi"] = Verdict.FAIL
    world.settle()
    assert world.status.reason == "PsiFailed"


def test_spec_paused_wins_over_resume(world: World) -> None:
    world.edit(paused=True)
    world.annotate("resume", id="1", candidate="v2")
    world.settle()
    assert last(world) == ("resume", ActionOutcome.REFUSED)
    assert world.status.phase == "Paused"


def test_promote_ends_the_time_but_asks_the_gates(world: World) -> None:
    world.passing()
    world.until_weight(5)
    world.verdicts["latency"] = Verdict.NO_DATA
    world.annotate("promote", id="1", candidate="v2", phase="100")
    world.settle()
    assert last(world) == ("promote", ActionOutcome.DONE)
    assert world.document.weight == 5
    assert world.status.phase == "Held"
    world.verdicts["latency"] = Verdict.PASS
    world.settle()
    assert world.document.weight == 100
    assert not world.status.walk.cut, "it ended the time of one step"


@pytest.mark.parametrize("phase", ["5", "25", "", "Bootstrap"])
def test_promote_names_the_weight_that_follows(world: World, phase: str) -> None:
    world.passing()
    world.until_weight(5)
    world.annotate("promote", id="1", candidate="v2", phase=phase)
    world.settle()
    assert last(world) == ("promote", ActionOutcome.IGNORED)


def test_promote_in_the_shadow_is_ignored(world: World) -> None:
    world.annotate("promote", id="1", candidate="v2", phase="5")
    world.settle()
    assert last(world) == ("promote", ActionOutcome.IGNORED)


def asking(world: World) -> None:
    world.edit(approval={"required": True, "expires": "3h"})
    world.passing()
    world.until("AwaitingApproval")


def test_approval_is_asked_before_the_first_weight_of_100(world: World) -> None:
    asking(world)
    assert world.document.weight == 5
    approval = world.status.approval
    assert (approval.candidate, approval.phase) == ("v2", "100")
    world.run(HOUR, every=5 * MINUTE)
    assert world.document.weight == 5
    world.annotate("approve", id="1", candidate="v2", phase="100")
    world.settle()
    assert world.document.weight == 100
    assert last(world) == ("approve", ActionOutcome.DONE)
    assert "Approved" in world.reasons()


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"candidate": "v1", "phase": "100"}, ActionOutcome.IGNORED),
        ({"candidate": "v2", "phase": "5"}, ActionOutcome.IGNORED),
        ({"candidate": "v2", "phase": "100", "by": ""}, ActionOutcome.REFUSED),
    ],
)
def test_an_approval_of_something_else_opens_nothing(world: World, fields: dict[str, str], outcome: ActionOutcome) -> None:
    asking(world)
    world.annotate("approve", id="1", **fields)
    world.settle()
    assert last(world) == ("approve", outcome)
    assert world.document.weight == 5


def test_an_approval_before_it_is_asked_for_is_not_kept(world: World) -> None:
    world.edit(approval={"required": True, "expires": "3h"})
    world.annotate("approve", id="1", candidate="v2", phase="100")
    world.settle()
    assert last(world) == ("approve", ActionOutcome.IGNORED)
    world.passing()
    world.until("AwaitingApproval")
    assert world.status.approval.by == ""


def test_approved_but_a_gate_no_longer_passes(world: World) -> None:
    asking(world)
    world.verdicts["psi"] = Verdict.NO_DATA
    world.annotate("approve", id="1", candidate="v2", phase="100")
    world.settle()
    assert world.document.weight == 5
    assert world.status.phase == "Held"
    world.passing()
    world.settle()
    assert world.document.weight == 100


def test_nobody_approves_in_time(world: World) -> None:
    asking(world)
    world.run(4 * HOUR, every=5 * MINUTE)
    world.settle()
    assert world.status.phase == "RolledBack"
    assert world.status.reason == "ApprovalExpired"
    world.annotate("approve", id="1", candidate="v2", phase="100")
    world.settle()
    assert last(world) == ("approve", ActionOutcome.EXPIRED)
    assert world.document.weight == 0


def test_the_approval_of_one_candidate_is_none_of_the_next(world: World) -> None:
    world.edit(onNewCandidate="Supersede")
    asking(world)
    world.annotate("approve", id="1", candidate="v2", phase="100")
    world.verdicts["psi"] = Verdict.NO_DATA
    world.settle()
    assert world.status.approval.by == "ann"
    world.publish(bundle("v3"))
    world.settle()
    world.passing()
    world.until("AwaitingApproval")
    assert world.status.approval.candidate == "v3"
    assert world.status.approval.by == ""


def test_an_approval_of_another_candidate_in_the_status_opens_nothing(world: World) -> None:
    asking(world)
    left = structs.replace(world.status.approval, candidate="v0", by="ann")
    world.status_text = encode(structs.replace(world.status, approval=left))
    world.run(10 * MINUTE, every=MINUTE)
    assert world.document.weight == 5
    assert (world.status.approval.candidate, world.status.approval.by) == ("v2", "")


def test_the_first_model_is_approved_as_bootstrap() -> None:
    world = World(spec_of(approval={"required": True}))
    world.publish(bundle("v1"))
    world.settle()
    assert world.status.phase == "AwaitingApproval"
    assert world.stored is None, "nothing is written before"
    world.annotate("approve", id="1", candidate="v1", phase="Bootstrap")
    world.settle()
    assert world.status.phase == "Stable"


def test_the_first_model_that_nobody_approves() -> None:
    world = World(spec_of(approval={"required": True, "expires": "1h"}))
    world.publish(bundle("v1"))
    world.run(2 * HOUR, every=10 * MINUTE)
    world.settle()
    assert world.status.phase == "RolledBack"
    assert world.stored is None
    assert world.status.reason == "ApprovalExpired"
