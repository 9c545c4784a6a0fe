"""The operator dies after every single write, and the end is the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from retrain_world import KEY, World, settle
from retrains import BAD, HOUR, MINUTE, NOW, manual, result, spec

from walkforward_core.api.retrain import Schedule
from walkforward_core.runs import RunVerdict
from walkforward_operator.cluster.kinds import CONFIG_MAP, JOB, Kind

if TYPE_CHECKING:
    from walkforward_operator.cluster.protocol import Object

HOURLY = spec(schedules=(Schedule(cron="0 * * * *"),), history_limit=2)


async def story(world: World, *, each: bool = False) -> None:
    """A slot, published; a manual run, rejected; a slot whose Job is deleted; a third run, so that the first drops out of the history."""
    world.apply(HOURLY)
    await settle(world, each=each)
    world.now_ms += HOUR
    await settle(world, each=each)
    [first] = world.active
    world.pod(first, running={})
    await settle(world, each=each)
    world.end(first, 0, world.publish(first))
    await settle(world, each=each)
    world.apply(HOURLY, annotations=manual("a", skipGates="auc", reason="try"))
    await settle(world, each=each)
    [second] = world.active
    world.end(second, 1, result(world.document(second), RunVerdict.REJECTED, metrics=BAD, failed=("auc",)).to_bytes().decode())
    await settle(world, each=each)
    world.now_ms += HOUR
    await settle(world, each=each)
    [third] = world.active
    world.cluster.remove(JOB, *KEY._replace(name=third))
    await settle(world, each=each)
    world.now_ms += MINUTE


def armed(world: World) -> bool:
    return world.cluster.crash_after is not None


def end_state(world: World) -> tuple[Any, list[str], list[str]]:
    maps = sorted(name for kind, _, name in world.cluster.objects if kind is CONFIG_MAP)
    return msgspec.to_builtins(world.status()), world.jobs, maps


async def test_the_end_is_the_same_after_a_crash_behind_any_write() -> None:
    calm = World(now_ms=NOW + 30 * MINUTE)
    await story(calm)
    expected = end_state(calm)
    assert [run["verdict"] for run in expected[0]["history"]] == ["Failed", "Rejected"]
    assert expected[0]["latestBundle"]["version"]
    total = len(calm.cluster.writes)
    assert total > 12
    for count in range(1, total + 1):
        world = World(now_ms=NOW + 30 * MINUTE)
        world.cluster.crash_after = count
        await story(world)
        assert not armed(world), f"the crash after write {count} did not happen"
        assert end_state(world) == expected, f"after a crash behind write {count}: {calm.cluster.writes[count - 1]}"


async def test_the_end_is_the_same_after_crashes_behind_all_writes() -> None:
    calm, world = World(now_ms=NOW + 30 * MINUTE), World(now_ms=NOW + 30 * MINUTE)
    await story(calm)
    await story(world, each=True)
    assert end_state(world) == end_state(calm)


async def test_a_run_is_in_the_status_before_its_job_is_created_and_in_the_history_before_it_goes() -> None:
    world = World(now_ms=NOW + 30 * MINUTE)
    seen: list[str] = []
    ended: set[str] = set()

    def watch(event: str, kind: Kind, found: Object) -> None:
        ended.update(run.run for run in world.status().history)
        if kind is JOB and event in {"ADDED", "DELETED"}:
            current = world.status().run
            assert (current is not None and current.id == found["metadata"]["name"]) == (event == "ADDED")
            assert (found["metadata"]["name"] in ended) == (event == "DELETED")
            seen.append(event)

    world.apply(HOURLY)
    world.cluster.watchers.append(watch)
    for _ in range(4):
        world.now_ms += HOUR
        await settle(world)
        [job] = world.active
        world.end(job, 0, world.publish(job))
        await settle(world)
    assert (seen.count("ADDED"), seen.count("DELETED")) == (4, 2)
