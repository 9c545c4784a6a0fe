"""What changes nothing but words costs no read; what is at stake is asked for; what goes with its namespace is one quiet line."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest
from retrain_world import KEY as RETRAIN_KEY
from retrain_world import World
from retrains import manual, spec
from rollout_cluster import KEY, NAME, NS, TARGET, Operator, RolloutCluster
from virtual_time import run_virtual

from walkforward_core.api.retrain import Schedule
from walkforward_operator.cluster.errors import Conflict, Forbidden
from walkforward_operator.cluster.kinds import CONFIG_MAP, NAMESPACE, RETRAIN, ROLLOUT
from walkforward_operator.rollout.status import RolloutPhase

if TYPE_CHECKING:
    from walkforward_operator.cluster.errors import ClusterError

DAILY = spec(schedules=(Schedule(cron="0 0 * * *"),))


async def test_an_idle_retrain_is_described_without_a_read() -> None:
    world = World()
    world.apply(DAILY)
    await world.settle()
    assert world.status().next_run
    assert (world.cluster.reads, len(world.cluster.writes)) == (0, 1)
    world.apply(spec(schedules=DAILY.schedules, suspend=True))
    await world.settle()
    assert world.status().phase == "Suspended"
    assert world.cluster.reads == 0


async def test_a_run_is_never_begun_on_a_hint() -> None:
    world = World()
    world.apply(DAILY, annotations=manual("a"))
    await world.settle()
    assert world.jobs
    assert world.cluster.reads > 0


async def test_words_on_an_old_hint_are_said_of_what_is_there() -> None:
    world = World()
    world.apply(DAILY)
    refused: list[str] = []

    def once(what: str) -> ClusterError | None:
        if what.startswith("status") and not refused:
            refused.append(what)
            return Conflict("the object has been modified")
        return None

    world.cluster.fault = once
    await world.settle()
    assert refused
    assert world.cluster.reads > 0
    assert world.status().observed_generation == 1


@pytest.mark.parametrize("going", [True, False])
async def test_rights_that_go_with_the_namespace_are_one_quiet_line(caplog: pytest.LogCaptureFixture, *, going: bool) -> None:
    world = World()
    world.apply(DAILY)
    where = {"name": RETRAIN_KEY.namespace} | ({"deletionTimestamp": "2026-01-01T00:00:00Z"} if going else {})
    world.cluster.objects[NAMESPACE, "", RETRAIN_KEY.namespace] = {"metadata": where}
    world.cluster.fault = lambda what: Forbidden("no rights") if what.startswith(("status", f"get {RETRAIN.name}")) else None
    caplog.set_level(logging.INFO)
    if not going:
        with pytest.raises(Forbidden):
            await world.reconciler.reconcile(RETRAIN_KEY)
        return
    assert await world.reconciler.reconcile(RETRAIN_KEY) is None
    [line] = [record for record in caplog.records if "is being deleted" in record.getMessage()]
    assert (line.levelno, line.exc_info) == (logging.INFO, None)


def test_a_rollout_at_rest_is_described_without_a_read_once_it_is_not_new() -> None:
    async def main() -> None:
        world = RolloutCluster()
        operator = Operator(world)
        operator.start()
        await asyncio.sleep(1)
        young = world.cluster.reads
        assert young > 0, "what was made together with it may not have come by its own watch yet"
        await asyncio.sleep(20)
        for paused in (True, False):
            found = world.cluster.peek(ROLLOUT, NS, NAME)
            found["spec"]["paused"] = paused
            found["metadata"]["generation"] += 1
            world.cluster.put(ROLLOUT, found)
            await asyncio.sleep(1)
            assert world.status.observed_generation == world.cluster.peek(ROLLOUT, NS, NAME)["metadata"]["generation"]
        assert world.cluster.reads == young
        # something is at stake
        world.servers.add(f"{TARGET}-1")
        world.publish("v1")
        await world.until(RolloutPhase.STABLE, seconds=60)
        assert world.cluster.reads > young + 5
        assert world.cluster.peek(CONFIG_MAP, NS, f"{TARGET}-routing")
        assert [one.labels["phase"] for family in operator.metrics.phase.collect() for one in family.samples] == ["Stable"]
        await operator.stop()

    run_virtual(main())


def test_a_rollout_that_may_not_be_written_any_more_is_let_go_with_its_namespace(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        world = RolloutCluster()
        operator = Operator(world)
        operator.start()
        await asyncio.sleep(20)
        namespace = world.cluster.objects[NAMESPACE, "", NS]
        namespace["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        world.cluster.fault = lambda what: Forbidden("no rights") if what.startswith("status") else None
        caplog.set_level(logging.INFO)
        found = world.cluster.peek(ROLLOUT, NS, NAME)
        found["spec"]["paused"] = True
        world.cluster.put(ROLLOUT, found)
        await asyncio.sleep(5)
        said = [record for record in caplog.records if str(KEY) in record.getMessage()]
        assert any("is being deleted" in record.getMessage() for record in said)
        assert not any(record.levelno > logging.INFO or record.exc_info for record in said)
        await operator.stop()

    run_virtual(main())
