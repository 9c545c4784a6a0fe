"""What the cluster is to the operator: a handful of verbs on plain dictionaries.

Objects are JSON as the API server has it. A body that is written carries ``metadata.name`` and, for namespaced kinds,
``metadata.namespace``; ``apiVersion`` and ``kind`` are filled in from the :class:`Kind`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from walkforward_operator.cluster.kinds import Kind

__all__ = ["Body", "Cluster", "Object", "Reader"]

Object: TypeAlias = dict[str, Any]
"""One object, as the API server answered; the caller may keep it, nobody changes it later."""
Body: TypeAlias = "Mapping[str, Any]"
"""One object, or a part of it, to be written."""


class Reader(Protocol):
    """Reads. The API server is one (live), the store of what the watches brought is another (a hint, no request)."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return one object; raises :class:`NotFound` where there is none."""
        ...

    async def list(self, kind: Kind, namespace: str, *, labels: Mapping[str, str] | None = None) -> list[Object]:
        """Return the objects of ``namespace`` that carry all ``labels``, in no promised order."""
        ...


class Cluster(Reader, Protocol):
    """Reads and writes. Every method raises a :class:`walkforward_operator.cluster.errors.ClusterError`."""

    async def create(self, kind: Kind, body: Body, *, manager: str) -> Object:
        """Create an object; :class:`AlreadyExists` where one of that name is there."""
        ...

    async def apply(self, kind: Kind, body: Body, *, manager: str) -> Object:
        """Create or change an object by server-side apply, by force; fields that ``manager`` no longer names are removed.

        ``metadata.resourceVersion`` in the body, where given, must still be the object's: else :class:`Conflict`.
        """
        ...

    async def apply_status(self, kind: Kind, body: Body, *, manager: str) -> Object:
        """Write the status subresource by server-side apply, by force; :class:`NotFound` where the object is gone."""
        ...

    async def patch(self, kind: Kind, body: Body, *, manager: str, resource_version: str | None = None) -> Object:
        """Change an object by JSON merge patch (null removes a field), on ``resource_version`` only where given: else :class:`Conflict`."""
        ...

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str) -> None:
        """Delete the object that has this UID, its dependents in the background; :class:`Conflict` where the name is another's now."""
        ...
