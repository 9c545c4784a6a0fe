"""Measured figures as JSON below ``.work/bench``: what, when, of which commit, on what machine, and how busy that was.

The page of benchmarks is written from these files and from nothing else, so that it never holds a number that nobody measured.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

__all__ = ["PARTS", "ROOT", "WORK", "machine", "read", "write"]

ROOT: Final = Path(__file__).resolve().parents[3]
WORK: Final = ROOT / ".work" / "bench"
PARTS: Final = ("server", "trainer", "recipes", "features", "ticks", "operator", "images", "memory", "edge")


def machine() -> dict[str, Any]:
    """Return what the figures depend on, taken as the part begins; ``load`` is the average of the minute before."""
    release = platform.freedesktop_os_release()
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "system": f"{release.get('NAME', 'Linux')} {release.get('VERSION_ID', '')}".strip(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
        "commit": commit(),
    }


def commit(root: Path = ROOT) -> str:
    """Return the short id of the commit, with ``+`` where tracked files differ from it; ``unknown`` outside of git."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def write(part: str, figures: dict[str, Any], *, on: dict[str, Any], folder: Path = WORK) -> None:
    """Keep the figures of one part."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    facts = dict(on)
    document = {"measured": stamp, "commit": facts.pop("commit"), "machine": facts, "figures": figures}
    (folder / f"{part}.json").write_text(json.dumps(document, indent=1) + "\n")


def read(part: str, folder: Path = WORK) -> dict[str, Any] | None:
    """Return what was kept of one part, None where it was never measured."""
    try:
        found: dict[str, Any] = json.loads((folder / f"{part}.json").read_text())
    except FileNotFoundError:
        return None
    return found
