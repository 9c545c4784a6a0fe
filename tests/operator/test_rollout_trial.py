"""What the audit says of a trial that has ended: outcomes of both arms, whether the swap was recommended, whether it was made."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from rollout_world import HOUR, MINUTE, World, bundle, spec_of

from walkforward_core.bundle import Verdict
from walkforward_core.routing import RolloutRef
from walkforward_core.stats import Outcomes
from walkforward_operator.audit import ab_test_run
from walkforward_operator.rollout.model import Record

STRATEGY = {
    "shadow": {},
    "phases": [{"weight": 5, "duration": "30m"}, {"weight": 100, "duration": "30m"}],
    "watch": {"duration": "1h"},
}
ROWS = {"10": (500.0, 0.0, 0.0, 0.0, 0.0, 0.0), "11": (250.0, 0.0, 0.0, 0.0, 0.0, 0.0)}
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "audit.md"


@pytest.fixture
def world() -> World:
    """Return a world with v2 in the shadow of v1, and 750 outcomes that both were judged on."""
    made = World(spec_of(strategy=STRATEGY))
    made.go_live()
    made.publish(bundle("v2"))
    made.settle()
    plain = made.observe

    def observe() -> Any:
        seen = plain()
        if seen.evidence is None:
            return seen
        known = Outcomes(plan=seen.evidence.plan, stable=seen.evidence.stable, candidate=seen.evidence.candidate, base_ms=HOUR, rows=ROWS)
        return dataclasses.replace(seen, evidence=dataclasses.replace(seen.evidence, outcomes=known))

    made.observe = observe  # type: ignore[method-assign]
    return made


def trials(world: World) -> list[dict[str, Any]]:
    """The rows that the ledger's writer makes of what was decided."""
    made = [
        ab_test_run(RolloutRef(namespace="prod", name="fx", uid="u"), Record(seq=seq, kind="", body=body))
        for seq, body in sorted(world.ledger.items())
    ]
    return [msgspec.json.decode(row[1]) for row in made if row is not None]


def said(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("arm_a_version", "arm_b_version", "arm_a_trades", "arm_b_trades"))


def test_a_first_model_is_no_trial(world: World) -> None:
    assert trials(world) == []


def test_a_promotion_was_recommended_and_made(world: World) -> None:
    world.passing()
    world.run(4 * HOUR, every=5 * MINUTE)
    assert world.status.phase == "Stable"
    [row] = trials(world)
    assert said(row) == ("v1", "v2", 750, 750)
    assert (row["swap_recommended"], row["swap_executed"], row["reason"]) == (True, True, "Finish")


def test_a_gate_that_fails_recommends_nothing(world: World) -> None:
    world.passing()
    world.until_weight(5)
    world.verdicts["psi"] = Verdict.FAIL
    world.settle()
    [row] = trials(world)
    assert said(row) == ("v1", "v2", 750, 750)
    assert (row["swap_recommended"], row["swap_executed"], row["reason"]) == (False, False, "PsiFailed")


def test_a_person_who_aborts_what_passed_leaves_a_trace_of_that(world: World) -> None:
    world.passing()
    world.until_weight(5)
    world.annotate("abort", id="1", candidate="v2", reason="looks wrong")
    world.settle()
    [row] = trials(world)
    assert (row["swap_recommended"], row["swap_executed"], row["reason"]) == (True, False, "Aborted")


def test_a_candidate_that_goes_away_by_itself_has_no_row(world: World) -> None:
    world.publish(bundle("v1"))
    world.settle()
    assert world.status.phase == "Stable"
    assert trials(world) == []


def test_the_documented_line_reads_the_rows(world: World, tmp_path: Path) -> None:
    world.passing()
    world.run(4 * HOUR, every=5 * MINUTE)
    world.publish(bundle("v3"))
    world.settle()
    world.verdicts["sharpe"] = Verdict.FAIL
    world.settle()
    for seq, body in world.ledger.items():
        made = ab_test_run(RolloutRef(namespace="prod", name="fx", uid="u"), Record(seq=seq, kind="", body=body))
        if made is not None:
            path = tmp_path / made[0]
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(made[1])
    [line] = [line for line in re.findall(r"```sql\n(.+?)\n```", PAGE.read_text(encoding="utf-8")) if "/ab_test_runs/" in line]
    read = duckdb.sql(line.replace("s3://models/ledger", str(tmp_path)))
    assert read is not None
    [row] = read.fetchall()
    assert dict(zip(read.columns, row, strict=True)) | {"month": ""} == {
        "rollout": "fx",
        "month": "",
        "walks": 2,
        "trades": 1500,
        "recommended": 1,
        "executed": 1,
    }
