"""The one way to objects: ``open_store``, and ``create`` for objects that are written once.

All calls block; asynchronous callers use a thread pool of their own.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from walkforward_core.errors import AlreadyExists, Forbidden, NotFound, Unavailable
from walkforward_core.objectstore_base import Location, ObjectHead, ObjectStore, within
from walkforward_core.objectstore_file import FileStore
from walkforward_core.objectstore_s3 import S3Settings, S3Store

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FileStore", "ObjectHead", "ObjectStore", "S3Settings", "S3Store", "create", "open_store", "within"]


def open_store(uri: str, *, allow_file: bool, env: Mapping[str, str] = os.environ, settings: S3Settings | None = None) -> ObjectStore:
    """Return the store that ``uri`` (any address or prefix in it) lives in.

    Parameters
    ----------
    uri:
        ``s3://bucket/…`` or ``file:///…``; only its scheme is looked at, so one store serves all buckets.
    allow_file:
        Whether files of this machine may be read and written: true on a laptop, false in the cluster.
    env:
        Where credentials, region and endpoint are read from (``AWS_*``).
    settings:
        Time limits and attempts; the default is 2 s to connect, 5 s between bytes, 2 attempts.

    Raises
    ------
    Forbidden
        A ``file://`` URI where files are not allowed.
    StoreError
        Neither ``s3://`` nor ``file://``.
    """
    if Location.parse(uri, prefix=True).scheme == "s3":
        return S3Store(env, settings)
    if not allow_file:
        raise Forbidden(f"object URI {uri!r}: files of a pod are not shared and do not last; use s3:// here")
    return FileStore()


def create(store: ObjectStore, uri: str, data: bytes) -> bool:
    """Write an object that is written once; true when this call wrote it, false when these very bytes are there already.

    An attempt whose answer was lost may have written: then the repeated one is refused, though nobody else wrote.

    Raises
    ------
    AlreadyExists
        Other bytes are there.
    """
    try:
        store.put(uri, data, create_only=True)
    except AlreadyExists:
        try:
            same = store.get(uri) == data
        except NotFound as gone:  # a conflicting write was under way, and failed or was removed
            raise Unavailable(f"write {uri}: another writer was in the way and left nothing; try again") from gone
        if not same:
            raise
        return False
    return True
