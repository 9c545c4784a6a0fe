"""What a watch event means: the store is brought up to date, and the objects that must be looked at are put into their queue.

No event is ever interpreted: what to do is found out from the state of the world alone. So it does no harm when events are lost
(the resync finds what they were about), doubled or out of order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from walkforward_core.names import RETRAIN_LABEL, TARGET_LABEL
from walkforward_operator.cluster.kinds import CONFIG_MAP, DEPLOYMENT, JOB, POD, RETRAIN, ROLLOUT
from walkforward_operator.reconciler import Key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from walkforward_operator.cluster.kinds import Kind
    from walkforward_operator.cluster.protocol import Object
    from walkforward_operator.cluster.store import Store
    from walkforward_operator.metrics import Metrics
    from walkforward_operator.queue import WorkQueue

__all__ = ["Intake"]


class Intake:
    """Takes every event of every watch; ``queues`` are by kind."""

    def __init__(self, store: Store, queues: Mapping[Kind, WorkQueue], *, metrics: Metrics) -> None:
        self._store = store
        self._queues = queues
        self._metrics = metrics
        # (kind of link, namespace, name of what is followed) → names of the rollouts that follow it, and the way back
        self._followers: dict[tuple[str, str, str], set[str]] = {}
        self._links: dict[Key, tuple[tuple[str, str, str], ...]] = {}

    def take(self, event: str | None, kind: Kind, found: Object) -> None:
        """Take one event: ADDED, MODIFIED, DELETED, or None for an object of an initial list."""
        self._metrics.events.labels(kind.name).inc()
        before = self._wakes(kind, found)
        if event == "DELETED":
            self._store.drop(kind, found)
        else:
            self._store.put(kind, found)
        if kind is ROLLOUT:
            self._link(found, gone=event == "DELETED")
        for where, key in {*before, *self._wakes(kind, found)}:
            if where in self._queues:
                self._queues[where].add(key)

    def wake_all(self) -> None:
        """Put every known object into its queue, after the Lease was acquired for instance."""
        for kind, queue in self._queues.items():
            for found in self._store.all(kind):
                queue.add(_key(found))

    def resync(self, *, within: float) -> None:
        """Put every known object into its queue, spread over ``within`` seconds."""
        for kind, queue in self._queues.items():
            queue.resync([_key(found) for found in self._store.all(kind)], within=within)

    async def compare(self, kind: Kind, namespace: str, listed: Iterable[Object]) -> int:
        """Bring the store in line with a fresh list; return how many objects had gone without an event."""
        present = {item["metadata"]["uid"]: item for item in listed}
        known = await self._store.list(kind, namespace)
        gone = [item for item in known if item["metadata"]["uid"] not in present]
        for item in gone:
            self.take("DELETED", kind, item)
        versions = {item["metadata"]["uid"]: item["metadata"]["resourceVersion"] for item in known}
        for uid, item in present.items():
            if versions.get(uid) != item["metadata"]["resourceVersion"]:
                self.take("MODIFIED", kind, item)
        return len(gone)

    def _wakes(self, kind: Kind, found: Object) -> list[tuple[Kind, Key]]:
        """Return whom a change of ``found`` concerns."""
        metadata = found["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        labels: Mapping[str, str] = metadata.get("labels") or {}
        if kind is ROLLOUT:
            # the lock on a target may have become free
            others = [follower for link in self._links.get(Key(namespace, name), ()) if link[0] == "target" for follower in self._of(*link)]
            return [(ROLLOUT, Key(namespace, name)), *others]
        if kind is RETRAIN:
            return [(RETRAIN, Key(namespace, name)), *self._of("retrain", namespace, name)]
        if kind is DEPLOYMENT:
            return self._of("target", namespace, name)
        if kind in {POD, CONFIG_MAP, JOB}:
            wakes = [(RETRAIN, Key(namespace, labels[RETRAIN_LABEL]))] if RETRAIN_LABEL in labels else []
            return wakes + (self._of("target", namespace, labels[TARGET_LABEL]) if TARGET_LABEL in labels else [])
        return []

    def _of(self, link: str, namespace: str, name: str) -> list[tuple[Kind, Key]]:
        return [(ROLLOUT, Key(namespace, follower)) for follower in self._followers.get((link, namespace, name), ())]

    def _link(self, rollout: Object, *, gone: bool) -> None:
        key = _key(rollout)
        for link in self._links.pop(key, ()):
            self._followers[link].discard(key.name)
            if not self._followers[link]:
                del self._followers[link]
        if gone:
            return
        links = tuple(_links(key.namespace, rollout.get("spec") or {}))
        self._links[key] = links
        for link in links:
            self._followers.setdefault(link, set()).add(key.name)


def _key(found: Object) -> Key:
    return Key(found["metadata"].get("namespace", ""), found["metadata"]["name"])


def _links(namespace: str, spec: Mapping[str, Any]) -> Iterable[tuple[str, str, str]]:
    """Yield what a rollout follows; a spec that the schema would refuse follows nothing."""
    deployment = (spec.get("target") or {}).get("deployment")
    if deployment:
        yield ("target", namespace, deployment)
    retrain = ((spec.get("source") or {}).get("retrainRef") or {}).get("name")
    if retrain:
        yield ("retrain", namespace, retrain)
