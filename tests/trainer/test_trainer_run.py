"""Whole runs on real bars: what passes, what is rejected, what is published, and that it is the same every time."""

from __future__ import annotations

import http.server
import importlib.metadata
import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from trainer_runs import DIRECTION, FIRST, NOW, RISK, SECOND, eurusd, random_bars, run_document, spec, write_csv

from walkforward_core.bundle import Baseline, Golden, Manifest, Reference, Verdict
from walkforward_core.documents import digest
from walkforward_core.features import OHLCV
from walkforward_core.runs import ExitCode, ResultDocument, RunDocument, RunVerdict
from walkforward_trainer.__main__ import main
from walkforward_trainer.errors import Reason
from walkforward_trainer.pipeline import execute
from walkforward_trainer.runtime import run as onnx
from walkforward_trainer.specfile import timestamp


def ended(run: RunDocument) -> ResultDocument:
    result, code = execute(run, allow_file=True, now_ms=NOW)
    assert code is None, result.message
    return result


def failed(run: RunDocument) -> tuple[ResultDocument, ExitCode]:
    result, code = execute(run, allow_file=True, now_ms=NOW)
    assert code is not None, result
    assert result.verdict is RunVerdict.FAILED
    return result, code


def folder(result: ResultDocument) -> Path:
    return Path(result.uri.removeprefix("file://"))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> ResultDocument:
    return ended(run_document(spec(eurusd(), tmp_path_factory.mktemp("models"))))


@pytest.mark.parametrize("as_of", [FIRST, SECOND])
def test_the_risk_model_passes_and_the_direction_model_is_rejected(tmp_path: Path, as_of: str) -> None:
    risk = ended(run_document(spec(eurusd(), tmp_path), as_of))
    assert (risk.verdict, risk.reason, risk.failed) == (RunVerdict.PUBLISHED, Reason.PUBLISHED, ())
    assert 0.68 <= risk.metrics["auc"] <= 0.78
    assert 0.20 <= risk.metrics["baseRate"] <= 0.27
    direction = ended(run_document(spec(eurusd(), tmp_path, overrides=DIRECTION), as_of))
    assert (direction.verdict, direction.reason, direction.failed) == (RunVerdict.REJECTED, Reason.GATES_FAILED, ("auc", "auc.aboveChance"))
    assert 0.45 <= direction.metrics["auc"] <= 0.56
    assert direction.uri == direction.digest == ""
    assert "limit 0.62" in direction.message
    assert "add features that know something" in direction.message
    assert [path.name for path in tmp_path.glob("2017*")] == [risk.version]
    assert json.loads((tmp_path / "runs" / "fx-1a2b3c4d" / "result.json").read_bytes())["verdict"] == "Rejected"
    assert f"auc: {direction.metrics['auc']:.4g}, limit 0.62".encode() in (tmp_path / "runs" / "fx-1a2b3c4d" / "report.html").read_bytes()


@pytest.mark.parametrize("seed", [1, 2])
def test_the_verdicts_do_not_hang_on_the_seed(tmp_path: Path, seed: int) -> None:
    risk = ended(run_document(spec(eurusd(), tmp_path, overrides=RISK | {"model": {"seed": seed}})))
    assert risk.metrics["auc"] >= 0.68
    assert ended(run_document(spec(eurusd(), tmp_path, overrides=DIRECTION | {"model": {"seed": seed}}))).verdict is RunVerdict.REJECTED


def test_a_volume_in_another_unit_passes_offline_since_trees_do_not_care(tmp_path: Path, published: ResultDocument) -> None:
    head, *rows = eurusd().read_text(encoding="utf-8").splitlines()
    vendor = tmp_path / "vendor.csv"
    vendor.write_text("\n".join([head, *(row + "000" for row in rows)]) + "\n", encoding="utf-8")
    result = ended(run_document(spec(vendor, tmp_path / "models")))
    assert result.verdict is RunVerdict.PUBLISHED
    assert result.metrics["auc"] == pytest.approx(published.metrics["auc"], abs=5e-3)
    assert result.model != published.model


