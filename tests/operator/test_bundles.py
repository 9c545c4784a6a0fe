"""Bundles are read in the background, count only with the promised digest, and are cached."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from rollout_world import bundle
from virtual_time import run_virtual

from walkforward_core.bundle import FeatureReference, FileRecord, Reference
from walkforward_core.documents import digest
from walkforward_core.errors import NotFound, StoreError, Unavailable
from walkforward_operator.bundles import Bundles, Missing
from walkforward_operator.rollout.model import Bundle

FOLDER = "s3://models/fx/v1/"
FEATURE = FeatureReference(name="a", edges=tuple(float(edge) for edge in range(9)), counts=(10,) * 10)
REFERENCE = Reference(rows=100, null_m={}, features=(FEATURE,), score=FEATURE).to_bytes()


def manifest(reference: bytes = REFERENCE, **files: FileRecord) -> bytes:
    records = {
        "model.onnx": FileRecord(sha256="ab" * 32, size=1),
        "reference.json": FileRecord(sha256=hashlib.sha256(reference).hexdigest(), size=len(reference)),
    }
    return bundle("v1", files=files or records).manifest.to_bytes()


class Store:
    def __init__(self, objects: dict[str, bytes]) -> None:
        self.objects = objects
        self.reads: list[str] = []
        self.error: StoreError | None = None

    async def read(self, uri: str, *, limit: int) -> bytes:
        await asyncio.sleep(0.1)
        self.reads.append(uri)
        if self.error is not None:
            raise self.error
        if uri not in self.objects:
            raise NotFound(f"read {uri}: no such object")
        return self.objects[uri]


class Woken:
    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self) -> None:
        self.times.append(round(asyncio.get_running_loop().time(), 3))


def whole() -> Store:
    return Store({f"{FOLDER}manifest.json": manifest(), f"{FOLDER}reference.json": REFERENCE})


def test_first_nothing_then_the_manifest_then_the_bins() -> None:
    async def main() -> None:
        store, woken = whole(), Woken()
        bundles = Bundles(store, ("s3://models/",))
        first = bundles.get(FOLDER, digest(manifest()), reference=True, wake=woken)
        assert isinstance(first, Missing)
        assert first.fresh
        await asyncio.sleep(0.15)
        second = bundles.get(FOLDER, digest(manifest()), reference=True, wake=woken)
        assert isinstance(second, Bundle)
        assert second.reference is None
        await asyncio.sleep(0.15)
        third = bundles.get(FOLDER, digest(manifest()), reference=True, wake=woken)
        assert isinstance(third, Bundle)
        assert third.reference is not None
        assert third.ref.model == "sha256:" + "ab" * 32
        assert woken.times == [0.1, 0.25]
        for _ in range(10):
            bundles.get(FOLDER, digest(manifest()), reference=True, wake=woken)
        await asyncio.sleep(10)
        assert len(store.reads) == 2

    run_virtual(main())


def test_many_who_want_one_bundle_read_it_once_and_are_all_woken() -> None:
    async def main() -> None:
        store = whole()
        bundles = Bundles(store, ("s3://models/",))
        wakes = [Woken() for _ in range(5)]
        for wake in wakes:
            bundles.get(FOLDER, digest(manifest()), reference=False, wake=wake)
        await asyncio.sleep(1)
        assert len(store.reads) == 1
        assert all(len(wake.times) == 1 for wake in wakes)

    run_virtual(main())


@pytest.mark.parametrize(
    ("objects", "says"),
    [
        ({}, "no such object"),
        ({f"{FOLDER}manifest.json": manifest() + b" "}, "promised was"),
    ],
)
def test_what_is_not_as_promised_is_said_and_asked_for_again(objects: dict[str, bytes], says: str) -> None:
    async def main() -> None:
        store, woken = Store(objects), Woken()
        bundles = Bundles(store, ("s3://models/",))
        bundles.get(FOLDER, digest(manifest()), reference=False, wake=woken)
        await asyncio.sleep(0.2)
        found = bundles.get(FOLDER, digest(manifest()), reference=False, wake=woken)
        assert isinstance(found, Missing)
        assert says in found.message
        assert not found.fresh
        assert len(store.reads) == 1, "not again at once"
        store.objects = whole().objects
        await asyncio.sleep(1)
        bundles.get(FOLDER, digest(manifest()), reference=False, wake=woken)
        await asyncio.sleep(0.2)
        assert isinstance(bundles.get(FOLDER, digest(manifest()), reference=False, wake=woken), Bundle)

    run_virtual(main())


def test_a_manifest_without_model_or_bins_is_refused() -> None:
    async def main() -> None:
        data = manifest(**{"model.onnx": FileRecord(sha256="ab" * 32, size=1)})
        bundles = Bundles(Store({f"{FOLDER}manifest.json": data}), ("s3://models/",))
        bundles.get(FOLDER, digest(data), reference=False, wake=Woken())
        await asyncio.sleep(0.2)
        found = bundles.get(FOLDER, digest(data), reference=False, wake=Woken())
        assert isinstance(found, Missing)
        assert "does not list reference.json" in found.message

    run_virtual(main())


def test_bins_that_the_manifest_does_not_vouch_for_never_count() -> None:
    async def main() -> None:
        store = whole()
        store.objects[f"{FOLDER}reference.json"] = REFERENCE + b" "
        bundles = Bundles(store, ("s3://models/",))
        for _ in range(5):
            found = bundles.get(FOLDER, digest(manifest()), reference=True, wake=Woken())
            await asyncio.sleep(5)
        assert isinstance(found, Bundle)
        assert found.reference is None

    run_virtual(main())


def test_outside_of_the_roots_nothing_is_read() -> None:
    async def main() -> None:
        store = whole()
        found = Bundles(store, ("s3://models/gold/",)).get(FOLDER, digest(manifest()), reference=False, wake=Woken())
        assert isinstance(found, Missing)
        assert "outside" in found.message
        await asyncio.sleep(1)
        assert store.reads == []

    run_virtual(main())


def test_a_store_that_is_away_is_asked_less_and_less() -> None:
    async def main() -> None:
        store = whole()
        store.error = Unavailable("away")
        bundles = Bundles(store, ("s3://models/",))
        for _ in range(1200):
            bundles.get(FOLDER, digest(manifest()), reference=False, wake=Woken())
            await asyncio.sleep(0.1)
        assert 5 <= len(store.reads) <= 9
        store.error = None
        await asyncio.sleep(31)
        bundles.get(FOLDER, digest(manifest()), reference=False, wake=Woken())
        await asyncio.sleep(0.2)
        assert isinstance(bundles.get(FOLDER, digest(manifest()), reference=False, wake=Woken()), Bundle)

    run_virtual(main())


def test_the_cache_has_an_end() -> None:
    async def main() -> None:
        data = {name: bundle(name, files=bundle_files()).manifest.to_bytes() for name in ("v1", "v2", "v3")}
        store = Store({f"s3://models/fx/{name}/manifest.json": text for name, text in data.items()})
        bundles = Bundles(store, ("s3://models/",), manifests=2)
        for name, text in data.items():
            bundles.get(f"s3://models/fx/{name}/", digest(text), reference=False, wake=Woken())
            await asyncio.sleep(0.2)
        assert isinstance(bundles.get("s3://models/fx/v1/", digest(data["v1"]), reference=False, wake=Woken()), Missing)
        assert isinstance(bundles.get("s3://models/fx/v3/", digest(data["v3"]), reference=False, wake=Woken()), Bundle)

    run_virtual(main())


def bundle_files() -> dict[str, FileRecord]:
    return {"model.onnx": FileRecord(sha256="ab" * 32, size=1), "reference.json": FileRecord(sha256="cd" * 32, size=1)}
