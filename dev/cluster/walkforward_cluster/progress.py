"""Progress as plain lines, each with the time since the command began."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_BEGAN = time.monotonic()
_STILL_EVERY_S = 20.0


def say(message: str) -> None:
    """Print one line on stderr, so that stdout stays free for answers such as a path."""
    print(f"[cluster {time.monotonic() - _BEGAN:6.1f}s] {message}", file=sys.stderr, flush=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Announce a step, say every 20 s that it still runs, and how long it took."""
    began = time.monotonic()
    done = threading.Event()

    def remind() -> None:
        while not done.wait(_STILL_EVERY_S):
            say(f"{title}: still at it after {time.monotonic() - began:.0f} s")

    reminder = threading.Thread(target=remind, daemon=True)
    say(f"{title} …")
    reminder.start()
    try:
        yield
    finally:
        done.set()
        reminder.join()
    say(f"{title}: done in {time.monotonic() - began:.1f} s")
