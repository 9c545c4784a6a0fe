"""The work queue: keys, each at most once in it, each worked on by one worker at a time.

A key that is added while it is being worked on is worked on once more afterwards. A key that failed comes back after a delay of
its own, which doubles and is jittered; an event brings it back at once. Events and timers can therefore be lost, doubled or
reordered without harm: what counts is that the key is looked at after the last of them.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from walkforward_operator.cluster.errors import Conflict, NotFound, NotLeading, Throttled, Unreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from walkforward_operator.metrics import Metrics
    from walkforward_operator.reconciler import Key

__all__ = ["Backoff", "WorkQueue"]

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delay in seconds after the n-th failure in a row: ``first · 2ⁿ⁻¹``, at most ``most``, ± ``jitter`` of itself."""

    first: float = 0.2
    most: float = 15.0
    jitter: float = 0.2

    def delay(self, failures: int, chance: float) -> float:
        """Return the delay; ``chance`` is uniform in [0, 1)."""
        return float(min(self.first * 2.0 ** (min(failures, 30) - 1), self.most) * (1 + self.jitter * (2 * chance - 1)))


class WorkQueue:
    """Runs ``work`` for every key that is added; its result is the number of seconds after which to look again, or None.

    Time is the event loop's. ``limit`` is how many keys are worked on at once; without it an abort never waits for other objects, and
    the work itself has to see to it that a thousand objects do not ask the API server at once.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Key], Awaitable[float | None]],
        *,
        metrics: Metrics,
        backoff: Backoff = Backoff(),
        chance: Callable[[], float] = random.random,
        limit: int | None = None,
    ) -> None:
        self._slots = asyncio.Semaphore(limit) if limit is not None else None
        self.name = name
        self._work = work
        self._metrics = metrics
        self._backoff = backoff
        self._chance = chance
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._started: dict[Key, float] = {}
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._closed = False
        self._broken: asyncio.Future[None] | None = None

    def add(self, key: Key, after: float = 0.0) -> None:
        """Have ``key`` worked on after ``after`` seconds; of several delays the shortest counts."""
        if self._closed:
            return
        self._metrics.adds.labels(self.name).inc()
        if after > 0:
            self._schedule(key, after)
        elif key in self._running:
            self._again.add(key)
        else:
            self._start(key)

    def resync(self, keys: Iterable[Key], *, within: float) -> None:
        """Have every key worked on at a moment of its own within the next ``within`` seconds."""
        for key in keys:
            self.add(key, within * self._chance())

    async def run(self) -> None:
        """Wait until cancelled; raise what is no ordinary exception of ``work``. On the way out every worker is stopped."""
        self._broken = asyncio.get_running_loop().create_future()
        try:
            await self._broken
        finally:
            await self.close()

    async def close(self) -> None:
        """Take no more keys, stop the workers and wait for them."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def idle(self) -> bool:
        """Whether nothing is being worked on and no key waits for a worker."""
        return not self._running

    def oldest(self) -> float:
        """Return for how many seconds the oldest worker has been running; 0 without one."""
        now = asyncio.get_running_loop().time()
        age = max((now - started for started in self._started.values()), default=0.0)
        self._metrics.longest.labels(self.name).set(age)
        return age

    def _schedule(self, key: Key, after: float) -> None:
        loop = asyncio.get_running_loop()
        known = self._timers.get(key)
        if known is not None:
            if known.when() <= loop.time() + after:
                return
            known.cancel()
        self._timers[key] = loop.call_later(after, self._due, key)

    def _due(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _start(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:  # the worker looks at everything, so what the timer was for is seen too
            timer.cancel()
        loop = asyncio.get_running_loop()
        self._running[key] = loop.create_task(self._attend(key, loop.time()), name=f"{self.name} {key}")
        self._metrics.depth.labels(self.name).inc()

    async def _attend(self, key: Key, queued: float) -> None:
        if self._slots is None:
            await self._attend_now(key, queued)
            return
        try:
            await self._slots.acquire()
        except asyncio.CancelledError:
            self._metrics.depth.labels(self.name).dec()
            del self._running[key]
            raise
        try:
            await self._attend_now(key, queued)
        finally:
            self._slots.release()

    async def _attend_now(self, key: Key, queued: float) -> None:
        loop = asyncio.get_running_loop()
        self._metrics.depth.labels(self.name).dec()
        self._metrics.queued.labels(self.name).observe(loop.time() - queued)
        self._metrics.active.labels(self.name).inc()
        self._started[key] = loop.time()
        after: float | None = None
        try:
            after = await self._once(key)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - it ends the process, by way of run()
            self._break(error)
        finally:
            self._metrics.seconds.labels(self.name).observe(loop.time() - self._started.pop(key))
            self._metrics.active.labels(self.name).dec()
            del self._running[key]
        if key in self._again:
            self._again.discard(key)
            if not self._closed:
                self._start(key)
        elif after is not None and not self._closed:
            self._schedule(key, after)

    async def _once(self, key: Key) -> float | None:
        """Work on the key once; an exception becomes its delay."""
        try:
            after = await self._work(key)
        except Exception as error:  # noqa: BLE001 - logged and counted in _failed, and tried again
            return self._failed(key, error)
        self._failures.pop(key, None)
        self._metrics.reconciles.labels(self.name, "success" if after is None else "requeue_after").inc()
        return after

    def _failed(self, key: Key, error: Exception) -> float:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = self._backoff.delay(failures, self._chance())
        if isinstance(error, Throttled):
            delay = max(delay, error.retry_after)
        self._metrics.reconciles.labels(self.name, "error").inc()
        self._metrics.retries.labels(self.name).inc()
        if isinstance(error, (Conflict, NotFound, NotLeading, Unreachable)):
            _log.info("%s %s: %s; again in %.1f s", self.name, key, error, delay)
        else:
            self._metrics.errors.labels(self.name).inc()
            _log.error("%s %s: failed %d times in a row; again in %.1f s", self.name, key, failures, delay, exc_info=error)
        return delay

    def _break(self, error: BaseException) -> None:
        self._closed = True
        if self._broken is None or self._broken.done():
            raise error
        self._broken.set_exception(error)
