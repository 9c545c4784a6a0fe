"""The operator at scale: memory, cold start, time from a change to the status that has seen it, restart, and requests when idle.

``python dev/bench/operator_scale.py --rollouts 1000 --retrains 1000`` prints a table. It runs the real process on a real API server without
nodes; the rollouts follow retrains that have published nothing, so what is measured is the operator and not the servers.
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from api_server import real_api  # noqa: E402 - found beside the tests
from operator_process import Process, free_port, make_namespace  # noqa: E402 - found beside the tests
from s3_server import s3_server  # noqa: E402 - found beside the tests

from walkforward_operator.cluster.api import KubernetesCluster  # noqa: E402 - after the path was set
from walkforward_operator.cluster.kinds import RETRAIN, ROLLOUT, Kind  # noqa: E402 - after the path was set

NAMESPACE = "bench"


class Seen:
    """Every object's generation and the generation that its status has seen, by way of a watch."""

    def __init__(self, cluster: KubernetesCluster, kind: Kind) -> None:
        self._cluster = cluster
        self._kind = kind
        self.generations: dict[str, tuple[int, int]] = {}
        self.changed = asyncio.Event()

    async def run(self) -> None:
        """Watch until cancelled; the API server ends a watch that does not keep up, and a new one begins with everything as it is."""
        transport = self._cluster.transport
        while True:
            async with transport.session.get(f"{transport.server}{self._kind.path(NAMESPACE)}?watch=1", timeout=None) as answer:
                async for line in answer.content:
                    self._take(json.loads(line)["object"])

    def _take(self, found: dict[str, Any]) -> None:
        metadata = found["metadata"]
        seen = found.get("status", {}).get("observedGeneration", -1)
        self.generations[metadata["name"]] = (metadata["generation"], seen)
        self.changed.set()

    def steady(self, count: int) -> bool:
        """Whether every object was seen as it is."""
        return len(self.generations) == count and all(generation == seen for generation, seen in self.generations.values())

    async def wait(self, name: str, generation: int) -> None:
        """Wait until this generation of one object was seen."""
        while self.generations[name][1] < generation:
            self.changed.clear()
            await self.changed.wait()


def rollout(number: int) -> dict[str, Any]:
    """Return one ModelRollout."""
    spec = {"target": {"deployment": f"server-{number}"}, "source": {"retrainRef": {"name": f"model-{number}"}}}
    return {"metadata": {"namespace": NAMESPACE, "name": f"rollout-{number}"}, "spec": spec}


def retrain(number: int) -> dict[str, Any]:
    """Return one ModelRetrain, whose schedule is far away."""
    data = {"uri": "s3://models/bars/", "symbols": ["EURUSD"], "windowBars": 2000}
    spec = {"schedules": [{"cron": "0 0 1 1 *"}], "data": data, "artifacts": {"uri": "s3://models/fx/"}}
    return {"metadata": {"namespace": NAMESPACE, "name": f"model-{number}"}, "spec": spec}


async def create(cluster: KubernetesCluster, kind: Kind, bodies: list[dict[str, Any]]) -> None:
    """Create objects, 20 at a time."""
    for start in range(0, len(bodies), 20):
        await asyncio.gather(*(cluster.create(kind, body, manager="bench") for body in bodies[start : start + 20]))


async def steady(watches: list[Seen], counts: list[int], seconds: float = 120.0) -> float:
    """Wait until everything was seen; return how long that took."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        for watch, count in zip(watches, counts, strict=True):
            while not watch.steady(count):
                watch.changed.clear()
                await watch.changed.wait()
    return time.monotonic() - began


async def change(cluster: KubernetesCluster, watch: Seen, number: int, *, paused: bool) -> float:
    """Edit one rollout; return the milliseconds until its status has seen the edit."""
    name = f"rollout-{number}"
    began = time.monotonic()
    changed = await cluster.patch(
        ROLLOUT, {"metadata": {"namespace": NAMESPACE, "name": name}, "spec": {"paused": paused}}, manager="bench"
    )
    await watch.wait(name, changed["metadata"]["generation"])
    return (time.monotonic() - began) * 1000


async def measure(arguments: argparse.Namespace, kubeconfig: Path, s3: dict[str, str], folder: Path) -> None:
    """Run everything and print it."""
    os.environ["KUBECONFIG"] = str(kubeconfig)
    cluster = await KubernetesCluster.connect()
    await make_namespace(cluster, NAMESPACE)
    await create(cluster, ROLLOUT, [rollout(number) for number in range(arguments.rollouts)])
    await create(cluster, RETRAIN, [retrain(number) for number in range(arguments.retrains)])
    watches = [Seen(cluster, ROLLOUT), Seen(cluster, RETRAIN)]
    tasks = [asyncio.create_task(watch.run()) for watch in watches]
    counts = [arguments.rollouts, arguments.retrains]

    def start() -> Process:
        process = Process(kubeconfig, folder, NAMESPACE, system=NAMESPACE, admin_port=free_port(), env=s3)
        atexit.register(process.kill)
        return process

    process = start()
    print(f"cold start to steady            {await steady(watches, counts):8.1f} s")
    await asyncio.sleep(5)
    print(f"RSS                             {process.rss_mb():8.0f} MB")
    times = [await change(cluster, watches[0], number, paused=True) for number in range(min(200, arguments.rollouts))]
    quantiles = statistics.quantiles(times, n=100)
    print(f"change → observed               {quantiles[49]:8.0f} ms p50 {quantiles[98]:8.0f} ms p99")
    began = time.monotonic()
    await asyncio.gather(*(change(cluster, watches[0], number, paused=False) for number in range(min(200, arguments.rollouts))))
    print(f"200 changes at once             {time.monotonic() - began:8.1f} s")
    before = await process.metrics()
    await asyncio.sleep(30)
    after = await process.metrics()
    done = sum(after[key] - before.get(key, 0.0) for key in after if key.startswith("walkforward_reconcile_total"))
    print(f"reconciles in 30 s of rest      {done:8.0f}")
    process.kill()
    for number in range(min(200, arguments.rollouts)):
        await cluster.patch(
            ROLLOUT, {"metadata": {"namespace": NAMESPACE, "name": f"rollout-{number}"}, "spec": {"paused": True}}, manager="bench"
        )
    process = start()
    print(f"killed, 200 edits, started anew {await steady(watches, counts):8.1f} s")
    await asyncio.sleep(5)
    print(f"RSS                             {process.rss_mb():8.0f} MB")
    process.stop()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await cluster.close()


def main() -> None:
    """Start what is needed, measure, clean up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=int, default=1000)
    parser.add_argument("--retrains", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, s3_server(Path(folder) / "s3") as s3, real_api(controllers=False) as api:
        asyncio.run(measure(arguments, api.kubeconfig, s3, Path(folder)))


if __name__ == "__main__":
    main()
