"""How a rollout looks: conditions as kstatus reads them, columns, Events, and that nothing in it ticks."""

from __future__ import annotations

import pytest
from rollout_world import HOUR, MINUTE, SECOND, World, bundle, conditions, spec_of

from walkforward_core.bundle import Verdict
from walkforward_core.documents import encode
from walkforward_operator.reasons import ABORTS, ConditionType, Reason
from walkforward_operator.rollout.clock import millis
from walkforward_operator.rollout.status import RolloutStatus
from walkforward_operator.schema.openapi import openapi

STRATEGY = {"shadow": {}, "phases": [{"weight": 5, "duration": "30m"}, {"weight": 100, "duration": "30m"}], "watch": {"duration": "1h"}}


@pytest.fixture
def world() -> World:
    """Return a world with v2 in the shadow of v1."""
    made = World(spec_of(strategy=STRATEGY))
    made.go_live()
    made.publish(bundle("v2"))
    made.settle()
    return made


def kstatus(world: World) -> tuple[str | None, bool, bool]:
    """Return Ready, Reconciling and Stalled, and hold them to the contract."""
    found = conditions(world.status)
    ready, working, stalled = found.get("Ready", (None,))[0], "Reconciling" in found, "Stalled" in found
    assert world.status.observed_generation == world.generation
    assert not (working and stalled)
    assert ready != "True" or not (working or stalled)
    assert ready == "True" or working or stalled, "not ready is working or given up"
    assert all(one.observed_generation == world.generation for one in world.status.conditions)
    return ready, working, stalled


def test_kstatus_over_a_whole_life(world: World) -> None:
    assert kstatus(world) == ("Unknown", True, False)
    world.passing()
    world.until_weight(5)
    assert kstatus(world) == ("Unknown", True, False)
    world.until("Watching")
    assert kstatus(world) == ("True", False, False)
    world.until("Stable")
    world.settle()
    assert kstatus(world) == ("True", False, False)


def test_kstatus_of_a_rejected_candidate(world: World) -> None:
    world.verdicts["psi"] = Verdict.FAIL
    world.reconcile()
    assert kstatus(world) == ("Unknown", True, False)
    world.settle()
    assert kstatus(world) == ("True", False, False)
    assert conditions(world.status)["Ready"] == ("True", "CandidateRejected")


def test_a_condition_keeps_its_transition_time_while_its_status_stays(world: World) -> None:
    since = {one.type: one.last_transition_time for one in world.status.conditions}
    world.passing()
    world.run(10 * MINUTE)
    now = {one.type: one.last_transition_time for one in world.status.conditions}
    assert now["Ready"] == since["Ready"]


def test_the_columns_of_a_walk(world: World) -> None:
    world.values.update(psi=0.1234, latency=12.34, sharpe=0.0123)
    world.passing()
    world.until_weight(5)
    world.verdicts["latency"] = Verdict.NO_DATA
    world.run(35 * MINUTE, every=MINUTE)
    status = world.status
    assert (status.phase, status.step, status.weight, status.gate, status.reason) == ("Held", "1/2", 5, "latency NoData", "GatesWait")
    assert (status.stable.version, status.candidate.version) == ("v1", "v2")
    assert (status.summary.psi, status.summary.p95, status.summary.sharpe) == ("0.12", "12.3ms", "+0.012")
    assert status.summary.held == status.walk.held_since
    assert status.summary.deadline == status.walk.deadline
    assert status.message == "latency: latency says NoData"


def test_a_gate_shows_what_is_missing_and_when_it_is_expected(world: World) -> None:
    world.edit(strategy={**STRATEGY, "maxHold": "9h"})
    world.settle()
    world.now += HOUR
    world.values["psi"] = 0.1
    world.settle()
    gate = next(one for one in world.status.gates if one.name == "psi")
    assert (gate.verdict, gate.samples, gate.missing) == (Verdict.NO_DATA, 100, 100)
    assert millis(gate.eta) == pytest.approx(world.now + HOUR, abs=20 * SECOND)
    world.now += 2 * HOUR
    world.settle()
    assert world.status.gates[0].eta is None, "nothing came, so nobody knows"


def test_values_are_renewed_now_and_then_verdicts_at_once(world: World) -> None:
    writes = world.status_writes
    for number in range(60):
        world.values["psi"] = number / 1000
        world.tick(SECOND)
    assert world.status_writes - writes <= 7, "every ten seconds"
    world.verdicts["psi"] = Verdict.PASS
    world.tick(SECOND)
    assert world.status.gates[0].verdict is Verdict.PASS


