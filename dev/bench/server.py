"""CPU time, latency and throughput of the inference server: 30 features, 100 XGBoost trees of depth 4, one V2 JSON request a row.

``python dev/bench/server.py`` prints a table. The server runs on one core and the load generator on another where there are two; CPU is
what the server's process and its threads used, from ``/proc``. Every request is a new bar, so that nothing of the statistics is saved.
"""

from __future__ import annotations

import argparse
import asyncio
import atexit
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import uvloop

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from bundles import Made, make_bundle  # noqa: E402 - found beside the tests
from server_harness import HOUR, T0, measure, routing  # noqa: E402 - found beside the tests

from walkforward_core.routing import OutcomeSource, RoutingDocument  # noqa: E402 - after the path was set
from walkforward_trainer.graph import base_graph  # noqa: E402 - after the path was set
from walkforward_trainer.models.training import Binned, Training  # noqa: E402 - after the path was set
from walkforward_trainer.models.xgb import fit_xgboost  # noqa: E402 - after the path was set
from walkforward_trainer.resolved import Model  # noqa: E402 - after the path was set

FEATURES, TREES, DEPTH = 30, 100, 4
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one run: throughput, CPU milliseconds per 1,000 requests, latency in microseconds."""

    rps: float
    cpu_ms: float
    p50: float
    p99: float


def trees(seed: int) -> bytes:
    """Return an ONNX graph of boosted trees, fitted and written by the trainer's own code, with its probabilities as ``p``.

    The trainer's log-odds are double; a model of trees alone, as others would export it, answers in single precision.
    """
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((5000, FEATURES)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] + x[:, 2] + rng.standard_normal(5000) > 0).astype(np.float64)
    fitted = fit_xgboost(Training(Binned(x), y, np.ones(len(y))), Model(trees=TREES, depth=DEPTH, seed=seed))
    model = onnx.load_from_string(base_graph([fitted.part], FEATURES))
    score = model.graph.output[0].name
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(1, np.float32), "one"))
    model.graph.node.append(onnx.helper.make_node("Cast", [score], ["odds"], to=onnx.TensorProto.FLOAT))
    for kind, inputs, output in (("Sigmoid", ["odds"], "s"), ("Sub", ["one", "s"], "q")):
        model.graph.node.append(onnx.helper.make_node(kind, inputs, [output]))
    model.graph.node.append(onnx.helper.make_node("Concat", ["q", "s"], ["p"], axis=1))
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info("p", onnx.TensorProto.FLOAT, [None, 2]))
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


class Caller(asyncio.Protocol):
    """One connection that sends the next request when the answer is here."""

    def __init__(self, take: Any, times: list[float], done: asyncio.Future[None]) -> None:
        self._take, self._times, self._done = take, times, done
        self._buffer = b""
        self._began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport: Any = transport
        self._next()

    def _next(self) -> None:
        request = self._take()
        if request is None:
            self._transport.close()
            if not self._done.done():
                self._done.set_result(None)
            return
        self._began = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Take an answer that is complete, send the next request."""
        self._buffer = self._buffer + data if self._buffer else data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self._buffer.find(b"content-length: ") + 16
        length = int(self._buffer[at : self._buffer.find(b"\r", at)])
        if len(self._buffer) < head + 4 + length:
            return
        if not self._buffer.startswith(b"HTTP/1.1 200"):
            raise SystemExit(self._buffer.decode())
        self._times.append(time.perf_counter() - self._began)
        self._buffer = b""
        self._next()


