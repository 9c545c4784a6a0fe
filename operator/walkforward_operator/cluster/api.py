"""The cluster behind HTTP: plain dictionaries over one pool of connections.

Nothing here limits the rate of requests: the API server has priority and fairness of its own, and a burst of aborts must not wait
behind a limiter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp
import msgspec

from walkforward_operator.cluster.errors import (
    AlreadyExists,
    ClusterError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Throttled,
    Unreachable,
)
from walkforward_operator.cluster.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from walkforward_operator.cluster.kinds import Kind
    from walkforward_operator.cluster.protocol import Body, Object

__all__ = ["KubernetesCluster"]

_CONNECTIONS: Final = 64
_PAGE: Final = 500
_APPLY: Final = "application/apply-patch+yaml"
_MERGE: Final = "application/merge-patch+json"
_RETRY_AFTER_S: Final = 1.0


class KubernetesCluster:
    """A :class:`walkforward_operator.cluster.protocol.Cluster` on a real API server."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    @classmethod
    async def connect(cls, *, connections: int = _CONNECTIONS) -> Self:
        """Return a cluster for the pod's own ServiceAccount or, outside of one, for ``KUBECONFIG``'s current context."""
        return cls(Transport.connect(connections=connections))

    async def close(self) -> None:
        """Close the connections."""
        await self.transport.close()

    async def serves(self, kind: Kind) -> bool:
        """Return whether the API server knows the kind: false before its CRD is installed."""
        path = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
        try:
            found = await self._send("GET", path)
        except NotFound:
            return False
        return any(resource["name"] == kind.plural for resource in found.get("resources") or ())

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return one object."""
        return await self._send("GET", kind.path(namespace, name))

    async def list(self, kind: Kind, namespace: str, *, labels: Mapping[str, str] | None = None, selector: str = "") -> list[Object]:
        """Return the objects that carry all ``labels``, or that a ``selector`` in the API server's own syntax takes, read in pages."""
        query: dict[str, Any] = {"limit": _PAGE}
        if labels:
            selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        if selector:
            query["labelSelector"] = selector
        found: list[Object] = []
        while True:
            page = await self._send("GET", kind.path(namespace), query=query)
            # the items of a list do not say what they are
            found += [{"apiVersion": kind.api_version, "kind": kind.name, **item} for item in page.get("items") or ()]
            token = page.get("metadata", {}).get("continue")
            if not token:
                return found
            query["continue"] = token

    async def create(self, kind: Kind, body: Body, *, manager: str) -> Object:
        """Create an object."""
        namespace, _ = _names(body)
        return await self._send("POST", kind.path(namespace), query={"fieldManager": manager}, body=_typed(kind, body))

    async def apply(self, kind: Kind, body: Body, *, manager: str) -> Object:
        """Create or change an object by server-side apply."""
        return await self._apply(kind, body, manager, "")

    async def apply_status(self, kind: Kind, body: Body, *, manager: str) -> Object:
        """Write the status by server-side apply."""
        return await self._apply(kind, body, manager, "status")

    async def patch(self, kind: Kind, body: Body, *, manager: str, resource_version: str | None = None) -> Object:
        """Change an object by JSON merge patch."""
        namespace, name = _names(body)
        if resource_version is not None:
            body = {**body, "metadata": {**body["metadata"], "resourceVersion": resource_version}}
        try:
            return await self._send("PATCH", kind.path(namespace, name), query={"fieldManager": manager}, body=body, content=_MERGE)
        except Invalid as error:
            if "metadata.uid" in str(error):  # the API server calls another UID an attempt to change it
                raise Conflict(f"{error}; another object has this name now") from error
            raise

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str) -> None:
        """Delete the object that has this UID."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        }
        await self._send("DELETE", kind.path(namespace, name), body=options)

    async def _apply(self, kind: Kind, body: Body, manager: str, subresource: str) -> Object:
        namespace, name = _names(body)
        path = kind.path(namespace, name, subresource=subresource)
        return await self._send("PATCH", path, query={"fieldManager": manager, "force": "true"}, body=_typed(kind, body), content=_APPLY)

    async def _send(
        self, method: str, path: str, *, query: Mapping[str, Any] | None = None, body: Body | None = None, content: str = "application/json"
    ) -> Object:
        try:
            answer = await self.transport.send(method, path, query=query, body=body, content=content)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise Unreachable(f"{method} {path}: no answer from the API server ({reason})") from error
        if answer.status >= 300:
            raise _error(method, path, answer.status, answer.data, answer.headers.get("Retry-After"))
        return _decoded(answer.data, f"{method} {path}")


def _names(body: Body) -> tuple[str, str]:
    metadata = body["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _typed(kind: Kind, body: Body) -> Body:
    return {"apiVersion": kind.api_version, "kind": kind.name, **body}


def _decoded(data: bytes, source: str) -> Object:
    try:
        found: Object = msgspec.json.decode(data, type=dict)
    except msgspec.DecodeError as error:
        raise Unreachable(f"{source}: the answer is no JSON object ({error}); is there a proxy in between?") from error
    return found


def _error(method: str, path: str, status: int, data: bytes, retry_after: str | None) -> ClusterError:
    """Return the error for an answer of the API server."""
    reason, message = _reason(data)
    text = f"{method} {path}: {status} {reason or 'without a reason'}: {message}"
    if status == 429 or (status >= 500 and retry_after):
        return Throttled(text, retry_after=float(retry_after) if retry_after and retry_after.isdigit() else _RETRY_AFTER_S)
    if status >= 500 or status == 401:  # a token that has just expired is renewed within a minute
        return Unreachable(text)
    if reason == "AlreadyExists":
        return AlreadyExists(text)
    kinds: dict[int, type[ClusterError]] = {
        403: Forbidden,
        404: NotFound,
        409: Conflict,
        400: Invalid,
        413: Invalid,
        415: Invalid,
        422: Invalid,
    }
    return kinds.get(status, ClusterError)(text)


def _reason(data: bytes) -> tuple[str, str]:
    try:
        found = msgspec.json.decode(data, type=dict)
    except msgspec.DecodeError:
        return "", data[:200].decode(errors="replace")
    return str(found.get("reason", "")), str(found.get("message", ""))
