"""A real S3 server on loopback: versitygw on a temporary folder."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from walkforward_cluster.binaries import tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ACCESS, SECRET = "test-access", "test-secret-key"
BUCKET = "models"


@contextmanager
def s3_server(root: Path) -> Iterator[dict[str, str]]:
    """Serve one bucket, ``models``, out of a folder; yields the environment of a client."""
    for folder in (f"data/{BUCKET}", "meta"):
        (root / folder).mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    # a sidecar for metadata: not every temporary file system has extended attributes
    command = [str(tool("versitygw")), "--quiet", "--port", address, "posix", "--sidecar", str(root / "meta"), str(root / "data")]
    env = {**os.environ, "ROOT_ACCESS_KEY": ACCESS, "ROOT_SECRET_KEY": SECRET}
    with (root / "log").open("wb") as log, subprocess.Popen(command, env=env, stdout=log, stderr=log) as server:
        try:
            _wait(address, server, root / "log")
            yield {
                "AWS_ACCESS_KEY_ID": ACCESS,
                "AWS_SECRET_ACCESS_KEY": SECRET,
                "AWS_ENDPOINT_URL": f"http://{address}",
                "AWS_REGION": "us-east-1",
            }
        finally:
            server.terminate()


def _wait(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    host, _, port = address.partition(":")
    for _ in range(200):
        if server.poll() is not None:
            break
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"versitygw does not answer on {address}: {log.read_text()}")
