"""A real S3 server on loopback: versitygw on a temporary folder."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from walkforward_cluster.binaries import tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ACCESS, SECRET = "test-access", "test-secret-key"
BUCKET = "models"


@contextmanager
def s3_server(root: Path) -> Iterator[dict[str, str]]:
    """Serve one bucket, ``models``, out of a folder; yields the environment of a client."""
    for folder in (f"data/{BUCKET}", "meta", "iam"):
        (root / folder).mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    # a sidecar for metadata: not every temporary file system has extended attributes
    command = [str(tool("versitygw")), "--quiet", "--port", address, "--iam-dir", str(root / "iam")]
    command += ["posix", "--sidecar", str(root / "meta"), str(root / "data")]
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


def key_with(env: dict[str, str], name: str, *actions: str) -> dict[str, str]:
    """Return the environment of a key called ``name`` that may do ``actions`` in the bucket and nothing else; there is one such key."""
    admin = [str(tool("versitygw")), "admin", "--access", ACCESS, "--secret", SECRET, "--endpoint-url", env["AWS_ENDPOINT_URL"]]
    secret = f"secret-of-{name}"
    subprocess.run([*admin, "create-user", "--access", name, "--secret", secret, "--role", "user"], check=True, capture_output=True)
    places = [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"]
    rule = {"Effect": "Allow", "Principal": {"AWS": [name]}, "Action": [f"s3:{action}" for action in actions], "Resource": places}
    # the ways of versitygw: an account has no rights but those that the policy of a bucket gives it
    client: Any = boto3.client(
        "s3",
        endpoint_url=env["AWS_ENDPOINT_URL"],
        aws_access_key_id=ACCESS,
        aws_secret_access_key=SECRET,
        region_name=env["AWS_REGION"],
        config=Config(s3={"addressing_style": "path"}),
    )
    client.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps({"Version": "2012-10-17", "Statement": [rule]}))
    client.close()
    return {**env, "AWS_ACCESS_KEY_ID": name, "AWS_SECRET_ACCESS_KEY": secret}


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
