"""The trainer's own filter of bad trades, from twenty trades, in a server: it blocks, it allows, and without it the rules decide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from planted import DAY, START, write_trades
from server_harness import routing, running
from trainer_runs import run_document

from walkforward_core.bundle import Manifest
from walkforward_core.routing import ModelRef, WithoutModel
from walkforward_core.runs import ResultDocument, RunVerdict
from walkforward_trainer.pipeline import execute
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from pathlib import Path

BAD = (1, 5, 8, 11, 15, 18)


def trained(tmp_path: Path) -> ResultDocument:
    """Return the published result of a log in which the volatility tells the bad trades from the others."""
    log = write_trades(tmp_path / "trades.jsonl", 1, 20)
    records = [msgspec.json.decode(line) for line in log.read_bytes().splitlines()]
    for at, record in enumerate(records):
        record |= {"pnl_pct": -0.8 if at in BAD else 0.9, "mae_pct": 0.5, "f_vol_ratio": 2.0 * (at in BAD) + 0.1 * record["f_vol_ratio"]}
    log.write_bytes(b"\n".join(map(msgspec.json.encode, records)))
    data = {"uri": log.as_uri(), "format": "jsonl", "symbols": ["*"], "windowBars": 100}
    fields: dict[str, Any] = {"recipe": "risk-filter", "data": data, "artifacts": {"uri": (tmp_path / "m").as_uri()}}
    as_of = START + 10 * DAY
    result, _ = execute(run_document(fields, timestamp(as_of)), allow_file=True, now_ms=as_of)
    assert result.verdict is RunVerdict.PUBLISHED, result.message
    return result


async def test_bad_trades_are_blocked_and_without_a_model_the_rules_decide(tmp_path: Path) -> None:
    made = trained(tmp_path)
    manifest = Manifest.parse((tmp_path / "m" / made.version / "manifest.json").read_bytes())
    policy = manifest.decision.without_model
    assert policy is WithoutModel.ALLOW
    ref = ModelRef(version=made.version, uri=made.uri, digest=made.digest, model=made.model)
    rows = {
        name: [{"f_vol_ratio": ratio}.get(one, 0.0) for one in manifest.input.features] for name, ratio in (("bad", 2.0), ("good", 0.0))
    }

    async with running(tmp_path / "server") as server:
        # the first model is not there yet, or was withdrawn: what the bundle's policy says
        await server.apply(routing(without_model=policy))
        answer = (await server.infer(rows["bad"], base_position=-1.0)).json
        assert {one["name"]: one["data"] for one in answer["outputs"]} == {"position": [-1.0]}
        assert (answer["parameters"]["arm"], answer["parameters"]["fallback"]) == ("none", True)

        await server.apply(routing(generation=2, stable=ref, without_model=policy))
        for name, position in (("bad", 0.0), ("good", -1.0)):
            answer = (await server.infer(rows[name], base_position=-1.0)).json
            said = {one["name"]: one["data"] for one in answer["outputs"]}
            assert said["position"] == [position], name
            assert (said["p"][1] > manifest.decision.threshold) == (name == "bad")
            assert answer["parameters"]["fallback"] is False
