"""A cluster in memory, faithful in what the operator relies on; the contract suite runs the same tests on it and on a real API server.

Faithful: resourceVersion and 409, generation, the status subresource, finalizers and deletionTimestamp, server-side apply by manager,
merge patches, UID preconditions, dependents collected in the background, a terminating namespace. Faults can be asked for.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from walkforward_operator.cluster.errors import AlreadyExists, ClusterError, Conflict, Forbidden, NotFound
from walkforward_operator.cluster.kinds import KINDS, NAMESPACE, POD, Kind

if TYPE_CHECKING:
    from walkforward_operator.cluster.protocol import Body, Object

    Objects: TypeAlias = list[Object]  # inside the class, list is its method

Path = tuple[str, ...]
Name = tuple[Kind, str, str]
_GENERATED = {"uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "managedFields", "selfLink"}


class Crash(BaseException):
    """The process ends right after a write, before it sees the answer."""


class FakeCluster:
    """A :class:`walkforward_operator.cluster.protocol.Cluster`; ``now`` gives the wall clock in seconds."""

    def __init__(self, now: Callable[[], float] = lambda: 1_700_000_000.0) -> None:
        self.objects: dict[Name, Object] = {}
        self.writes: list[str] = []
        self.reads = 0
        self.crash_after: int | None = None
        self.fault: Callable[[str], ClusterError | None] = lambda _: None
        self.watchers: list[Callable[[str, Kind, Object], None]] = []
        self._owned: dict[tuple[Name, str, str], set[Path]] = {}
        self._version = 1
        self._now = now

    # -- the protocol ------------------------------------------------------------------------------------------------------

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        self._read(f"get {kind.name} {namespace}/{name}")
        return copy.deepcopy(self._find(kind, namespace, name))

    async def list(self, kind: Kind, namespace: str, *, labels: Mapping[str, str] | None = None) -> Objects:
        self._read(f"list {kind.name} {namespace}")
        return [copy.deepcopy(found) for found in self._select(kind, namespace, labels or {})]

    async def create(self, kind: Kind, body: Body, *, manager: str) -> Object:
        metadata = body["metadata"]
        key = (kind, metadata.get("namespace", ""), metadata["name"])
        self._write(f"create {kind.name} {key[1]}/{key[2]}")
        if key in self.objects:
            raise AlreadyExists(f"create {kind.name} {key[1]}/{key[2]}: already exists")
        self._refuse_in_terminating(kind, key[1])
        made = _plain(body)
        if kind.group == "walkforward.dev":
            made.pop("status", None)
        self._owned[key, manager, ""] = _leaves(_appliable(made))
        return self._answer(self._insert(key, made))

    async def apply(self, kind: Kind, body: Body, *, manager: str) -> Object:
        metadata = body["metadata"]
        key = (kind, metadata.get("namespace", ""), metadata["name"])
        self._write(f"apply {kind.name} {key[1]}/{key[2]}")
        old = self.objects.get(key)
        if old is None:
            self._refuse_in_terminating(kind, key[1])
            if metadata.get("resourceVersion"):
                raise Conflict(f"apply {kind.name} {key[1]}/{key[2]}: resourceVersion given for an object that does not exist")
            old = {"metadata": {"name": key[2], "namespace": key[1]}}
        return self._answer(self._apply(key, old, {k: v for k, v in _plain(body).items() if k != "status"}, manager, ""))

    async def apply_status(self, kind: Kind, body: Body, *, manager: str) -> Object:
        metadata = body["metadata"]
        key = (kind, metadata.get("namespace", ""), metadata["name"])
        self._write(f"status {kind.name} {key[1]}/{key[2]}")
        old = self._find(*key)
        part = {"metadata": dict(metadata), "status": _plain(body).get("status", {})}
        return self._answer(self._apply(key, old, part, manager, "status"))

    async def patch(self, kind: Kind, body: Body, *, manager: str, resource_version: str | None = None) -> Object:
        metadata = body["metadata"]
        key = (kind, metadata.get("namespace", ""), metadata["name"])
        self._write(f"patch {kind.name} {key[1]}/{key[2]}")
        old = self._find(*key)
        wanted = _plain(body)
        if resource_version is not None:
            wanted["metadata"]["resourceVersion"] = resource_version
        self._check(key, old, wanted["metadata"])
        if kind.group == "walkforward.dev":
            wanted.pop("status", None)
        wanted["metadata"] = {k: v for k, v in wanted["metadata"].items() if k not in _GENERATED}
        new = _merge(copy.deepcopy(old), wanted)
        return self._answer(self._store(key, old, new))

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str) -> None:
        self._write(f"delete {kind.name} {namespace}/{name}")
        old = self._find(kind, namespace, name)
        if old["metadata"]["uid"] != uid:
            raise Conflict(f"delete {kind.name} {namespace}/{name}: Precondition failed: UID in precondition: {uid}")
        self.remove(kind, namespace, name)
        self._after()

    # -- what only a test may do -------------------------------------------------------------------------------------------

    def put(self, kind: Kind, body: Body) -> Object:
        """Set an object as it stands, status included, as the rest of the cluster would."""
        metadata = body["metadata"]
        key = (kind, metadata.get("namespace", ""), metadata["name"])
        old = self.objects.get(key)
        if old is None:
            return copy.deepcopy(self._insert(key, _plain(body)))
        new = _plain(body)
        new["metadata"] = {**new["metadata"], **{k: v for k, v in old["metadata"].items() if k in _GENERATED}}
        return copy.deepcopy(self._store(key, old, new))

    def remove(self, kind: Kind, namespace: str, name: str) -> None:
        """Delete as a person would: with finalizers, the object stays until they are gone."""
        key = (kind, namespace, name)
        old = self.objects[key]
        if old["metadata"].get("finalizers") or (kind is POD and old["metadata"].get("deletionGracePeriodSeconds")):
            if "deletionTimestamp" not in old["metadata"]:
                new = copy.deepcopy(old)
                new["metadata"]["deletionTimestamp"] = self._instant()
                self._store(key, old, new)
            return
        self._drop(key)

    def peek(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return an object without counting a read."""
        return copy.deepcopy(self._find(kind, namespace, name))

    # -- the inside --------------------------------------------------------------------------------------------------------

    def _read(self, what: str) -> None:
        self.reads += 1
        self._fail(what)

    def _write(self, what: str) -> None:
        self._fail(what)
        self.writes.append(what)

    def _fail(self, what: str) -> None:
        error = self.fault(what)
        if error is not None:
            raise error

    def _after(self) -> None:
        if self.crash_after is not None and len(self.writes) >= self.crash_after:
            self.crash_after = None
            raise Crash(f"after write {len(self.writes)}: {self.writes[-1]}")

    def _answer(self, found: Object) -> Object:
        self._after()
        return copy.deepcopy(found)

    def _find(self, kind: Kind, namespace: str, name: str) -> Object:
        if kind is NAMESPACE:
            namespace = ""
        try:
            return self.objects[kind, namespace, name]
        except KeyError:
            raise NotFound(f'{kind.plural} "{namespace}/{name}" not found') from None

    def _select(self, kind: Kind, namespace: str, labels: Mapping[str, str]) -> Objects:
        return [
            found
            for (k, ns, _), found in self.objects.items()
            if k == kind and (ns == namespace or not kind.namespaced) and labels.items() <= found["metadata"].get("labels", {}).items()
        ]

    def _refuse_in_terminating(self, kind: Kind, namespace: str) -> None:
        found = self.objects.get((NAMESPACE, "", namespace))
        if kind.namespaced and found is not None and "deletionTimestamp" in found["metadata"]:
            raise Forbidden(f"namespace {namespace} is being terminated")

    def _insert(self, key: Name, made: Object) -> Object:
        made["apiVersion"], made["kind"] = key[0].api_version, key[0].name
        made["metadata"] = {
            **made["metadata"],
            "uid": made["metadata"].get("uid") or str(uuid.uuid4()),
            "creationTimestamp": made["metadata"].get("creationTimestamp") or self._instant(),
            "resourceVersion": self._next(),
            "generation": 1,
        }
        self.objects[key] = made
        self._tell("ADDED", key)
        return made

    def _store(self, key: Name, old: Object, new: Object) -> Object:
        if new == old:
            return old
        new = copy.deepcopy(new)
        if new.get("spec") != old.get("spec") or ("deletionTimestamp" in new["metadata"]) != ("deletionTimestamp" in old["metadata"]):
            new["metadata"]["generation"] = old["metadata"].get("generation", 1) + 1
        new["metadata"]["resourceVersion"] = self._next()
        self.objects[key] = new
        if "deletionTimestamp" in new["metadata"] and not new["metadata"].get("finalizers") and key[0] is not POD:
            self._drop(key)
        else:
            self._tell("MODIFIED", key)
        return new

    def _drop(self, key: Name) -> None:
        self._tell("DELETED", key)
        gone = self.objects.pop(key)
        for entry in [entry for entry in self._owned if entry[0] == key]:
            del self._owned[entry]
        uid = gone["metadata"]["uid"]
        for (kind, namespace, name), found in list(self.objects.items()):
            owners = found["metadata"].get("ownerReferences") or ()
            if owners and all(owner["uid"] == uid for owner in owners):
                self.remove(kind, namespace, name)

    def _apply(self, key: Name, old: Object, body: Object, manager: str, subresource: str) -> Object:
        if key in self.objects:
            self._check(key, old, body.get("metadata", {}))
        wanted = _appliable(body)
        mine, before = _leaves(wanted), self._owned.get((key, manager, subresource), set())
        others: set[Path] = set()
        for entry, paths in self._owned.items():
            if entry[0] == key and entry[1:] != (manager, subresource):
                others |= paths
        new = copy.deepcopy(old)
        for path in before - mine - others:
            _prune(new, path)
        _overlay(new, wanted)
        if new != old:
            _note(new, manager, subresource, self._instant())
        stored = self._store(key, old, new) if key in self.objects else self._insert(key, new)
        self._owned[key, manager, subresource] = mine
        return stored

    def _check(self, key: Name, old: Object, metadata: Mapping[str, Any]) -> None:
        where = f"{key[0].name} {key[1]}/{key[2]}"
        version, uid = metadata.get("resourceVersion"), metadata.get("uid")
        if version and version != old["metadata"]["resourceVersion"]:
            raise Conflict(f"{where}: the object has been modified; please apply your changes to the latest version")
        if uid and uid != old["metadata"]["uid"]:
            raise Conflict(f"{where}: Precondition failed: UID in precondition: {uid}")

    def _tell(self, event: str, key: Name) -> None:
        for watcher in self.watchers:
            watcher(event, key[0], copy.deepcopy(self.objects[key]))

    def _next(self) -> str:
        self._version += 1
        return str(self._version)

    def _instant(self) -> str:
        return datetime.fromtimestamp(self._now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def known_kind(name: str) -> Kind:
    """Return the kind called ``name``."""
    return next(kind for kind in KINDS if kind.name == name)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"{value!r} is no JSON")


