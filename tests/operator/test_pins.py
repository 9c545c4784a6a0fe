"""A pin is taken up only where retention has not marked its bundle; going back to any version, by an edit of the spec."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from rollout_cluster import NAME, NS, ROOT, Operator, RolloutCluster
from virtual_time import run_virtual

from walkforward_core.documents import digest
from walkforward_core.errors import Forbidden, NotFound
from walkforward_core.expiry import EXPIRY, Expiry, ExpiryState
from walkforward_operator.cluster.kinds import ROLLOUT
from walkforward_operator.pins import look

if TYPE_CHECKING:
    from walkforward_operator.pins import Pin

SHORT = {
    "strategy": {"shadow": {"minRequests": 200}, "phases": [{"weight": 100, "duration": "6s"}], "watch": {"duration": "6s"}},
    "gates": {"latency": {"minDuration": "6s"}, "psi": {}, "sharpe": {}, "errorRate": {}},
}
FOLDER = f"{ROOT}fx/v1/"


def mark(state: ExpiryState) -> bytes:
    return Expiry(state=state, by="fx-9").to_bytes()


def pin(world: RolloutCluster, version: str) -> None:
    """Edit the spec as ``kubectl edit`` or ``kubectl patch`` does."""
    found = world.cluster.peek(ROLLOUT, NS, NAME)
    manifest = world.objects.objects[f"{ROOT}fx/{version}/manifest.json"]
    found["spec"]["source"] = {"bundle": {"uri": f"{ROOT}fx/{version}/", "digest": digest(manifest)}}
    found["metadata"]["generation"] = found["metadata"].get("generation", 1) + 1
    world.cluster.put(ROLLOUT, found)


async def live(world: RolloutCluster, version: str, *, seconds: float = 120.0) -> None:
    for _ in range(round(seconds * 4)):
        await asyncio.sleep(0.25)
        if world.status.phase == "Stable" and world.document.stable is not None and world.document.stable.version == version:
            return
    raise AssertionError(f"{version} is not live: {world.status.phase} {world.status.reason} {world.status.message}")


async def two_promoted() -> tuple[RolloutCluster, Operator]:
    """Bring v1, v2 and v3 live, one after another."""
    world = RolloutCluster(**SHORT)
    world.servers.add("fx-server-1")
    world.passing()
    operator = Operator(world)
    operator.start()
    for version in ("v1", "v2", "v3"):
        world.publish(version)
        await live(world, version)
    return world, operator


def test_back_to_any_version_by_pinning_it() -> None:
    async def main() -> None:
        world, operator = await two_promoted()
        for version in ("v1", "v3", "v2"):
            pin(world, version)
            await live(world, version)
        assert [one.outcome for one in world.status.history[:3]] == ["Promoted"] * 3
        await operator.stop()

    run_virtual(main())


def test_a_marked_version_waits_until_it_is_spared() -> None:
    async def main() -> None:
        world, operator = await two_promoted()
        world.objects.objects[f"{FOLDER}{EXPIRY}"] = mark(ExpiryState.EXPIRING)
        pin(world, "v1")
        await asyncio.sleep(120)
        assert world.document.on_trial is None
        assert (world.document.stable and world.document.stable.version) == "v3"
        condition = next(one for one in world.status.conditions if one.type == "SourceUnavailable")
        assert "retention has marked s3://models/fx/v1/ (run fx-9)" in condition.message
        assert "walkforward-trainer keep" in condition.message
        world.objects.objects[f"{FOLDER}{EXPIRY}"] = mark(ExpiryState.SPARED)
        await live(world, "v1")
        await operator.stop()

    run_virtual(main())


def test_what_serves_already_needs_no_look() -> None:
    async def main() -> None:
        world, operator = await two_promoted()
        world.objects.objects[f"{ROOT}fx/v3/{EXPIRY}"] = mark(ExpiryState.EXPIRING)
        pin(world, "v3")
        await asyncio.sleep(60)
        assert world.status.phase == "Stable"
        assert not any(one.type == "SourceUnavailable" and one.status == "True" for one in world.status.conditions)
        assert f"{ROOT}fx/v3/{EXPIRY}" not in world.objects.reads
        await operator.stop()

    run_virtual(main())


class Store:
    """One mark; an error where there is none to be had."""

    def __init__(self, found: bytes | Exception) -> None:
        self.found = found
        self.reads: list[str] = []

    async def read(self, uri: str, *, limit: int) -> bytes:
        assert limit > 0
        self.reads.append(uri)
        await asyncio.sleep(0.1)
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


async def answered(store: Store, known: Pin | None = None, generation: int = 1) -> Pin:
    woken: list[int] = []
    before = len(store.reads)
    found = look(store, known, generation=generation, uri=FOLDER.rstrip("/"), wake=lambda: woken.append(1))
    await asyncio.sleep(0.2)
    assert len(woken) == len(store.reads) - before
    return found


@pytest.mark.parametrize(
    ("found", "free", "words"),
    [
        (NotFound("no such object"), True, ""),
        (mark(ExpiryState.SPARED), True, ""),
        (mark(ExpiryState.EXPIRING), False, "has marked"),
        (mark(ExpiryState.REMOVING), False, "removes s3://models/fx/v1/ (run fx-9): pin another version"),
        (Forbidden("read: AccessDenied; without the right to list a bucket an absent object is forbidden"), False, "cannot be seen: read"),
        (b"half", False, "cannot be seen"),
    ],
)
def test_one_look(found: bytes | Exception, *, free: bool, words: str) -> None:
    async def main() -> None:
        store = Store(found)
        seen = await answered(store)
        assert store.reads == [f"{FOLDER}{EXPIRY}"]
        assert seen.free is free
        assert words in seen.message

    run_virtual(main())


def test_a_look_holds_for_one_edit_of_the_spec_and_a_refusal_for_ten_seconds() -> None:
    async def main() -> None:
        store = Store(NotFound("none"))
        first = await answered(store)
        assert await answered(store, first) is first
        assert len(store.reads) == 1, "free stays free"
        store.found = mark(ExpiryState.EXPIRING)
        second = await answered(store, first, generation=2)
        assert (second.free, len(store.reads)) == (False, 2)
        assert await answered(store, second, generation=2) is second
        assert len(store.reads) == 2
        store.found = mark(ExpiryState.SPARED)
        await asyncio.sleep(10)
        await answered(store, second, generation=2)
        assert (second.free, len(store.reads)) == (True, 3)

    run_virtual(main())
