"""The real operator on a real API server without nodes: memory, starts, changes seen, and what it asks for while nothing happens."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from api_server import real_api
from operator_process import Process, free_port, make_namespace
from operator_scale import NAMESPACE, Seen, change, create, retrain, rollout, steady
from s3_server import s3_server

from walkforward_operator.cluster.api import KubernetesCluster
from walkforward_operator.cluster.kinds import RETRAIN, ROLLOUT

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["measure", "requests"]

EDITS: Final = 200
SETTLE_S: Final = 10.0
QUIET_TRIES: Final = 12
PATIENCE_S: Final = 120.0
"""So long one more object may take to be seen; a busy machine takes its time for all of them."""
LONGEST_S: Final = 3_600.0
_GROUPS: Final = {"walkforward.dev", "batch", "apps", "events.k8s.io"}
_CORE: Final = {"pods", "configmaps", "leases", "namespaces"}
_READS: Final = {"GET", "LIST"}


def measure(objects: int, idle: float) -> dict[str, Any]:
    """Return the figures for ``objects`` rollouts and as many retrains, ``idle`` seconds of rest among them."""
    before = os.environ.get("KUBECONFIG")
    with tempfile.TemporaryDirectory() as folder, s3_server(Path(folder) / "s3") as s3, real_api(controllers=False) as api:
        os.environ["KUBECONFIG"] = str(api.kubeconfig)
        try:
            return asyncio.run(_measure(objects, idle, api.kubeconfig, s3, Path(folder)))
        finally:
            os.environ.pop("KUBECONFIG")
            if before is not None:
                os.environ["KUBECONFIG"] = before


async def _measure(objects: int, idle: float, kubeconfig: Path, s3: Mapping[str, str], folder: Path) -> dict[str, Any]:
    cluster = await KubernetesCluster.connect()
    await make_namespace(cluster, NAMESPACE)
    await create(cluster, ROLLOUT, [rollout(number) for number in range(objects)])
    await create(cluster, RETRAIN, [retrain(number) for number in range(objects)])
    watches = [Seen(cluster, ROLLOUT), Seen(cluster, RETRAIN)]
    tasks = [asyncio.create_task(watch.run()) for watch in watches]
    edits = min(EDITS, objects)
    found: dict[str, Any] = {"objects": objects, "edits": edits, "idle_s": idle}
    lives: list[Process] = []

    def live() -> Process:
        lives.append(Process(kubeconfig, folder, NAMESPACE, system=NAMESPACE, admin_port=free_port(), env=s3))
        return lives[-1]

    try:
        first = live()
        found["cold_s"] = await _seen(watches, objects, first)
        found |= await _idle(cluster, first, idle)
        times = [await change(cluster, watches[0], number, paused=True) for number in range(edits)]
        found["observed_p50_ms"], found["observed_p99_ms"] = (statistics.quantiles(times, n=100)[at] for at in (49, 98))
        began = time.monotonic()
        await asyncio.gather(*(change(cluster, watches[0], number, paused=False) for number in range(edits)))
        found["burst_s"] = time.monotonic() - began
        first.kill()
        await asyncio.gather(*(_pause(cluster, number) for number in range(edits)))
        found["restart_s"] = await _seen(watches, objects, live())
        found["rss_after_mb"] = lives[-1].rss_mb()
        lives[-1].stop()
    finally:
        for process in lives:
            if process.ended is None:
                process.kill()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await cluster.close()
    return found


async def _seen(watches: list[Seen], objects: int, process: Process) -> float:
    """Return the seconds until the operator has seen everything; one that has ended, or gets no further, is not waited for."""
    waiting = asyncio.ensure_future(steady(watches, [objects, objects], LONGEST_S))
    left, moved = objects * len(watches), time.monotonic()
    while not waiting.done() and process.ended is None and time.monotonic() - moved < PATIENCE_S:
        await asyncio.wait({waiting}, timeout=1)
        now = sum(objects - len(watch.generations) + _unseen(watch) for watch in watches)
        if now < left:
            left, moved = now, time.monotonic()
    if waiting.done() and waiting.exception() is None:
        return waiting.result()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    why = f"and {PATIENCE_S:.0f} s passed without another" if process.ended is None else f"before the operator ended with {process.ended}"
    known = [f"{len(watch.generations)} of {objects} known, {_unseen(watch)} of them unseen" for watch in watches]
    words = process.log.read_text(errors="replace")[-1500:]
    raise RuntimeError(f"not everything was seen, {why}: {'; '.join(known)}; the operator said: {words}")


def _unseen(watch: Seen) -> int:
    return sum(generation != seen for generation, seen in watch.generations.values())


async def _pause(cluster: KubernetesCluster, number: int) -> None:
    """Edit one rollout while nobody looks."""
    body = {"metadata": {"namespace": NAMESPACE, "name": f"rollout-{number}"}, "spec": {"paused": True}}
    await cluster.patch(ROLLOUT, body, manager="bench")


async def _idle(cluster: KubernetesCluster, process: Process, seconds: float) -> dict[str, Any]:
    """Return what the operator asks of the API server, per minute, while nothing happens; and its memory and CPU."""
    began, trailing = time.monotonic(), await _quiet(cluster)
    settled = time.monotonic() - began
    before, cpu = await _asked(cluster), _cpu(process.pid)
    await asyncio.sleep(seconds)
    made = await _asked(cluster) - before
    minutes = seconds / 60
    lease = sum(count for (_, resource), count in made.items() if resource == "leases")
    reads = sum(count for (verb, resource), count in made.items() if verb in _READS and resource != "leases")
    others = _others(made)
    return {
        "quiet_s": settled,
        "trailing_writes": trailing,
        "rss_mb": process.rss_mb(),
        "idle_cpu_percent": (_cpu(process.pid) - cpu) / seconds * 100,
        "lease_writes_min": lease / minutes,
        "other_writes_min": sum(others.values()) / minutes,
        "other_writes": others,
        "reads_min": reads / minutes,
    }


async def _quiet(cluster: KubernetesCluster) -> dict[str, int]:
    """Wait until nothing but the Lease was written for a while, or for so long that it never will be; return what was written meanwhile.

    Events and the last statuses trail behind the start; what comes after that is what the operator does at rest.
    """
    first = last = await _asked(cluster)
    for _ in range(QUIET_TRIES):
        await asyncio.sleep(SETTLE_S)
        now = await _asked(cluster)
        if not _others(now - last):
            return _others(now - first)
        last = now
    return _others(last - first)


def _others(made: Counter[tuple[str, str]]) -> dict[str, int]:
    """Return the writes beside the Lease."""
    return {f"{verb} {name}": count for (verb, name), count in made.items() if verb not in _READS and name != "leases"}


async def _asked(cluster: KubernetesCluster) -> Counter[tuple[str, str]]:
    """Return how often the API server was asked so far."""
    return requests((await cluster.transport.send("GET", "/metrics")).data.decode())


def requests(text: str) -> Counter[tuple[str, str]]:
    """Return requests by verb and resource, of the resources that the operator may touch; no watches, not the API server's own Lease."""
    found: Counter[tuple[str, str]] = Counter()
    for line in text.splitlines():
        if not line.startswith("apiserver_request_total{"):
            continue
        pairs = line[line.index("{") + 1 : line.rindex("}")].split(",")
        labels = {name: value.strip('"') for name, _, value in (pair.partition("=") for pair in pairs)}
        key = labels.get("verb", ""), labels.get("resource", "")
        mine = labels.get("group", "") in _GROUPS or key[1] in _CORE
        if mine and key[0] != "WATCH" and key != ("PUT", "leases"):
            found[key] += round(float(line.rpartition(" ")[2]))
    return found


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
