"""Writing a bundle: manifest last, create-only, crash at every write, the pointer; results and termination messages."""

from __future__ import annotations

import json
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from walkforward_core.errors import Unavailable
from walkforward_core.objectstore import FileStore
from walkforward_core.runs import ExitCode, ResultDocument, RunVerdict
from walkforward_trainer.bundle import Bundle, publish, version_of
from walkforward_trainer.errors import BadConfiguration, Reason
from walkforward_trainer.result import exit_code, put_result, termination_message, termination_path


def bundle(at: Path, version: str = "20240102T000000Z-aaaaaaaa", manifest: bytes = b'{"m":1}') -> Bundle:
    return Bundle(version=version, uri=f"{at.as_uri()}/{version}/", files={"model.onnx": b"model", "golden.json": b"{}"}, manifest=manifest)


class Crashing(FileStore):
    """A store that is gone after a number of writes, as seen by a process that is killed."""

    def __init__(self, writes: int) -> None:
        self.left = writes
        self.order: list[str] = []

    def put(self, uri: str, data: bytes, *, create_only: bool = False, if_match: str | None = None) -> str:
        if self.left == 0:
            raise Unavailable("gone")
        self.left -= 1
        self.order.append(uri.rsplit("/", 1)[1] + (" once" if create_only else ""))
        return super().put(uri, data, create_only=create_only, if_match=if_match)


def test_the_manifest_is_the_last_file_and_written_once(tmp_path: Path) -> None:
    store = Crashing(99)
    assert publish(store, bundle(tmp_path), tmp_path.as_uri())
    assert store.order == ["model.onnx", "golden.json", "manifest.json once", "LATEST.json once"]


@pytest.mark.parametrize("writes", [0, 1, 2, 3])
def test_killed_after_any_write_the_next_attempt_ends_the_same(tmp_path: Path, writes: int) -> None:
    with pytest.raises(Unavailable):
        publish(Crashing(writes), bundle(tmp_path), tmp_path.as_uri())
    assert (tmp_path / bundle(tmp_path).version / "manifest.json").exists() is (writes == 3)
    fresh = publish(FileStore(), bundle(tmp_path), tmp_path.as_uri())
    assert fresh is (writes < 3)
    assert json.loads((tmp_path / "LATEST.json").read_bytes())["version"] == bundle(tmp_path).version
    assert (tmp_path / bundle(tmp_path).version / "model.onnx").read_bytes() == b"model"


def test_left_over_files_of_another_attempt_are_replaced_before_the_commit(tmp_path: Path) -> None:
    store = FileStore()
    store.put(bundle(tmp_path).uri + "model.onnx", b"half")
    assert publish(store, bundle(tmp_path), tmp_path.as_uri())
    assert store.get(bundle(tmp_path).uri + "model.onnx") == b"model"


def test_a_committed_bundle_is_never_touched(tmp_path: Path) -> None:
    publish(FileStore(), bundle(tmp_path), tmp_path.as_uri())
    other = changed(bundle(tmp_path, manifest=b'{"m":2}'), files={"model.onnx": b"other"})
    store = Crashing(99)
    with pytest.raises(BadConfiguration, match="exists with another content") as caught:
        publish(store, other, tmp_path.as_uri())
    assert caught.value.reason is Reason.VERSION_EXISTS
    assert store.order == []


def test_losing_the_race_for_the_manifest_is_said(tmp_path: Path) -> None:
    class Late(Crashing):
        def put(self, uri: str, data: bytes, **options: Any) -> str:
            if uri.endswith("manifest.json"):
                FileStore().put(uri, b'{"m":3}')
            return super().put(uri, data, **options)

    with pytest.raises(BadConfiguration, match="published for this asOf by another run"):
        publish(Late(99), bundle(tmp_path), tmp_path.as_uri())


def test_the_pointer_only_moves_forward_in_market_time(tmp_path: Path) -> None:
    def latest() -> str:
        return str(json.loads((tmp_path / "LATEST.json").read_bytes())["version"])

    for version, expected in [
        ("20240102T000000Z-aaaaaaaa", "20240102T000000Z-aaaaaaaa"),
        ("20240109T000000Z-bbbbbbbb", "20240109T000000Z-bbbbbbbb"),
        ("20240101T000000Z-cccccccc", "20240109T000000Z-bbbbbbbb"),
        ("20240109T000000Z-00000000", "20240109T000000Z-00000000"),
    ]:
        publish(FileStore(), bundle(tmp_path, version), tmp_path.as_uri())
        assert latest() == expected
    (tmp_path / "LATEST.json").write_bytes(b"not json")
    publish(FileStore(), bundle(tmp_path, "20230101T000000Z-dddddddd"), tmp_path.as_uri())
    assert latest() == "20230101T000000Z-dddddddd"


