"""The run's log: one line a stage with its place, the run in every line, secrets in none."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from trainer_runs import eurusd, run_document, spec

from walkforward_trainer.__main__ import main
from walkforward_trainer.errors import BadConfiguration
from walkforward_trainer.logs import FORMAT_VARIABLE, logging_to_stderr
from walkforward_trainer.stages import STAGES, follow, stage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger("walkforward.trainer")


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Callable[..., list[dict[str, Any]]]:
    def read(work: Callable[[], object], **env: str) -> list[dict[str, Any]]:
        with logging_to_stderr({FORMAT_VARIABLE: "json", **env}) as said:
            said.of("fx-1a2b3c4d", "demo/fx")
            work()
        return [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    return read


def test_every_line_names_run_retrain_and_stage(lines: Callable[..., list[dict[str, Any]]]) -> None:
    def work() -> None:
        with stage("models"):
            logging.getLogger("elsewhere").warning("odd")
        log.info("after")

    began, odd, ended, after = lines(work)
    assert {(line["run"], line["retrain"]) for line in (began, odd, ended, after)} == {("fx-1a2b3c4d", "demo/fx")}
    assert [line["stage"] for line in (began, odd, ended, after)] == ["models", "models", "models", ""]
    assert (odd["level"], odd["logger"], odd["message"]) == ("WARNING", "elsewhere", "odd")
    assert began["fields"] == {"number": STAGES.index(("models", "tuning")) + 1, "of": len(STAGES)}
    assert began["message"] == f"stage {began['fields']['number']} of {len(STAGES)}, models"
    assert ended["fields"]["ms"] >= 0
    assert ended["fields"]["elapsedMs"] > ended["fields"]["ms"]
    assert began["time"].endswith("+00:00")


def test_a_stage_within_a_stage(lines: Callable[..., list[dict[str, Any]]]) -> None:
    def work() -> None:
        with stage("evidence"):
            try:
                with stage("leakage"):
                    _ = 1 / 0
            except ZeroDivisionError:
                log.info("why")
            with stage("forensic"):
                log.info("within")
            log.info("further")
        log.info("after")

    said = {line["message"]: line["stage"] for line in lines(work)}
    assert [said[words] for words in ("why", "within", "further", "after")] == ["leakage", "forensic", "evidence", ""]


def test_the_stage_in_which_it_failed_stays_in_the_lines_that_say_why(lines: Callable[..., list[dict[str, Any]]]) -> None:
    def work() -> None:
        try:
            with stage("parity"):
                _ = 1 / 0
        except ZeroDivisionError:
            log.exception("run")

    _, ended, why = lines(work)
    assert (ended["level"], why["stage"]) == ("ERROR", "parity")
    assert "failed after" in ended["message"]
    assert "ZeroDivisionError: division" in why["exception"]


def test_secrets_are_not_written(lines: Callable[..., list[dict[str, Any]]]) -> None:
    def work() -> None:
        log.info("read postgresql://ann:hunter2@db:5432/trades with AKIAEXAMPLE0 and s3cr3t/key+x")
        try:
            int("s3cr3t/key+x")
        except ValueError:
            log.exception("store")

    text = json.dumps(lines(work, AWS_SECRET_ACCESS_KEY="s3cr3t/key+x", AWS_ACCESS_KEY_ID="AKIAEXAMPLE0", HOME="/root/home"))
    assert "hunter2" not in text
    assert "s3cr3t" not in text
    assert "AKIAEXAMPLE0" not in text
    assert "postgresql://ann:***@db:5432/trades" in text


def test_a_person_reads_text(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_stderr({}, terminal=True) as said:
        said.of("fx-1", "demo/fx")
        log.info("hello")
        log.warning("careful")
    hello, careful = capsys.readouterr().err.splitlines()
    assert hello.endswith(" fx-1 hello")
    assert careful.endswith(" fx-1 WARNING careful")


def test_a_pipe_gets_json_and_the_environment_wins(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_stderr({}):
        log.info("one")
    assert json.loads(capsys.readouterr().err)["message"] == "one"
    with logging_to_stderr({FORMAT_VARIABLE: "TEXT"}):
        log.info("two")
    assert capsys.readouterr().err.endswith("- two\n")
    with pytest.raises(BadConfiguration, match="write json or text"), logging_to_stderr({FORMAT_VARIABLE: "xml"}):
        pass


def test_nothing_of_it_stays_behind() -> None:
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    with logging_to_stderr({}):
        assert len(root.handlers) == len(before[0]) + 1
    assert (list(root.handlers), root.level) == before


def test_every_stage_of_a_run_has_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WALKFORWARD_TERMINATION_LOG", str(tmp_path / "termination-log"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "never-to-be-seen")
    monkeypatch.delenv(FORMAT_VARIABLE, raising=False)
    document = tmp_path / "run.json"
    document.write_bytes(run_document(spec(eurusd(), tmp_path / "models")).to_bytes())
    assert main(["run", "--spec", str(document), "--allow-file", "--smoke"]) == 0
    written = capsys.readouterr().err
    said = [json.loads(line) for line in written.splitlines()]
    assert {line["run"] for line in said} == {"fx-1a2b3c4d"}
    places = [
        line["fields"]["number"]
        for line in said
        if line["message"].startswith("stage ") and "took" not in line["message"] and "fields" in line
    ]
    assert places == list(range(1, len(STAGES))), "of a smoke run all but the bundle"
    assert said[-1]["fields"]["reason"].startswith("Smoke")
    assert "never-to-be-seen" not in written


def test_a_loop_says_how_long_the_rest_takes(caplog: pytest.LogCaptureFixture) -> None:
    clock = iter([0.0, 1.0, 3.0, 4.0, 5.0])
    with caplog.at_level(logging.INFO, "walkforward.trainer"):
        assert list(follow("fold", "abcd", clock=lambda: next(clock))) == list("abcd")
    assert [record.message for record in caplog.records] == ["fold 2 of 4 done, about 3.0 s left"]
    assert caplog.records[0].__dict__["fields"] == {"done": 2, "of": 4, "etaMs": 3000}
