"""The work queue, on a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import run_virtual

from walkforward_operator.cluster.errors import Throttled, Unreachable
from walkforward_operator.metrics import Metrics
from walkforward_operator.queue import Backoff, WorkQueue
from walkforward_operator.reconciler import Key

ONE, TWO = Key("prod", "one"), Key("prod", "two")
Work = Callable[[Key], Awaitable[float | None]]


def queue(work: Work, metrics: Metrics | None = None) -> WorkQueue:
    return WorkQueue("test", work, metrics=metrics or Metrics(), backoff=Backoff(first=1.0, most=10.0, jitter=0.0), chance=lambda: 0.5)


class Recorder:
    """Work that notes when it began and ends after ``takes`` seconds."""

    def __init__(self, takes: float = 0.0, results: list[float | Exception | None] | None = None) -> None:
        self.takes = takes
        self.results = results or []
        self.began: list[tuple[Key, float]] = []
        self.running: set[Key] = set()

    async def __call__(self, key: Key) -> float | None:
        assert key not in self.running, "two workers for one key"
        self.running.add(key)
        self.began.append((key, asyncio.get_running_loop().time()))
        await asyncio.sleep(self.takes)
        self.running.discard(key)
        result = self.results.pop(0) if self.results else None
        if isinstance(result, Exception):
            raise result
        return result

    def times(self, key: Key = ONE) -> list[float]:
        return [began for one, began in self.began if one == key]


def test_a_key_added_many_times_is_worked_on_once() -> None:
    async def main() -> None:
        work = Recorder(takes=1.0)
        waiting = queue(work)
        for _ in range(5):
            waiting.add(ONE)
        await asyncio.sleep(10)
        assert work.times() == [0.0, 1.0]  # four came while the first was being started: they are one

    run_virtual(main())


def test_a_key_added_while_worked_on_comes_once_more() -> None:
    async def main() -> None:
        work = Recorder(takes=2.0)
        waiting = queue(work)
        waiting.add(ONE)
        await asyncio.sleep(1)
        waiting.add(ONE)
        waiting.add(ONE)
        await asyncio.sleep(10)
        assert work.times() == [0.0, 2.0]

    run_virtual(main())


def test_keys_do_not_wait_for_each_other() -> None:
    async def main() -> None:
        work = Recorder(takes=5.0)
        waiting = queue(work)
        waiting.add(ONE)
        waiting.add(TWO)
        await asyncio.sleep(1)
        assert work.times(ONE) == [0.0]
        assert work.times(TWO) == [0.0]
        await waiting.close()

    run_virtual(main())


def test_failures_back_off_and_success_resets() -> None:
    async def main() -> None:
        broken = ValueError("no")
        work = Recorder(results=[broken, broken, broken, broken, broken, broken, None, broken, None])
        waiting = queue(work)
        waiting.add(ONE)
        await asyncio.sleep(100)
        assert work.times() == [0.0, 1.0, 3.0, 7.0, 15.0, 25.0, 35.0]  # 1, 2, 4, 8, then at most 10
        waiting.add(ONE)
        await asyncio.sleep(100)
        assert work.times()[-2:] == [100.0, 101.0]

    run_virtual(main())


def test_an_event_does_not_wait_for_the_back_off() -> None:
    async def main() -> None:
        work = Recorder(results=[ValueError("no")] * 5 + [None])
        waiting = queue(work)
        waiting.add(ONE)
        await asyncio.sleep(20)  # failed at 0, 1, 3, 7, 15; due again at 25
        waiting.add(ONE)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert work.times()[-1] == 20.0
        await asyncio.sleep(100)
        assert len(work.times()) == 6  # the timer of the back-off went with it

    run_virtual(main())


def test_a_throttled_key_waits_as_asked() -> None:
    async def main() -> None:
        work = Recorder(results=[Throttled("busy", retry_after=42.0), None])
        waiting = queue(work)
        waiting.add(ONE)
        await asyncio.sleep(100)
        assert work.times() == [0.0, 42.0]

    run_virtual(main())


def test_requeue_after_and_the_shortest_delay_counts() -> None:
    async def main() -> None:
        work = Recorder(results=[30.0, None])
        waiting = queue(work)
        waiting.add(ONE)
        await asyncio.sleep(1)
        waiting.add(ONE, after=50.0)
        await asyncio.sleep(200)
        assert work.times() == [0.0, 30.0]

    run_virtual(main())


def test_what_is_no_exception_ends_the_queue() -> None:
    class Crash(BaseException):
        pass

    async def work(key: Key) -> float | None:
        raise Crash

    async def main() -> None:
        waiting = queue(work)
        running = asyncio.ensure_future(waiting.run())
        await asyncio.sleep(0)
        waiting.add(ONE)
        with pytest.raises(Crash):
            await running
        waiting.add(TWO)
        assert waiting.idle

    run_virtual(main())


def test_a_resync_spreads_its_keys() -> None:
    async def main() -> None:
        work = Recorder()
        waiting = queue(work)
        waiting.resync([ONE, TWO], within=60.0)
        await asyncio.sleep(100)
        assert work.times(ONE) == [30.0]
        assert work.times(TWO) == [30.0]

    run_virtual(main())


def test_metrics_tell_success_and_error() -> None:
    async def main() -> None:
        metrics = Metrics()
        waiting = queue(Recorder(results=[ValueError("no"), Unreachable("away"), None]), metrics)
        waiting.add(ONE)
        await asyncio.sleep(100)
        text = metrics.render().decode()
        assert 'walkforward_reconcile_total{controller="test",result="error"} 2.0' in text
        assert 'walkforward_reconcile_total{controller="test",result="success"} 1.0' in text
        assert 'walkforward_reconcile_errors_total{controller="test"} 1.0' in text  # an API server that is away is no error of ours
        assert 'walkforward_workqueue_depth{name="test"} 0.0' in text

    run_virtual(main())


@given(st.lists(st.tuples(st.floats(0, 5), st.sampled_from([ONE, TWO])), max_size=30), st.floats(0, 3))
def test_a_key_is_always_looked_at_after_its_last_event(events: list[tuple[float, Key]], takes: float) -> None:
    async def main() -> None:
        work = Recorder(takes=takes)
        waiting = queue(work)
        last: dict[Key, float] = {}
        for pause, key in events:
            await asyncio.sleep(pause)
            waiting.add(key)
            last[key] = asyncio.get_running_loop().time()
        await asyncio.sleep(100)
        for key, moment in last.items():
            assert work.times(key)[-1] >= moment

    run_virtual(main())


def test_a_limit_bounds_what_is_worked_on_at_once() -> None:
    async def main() -> None:
        work, metrics = Recorder(takes=1.0), Metrics()
        waiting = WorkQueue("test", work, metrics=metrics, limit=2)
        keys = [Key("prod", str(number)) for number in range(6)]
        for key in keys:
            waiting.add(key)
        await asyncio.sleep(0.5)
        assert len(work.began) == 2
        assert 'walkforward_workqueue_depth{name="test"} 4.0' in metrics.render().decode()
        waiting.add(keys[5])
        await asyncio.sleep(10)
        assert [work.times(key)[0] for key in keys] == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]
        waiting.add(keys[0])
        waiting.add(keys[1])
        waiting.add(keys[2])
        await asyncio.sleep(0.5)
        await waiting.close()
        assert waiting.idle

    run_virtual(main())
