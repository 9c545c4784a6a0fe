"""The early look at where a run writes: what it tells, and that nothing is left of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from trainer_runs import NOW, eurusd, run_document, spec

from walkforward_core.errors import AlreadyExists, Forbidden, NotFound, StoreError, Unavailable
from walkforward_core.objectstore import FileStore
from walkforward_core.runs import ExitCode, RunVerdict
from walkforward_trainer.artifacts import check_writable
from walkforward_trainer.errors import Reason
from walkforward_trainer.pipeline import execute
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from pathlib import Path


class Store(FileStore):
    """Answers a conditional write with ``answer``, a listing with ``listed``."""

    def __init__(self, answer: StoreError | None, listed: StoreError | None = None) -> None:
        self.answer, self.listed = answer, listed

    def put(self, uri: str, data: bytes, **options: Any) -> str:
        """Answer, and hold the look to a write that cannot become one."""
        assert options["if_match"]
        assert not data
        if self.answer is not None:
            raise self.answer
        return uri

    def list(self, prefix: str) -> list[str]:
        """Answer."""
        if self.listed is not None:
            raise self.listed
        return []


@pytest.mark.parametrize("store", [Store(AlreadyExists("there")), Store(NotFound("no key"))])
def test_a_store_that_would_take_the_write(store: Store) -> None:
    check_writable(store, "s3://models/x")


@pytest.mark.parametrize(
    ("store", "error"),
    [
        (Store(Forbidden("403")), Forbidden),
        (Store(Unavailable("503")), Unavailable),
        (Store(NotFound("404"), NotFound("no bucket")), NotFound),
        (Store(NotFound("404"), Forbidden("403")), Forbidden),
    ],
)
def test_a_store_that_would_not(store: Store, error: type[StoreError]) -> None:
    with pytest.raises(error):
        check_writable(store, "s3://models/x")


def test_a_store_that_knows_no_conditions_is_refused() -> None:
    with pytest.raises(StoreError, match=r"condition \(If-Match\) did not hold.*; use a store with conditional writes"):
        check_writable(Store(None), "s3://models/x")


def test_files_are_looked_at_and_left_alone(tmp_path: Path) -> None:
    kept = tmp_path / "result.json"
    kept.write_bytes(b"old")
    check_writable(FileStore(), kept.as_uri())
    check_writable(FileStore(), (tmp_path / "runs" / "a" / "result.json").as_uri())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [kept]
    assert kept.read_bytes() == b"old"


@pytest.mark.parametrize(("ahead", "reason"), [(299_000, Reason.DATA_NOT_FOUND), (3_600_000, Reason.SPEC_INVALID)])
def test_an_instant_that_has_not_been(tmp_path: Path, ahead: int, reason: Reason) -> None:
    """A bar that is open now would be closed by then."""
    run = run_document(spec(tmp_path / "none.csv", tmp_path / "models"), timestamp(NOW + ahead))
    result, _ = execute(run, allow_file=True, now_ms=NOW)
    assert result.reason is reason, result.message
    if reason is Reason.SPEC_INVALID:
        assert result.message.startswith(
            "data.asOf 2026-06-01T01:00:00Z lies 1h ahead of now, 2026-06-01T00:00:00Z by the clock here; choose"
        )


def test_a_folder_that_is_none_ends_the_run_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("walkforward_trainer.pipeline.prepare_all", lambda *_, **__: pytest.fail("data were read"))
    (tmp_path / "models").write_bytes(b"a file")
    result, code = execute(run_document(spec(eurusd(), tmp_path / "models")), allow_file=True, now_ms=NOW)
    assert (result.verdict, result.reason, code) == (RunVerdict.FAILED, Reason.STORE_REFUSED, ExitCode.BAD_CONFIGURATION)
    assert result.message.startswith("artifacts.uri: write file://")
    assert "audit" not in result.message
