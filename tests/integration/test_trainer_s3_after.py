"""What follows a verdict, against a real S3 server: calibration and costs, audit records, the list, retention."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest
from s3_server import s3_server
from trade_log import trade_log
from trainer_runs import FIRST, NOW, eurusd, run_document, spec
from trainer_versions import bundle

from walkforward_core.bundle import Manifest
from walkforward_core.objectstore import open_store
from walkforward_core.runs import RunVerdict
from walkforward_trainer.__main__ import main
from walkforward_trainer.pipeline import execute
from walkforward_trainer.publish import publish
from walkforward_trainer.specfile import instant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from walkforward_core.objectstore import ObjectStore

pytestmark = pytest.mark.integration

MODELS = "s3://models/fx"
DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "audit.md"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    folder = tmp_path_factory.mktemp("s3")
    with s3_server(folder) as env, pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        found = open_store(MODELS, allow_file=False)
        found.put("s3://models/bars/eurusd.csv", eurusd().read_bytes())
        log = trade_log(folder / "trades.parquet", first_ms=instant(FIRST, "first") - 30 * 86_400_000)
        found.put("s3://models/trades/2017.parquet", log.read_bytes())
        yield found


def test_calibrate_train_audit_list_and_clear_up(store: ObjectStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for version in ("20150101T000000Z-aaaaaaaa", "20160101T000000Z-bbbbbbbb"):
        made = bundle(tmp_path, version)
        publish(store, type(made)(version=version, uri=f"{MODELS}/{version}/", files=made.files, manifest=made.manifest), MODELS)
    used = f"{MODELS}/20150101T000000Z-aaaaaaaa/"
    fields = spec("s3://models/bars/eurusd.csv", MODELS, costs={"slippage": {"bps": 1.0, "calibrated": True}}, eligibility={"minBars": 100})
    fields["data"]["trades"] = {"uri": "s3://models/trades/*.parquet"}
    fields["artifacts"]["retention"] = {"keepLast": 1, "maxAge": "90d"}

    measured, code = execute(run_document(fields, mode="Calibrate", run="fx-0"), allow_file=False, now_ms=NOW)
    assert (measured.verdict, code) == (RunVerdict.CALIBRATED, None), measured.message
    assert store.get(f"{MODELS}/execution_calibration.json") == store.get(measured.uri)
    result, code = execute(run_document(fields, inUse=[used], run="fx-1"), allow_file=False, now_ms=NOW + 1)
    assert (result.verdict, code) == (RunVerdict.PUBLISHED, None), result.message
    costs = Manifest.parse(store.get(f"{result.uri}manifest.json")).costs
    assert (costs.calibration, costs.slippage_bps) == (measured.uri, pytest.approx(6.0))

    assert result.message.endswith("retention removed old bundles 20160101T000000Z-bbbbbbbb")
    assert store.list(f"{MODELS}/2016") == []
    assert main(["list", "--artifacts", MODELS, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(entry["version"], entry["marks"]) for entry in found] == [(result.version, ["latest"]), ("20150101T000000Z-aaaaaaaa", [])]
    assert (found[0]["uri"], found[0]["digest"]) == (result.uri, result.digest)

    for uri in store.list(f"{MODELS}/audit/"):
        copy = tmp_path / uri.removeprefix(f"{MODELS}/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(store.get(uri))
    lines = [line for line in re.findall(r"```sql\n(.+?)\n```", DOCUMENT.read_text(encoding="utf-8")) if "read_json" in line]
    gates, runs = (
        duckdb.sql(line.replace(MODELS, str(tmp_path))).project("COLUMNS(*)::VARCHAR").fetchall()
        for line in sorted(lines)
        if "/ab_test_runs/" not in line
    )
    assert {(row[0], row[2], row[3]) for row in gates} == {("auc", "1", "0"), ("minBars", "1", "0")}
    assert [row[1:2] + row[4:7] for row in runs] == [
        ("fx-1", "Published", "Published", result.version),
        ("fx-0", "Calibrated", "Calibrated", None),
    ]
