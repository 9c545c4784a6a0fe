"""The object store, called from a small thread pool of its own: a store that hangs takes no other thread with it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from walkforward_core import objectstore

if TYPE_CHECKING:
    from collections.abc import Callable

    from walkforward_core.objectstore import ObjectStore

__all__ = ["Objects"]

T = TypeVar("T")
_THREADS: Final = 4


class Objects:
    """Asynchronous reads and create-only writes; every method raises a :class:`walkforward_core.errors.StoreError`."""

    def __init__(self, uri: str, *, allow_file: bool) -> None:
        self._uri = uri
        self._allow_file = allow_file
        self._store: ObjectStore | None = None
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="objects")

    async def read(self, uri: str, *, limit: int) -> bytes:
        """Return the bytes of an object of at most ``limit`` bytes."""
        return await self._run(lambda store: store.get(uri, limit=limit))

    async def create(self, uri: str, data: bytes) -> bool:
        """Write an object that is written once; false where these bytes are there already, ``AlreadyExists`` where others are."""
        return await self._run(lambda store: objectstore.create(store, uri, data))

    async def list(self, prefix: str) -> list[str]:
        """Return the URIs that start with ``prefix``, sorted."""
        return await self._run(lambda store: store.list(prefix))

    def close(self) -> None:
        """Let running calls end, take no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _run(self, call: Callable[[ObjectStore], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: call(self._open()))

    def _open(self) -> ObjectStore:
        if self._store is None:  # two threads may both open it: one of the two is dropped
            self._store = objectstore.open_store(self._uri, allow_file=self._allow_file)
        return self._store
