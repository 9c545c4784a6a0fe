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
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import uvloop
from bundles import make_bundle

import server
from walkforward_bench.contenders import PEERS, Contender, ours, post
from walkforward_bench.venvs import Missing

__all__ = ["measure"]

ROUNDS: Final = 3
MANY: Final = 16
AGREE: Final = 1e-6
"""Float32 sums of 100 leaves, written as JSON in different ways."""
ROWS: Final = [[round(float(v), 4) for v in row] for row in np.random.default_rng(1).standard_normal((256, server.FEATURES))]
TEXTS: Final = [json.dumps(row, separators=(",", ":")) for row in ROWS]


@dataclass(frozen=True, slots=True)
class Taken:
    """One run: seconds it took, CPU seconds of the server, every latency in seconds."""

    seconds: float
    cpu: float
    times: list[float]


def measure(seconds: float) -> dict[str, Any]:
    """Return a row for each contender, peers that could not be had with the reason; ``seconds`` bounds each run at 16 connections."""
    cores = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        models = server.trees(1), server.trees(2)
        own = _ours(Path(folder), stack, models)
        peers, missing = _peers(Path(folder), stack, models[0])
        os.sched_setaffinity(0, {max(cores)})
        stack.callback(os.sched_setaffinity, 0, cores)
        _agree([own[0], *peers])
        return {
            "trees": server.TREES,
            "features": server.FEATURES,
            "ours": [contender.name for contender in own],
            "rows": _rounds([*own, *peers], seconds),
            "missing": missing,
        }


def _ours(home: Path, stack: ExitStack, models: tuple[bytes, bytes]) -> list[Contender]:
    """Start a server of ours for each case, from the bare answer to a paired candidate with every statistic on."""
    names = [f"f{index}" for index in range(server.FEATURES)]
    a, b = (make_bundle(home / "store", features=names, content=model, day=day) for day, model in enumerate(models, start=1))
    contenders = []
    for number, (case, document) in enumerate(server.cases(a, b)):
        place = home / f"ours-{number}"
        place.mkdir()
        running = server.Server(place)
        stack.callback(running.stop)
        running.apply(document)
        contenders.append(ours(case, running.process.pid, running.ports["http"]))
    return contenders


def _peers(home: Path, stack: ExitStack, model: bytes) -> tuple[list[Contender], dict[str, str]]:
    """Start every peer that can be had; say of the others why not."""
    contenders: list[Contender] = []
    missing: dict[str, str] = {}
    for name, start in PEERS.items():
        place = home / name
        place.mkdir()
        try:
            contenders.append(stack.enter_context(start(place, model)))
        except Missing as why:
            missing[name] = str(why)
            print(f"{name} cannot be had on this machine: {why}", flush=True)
    return contenders, missing


def _agree(contenders: list[Contender]) -> None:
    """Ask everybody for the same rows: who answers something else is not measured, nor is anybody."""
    for row in ROWS[:20]:
        answers = [post(contender, 0, row) for contender in contenders]
        if np.abs(np.array(answers) - answers[0]).max() > AGREE:
            raise SystemExit(f"the servers disagree about a row: {answers}")


def _rounds(contenders: list[Contender], seconds: float) -> list[dict[str, Any]]:
    ones: dict[str, list[Taken]] = {contender.name: [] for contender in contenders}
    many: dict[str, list[Taken]] = {contender.name: [] for contender in contenders}
    number = 0
    for contender in contenders:
        number += len(_run(contender, MANY, seconds / 2, number).times)  # warm up
    for _ in range(ROUNDS):
        for contender in contenders:
            ones[contender.name].append(_run(contender, 1, seconds / 2, number))
            many[contender.name].append(_run(contender, MANY, seconds, number := number + len(ones[contender.name][-1].times)))
            number += len(many[contender.name][-1].times)
    return [_row(contender.name, ones[contender.name], many[contender.name]) for contender in contenders]


def _row(name: str, ones: list[Taken], many: list[Taken]) -> dict[str, Any]:
    """Return the medians over the rounds."""

    def quantile(q: float) -> float:
        return statistics.median(float(np.quantile(one.times, q)) for one in ones)

    return {
        "name": name,
        "cpu_ms": statistics.median(one.cpu * 1e6 / len(one.times) for one in many),
        "c1_p50_us": quantile(0.5) * 1e6,
        "c1_p99_us": quantile(0.99) * 1e6,
        "c16_rps": statistics.median(len(one.times) / one.seconds for one in many),
        "requests": sum(len(one.times) for one in many),
    }


def _run(contender: Contender, connections: int, seconds: float, start: int) -> Taken:
    before = server.cpu_seconds(contender.pid)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        took, times = runner.run(_load(contender, connections, seconds, start))
    return Taken(took, server.cpu_seconds(contender.pid) - before, times)


async def _load(contender: Contender, connections: int, seconds: float, start: int) -> tuple[float, list[float]]:
    """Ask over so many connections, each as soon as it is answered; return the seconds it took and every latency."""
    loop = asyncio.get_running_loop()
    times: list[float] = []
    began = time.perf_counter()
    numbers = iter(range(start, start + 10**9))

    def take() -> bytes | None:
        if time.perf_counter() - began >= seconds:
            return None
        number = next(numbers)
        return contender.request(number, TEXTS[number % len(TEXTS)])

    waits = [loop.create_future() for _ in range(connections)]
    async with asyncio.timeout(seconds + 30):
        for done in waits:
            await loop.create_connection(partial(server.Caller, take, times, done), "127.0.0.1", contender.port)
        await asyncio.gather(*waits)
    return time.perf_counter() - began, times
