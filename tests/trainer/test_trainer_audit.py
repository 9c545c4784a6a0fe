"""Audit records: what is written of every way in which a run ends, and that the documented lines read it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import duckdb
import pytest
from trainer_runs import FIRST, NOW, eurusd, run_document, spec

from walkforward_core.errors import AlreadyExists, StoreError, Unavailable
from walkforward_core.objectstore import FileStore
from walkforward_core.routing import RolloutRef
from walkforward_core.runs import ResultDocument, RunDocument, RunVerdict
from walkforward_operator.audit import ab_test_run
from walkforward_operator.rollout.model import Record
from walkforward_trainer import pipeline
from walkforward_trainer.audit import GATE_LOG, RETRAIN_RUNS, gate_rows, put_audit, run_row
from walkforward_trainer.conclude import conclude
from walkforward_trainer.pipeline import execute

DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "audit.md"
AT = NOW + 250


def run(tmp_path: Path, **changes: Any) -> RunDocument:
    fields = spec(eurusd(), tmp_path, eligibility={"minAge": "14d", "minBars": 100, "minClosedTrades": 75}, gates={"auc": {"min": 0.62}})
    return run_document(fields, **changes)


def ended(verdict: RunVerdict, **changes: Any) -> ResultDocument:
    return ResultDocument(run="fx-1a2b3c4d", verdict=verdict, reason=str(verdict), message="as it went", **changes)


def rows(at: Path, table: str) -> list[dict[str, Any]]:
    files = sorted((at / "audit" / table).rglob("*.json"))
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


# -- rows -----------------------------------------------------------------------------------------------------------------------


def test_each_eligibility_gate_that_was_asked_for_has_its_row(tmp_path: Path) -> None:
    unmet = ("eligibility.minClosedTrades: 60 closed trades in data.trades, 75 wanted",)
    found = gate_rows(run(tmp_path), ended(RunVerdict.INELIGIBLE), unmet, AT)
    assert [(row.gate, row.kind, row.gate_pass, row.verdict) for row in found] == [
        ("minAge", "eligibility", True, "Pass"),
        ("minBars", "eligibility", True, "Pass"),
        ("minClosedTrades", "eligibility", False, "Fail"),
    ]
    assert found[2].message == unmet[0]
    assert gate_rows(run(tmp_path), ended(RunVerdict.FAILED), None, AT) == [], "it was not looked at"


def test_metric_gates_are_judged_as_the_operator_does(tmp_path: Path) -> None:
    metrics = {"auc": 0.51}
    found = gate_rows(run(tmp_path), ended(RunVerdict.REJECTED, metrics=metrics), (), AT)[3:]
    assert [(row.gate, row.kind, row.gate_pass, row.value, row.threshold) for row in found] == [("auc", "metric", False, 0.51, 0.62)]
    skip = run(tmp_path, skipGates=[{"name": "auc", "reason": "a test"}])
    [row] = gate_rows(skip, ended(RunVerdict.PUBLISHED, metrics=metrics), (), AT)[3:]
    assert (row.gate_pass, row.forced) == (False, True)
    assert gate_rows(run(tmp_path), ended(RunVerdict.INELIGIBLE, metrics=metrics), (), AT)[3:] == []


def test_a_gate_that_was_forced_says_so(tmp_path: Path) -> None:
    found = gate_rows(run(tmp_path, force=True), ended(RunVerdict.FAILED), ("EURUSD: eligibility.minAge: 3d, 14d wanted",), AT)
    assert [(row.gate, row.gate_pass, row.forced) for row in found] == [
        ("minAge", False, True),
        ("minBars", True, False),
        ("minClosedTrades", True, False),
    ]


@pytest.mark.parametrize(
    ("verdict", "unmet", "gate_pass", "error"),
    [
        (RunVerdict.PUBLISHED, (), True, None),
        (RunVerdict.REJECTED, (), True, "as it went"),
        (RunVerdict.INELIGIBLE, ("eligibility.minAge: no",), False, "as it went"),
        (RunVerdict.FAILED, None, None, "as it went"),
        (RunVerdict.DRY_RUN, (), True, None),
        (RunVerdict.CALIBRATED, None, None, None),
    ],
)
def test_a_run_has_one_row(
    tmp_path: Path, *, verdict: RunVerdict, unmet: tuple[str, ...] | None, gate_pass: bool | None, error: str | None
) -> None:
    row = run_row(run(tmp_path), ended(verdict, version="v" if verdict is RunVerdict.PUBLISHED else ""), unmet, AT)
    assert (row.gate_pass, row.error_msg, row.verdict) == (gate_pass, error, verdict)
    assert (row.ts_ms, row.ts_iso, row.as_of) == (AT, "2026-06-01T00:00:00.250Z", FIRST)
    assert (row.retrain, row.run, row.trigger, row.requested_by) == ("demo/fx", "fx-1a2b3c4d", "Manual", "ann")
    assert row.version == ("v" if verdict is RunVerdict.PUBLISHED else None)


# -- objects --------------------------------------------------------------------------------------------------------------------


def test_a_record_is_created_once_and_never_changed(tmp_path: Path) -> None:
    put_audit(FileStore(), run(tmp_path), ended(RunVerdict.REJECTED), (), AT)
    put_audit(FileStore(), run(tmp_path), ended(RunVerdict.REJECTED), (), AT)
    names = [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*.json"))]
    assert names == [
        "audit/phase2_gate_log/2026/06/20260601T000000.250Z-fx-1a2b3c4d.json",
        "audit/phase2_retrain_runs/2026/06/20260601T000000.250Z-fx-1a2b3c4d.json",
    ]
    with pytest.raises(AlreadyExists):
        put_audit(FileStore(), run(tmp_path), ended(RunVerdict.PUBLISHED), (), AT)
    assert rows(tmp_path, RETRAIN_RUNS)[0]["verdict"] == "Rejected"


def test_an_audit_that_cannot_be_written_changes_no_verdict(tmp_path: Path) -> None:
    class Away(FileStore):
        def put(self, uri: str, data: bytes, *, create_only: bool = False, if_match: str | None = None) -> str:
            if "/audit/" in uri:
                raise Unavailable("write: the store is away")
            return super().put(uri, data, create_only=create_only, if_match=if_match)

    result = conclude(run(tmp_path), Away(), ended(RunVerdict.PUBLISHED, version="v"), (), now_ms=AT, env={})
    assert (result.verdict, result.message) == (RunVerdict.PUBLISHED, "as it went; audit: write: the store is away")
    assert ResultDocument.parse((tmp_path / "runs" / "fx-1a2b3c4d" / "result.json").read_bytes()) == result


def test_not_even_a_bug_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("walkforward_trainer.conclude.put_audit", broken)
    result = conclude(run(tmp_path), FileStore(), ended(RunVerdict.PUBLISHED), (), now_ms=AT, env={})
    assert result.verdict is RunVerdict.PUBLISHED
    assert "audit: ZeroDivisionError: oops; this is a bug of the trainer" in result.message


def test_nothing_to_say_leaves_the_result_as_it_is(tmp_path: Path) -> None:
    assert conclude(run(tmp_path), FileStore(), ended(RunVerdict.FAILED), None, now_ms=AT, env={}) == ended(RunVerdict.FAILED)


def test_a_shard_is_no_run_unless_it_ends_the_run(tmp_path: Path) -> None:
    shard = run(tmp_path, part="Shard")
    conclude(shard, FileStore(), ended(RunVerdict.PREPARED), (), now_ms=AT, env={})
    assert not (tmp_path / "audit").exists()
    conclude(shard, FileStore(), ended(RunVerdict.FAILED), None, now_ms=AT, env={})
    assert [row["verdict"] for row in rows(tmp_path, RETRAIN_RUNS)] == ["Failed"]
    assert not (tmp_path / "runs").exists(), "the run's own result is that of the pod which gathers"


# -- real runs, and the lines of the documentation ------------------------------------------------------------------------------


def documented(name: str) -> str:
    [line] = [line for line in re.findall(r"```sql\n(.+?)\n```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL) if f"/{name}/" in line]
    assert "\n" not in line, "one line"
    return str(line)


def asked(name: str, at: str, address: str = "s3://models/fx") -> list[dict[str, Any]]:
    """What DuckDB answers to the documented line, on files of this machine."""
    line = documented(name)
    assert f"'{address}/" in line
    # as text: Python has no time zones of its own for what DuckDB reads as instants
    duckdb.execute("SET TimeZone = 'UTC'")
    answer = duckdb.sql(line.replace(address, at)).project("COLUMNS(*)::VARCHAR")
    return [dict(zip(answer.columns, row, strict=True)) for row in answer.fetchall()]


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of artifacts after a published, a rejected, an ineligible, a failed and a broken run."""
    at = tmp_path_factory.mktemp("models")
    fields = spec(eurusd(), at, eligibility={"minBars": 100})
    strict = fields | {"gates": {"auc": {"min": 0.99}}}
    few = fields | {"eligibility": {"minBars": 1_000_000}}
    gone = fields | {"data": fields["data"] | {"uri": (at / "none").as_uri()}}
    for number, changed in enumerate((fields, strict, few, gone)):
        execute(run_document(changed, run=f"fx-{number}"), allow_file=True, now_ms=NOW + number)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "make_plan", lambda _: 1 / 0)
        execute(run_document(fields, run="fx-4"), allow_file=True, now_ms=NOW + 4)
    return at


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_the_documented_line_lists_every_run(audited: Path, scheme: str) -> None:
    found = asked(RETRAIN_RUNS, f"{scheme}{audited}")
    assert [(row["run"], row["verdict"], row["reason"], row["gate_pass"]) for row in found] == [
        ("fx-4", "Failed", "InternalError", None),
        ("fx-3", "Failed", "DataNotFound", None),
        ("fx-2", "Ineligible", "NotEligible", "false"),
        ("fx-1", "Rejected", "GatesFailed", "true"),
        ("fx-0", "Published", "Published", "true"),
    ]
    assert (found[4]["error_msg"], found[4]["version"][:16]) == (None, "20170825T010000Z")
    assert "limit 0.99" in found[3]["error_msg"]
    assert found[0]["ts_iso"].startswith("2026-06-01 00:00:00.004")


