"""Time: holds, approvals and exposure end; what nobody watched is no soak; a pause stops some clocks and not others."""

from __future__ import annotations

import pytest
from rollout_world import DAY, HOUR, MINUTE, SECOND, World, bundle, spec_of

from walkforward_core import gates as core
from walkforward_core.bundle import Verdict
from walkforward_operator.rollout.clock import millis, stamp
from walkforward_operator.rollout.verify import soaked

PHASES = [{"weight": 5, "duration": "30m"}, {"weight": 100, "duration": "30m"}]


def at_five(**fields: object) -> World:
    """Return a world with v2 at 5 %, every gate passing."""
    strategy = {"shadow": {}, "phases": PHASES, **fields.pop("strategy", {})}  # type: ignore[dict-item]
    world = World(spec_of(strategy=strategy))
    world.go_live()
    world.edit(**fields)
    world.publish(bundle("v2"))
    world.passing()
    world.until_weight(5)
    world.settle()
    return world


def end_of_exposure(world: World) -> int:
    return millis(world.document.exposure_not_after)


def test_exposure_ends_after_duration_and_hold() -> None:
    world = at_five(strategy={"maxHold": "2h"})
    begin = millis(world.status.walk.step_at)
    assert end_of_exposure(world) == begin + 30 * MINUTE + 2 * HOUR
    assert millis(world.status.walk.deadline) == begin + 30 * MINUTE + 2 * HOUR


def test_exposure_ends_later_when_the_next_step_asks() -> None:
    world = at_five(strategy={"maxHold": "2h"}, approval={"required": True, "expires": "5h"})
    assert end_of_exposure(world) == millis(world.status.walk.step_at) + 30 * MINUTE + 7 * HOUR


def test_no_verdict_within_the_hold_is_the_end() -> None:
    world = at_five(strategy={"maxHold": "2h"})
    world.verdicts["psi"] = Verdict.NO_DATA
    world.run(40 * MINUTE, every=MINUTE)
    assert world.status.phase == "Held"
    assert world.status.reason == "GatesWait"
    assert "psi" in world.status.message
    assert world.status.summary.held
    world.run(2 * HOUR, every=MINUTE)
    world.settle()
    assert world.status.phase == "RolledBack"
    assert world.status.reason == "HoldExpired"
    assert "psi" in world.status.message
    assert world.status.quarantine


def test_a_hold_never_promotes_and_never_aborts_before() -> None:
    world = at_five(strategy={"maxHold": "20h"})
    world.verdicts["psi"] = Verdict.NO_DATA
    world.run(20 * HOUR, every=10 * MINUTE)
    assert world.document.weight == 5
    assert world.status.phase == "Held"


def test_an_edit_of_max_hold_takes_effect_in_place() -> None:
    world = at_five(strategy={"maxHold": "2h"})
    generation = world.document.generation
    world.edit(strategy={"shadow": {}, "phases": PHASES, "maxHold": "6h"})
    world.settle()
    assert world.status.walk.step == 1
    assert end_of_exposure(world) == millis(world.status.walk.step_at) + 30 * MINUTE + 6 * HOUR
    assert world.document.generation == generation + 1, "a new generation, the same step"
    assert world.status.walk.first_generation == generation


def test_nobody_watched_is_no_soak_and_moves_the_deadlines() -> None:
    world = at_five(strategy={"maxHold": "2h"})
    world.run(10 * MINUTE)
    soak, deadline = soaked(world.status.walk, world.now), millis(world.status.walk.deadline)
    world.now += HOUR
    world.unattended = HOUR
    world.settle()
    assert abs(soaked(world.status.walk, world.now) - soak) < 5 * SECOND
    assert millis(world.status.walk.deadline) == deadline + HOUR
    assert end_of_exposure(world) == deadline + HOUR, "the servers are told as well"
    assert world.document.weight == 5
    world.verdicts["psi"] = Verdict.NO_DATA
    world.run(21 * MINUTE)
    assert world.document.weight == 5, "time that has passed does not skip the gates"


def test_a_short_absence_is_counted_once() -> None:
    world = at_five()
    world.now += 5 * MINUTE
    world.unattended = 5 * MINUTE
    for _ in range(5):
        world.tick(SECOND)
    deadline = millis(world.status.walk.deadline)
    assert deadline == millis(world.status.walk.step_at) + 30 * MINUTE + HOUR + 5 * MINUTE


