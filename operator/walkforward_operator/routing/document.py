"""The routing document in its ConfigMap: how it is read, and the two ways in which it is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from walkforward_core.documents import digest
from walkforward_core.errors import DocumentError
from walkforward_core.names import MANAGED_BY, ROLLOUT_UID_ANNOTATION, ROUTING_KEY, ROUTING_MANAGER, TARGET_LABEL, routing_name
from walkforward_core.routing import RoutingDocument
from walkforward_operator.cluster.kinds import CONFIG_MAP
from walkforward_operator.rollout.model import Document

if TYPE_CHECKING:
    from walkforward_operator.cluster.protocol import Cluster, Object
    from walkforward_operator.rollout.model import WriteRouting

__all__ = ["Found", "read_document", "write_document"]


@dataclass(frozen=True, slots=True)
class Found:
    """The routing ConfigMap, understood as far as it can be; ``text`` are the bytes that servers see."""

    resource_version: str
    owner_uid: str
    text: bytes
    routing: RoutingDocument | None
    error: str

    def as_document(self, owner_name: str) -> Document:
        """Return what is decided on; ``owner_name`` is empty where no ModelRollout has the lock's UID."""
        return Document(
            resource_version=self.resource_version,
            digest=digest(self.text),
            routing=self.routing,
            error=self.error,
            owner_uid=self.owner_uid,
            owner_name=owner_name,
        )


def read_document(config_map: Object) -> Found:
    """Return what the ConfigMap holds; what cannot be read is said in ``error``, never raised."""
    metadata = config_map["metadata"]
    where = f"ConfigMap {metadata['name']}, key {ROUTING_KEY}"
    data = config_map.get("data") or {}
    text = str(data.get(ROUTING_KEY, "")).encode()
    routing, error = None, ""
    if ROUTING_KEY not in data:
        error = f"{where}: there is no such key"
    else:
        try:
            routing = RoutingDocument.parse(text, source=where)
        except DocumentError as problem:
            error = str(problem)
    return Found(
        resource_version=metadata["resourceVersion"],
        owner_uid=(metadata.get("annotations") or {}).get(ROLLOUT_UID_ANNOTATION, ""),
        text=text,
        routing=routing,
        error=error,
    )


async def write_document(cluster: Cluster, namespace: str, deployment: str, write: WriteRouting) -> Object:
    """Create the ConfigMap, or change it on the resource version that was decided on; return it as it is then.

    Raises
    ------
    Conflict
        It is there already, or has changed since: decide again on what it is now.
    """
    uid = write.document.rollout.uid
    metadata: dict[str, Any] = {
        "namespace": namespace,
        "name": routing_name(deployment),
        "labels": {MANAGED_BY[0]: MANAGED_BY[1], TARGET_LABEL: deployment},
    }
    if write.takeover or write.resource_version is None:
        metadata["annotations"] = {ROLLOUT_UID_ANNOTATION: uid}
    body = {"metadata": metadata, "data": {ROUTING_KEY: write.document.to_bytes().decode()}}
    if write.resource_version is None:
        return await cluster.create(CONFIG_MAP, body, manager=ROUTING_MANAGER)
    return await cluster.patch(CONFIG_MAP, body, manager=ROUTING_MANAGER, resource_version=write.resource_version)
