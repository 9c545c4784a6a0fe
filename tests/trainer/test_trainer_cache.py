"""The cache: what is in it is what the store has now, whole, and no more than was allowed."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import pytest

from walkforward_core.api.data import DataFormat
from walkforward_core.objectstore import ObjectHead
from walkforward_trainer.data.cache import Cache, cache_of
from walkforward_trainer.data.snapshot import contents
from walkforward_trainer.data.sources import Access, Source, Span, listing
from walkforward_trainer.errors import BadConfiguration, Reason

if TYPE_CHECKING:
    from pathlib import Path

URI = "s3://bars/fx/a.csv"
HEAD = ObjectHead(etag='"e1"', size=5)
KEPT = 32 + 5


def cached(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.endswith(".object"))


class Objects:
    """Objects of a made store whose etags say nothing about their bytes; counts what is read."""

    def __init__(self, data: bytes) -> None:
        self.etag, self.data, self.reads = 1, data, 0

    def write(self, data: bytes) -> None:
        self.etag, self.data = self.etag + 1, data

    def list(self, prefix: str) -> list[str]:
        return [URI]

    def head(self, uri: str) -> ObjectHead:
        return ObjectHead(etag=f'"v{self.etag}"', size=len(self.data))

    def get(self, uri: str, *, limit: int | None = None) -> bytes:
        self.reads += 1
        return self.data

    def get_range(self, uri: str, start: int, length: int) -> bytes:
        return self.data[start : start + length]

    def put(self, uri: str, data: bytes, *, create_only: bool = False, if_match: str | None = None) -> str:
        raise NotImplementedError

    def delete(self, uri: str) -> None:
        raise NotImplementedError


def read(store: Objects, folder: Path) -> bytes:
    access = Access(allow_file=False, env={"WALKFORWARD_CACHE_DIR": str(folder)}, stores={"s3": store})
    source = Source("data", URI, DataFormat.CSV)
    ((_, data),) = contents(access, source, listing(access, source, Span(0)))
    return data


def test_an_object_is_read_once_until_it_changes(tmp_path: Path) -> None:
    store = Objects(b"one")
    assert [read(store, tmp_path / "cache") for _ in range(3)] == [b"one"] * 3
    assert store.reads == 1
    store.write(b"two")  # as long as before
    assert [read(store, tmp_path / "cache") for _ in range(2)] == [b"two"] * 2
    assert store.reads == 2
    store.etag -= 1  # the old etag again, with other bytes of another size: no store does it, and it is noticed
    store.data = b"three"
    assert read(store, tmp_path / "cache") == b"three"


def test_an_entry_is_of_its_address_etag_and_size(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 1_000)
    cache.put(URI, HEAD, b"12345")
    assert cache.get(URI, HEAD) == b"12345"
    for uri, head in ((f"{URI}2", HEAD), (URI, ObjectHead(etag='"e2"', size=5)), (URI, ObjectHead(etag='"e1"', size=6))):
        assert cache.get(uri, head) is None


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b + b"x", lambda b: b[:-1] + b"x", lambda b: b"x" + b[1:], lambda _: b""])
def test_a_damaged_entry_is_thrown_away(tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: object) -> None:
    cache = Cache(tmp_path, 1_000)
    cache.put(URI, HEAD, b"12345")
    (path,) = cached(tmp_path)
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    with caplog.at_level(logging.WARNING):
        assert cache.get(URI, HEAD) is None
    assert "is damaged; it is removed and read again from s3://bars/fx/a.csv" in caplog.text
    assert cached(tmp_path) == []


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 3 * KEPT)
    for number in range(3):
        cache.put(f"{URI}{number}", HEAD, b"12345")
        (newest,) = [path for path in cached(tmp_path) if path.stat().st_mtime > 1_000_000]
        os.utime(newest, (number, number))
    assert cache.get(f"{URI}0", HEAD)  # used just now, so it stays
    cache.put(f"{URI}3", HEAD, b"12345")
    assert [bool(cache.get(f"{URI}{number}", HEAD)) for number in range(4)] == [True, False, True, True]
    cache.put(f"{URI}4", ObjectHead(etag='"e1"', size=3 * KEPT), bytes(3 * KEPT))
    assert len(cached(tmp_path)) == 3
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 3 * KEPT


def test_a_run_goes_on_without_a_cache_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = Objects(b"one")
    with caplog.at_level(logging.WARNING):
        assert read(store, tmp_path / "file" / "cache") == b"one"
    assert "is not kept" in caplog.text


def test_files_of_this_machine_are_not_copied(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"one")
    access = Access(allow_file=True, env={"WALKFORWARD_CACHE_DIR": str(tmp_path / "cache")})
    source = Source("data", (tmp_path / "a.csv").as_uri(), DataFormat.CSV)
    assert [data for _, data in contents(access, source, listing(access, source, Span(0)))] == [b"one"]
    assert not (tmp_path / "cache").exists()


def test_the_environment_says_where_and_how_much(tmp_path: Path) -> None:
    assert cache_of({}) is None
    assert cache_of({"WALKFORWARD_CACHE_DIR": ""}) is None
    cache = cache_of({"WALKFORWARD_CACHE_DIR": str(tmp_path), "WALKFORWARD_CACHE_MIB": "2"})
    assert cache is not None
    assert (cache.folder, cache.limit) == (tmp_path, 2 << 20)
    with pytest.raises(BadConfiguration, match="WALKFORWARD_CACHE_MIB '4Gi' is no number of MiB") as caught:
        Access(allow_file=False, env={"WALKFORWARD_CACHE_DIR": "/x", "WALKFORWARD_CACHE_MIB": "4Gi"})
    assert caught.value.reason is Reason.SPEC_INVALID
