"""A real MLflow server on loopback, from an environment of its own: too heavy for everybody's, so it is built once and cached."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from walkforward_cluster.locks import locked
from walkforward_cluster.paths import cache, checkout, content_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCKFILE: Final = checkout() / "requirements" / "mlflow-server.txt"
READY_S: Final = 300
"""On a machine that does twenty other things the server takes two minutes to import itself."""
QUIET: Final = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "GIT_PYTHON_REFRESH": "quiet"}


def environment() -> Path:
    """Return the virtual environment with the server; built once per machine, user and lock file."""
    folder = cache() / "mlflow" / content_key([("lock", LOCKFILE)], sys.version)
    complete = folder / "complete"
    if not complete.exists():
        with locked(cache() / "mlflow" / "build.lock", "installing the MLflow server"):
            if not complete.exists():
                shutil.rmtree(folder, ignore_errors=True)
                subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
                install = [
                    "uv",
                    "pip",
                    "install",
                    "--quiet",
                    "--python",
                    str(folder / "bin" / "python"),
                    "--require-hashes",
                    "--requirement",
                ]
                subprocess.run([*install, str(LOCKFILE)], check=True)
                complete.touch()
    return folder


@contextmanager
def mlflow_server(root: Path) -> Iterator[str]:
    """Serve experiments and models out of a folder; yields the server's address."""
    program = environment() / "bin" / "mlflow"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(program), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{root}/mlflow.db", "--artifacts-destination", f"{root}/artifacts"]
    log = root / "mlflow.log"
    # a session of its own: the server starts a worker, and both have to end
    with log.open("wb") as out, subprocess.Popen(
        command, env={**os.environ, **QUIET}, cwd=root, stdout=out, stderr=out, start_new_session=True
    ) as server:  # fmt: skip
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(address, server, log)
            yield address
        finally:
            os.killpg(server.pid, 15)


def _wait(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + READY_S
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (OSError, urllib.error.URLError):
            time.sleep(0.2)
    raise AssertionError(f"MLflow does not answer on {address}: {log.read_text()[-3000:]}")


def api(address: str, path: str, body: dict[str, Any] | None = None, **query: str) -> dict[str, Any]:
    """Return what the server says by its REST API, so that the client is no witness in its own cause."""
    url = f"{address}/api/2.0/mlflow/{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return dict(json.loads(answer.read()))