@pytest.mark.parametrize("seed", range(3))
def test_a_market_without_edge_is_rejected(tmp_path: Path, seed: int) -> None:
    bars = random_bars(seed, 2_100)
    path = write_csv(tmp_path / "noise.csv", bars)
    run = run_document(spec(path, tmp_path / "models", overrides=DIRECTION), timestamp(int(bars.time[-1])))
    result = ended(run)
    assert result.verdict is RunVerdict.REJECTED
    assert 0.42 < result.metrics["auc"] < 0.58


def test_a_planted_edge_passes(tmp_path: Path) -> None:
    """The volume of a bar tells the direction of the next three: what can be known must be found."""
    bars = random_bars(11, 2_100)
    up = np.random.default_rng(5).random(len(bars)) < 0.5
    drift = np.zeros(len(bars))
    for ahead in (1, 2, 3):
        drift[ahead:] += np.where(up[:-ahead], 1e-3, -1e-3)
    scale = np.exp(np.cumsum(drift))
    planted = type(bars)(
        time=bars.time,
        open=bars.open * scale,
        high=np.maximum(bars.open, bars.close) * scale * 1.0005,
        low=np.minimum(bars.open, bars.close) * scale * 0.9995,
        close=bars.close * scale,
        volume=np.where(up, 4_000.0, 1_000.0),
    )
    overrides = {"target": {"kind": "Direction", "horizonBars": 3}}
    path = write_csv(tmp_path / "edge.csv", planted)
    gates = {"auc": {"min": 0.62}, "sharpe": {"min": 0.05}, "expectancy": {"min": 0.0}}
    result = ended(run_document(spec(path, tmp_path / "models", overrides=overrides, gates=gates), timestamp(int(bars.time[-1]))))
    assert result.verdict is RunVerdict.PUBLISHED, result.message


def test_every_file_of_the_bundle_is_what_the_manifest_says(published: ResultDocument) -> None:
    at = folder(published)
    raw = (at / "manifest.json").read_bytes()
    manifest = Manifest.parse(raw)
    assert digest(raw) == published.digest
    assert {path.name for path in at.iterdir()} == {*manifest.files, "manifest.json"}
    for name, record in manifest.files.items():
        data = (at / name).read_bytes()
        assert (digest(data), len(data)) == (f"sha256:{record.sha256}", record.size)
    assert published.model == f"sha256:{manifest.files['model.onnx'].sha256}"
    assert manifest.version == published.version == f"20170825T010000Z-{manifest.files['model.onnx'].sha256[:8]}"
    assert (manifest.input.features, manifest.input.warmup_bars, manifest.input.nan) == (OHLCV, 100, "Refuse")
    assert (manifest.decision.kind, manifest.decision.threshold) == ("filter", 0.4)
    assert (manifest.horizon.bars, manifest.horizon.ms, manifest.costs.round_trip) == (5, 18_000_000, pytest.approx(1e-4))
    assert (manifest.data.as_of, manifest.data.to) == (FIRST, FIRST)
    assert manifest.retrain.run == "fx-1a2b3c4d"
    assert manifest.baseline is None
    assert manifest.libraries["walkforward"] == importlib.metadata.version("walkforward")
    assert manifest.parity.max_abs <= 1e-6
    # the window's rows, and three around each split threshold
    assert manifest.parity.rows > 2000
    assert [(gate.name, gate.verdict) for gate in manifest.gates] == [("auc", Verdict.PASS), ("auc.aboveChance", Verdict.PASS)]
    latest = json.loads((at.parent / "LATEST.json").read_bytes())
    assert (latest["version"], latest["uri"], latest["digest"]) == (published.version, published.uri, published.digest)


