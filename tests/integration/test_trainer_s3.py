"""A whole run against a real S3 server: bars read, bundle published once, pointer moved, result left behind."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from s3_server import s3_server
from trainer_runs import NOW, SECOND, eurusd, run_document, spec

from walkforward_core.bundle import Manifest
from walkforward_core.documents import digest
from walkforward_core.objectstore import open_store
from walkforward_core.runs import ExitCode, RunVerdict
from walkforward_trainer.pipeline import execute

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


def test_from_bars_in_s3_to_a_bundle_in_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server(tmp_path) as env:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        store = open_store("s3://models/", allow_file=False)
        store.put("s3://models/bars/eurusd.csv", eurusd().read_bytes())
        fields = spec("s3://models/bars/eurusd.csv", "s3://models/fx")

        first, code = execute(run_document(fields), allow_file=False, now_ms=NOW)
        assert (first.verdict, code) == (RunVerdict.PUBLISHED, None), first.message
        raw = store.get(f"{first.uri}manifest.json")
        assert digest(raw) == first.digest
        for name, record in Manifest.parse(raw).files.items():
            assert digest(store.get(first.uri + name)) == f"sha256:{record.sha256}"
        assert json.loads(store.get("s3://models/fx/runs/fx-1a2b3c4d/result.json"))["digest"] == first.digest

        again, code = execute(run_document(fields), allow_file=False, now_ms=NOW)
        assert (again.reason, again.digest, code) == ("AlreadyPublished", first.digest, None)
        other, code = execute(run_document(fields, run="fx-99999999"), allow_file=False, now_ms=NOW)
        assert (other.reason, other.digest, code) == ("AlreadyPublished", first.digest, None)
        costs = {"feeBps": 2.0}
        other, code = execute(run_document(fields | {"costs": costs}, run="fx-99999999"), allow_file=False, now_ms=NOW)
        assert (other.reason, code) == ("VersionExists", ExitCode.BAD_CONFIGURATION)

        baseline = {"uri": first.uri, "digest": first.digest}
        second, code = execute(run_document(fields, SECOND, run="fx-2b3c4d5e", baseline=baseline), allow_file=False, now_ms=NOW)
        assert (second.verdict, code) == (RunVerdict.PUBLISHED, None), second.message
        assert second.metrics["baselineRows"] > 50
        assert json.loads(store.get("s3://models/fx/LATEST.json"))["version"] == second.version

        nowhere, code = execute(run_document(spec("s3://models/none/", "s3://models/fx")), allow_file=False, now_ms=NOW)
        assert (nowhere.reason, code) == ("DataNotFound", ExitCode.BAD_DATA)
        bucket, code = execute(run_document(spec("s3://models/bars/eurusd.csv", "s3://no-such-bucket/fx")), allow_file=False, now_ms=NOW)
        assert (bucket.reason, code) == ("StoreRefused", ExitCode.BAD_CONFIGURATION)
