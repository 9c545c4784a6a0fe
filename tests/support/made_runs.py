"""Runs of every recipe on made markets, with the recipe's own gates and models small enough that hundreds of them take minutes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec
from planted import DAY, HOUR, MINUTE, START, market, write_bars, write_samples, write_trades

from walkforward_core.runs import RunDocument, RunVerdict
from walkforward_trainer.pipeline import execute
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["CASES", "Case", "asked", "once"]


@dataclass(frozen=True, slots=True)
class Case:
    """One recipe: ``write`` (folder, seed, edge) → file and the time at which it ends; ``edge`` is the one that is planted.

    ``data``, ``overrides`` and ``gates`` are of its spec; without gates it is the recipe's own. ``note`` says what is asked. ``seeds`` are
    the markets without an edge that are measured: of 300, one that is published leaves 1 % unproven.
    """

    recipe: str
    write: Callable[[Path, int, float], tuple[Path, int]]
    edge: float
    data: dict[str, Any]
    overrides: dict[str, Any]
    note: str = ""
    gates: dict[str, Any] = field(default_factory=dict)
    seeds: int = 300


def _bars(rows: int, bar_ms: int, week: int = 7, length: int = 60, sigma: float = 2e-3) -> Callable[[Path, int, float], tuple[Path, int]]:
    def write(folder: Path, seed: int, edge: float) -> tuple[Path, int]:
        bars = market(seed, rows, bar_ms=bar_ms, edge=edge, week=week, length=length, sigma=sigma).bars
        return write_bars(folder / "bars.csv", bars, bar_ms=bar_ms), int(bars.time[-1])

    return write


def _trades(count: int) -> Callable[[Path, int, float], tuple[Path, int]]:
    def write(folder: Path, seed: int, edge: float) -> tuple[Path, int]:
        path = write_trades(folder / "trades.jsonl", seed, count, edge=edge)
        last = json.loads(path.read_text(encoding="utf-8").splitlines()[-1])
        return path, int(last["closed_at"]) + MINUTE

    return write


def _samples(count: int) -> Callable[[Path, int, float], tuple[Path, int]]:
    def write(folder: Path, seed: int, edge: float) -> tuple[Path, int]:
        return write_samples(folder / "features.log", seed, count, edge=edge), START + count * MINUTE

    return write


_CSV: Final = {"format": "csv", "timeframe": "1h"}
_DIRECTION: Final = {"target": {"kind": "Direction"}, "model": {"trees": 40}}

CASES: Final = {
    "ohlcv": Case("ohlcv", _bars(1_700, HOUR), 1.0, _CSV | {"windowBars": 1_500}, _DIRECTION, "Direction; 1,500 hourly bars"),
    "ohlcv-direction": Case(
        "ohlcv-direction", _bars(2_200, HOUR), 1.0, _CSV | {"windowBars": 2_000}, {"model": {"trees": 40}}, "2,000 hourly bars"
    ),
    "multi-timeframe": Case(
        "multi-timeframe",
        # short regimes, so that the last few hundred bars hold as many rises as falls
        _bars(4_500, HOUR, length=15),
        2.0,
        _CSV | {"windowBars": 4_000},
        {"model": {"trees": 15}},
        "4,000 hourly bars",
    ),
    "risk-filter": Case(
        "risk-filter",
        _trades(300),
        1.5,
        {"format": "jsonl", "timeframe": "1h", "window": "90d"},
        {},
        "300 closed trades",
        # nothing but its AUC stands between luck and the table: one in 160 is expected at most, and so many show that it is below 1 %
        seeds=3_000,
    ),
    "daily-ensemble": Case(
        "daily-ensemble",
        # an accuracy of 0.70 over five days asks for much: the drift is twice the noise of a day, and turns every few weeks
        _bars(1_250, DAY, week=5, sigma=1e-2, length=20),
        2.0,
        {"format": "csv", "timeframe": "24h", "windowBars": 1_000},
        {"model": {"trees": 20}, "tuning": {"trials": 2}},
        "1,000 daily bars, 2 trials",
    ),
    "drift-robust": Case(
        "drift-robust", _samples(6_000), 0.6, {"format": "jsonl", "timeframe": "1m", "window": "3d"}, {}, "4,320 samples a minute apart"
    ),
}
"""Every recipe with the market that it is asked about."""


def once(name: str, seed: int, edge: float, folder: Path) -> tuple[str, str]:
    """Return verdict and reason, or the gates that failed, of one run in ``folder``."""
    path, as_of = CASES[name].write(folder, seed, edge)
    result, _ = execute(asked(CASES[name], path.as_uri(), as_of, folder), allow_file=True, now_ms=as_of)
    said = " ".join(result.failed) if result.verdict is RunVerdict.REJECTED else result.message
    return str(result.verdict), said


def asked(case: Case, uri: str, as_of: int, folder: Path) -> RunDocument:
    """Return the run of ``case`` on the data at ``uri`` up to ``as_of`` (epoch milliseconds UTC); bundles go below ``folder``/models."""
    spec = {
        "recipe": case.recipe,
        "data": {"uri": uri, "symbols": ["AAPL" if case.recipe == "risk-filter" else "MADE"]} | case.data,
        "overrides": case.overrides,
        "artifacts": {"uri": (folder / "models").as_uri()},
    } | ({"gates": case.gates} if case.gates else {})
    document = {
        "schema": "walkforward.dev/run/v1",
        "run": "made-1a2b3c4d",
        "retrain": {"namespace": "bench", "name": "made", "uid": "u-1"},
        "trigger": {"id": "t-1", "kind": "Manual", "by": "bench"},
        "asOf": timestamp(as_of),
        "spec": spec,
    }
    return RunDocument.parse(msgspec.json.encode(document))