def test_the_golden_rows_are_what_the_shipped_bytes_answer(published: ResultDocument) -> None:
    golden = Golden.parse((folder(published) / "golden.json").read_bytes())
    x = np.array([[np.nan if value is None else value for value in row] for row in golden.x], np.float32)
    assert 400 <= len(x) <= 512
    p = onnx((folder(published) / "model.onnx").read_bytes(), x)
    np.testing.assert_array_equal(p, np.array(golden.p, np.float32))
    assert set(golden.position) == {0.0, 1.0}
    np.testing.assert_array_equal(np.array(golden.position), np.where(p[:, 1].astype(float) > 0.4, 0.0, 1.0))


def test_the_reference_is_of_all_rows_of_the_window(published: ResultDocument) -> None:
    reference = Reference.parse((folder(published) / "reference.json").read_bytes())
    assert reference.rows == 2000
    assert tuple(feature.name for feature in reference.features) == OHLCV
    for column in (*reference.features, reference.score):
        assert sum(column.counts) == 2000
        assert column.missing == 0
        assert set(column.null.q95) == set(reference.null_m) == {"50", "100"}
    assert min(reference.null_m.values()) >= 1.0


def test_the_same_run_again_is_the_same_bundle(published: ResultDocument) -> None:
    """Another process: no state, hash seed or clock of this one plays a part."""
    at = folder(published)
    run = run_document(spec(eurusd(), at.parent))
    again = at.parent / "again"
    source = at.parent / "run.json"
    source.write_bytes(msgspec.json.encode(run_document(spec(eurusd(), again))))
    environment = os.environ | {"WALKFORWARD_ALLOW_FILE": "1", "PYTHONHASHSEED": "99", "TZ": "Asia/Tokyo"}
    command = [sys.executable, "-m", "walkforward_trainer", "run", "--spec", str(source)]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["digest"] == published.digest
    for path in at.iterdir():
        assert (again / published.version / path.name).read_bytes() == path.read_bytes()
    repeated = ended(run)
    assert (repeated.verdict, repeated.reason, repeated.digest) == (RunVerdict.PUBLISHED, Reason.ALREADY_PUBLISHED, published.digest)


def test_the_same_model_by_another_run_is_published_already(published: ResultDocument) -> None:
    before = (folder(published) / "manifest.json").read_bytes()
    again = ended(run_document(spec(eurusd(), folder(published).parent), run="fx-99999999"))
    assert (again.verdict, again.reason, again.digest, again.uri) == (
        RunVerdict.PUBLISHED,
        Reason.ALREADY_PUBLISHED,
        published.digest,
        published.uri,
    )
    assert again.message.startswith("published by the run fx-1a2b3c4d")
    assert (folder(published) / "manifest.json").read_bytes() == before


def test_the_same_model_with_another_decision_is_refused_not_overwritten(published: ResultDocument) -> None:
    before = (folder(published) / "manifest.json").read_bytes()
    bolder = RISK | {"decision": {"threshold": 0.41}}
    result, code = failed(run_document(spec(eurusd(), folder(published).parent, overrides=bolder), run="fx-99999999"))
    assert (result.reason, code) == (Reason.VERSION_EXISTS, ExitCode.BAD_CONFIGURATION)
    assert "with another decision; use that bundle, or another data.asOf" in result.message
    assert (folder(published) / "manifest.json").read_bytes() == before


def test_later_bars_play_no_part(tmp_path: Path, published: ResultDocument) -> None:
    lines = eurusd().read_text(encoding="utf-8").splitlines()
    short = tmp_path / "short.csv"
    short.write_text("\n".join(lines[:2201]) + "\n", encoding="utf-8")
    assert ended(run_document(spec(short, tmp_path / "models"))).model == published.model


