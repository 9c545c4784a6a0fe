"""kopf hosts the watches, and nothing else: its event handlers hand each object over, and the work is done elsewhere.

Only ``on.event`` handlers are used, so kopf writes neither finalizers nor annotations. It runs in a thread with a loop of its own:
when it ends (and it does at any watch ERROR but 410) it cancels every task of its loop, which must not be those that could abort
a rollout. It is started again, with a capped back-off; the process ends only after ten minutes in which no start lasted.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import kopf
from kopf._core.engines.peering import Identity  # the type of a public parameter, not public itself

from walkforward_core.names import MANAGED_BY, TARGET_LABEL
from walkforward_operator.cluster.kinds import CONFIG_MAP, DEPLOYMENT, JOB, POD, RETRAIN, ROLLOUT
from walkforward_operator.cluster.transport import login

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from walkforward_operator.cluster.kinds import Kind
    from walkforward_operator.cluster.protocol import Object
    from walkforward_operator.metrics import Metrics

__all__ = ["WATCHED", "Watch", "WatchError", "Watches"]

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Watch:
    """One kind, and the labels that the API server selects by (its own syntax)."""

    kind: Kind
    selector: str = ""


_OURS: Final = "=".join(MANAGED_BY)
WATCHED: Final = (
    Watch(RETRAIN),
    Watch(ROLLOUT),
    Watch(DEPLOYMENT),
    Watch(JOB, _OURS),
    Watch(CONFIG_MAP, _OURS),
    # servers carry the label of their target, the trainer's pods that of the operator's objects; a pod without either is none of ours
    Watch(POD, TARGET_LABEL),
)


class WatchError(Exception):
    """The watches could not be kept up for ten minutes."""


class _CappedBackoff:
    """Delays without end: an API call that kopf gives up on would be an event lost. Can be iterated many times."""

    def __iter__(self) -> Iterator[float]:
        delay = 0.25
        while True:
            yield delay * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, keeps no secret
            delay = min(delay * 2, 5.0)


class Watches:
    """Keeps the watches of ``namespaces`` up; ``take(event type, kind, object)`` is called in the loop that runs :meth:`run`."""

    def __init__(
        self,
        namespaces: Sequence[str],
        take: Callable[[str | None, Kind, Object], None],
        *,
        metrics: Metrics,
        served: Callable[[Kind], Awaitable[bool]],
        patience_s: float = 600.0,
        stable_s: float = 60.0,
    ) -> None:
        self._namespaces = namespaces
        self._take = take
        self._metrics = metrics
        self._served = served
        self._patience_s = patience_s
        self._stable_s = stable_s
        self.up = False

    async def run(self) -> None:
        """Run until cancelled; :class:`WatchError` after ten minutes of failure."""
        loop = asyncio.get_running_loop()
        failing_since: float | None = None
        delay = 0.5
        while True:
            began = loop.time()
            error = await self._once()
            self.up = False
            if loop.time() - began >= self._stable_s:
                failing_since, delay = loop.time(), 0.5
            failing_since = began if failing_since is None else failing_since
            if loop.time() - failing_since > self._patience_s:
                raise WatchError(f"the watches failed for {self._patience_s:.0f} s, last with: {error}") from error
            self._metrics.watch_restarts.inc()
            _log.warning("watches ended (%s); started again in %.1f s", error, delay)
            await asyncio.sleep(delay)
            delay = min(delay * 2, 15.0)

    async def _once(self) -> BaseException | None:
        """Run kopf once, to its end; return why it ended."""
        for watch in WATCHED:
            try:
                # kopf looks once at what is served: a CRD that is installed later would never be watched
                if not await self._served(watch.kind):
                    return LookupError(f"{watch.kind.plural}.{watch.kind.group} is not served; install the CRDs")
            except Exception as error:  # noqa: BLE001 - the caller logs it and tries again
                return error
        session = _Session(self._namespaces, self._take)
        self.up = True
        return await session.run()


class _Session:
    """One life of kopf, in its thread."""

    def __init__(self, namespaces: Sequence[str], take: Callable[[str | None, Kind, Object], None]) -> None:
        self._namespaces = namespaces
        self._take = take
        self._home = asyncio.get_running_loop()
        self._ended: asyncio.Future[BaseException | None] = self._home.create_future()
        self._stop: Callable[[], None] = lambda: None
        self._closed = False

    async def run(self) -> BaseException | None:
        thread = threading.Thread(target=self._thread, name="kopf", daemon=True)
        thread.start()
        try:
            return await asyncio.shield(self._ended)
        finally:
            self._closed = True
            self._stop()
            if thread.is_alive():
                await asyncio.wait([self._ended], timeout=10)  # kopf gives its own tasks five seconds

    def _thread(self) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._operate())
        except BaseException as failure:  # noqa: BLE001 - it is the result of this life
            error = failure
        self._post(self._end, error)

    async def _operate(self) -> None:
        loop, flag = asyncio.get_running_loop(), asyncio.Event()

        def stop() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(flag.set)

        self._stop = stop
        if self._closed:
            return
        try:
            await kopf.operator(
                registry=self._registry(),
                settings=_settings(),
                standalone=True,
                namespaces=list(self._namespaces),
                stop_flag=flag,
                # else kopf asks for the name of the process's user, and the image's has none
                identity=Identity("walkforward"),
            )
        finally:
            await asyncio.sleep(0.25)  # TLS connections need a few turns of the loop to close

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry)(login)
        for watch in WATCHED:
            kopf.on.event(watch.kind.group or "", watch.kind.version, watch.kind.plural, registry=registry)(self._handler(watch.kind))
        return registry

    def _handler(self, kind: Kind) -> Callable[..., Awaitable[None]]:
        async def handle(event: Any, **_: Any) -> None:
            self._post(self._deliver, event["type"], kind, dict(event["object"]))

        return handle

    def _deliver(self, event: str | None, kind: Kind, found: Object) -> None:
        if not self._closed:
            self._take(event, kind, found)

    def _end(self, error: BaseException | None) -> None:
        if not self._ended.done():
            self._ended.set_result(error)

    def _post(self, call: Callable[..., None], *arguments: Any) -> None:
        if not self._home.is_closed():
            self._home.call_soon_threadsafe(call, *arguments)


def _settings() -> kopf.OperatorSettings:
    """Return the settings that keep kopf a mere host of watches."""
    settings = kopf.OperatorSettings()
    settings.networking.error_backoffs = _CappedBackoff()
    settings.networking.request_timeout, settings.networking.connect_timeout = 30, 5
    settings.watching.server_timeout = 600  # an int: it is written into the query as it stands
    settings.watching.client_timeout = 660
    settings.watching.connect_timeout = 10
    settings.watching.chunk_size = 500
    for watch in WATCHED:
        if watch.selector:
            settings.watching.label_selectors[watch.kind.group, watch.kind.version, watch.kind.plural] = watch.selector
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True  # no watch on all CRDs and namespaces, so no rights to them
    settings.queueing.worker_limit = None
    settings.queueing.idle_timeout = 1.0
    settings.process.ultimate_exiting_timeout = None  # it would kill the whole process
    return settings
