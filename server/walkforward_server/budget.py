"""How much of the event loop may be spent beside the answers."""

from __future__ import annotations

__all__ = ["ShadowBudget"]

SHARE = 0.3
"""Of the loop's time, for shadow scores and matured outcomes together."""
BURST_S = 0.1
SLOW_S, SLOW_RUNS = 0.25, 3
"""So many runs in a row that each stall every client for so long end the shadow of this model."""


class ShadowBudget:
    """Grants time in proportion to the time that passes; what costs more is sampled, what stalls the loop is stopped.

    Times are monotonic seconds.
    """

    __slots__ = ("_at", "_credit", "_slow", "stopped")

    def __init__(self) -> None:
        self._credit = BURST_S
        self._at: float | None = None
        self._slow: dict[str, int] = {}
        self.stopped: set[str] = set()
        """Digests of models whose shadow is stopped."""

    def grants(self, now: float) -> bool:
        """Return whether there is time left for one more run."""
        if self._at is not None:
            self._credit = min(BURST_S, self._credit + SHARE * (now - self._at))
        self._at = now
        return self._credit > 0

    def spend(self, digest: str, seconds: float) -> None:
        """Take what the run of the model ``digest`` cost."""
        self._credit -= seconds
        slow = self._slow.get(digest, 0) + 1 if seconds > SLOW_S else 0
        self._slow[digest] = slow
        if slow >= SLOW_RUNS:
            self.stopped.add(digest)

    def forget(self) -> None:
        """Start afresh with another set of models."""
        self._slow.clear()
        self.stopped.clear()