def test_dry_run_and_eligibility(tmp_path: Path) -> None:
    fields = spec(eurusd(), tmp_path / "models", eligibility={"minAge": "200d", "minBars": 2000})
    short = ended(run_document(fields))
    assert (short.verdict, short.reason) == (RunVerdict.INELIGIBLE, Reason.NOT_ELIGIBLE)
    assert "eligibility.minAge: the window's rows span 115d8h, 200d wanted" in short.message
    assert "minBars" not in short.message
    dry = ended(run_document(spec(eurusd(), tmp_path / "models"), mode="DryRun"))
    assert (dry.verdict, dry.reason, dry.uri) == (RunVerdict.DRY_RUN, Reason.WOULD_TRAIN, "")
    assert "1915 rows with a label, 24.2% of them 1" in dry.message
    assert not list((tmp_path / "models").glob("2017*"))
    forced = ended(run_document(fields, force=True))
    assert forced.verdict is RunVerdict.PUBLISHED


def test_force_does_not_move_a_gate_and_a_skipped_gate_is_on_record(tmp_path: Path) -> None:
    fields = spec(eurusd(), tmp_path, overrides=DIRECTION)
    assert ended(run_document(fields, force=True)).verdict is RunVerdict.REJECTED
    skipped = ended(run_document(fields, skipGates=[{"name": "auc", "reason": "shadow only, agreed with risk"}]))
    assert skipped.verdict is RunVerdict.PUBLISHED
    for gate in Manifest.parse((folder(skipped) / "manifest.json").read_bytes()).gates:
        assert (gate.verdict, gate.forced) == (Verdict.FAIL, True)
        assert "shadow only, agreed with risk" in gate.message


def test_a_smoke_run_goes_all_the_way_and_publishes_nothing(tmp_path: Path) -> None:
    result = ended(run_document(spec(eurusd(), tmp_path), mode="Smoke"))
    assert (result.verdict, result.reason, result.uri) == (RunVerdict.DRY_RUN, Reason.SMOKE_PASSED, "")
    assert {path.name for path in tmp_path.iterdir()} == {"audit", "runs"}


@pytest.mark.parametrize("window", [{"windowBars": None, "window": "60d"}, {"windowBars": 100_000}])
def test_other_windows(tmp_path: Path, window: dict[str, Any]) -> None:
    fields = spec(eurusd(), tmp_path)
    fields["data"] |= window
    result = ended(run_document(fields))
    assert result.verdict is RunVerdict.PUBLISHED
    report = json.loads((folder(result) / "report.json").read_bytes())
    assert report["data"]["rows"] == (1056 if "window" in window else 2100)


@pytest.mark.parametrize("scheme", ["PurgedKFold", "WalkForward"])
def test_walk_forward_tests_later_rows_only(tmp_path: Path, scheme: str) -> None:
    fields = spec(eurusd(), tmp_path, validation={"scheme": scheme, "folds": 4, "embargo": "24h"})
    result = ended(run_document(fields))
    assert result.verdict is RunVerdict.PUBLISHED
    assert result.metrics["outcomes"] == (1915 if scheme == "PurgedKFold" else 1530)
    folds = json.loads((folder(result) / "report.json").read_bytes())["folds"]
    assert [fold["embargoed"] > 0 for fold in folds] == [True, True, True, scheme == "WalkForward"]


