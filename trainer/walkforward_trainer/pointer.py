"""A small object that says which of many is the newest, moved by compare-and-swap and only forward in market time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from walkforward_core.errors import AlreadyExists, NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from walkforward_core.objectstore import ObjectStore

__all__ = ["move_forward"]

ATTEMPTS: Final = 32
"""Each lost attempt means that another writer has won one, so this many writers at once are served."""


def move_forward(store: ObjectStore, uri: str, data: bytes, *, later: Callable[[bytes], bool]) -> bool:
    """Write ``data`` at ``uri`` unless ``later`` says of the bytes there that they are of a later time; true when it was written.

    Raises
    ------
    Unavailable
        Other writers were faster every time.
    StoreError
        The store did not do as asked.
    """
    for _ in range(ATTEMPTS):
        try:
            etag = store.head(uri).etag
            if later(store.get(uri)):
                return False
        except NotFound:
            etag = ""
        try:
            if etag:
                store.put(uri, data, if_match=etag)
            else:
                store.put(uri, data, create_only=True)
        except (AlreadyExists, NotFound) as error:
            if not etag and isinstance(error, NotFound):  # no bucket, no folder: another try does not make one
                raise
        else:
            return True
    raise Unavailable(f"write {uri}: other writers moved it {ATTEMPTS} times in between; try again")
