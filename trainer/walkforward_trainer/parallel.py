"""Independent fits side by side: each on one thread, so how many run at once does not change what they find."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from walkforward_trainer.stages import follow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    T = TypeVar("T")

__all__ = ["side_by_side", "workers"]

QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


def workers(quota: Path = QUOTA) -> int:
    """Return the processors that this process may use: those of its affinity, and no more than its container's limit."""
    count = len(os.sched_getaffinity(0))
    try:
        allowed, _, period = quota.read_text(encoding="ascii").strip().partition(" ")
        share = int(allowed) / int(period)
    except (OSError, ValueError):  # no limit ("max"), or no such file
        return count
    return max(1, min(count, int(share + 0.5)))


def side_by_side(jobs: Sequence[Callable[[], T]], at_once: int | None = None, *, what: str = "job") -> list[T]:
    """Return what ``jobs`` return, in their order; the libraries that do the work let go of the interpreter meanwhile.

    ``what`` they are is said with the time that the rest will take, where there is a rest of some seconds.
    The first job that raises ends the rest, which have not begun, and its error is raised.
    """
    with ThreadPoolExecutor(at_once or workers()) as pool:
        waiting = [pool.submit(job) for job in jobs]
        try:
            return [one.result() for one in follow(what, waiting)]
        finally:
            for one in waiting:
                one.cancel()