def test_the_documented_line_says_which_gates_stop_runs(audited: Path) -> None:
    found = {row["gate"]: row for row in asked(GATE_LOG, str(audited))}
    assert (found["auc"]["kind"], found["auc"]["evaluations"], found["auc"]["stopped"]) == ("metric", "2", "1")
    assert (found["minBars"]["kind"], found["minBars"]["evaluations"], found["minBars"]["stopped"]) == ("eligibility", "3", "1")
    assert found["minBars"]["last"].startswith("2026-06-01 00:00:00.002")


def test_every_field_of_the_documentation_is_in_the_records_and_the_other_way_round(audited: Path) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    common, *_ = text.split("## phase2_gate_log")
    for table in (GATE_LOG, RETRAIN_RUNS):
        section = text.split(f"## {table}")[1].split("## ")[0]
        named = {
            name
            for part in (common, section)
            for cell in re.findall(r"^\| (`[^|]+) \|", part, re.MULTILINE)
            for name in re.findall(r"`(\w+)`", cell)
        }
        assert {name for row in rows(audited, table) for name in row} == named


def test_a_store_that_refuses_everything_is_no_reason_to_crash(tmp_path: Path) -> None:
    class Closed(FileStore):
        def put(self, uri: str, data: bytes, *, create_only: bool = False, if_match: str | None = None) -> str:
            raise StoreError("closed")

    result = conclude(run(tmp_path), Closed(), ended(RunVerdict.FAILED), None, now_ms=AT, env={})
    assert result.message == "as it went; audit: closed"


