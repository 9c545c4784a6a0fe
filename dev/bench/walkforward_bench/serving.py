"""The server beside its peers: CPU milliseconds for 1,000 requests, latency and throughput, from one load generator over one ONNX file.

Server on the first core, client on the last where there are two; the contenders take turns, round after round, so that whatever else the
machine does meets all of them. CPU is what the server's process and its threads used, from ``/proc``.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import server
import uvloop

from walkforward_bench.contenders import PEERS, Contender, ours, post
from walkforward_bench.venvs import Missing

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["measure"]

ROUNDS: Final = 3
MANY: Final = 16
AGREE: Final = 1e-6
"""Float32 sums of 100 leaves, written as JSON in different ways."""
ROWS: Final = [[round(float(v), 4) for v in row] for row in np.random.default_rng(1).standard_normal((256, server.FEATURES))]
TEXTS: Final = [json.dumps(row, separators=(",", ":")) for row in ROWS]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the table: who, what to do before it is asked, and how often."""

    contender: Contender
    prepare: Callable[[], None]


def measure(seconds: float) -> dict[str, Any]:
    """Return a row for each contender, peers that could not be had with the reason; ``seconds`` bounds each run at 16 connections."""
    cores = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        try:
            return _measure(Path(folder), stack, seconds, client={max(cores)})
        finally:
            os.sched_setaffinity(0, cores)


def _measure(home: Path, stack: ExitStack, seconds: float, client: set[int]) -> dict[str, Any]:
    models = [server.trees(seed) for seed in (1, 2)]
    names = [f"f{index}" for index in range(server.FEATURES)]
    a, b = (server.make_bundle(home / "store", features=names, content=model, day=day) for day, model in enumerate(models, start=1))
    missing: dict[str, str] = {}
    entries: list[Entry] = []
    for name, start in PEERS.items():
        place = home / name
        place.mkdir()
        try:
            entries.append(Entry(stack.enter_context(start(place, models[0])), lambda: None))
        except Missing as why:
            missing[name] = str(why)
            print(f"{name} could not be had on this machine: {why}", flush=True)
    own = server.Server(home)
    stack.callback(own.stop)
    for case, document in server.cases(a, b):
        entries.append(Entry(ours(case, own.process.pid, own.ports["http"]), lambda document=document: own.apply(document)))  # type: ignore[misc]  # the loop's own document
    os.sched_setaffinity(0, client)
    entries[len(entries) - len(server.cases(a, b))].prepare()
    _agree([entry.contender for entry in entries])
    own.apply(server.cases(a, b)[0][1]) if False else None
    return {"rows": _rounds(entries, seconds), "missing": missing, "trees": server.TREES, "features": server.FEATURES}
