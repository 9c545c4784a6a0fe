"""The server as the process that it is in a pod: started, drained, killed, restarted."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bundles import TRIGGER, make_bundle
from server_harness import POD, T0, Client, measure, routing

from walkforward_core.client import Client as WalkforwardClient
from walkforward_core.client import NoAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from walkforward_core.routing import RoutingDocument

ROW = [0.5, -0.25, 1.0]


class Pod:
    """One container of one pod; the state directory survives it."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.routing = home / "routing"
        self.routing.mkdir(parents=True, exist_ok=True)
        self.state = home / "state"
        env = {
            **os.environ,
            "WALKFORWARD_TARGET": "fx",
            "WALKFORWARD_POD_UID": POD,
            "WALKFORWARD_ROUTING_DIR": str(self.routing),
            "WALKFORWARD_STATE_DIR": str(self.state),
            "WALKFORWARD_HTTP_PORT": "0",
            "WALKFORWARD_ADMIN_PORT": "0",
            "WALKFORWARD_HOST": "127.0.0.1",
            "WALKFORWARD_ALLOW_FILE_BUNDLES": "true",
            "WALKFORWARD_DRAIN_SECONDS": "1",
            **environment,
        }
        self.process = subprocess.Popen([sys.executable, "-m", "walkforward_server"], env=env, stderr=subprocess.PIPE)
        assert self.process.stderr is not None
        self.logs: list[dict[str, Any]] = [json.loads(self.process.stderr.readline())]
        self.http, self.admin = self.logs[0]["http"], self.logs[0]["admin"]
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.logs.append(json.loads(line))

    def write(self, document: RoutingDocument) -> None:
        draft = self.routing / "new"
        draft.write_bytes(document.to_bytes())
        draft.replace(self.routing / "routing.json")

    async def get(self, path: str) -> Any:
        client = Client(self.admin)
        try:
            return (await client.request("GET", path)).json
        finally:
            await client.close()

    async def settled(self, generation: int) -> Any:
        deadline = time.monotonic() + 60
        while True:
            report = await self.get("/v1/routing")
            states = {model["state"] for model in report["models"].values()}
            if (report["applied"] or {}).get("generation") == generation and states <= {"Ready", "Refused", "Tripped", "Waiting"}:
                return report
            assert time.monotonic() < deadline, (report, self.logs)
            await asyncio.sleep(0.05)

    def end(self, number: int, within: float = 20) -> int:
        self.process.send_signal(number)
        status = self.process.wait(within)
        self.close()
        return status

    def close(self) -> None:
        self._reader.join(5)
        assert self.process.stderr is not None
        self.process.stderr.close()


@contextmanager
def pod(home: Path, **environment: str) -> Iterator[Pod]:
    running = Pod(home, **environment)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.end(signal.SIGKILL)
        running.close()


def request(client: str) -> bytes:
    body = {"inputs": [{"name": "X", "shape": [1, 3], "datatype": "FP32", "data": ROW}], "parameters": {"client": client}}
    return json.dumps(body).encode()


