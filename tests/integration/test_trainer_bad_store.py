"""A real S3 server that is not there, says no, or goes away in the middle: said with the right exit code, and never half a bundle."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from planted import market, write_bars
from s3_server import key_with, s3_server
from trainer_runs import run_document

from walkforward_core.bundle import Manifest
from walkforward_core.objectstore import S3Store, open_store
from walkforward_core.runs import ExitCode, ResultDocument, RunVerdict
from walkforward_trainer.errors import Reason
from walkforward_trainer.pipeline import execute
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from walkforward_core.objectstore import ObjectStore

pytestmark = pytest.mark.integration

ROWS = 700
NOW = 1_900_000_000_000
MADE = market(1, ROWS, edge=1.5).bars


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("s3")
    with s3_server(folder) as settings:
        bars = write_bars(folder / "bars.csv", MADE)
        open_store("s3://models/", allow_file=False, env=settings).put("s3://models/bars.csv", bars.read_bytes())
        yield settings


@pytest.fixture
def store(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return open_store("s3://models/", allow_file=False, env=env)


def ended(artifacts: str, data: str = "s3://models/bars.csv") -> tuple[ResultDocument, ExitCode | None]:
    """Run a small retrain that would publish."""
    rows = {"uri": data, "format": "csv", "symbols": ["X"], "timeframe": "1h", "windowBars": 550, "quality": {"minRows": 300}}
    fields: dict[str, Any] = {
        "overrides": {"target": {"kind": "Direction"}, "model": {"trees": 5}},
        "data": rows,
        "validation": {"folds": 2},
        "gates": {"auc": {"min": 0.51}},
        "artifacts": {"uri": artifacts},
    }
    return execute(run_document(fields, timestamp(int(MADE.time[-1]))), allow_file=True, now_ms=NOW)


def failed(outcome: tuple[ResultDocument, ExitCode | None], reason: Reason, code: ExitCode, *words: str) -> None:
    result, found = outcome
    assert (result.verdict, result.reason, found) == (RunVerdict.FAILED, reason, code), result.message
    for word in words:
        assert word in result.message


def early(outcome: tuple[ResultDocument, ExitCode | None], reason: Reason, *words: str) -> None:
    """Hold a run to have ended before it read anything, with one sentence: what follows a run was not tried on such a store."""
    failed(outcome, reason, ExitCode.BAD_CONFIGURATION, *words)
    assert "audit" not in outcome[0].message


def bundles(store: ObjectStore, prefix: str) -> list[str]:
    """Return the versions below ``prefix`` that a reader sees, each held to its manifest."""
    found = []
    for uri in store.list(prefix):
        if uri.endswith("/manifest.json"):
            manifest = Manifest.parse(store.get(uri))
            for name, record in manifest.files.items():
                assert hashlib.sha256(store.get(uri.removesuffix("manifest.json") + name)).hexdigest() == record.sha256
            found.append(manifest.version)
    return found


def test_the_wrong_key_is_forbidden(store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret-of-this-key")
    for outcome in (ended("s3://models/no"), ended(tmp_path.as_uri())):
        failed(outcome, Reason.FORBIDDEN, ExitCode.BAD_CONFIGURATION, "403", "check the keys")
        assert "not-the-secret-of-this-key" not in outcome[0].message
    assert (tmp_path / "runs").is_dir()
    assert not bundles(store, "s3://models/no")


def test_a_bucket_that_is_not_there(store: ObjectStore, tmp_path: Path) -> None:
    early(ended("s3://no-such/x"), Reason.STORE_REFUSED, "artifacts.uri", "NoSuchBucket", "create the bucket")
    failed(ended(tmp_path.as_uri(), "s3://no-such/bars.csv"), Reason.STORE_REFUSED, ExitCode.BAD_CONFIGURATION, "data.uri", "no-such")


@pytest.mark.parametrize(
    ("name", "actions", "verb"), [("reader", ("GetObject", "ListBucket"), "write"), ("writer", ("GetObject", "PutObject"), "list")]
)
def test_a_key_that_may_not_publish_is_told_before_anything_is_read(
    store: ObjectStore, env: dict[str, str], monkeypatch: pytest.MonkeyPatch, name: str, actions: tuple[str, ...], verb: str
) -> None:
    before = store.list("s3://models/")
    for variable, value in key_with(env, name, *actions).items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr("walkforward_trainer.pipeline.prepare_all", lambda *_, **__: pytest.fail("data were read"))
    early(
        ended("s3://models/early"),
        Reason.FORBIDDEN,
        f"artifacts.uri: {verb} s3://models/early/runs/",
        "403",
        "check the keys, their policy",
    )
    assert store.list("s3://models/") == before


def test_get_put_and_list_are_all_the_rights_of_a_run(store: ObjectStore, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/reference/trainer.md says so; twice, since the second run finds what the first has written."""
    for variable, value in key_with(env, "trainer", "GetObject", "PutObject", "ListBucket").items():
        monkeypatch.setenv(variable, value)
    for _ in range(2):
        result, code = ended("s3://models/rights")
        assert (result.verdict, code) == (RunVerdict.PUBLISHED, None), result.message
        assert "403" not in result.message
    assert bundles(store, "s3://models/rights/") == [result.version]


