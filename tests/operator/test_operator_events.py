"""Events are for people: written in the background, in order, and dropped rather than waited for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from fake_cluster import FakeCluster
from virtual_time import run_virtual

from walkforward_operator.cluster.errors import Forbidden, Unreachable
from walkforward_operator.cluster.kinds import EVENT
from walkforward_operator.events import Events
from walkforward_operator.rollout.model import Emit

if TYPE_CHECKING:
    from walkforward_operator.cluster.errors import ClusterError

ABOUT = {
    "apiVersion": "walkforward.dev/v1alpha1",
    "kind": "ModelRollout",
    "metadata": {"namespace": "prod", "name": "fx", "uid": "u1", "resourceVersion": "7"},
}


async def started(cluster: FakeCluster) -> tuple[Events, asyncio.Task[None]]:
    events = Events(cluster, instance="operator-0", now=lambda: 1_700_000_000.25)
    return events, asyncio.create_task(events.run())


async def written(cluster: FakeCluster) -> list[dict[str, Any]]:
    return [found for (kind, _, _), found in cluster.objects.items() if kind is EVENT]


def test_an_event_says_what_happened_to_whom() -> None:
    async def main() -> None:
        cluster = FakeCluster()
        events, task = await started(cluster)
        await events.emit(ABOUT, Emit("StepStarted", "weight 25"))
        await events.emit(ABOUT, Emit("PsiFailed", "psi 0.9 > 0.5", warning=True))
        await asyncio.sleep(1)
        first, second = await written(cluster)
        assert first["regarding"] == {
            "apiVersion": "walkforward.dev/v1alpha1",
            "kind": "ModelRollout",
            "namespace": "prod",
            "name": "fx",
            "uid": "u1",
        }
        assert (first["reason"], first["note"], first["type"]) == ("StepStarted", "weight 25", "Normal")
        assert first["eventTime"] == "2023-11-14T22:13:20.250000Z"
        assert second["type"] == "Warning"
        task.cancel()

    run_virtual(main())


def test_a_long_note_is_cut_to_what_the_api_server_takes() -> None:
    async def main() -> None:
        cluster = FakeCluster()
        events, task = await started(cluster)
        await events.emit(ABOUT, Emit("PsiFailed", "Σ" * 3000))
        await asyncio.sleep(1)
        note = (await written(cluster))[0]["note"]
        assert len(note.encode()) <= 1024
        assert note.endswith("…")
        task.cancel()

    run_virtual(main())


@pytest.mark.parametrize(("error", "attempts"), [(Forbidden, 1), (Unreachable, 3)])
def test_one_that_cannot_be_written_is_dropped_and_the_next_goes_on(error: type[ClusterError], attempts: int) -> None:
    async def main() -> None:
        cluster, tried = FakeCluster(), []

        def fault(what: str) -> ClusterError | None:
            tried.append(what)
            return error(what) if len(tried) <= attempts else None

        cluster.fault = fault
        events, task = await started(cluster)
        await events.emit(ABOUT, Emit("First", ""))
        await events.emit(ABOUT, Emit("Second", ""))
        await asyncio.sleep(60)
        assert [found["reason"] for found in await written(cluster)] == ["Second"]
        task.cancel()

    run_virtual(main())


def test_very_many_never_hold_anybody_up() -> None:
    async def main() -> None:
        events = Events(FakeCluster(), instance="operator-0", now=lambda: 0.0)
        for _ in range(5_000):
            await events.emit(ABOUT, Emit("StepStarted", ""))

    run_virtual(main())