async def test_drain_under_load_fails_no_request_and_admin_answers_to_the_end(tmp_path: Path) -> None:
    """Two pods behind a Service that follows readiness with the usual delay; one of them ends under load."""
    made = make_bundle(tmp_path / "store")
    with pod(tmp_path / "a") as leaving, pod(tmp_path / "b") as staying:
        for running in (leaving, staying):
            running.write(routing(stable=made.ref))
            await running.settled(1)
        endpoints = [leaving.http, staying.http]
        stop, closed = asyncio.Event(), asyncio.Event()
        answers = {leaving.http: 0, staying.http: 0}

        async def caller(number: int) -> None:
            """Keep-alive, and a new connection to an endpoint of the moment where the server says that this one ends."""
            client = Client(endpoints[number % 2])
            while not stop.is_set():
                reply = await client.request("POST", "/v2/models/fx/infer", request(f"c{number}"))
                assert reply.status == 200
                answers[client.port] += 1
                if reply.headers.get("connection") == "close":
                    assert client.port == leaving.http
                    closed.set()
                    await client.close()
                    client = Client(endpoints[number % len(endpoints)])
                await asyncio.sleep(0.002)
            await client.close()

        callers = [asyncio.create_task(caller(number)) for number in range(4)]
        idle = Client(leaving.http)
        await idle.send(b"")
        await asyncio.sleep(0.3)
        assert min(answers.values()) > 0
        leaving.process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(closed.wait(), 5)
        # it serves on, but is not ready, and the operator still gets its evidence
        assert (await leaving.get("/readyz")) == {"ready": False}
        before = answers[leaving.http]
        await asyncio.sleep(0.3)
        assert answers[leaving.http] > before
        endpoints.remove(leaving.http)
        stats = await leaving.get("/v1/stats")
        assert stats["rows"][0]["requests"]["exposed"] > before
        status = await asyncio.get_running_loop().run_in_executor(None, leaving.process.wait, 20)
        assert status == 0
        stop.set()
        await asyncio.gather(*callers)
        leaving._reader.join(5)
        assert [line["message"] for line in leaving.logs][-2:] == ["draining", "ended"]
        await idle.close()


async def test_process_that_dies_with_a_candidate_trips_it_and_serves_on(tmp_path: Path) -> None:
    a, b = make_bundle(tmp_path / "store", day=1), make_bundle(tmp_path / "store", day=2, weights=(1, 2, 3))
    document = routing(stable=a.ref, candidate=b.ref, weight=100, shadow=True, measure=measure())
    with pod(tmp_path) as running:
        running.write(document)
        report = await running.settled(1)
        assert report["models"][b.ref.version]["state"] == "Ready"
        assert running.end(signal.SIGKILL) == -signal.SIGKILL
    with pod(tmp_path, WALKFORWARD_DRAIN_SECONDS="0") as running:
        report = await running.settled(1)
        assert report["models"][a.ref.version]["state"] == "Ready"
        assert report["models"][b.ref.version]["state"] == "Tripped"
        client = Client(running.http)
        said = (await client.request("POST", "/v2/models/fx/infer", request("c"))).json["parameters"]
        assert (said["arm"], said["fallback"]) == ("stable", True)
        await client.close()
        assert running.end(signal.SIGTERM) == 0
    c = make_bundle(tmp_path / "store", day=3, weights=(3, 2, 1))
    with pod(tmp_path, WALKFORWARD_DRAIN_SECONDS="0") as running:
        # it stays out, also after an orderly end
        assert (await running.settled(1))["models"][b.ref.version]["state"] == "Tripped"
        # another candidate is another matter, and stable is never tripped
        running.write(routing(generation=2, stable=a.ref, candidate=c.ref, weight=100, shadow=True))
        report = await running.settled(2)
        assert {model["state"] for model in report["models"].values()} == {"Ready"}
        running.write(routing(generation=3, stable=b.ref))
        assert (await running.settled(3))["models"][b.ref.version]["state"] == "Ready"


@contextmanager
def service(*pods: Pod) -> Iterator[int]:
    """Yield the port of a Service over ``pods``: connections go to them in turn, and are lost with them."""

    class Forward(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            living = [pod for pod in pods if pod.process.poll() is None]
            with socket.create_connection(("127.0.0.1", living[next(turns) % len(living)].http)) as out:
                back = threading.Thread(target=copy, args=(out, self.request), daemon=True)
                back.start()
                copy(self.request, out)
                back.join(5)

    def copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    turns = itertools.count()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Forward) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