def test_the_pointer_survives_another_writer(tmp_path: Path) -> None:
    class Contended(FileStore):
        moved = 0

        def put(self, uri: str, data: bytes, *, create_only: bool = False, if_match: str | None = None) -> str:
            if uri.endswith("LATEST.json") and self.moved < 2:
                self.moved += 1
                other = bundle(tmp_path, f"2024010{self.moved}T000000Z-eeeeeeee")
                FileStore().put(uri, json.dumps({"schema": "", "version": other.version, "uri": other.uri, "digest": ""}).encode())
            return super().put(uri, data, create_only=create_only, if_match=if_match)

    publish(Contended(), bundle(tmp_path, "20240105T000000Z-ffffffff"), tmp_path.as_uri())
    assert json.loads((tmp_path / "LATEST.json").read_bytes())["version"] == "20240105T000000Z-ffffffff"


def test_version() -> None:
    assert version_of(1_704_153_600_000, b"") == "20240102T000000Z-e3b0c442"


RESULT = ResultDocument(
    run="fx-1a2b3c4d",
    verdict=RunVerdict.REJECTED,
    reason="GatesFailed",
    message="auc: 0.51",
    metrics={"auc": 0.5123456789, "brier": 0.2, "ece": 0.1, "extra": 1.0},
    failed=("auc",),
)


def test_a_termination_message_has_the_metrics_that_are_looked_at() -> None:
    short = ResultDocument.parse(termination_message(RESULT))
    assert short.metrics == {"auc": 0.512346, "brier": 0.2, "ece": 0.1}
    assert short.more
    assert short.message == RESULT.message
    assert not ResultDocument.parse(termination_message(replace(RESULT, metrics={"auc": 0.5}))).more


@given(text=st.text(max_size=6_000))
def test_a_termination_message_never_exceeds_its_limit(text: str) -> None:
    data = termination_message(replace(RESULT, message=text))
    assert len(data) <= 2_048
    short = ResultDocument.parse(data)
    assert short.failed == ("auc",)
    assert short.message == text or (short.more and short.message.endswith("…") and text.startswith(short.message[:-1]))


@pytest.mark.parametrize("text", ["x" * 9_000, "\x01" * 9_000, "ü" * 9_000, "\U0001f600" * 9_000])
def test_a_long_message_keeps_its_beginning(text: str) -> None:
    short = ResultDocument.parse(termination_message(replace(RESULT, message=text)))
    assert len(short.message) >= 200
    assert len(termination_message(replace(RESULT, message=text))) > 1_900


def test_the_full_record(tmp_path: Path) -> None:
    put_result(FileStore(), tmp_path.as_uri() + "/", RESULT)
    assert ResultDocument.parse((tmp_path / "runs" / "fx-1a2b3c4d" / "result.json").read_bytes()) == RESULT


@pytest.mark.parametrize(
    ("verdict", "failure", "code"),
    [
        (RunVerdict.PUBLISHED, None, 0),
        (RunVerdict.DRY_RUN, None, 0),
        (RunVerdict.INELIGIBLE, None, 0),
        (RunVerdict.REJECTED, None, 1),
        (RunVerdict.FAILED, ExitCode.BAD_DATA, 65),
        (RunVerdict.FAILED, ExitCode.BUG, 70),
        (RunVerdict.FAILED, ExitCode.TRANSIENT, 75),
        (RunVerdict.FAILED, ExitCode.BAD_CONFIGURATION, 78),
        (RunVerdict.FAILED, None, 70),
    ],
)
def test_exit_codes(verdict: RunVerdict, failure: ExitCode | None, code: int) -> None:
    assert exit_code(replace(RESULT, verdict=verdict), failure) == code


def test_where_the_termination_message_goes(tmp_path: Path) -> None:
    assert termination_path({"WALKFORWARD_TERMINATION_LOG": str(tmp_path)}) == tmp_path
    found = termination_path({})
    assert found is None or found == Path("/dev/termination-log")
