"""Tests that mount a file system run anywhere: where this process may not mount, in a user namespace of their own, whose root may."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

SYS_ADMIN = 21
"""Bit of the capability to mount, in linux/capability.h."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "mounts: mounts a file system of its own")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that mounts once more by itself, in a namespace, where that is needed; its outcome is the test's."""
    if pyfuncitem.get_closest_marker("mounts") is None or _may_mount():
        return None
    with TemporaryDirectory(prefix="walkforward-mounts-") as folder:
        command = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        done = subprocess.run(
            [*command, f"--basetemp={folder}/pytest", pyfuncitem.nodeid],
            cwd=pyfuncitem.config.rootpath,
            env=env,
            check=False,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, f"needs root, or user namespaces (sysctl user.max_user_namespaces):\n{done.stdout}{done.stderr}"
    return True


def _may_mount() -> bool:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    held = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(held.split()[1], 16) >> SYS_ADMIN & 1)