def _appliable(body: Object) -> Object:
    """Return what server-side apply tracks: everything but the identity and what the API server makes itself."""
    wanted = {key: value for key, value in body.items() if key not in {"apiVersion", "kind", "metadata"}}
    metadata = {k: v for k, v in body.get("metadata", {}).items() if k not in _GENERATED | {"name", "namespace"}}
    return {**wanted, "metadata": metadata} if metadata else wanted


def _leaves(value: Any, path: Path = ()) -> set[Path]:
    if isinstance(value, dict) and value:
        return set().union(*(_leaves(item, (*path, key)) for key, item in value.items()))
    return {path} if path else set()


def _prune(value: Any, path: Path) -> None:
    """Remove the field at ``path``, and the maps that it leaves empty."""
    if not isinstance(value, dict) or path[0] not in value:
        return
    if len(path) == 1:
        del value[path[0]]
        return
    _prune(value[path[0]], path[1:])
    if value[path[0]] == {} and path[0] != "metadata":
        del value[path[0]]


def _overlay(value: Object, wanted: Mapping[str, Any]) -> None:
    for key, item in wanted.items():
        if isinstance(item, dict) and item and isinstance(value.get(key), dict):
            _overlay(value[key], item)
        else:
            value[key] = copy.deepcopy(item)


def _note(value: Object, manager: str, subresource: str, instant: str) -> None:
    """Note who applied what when; fields are not listed, nobody reads them."""
    others = [
        entry for entry in value["metadata"].get("managedFields", ()) if (entry["manager"], entry["subresource"]) != (manager, subresource)
    ]
    entry = {"manager": manager, "operation": "Apply", "subresource": subresource, "time": instant}
    value["metadata"]["managedFields"] = [*others, entry]


def _merge(value: Any, change: Any) -> Any:
    """Return ``value`` after the JSON merge patch ``change`` (RFC 7396)."""
    if not isinstance(change, dict):
        return copy.deepcopy(change)
    merged = dict(value) if isinstance(value, dict) else {}
    for key, item in change.items():
        if item is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), item)
    return merged
