"""Several symbols: prepared one by one, gathered into the very rows that one process would have made."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from trainer_runs import HOUR, NOW, RISK, random_bars, run_document, spec

from walkforward_core.api.retrain import Retention
from walkforward_core.objectstore import open_store
from walkforward_core.runs import ExitCode, RunDocument, RunMode, RunPart, RunVerdict
from walkforward_trainer.__main__ import main
from walkforward_trainer.data.sources import Access
from walkforward_trainer.errors import Reason
from walkforward_trainer.pipeline import execute
from walkforward_trainer.plan import make_plan
from walkforward_trainer.prepare import prepare
from walkforward_trainer.shards import get_shards, pool

if TYPE_CHECKING:
    from pathlib import Path

SYMBOLS = ("AAA", "BBB", "CCC")
AS_OF = "2024-02-20T00:00:00Z"


def write(path: Path, symbols: tuple[str, ...] = SYMBOLS) -> Path:
    lines = ["time,symbol,open,high,low,close,volume"]
    for seed, symbol in enumerate(symbols):
        bars = random_bars(seed, 1200)
        columns = (bars.time - HOUR, [symbol] * 1200, bars.open, bars.high, bars.low, bars.close, bars.volume)
        lines += [",".join(map(str, row)) for row in zip(*columns, strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def several(tmp_path: Path, **changes: Any) -> RunDocument:
    fields = spec(
        write(tmp_path / "bars.csv"), tmp_path / "models", overrides=RISK | {"model": {"trees": 10}}, gates={"auc": {"min": 0.501}}
    )
    fields["data"] |= {"symbols": list(SYMBOLS), "windowBars": 1000}
    return run_document(fields, AS_OF, **changes)


def test_shards_gathered_are_the_rows_of_one_process(tmp_path: Path) -> None:
    run = several(tmp_path)
    store = open_store((tmp_path / "models").as_uri(), allow_file=True)
    for index in range(3):
        result, code = execute(msgspec.structs.replace(run, part=RunPart.SHARD), allow_file=True, now_ms=NOW, shard=index)
        assert (result.verdict, result.reason, code) == (RunVerdict.PREPARED, Reason.SHARD_PREPARED, None)
        assert result.message.startswith(f"{SYMBOLS[index]}: 1000 rows")
    gathered = pool(get_shards(store, run)).rows
    plan = make_plan(run)
    alone = pool([prepare(run, replace(plan, symbol=one), Access(allow_file=True), now_ms=NOW) for one in SYMBOLS]).rows
    for name in ("x", "y", "t0", "t1", "returns", "base", "weight", "symbol"):
        np.testing.assert_array_equal(getattr(gathered, name), getattr(alone, name))
    assert (gathered.symbols, gathered.digest, gathered.warmup, gathered.horizon_ms) == (SYMBOLS, alone.digest, alone.warmup, 5 * HOUR)
    assert (np.diff(gathered.t0) >= 0).all()
    assert gathered.symbol[:3].tolist() == [0, 1, 2]


def test_gathering_and_one_process_make_the_same_model(tmp_path: Path) -> None:
    run = several(tmp_path)
    whole, _ = execute(run, allow_file=True, now_ms=NOW)
    for index in range(3):
        execute(msgspec.structs.replace(run, part=RunPart.SHARD), allow_file=True, now_ms=NOW, shard=index)
    gathered, _ = execute(msgspec.structs.replace(run, part=RunPart.GATHER), allow_file=True, now_ms=NOW)
    assert (gathered.verdict, gathered.version) == (whole.verdict, whole.version)
    assert gathered.metrics["auc"] == whole.metrics["auc"]
    assert gathered.metrics["sharpePerOutcome"] == whole.metrics["sharpePerOutcome"]


def test_a_symbol_that_is_not_there_is_named(tmp_path: Path) -> None:
    run = several(tmp_path)
    write(tmp_path / "bars.csv", ("AAA", "XXX", "CCC"))
    shard = msgspec.structs.replace(run, part=RunPart.SHARD)
    result, code = execute(shard, allow_file=True, now_ms=NOW, shard=1)
    assert (result.verdict, result.reason, code) == (RunVerdict.FAILED, Reason.SYMBOL_MISSING, ExitCode.BAD_DATA)
    assert result.message.startswith("BBB: ")
    assert not list((tmp_path / "models").rglob("result.json")), "the run's own result is not a shard's to write"
    gathered, code = execute(msgspec.structs.replace(run, part=RunPart.GATHER), allow_file=True, now_ms=NOW)
    assert (gathered.reason, code) == (Reason.DATA_NOT_FOUND, ExitCode.BAD_DATA)
    assert "shard 0 (AAA)" in gathered.message


@pytest.mark.parametrize(("rule", "left"), [({"keep_last": 3}, 0), (None, 3)])
def test_what_was_gathered_is_removed_where_runs_may_delete(tmp_path: Path, rule: dict[str, Any] | None, left: int) -> None:
    run = several(tmp_path)
    if rule is not None:
        artifacts = msgspec.structs.replace(run.spec.artifacts, retention=Retention(**rule))
        run = msgspec.structs.replace(run, spec=msgspec.structs.replace(run.spec, artifacts=artifacts))
    shard = msgspec.structs.replace(run, part=RunPart.SHARD, mode=RunMode.DRY_RUN)
    gather = msgspec.structs.replace(shard, part=RunPart.GATHER)
    folder = tmp_path / "models" / "runs" / run.run / "shards"
    for index in range(2):
        execute(shard, allow_file=True, now_ms=NOW, shard=index)
    assert execute(gather, allow_file=True, now_ms=NOW)[0].verdict is RunVerdict.FAILED
    assert len(list(folder.iterdir())) == 2, "another pod may try again"
    execute(shard, allow_file=True, now_ms=NOW, shard=2)
    assert execute(gather, allow_file=True, now_ms=NOW)[0].verdict is RunVerdict.DRY_RUN
    assert len(list(folder.iterdir())) == left


@pytest.mark.parametrize("damage", ["cut", "other-run", "noise"])
def test_a_shard_that_is_not_whole_or_not_ours_is_refused(tmp_path: Path, damage: str) -> None:
    run = several(tmp_path)
    for index in range(3):
        execute(msgspec.structs.replace(run, part=RunPart.SHARD), allow_file=True, now_ms=NOW, shard=index)
    victim = tmp_path / "models" / "runs" / run.run / "shards" / "1.npz"
    if damage == "cut":
        victim.write_bytes(victim.read_bytes()[:-4000])
    elif damage == "noise":
        victim.write_bytes(b"\x00" * 100)
    else:
        victim.write_bytes((victim.parent / "0.npz").read_bytes())
    gathered, code = execute(msgspec.structs.replace(run, part=RunPart.GATHER), allow_file=True, now_ms=NOW)
    assert (gathered.reason, code) == (Reason.DATA_UNREADABLE, ExitCode.BAD_DATA)
    assert "shard 1" in gathered.message


def test_the_index_comes_from_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(msgspec.structs.replace(several(tmp_path), part=RunPart.SHARD).to_bytes())
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "2")
    assert main(["run", "--spec", str(path), "--allow-file"]) == ExitCode.DONE
    assert "CCC: 1000 rows" in capsys.readouterr().out
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "3")
    assert main(["run", "--spec", str(path), "--allow-file"]) == ExitCode.BAD_CONFIGURATION
    assert "JOB_COMPLETION_INDEX is '3', and data.symbols has 3" in capsys.readouterr().out