@pytest.mark.usefixtures("store")
def test_an_endpoint_that_does_not_answer_takes_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    began = time.monotonic()
    for outcome in (ended(tmp_path.as_uri()), ended("s3://models/x")):
        failed(outcome, Reason.STORE_UNAVAILABLE, ExitCode.TRANSIENT, "check AWS_ENDPOINT_URL")
    assert time.monotonic() - began < 30


def test_half_a_bundle_of_another_run_is_completed(store: ObjectStore) -> None:
    """Files without a manifest: the same bytes are taken, others only when nobody can be writing them any more."""
    whole, _ = ended("s3://models/whole")
    assert bundles(store, "s3://models/whole/") == [whole.version]
    source, target = whole.uri, f"s3://models/half/{whole.version}/"
    store.put(f"{target}model.onnx", store.get(f"{source}model.onnx"))
    result, _ = ended("s3://models/half")
    assert (result.verdict, result.version) == (RunVerdict.PUBLISHED, whole.version), result.message
    assert bundles(store, "s3://models/half/") == [whole.version]

    store.put(f"s3://models/torn/{whole.version}/model.onnx", b"half")
    failed(ended("s3://models/torn"), Reason.VERSION_BUSY, ExitCode.TRANSIENT, "another run of this very version", "try again")
    assert not bundles(store, "s3://models/torn/")


def test_half_a_bundle_that_nobody_writes_any_more_is_replaced(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = ended("s3://models/first")
    store.put(f"s3://models/old/{whole.version}/model.onnx", b"half")
    monkeypatch.setattr("walkforward_trainer.publish.QUIET_MS", -1_000)
    assert ended("s3://models/old")[0].version == whole.version
    assert bundles(store, "s3://models/old/") == [whole.version]


@pytest.mark.parametrize("writes", [2, 4, 6])
def test_a_server_that_goes_away_while_it_is_published_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    """Its process is stopped for good before a write; when it is back on the same folder, the next attempt publishes."""
    with s3_server(tmp_path / "first") as env:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        bars = write_bars(tmp_path / "bars.csv", MADE)
        put, done = S3Store.put, list[str]()

        def dying(self: S3Store, uri: str, data: bytes, **options: Any) -> str:
            if len(done) == writes:
                kill(env["AWS_ENDPOINT_URL"])
            done.append(uri)
            return put(self, uri, data, **options)

        with monkeypatch.context() as patch:
            patch.setattr(S3Store, "put", dying)
            failed(ended("s3://models/fx", bars.as_uri()), Reason.STORE_UNAVAILABLE, ExitCode.TRANSIENT, "try again")
        assert len(done) > writes
    data = tmp_path / "first" / "data" / "models"
    assert not list(data.rglob("manifest.json"))
    (tmp_path / "second").mkdir()
    (tmp_path / "first" / "data").rename(tmp_path / "kept")
    with s3_server(tmp_path / "second") as env:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        store = open_store("s3://models/", allow_file=False, env=env)
        for path in (tmp_path / "kept" / "models").rglob("*"):
            if path.is_file():
                store.put(f"s3://models/{path.relative_to(tmp_path / 'kept' / 'models')}", path.read_bytes())
        result, code = ended("s3://models/fx", bars.as_uri())
        assert (result.verdict, code) == (RunVerdict.PUBLISHED, None), result.message
        assert bundles(store, "s3://models/fx/") == [result.version]


def kill(endpoint: str) -> None:
    """Kill the server that listens on ``endpoint``: a child of this process, found by its own command line."""
    address = endpoint.removeprefix("http://")
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()
    (server,) = [int(pid) for pid in children if address in Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")]
    os.kill(server, signal.SIGKILL)