def test_gone_past_the_end_of_exposure() -> None:
    world = at_five(strategy={"maxHold": "2h"})
    world.now += 5 * HOUR
    world.unattended = 5 * HOUR
    world.verdicts.clear()
    decision = world.reconcile()
    assert decision is not None
    assert decision.first, "written first, as any abort"
    assert world.document.abort.reason == "ExposureExpired"
    assert world.status.quarantine == ()
    world.settle()
    assert world.status.phase == "Shadow", "the same candidate begins anew"
    assert [one.reason for one in world.status.history][:1] == ["ExposureExpired"]
    assert world.status.walk.model.version == "v2"


def test_an_absence_shorter_than_the_slack_is_survived() -> None:
    world = at_five(strategy={"maxHold": "2h"})
    world.now += 2 * HOUR
    world.unattended = 2 * HOUR
    world.settle()
    assert world.document.weight == 5
    assert world.document.abort is None


def test_paused_keeps_the_end_of_exposure_a_day_ahead() -> None:
    world = at_five(strategy={"maxHold": "2h"})
    left = millis(world.status.walk.deadline) - world.now
    world.edit(paused=True)
    world.settle()
    assert end_of_exposure(world) >= world.now + 23 * HOUR
    writes = world.document_writes
    for _ in range(3 * 24):
        world.tick(HOUR)
        assert end_of_exposure(world) >= world.now + 11 * HOUR
    assert world.document_writes - writes <= 7, "about twice a day"
    assert world.status.phase == "Paused"
    world.edit(paused=False)
    world.verdicts["psi"] = Verdict.NO_DATA
    world.settle()
    assert abs(millis(world.status.walk.deadline) - world.now - left) < MINUTE, "the hold did not run"
    assert end_of_exposure(world) == millis(world.status.walk.deadline)


def test_an_expired_pause_does_not_skip_its_gates() -> None:
    world = at_five()
    world.edit(paused=True)
    world.run(2 * HOUR, every=5 * MINUTE)
    world.verdicts["latency"] = Verdict.NO_DATA
    world.edit(paused=False)
    world.settle()
    assert world.document.weight == 5
    assert world.status.reason == "GatesWait"


def test_a_pause_gives_the_approval_its_whole_time_again() -> None:
    world = at_five(approval={"required": True, "expires": "1h"})
    world.until("AwaitingApproval")
    world.run(30 * MINUTE, every=MINUTE)
    world.edit(paused=True)
    world.run(5 * HOUR, every=5 * MINUTE)
    assert world.document.weight == 5
    world.edit(paused=False)
    world.settle()
    assert world.status.phase == "AwaitingApproval"
    assert millis(world.status.approval.expires_at) >= world.now + 59 * MINUTE


@pytest.mark.parametrize("weight", [0, 5])
def test_a_pause_that_nobody_has_looked_at_yet_counts(weight: int) -> None:
    world = at_five(strategy={"maxHold": "2h"})
    if not weight:
        world.edit(mode="DryRun")
        world.settle()
        world.verdicts["psi"] = Verdict.NO_DATA
        world.settle()
    world.edit(paused=True)
    world.now = millis(world.status.walk.deadline) + 1
    world.reconcile()
    # what the servers ended by themselves is no verdict on the candidate either
    assert [one.reason for one in world.status.history][: 1 if weight else 0] == (["ExposureExpired"] if weight else [])
    assert world.status.quarantine == ()


def test_a_paused_approval_stands_still_without_a_write() -> None:
    world = at_five(approval={"required": True, "expires": "1h"})
    world.until("AwaitingApproval")
    world.edit(paused=True)
    world.now = millis(world.status.approval.expires_at) + 1
    world.settle()
    assert world.status.phase == "Paused"
    writes = world.status_writes
    for _ in range(5):
        world.tick(MINUTE)
    assert world.status_writes == writes


def test_expires_takes_effect_in_place() -> None:
    world = at_five(approval={"required": True, "expires": "1h"})
    world.until("AwaitingApproval")
    asked = millis(world.status.approval.asked_at)
    world.edit(approval={"required": True, "expires": "4h"})
    world.settle()
    assert millis(world.status.approval.expires_at) == asked + 4 * HOUR
    assert end_of_exposure(world) >= asked + 4 * HOUR


