"""Retention against rollouts that pin bundles while runs are under way: in whatever order things happen, what was taken up is there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from msgspec import structs
from trainer_runs import run_document, spec

import walkforward_trainer.retention
from walkforward_core.bundle import MANIFEST
from walkforward_core.errors import AlreadyExists, NotFound
from walkforward_core.expiry import EXPIRY, Expiry
from walkforward_core.objectstore import ObjectHead
from walkforward_core.runs import ResultDocument, RunVerdict
from walkforward_operator.pins import Pin, look
from walkforward_trainer.expiring import take
from walkforward_trainer.retention import sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from walkforward_core.objectstore import ObjectStore
    from walkforward_core.runs import RunDocument

START = datetime(2026, 1, 1, tzinfo=UTC)
MODELS = "s3://models/fx"
VERSIONS = tuple(f"{START - timedelta(days=days):%Y%m%dT%H%M%SZ}-aaaaaaaa" for days in (300, 1))
OLDEST, NEWEST = VERSIONS
"""The one may go, the other may not."""
RUNS = ("fx-1", "fx-2")
FIELDS = spec("s3://bars/x.csv", MODELS)
FIELDS["artifacts"]["retention"] = {"keepLast": 1, "maxAge": "30d"}
RUN = run_document(FIELDS)


LOOP = asyncio.new_event_loop()


@pytest.fixture(scope="module", autouse=True)
def closed() -> Iterator[None]:
    yield
    LOOP.close()


class Clocked:
    """A bucket whose clock is set by hand."""

    def __init__(self) -> None:
        self.now = START
        self.objects: dict[str, tuple[bytes, str, int]] = {}
        self.writes = 0

    @property
    def now_ms(self) -> int:
        return round(self.now.timestamp() * 1000)

    def get(self, uri: str, *, limit: int | None = None) -> bytes:
        return self._there(uri)[0][:limit]

    def head(self, uri: str) -> ObjectHead:
        data, etag, modified_ms = self._there(uri)
        return ObjectHead(etag, len(data), modified_ms)

    def put(self, uri: str, data: bytes, *, create_only: bool = False, if_match: str | None = None) -> str:
        if (create_only and uri in self.objects) or (if_match is not None and self._there(uri)[1] != if_match):
            raise AlreadyExists(uri)
        self.writes += 1
        self.objects[uri] = (data, str(self.writes), self.now_ms)
        return str(self.writes)

    def list(self, prefix: str) -> list[str]:
        return sorted(uri for uri in self.objects if uri.startswith(prefix))

    def delete(self, uri: str) -> None:
        self.objects.pop(uri, None)

    def get_range(self, uri: str, start: int, length: int) -> bytes:
        return self.get(uri)[start : start + length]

    async def read(self, uri: str, *, limit: int) -> bytes:
        return self.get(uri, limit=limit)

    def _there(self, uri: str) -> tuple[bytes, str, int]:
        try:
            return self.objects[uri]
        except KeyError as error:
            raise NotFound(uri) from error


@dataclass
class Market:
    """Two retrains below one address, and a rollout for each old bundle; events in any order."""

    store: Clocked = field(default_factory=Clocked)
    pinned: dict[str, int] = field(default_factory=dict)
    looked: dict[str, Pin] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    begun: dict[str, RunDocument] = field(default_factory=dict)
    edits: int = 0

    def fork(self) -> Market:
        """Return another one that is the same so far."""
        store = Clocked()
        store.now, store.objects, store.writes = self.store.now, dict(self.store.objects), self.store.writes
        looked = {version: replace(pin) for version, pin in self.looked.items()}
        return Market(store, dict(self.pinned), looked, set(self.taken), dict(self.begun), self.edits)

    def wait(self, hours: int) -> None:
        self.store.now += timedelta(hours=hours)

    def pin(self, version: str) -> None:
        self.edits += 1
        self.pinned.setdefault(version, self.edits)

    def unpin(self, version: str) -> None:
        self.pinned.pop(version, None)
        self.taken.discard(version)

    def see(self, version: str) -> None:
        """Let the operator look at the manifest and the mark, as it does for a pinned bundle."""
        if version in self.pinned and f"{MODELS}/{version}/{MANIFEST}" in self.store.objects:
            self.looked[version] = LOOP.run_until_complete(self._look(version))

    def take(self, version: str) -> None:
        """Let the rollout begin: by what was seen of the mark since the pin, and with the manifest in the operator's cache."""
        seen = self.looked.get(version)
        if version in self.pinned and seen is not None and seen.free and seen.generation == self.pinned[version]:
            self.taken.add(version)

    def begin(self, run: str) -> None:
        at = self.store.now.isoformat()
        used = tuple(sorted({f"{MODELS}/{version}/" for version in {*self.pinned, *self.taken}}))
        self.begun[run] = structs.replace(RUN, run=run, as_of=at, in_use=used, in_use_at=at)

    def sweep(self, run: str) -> None:
        document = self.begun.pop(run, None)
        if document is not None:
            result = ResultDocument(run=run, verdict=RunVerdict.PUBLISHED, reason="Published", version=NEWEST)
            sweep(self.store, document, result, now_ms=self.store.now_ms, remove=True)

    async def _look(self, version: str) -> Pin:
        pin = look(
            self.store,
            self.looked.get(version),
            generation=self.pinned[version],
            uri=f"{MODELS}/{version}",
            wake=lambda: None,
        )
        if pin.task is not None:
            await pin.task
        return replace(pin, due=0.0, task=None)

    def state(self) -> tuple[object, ...]:
        """Return what the rest depends on; times as distances, of which more than two days are as good as two."""

        def ago(stamp_ms: int) -> int:
            return min((self.store.now_ms - stamp_ms) // 3_600_000, 48)

        mark = self.store.objects.get(f"{MODELS}/{OLDEST}/{EXPIRY}")
        expiry = None if mark is None else (Expiry.parse(mark[0]).state, ago(mark[2]))
        seen = self.looked.get(OLDEST)
        free = seen is not None and (seen.free, seen.generation == self.pinned.get(OLDEST))
        runs = tuple(self._run(run, ago) for run in RUNS)
        there = f"{MODELS}/{OLDEST}/{MANIFEST}" in self.store.objects
        return (there, expiry, OLDEST in self.pinned, free, OLDEST in self.taken, runs)

    def _run(self, name: str, ago: Callable[[int], int]) -> object:
        run = self.begun.get(name)
        return None if run is None else (bool(run.in_use), ago(round(datetime.fromisoformat(run.in_use_at).timestamp() * 1000)))

    def check(self) -> None:
        for version in {*self.taken, NEWEST}:
            assert f"{MODELS}/{version}/{MANIFEST}" in self.store.objects, f"{version} is in use and gone"
            assert f"{MODELS}/{version}/model.onnx" in self.store.objects


EVENTS: tuple[tuple[str, object], ...] = (
    *((name, OLDEST) for name in ("pin", "see", "take", "unpin")),
    *((name, run) for name in ("begin", "sweep") for run in RUNS),
    ("wait", 24),
)


def opened() -> Market:
    """Return the beginning: both bundles are there, nobody has done anything."""
    market = Market()
    for version in VERSIONS:
        for name in ("model.onnx", MANIFEST):
            market.store.put(f"{MODELS}/{version}/{name}", b"{}")
    return market


def explore(depth: int) -> int:
    """Let everything happen that can happen in ``depth`` events; return how many different states there are."""
    known, frontier = {opened().state()}, [opened()]
    for _ in range(depth):
        found = []
        for market in frontier:
            for name, argument in EVENTS:
                after = market.fork()
                getattr(after, name)(argument)
                after.check()
                if (state := after.state()) not in known:
                    known.add(state)
                    found.append(after)
        frontier = found
    return len(known)


def play(events: list[tuple[str, object]]) -> Market:
    market = opened()
    for name, argument in events:
        getattr(market, name)(argument)
        market.check()
    return market


def test_whatever_happens_in_whatever_order_nothing_in_use_goes() -> None:
    assert explore(12) > 500


MARKED = [("begin", "fx-1"), ("sweep", "fx-1"), ("wait", 24)]


def test_a_bundle_that_is_pinned_while_a_run_is_under_way_is_there_after_it() -> None:
    market = play([("begin", "fx-1"), ("pin", OLDEST), ("see", OLDEST), ("take", OLDEST), ("wait", 9), ("sweep", "fx-1")])
    assert market.taken == {OLDEST}
    market = play([*MARKED, ("begin", "fx-1"), ("pin", OLDEST), ("see", OLDEST), ("take", OLDEST), ("sweep", "fx-1")])
    assert market.taken == set(), "it was marked: nobody took it up, and it went"
    assert f"{MODELS}/{OLDEST}/{MANIFEST}" not in market.store.objects


def test_a_marked_bundle_that_is_pinned_before_the_next_run_is_spared_by_it() -> None:
    later = [("pin", OLDEST), ("see", OLDEST), ("take", OLDEST), ("begin", "fx-1"), ("sweep", "fx-1")]
    market = play([*MARKED, *later])
    assert market.taken == set(), "not yet"
    for name in ("see", "take"):
        getattr(market, name)(OLDEST)
    assert market.taken == {OLDEST}
    market.check()


def test_old_bundles_that_nobody_wants_do_go() -> None:
    market = play([*MARKED, ("begin", "fx-2"), ("sweep", "fx-2")])
    assert sorted({uri.split("/")[4] for uri in market.store.objects}) == [NEWEST]


@pytest.mark.parametrize(
    "without", ["a mark at all", "a mark before the look at what is in use", "a look by the rollout", "a look since the pin"]
)
def test_without_one_part_of_it_it_would_not_hold(monkeypatch: pytest.MonkeyPatch, without: str) -> None:
    """Prove that the exploration reaches the holes."""

    def at_once(store: ObjectStore, folder: str, by: str, *, used_ms: int, now_ms: int) -> bool:
        del store, folder, by, used_ms, now_ms
        return True

    def by_now(store: ObjectStore, folder: str, by: str, *, used_ms: int, now_ms: int) -> bool:
        del used_ms
        return take(store, folder, by, used_ms=now_ms, now_ms=now_ms)

    def blindly(market: Market, version: str) -> None:
        if version in market.pinned and f"{MODELS}/{version}/{MANIFEST}" in market.store.objects:
            market.taken.add(version)

    def from_memory(market: Market, version: str) -> None:
        if version in market.pinned and version in market.looked and market.looked[version].free:
            market.taken.add(version)

    if without in ("a mark at all", "a mark before the look at what is in use"):
        monkeypatch.setattr(walkforward_trainer.retention, "take", at_once if without == "a mark at all" else by_now)
    else:
        monkeypatch.setattr(Market, "take", blindly if without == "a look by the rollout" else from_memory)
    with pytest.raises(AssertionError, match="in use and gone"):
        explore(12)
