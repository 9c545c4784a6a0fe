"""Servers that answer the same rows with the same ONNX file: ours, MLServer's REST server, and an app that a team writes itself."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from server_harness import HOUR, T0

from server import FEATURES
from walkforward_bench.record import ROOT
from walkforward_bench.venvs import Missing, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["PEERS", "Contender", "ours", "post"]

PEERS_HOME: Final = ROOT / "dev" / "bench" / "peers"
START_S: Final = 60.0
Row = list[float]


@dataclass(frozen=True, slots=True)
class Contender:
    """A server that runs: where it answers, what it is asked for the n-th row, and how its probabilities are read from an answer."""

    name: str
    pid: int
    port: int
    path: str
    body: Callable[[int, str], str]
    answer: Callable[[Any], list[float]]

    def request(self, number: int, row: str) -> bytes:
        """Return the bytes of one request; ``row`` is the JSON of its features."""
        body = self.body(number, row).encode()
        head = f"POST {self.path} HTTP/1.1\r\nHost: b\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


def ours(name: str, pid: int, port: int) -> Contender:
    """Return our server; each request is a new bar of one of 500 clients, so that nothing of the statistics is saved."""

    def body(number: int, row: str) -> str:
        parameters = {"client": f"c{number % 500}", "symbol": "EURUSD", "ts": T0 - (4 * 10**6 - number) * HOUR // 10, "price": 1.1}
        inputs = f'[{{"name":"X","shape":[1,{FEATURES}],"datatype":"FP32","data":{row}}}]'
        return f'{{"id":"{number}","parameters":{json.dumps({**parameters, "base_position": 1.0})},"inputs":{inputs}}}'

    return Contender(name, pid, port, "/v2/models/fx/infer", body, lambda answer: list(answer["outputs"][0]["data"]))


@contextmanager
def mlserver(home: Path, model: bytes) -> Iterator[Contender]:
    """Run MLServer with one worker in the server's process, and a class that does no more than it must."""
    python = environment("mlserver", PEERS_HOME / "mlserver.txt")
    shutil.copy(PEERS_HOME / "mlserver" / "rt.py", home)
    (home / "model.onnx").write_bytes(model)
    http, grpc, metrics = (_free_port() for _ in range(3))
    settings = {"debug": False, "host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics, "parallel_workers": 0}
    (home / "settings.json").write_text(json.dumps(settings))
    about = {"name": "fx", "implementation": "rt.OnnxModel", "parameters": {"uri": "./model.onnx", "version": "v1"}}
    (home / "model-settings.json").write_text(json.dumps(about))

    def body(number: int, row: str) -> str:
        return f'{{"id":"{number}","inputs":[{{"name":"X","shape":[1,{FEATURES}],"datatype":"FP32","data":{row}}}]}}'

    with _running([str(python.parent / "mlserver"), "start", "."], home, f"http://127.0.0.1:{http}/v2/models/fx/ready") as pid:
        yield Contender("MLServer 1.7.1, REST", pid, http, "/v2/models/fx/infer", body, lambda answer: list(answer["outputs"][0]["data"]))


@contextmanager
def fastapi(home: Path, model: bytes) -> Iterator[Contender]:
    """Run the app that a team writes itself, on uvicorn with httptools and uvloop and without an access log."""
    python = environment("fastapi", PEERS_HOME / "fastapi.txt")
    shutil.copy(PEERS_HOME / "fastapi" / "app.py", home)
    (home / "model.onnx").write_bytes(model)
    port = _free_port()
    command = [str(python), "-m", "uvicorn", "app:app", "--host", "127.0.0.1", "--port", str(port), "--no-access-log"]
    command += ["--loop", "uvloop", "--http", "httptools", "--log-level", "warning"]
    with _running(command, home, f"http://127.0.0.1:{port}/ready") as pid:
        yield Contender(
            "FastAPI + ONNX Runtime", pid, port, "/predict", lambda _, row: f'{{"features":{row}}}', lambda answer: list(answer["p"])
        )


PEERS: Final = {"MLServer": mlserver, "FastAPI": fastapi}


def post(contender: Contender, number: int, row: Row) -> list[float]:
    """Return the probabilities that one server gives one row."""
    data = contender.body(number, json.dumps(row)).encode()
    url = f"http://127.0.0.1:{contender.port}{contender.path}"
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return contender.answer(json.loads(answer.read()))


@contextmanager
def _running(command: list[str], home: Path, ready: str) -> Iterator[int]:
    """Run a peer on the first core until the block ends."""
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}
    log = home / "log"
    with log.open("wb") as out, subprocess.Popen(command, cwd=home, env=environ, stdout=out, stderr=out) as process:
        try:
            _pin(process.pid)
            _wait(process, ready, log)
            yield process.pid
        finally:
            process.kill()


def _pin(pid: int) -> None:
    os.sched_setaffinity(pid, {min(os.sched_getaffinity(0))})


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise Missing(f"it did not become ready within {START_S:.0f} s: {' '.join(log.read_text(errors='replace').split())[-300:]}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])
