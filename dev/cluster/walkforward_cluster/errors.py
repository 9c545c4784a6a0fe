"""The one error of this package: it says what failed, why, and what to do next."""

from __future__ import annotations


class ClusterError(RuntimeError):
    """Something that the caller can act on; `str()` is a complete message."""

    def __init__(self, what: str, *, reason: str, next_step: str) -> None:
        super().__init__(f"{what}: {reason}. Next: {next_step}")
        self.what = what
        self.reason = reason
        self.next_step = next_step
