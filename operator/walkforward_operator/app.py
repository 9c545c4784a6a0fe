"""The operator, composed: which part is given which other, and in which order they start and end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from walkforward_operator.bundles import Bundles
from walkforward_operator.champion import Champions
from walkforward_operator.cluster.api import KubernetesCluster
from walkforward_operator.cluster.errors import ClusterError
from walkforward_operator.cluster.fence import Fenced, Quiet
from walkforward_operator.cluster.kinds import CONFIG_MAP, RETRAIN, ROLLOUT
from walkforward_operator.cluster.store import Store
from walkforward_operator.events import Events
from walkforward_operator.evidence.client import HttpPods
from walkforward_operator.host import WATCHED, Watches
from walkforward_operator.intake import Intake
from walkforward_operator.lease import LeaseElection, LeaseSettings
from walkforward_operator.ledger import LedgerBook
from walkforward_operator.metrics import Metrics
from walkforward_operator.mlflow import MlflowRegistry
from walkforward_operator.objects import Objects
from walkforward_operator.probes import serve
from walkforward_operator.queue import WorkQueue
from walkforward_operator.retrain.inputs import Neighbours
from walkforward_operator.retrain.service import RetrainReconciler
from walkforward_operator.rollout.service import RolloutReconciler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from walkforward_operator.cluster.fence import Writes
    from walkforward_operator.cluster.kinds import Kind
    from walkforward_operator.cluster.protocol import Object
    from walkforward_operator.reconciler import Key, Reconciler
    from walkforward_operator.settings import Settings

__all__ = ["Operator", "run"]

_log: Final = logging.getLogger(__name__)
_RESYNC_S: Final = 1800.0
_QUIET_S: Final = 0.3
"""So long must no event have come before the first look: the initial lists are in by then."""
_STUCK_S: Final = 300.0
_RETRAINS: Final = 16
"""Retrains that are worked on at once; nothing of theirs is urgent."""


class CrashAfter:
    """A :class:`Writes` that ends the process right after the n-th write, as a kill would: before the answer is seen."""

    def __init__(self, count: int) -> None:
        self._left = count

    def before(self, what: str) -> None:
        """Do nothing."""

    def after(self, what: str) -> None:
        """Count, and end the process."""
        self._left -= 1
        if self._left == 0:
            print(f"crash asked for after: {what}", flush=True)
            os._exit(137)


class Operator:
    """Everything that runs in the process."""

    def __init__(self, settings: Settings, cluster: KubernetesCluster, *, lifeline: KubernetesCluster, writes: Writes) -> None:
        self._settings = settings
        self.metrics = Metrics()
        self._live = cluster
        self.store = Store()
        lease = LeaseSettings(settings.pod_namespace, settings.lease_name, settings.pod_uid)
        self.lease = LeaseElection(lifeline, lease, metrics=self.metrics, on_change=self._on_lease)
        fenced = Fenced(cluster, leading=self.lease.leading, writes=writes)
        self.events = Events(fenced, instance=settings.pod_name, now=time.time)
        self.objects = Objects(settings.object_store.ledger_uri, allow_file=settings.object_store.allow_file)
        self.pods = HttpPods(settings.server_admin_port)
        self.rollouts = self._compose_rollouts(fenced, writes)
        retrains = RetrainReconciler(
            fenced,
            self.store,
            self.objects,
            installation=settings.installation,
            neighbours=Neighbours(settings.namespaces, lambda: self.store.all(CONFIG_MAP), self._complete),
            events=self.events,
            metrics=self.metrics,
            now_ms=_now_ms,
        )
        self.queues = {ROLLOUT: self._queue("rollout", self.rollouts), RETRAIN: self._queue("retrain", retrains, limit=_RETRAINS)}
        self.intake = Intake(self.store, self.queues, metrics=self.metrics)
        self.watches = Watches(settings.namespaces, self._take, metrics=self.metrics, served=cluster.serves)
        self.mlflow = MlflowRegistry(settings.mlflow_uri, os.environ) if settings.mlflow_uri else None
        self._settled = asyncio.Event()
        self._last_event = 0.0

    async def run(self) -> None:
        """Run until cancelled, or until a part ends, which is an error."""
        async with AsyncExitStack() as stack:
            port = await stack.enter_async_context(
                serve(self._settings.metrics_port, metrics=self.metrics, ill=self._ill, unready=self._unready)
            )
            _log.info("probes and metrics on port %d; watching %s", port, ", ".join(self._settings.namespaces))
            stack.push_async_callback(self.pods.close)
            stack.push_async_callback(self.rollouts.close)
            stack.callback(self.objects.close)
            if self.mlflow is not None:
                stack.push_async_callback(self.mlflow.close)
            async with asyncio.TaskGroup() as parts:
                for name, part in (
                    ("lease", self.lease.run()),
                    ("watches", self.watches.run()),
                    ("events", self.events.run()),
                    ("settle", self._settle()),
                    ("resync", self._resync()),
                    *((queue.name, queue.run()) for queue in self.queues.values()),
                    *([("champions", self._champions(self.mlflow).run())] if self.mlflow is not None else []),
                ):
                    parts.create_task(part, name=name)

    def _compose_rollouts(self, fenced: Fenced, writes: Writes) -> RolloutReconciler:
        store = self._settings.object_store
        return RolloutReconciler(
            fenced,
            self.store,
            pods=self.pods,
            bundles=Bundles(self.objects, store.bundle_roots),
            ledger=LedgerBook(self.objects, store.ledger_uri, leading=self.lease.leading, writes=writes, metrics=self.metrics),
            events=self.events,
            attendance=self.lease,
            metrics=self.metrics,
            wake=self._wake_rollout,
            now_ms=_now_ms,
        )

    def _champions(self, registry: MlflowRegistry) -> Champions:
        return Champions(self.store, registry, self.events, leading=lambda: self.lease.leading() and self._complete(), clock=time.monotonic)

    def _wake_rollout(self, key: Key) -> None:
        self.queues[ROLLOUT].add(key)

    def _queue(self, name: str, reconciler: Reconciler, *, limit: int | None = None) -> WorkQueue:
        return WorkQueue(name, self._when_leading(reconciler.reconcile), metrics=self.metrics, limit=limit)

    def _when_leading(self, reconcile: Callable[[Key], Awaitable[float | None]]) -> Callable[[Key], Awaitable[float | None]]:
        """Return ``reconcile``, doing nothing while another process holds the Lease or the first lists are not in: both wake every key."""

        async def work(key: Key) -> float | None:
            if not self._settled.is_set() or not self.lease.leading():
                return None
            return await reconcile(key)

        return work

    def _take(self, event: str | None, kind: Kind, found: Object) -> None:
        self._last_event = asyncio.get_running_loop().time()
        self.intake.take(event, kind, found)

    def _on_lease(self, leading: bool) -> None:  # noqa: FBT001 - the one fact that a change of the Lease has
        if leading:
            self.intake.wake_all()

    async def _settle(self) -> None:
        """Wait until the initial lists are in, then let the work begin."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not self._settled.is_set():
            await asyncio.sleep(_QUIET_S / 3)
            quiet = loop.time() - max(self._last_event, began) >= _QUIET_S
            if self.watches.up and (quiet or loop.time() - began > 10 * _QUIET_S):
                self._settled.set()
        self.intake.wake_all()
        await asyncio.Event().wait()

    async def _resync(self) -> None:
        """Twice an hour: list everything anew, for what was deleted while a watch was down, and look at every object."""
        while True:
            await asyncio.sleep(_RESYNC_S)
            self.intake.resync(within=_RESYNC_S / 2)
            try:
                gone = await self._compare()
            except ClusterError as error:
                _log.warning("resync: %s; tried again in %.0f s", error, _RESYNC_S)
            else:
                _log.info("resync: %d objects had gone unnoticed", gone)

    async def _compare(self) -> int:
        gone = 0
        for namespace in self._settings.namespaces:
            for watch in WATCHED:
                listed = await self._live.list(watch.kind, namespace, selector=watch.selector)
                gone += await self.intake.compare(watch.kind, namespace, listed)
        return gone

    def _ill(self) -> str:
        age = max(queue.oldest() for queue in self.queues.values())
        return f"a reconcile has been running for {age:.0f} s" if age > _STUCK_S else ""

    def _complete(self) -> bool:
        return self.watches.up and self._settled.is_set()

    def _unready(self) -> str:
        return "" if self._complete() else "the watches are not up yet"


async def run(settings: Settings) -> None:
    """Run the operator until SIGTERM or SIGINT; what is under way is stopped, and the Lease given back."""
    cluster = await KubernetesCluster.connect()
    # connections of its own: the renewal of the Lease must not queue behind a thousand other requests
    lifeline = await KubernetesCluster.connect(connections=2)
    writes = CrashAfter(settings.crash_after_write) if settings.crash_after_write is not None else Quiet()
    operator = Operator(settings, cluster, lifeline=lifeline, writes=writes)
    task = asyncio.create_task(operator.run(), name="operator")
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        _log.info("stopped")
    finally:
        await cluster.close()
        await lifeline.close()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
