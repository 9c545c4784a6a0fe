"""A real S3 server on loopback, for the tests that are marked ``integration``."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCESS, SECRET = "test-access", "test-secret-key"
BUCKET = "models"


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a client of a versitygw that serves one bucket, ``models``, out of a temporary folder."""
    from walkforward_cluster.binaries import tool

    root = tmp_path_factory.mktemp("s3")
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


def _wait(address: str, server: subprocess.Popen[bytes], log: os.PathLike[str]) -> None:
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
    raise AssertionError(f"versitygw does not answer on {address}: {open(log).read()}")  # noqa: PTH123, SIM115 - the run ends here
