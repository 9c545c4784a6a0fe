"""The Lease, on a virtual clock and a cluster in memory."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from fake_cluster import FakeCluster
from virtual_time import run_virtual

from walkforward_operator.cluster.errors import ClusterError, Unreachable
from walkforward_operator.cluster.kinds import LEASE
from walkforward_operator.lease import GAPS_ANNOTATION, LeaseElection, LeaseSettings
from walkforward_operator.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from walkforward_operator.cluster.kinds import Kind
    from walkforward_operator.cluster.protocol import Body, Object

EPOCH = 1_700_000_000.0


def now() -> float:
    return EPOCH + asyncio.get_running_loop().time()


def election(cluster: FakeCluster, holder: str) -> LeaseElection:
    return LeaseElection(cluster, LeaseSettings("system", "operator", holder), metrics=Metrics(), wall=now)


def holder(cluster: FakeCluster) -> str:
    found: str = cluster.peek(LEASE, "system", "operator")["spec"]["holderIdentity"]
    return found


def scenario(main: Callable[[FakeCluster], Awaitable[None]]) -> None:
    async def run() -> None:
        await main(FakeCluster(now))

    run_virtual(run())


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def kill(task: asyncio.Task[None], cluster: FakeCluster) -> None:
    """Stop without a chance to give the Lease back."""
    cluster.fault = Unreachable
    await stop(task)
    cluster.fault = lambda _: None


def test_the_first_holds_it_within_the_writes_that_are_allowed() -> None:
    async def main(cluster: FakeCluster) -> None:
        one = election(cluster, "one")
        assert not one.leading()
        task = asyncio.create_task(one.run())
        await asyncio.sleep(0.1)
        assert one.leading()
        assert holder(cluster) == "one"
        before = len(cluster.writes)
        for _ in range(60):
            await asyncio.sleep(1)
            assert one.leading()
        assert len(cluster.writes) - before <= 12
        assert cluster.reads == 1  # only the one that found no Lease
        await stop(task)

    scenario(main)


def test_a_second_one_waits_and_follows_a_clean_end_at_once() -> None:
    async def main(cluster: FakeCluster) -> None:
        one, two = election(cluster, "one"), election(cluster, "two")
        first = asyncio.create_task(one.run())
        await asyncio.sleep(0.1)
        second = asyncio.create_task(two.run())
        await asyncio.sleep(60)
        assert one.leading()
        assert not two.leading()
        await stop(first)
        assert not one.leading()
        await asyncio.sleep(1.1)
        assert two.leading()
        assert two.unattended_ms(0) <= 1_100
        await stop(second)

    scenario(main)


def test_a_second_one_waits_out_a_crash_and_never_both_write() -> None:
    async def main(cluster: FakeCluster) -> None:
        one, two = election(cluster, "one"), election(cluster, "two")
        first = asyncio.create_task(one.run())
        await asyncio.sleep(0.1)
        second = asyncio.create_task(two.run())
        await asyncio.sleep(20)
        await kill(first, cluster)
        waited = 0.0
        while not two.leading():
            await asyncio.sleep(0.1)
            waited += 0.1
        assert 4 < waited < 13
        await stop(second)

    scenario(main)


def test_a_restarted_container_goes_on_at_once_and_knows_how_long_it_was_away() -> None:
    async def main(cluster: FakeCluster) -> None:
        task = asyncio.create_task(election(cluster, "one").run())
        await asyncio.sleep(0.1)
        await kill(task, cluster)
        await asyncio.sleep(7)
        again = election(cluster, "one")
        task = asyncio.create_task(again.run())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert again.leading()
        assert 7_000 <= again.unattended_ms(int(EPOCH * 1000)) <= 7_200
        assert again.unattended_ms(int((EPOCH + 5) * 1000)) <= 2_200
        await stop(task)

    scenario(main)


def test_two_crashes_in_a_row_are_both_remembered() -> None:
    async def main(cluster: FakeCluster) -> None:
        for _ in range(2):
            task = asyncio.create_task(election(cluster, "one").run())
            await asyncio.sleep(0.1)
            await kill(task, cluster)
            await asyncio.sleep(5)
        last = election(cluster, "one")
        task = asyncio.create_task(last.run())
        await asyncio.sleep(0.1)
        assert 10_000 <= last.unattended_ms(int(EPOCH * 1000)) <= 10_400
        assert len(json.loads(cluster.peek(LEASE, "system", "operator")["metadata"]["annotations"][GAPS_ANNOTATION])) == 2
        await stop(task)

    scenario(main)


def test_without_an_api_server_it_stops_writing_before_the_end_and_comes_back() -> None:
    async def main(cluster: FakeCluster) -> None:
        one = election(cluster, "one")
        task = asyncio.create_task(one.run())
        await asyncio.sleep(0.1)
        cluster.fault = Unreachable
        away = asyncio.get_running_loop().time()
        for _ in range(200):
            await asyncio.sleep(0.05)
            if not one.leading():
                break
        assert asyncio.get_running_loop().time() - away <= 10 - 1.4
        await asyncio.sleep(60)
        assert not one.leading()
        cluster.fault = lambda _: None
        await asyncio.sleep(1.1)
        assert one.leading()
        assert 60_000 <= one.unattended_ms(int(EPOCH * 1000)) <= 72_000
        await stop(task)

    scenario(main)


def test_a_blip_between_two_renewals_costs_nothing() -> None:
    async def main(cluster: FakeCluster) -> None:
        one = election(cluster, "one")
        task = asyncio.create_task(one.run())
        await asyncio.sleep(5)
        cluster.fault = lambda what: Unreachable(what) if "Lease" in what else None
        await asyncio.sleep(2)
        assert one.leading()
        cluster.fault = lambda _: None
        for _ in range(100):
            await asyncio.sleep(0.1)
            assert one.leading()
        assert one.unattended_ms(0) == 0
        await stop(task)

    scenario(main)


def test_a_renewal_that_comes_late_is_a_loss_and_a_new_beginning() -> None:
    """Whoever looked in between was told to leave its work: without a new beginning it would never be taken up again."""

    class Slow(FakeCluster):
        seconds = 1.0

        async def create(self, kind: Kind, body: Body, *, manager: str) -> Object:
            await asyncio.sleep(self.seconds)
            return await super().create(kind, body, manager=manager)

        async def patch(self, kind: Kind, body: Body, *, manager: str, resource_version: str | None = None) -> Object:
            await asyncio.sleep(self.seconds)
            return await super().patch(kind, body, manager=manager, resource_version=resource_version)

    async def main() -> None:
        cluster, told = Slow(now), list[bool]()
        one = LeaseElection(cluster, LeaseSettings("system", "operator", "one"), metrics=Metrics(), wall=now, on_change=told.append)
        task = asyncio.create_task(one.run())
        await asyncio.sleep(1.5)
        assert told == [True]
        cluster.seconds = 2.9
        await asyncio.sleep(7.3)
        assert not one.leading(), "its time ran out while the answer was on its way"
        await asyncio.sleep(1)
        assert one.leading()
        assert told == [True, False, True]
        await stop(task)

    run_virtual(main())


def test_somebody_who_edits_the_lease_makes_no_gap() -> None:
    async def main(cluster: FakeCluster) -> None:
        one = election(cluster, "one")
        task = asyncio.create_task(one.run())
        await asyncio.sleep(1)
        metadata = {"namespace": "system", "name": "operator", "annotations": {"note": "hello", GAPS_ANNOTATION: "nonsense"}}
        await cluster.patch(LEASE, {"metadata": metadata}, manager="person")
        for _ in range(100):
            await asyncio.sleep(0.1)
            assert one.leading()
        assert one.unattended_ms(0) == 0
        await stop(task)

    scenario(main)


def test_a_takeover_by_force_is_obeyed() -> None:
    async def main(cluster: FakeCluster) -> None:
        one = election(cluster, "one")
        changes: list[bool] = []
        one._on_change = changes.append
        task = asyncio.create_task(one.run())
        await asyncio.sleep(1)
        taken = {"holderIdentity": "other", "renewTime": "2023-11-14T22:13:25.000000Z", "leaseDurationSeconds": 10}
        await cluster.patch(LEASE, {"metadata": {"namespace": "system", "name": "operator"}, "spec": taken}, manager="person")
        await asyncio.sleep(9)
        assert not one.leading()
        assert changes == [True, False]
        await stop(task)
        assert holder(cluster) == "other"

    scenario(main)


def test_errors_are_counted() -> None:
    async def main(cluster: FakeCluster) -> None:
        metrics = Metrics()
        cluster.fault = ClusterError
        one = LeaseElection(cluster, LeaseSettings("system", "operator", "one"), metrics=metrics, wall=now)
        task = asyncio.create_task(one.run())
        await asyncio.sleep(3.5)
        assert b"walkforward_lease_errors_total 4.0" in metrics.render()
        await stop(task)

    scenario(main)