class TestBaseline:
    """The live model on rows that neither has learned from."""

    def fields(self, at: Path) -> dict[str, Any]:
        return spec(eurusd(), at, gates={"auc": {"min": 0.62}, "maxDegradation": "10%"})

    def test_none_is_said_and_does_not_block(self, tmp_path: Path) -> None:
        result = ended(run_document(self.fields(tmp_path)))
        assert result.verdict is RunVerdict.PUBLISHED
        assert "maxDegradation NoData (NoBaseline: there is no live model to compare with)" in result.message

    def test_it_is_scored_on_later_rows(self, tmp_path: Path, published: ResultDocument) -> None:
        baseline = {"uri": published.uri, "digest": published.digest}
        result = ended(run_document(self.fields(tmp_path), "2017-10-01T00:00:00Z", baseline=baseline))
        assert 300 < result.metrics["baselineRows"] < 600
        assert 0.6 < result.metrics["baselineAuc"] < 0.85
        found = 1 - result.metrics["candidateAuc"] / result.metrics["baselineAuc"]
        assert result.metrics["degradation"] == pytest.approx(found)
        expected = RunVerdict.PUBLISHED if found <= 0.1 else RunVerdict.REJECTED
        assert result.verdict is expected

    def test_rows_that_it_learned_from_are_no_evidence(self, tmp_path: Path, published: ResultDocument) -> None:
        baseline = {"uri": published.uri, "digest": published.digest}
        result = ended(run_document(self.fields(tmp_path), baseline=baseline))
        assert result.failed == ("maxDegradation",)
        assert "too few rows that neither model has learned from" in result.message

    def test_a_bundle_that_was_written_into_is_not_compared_with(self, tmp_path: Path, published: ResultDocument) -> None:
        baseline = {"uri": published.uri, "digest": "sha256:" + "0" * 64}
        result, code = failed(run_document(self.fields(tmp_path), baseline=baseline))
        assert (result.reason, code) == (Reason.BASELINE_BROKEN, ExitCode.BAD_DATA)
        copy = tmp_path / "copy"
        copy.mkdir()
        for path in folder(published).iterdir():
            (copy / path.name).write_bytes(path.read_bytes() + (b" " if path.name == "model.onnx" else b""))
        result, code = failed(run_document(self.fields(tmp_path), baseline={"uri": copy.as_uri(), "digest": published.digest}))
        assert "model.onnx is not the file that its manifest names" in result.message

    def test_one_that_answers_another_question_is_said(self, tmp_path: Path, published: ResultDocument) -> None:
        fields = self.fields(tmp_path) | {"overrides": {"target": {"kind": "Risk", "horizonBars": 8, "threshold": 1.2}}}
        baseline = {"uri": published.uri, "digest": published.digest}
        result = ended(run_document(fields, SECOND, baseline=baseline))
        assert "maxDegradation" in result.failed
        report = json.loads((tmp_path / "runs" / "fx-1a2b3c4d" / "report.json").read_bytes())
        assert (
            "Not compared with the live model: the baseline decides filter over 5 bars of 1h, the candidate filter over 8 bars"
            in report["notes"][0]
        )

    def test_the_manifest_names_it(self, tmp_path: Path, published: ResultDocument) -> None:
        baseline = {"uri": published.uri, "digest": published.digest}
        result = ended(run_document(spec(eurusd(), tmp_path), SECOND, baseline=baseline))
        manifest = Manifest.parse((folder(result) / "manifest.json").read_bytes())
        assert manifest.baseline == Baseline(uri=published.uri, digest=published.digest)


