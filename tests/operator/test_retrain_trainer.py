"""The two ends of contract C8 together: what the operator writes, the real trainer reads; what it leaves, the operator believes or not."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trainer_runs
from retrains import NOW, retrain
from trainer_versions import manifest, put_bundle

from walkforward_core.api.retrain import RetrainSpec
from walkforward_core.api.rollout import BundleReference, Source
from walkforward_core.bundle import FileRecord
from walkforward_core.objectstore import FileStore
from walkforward_core.runs import RunMode, RunVerdict, SkippedGate, Trigger, TriggerKind
from walkforward_operator.bundles import Bundles, Missing
from walkforward_operator.retrain.allowed import Problem
from walkforward_operator.retrain.gather import gather
from walkforward_operator.retrain.job import config_map
from walkforward_operator.retrain.model import Ending, Outcome
from walkforward_operator.retrain.reasons import RetrainReason
from walkforward_operator.retrain.run import Occasion, begin
from walkforward_trainer.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

    from walkforward_operator.retrain.status import CurrentRun

OCCASION = Occasion(trigger=Trigger(id="1", kind=TriggerKind.MANUAL, by="alice"), as_of=trainer_runs.FIRST)
FAULT = Problem(RetrainReason.CRASHED, "no word")


class Files:
    """The object store on a laptop, as the engine reads it."""

    async def read(self, uri: str, *, limit: int) -> bytes:
        return FileStore().get(uri, limit=limit)


def wanted(folder: Path, *, bars: Path | None = None, **changes: Any) -> RetrainSpec:
    return msgspec.convert(trainer_runs.spec(bars or trainer_runs.eurusd(), folder / "models", **changes), RetrainSpec)


def train(folder: Path, spec: RetrainSpec, occasion: Occasion = OCCASION) -> tuple[CurrentRun, Ending]:
    """Run the trainer as the Job does: run.json in, termination message and exit code out."""
    subject = retrain(spec)
    run = begin(subject, spec, occasion, None, NOW)
    (folder / "run.json").write_text(config_map(subject, run, spec)["data"]["run.json"])
    log = folder / "termination-log"
    command = [sys.executable, "-m", "walkforward_trainer", "run", "--spec", str(folder / "run.json"), "--allow-file"]
    environment = {**os.environ, "WALKFORWARD_TERMINATION_LOG": str(log)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=110)
    assert log.exists(), done.stderr[-2000:]
    return run, Ending(text=log.read_text(), exit_code=done.returncode, fault=FAULT)


async def judged(spec: RetrainSpec, run: CurrentRun, ending: Ending) -> Outcome:
    return await gather(Files(), retrain(spec), run, ending, NOW)


async def test_a_model_that_knows_something_is_published_and_believed(tmp_path: Path) -> None:
    spec = wanted(tmp_path)
    run, ending = train(tmp_path, spec)
    outcome = await judged(spec, run, ending)
    assert (outcome.verdict, outcome.reason) == (RunVerdict.PUBLISHED, RetrainReason.PUBLISHED), outcome.message
    assert outcome.bundle is not None
    assert outcome.bundle.version.startswith("20170825T010000Z-")
    assert outcome.metrics["auc"] > 0.62

    lost = await judged(spec, run, Ending(text="", exit_code=None, fault=FAULT))
    assert (lost.verdict, lost.bundle) == (RunVerdict.PUBLISHED, outcome.bundle), "result.json says the same where the pod is gone"

    stricter = msgspec.structs.replace(run, gates=msgspec.convert({"auc": {"min": 0.99}}, type(run.gates)))
    assert (await judged(spec, stricter, ending)).reason is RetrainReason.VERDICT_MISMATCH


async def test_a_model_without_edge_is_rejected_with_gate_value_and_remedy(tmp_path: Path) -> None:
    spec = wanted(tmp_path, overrides=trainer_runs.DIRECTION)
    run, ending = train(tmp_path, spec)
    assert ending.exit_code == 1
    outcome = await judged(spec, run, ending)
    assert (outcome.verdict, outcome.reason) == (RunVerdict.REJECTED, RetrainReason.CANDIDATE_REJECTED)
    assert outcome.failed == ("auc", "auc.aboveChance")
    assert "limit 0.62" in outcome.message
    assert "features" in outcome.message


@pytest.mark.parametrize("mode", [RunMode.DRY_RUN, RunMode.SMOKE])
async def test_dry_and_smoke_runs_publish_nothing(tmp_path: Path, mode: RunMode) -> None:
    spec = wanted(tmp_path)
    run, ending = train(tmp_path, spec, occasion(mode=mode))
    outcome = await judged(spec, run, ending)
    assert (outcome.verdict, outcome.bundle) == (RunVerdict.DRY_RUN, None), outcome.message


async def test_a_skipped_gate_publishes_and_both_sides_agree_on_it(tmp_path: Path) -> None:
    spec = wanted(tmp_path, overrides=trainer_runs.DIRECTION)
    skipped = (SkippedGate(name="auc", reason="wanted for the shadow"),)
    run, ending = train(tmp_path, spec, occasion(skip_gates=skipped))
    outcome = await judged(spec, run, ending)
    assert outcome.verdict is RunVerdict.PUBLISHED, outcome.message
    assert "auc" in outcome.message
    assert "(skipped)" in outcome.message


async def test_data_that_is_not_there_is_said(tmp_path: Path) -> None:
    missing = wanted(tmp_path, bars=tmp_path / "none.csv")
    run, ending = train(tmp_path, missing)
    outcome = await judged(missing, run, ending)
    assert ending.exit_code == 65
    assert outcome.verdict is RunVerdict.FAILED
    assert "none.csv" in outcome.message


async def test_too_little_data_is_ineligible_and_no_error(tmp_path: Path) -> None:
    spec = wanted(tmp_path, eligibility={"minBars": 1_000_000})
    run, ending = train(tmp_path, spec)
    assert ending.exit_code == 0
    assert (await judged(spec, run, ending)).reason is RetrainReason.INELIGIBLE


def occasion(**changes: Any) -> Occasion:
    return replace(OCCASION, **changes)


async def test_a_rollout_pinned_to_what_the_list_shows_finds_the_old_bundle_and_no_other(tmp_path: Path) -> None:
    """Rollback to any version: uri and digest from ``walkforward-trainer list`` are all that ``source.bundle`` needs."""
    for version in ("20240101T000000Z-aaaaaaaa", "20240201T000000Z-bbbbbbbb"):
        put_bundle(tmp_path, version, files=manifest().files | {"reference.json": FileRecord(sha256="cc", size=2)})
    [newest, oldest] = Registry(FileStore(), tmp_path.as_uri()).versions()
    assert newest.marks == ("latest",)
    pin = Source(bundle=BundleReference(uri=oldest.uri, digest=oldest.digest)).bundle
    assert pin is not None
    assert (await found(tmp_path, pin.uri, pin.digest)).manifest.version == "20240101T000000Z-aaaaaaaa"
    wrong = await found(tmp_path, pin.uri, newest.digest)
    assert isinstance(wrong, Missing)
    assert "digest" in wrong.message


async def found(root: Path, uri: str, digest: str) -> Any:
    """What the rollout engine sees at an address once it has been read."""
    bundles, woken = Bundles(Files(), (root.as_uri(),)), asyncio.Event()
    bundles.get(uri, digest, reference=False, wake=woken.set)
    await asyncio.wait_for(woken.wait(), 10)
    return bundles.get(uri, digest, reference=False, wake=woken.set)
