from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from objectstore_contract import ObjectStoreContract

from walkforward_core.errors import Forbidden, StoreError, Unavailable
from walkforward_core.objectstore import FileStore, ObjectStore, S3Store, open_store, within

if TYPE_CHECKING:
    from pathlib import Path


class TestFileStore(ObjectStoreContract):
    @pytest.fixture
    def store(self) -> ObjectStore:
        return open_store("file:///", allow_file=True)

    @pytest.fixture
    def base(self, tmp_path: Path) -> str:
        return tmp_path.as_uri()


def test_half_written_files_are_neither_listed_nor_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FileStore()
    store.put(f"{tmp_path.as_uri()}/x", b"old")

    def full(_: int) -> None:
        seen.extend(path.name for path in tmp_path.iterdir())
        assert store.list(f"{tmp_path.as_uri()}/") == [f"{tmp_path.as_uri()}/x"]
        raise OSError(28, "No space left on device")

    seen: list[str] = []
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left"):
        store.put(f"{tmp_path.as_uri()}/x", b"new")
    assert len(seen) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert store.get(f"{tmp_path.as_uri()}/x") == b"old"


@pytest.mark.parametrize("where", ["x/y", "x/deep/er/y"])
@pytest.mark.parametrize("condition", [{}, {"create_only": True}, {"if_match": "0"}])
def test_a_file_on_the_way_is_no_object_that_exists(tmp_path: Path, where: str, condition: dict[str, Any]) -> None:
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(StoreError, match="a part of its path is a file, not a folder") as caught:
        FileStore().put(f"{tmp_path.as_uri()}/{where}", b"", **condition)
    assert type(caught.value) is StoreError


def test_where_no_folder_can_be_made_nothing_is_missing() -> None:
    with pytest.raises(Forbidden, match="no folder can be made there; choose another path"):
        FileStore().put("file:///proc/nowhere/x", b"", if_match="0")


def test_encoded_climbing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="plainly"):
        FileStore().get(f"{tmp_path.as_uri()}/%2e%2e/x")
    with pytest.raises(StoreError, match="plainly"):
        FileStore().get(f"{tmp_path.as_uri()}/a%2f%2e%2e%2fx")


def test_files_are_refused_where_they_are_not_allowed() -> None:
    with pytest.raises(Forbidden, match="s3://"):
        open_store("file:///models/fx", allow_file=False)


@pytest.mark.parametrize("uri", ["http://x/y", "models/fx", "s3://", "s3:///key", "file://host/x", ""])
def test_addresses_of_other_kinds_are_refused(uri: str) -> None:
    with pytest.raises(StoreError, match="URI"):
        open_store(uri, allow_file=True)


def test_each_store_refuses_the_other_scheme(tmp_path: Path) -> None:
    s3 = open_store("s3://models", allow_file=False, env={})
    assert isinstance(s3, S3Store)
    with pytest.raises(StoreError, match="not an s3"):
        s3.get(f"{tmp_path.as_uri()}/x")
    with pytest.raises(StoreError, match="not a file"):
        FileStore().get("s3://models/x")


def test_within_keeps_to_path_boundaries() -> None:
    roots = ["s3://models/fx", "s3://other/"]
    assert within("s3://models/fx", roots)
    assert within("s3://models/fx/v1/manifest.json", roots)
    assert within("s3://other/v1", roots)
    assert not within("s3://models/fx2/v1", roots)
    assert not within("s3://others/v1", roots)
    assert not within("s3://models/fx/../y", roots)
    assert not within("s3://models/fx", [""])
    assert not within("http://models/fx", roots)
