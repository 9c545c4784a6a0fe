"""The Lease: at most one process writes, and its last renewal tells for how long nobody was watching.

The holder is the pod's UID, so that a restarted container goes on at once. Another pod takes over when it has seen no renewal for
the whole duration by its own clock: clocks of two machines are never compared. Every time nobody held the Lease is kept in an
annotation, so that it is known even after two crashes in a row.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from walkforward_core.names import FIELD_MANAGER, GROUP
from walkforward_operator.cluster.errors import ClusterError, Conflict, NotFound
from walkforward_operator.cluster.kinds import LEASE

if TYPE_CHECKING:
    from collections.abc import Callable

    from walkforward_operator.cluster.protocol import Cluster, Object
    from walkforward_operator.metrics import Metrics

__all__ = ["GAPS_ANNOTATION", "Gap", "LeaseElection", "LeaseSettings"]

_log: Final = logging.getLogger(__name__)
GAPS_ANNOTATION: Final = f"{GROUP}/unattended"
_GAPS: Final = 20


@dataclass(frozen=True, slots=True)
class LeaseSettings:
    """Whose Lease, and its times in seconds; 5.5 s between renewals are 11 writes a minute."""

    namespace: str
    name: str
    holder: str
    duration: float = 10.0
    renew: float = 5.5
    retry: float = 1.0
    margin: float = 1.5
    """Nothing is written in the last ``margin`` seconds: a request that is under way must have ended by then."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which nobody held the Lease, in epoch milliseconds."""

    start_ms: int
    end_ms: int

    def after(self, since_ms: int) -> int:
        """Return how much of it lies after ``since_ms``, in milliseconds."""
        return max(0, self.end_ms - max(self.start_ms, since_ms))


