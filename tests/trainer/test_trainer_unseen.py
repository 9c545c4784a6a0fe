"""A candidate beside a live model of yesterday: hardly a row is new, and both were tested out of fold on nearly the same ones."""

from __future__ import annotations

import hashlib
import json
import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from trainer_runs import FIRST, HOUR, NOW, RISK, eurusd, run_document, spec

from walkforward_core.documents import digest
from walkforward_core.runs import ResultDocument, RunVerdict
from walkforward_trainer.errors import Reason
from walkforward_trainer.pipeline import execute
from walkforward_trainer.specfile import instant, timestamp
from walkforward_trainer.unseen import Unseen, common

if TYPE_CHECKING:
    from pathlib import Path

NEXT = timestamp(instant(FIRST, "first") + HOUR)
GATES = {"auc": {"min": 0.501}, "maxDegradation": "10%"}
FEW: dict[str, Any] = {"model": {"trees": 15}}


def result(
    tmp_path: Path, as_of: str, live: ResultDocument | None = None, gates: dict[str, Any] = GATES, **overrides: Any
) -> ResultDocument:
    fields = spec(eurusd(), tmp_path / "models", gates=gates) | {"overrides": RISK | FEW | overrides}
    baseline = None if live is None else {"uri": live.uri, "digest": live.digest}
    run = run_document(fields, as_of, baseline=baseline, run=f"fx-{as_of[-9:-7]}{len(overrides)}")
    return execute(run, allow_file=True, now_ms=NOW)[0]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ResultDocument]:
    home = tmp_path_factory.mktemp("live")
    return home, result(home, FIRST)


def test_an_hour_later_they_are_compared_out_of_fold(live: tuple[Path, ResultDocument], tmp_path: Path) -> None:
    _, before = live
    assert before.verdict is RunVerdict.PUBLISHED, before.message
    after = result(tmp_path, NEXT, before)
    assert after.verdict is RunVerdict.PUBLISHED, after.message
    assert "maxDegradation Pass" in after.message
    assert after.metrics["baselineRows"] < 10
    assert after.metrics["baselineRowsOutOfFold"] > 1_900
    # the live model's own evidence, on the rows that both have
    assert after.metrics["baselineAuc"] == pytest.approx(before.metrics["auc"], abs=5e-3)
    # that is about training, not about the two models that would serve: of those a few rows say nothing
    assert "delta" not in after.metrics


def test_one_that_knows_less_is_rejected(live: tuple[Path, ResultDocument], tmp_path: Path) -> None:
    worse = result(tmp_path, NEXT, live[1], features=["hour_sin", "gap_1"])
    assert worse.verdict is RunVerdict.REJECTED
    assert worse.failed == ("maxDegradation",)
    assert worse.metrics["degradation"] > 0.10


def test_a_loss_of_f1_counts_where_f1_is_a_gate(live: tuple[Path, ResultDocument], tmp_path: Path) -> None:
    """A threshold-free AUC does not see a model that answers with one class; the largest loss does."""
    weak = {"features": ["vol_ratio_5_20", "hour_sin"]}
    ranked = result(tmp_path / "a", NEXT, live[1], **weak)
    both = result(tmp_path / "b", NEXT, live[1], gates=GATES | {"f1": {"min": 0.01}}, **weak)

    def lost(name: str) -> float:
        before = both.metrics[f"baseline{name}"]
        return (before - both.metrics[f"candidate{name}"]) / before

    assert ranked.metrics["degradation"] == pytest.approx(lost("Auc"))
    assert both.metrics["degradation"] == pytest.approx(max(lost("Auc"), lost("F1")))
    assert lost("F1") > lost("Auc")
    assert both.failed == ("maxDegradation",)


def test_a_file_that_somebody_has_touched_is_refused(live: tuple[Path, ResultDocument], tmp_path: Path) -> None:
    home, before = live
    path = home / "models" / before.version / "unseen.json"
    whole = path.read_bytes()
    said = json.loads(whole)
    said["p"][0] = [0.5, 0.5]
    path.write_text(json.dumps(said), encoding="utf-8")
    try:
        refused = result(tmp_path, NEXT, before)
    finally:
        path.write_bytes(whole)
    assert (refused.verdict, refused.reason) == (RunVerdict.FAILED, Reason.BASELINE_BROKEN)
    assert "unseen.json is not the file that its manifest names" in refused.message


def test_a_file_of_another_form_is_refused_and_named(live: tuple[Path, ResultDocument], tmp_path: Path) -> None:
    """Its digest is right: a trainer that writes another form of it has published the bundle."""
    bundle = tmp_path / "other"
    shutil.copytree(live[0] / "models" / live[1].version, bundle)
    (bundle / "unseen.json").write_text('{"schema": "walkforward.dev/unseen/v9"}', encoding="utf-8")
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    content = (bundle / "unseen.json").read_bytes()
    manifest["files"]["unseen.json"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    pinned = msgspec.structs.replace(live[1], uri=f"file://{bundle}", digest=digest((bundle / "manifest.json").read_bytes()))
    refused = result(tmp_path, NEXT, pinned)
    assert (refused.verdict, refused.reason) == (RunVerdict.FAILED, Reason.BASELINE_BROKEN)
    assert "other/unseen.json" in refused.message
    assert refused.message.endswith("promote a bundle of this version's trainer")


def test_rows_are_the_same_by_symbol_and_time() -> None:
    said = Unseen(symbols=("X", "Y"), symbol=(0, 1, 0), time=(1, 1, 2), p=((0.9, 0.1), (0.8, 0.2), (0.7, 0.3)))
    rows: Any = SimpleNamespace(symbols=("Y", "X", "Z"), symbol=np.array([0, 1, 2, 0, 1]), t0=np.array([1, 1, 1, 2, 2]))
    at, p = common(said, rows, np.array([0, 2, 3, 4], np.intp))
    assert at.tolist() == [0, 3]
    assert p.tolist() == [[0.8, 0.2], [0.7, 0.3]]
    none, nothing = common(said, rows, np.array([2], np.intp))
    assert (len(none), nothing.shape) == (0, (0, 2))