def test_the_documented_line_of_the_operators_table(tmp_path: Path) -> None:
    """Rows as the operator makes them of entries of its ledger."""
    rollout = RolloutRef(namespace="prod", name="fx", uid="u")
    for seq, (at, executed) in enumerate([("2026-01-05T00:00:00Z", True), ("2026-01-20T00:00:00Z", False), ("2026-02-01T00:00:00Z", True)]):
        trial = {"stable": "v1", "outcomes": 120, "recommended": executed, "executed": executed}
        entry = {"at": at, "kind": "Promoted", "candidate": {"version": "v2"}, "reason": "", "abTest": trial}
        row = ab_test_run(rollout, Record(seq=seq, kind="Promoted", body=json.dumps(entry)))
        assert row is not None
        (tmp_path / row[0]).parent.mkdir(exist_ok=True)
        (tmp_path / row[0]).write_bytes(row[1])
        fields = set(json.loads(row[1]))
    assert asked("ab_test_runs", str(tmp_path), "s3://models/ledger") == [
        {"rollout": "fx", "month": "2026-02", "walks": "1", "trades": "120", "recommended": "1", "executed": "1"},
        {"rollout": "fx", "month": "2026-01", "walks": "2", "trades": "240", "recommended": "1", "executed": "1"},
    ]
    section = DOCUMENT.read_text(encoding="utf-8").split("## ab_test_runs")[1].split("## ")[0]
    named = {name for cell in re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE) for name in re.findall(r"`(\w+)`", cell)}
    assert named == fields
