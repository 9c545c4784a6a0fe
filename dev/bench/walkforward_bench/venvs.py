"""An environment of its own for each peer, made from locked requirements below the user's cache directory and kept by their content."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from walkforward_cluster.locks import locked
from walkforward_cluster.paths import cache, content_key

__all__ = ["Missing", "environment"]


class Missing(Exception):  # noqa: N818 - not an error of ours: a peer that this machine cannot have
    """A peer that cannot be had here; the text says why."""


def environment(name: str, requirements: Path) -> Path:
    """Return the Python of an environment that holds ``requirements`` (hashes required) and nothing else.

    Raises
    ------
    Missing
        It cannot be installed: no network, no wheel for this Python.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    home = cache() / "bench" / f"{name}-{content_key([(requirements.name, requirements)], version)}"
    python = home / "bin" / "python"
    done = home / ".complete"
    if done.exists():
        return python
    home.parent.mkdir(parents=True, exist_ok=True)
    with locked(home.parent / f"{name}.lock", f"installing {name}"):
        if not done.exists():
            print(f"installing {name} (once)", flush=True)
            _make(home, python, requirements)
            done.touch()
    return python


def _make(home: Path, python: Path, requirements: Path) -> None:
    beside = Path(sys.executable).parent / "uv"
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv is None:
        raise Missing("uv is not installed; run 'make setup'")
    shutil.rmtree(home, ignore_errors=True)
    for command in (
        [uv, "venv", "--quiet", "--python", sys.executable, str(home)],
        [uv, "pip", "install", "--quiet", "--python", str(python), "--require-hashes", "-r", str(requirements)],
    ):
        ended = subprocess.run(command, env={**os.environ, "UV_NO_PROGRESS": "1"}, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            raise Missing(" ".join(ended.stderr.split())[-400:] or f"uv ended with {ended.returncode}")
