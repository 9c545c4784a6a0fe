"""What follows a verdict, against a real S3 server: calibration and costs, audit records, the list, retention."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest
from s3_server import ACCESS, SECRET, s3_server
from trade_log import trade_log
from trainer_runs import FIRST, NOW, eurusd, run_document, spec
from trainer_versions import bundle

from walkforward_core.bundle import Manifest
from walkforward_core.expiry import EXPIRY, Expiry, ExpiryState
from walkforward_core.objectstore import open_store
from walkforward_core.routing import RolloutRef
from walkforward_core.runs import RunVerdict
from walkforward_operator.audit import ab_test_run
from walkforward_operator.rollout.model import Record
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


LINES = [line for line in re.findall(r"```sql\n(.+?)\n```", DOCUMENT.read_text(encoding="utf-8")) if "read_json" in line]
"""The page's own lines, as they stand."""


@pytest.fixture
def duck(store: ObjectStore, tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Return a session of DuckDB that has been prepared as the page says, for an endpoint of one's own."""
    del store
    with duckdb.connect() as session:
        session.execute(f"SET extension_directory = '{tmp_path / 'duckdb'}'; SET TimeZone = 'UTC'")
        import_module("duckdb_extensions").import_extension("httpfs", con=session)
        (secret,) = re.findall(r"`(CREATE SECRET \(TYPE s3, KEY_ID .+?\);)`", DOCUMENT.read_text(encoding="utf-8"))
        host = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
        for wrote, meant in (("KEY_ID '…'", f"KEY_ID '{ACCESS}'"), ("SECRET '…'", f"SECRET '{SECRET}'"), ("minio.example.com", host)):
            assert wrote in secret
            secret = secret.replace(wrote, meant)
        session.execute("LOAD httpfs")
        session.execute(secret.replace("USE_SSL true", "USE_SSL false"))
        yield session


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


def test_calibrate_train_audit_list_and_clear_up(
    store: ObjectStore, duck: duckdb.DuckDBPyConnection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
    looked = (datetime.now(UTC) + timedelta(hours=2)).isoformat()  # as if the marks had been there for two hours
    store.put(f"{MODELS}/20160101T000000Z-bbbbbbbb/{EXPIRY}", Expiry(state=ExpiryState.EXPIRING, by="fx-0").to_bytes())
    result, code = execute(run_document(fields, inUse=[used], inUseAt=looked, run="fx-1"), allow_file=False, now_ms=NOW + 1)
    assert (result.verdict, code) == (RunVerdict.PUBLISHED, None), result.message
    costs = Manifest.parse(store.get(f"{result.uri}manifest.json")).costs
    assert costs.calibration == measured.uri
    assert costs.slippage_bps == pytest.approx(6.0)

    assert result.message.endswith("retention removed old bundles 20160101T000000Z-bbbbbbbb")
    assert store.list(f"{MODELS}/2016") == []
    assert main(["list", "--artifacts", MODELS, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(entry["version"], entry["marks"]) for entry in found] == [(result.version, ["latest"]), ("20150101T000000Z-aaaaaaaa", [])]
    assert (found[0]["uri"], found[0]["digest"]) == (result.uri, result.digest)

    gates, runs = (duck.sql(line).project("COLUMNS(*)::VARCHAR").fetchall() for line in sorted(LINES) if "/ab_test_runs/" not in line)
    assert {(row[0], row[2], row[3]) for row in gates} == {("auc", "1", "0"), ("auc.aboveChance", "1", "0"), ("minBars", "1", "0")}
    assert [row[1:2] + row[4:7] for row in runs] == [
        ("fx-1", "Published", "Published", result.version),
        ("fx-0", "Calibrated", "Calibrated", None),
    ]


def test_the_operators_table_is_read_from_the_bucket(store: ObjectStore, duck: duckdb.DuckDBPyConnection) -> None:
    model = '{"version":"v2","uri":"s3://models/fx/v2/","digest":"sha256:0","model":"sha256:0"}'
    trial = '{"stable":"v1","outcomes":120,"recommended":true,"executed":true}'
    entry = f'{{"at":"2026-01-02T03:04:05.000Z","kind":"Promote","candidate":{model},"reason":"Promoted","abTest":{trial}}}'
    made = ab_test_run(RolloutRef(namespace="prod", name="fx", uid="u"), Record(seq=7, kind="Promote", body=entry))
    assert made is not None
    store.put(f"s3://models/ledger/{made[0]}", made[1])
    (line,) = (line for line in LINES if "/ab_test_runs/" in line)
    assert duck.sql(line).fetchall() == [("fx", "2026-01", 1, 120, 1, 1)]
