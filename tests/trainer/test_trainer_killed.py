"""A run that dies at any write, or finds the disk full: never half a bundle, and the next attempt ends as the first would have."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from planted import market, write_bars
from trainer_runs import run_document

from walkforward_core.bundle import Manifest
from walkforward_core.errors import Unavailable
from walkforward_core.objectstore import FileStore, ObjectHead
from walkforward_core.runs import ExitCode, RunDocument, RunVerdict
from walkforward_trainer.data.cache import Cache
from walkforward_trainer.errors import Reason
from walkforward_trainer.pipeline import execute
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ROWS: Final = 700
NOW: Final = 1_900_000_000_000


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bars(tmp_path_factory.mktemp("bars") / "bars.csv", market(1, ROWS, edge=1.5).bars)


def run_of(bars: Path, models: Path, **changes: Any) -> RunDocument:
    """Return a small run that publishes: bars with a planted edge, few trees, and a gate that holds."""
    data = {"uri": bars.as_uri(), "format": "csv", "symbols": ["X"], "timeframe": "1h", "windowBars": 550, "quality": {"minRows": 300}}
    fields = {
        "overrides": {"target": {"kind": "Direction"}, "model": {"trees": 5}},
        "data": data | changes,
        "validation": {"folds": 2},
        "gates": {"auc": {"min": 0.51}},
        "artifacts": {"uri": models.as_uri(), "retention": {"keepLast": 1, "maxAge": "1s"}},
    }
    return run_document(fields, timestamp(int(market(1, ROWS, edge=1.5).bars.time[-1])))


def whole(models: Path) -> list[str]:
    """Return the versions that can be seen, each held to its manifest: a reader who finds one finds all of it."""
    found = []
    for path in models.rglob("manifest.json"):
        manifest = Manifest.parse(path.read_bytes())
        for name, record in manifest.files.items():
            data = (path.parent / name).read_bytes()
            assert (hashlib.sha256(data).hexdigest(), len(data)) == (record.sha256, record.size), f"{path.parent.name}/{name}"
        found.append(manifest.version)
    if (models / "LATEST.json").exists():
        assert json.loads((models / "LATEST.json").read_bytes())["version"] in found
    assert len(found) <= 1
    return found


class Dying(FileStore):
    """A store whose process is gone at a write: before it, or when it is done and nobody hears of it."""

    def __init__(self, writes: int, *, after: bool, error: type[BaseException]) -> None:
        self.left = writes
        self.after = after
        self.error = error
        self.written = 0

    def put(self, uri: str, data: bytes, *, create_only: bool = False, if_match: str | None = None) -> str:
        if self.left == 0 and not self.after:
            raise self.error("gone")
        etag = super().put(uri, data, create_only=create_only, if_match=if_match)
        self.written += 1
        if self.left == 0:
            raise self.error("gone")
        self.left -= 1
        return etag


def attempt(run: RunDocument, store: FileStore, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ExitCode | None]:
    monkeypatch.setattr("walkforward_trainer.pipeline.open_store", lambda *_, **__: store)
    return execute(run, allow_file=True, now_ms=NOW)


@pytest.fixture(scope="module")
def expected(bars: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, int]:
    """Return the version that the run publishes when nothing happens, and how many writes that takes."""
    models, store = tmp_path_factory.mktemp("models"), Dying(-1, after=False, error=SystemExit)
    with pytest.MonkeyPatch.context() as patch:
        result, code = attempt(run_of(bars, models), store, patch)
    assert (result.verdict, code) == (RunVerdict.PUBLISHED, None), result.message
    assert whole(models) == [result.version]
    return result.version, store.written


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_write(bars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: tuple[str, int], when: str) -> None:
    version, writes = expected
    for number in range(writes):
        models = tmp_path / str(number)
        run = run_of(bars, models)
        with pytest.raises(SystemExit):
            attempt(run, Dying(number, after=when == "after", error=SystemExit), monkeypatch)
        assert whole(models) in ([], [version])
        result, code = attempt(run, FileStore(), monkeypatch)
        assert (result.verdict, code, result.version) == (RunVerdict.PUBLISHED, None, version), f"write {number}: {result.message}"
        assert whole(models) == [version]


def test_a_store_that_stays_away_is_worth_another_try(
    bars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: tuple[str, int]
) -> None:
    version, _ = expected
    for number in range(5):
        models = tmp_path / str(number)
        result, code = attempt(run_of(bars, models), Dying(number, after=False, error=Unavailable), monkeypatch)
        assert (result.verdict, result.reason, code) == (RunVerdict.FAILED, Reason.STORE_UNAVAILABLE, ExitCode.TRANSIENT)
        assert not whole(models)
        assert attempt(run_of(bars, models), FileStore(), monkeypatch)[0].version == version


@pytest.mark.parametrize("line", ["parity", "bundle"])
def test_killed_by_the_kernel(bars: Path, tmp_path: Path, expected: tuple[str, int], line: str) -> None:
    """The process itself, at a stage that its log has begun."""
    source = tmp_path / "run.json"
    source.write_bytes(msgspec.json.encode(run_of(bars, tmp_path / "models")))
    command = [sys.executable, "-m", "walkforward_trainer", "run", "--spec", str(source), "--allow-file"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for said in process.stderr:
            if f", {line}" in said and "took" not in said:
                process.kill()
                break
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert whole(tmp_path / "models") in ([], [expected[0]])
    result, code = execute(run_of(bars, tmp_path / "models"), allow_file=True, now_ms=NOW)
    assert (result.verdict, result.version, code) == (RunVerdict.PUBLISHED, expected[0], None)
    assert whole(tmp_path / "models") == [expected[0]]


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Callable[[str], None]]:
    """Mount a file system of ``size`` at ``folder``; yields how to make it another size."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], check=True)

    def resize(size: str) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)

    try:
        yield resize
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.mounts
@pytest.mark.parametrize("size", ["4k", "40k", "80k", "120k"])
def test_a_full_disk_of_artifacts(bars: Path, tmp_path: Path, expected: tuple[str, int], size: str) -> None:
    models = tmp_path / "models"
    with small_disk(models, size) as resize:
        result, code = execute(run_of(bars, models), allow_file=True, now_ms=NOW)
        assert (result.verdict, result.reason, code) == (RunVerdict.FAILED, Reason.STORE_UNAVAILABLE, ExitCode.TRANSIENT), result.message
        assert "No space left on device (ENOSPC); check the disk, then try again" in result.message
        assert models.as_uri() in result.message
        assert not whole(models)
        resize("16m")
        result, code = execute(run_of(bars, models), allow_file=True, now_ms=NOW)
        assert (result.verdict, result.version, code) == (RunVerdict.PUBLISHED, expected[0], None), result.message
        assert whole(models) == [expected[0]]


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_files_that_may_not_be_so_large(bars: Path, tmp_path: Path, expected: tuple[str, int]) -> None:
    with files_up_to(2_048):
        result, code = execute(run_of(bars, tmp_path), allow_file=True, now_ms=NOW)
    assert (result.verdict, result.reason, code) == (RunVerdict.FAILED, Reason.STORE_UNAVAILABLE, ExitCode.TRANSIENT), result.message
    assert "EFBIG" in result.message
    assert not whole(tmp_path)
    assert execute(run_of(bars, tmp_path), allow_file=True, now_ms=NOW)[0].version == expected[0]


