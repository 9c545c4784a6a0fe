"""A lock file held by an open descriptor, so that a process that dies lets go of it."""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from typing import TYPE_CHECKING

from walkforward_cluster.progress import say

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def locked(path: Path, why: str) -> Iterator[None]:
    """Hold `path` exclusively; where another process has it, say so and wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that is {why} (lock {path})")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