class LeaseElection:
    """Holds the Lease, or tries to; ``leading()`` is asked before every write."""

    def __init__(
        self,
        cluster: Cluster,
        settings: LeaseSettings,
        *,
        metrics: Metrics,
        wall: Callable[[], float] = time.time,
        on_change: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._metrics = metrics
        self._wall = wall
        self._on_change = on_change
        self._valid_until = float("-inf")
        self._lease: Object | None = None
        self._seen: tuple[str, float] = ("", 0.0)
        self._was_leading = False
        self.gaps: tuple[Gap, ...] = ()

    def leading(self) -> bool:
        """Whether a write may be sent now."""
        return asyncio.get_running_loop().time() < self._valid_until

    def unattended_ms(self, since_ms: int) -> int:
        """Return for how many milliseconds after ``since_ms`` nobody held the Lease."""
        return sum(gap.after(since_ms) for gap in self.gaps)

    async def run(self) -> None:
        """Acquire, renew, and try again after a loss, until cancelled; then give the Lease back."""
        try:
            while True:
                delay = await self._turn()
                await asyncio.sleep(delay)
        finally:
            await self._release()

    async def _turn(self) -> float:
        """Take one step and return the seconds until the next."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(max(self._settings.margin, 1.0) * 2):
                held = await self._renew() if self._mine() else await self._acquire()
        except (ClusterError, TimeoutError) as error:
            self._metrics.lease_errors.inc()
            _log.warning("lease %s: %s", self._settings.name, str(error) or "no answer in time")
            self._lease = None if isinstance(error, (Conflict, NotFound)) else self._lease
            held = False
        self._tell()  # what ran out before this answer came was a loss: whoever was turned away meanwhile is woken by the new beginning
        if held:
            # counted from before the request was sent: the API server may have seen it at once
            self._valid_until = began + self._settings.duration - self._settings.margin
        self._tell()
        if held:
            return self._settings.renew
        return max(0.05, min(self._settings.retry, self._valid_until - loop.time())) if self.leading() else self._settings.retry

    def _tell(self) -> None:
        leading = self.leading()
        self._metrics.leading.labels(self._settings.name).set(float(leading))
        if leading != self._was_leading:
            self._was_leading = leading
            _log.info("lease %s: %s", self._settings.name, "held, writing" if leading else "lost, nothing is written")
            self._on_change(leading)

    def _mine(self) -> bool:
        return self._lease is not None and self._lease["spec"].get("holderIdentity") == self._settings.holder and self.leading()

    async def _renew(self) -> bool:
        lease = self._lease
        assert lease is not None  # noqa: S101 - _mine() has just looked
        body = self._body({"renewTime": _micro(self._wall())})
        self._lease = await self._patch(body, lease)
        return True

    async def _acquire(self) -> bool:
        try:
            lease = await self._cluster.get(LEASE, self._settings.namespace, self._settings.name)
        except NotFound:
            self._lease = await self._cluster.create(LEASE, self._body(self._taken(None), gaps=()), manager=FIELD_MANAGER)
            return True
        if not self._free(lease):
            return False
        now = self._wall()
        gaps = _gaps(lease)
        renewed = _parse(lease["spec"].get("renewTime"))
        if renewed is not None and now > renewed and not self.leading():
            gaps = (*gaps, Gap(int(renewed * 1000), int(now * 1000)))[-_GAPS:]
        self._lease = await self._patch(self._body(self._taken(lease), gaps=gaps), lease)
        self.gaps = gaps
        return True

    def _free(self, lease: Object) -> bool:
        """Whether nobody else holds the Lease: given back, ours, or not renewed for its duration while we looked."""
        spec = lease.get("spec", {})
        holder = spec.get("holderIdentity") or ""
        if holder in {"", self._settings.holder}:
            return True
        now = asyncio.get_running_loop().time()
        version = lease["metadata"]["resourceVersion"]
        if self._seen[0] != version:
            self._seen = (version, now)
        return now - self._seen[1] >= float(spec.get("leaseDurationSeconds") or self._settings.duration)

    def _taken(self, lease: Object | None) -> dict[str, Any]:
        spec = lease["spec"] if lease else {}
        same = spec.get("holderIdentity") == self._settings.holder
        now = _micro(self._wall())
        return {
            "holderIdentity": self._settings.holder,
            "leaseDurationSeconds": int(self._settings.duration),
            "acquireTime": spec.get("acquireTime", now) if same else now,
            "renewTime": now,
            "leaseTransitions": int(spec.get("leaseTransitions") or 0) + (0 if same or lease is None else 1),
        }

    def _body(self, spec: dict[str, Any], *, gaps: tuple[Gap, ...] | None = None) -> dict[str, Any]:
        metadata: dict[str, Any] = {"namespace": self._settings.namespace, "name": self._settings.name}
        if gaps is not None:
            metadata["annotations"] = {GAPS_ANNOTATION: json.dumps([[gap.start_ms, gap.end_ms] for gap in gaps])}
        return {"metadata": metadata, "spec": spec}

    async def _patch(self, body: dict[str, Any], lease: Object) -> Object:
        return await self._cluster.patch(LEASE, body, manager=FIELD_MANAGER, resource_version=lease["metadata"]["resourceVersion"])

    async def _release(self) -> None:
        """Give the Lease back, so that the next pod need not wait; whoever cannot is waited for."""
        lease = self._lease if self._mine() else None
        self._valid_until = float("-inf")
        self._tell()
        if lease is None:
            return
        try:
            async with asyncio.timeout(2):
                await self._patch(self._body({"holderIdentity": "", "renewTime": _micro(self._wall())}), lease)
        except (ClusterError, TimeoutError) as error:
            _log.warning("lease %s: not given back (%s); the next pod waits for its end", self._settings.name, error)


def _micro(now: float) -> str:
    """Return an instant as a MicroTime of Kubernetes."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _parse(text: str | None) -> float | None:
    return datetime.fromisoformat(text).timestamp() if text else None


def _gaps(lease: Object) -> tuple[Gap, ...]:
    """Return the gaps that earlier holders have noted; a note that cannot be read is no gap."""
    text = (lease["metadata"].get("annotations") or {}).get(GAPS_ANNOTATION, "[]")
    try:
        return tuple(Gap(int(start), int(end)) for start, end in json.loads(text))
    except (ValueError, TypeError) as error:
        _log.warning("lease annotation %s is %r, not [[start, end], …] (%s): taken as empty", GAPS_ANNOTATION, text, error)
        return ()