async def test_a_row_that_ends_a_server_is_not_carried_to_the_next_one(tmp_path: Path) -> None:
    """The client asks again, and says so: the second pod answers by stable and lives. Who does not say so ends that one too."""
    a, b = make_bundle(tmp_path / "store", day=1), make_bundle(tmp_path / "store", day=2, trap="kill")
    document = routing(stable=a.ref, candidate=b.ref, weight=100, shadow=True, measure=measure())
    deadly = {"a": TRIGGER + 1, "b": 0.0, "c": 0.0}
    with pod(tmp_path / "1") as first, pod(tmp_path / "2") as second:
        for running in (first, second):
            running.write(document)
        for running in (first, second):
            assert (await running.settled(1))["models"][b.ref.version]["state"] == "Ready"
        with service(first, second) as port:
            client = WalkforwardClient(f"http://127.0.0.1:{port}", "fx", connections=1)
            harmless = await asyncio.to_thread(client.infer, {"a": 0.0, "b": 0.0, "c": 0.0}, client="c", symbol="S", ts=T0)
            assert (harmless.arm, harmless.attempts) == ("candidate", 1)
            said = await asyncio.to_thread(client.infer, deadly, client="c", symbol="S", ts=T0)
            assert (said.arm, said.attempts, said.receipt) == ("stable", 2, "")
            dead, alive = (first, second) if first.process.poll() is not None else (second, first)
            assert dead.process.wait(5) == -signal.SIGFPE
            asked_later = await asyncio.to_thread(client.infer, deadly, repeated=True, client="c")
            assert asked_later.arm == "stable"
            # the shadow would come after the answer: the process still lives once its statistics have gone on
            assert {row["role"]: row["requests"]["exposed"] for row in (await alive.get("/v1/stats"))["rows"]}["stable"] == 2
            assert alive.process.poll() is None
            with pytest.raises(NoAnswer):
                await asyncio.to_thread(replace(client, attempts=1).infer, deadly, client="c")
            assert alive.process.wait(5) == -signal.SIGFPE
            client.close()


async def test_orderly_end_trips_nothing(tmp_path: Path) -> None:
    a, b = make_bundle(tmp_path / "store", day=1), make_bundle(tmp_path / "store", day=2, weights=(1, 2, 3))
    for _ in range(2):
        with pod(tmp_path, WALKFORWARD_DRAIN_SECONDS="0") as running:
            running.write(routing(stable=a.ref, candidate=b.ref, weight=100, shadow=True))
            report = await running.settled(1)
            assert report["models"][b.ref.version]["state"] == "Ready"
            assert running.end(signal.SIGTERM) == 0


async def test_promoted_model_that_kills_the_process_gives_way_to_the_previous_one(tmp_path: Path) -> None:
    a, b = make_bundle(tmp_path / "store", day=1), make_bundle(tmp_path / "store", day=2, weights=(1, 2, 3))
    with pod(tmp_path) as running:
        running.write(routing(stable=b.ref, previous=a.ref, shadow=True))
        await running.settled(1)
        running.end(signal.SIGKILL)
    with pod(tmp_path) as running:
        report = await running.settled(1)
        assert report["models"][b.ref.version]["state"] == "Tripped"
        client = Client(running.http)
        assert (await client.request("POST", "/v2/models/fx/infer", request("c"))).json["parameters"]["arm"] == "previous"
        await client.close()
        # the watch is over: what is stable now must serve
        running.write(routing(generation=2, stable=b.ref))
        assert (await running.settled(2))["models"][b.ref.version]["state"] == "Ready"


async def test_restarted_container_serves_from_its_volume_with_the_store_gone(tmp_path: Path) -> None:
    made = make_bundle(tmp_path / "store")
    with pod(tmp_path) as running:
        running.write(routing(stable=made.ref))
        await running.settled(1)
        running.end(signal.SIGKILL)
    (tmp_path / "store").rename(tmp_path / "away")
    # it is not proven once more either: no process can be started and say a word in a millisecond
    with pod(tmp_path, WALKFORWARD_PROOF_SECONDS="0.001") as running:
        assert (await running.settled(1))["models"][made.ref.version]["state"] == "Ready"


