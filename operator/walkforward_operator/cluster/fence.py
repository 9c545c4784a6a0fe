"""The fence around every write: nothing is sent without the Lease, and each write can be watched by tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from walkforward_operator.cluster.errors import NotLeading

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from walkforward_operator.cluster.kinds import Kind
    from walkforward_operator.cluster.protocol import Body, Cluster, Object

__all__ = ["Fenced", "Quiet", "Writes"]

T = TypeVar("T")


class Writes(Protocol):
    """Is told of every write, inside and outside of the cluster; the kill-after-every-write test ends the process in ``after``."""

    def before(self, what: str) -> None:
        """Say that ``what`` is about to be sent."""
        ...

    def after(self, what: str) -> None:
        """Say that ``what`` was answered."""
        ...


class Quiet:
    """A :class:`Writes` that does nothing."""

    def before(self, what: str) -> None:
        """Do nothing."""

    def after(self, what: str) -> None:
        """Do nothing."""


class Fenced:
    """A :class:`Cluster` that refuses to write while ``leading()`` is false; reads pass."""

    def __init__(self, cluster: Cluster, *, leading: Callable[[], bool], writes: Writes) -> None:
        self._cluster = cluster
        self._leading = leading
        self._writes = writes

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return one object."""
        return await self._cluster.get(kind, namespace, name)

    async def list(self, kind: Kind, namespace: str, *, labels: Mapping[str, str] | None = None) -> list[Object]:
        """Return the objects that carry all ``labels``."""
        return await self._cluster.list(kind, namespace, labels=labels)

    async def create(self, kind: Kind, body: Body, *, manager: str) -> Object:
        """Create an object."""
        return await self._write(f"create {_what(kind, body)}", lambda: self._cluster.create(kind, body, manager=manager))

    async def apply(self, kind: Kind, body: Body, *, manager: str) -> Object:
        """Create or change an object."""
        return await self._write(f"apply {_what(kind, body)}", lambda: self._cluster.apply(kind, body, manager=manager))

    async def apply_status(self, kind: Kind, body: Body, *, manager: str) -> Object:
        """Write the status."""
        return await self._write(f"status {_what(kind, body)}", lambda: self._cluster.apply_status(kind, body, manager=manager))

    async def patch(self, kind: Kind, body: Body, *, manager: str, resource_version: str | None = None) -> Object:
        """Change an object."""
        return await self._write(
            f"patch {_what(kind, body)}", lambda: self._cluster.patch(kind, body, manager=manager, resource_version=resource_version)
        )

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str) -> None:
        """Delete the object that has this UID."""
        await self._write(f"delete {kind.name} {namespace}/{name}", lambda: self._cluster.delete(kind, namespace, name, uid=uid))

    async def _write(self, what: str, send: Callable[[], Awaitable[T]]) -> T:
        if not self._leading():
            raise NotLeading(f"{what}: not sent, this process does not hold the Lease; it goes on when it does")
        self._writes.before(what)
        answer = await send()
        self._writes.after(what)
        return answer


def _what(kind: Kind, body: Body) -> str:
    metadata = body["metadata"]
    return f"{kind.name} {metadata.get('namespace', '')}/{metadata['name']}"