async def load(port: int, connections: int, requests: int, start: int) -> tuple[float, list[float]]:
    """Send ``requests`` over so many connections; return the seconds it took and every latency."""
    rng = np.random.default_rng(1)
    rows = [json.dumps([round(float(v), 4) for v in row]).encode() for row in rng.standard_normal((256, FEATURES))]
    left = iter(range(start, start + requests))

    def take() -> bytes | None:
        number = next(left, None)
        if number is None:
            return None
        body = (
            b'{"id":"%d","parameters":{"client":"c%d","symbol":"EURUSD","ts":%d,"price":1.1,"base_position":1.0},'
            b'"inputs":[{"name":"X","shape":[1,%d],"datatype":"FP32","data":%b}]}'
            % (number, number % 500, T0 - (4 * 10**6 - number) * HOUR // 10, FEATURES, rows[number % 256])
        )
        return b"POST /v2/models/fx/infer HTTP/1.1\r\nHost: b\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    loop = asyncio.get_running_loop()
    times: list[float] = []
    waits = [loop.create_future() for _ in range(connections)]
    begin = time.perf_counter()
    for done in waits:
        await loop.create_connection(partial(Caller, take, times, done), "127.0.0.1", port)
    await asyncio.gather(*waits)
    return time.perf_counter() - begin, times


def cpu_seconds(pid: int) -> float:
    """Return what the process has used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Server:
    """The real server process, started on its own core."""

    def __init__(self, home: Path) -> None:
        self.routing = home / "routing"
        self.routing.mkdir()
        command = [sys.executable, "-m", "walkforward_server", "--target", "fx", "--pod-uid", "bench", "--host", "127.0.0.1"]
        command += ["--http-port", "0", "--admin-port", "0", "--allow-file-bundles", "--drain-seconds", "0"]
        command += ["--routing-dir", str(self.routing), "--state-dir", str(home / "state")]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE)
        atexit.register(self.process.kill)
        assert self.process.stderr is not None
        self.ports = json.loads(self.process.stderr.readline())
        if len(os.sched_getaffinity(0)) > 1:
            os.sched_setaffinity(self.process.pid, {min(os.sched_getaffinity(0))})

    def apply(self, document: RoutingDocument) -> None:
        """Put a document in force and wait for its models."""
        import urllib.request  # noqa: PLC0415 - only here

        draft = self.routing / "new"
        draft.write_bytes(document.to_bytes())
        draft.replace(self.routing / "routing.json")
        while True:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['admin']}/v1/routing") as answer:
                report = json.loads(answer.read())
            states = {model["state"] for model in report["models"].values()}
            if (report["applied"] or {}).get("generation") == document.generation and states == {"Ready"}:
                return
            if states & {"Refused", "Tripped"}:
                raise SystemExit(report)
            time.sleep(0.05)

    def stop(self) -> None:
        """End it in good order."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


def run(server: Server, connections: int, requests: int, start: int) -> Figures:
    """Return the figures of one run."""
    before = cpu_seconds(server.process.pid)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        seconds, times = runner.run(load(server.ports["http"], connections, requests, start))
    cpu = cpu_seconds(server.process.pid) - before
    ordered = sorted(times)
    return Figures(requests / seconds, cpu * 1e6 / requests, ordered[len(times) // 2] * 1e6, ordered[int(len(times) * 0.99)] * 1e6)


def cases(a: Made, b: Made) -> list[tuple[str, RoutingDocument]]:
    """Return what is measured, from the bare answer to everything on."""
    pair = {"stable": a.ref, "candidate": b.ref, "weight": 5, "shadow": True}
    return [
        ("one model, statistics", routing(generation=1, stable=a.ref)),
        ("paired shadow, statistics, price", routing(generation=2, **pair, measure=measure(OutcomeSource.PRICE))),
        ("paired shadow, statistics, receipts", routing(generation=3, **pair, measure=measure(OutcomeSource.RECEIPT))),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=40_000)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    mine = {max(os.sched_getaffinity(0))}  # the server takes the first one
    names = [f"f{index}" for index in range(FEATURES)]
    print(f"{'case':38s} {'c1 p50 µs':>10s} {'c1 p99 µs':>10s} {'c16 rps':>9s} {'CPU ms/1,000':>13s}")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        a, b = (make_bundle(home / "store", features=names, content=trees(seed), day=seed) for seed in (1, 2))
        server = Server(home)
        os.sched_setaffinity(0, mine)
        start = 0
        for name, document in cases(a, b):
            server.apply(document)
            run(server, 16, 2000, start)
            ones, many = [], []
            for _ in range(given.runs):
                start += 10_000
                ones.append(run(server, 1, 5_000, start))
                start += 10_000
                many.append(run(server, 16, given.requests, start))
                start += given.requests

            p50, p99 = statistics.median(one.p50 for one in ones), statistics.median(one.p99 for one in ones)
            rps, cpu = statistics.median(some.rps for some in many), statistics.median(some.cpu_ms for some in many)
            print(f"{name:38s} {p50:10.0f} {p99:10.0f} {rps:9.0f} {cpu:13.1f}")
        server.stop()


if __name__ == "__main__":
    main()
