"""Both ends of a run of several symbols: what the operator writes for shards and for the last step, the real trainer reads and answers."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trainer_runs
from retrains import NOW, retrain

from walkforward_core.api.retrain import RetrainSpec
from walkforward_core.objectstore import FileStore
from walkforward_core.runs import RunMode, RunVerdict, Trigger, TriggerKind
from walkforward_operator.conditions import instant
from walkforward_operator.retrain.allowed import Problem
from walkforward_operator.retrain.gather import gather
from walkforward_operator.retrain.job import config_map
from walkforward_operator.retrain.model import Ending
from walkforward_operator.retrain.reasons import RetrainReason
from walkforward_operator.retrain.run import Occasion, begin

if TYPE_CHECKING:
    from pathlib import Path

    from walkforward_operator.retrain.model import Outcome
    from walkforward_operator.retrain.status import CurrentRun

AS_OF = "2024-02-11T17:00:00Z"
FAULT = Problem(RetrainReason.CRASHED, "no word")


class Files:
    """The object store on a laptop, as the engine reads it."""

    async def read(self, uri: str, *, limit: int) -> bytes:
        return FileStore().get(uri, limit=limit)


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bars of two symbols in one file."""
    folder = tmp_path_factory.mktemp("bars")
    lines: list[str] = []
    for number, symbol in enumerate(("EURUSD", "GBPUSD")):
        header, *rows = trainer_runs.write_csv(folder / f"{symbol}.csv", trainer_runs.random_bars(number, 1000)).read_text().splitlines()
        lines += [f"symbol,{header}"] if not lines else []
        lines += [f"{symbol},{row}" for row in rows]
    both = folder / "both.csv"
    both.write_text("\n".join(lines) + "\n")
    return both


def spec_of(bars: Path, folder: Path, *symbols: str) -> RetrainSpec:
    fields = trainer_runs.spec(bars, folder / "models")
    fields["data"] |= {"symbols": list(symbols), "windowBars": 700}
    return msgspec.convert(fields, RetrainSpec)


def begun(spec: RetrainSpec) -> CurrentRun:
    trigger = Trigger(id="1", kind=TriggerKind.MANUAL, by="alice")
    return begin(retrain(spec), spec, Occasion(trigger=trigger, as_of=AS_OF, mode=RunMode.DRY_RUN), None, NOW)


def pod(folder: Path, run: CurrentRun, spec: RetrainSpec, index: int | None = None) -> Ending:
    """Run the trainer as a pod of the part's Job does."""
    (folder / "run.json").write_text(config_map(retrain(spec), run, spec)["data"]["run.json"])
    log = folder / "termination-log"
    log.unlink(missing_ok=True)
    command = [sys.executable, "-m", "walkforward_trainer", "run", "--spec", str(folder / "run.json"), "--allow-file"]
    environment = {**os.environ, "WALKFORWARD_TERMINATION_LOG": str(log)}
    environment |= {} if index is None else {"JOB_COMPLETION_INDEX": str(index)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=110)
    assert log.exists(), done.stderr[-2000:]
    return Ending(text=log.read_text(), exit_code=done.returncode, fault=FAULT, shard="" if index is None else run.symbols[index])


async def judged(spec: RetrainSpec, run: CurrentRun, ending: Ending) -> Outcome:
    return await gather(Files(), retrain(spec), run, ending, NOW)


def whole(*shards: Ending, **changes: Any) -> Ending:
    return Ending(**{"text": "", "exit_code": 0, "fault": FAULT, "shards": shards, **changes})


async def test_shards_are_prepared_gathered_and_believed(tmp_path: Path, bars: Path) -> None:
    spec = spec_of(bars, tmp_path, "EURUSD", "GBPUSD")
    run = begun(spec)
    outcome = await judged(spec, run, whole(*(pod(tmp_path, run, spec, index) for index in (0, 1))))
    assert outcome.verdict is RunVerdict.PREPARED, outcome.message

    last = msgspec.structs.replace(run, gathering_since=instant(NOW))
    outcome = await judged(spec, last, pod(tmp_path, last, spec))
    assert outcome.verdict is RunVerdict.DRY_RUN, outcome.message
    assert outcome.message.startswith("WouldTrain: 1390 rows with a label"), "700 bars of each symbol, less the five without an outcome"


async def test_a_symbol_that_is_not_in_the_data_is_named(tmp_path: Path, bars: Path) -> None:
    spec = spec_of(bars, tmp_path, "EURUSD", "XAUUSD")
    run = begun(spec)
    failed = pod(tmp_path, run, spec, 1)
    outcome = await judged(spec, run, whole(failed, exit_code=None))
    assert outcome.verdict is RunVerdict.FAILED
    assert outcome.message.startswith("XAUUSD: ")
    assert failed.exit_code == 65