class TestStores:
    """What a store that is not there, or says no, does to a run."""

    @pytest.fixture
    def refusing(self) -> Any:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(403)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_PUT = do_HEAD = do_GET  # noqa: N815 - names of the base class

            def log_message(self, *_: object) -> None:
                return

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        server.server_close()
        thread.join()

    def s3(self, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)

    def test_unreachable_is_worth_another_try(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.s3(monkeypatch, "http://127.0.0.1:9")
        result, code = failed(run_document(spec("s3://bars/eurusd.csv", tmp_path)))
        assert (result.reason, code) == (Reason.STORE_UNAVAILABLE, ExitCode.TRANSIENT)
        assert "check AWS_ENDPOINT_URL" in result.message
        assert json.loads((tmp_path / "runs" / "fx-1a2b3c4d" / "result.json").read_bytes())["reason"] == "StoreUnavailable"
        result, code = failed(run_document(spec(eurusd(), "s3://models/fx"), mode="DryRun"))
        assert (result.reason, code) == (Reason.STORE_UNAVAILABLE, ExitCode.TRANSIENT)

    def test_forbidden_has_to_be_corrected(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusing: str) -> None:
        self.s3(monkeypatch, refusing)
        for fields in (spec("s3://bars/eurusd.csv", tmp_path), spec(eurusd(), "s3://models/fx")):
            result, code = failed(run_document(fields))
            assert (result.reason, code) == (Reason.FORBIDDEN, ExitCode.BAD_CONFIGURATION)
            assert "check the keys" in result.message

    @pytest.mark.parametrize("where", ["data", "artifacts"])
    def test_files_are_refused_unless_allowed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
        monkeypatch.setattr("walkforward_trainer.pipeline.check_writable", lambda *_: None)
        fields = spec(eurusd(), "s3://models/fx") if where == "data" else spec("s3://bars/x.csv", tmp_path)
        result, code = execute(run_document(fields), allow_file=False, now_ms=NOW)
        assert (result.reason, code) == (Reason.FORBIDDEN, ExitCode.BAD_CONFIGURATION)
        assert "use s3:// here" in result.message


def test_a_bug_is_said_with_its_own_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("walkforward_trainer.prepare.bar_features", lambda *_: 1 / 0)
    with caplog.at_level(logging.CRITICAL):
        result, code = failed(run_document(spec(eurusd(), tmp_path)))
    assert (result.reason, code) == (Reason.INTERNAL_ERROR, ExitCode.BUG)
    assert "ZeroDivisionError" in result.message


def test_parity_that_fails_publishes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("walkforward_trainer.parity.LIMIT", 1e-12)
    result, code = failed(run_document(spec(eurusd(), tmp_path)))
    assert (result.reason, code) == (Reason.PARITY_FAILED, ExitCode.BUG)
    assert not list(tmp_path.glob("2017*"))


class TestCommandLine:
    """Exit codes and the termination message, in the process itself."""

    def yaml(self, path: Path, **changes: str) -> Path:
        text = f"""
apiVersion: walkforward.dev/v1alpha1
kind: ModelRetrain
metadata: {{name: fx}}
spec:
  overrides: {{target: {{kind: {changes.get("kind", "Risk")}}}, decision: {{threshold: 0.4}}}}
  gates: {{auc: {{min: 0.62}}}}
  data: {{uri: "{eurusd().as_uri()}", format: csv, symbols: [EURUSD], timeframe: 1h, windowBars: 2000, asOf: 2017-08-25T01:00:00Z}}
  artifacts: {{uri: "{(path / "models").as_uri()}"}}
"""
        spec_file = path / "retrain.yaml"
        spec_file.write_text(text, encoding="utf-8")
        return spec_file

    @pytest.mark.parametrize(
        ("kind", "options", "code", "verdict"),
        [
            ("Risk", [], 0, "Published"),
            ("Direction", [], 1, "Rejected"),
            ("Risk", ["--dry-run"], 0, "DryRun"),
            ("Risk", ["--smoke"], 0, "DryRun"),
        ],
    )
    def test_codes(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        kind: str,
        options: list[str],
        code: int,
        verdict: str,
    ) -> None:
        log = tmp_path / "termination-log"
        monkeypatch.setenv("WALKFORWARD_TERMINATION_LOG", str(log))
        assert main(["run", "--spec", str(self.yaml(tmp_path, kind=kind)), "--allow-file", *options]) == code
        message = ResultDocument.parse(log.read_bytes())
        assert message.verdict == verdict
        assert len(log.read_bytes()) <= 2048
        assert len(message.metrics) <= 8
        assert capsys.readouterr().out.encode() == log.read_bytes() + b"\n"

    def test_a_spec_that_cannot_be_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        log = tmp_path / "termination-log"
        monkeypatch.setenv("WALKFORWARD_TERMINATION_LOG", str(log))
        assert main(["run", "--spec", str(tmp_path / "none.yaml")]) == ExitCode.BAD_CONFIGURATION
        assert "none.yaml" in ResultDocument.parse(log.read_bytes()).message

    def test_without_leave_files_are_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("WALKFORWARD_ALLOW_FILE", raising=False)
        monkeypatch.setenv("WALKFORWARD_TERMINATION_LOG", str(tmp_path / "no" / "such" / "folder"))
        assert main(["run", "--spec", str(self.yaml(tmp_path))]) == ExitCode.BAD_CONFIGURATION
