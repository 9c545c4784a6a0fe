"""What the host runs: a reconciler for each kind, called with one key at a time, never twice at once for the same key."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from walkforward_operator.cluster.kinds import Kind

__all__ = ["Key", "Reconciler"]


class Key(NamedTuple):
    """One object of the reconciler's kind."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Reconciler(Protocol):
    """Brings the world of one object to where its spec wants it; level-triggered and idempotent."""

    @property
    def kind(self) -> Kind:
        """The kind whose keys it takes."""
        ...

    async def reconcile(self, key: Key) -> float | None:
        """Observe, decide, act, write status; return after how many seconds to look again, None for never without an event.

        An object that is gone is no error: forget what was kept for it and return None. An exception is logged, counted and
        tried again with the key's own back-off; ``Conflict`` and ``Unreachable`` are expected and logged in one line.
        """
        ...
