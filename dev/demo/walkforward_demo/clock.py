"""How long the demo took, kept for docs/benchmarks.md where every act ended as it must."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from walkforward_cluster import binaries, images
from walkforward_cluster.paths import cache, checkout

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Clock"]


def _there() -> frozenset[str]:
    """Return what a warm run need not build: the binaries of this very checkout and every image archive."""
    archives = {f"{part}/{path.name}" for part in images.PARTS for path in (cache() / "images" / part).glob("*.tar")}
    return frozenset(archives | ({"binaries"} if (binaries.folder() / ".complete").exists() else set()))


@dataclass(slots=True)
class Clock:
    """Runs from the first command to the verdict."""

    began: float = field(default_factory=time.monotonic)
    load: float = field(default_factory=lambda: os.getloadavg()[0])
    before: frozenset[str] = field(default_factory=_there)
    made: frozenset[str] = frozenset()

    def built(self) -> None:
        """Note what had to be built."""
        self.made = _there() - self.before

    @property
    def kind(self) -> str:
        """Return ``warm`` where nothing was built, ``cold`` where binaries and all images were, else ``partly``."""
        if not self.made:
            return "warm"
        parts = {name.partition("/")[0] for name in self.made}
        return "cold" if parts == {"binaries", *images.PARTS} else "partly"

    def keep(self, folder: Path | None = None) -> None:
        """Write ``.work/bench/demo-<kind>.json``."""
        where = folder or checkout() / ".work" / "bench"
        where.mkdir(parents=True, exist_ok=True)
        release = platform.freedesktop_os_release()
        document: dict[str, Any] = {
            "measured": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "commit": _commit(),
            "machine": {
                "cpus": len(os.sched_getaffinity(0)),
                "system": f"{release.get('NAME', 'Linux')} {release.get('VERSION_ID', '')}".strip(),
                "python": platform.python_version(),
                "load": round(self.load, 1),
            },
            "figures": {"seconds": time.monotonic() - self.began, "warm": self.kind == "warm", "built": sorted(self.made)},
        }
        (where / f"demo-{self.kind}.json").write_text(json.dumps(document, indent=1) + "\n")


def _commit() -> str:
    """Return the short id of the commit, ``unknown`` outside of git."""
    try:
        ended = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=checkout(), capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return ended.stdout.strip() or "unknown"
