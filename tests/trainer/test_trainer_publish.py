"""Writing a bundle: manifest last, create-only, crash at every write, the pointer; results and termination messages."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from trainer_versions import VERSION, bundle, by, manifest

from walkforward_core.bundle import Baseline, Costs, Decision, DecisionKind, FileRecord, Manifest
from walkforward_core.errors import AlreadyExists, NotFound, Unavailable
from walkforward_core.objectstore import FileStore
from walkforward_core.runs import ExitCode, ResultDocument, RunVerdict
from walkforward_trainer.bundle import version_of
from walkforward_trainer.errors import BadConfiguration, Reason, Transient
from walkforward_trainer.pointer import move_forward
from walkforward_trainer.publish import Published, publish
from walkforward_trainer.result import exit_code, put_result, termination_message, termination_path


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
    assert publish(store, bundle(tmp_path), tmp_path.as_uri()) == Published(bundle(tmp_path).digest, "fx-1", fresh=True)
    assert store.order == ["model.onnx once", "golden.json once", "manifest.json once", "LATEST.json once"]


@pytest.mark.parametrize("writes", [0, 1, 2, 3])
def test_killed_after_any_write_the_next_attempt_ends_the_same(tmp_path: Path, writes: int) -> None:
    with pytest.raises(Unavailable):
        publish(Crashing(writes), bundle(tmp_path), tmp_path.as_uri())
    assert (tmp_path / bundle(tmp_path).version / "manifest.json").exists() is (writes == 3)
    assert publish(FileStore(), bundle(tmp_path), tmp_path.as_uri()).fresh is (writes < 3)
    assert json.loads((tmp_path / "LATEST.json").read_bytes())["version"] == bundle(tmp_path).version
    assert (tmp_path / bundle(tmp_path).version / "model.onnx").read_bytes() == b"model"


@pytest.mark.parametrize("there", [b"half", b"model"])
def test_left_over_files_are_replaced_when_their_writer_must_be_gone(tmp_path: Path, there: bytes) -> None:
    store = FileStore()
    uri = bundle(tmp_path).uri + "model.onnx"
    store.put(uri, there)
    os.utime(tmp_path / VERSION / "model.onnx", (1.0, 1.0))
    assert publish(store, bundle(tmp_path), tmp_path.as_uri(), clock_ms=lambda: 62_000).fresh
    assert store.get(uri) == b"model"
    # retention goes by the age of a leftover: what is used again must look new
    assert store.head(uri).modified_ms > 62_000


def test_files_of_a_run_under_way_are_not_replaced(tmp_path: Path) -> None:
    """It may be about to commit a manifest with the sha256 of its own bytes."""
    store = FileStore()
    store.put(bundle(tmp_path).uri + "golden.json", b"of another")
    with pytest.raises(Transient, match=r"golden\.json: written less than 60 s ago by another run") as caught:
        publish(store, bundle(tmp_path), tmp_path.as_uri())
    assert caught.value.reason is Reason.VERSION_BUSY
    assert store.get(bundle(tmp_path).uri + "golden.json") == b"of another"
    assert not (tmp_path / VERSION / "manifest.json").exists()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"decision": Decision(kind=DecisionKind.SIGN, threshold=0.6)}, "decision"),
        ({"costs": Costs(round_trip=2e-4)}, "costs"),
        ({"baseline": Baseline(uri="s3://m/v/", digest="sha256:1")}, "baseline"),
        ({"gates": (replace(manifest().gates[0], threshold=0.5),)}, "gates"),
        ({"gates": (replace(manifest().gates[0], forced=True),)}, "gates"),
        ({"data": replace(manifest().data, digest="e")}, "data"),
        ({"files": manifest().files | {"model.onnx": FileRecord(sha256="cc", size=5)}}, "model"),
        ({"retrain": by("fx-1", name="other")}, "owner"),
    ],
)
def test_a_committed_bundle_is_never_touched(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    publish(FileStore(), bundle(tmp_path), tmp_path.as_uri())
    store = Crashing(99)
    with pytest.raises(BadConfiguration, match=f"by the run fx-1 of demo/fx, with another {named};") as caught:
        publish(store, changed(bundle(tmp_path, **changes), files={"model.onnx": b"other"}), tmp_path.as_uri())
    assert caught.value.reason is Reason.VERSION_EXISTS
    assert store.order == []


def test_the_same_model_of_another_run_is_published_already(tmp_path: Path) -> None:
    first = bundle(tmp_path)
    publish(FileStore(), first, tmp_path.as_uri())
    (tmp_path / "LATEST.json").unlink()
    store = Crashing(99)
    reports = manifest().files | {"golden.json": FileRecord(sha256="other digits", size=2)}
    same = bundle(tmp_path, retrain=by("fx-2", uid="u-2"), metrics={"auc": 0.66000001}, files=reports, libraries={"python": "3.12"})
    assert publish(store, same, tmp_path.as_uri()) == Published(first.digest, "fx-1", fresh=False)
    assert store.order == ["LATEST.json once"]
    assert json.loads((tmp_path / "LATEST.json").read_bytes())["digest"] == first.digest


def test_an_unreadable_manifest_is_never_replaced(tmp_path: Path) -> None:
    FileStore().put(bundle(tmp_path).uri + "manifest.json", b"not json")
    with pytest.raises(BadConfiguration, match="move it out of the way"):
        publish(FileStore(), bundle(tmp_path), tmp_path.as_uri())


@pytest.mark.parametrize("threshold", [0.5, 0.6])
def test_losing_the_race_for_the_manifest(tmp_path: Path, threshold: float) -> None:
    other = bundle(tmp_path, retrain=by("fx-9"), decision=Decision(kind=DecisionKind.SIGN, threshold=threshold))

    class Late(Crashing):
        def put(self, uri: str, data: bytes, **options: Any) -> str:
            if uri.endswith("manifest.json"):
                FileStore().put(uri, other.manifest)
            return super().put(uri, data, **options)

    if threshold == 0.5:
        assert publish(Late(99), bundle(tmp_path), tmp_path.as_uri()) == Published(other.digest, "fx-9", fresh=False)
    else:
        with pytest.raises(BadConfiguration, match="another decision"):
            publish(Late(99), bundle(tmp_path), tmp_path.as_uri())


def test_many_runs_at_once_leave_one_whole_bundle_each_and_the_newest_in_the_pointer(tmp_path: Path) -> None:
    """Four runs of each of four versions, with different reports: whoever commits, the files are those of its manifest."""

    def attempt(number: int) -> None:
        version = f"2024010{number % 4 + 1}T000000Z-aaaaaaaa"
        files = {"model.onnx": b"model", "golden.json": f"{number}".encode()}
        records = {name: FileRecord(sha256=hashlib.sha256(data).hexdigest(), size=len(data)) for name, data in files.items()}
        made = changed(bundle(tmp_path, version, retrain=by(f"fx-{number}"), files=records), files=files)
        with suppress(Transient):
            publish(FileStore(), made, tmp_path.as_uri())

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(attempt, range(16)))
    for folder in tmp_path.glob("2024*"):
        written = Manifest.parse((folder / "manifest.json").read_bytes())
        for name, record in written.files.items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == record.sha256
    assert json.loads((tmp_path / "LATEST.json").read_bytes())["version"] == "20240104T000000Z-aaaaaaaa"


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


def test_the_pointer_may_vanish_while_it_is_moved(tmp_path: Path) -> None:
    class Vanishing(FileStore):
        def put(self, uri: str, data: bytes, *, create_only: bool = False, if_match: str | None = None) -> str:
            if if_match is not None and uri.endswith("LATEST.json"):
                self.delete(uri)
            return super().put(uri, data, create_only=create_only, if_match=if_match)

    (tmp_path / "LATEST.json").write_bytes(b"{}")
    publish(Vanishing(), bundle(tmp_path), tmp_path.as_uri())
    assert json.loads((tmp_path / "LATEST.json").read_bytes())["version"] == VERSION


def test_a_pointer_that_others_move_all_the_time_is_worth_another_try(tmp_path: Path) -> None:
    class Busy(FileStore):
        def put(self, uri: str, data: bytes, *, create_only: bool = False, if_match: str | None = None) -> str:
            if if_match is not None:
                raise AlreadyExists("moved")
            return super().put(uri, data, create_only=create_only, if_match=if_match)

    (tmp_path / "LATEST.json").write_bytes(b"{}")
    with pytest.raises(Unavailable, match="in between; try again"):
        publish(Busy(), bundle(tmp_path), tmp_path.as_uri())


def test_without_a_bucket_the_pointer_does_not_try_again(tmp_path: Path) -> None:
    class Nowhere(FileStore):
        def put(self, uri: str, data: bytes, *, create_only: bool = False, if_match: str | None = None) -> str:
            raise NotFound("no bucket")

    with pytest.raises(NotFound, match="no bucket"):
        move_forward(Nowhere(), f"{tmp_path.as_uri()}/LATEST.json", b"", later=lambda _: False)


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
