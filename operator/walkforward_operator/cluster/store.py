"""The objects as the watches last brought them: a hint that costs no request. Before anything is done, the API server is asked."""

from __future__ import annotations

import sys
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from walkforward_core.names import RETRAIN_LABEL, STATUS_MANAGER, TARGET_LABEL
from walkforward_operator.cluster.errors import NotFound
from walkforward_operator.cluster.kinds import CONFIG_MAP, DEPLOYMENT, POD, ROLLOUT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from walkforward_operator.cluster.kinds import Kind
    from walkforward_operator.cluster.protocol import Object

__all__ = ["Store", "trimmed"]

_TOMBSTONES = 4096
_BULKY_ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
_INDEXED = (RETRAIN_LABEL, TARGET_LABEL)
"""Labels that every reconcile selects by: with thousands of objects, looking at each of them would take all of the time."""
_FOLLOWS = "spec.source.retrainRef.name"
"""The place of a rollout that is looked up like a label: every look of a retrain asks who follows it."""


def trimmed(kind: Kind, found: Object) -> Object:
    """Return ``found`` without what nobody here looks at: it is most of the bytes of a Pod or a Deployment."""
    metadata = {key: value for key, value in found["metadata"].items() if key != "managedFields"}
    written = [
        {"manager": entry["manager"], "time": entry.get("time")}
        for entry in found["metadata"].get("managedFields") or ()
        if entry.get("manager") == STATUS_MANAGER
    ]
    if written:  # tells when the status was last written
        metadata["managedFields"] = written
    if _BULKY_ANNOTATION in (metadata.get("annotations") or {}):
        metadata["annotations"] = {key: value for key, value in metadata["annotations"].items() if key != _BULKY_ANNOTATION}
    slim = {**found, "metadata": metadata}
    if kind is CONFIG_MAP:  # banked evidence: up to a megabyte, and read from the API server alone
        slim.pop("binaryData", None)
    spec = found.get("spec") or {}
    if kind is POD:
        slim["spec"] = {"nodeName": spec.get("nodeName", "")}
    if kind is DEPLOYMENT:
        slim["spec"] = {"replicas": spec.get("replicas", 1)}
    shared: Object = _shared(slim)
    return shared


def _shared(value: Any) -> Any:
    """Return JSON whose member names are one string each, however many objects have them: each was parsed with names of its own."""
    if isinstance(value, dict):
        return {sys.intern(name): _shared(member) for name, member in value.items()}
    return [_shared(member) for member in value] if isinstance(value, list) else value


class Store:
    """A :class:`walkforward_operator.cluster.protocol.Reader` of what is known without asking."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str], dict[str, Object]] = {}
        # (kind, namespace, label, value) → the objects that carry it, by name
        self._by_label: dict[tuple[str, str, str, str], dict[str, Object]] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return one object; :class:`NotFound` where no watch has brought it."""
        found = self._objects.get((kind.name, namespace), {}).get(name)
        if found is None:
            raise NotFound(f"{kind.name} {namespace}/{name}: not seen by the watches")
        return found

    async def list(self, kind: Kind, namespace: str, *, labels: Mapping[str, str] | None = None) -> list[Object]:
        """Return the objects that carry all ``labels``."""
        wanted = labels or {}
        label = next((label for label in _INDEXED if label in wanted), None)
        if label is None:
            found = self._objects.get((kind.name, namespace), {})
        else:
            found = self._by_label.get((kind.name, namespace, label, wanted[label]), {})
        if not wanted:
            return list(found.values())
        return [item for item in found.values() if wanted.items() <= (item["metadata"].get("labels") or {}).items()]

    def followers(self, namespace: str, retrain: str) -> Sequence[Object]:
        """Return the rollouts whose source is this ModelRetrain."""
        return list(self._by_label.get((ROLLOUT.name, namespace, _FOLLOWS, retrain), {}).values())

    def put(self, kind: Kind, found: Object) -> bool:
        """Keep an object; false where a newer state of it is known already (an answer to a write overtakes its event)."""
        metadata = found["metadata"]
        if metadata["uid"] in self._gone:  # the answer to a write may come after the event of the object's end
            return False
        place = self._objects.setdefault((kind.name, metadata.get("namespace", "")), {})
        known = place.get(metadata["name"])
        if known is not None and known["metadata"]["uid"] == metadata["uid"] and _version(known) > _version(found):
            return False
        slim = trimmed(kind, found)
        if known is not None:
            self._index(kind, known, add=False)
        place[metadata["name"]] = slim
        self._index(kind, slim, add=True)
        return True

    def drop(self, kind: Kind, found: Object) -> None:
        """Forget an object, unless another one has its name by now."""
        metadata = found["metadata"]
        self._gone[metadata["uid"]] = None
        while len(self._gone) > _TOMBSTONES:
            self._gone.popitem(last=False)
        place = self._objects.get((kind.name, metadata.get("namespace", "")), {})
        known = place.get(metadata["name"])
        if known is not None and known["metadata"]["uid"] == metadata["uid"]:
            del place[metadata["name"]]
            self._index(kind, known, add=False)

    def all(self, kind: Kind) -> Iterator[Object]:
        """Yield every object of a kind."""
        for (name, _), place in list(self._objects.items()):
            if name == kind.name:
                yield from list(place.values())

    def _index(self, kind: Kind, found: Object, *, add: bool) -> None:
        metadata = found["metadata"]
        for label, value in _indexed(kind, found):
            key = (kind.name, metadata.get("namespace", ""), label, value)
            if add:
                self._by_label.setdefault(key, {})[metadata["name"]] = found
                continue
            place = self._by_label[key]
            del place[metadata["name"]]
            if not place:
                del self._by_label[key]


def _indexed(kind: Kind, found: Object) -> list[tuple[str, str]]:
    """Return what an object is looked up by."""
    labels = found["metadata"].get("labels") or {}
    places = [(label, labels[label]) for label in _INDEXED if label in labels]
    if kind is ROLLOUT:
        followed = (((found.get("spec") or {}).get("source") or {}).get("retrainRef") or {}).get("name")
        places += [(_FOLLOWS, followed)] if followed else []
    return places


def _version(found: Object) -> int:
    """Return the resource version as a number: the API server's are, and only order within one object is asked for."""
    text = found["metadata"].get("resourceVersion", "0")
    return int(text) if text.isdecimal() else 0