@pytest.mark.mounts
@pytest.mark.parametrize("size", ["8k", "32k"])
def test_a_full_disk_of_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    """A database is copied before it is read."""
    made, database = market(1, ROWS, edge=1.5).bars, tmp_path / "bars.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE bars (time, open, high, low, close, volume)")
        columns = ((made.time - 3_600_000), made.open, made.high, made.low, made.close, made.volume)
        connection.executemany("INSERT INTO bars VALUES (?, ?, ?, ?, ?, ?)", list(zip(*(c.tolist() for c in columns), strict=True)))
    asked = {"uri": database.as_uri(), "format": "sqlite", "query": "SELECT * FROM bars"}
    with small_disk(tmp_path / "tmp", size) as resize:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
        run = run_of(database, tmp_path / "models", **asked)
        result, code = execute(run, allow_file=True, now_ms=NOW)
        assert (result.verdict, result.reason, code) == (RunVerdict.FAILED, Reason.NO_SPACE, ExitCode.TRANSIENT), result.message
        assert str(tmp_path / "tmp") in result.message
        assert "larger /tmp" in result.message
        assert not list((tmp_path / "tmp").iterdir())
        resize("16m")
        assert execute(run, allow_file=True, now_ms=NOW)[0].verdict is RunVerdict.PUBLISHED


@pytest.mark.mounts
def test_a_full_disk_of_the_cache(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A cache is a convenience: without room nothing is kept, and not half of it either."""
    data = os.urandom(100_000)
    head = ObjectHead(etag="e", size=len(data))
    with small_disk(tmp_path / "cache", "40k") as resize:
        cache = Cache(tmp_path / "cache", 1 << 20)
        cache.put("s3://b/k", head, data)
        assert "No space left on device; s3://b/k is not kept" in caplog.text
        assert not list((tmp_path / "cache").iterdir())
        assert cache.get("s3://b/k", head) is None
        resize("16m")
        cache.put("s3://b/k", head, data)
        assert cache.get("s3://b/k", head) == data


def test_a_query_that_the_disk_has_no_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite sorts on the disk what memory does not hold, and says so itself when that is full."""
    database = tmp_path / "bars.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE bars (time)")

    def full(*_: Any) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr("walkforward_trainer.data.sqlite._asked", full)
    run = run_of(database, tmp_path / "models", uri=database.as_uri(), format="sqlite", query="SELECT * FROM bars")
    result, code = execute(run, allow_file=True, now_ms=NOW)
    assert (result.reason, code) == (Reason.NO_SPACE, ExitCode.TRANSIENT)
    assert "disk is full" in result.message
