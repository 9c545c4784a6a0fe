"""Runs as a real MLflow server sees them: parameters, metrics, model and registered version, once each, also after a second attempt."""

from __future__ import annotations

import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from mlflow_server import api, mlflow_server
from msgspec.structs import replace
from trainer_runs import NOW, eurusd, run_document, spec

from walkforward_core.objectstore import FileStore
from walkforward_core.runs import ResultDocument, RunVerdict
from walkforward_trainer.pipeline import execute
from walkforward_trainer.tracking import track

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# the first time, the server is installed
pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

TRACKING = {"experiment": "fx models", "registeredModel": "fx-risk"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as address:
        yield address


def runs(address: str) -> list[dict[str, Any]]:
    found = api(address, "experiments/get-by-name", experiment_name=TRACKING["experiment"])
    wanted = {"experiment_ids": [found["experiment"]["experiment_id"]], "order_by": ["attributes.start_time ASC"]}
    return list(api(address, "runs/search", wanted)["runs"])


def pairs(entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {entry["key"]: entry["value"] for entry in entries}


def test_a_published_run_is_logged_with_its_model_once(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    run = run_document(spec(eurusd(), tmp_path, tracking=TRACKING))
    result, code = execute(run, allow_file=True, now_ms=NOW)
    assert (result.verdict, code) == (RunVerdict.PUBLISHED, None), result.message
    assert "MLflow" not in result.message, result.message

    assert capsys.readouterr().out == "", "standard output is for the result"

    [logged] = runs(server)
    tags, parameters, metrics = (pairs(logged["data"][kind]) for kind in ("tags", "params", "metrics"))
    assert (logged["info"]["status"], logged["info"]["run_name"]) == ("FINISHED", run.run)
    assert (tags["walkforward.version"], tags["walkforward.digest"]) == (result.version, result.digest)
    assert tags["walkforward.retrain"] == "demo/fx"
    assert (parameters["overrides.target.kind"], parameters["data.windowBars"], parameters["asOf"]) == ("Risk", "2000", run.as_of)
    assert "job.activeDeadlineSeconds" not in parameters
    assert metrics["auc"] == pytest.approx(result.metrics["auc"])
    assert set(metrics) == set(result.metrics)

    listed = api(server, "artifacts/list", run_id=logged["info"]["run_id"])
    assert {file["path"] for file in listed["files"]} == {"model", "report.html", "report.json"}
    model = f"{server}/get-artifact?run_uuid={logged['info']['run_id']}&path=model/model.onnx"
    with urllib.request.urlopen(model, timeout=60) as answer:
        assert answer.read() == FileStore().get(f"{result.uri}model.onnx")

    def versions() -> list[dict[str, Any]]:
        return list(api(server, "model-versions/search", filter="name='fx-risk'")["model_versions"])

    [version] = versions()
    assert version["run_id"] == logged["info"]["run_id"]
    assert (pairs(version["tags"])["walkforward.version"], pairs(version["tags"])["walkforward.digest"]) == (result.version, result.digest)

    again, _ = execute(run, allow_file=True, now_ms=NOW + 1)
    assert (again.reason, "MLflow" in again.message) == ("AlreadyPublished", False)
    assert len(runs(server)) == 1, "a second attempt of the same run"
    other, _ = execute(replace(run, run="fx-99999999"), allow_file=True, now_ms=NOW + 2)
    assert (other.reason, "MLflow" in other.message) == ("AlreadyPublished", False)
    assert len(runs(server)) == 2, "another run"
    assert len(versions()) == 1, "of the same bundle"


def test_a_run_that_published_nothing_is_logged_too(tmp_path: Path, server: str) -> None:
    for verdict, status in ((RunVerdict.REJECTED, "FINISHED"), (RunVerdict.FAILED, "FAILED")):
        run = run_document(spec(eurusd(), tmp_path, tracking=TRACKING), run=f"fx-{verdict.lower()}")
        result = ResultDocument(run=run.run, verdict=verdict, reason="GatesFailed", message="auc: 0.51", metrics={"auc": 0.51})
        assert track(FileStore(), run, result, {"MLFLOW_TRACKING_URI": server}) == ""
        [logged] = [found for found in runs(server) if found["info"]["run_name"] == run.run]
        assert logged["info"]["status"] == status
        assert "walkforward.version" not in pairs(logged["data"]["tags"])
        assert pairs(logged["data"]["tags"])["walkforward.verdict"] == verdict


def test_what_the_server_refuses_is_said(tmp_path: Path, server: str) -> None:
    fields = spec(eurusd(), tmp_path, tracking={"experiment": "deleted"})
    created = api(server, "experiments/create", {"name": "deleted"})
    api(server, "experiments/delete", {"experiment_id": created["experiment_id"]})
    result = ResultDocument(run="fx-1a2b3c4d", verdict=RunVerdict.REJECTED, reason="GatesFailed")
    said = track(FileStore(), run_document(fields), result, {"MLFLOW_TRACKING_URI": server})
    assert said.startswith("not logged to MLflow: ")