async def test_a_cached_bundle_that_was_damaged_is_fetched_and_proven_anew(tmp_path: Path) -> None:
    made = make_bundle(tmp_path / "store")
    for damage in (False, True):
        [model] = (tmp_path / "state").rglob("model.onnx") if damage else [None]
        if model is not None:
            model.write_bytes(b"something else")
        with pod(tmp_path, WALKFORWARD_DRAIN_SECONDS="0") as running:
            running.write(routing(stable=made.ref))
            assert (await running.settled(1))["models"][made.ref.version]["state"] == "Ready"
            assert running.end(signal.SIGTERM) == 0
            assert any("damaged" in line["message"] for line in running.logs) is damage


def test_telemetry_is_off_whatever_the_environment_says() -> None:
    """The variable is latched when onnxruntime is imported: it must be set by then, in every process that imports it."""
    program = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            print(name, os.environ.get("ORT_DISABLE_TELEMETRY"))
sys.meta_path.insert(0, Watch())
import walkforward_server.%s
"""
    for module in ("__main__", "model", "node", "ort"):
        env = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"} | {"ORT_DISABLE_TELEMETRY": "0"}
        done = subprocess.run([sys.executable, "-c", program % module], env=env, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[0] == "onnxruntime 1"


def test_the_image_says_so_too_and_runs_as_nobody() -> None:
    lines = (Path(__file__).resolve().parents[2] / "Dockerfile.server").read_text()
    assert "ORT_DISABLE_TELEMETRY=1" in lines
    assert "USER 65532:65532" in lines


def test_only_one_module_imports_the_runtime() -> None:
    import walkforward_server

    (folder,) = walkforward_server.__path__
    done = subprocess.run(
        ["grep", "-rlE", r"^\s*(import|from) onnxruntime", "--include=*.py", folder], capture_output=True, text=True, check=True
    )
    assert [line.rsplit("/", 1)[1] for line in done.stdout.split()] == ["ort.py"]


def test_missing_target_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    from walkforward_server.config import read_settings

    with pytest.raises(SystemExit):
        read_settings([], {})
    assert "--target or WALKFORWARD_TARGET is required" in capfd.readouterr().err


def test_flags_win_over_the_environment() -> None:
    from walkforward_server.config import read_settings

    env = {
        "WALKFORWARD_TARGET": "a",
        "WALKFORWARD_HTTP_PORT": "1",
        "WALKFORWARD_BUNDLE_ROOTS": "s3://a/, s3://b/",
        "WALKFORWARD_OUTCOMES_TOKEN": "t",
    }
    settings = read_settings(["--target", "b"], env)
    assert (settings.target, settings.http_port, settings.roots, settings.token) == ("b", 1, ("s3://a/", "s3://b/"), b"t")
    assert settings.allow_file is False


@pytest.mark.parametrize(("limit", "mib"), [("max\n", 2048), (f"{768 * 2**20}\n", 512), (f"{256 * 2**20}\n", 384), (f"{2**40}\n", 2048)])
def test_a_proof_gets_what_the_container_has_left(tmp_path: Path, limit: str, mib: int) -> None:
    from walkforward_server.config import _proof_memory_mib

    (tmp_path / "memory.max").write_text(limit)
    assert _proof_memory_mib(tmp_path / "memory.max") == mib
    assert _proof_memory_mib(tmp_path / "absent") == 2048


async def test_the_child_does_not_learn_the_outcomes_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from walkforward_server import child
    from walkforward_server.config import read_settings

    seen: dict[str, str] = {}

    async def start(*_command: str, env: dict[str, str], **_pipes: int) -> None:
        seen.update(env)
        raise FileNotFoundError

    monkeypatch.setenv("WALKFORWARD_OUTCOMES_TOKEN", "secret")
    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    with pytest.raises(FileNotFoundError):
        await child.prove(read_settings(["--target", "fx"], os.environ), make_bundle(tmp_path).ref, trial=True)
    assert seen["PATH"] == os.environ["PATH"]
    assert "secret" not in seen.values()
