"""What every object store must do; a test module gives the fixtures ``store`` and ``base`` of one kind of store."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from walkforward_core.errors import AlreadyExists, NotFound, StoreError
from walkforward_core.objectstore import create

if TYPE_CHECKING:
    from walkforward_core.objectstore import ObjectStore


class ObjectStoreContract:
    """``base`` is the URI of an empty place, without a trailing slash."""

    def test_bytes_come_back_as_they_were(self, store: ObjectStore, base: str) -> None:
        data = bytes(range(256)) * 5_000
        store.put(f"{base}/a/model.onnx", data)
        store.put(f"{base}/a/empty", b"")
        assert store.get(f"{base}/a/model.onnx") == data
        assert store.get(f"{base}/a/empty") == b""
        assert store.head(f"{base}/a/model.onnx").size == len(data)

    def test_a_range_ends_where_the_object_does(self, store: ObjectStore, base: str) -> None:
        data = bytes(range(256)) * 40
        store.put(f"{base}/x", data)
        assert store.get_range(f"{base}/x", 1_000, 300) == data[1_000:1_300]
        assert store.get_range(f"{base}/x", -100, 100) == data[-100:]
        assert store.get_range(f"{base}/x", -100, 10) == data[-100:-90]
        assert store.get_range(f"{base}/x", len(data) - 5, 100) == data[-5:]
        assert store.get_range(f"{base}/x", -(10**6), 10**6) == data
        assert store.get_range(f"{base}/x", len(data) + 5, 100) == b""
        with pytest.raises(NotFound, match="nothing-here"):
            store.get_range(f"{base}/nothing-here", 0, 1)

    def test_a_put_replaces_and_changes_the_etag(self, store: ObjectStore, base: str) -> None:
        first = store.put(f"{base}/x", b"1")
        second = store.put(f"{base}/x", b"2")
        assert first != second
        assert store.head(f"{base}/x").etag == second
        assert store.get(f"{base}/x") == b"2"

    def test_the_time_of_an_object_is_that_of_its_newest_write(self, store: ObjectStore, base: str) -> None:
        before = time.time_ns() // 1_000_000
        store.put(f"{base}/x", b"1")
        after = time.time_ns() // 1_000_000
        # S3 tells whole seconds
        assert before - 1_000 <= store.head(f"{base}/x").modified_ms <= after + 1_000

    def test_missing_objects_are_not_found(self, store: ObjectStore, base: str) -> None:
        for call in (store.get, store.head):
            with pytest.raises(NotFound, match="nothing-here"):
                call(f"{base}/nothing-here")

    def test_create_only_never_overwrites(self, store: ObjectStore, base: str) -> None:
        store.put(f"{base}/x", b"1", create_only=True)
        with pytest.raises(AlreadyExists, match="/x"):
            store.put(f"{base}/x", b"2", create_only=True)
        assert store.get(f"{base}/x") == b"1"

    def test_of_many_creators_one_wins(self, store: ObjectStore, base: str) -> None:
        def attempt(number: int) -> bool:
            try:
                store.put(f"{base}/race", str(number).encode(), create_only=True)
            except AlreadyExists:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            wins = list(pool.map(attempt, range(16)))
        assert wins.count(True) == 1
        assert store.get(f"{base}/race") == str(wins.index(True)).encode()

    def test_a_write_is_refused_when_the_object_has_changed(self, store: ObjectStore, base: str) -> None:
        read = store.put(f"{base}/x", b"1")
        store.put(f"{base}/x", b"2", if_match=read)
        with pytest.raises(AlreadyExists, match="changed"):
            store.put(f"{base}/x", b"3", if_match=read)
        assert store.get(f"{base}/x") == b"2"
        with pytest.raises(NotFound):
            store.put(f"{base}/gone", b"3", if_match=read)

    def test_list_is_by_string_prefix_and_sorted(self, store: ObjectStore, base: str) -> None:
        names = ["a/2", "a/10", "ab", "b/1", "a/sub/deeper/3"]
        for name in names:
            store.put(f"{base}/{name}", b".")
        assert store.list(f"{base}/") == [f"{base}/{name}" for name in sorted(names)]
        assert store.list(f"{base}/a/") == [f"{base}/{name}" for name in ("a/10", "a/2", "a/sub/deeper/3")]
        assert store.list(f"{base}/a") == [f"{base}/{name}" for name in ("a/10", "a/2", "a/sub/deeper/3", "ab")]
        assert store.list(f"{base}/a/1") == [f"{base}/a/10"]
        assert store.list(f"{base}/none/") == []

    def test_list_gives_every_page(self, store: ObjectStore, base: str) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: store.put(f"{base}/ledger/{number:06}.json", b"{}"), range(1_005)))
        assert store.list(f"{base}/ledger/") == [f"{base}/ledger/{number:06}.json" for number in range(1_005)]

    def test_delete_is_idempotent(self, store: ObjectStore, base: str) -> None:
        store.put(f"{base}/d/x", b"1")
        store.delete(f"{base}/d/x")
        store.delete(f"{base}/d/x")
        store.delete(f"{base}/never/was")
        assert store.list(f"{base}/") == []

    def test_names_with_spaces_and_letters_of_other_scripts(self, store: ObjectStore, base: str) -> None:
        uri = f"{base}/a%20b+c=d.json" if base.startswith("file:") else f"{base}/a b+c=d.json"
        store.put(uri, b"1")
        assert [store.get(found) for found in store.list(f"{base}/")] == [b"1"]

    def test_more_bytes_than_accepted_are_refused_unread(self, store: ObjectStore, base: str) -> None:
        store.put(f"{base}/big", b"12345")
        assert store.get(f"{base}/big", limit=5) == b"12345"
        with pytest.raises(StoreError, match="5 bytes, at most 4"):
            store.get(f"{base}/big", limit=4)

    def test_create_tells_own_bytes_from_others(self, store: ObjectStore, base: str) -> None:
        assert create(store, f"{base}/m", b"1")
        assert not create(store, f"{base}/m", b"1")
        with pytest.raises(AlreadyExists):
            create(store, f"{base}/m", b"2")

    def test_addresses_that_climb_are_refused(self, store: ObjectStore, base: str) -> None:
        for bad in (f"{base}/../x", f"{base}//x", f"{base}/./x", f"{base}/x/"):
            with pytest.raises(StoreError, match="plainly"):
                store.get(bad)