def test_an_approval_that_could_not_be_used_is_asked_for_again() -> None:
    world = at_five(strategy={"maxHold": "5h"}, approval={"required": True, "expires": "1h"})
    world.until("AwaitingApproval")
    world.verdicts["psi"] = Verdict.NO_DATA
    world.annotate("approve", id="1", candidate="v2", phase="100")
    world.run(61 * MINUTE, every=MINUTE)
    world.settle()
    assert world.reasons().count("ApprovalLapsed") == 1
    world.passing()
    world.run(10 * MINUTE, every=MINUTE)
    assert (world.document.weight, world.status.phase, world.status.approval.by) == (5, "AwaitingApproval", "")


def test_a_freeze_holds_and_then_goes_on() -> None:
    world = at_five()
    freeze = {"from": stamp(world.now), "to": stamp(world.now + 5 * HOUR), "reason": "quarter end"}
    world.edit(strategy={"shadow": {}, "phases": PHASES, "freezes": [freeze]})
    world.run(4 * HOUR, every=5 * MINUTE)
    assert world.document.weight == 5
    assert world.status.phase == "Held"
    assert world.status.reason == "Frozen"
    assert "quarter end" in world.status.message
    assert world.status.walk.step == 1, "an edit of the freezes does not restart the walk"
    world.run(70 * MINUTE, every=5 * MINUTE)
    assert world.document.weight == 100


def test_an_abort_may_happen_in_a_freeze() -> None:
    world = at_five()
    world.edit(strategy={"shadow": {}, "phases": PHASES, "freezes": [{"from": stamp(world.now), "to": stamp(world.now + DAY)}]})
    world.verdicts["psi"] = Verdict.FAIL
    world.settle()
    assert world.document.weight == 0


def sharpe(samples: int, missing: int, verdict: Verdict = Verdict.NO_DATA) -> core.GateResult:
    return core.GateResult("sharpe", verdict, core.GateReason.TOO_FEW_SAMPLES, "", samples=samples, missing=missing)


def test_auto_hold_follows_from_the_outcomes_that_come() -> None:
    world = World(spec_of(strategy={"shadow": {}, "phases": PHASES}))
    world.go_live()
    world.publish(bundle("v2"))
    world.verdicts.update(psi=Verdict.PASS, latency=Verdict.PASS, errorRate=Verdict.PASS)
    world.results["sharpe"] = sharpe(0, 1000)
    world.settle()
    assert world.status.walk.hold_ms == 14 * DAY, "unknown before outcomes come"
    world.now += HOUR
    world.results["sharpe"] = sharpe(100, 900)
    world.settle()
    # an hour has passed, 1,900 more until twice n* take 19 at 100 an hour
    assert world.status.walk.hold_ms == pytest.approx(20 * HOUR, rel=0.01)
    deadline = world.status.walk.deadline
    world.now += HOUR
    world.results["sharpe"] = sharpe(210, 790)
    world.settle()
    assert world.status.walk.deadline == deadline, "an estimate that hardly moved leaves it alone"
    begun = millis(world.status.walk.started_at)
    while world.status.walk is not None:
        seen = 100 * (world.now - begun) // HOUR
        world.results["sharpe"] = sharpe(seen, 1000 - seen % 1000)
        world.tick(10 * MINUTE)
        assert world.now < begun + 3 * DAY
    assert world.status.rollback.reason == "HoldExpired"
    assert seen == pytest.approx(2000, rel=0.02), "twice the outcomes that are expected to be needed"


@pytest.mark.parametrize(("max_hold", "hold"), [("auto", HOUR), ("3h", 3 * HOUR)])
def test_the_hold_of_a_phase_whose_paired_gate_has_passed(max_hold: str, hold: int) -> None:
    assert at_five(strategy={"maxHold": max_hold}).status.walk.hold_ms == hold


def test_a_clock_that_jumps_back_adds_no_step() -> None:
    world = at_five()
    world.run(10 * MINUTE)
    world.now -= 8 * MINUTE
    world.run(5 * MINUTE)
    assert world.document.weight == 5
    assert world.status.phase == "Progressing"