def test_nothing_ticks_while_nothing_happens(world: World) -> None:
    world.run(MINUTE)
    text, writes = world.status_text, world.status_writes
    world.run(10 * MINUTE)
    assert world.status_writes == writes
    assert world.status_text == text
    assert world.last.requeue_after_ms <= 2 * SECOND, "and still it looks every two seconds"


def test_one_event_for_each_transition(world: World) -> None:
    world.passing()
    world.until("Stable")
    world.settle()
    told = [reason for reason in world.reasons() if reason != "Verdict"]
    assert told == ["Bootstrapped", "WalkStarted", "StepStarted", "StepStarted", "Promoted", "WatchEnded"]


def test_an_event_for_an_abort_and_one_for_its_end(world: World) -> None:
    world.verdicts["errorRate"] = Verdict.FAIL
    world.settle()
    assert world.reasons()[-2:] == ["ErrorRateFailed", "RolledBack"]
    assert "ErrorRateFailed" in ABORTS


def test_a_hold_is_told_once(world: World) -> None:
    world.passing()
    world.until_weight(5)
    world.verdicts["psi"] = Verdict.NO_DATA
    world.run(50 * MINUTE, every=MINUTE)
    assert world.reasons().count("GatesWait") == 1


def test_a_verdict_that_changed_goes_into_the_ledger(world: World) -> None:
    before = len(world.ledger)
    world.verdicts["psi"] = Verdict.PASS
    world.settle()
    assert len(world.ledger) == before + 1
    assert '"psi":"NoData to Pass' in world.ledger[before + 1]


def test_a_ledger_that_lags_holds_promotion_but_never_an_abort(world: World) -> None:
    world.ledger_up = False
    world.passing()
    world.run(30 * MINUTE, every=MINUTE)
    assert world.document.weight == 0
    assert (world.status.phase, world.status.reason) == ("Held", "LedgerBehind")
    assert conditions(world.status)["LedgerBehind"][0] == "True"
    world.ledger_up = True
    world.until_weight(5)
    assert "LedgerBehind" not in conditions(world.status)
    world.ledger_up = False
    world.verdicts["psi"] = Verdict.FAIL
    world.settle()
    assert world.document.weight == 0
    assert world.status.phase == "RolledBack"
    kept = {entry.kind for entry in world.status.entries}
    assert "Abort" in kept
    world.ledger_up = True
    world.settle()
    assert any('"kind":"Abort"' in text for text in world.ledger.values())


def test_many_changes_of_mind_push_no_decision_out_of_the_ledger(world: World) -> None:
    world.ledger_up = False
    for number in range(60):
        world.verdicts["psi"] = Verdict.PASS if number % 2 else Verdict.NO_DATA
        world.tick(SECOND)
    world.verdicts["psi"] = Verdict.FAIL
    world.settle()
    assert len(world.status.entries) <= 20
    assert "Abort" in {entry.kind for entry in world.status.entries}


def test_evidence_that_no_longer_fits_holds_promotion(world: World) -> None:
    world.evidence_full = True
    world.passing()
    world.run(30 * MINUTE, every=MINUTE)
    assert (world.status.phase, world.status.reason) == ("Held", "EvidenceFull")
    assert conditions(world.status)["EvidenceFull"][0] == "True"


def test_the_history_is_as_long_as_the_spec_says() -> None:
    world = World(spec_of(strategy=STRATEGY, historyLimit=2))
    world.go_live()
    for number in range(5):
        world.publish(bundle(f"c{number}"))
        world.settle()
        world.verdicts["psi"] = Verdict.FAIL
        world.settle()
        world.verdicts.clear()
    assert [one.version for one in world.status.history] == ["c4", "c3"]


def test_long_words_of_others_are_cut(world: World) -> None:
    world.annotate("abort", id="1", candidate="v2", reason="x" * 300)
    world.source = type(world.source)(reason="SourceUnavailable", message="y" * 9000)
    world.settle()
    assert all(len(one.message) <= 1000 for one in world.status.conditions)
    assert len(encode(world.status)) < 40_000


def test_every_reason_has_its_remedy_and_its_use() -> None:
    import re
    from pathlib import Path

    import walkforward_operator

    root = Path(walkforward_operator.__file__).parent
    text = "\n".join(path.read_text() for path in root.rglob("*.py") if path.name != "reasons.py" or path.parent != root)
    for enum in (Reason, ConditionType):
        unused = [member.name for member in enum if not re.search(rf"\b{enum.__name__}\.{member.name}\b", text)]
        assert unused == []


def test_the_status_has_a_schema_in_which_everything_is_explained() -> None:
    assert openapi(RolloutStatus, strict=False)["properties"]["walk"]["description"]
