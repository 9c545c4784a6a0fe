"""Tracking without a server: what would be logged, and that a run never waits long for it nor fails by it."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from trainer_runs import eurusd, run_document, spec
from trainer_versions import VERSION, put_bundle

from walkforward_core.objectstore import FileStore
from walkforward_core.runs import ResultDocument, RunVerdict
from walkforward_trainer import tracking
from walkforward_trainer.conclude import conclude
from walkforward_trainer.tracking import LONGEST, parameters, track

if TYPE_CHECKING:
    from pathlib import Path

    from walkforward_core.runs import RunDocument

REJECTED = ResultDocument(run="fx-1a2b3c4d", verdict=RunVerdict.REJECTED, reason="GatesFailed", message="auc: 0.51", metrics={"auc": 0.51})


def run(at: Path, **changes: Any) -> RunDocument:
    return run_document(spec(eurusd(), at, tracking={"experiment": "fx"}, **changes))


def test_parameters_are_what_the_model_was_asked_to_be(tmp_path: Path) -> None:
    features = [f"feature_{number:03}" for number in range(100)]
    found = parameters(
        run(tmp_path, overrides={"target": {"kind": "Risk", "threshold": 1.5}, "features": features}, job={"backoffLimit": 3})
    )
    assert (found["overrides.target.kind"], found["overrides.target.threshold"], found["recipe"]) == ("Risk", "1.5", "ohlcv")
    assert (found["data.symbols"], found["asOf"], found["mode"]) == ('["EURUSD"]', "2017-08-25T01:00:00Z", "Full")
    assert len(found["overrides.features"]) == LONGEST
    assert not [name for name in found if name.startswith(("job", "tracking", "schedules"))]
    assert all(found.values()), "MLflow refuses empty values"


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({}, "it is not set; put it into the Secret of artifacts"),
        ({"MLFLOW_TRACKING_URI": "file:///tmp/mlruns"}, "http(s) address of a server, it is 'file:///tmp/mlruns'"),
    ],
)
def test_without_the_address_of_a_server_nothing_is_logged_and_that_is_said(tmp_path: Path, env: dict[str, str], words: str) -> None:
    result = conclude(run(tmp_path), FileStore(), REJECTED, (), now_ms=0, env=env)
    assert result.verdict is RunVerdict.REJECTED
    assert result.message.startswith("auc: 0.51; not logged to MLflow: ")
    assert words in result.message
    stored = ResultDocument.parse((tmp_path / "runs" / REJECTED.run / "result.json").read_bytes())
    assert stored == result


def test_nobody_asked_for_it(tmp_path: Path) -> None:
    assert track(FileStore(), run_document(spec(eurusd(), tmp_path)), REJECTED, {}) == ""


def test_a_server_that_is_silent_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the connection and says nothing."""
    for name, value in tracking.QUIET.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    put_bundle(tmp_path, VERSION)
    published = ResultDocument(
        run=REJECTED.run, verdict=RunVerdict.PUBLISHED, reason="Published", version=VERSION, uri=f"{tmp_path.as_uri()}/{VERSION}/"
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        said = track(FileStore(), run(tmp_path), published, {"MLFLOW_TRACKING_URI": address}, patience_s=0.5)
        assert time.monotonic() - began < 5
    # the process of a run would end now; here other tests follow
    for thread in threading.enumerate():
        if thread.name == "mlflow":
            thread.join(60)
    assert said == "not logged to MLflow: MLFLOW_TRACKING_URI did not answer within 0.5 s; look at the server and the network"


def test_a_run_without_tracking_never_loads_mlflow() -> None:
    code = "import sys, walkforward_trainer.__main__; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
