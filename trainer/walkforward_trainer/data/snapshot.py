"""Objects as they were when the list was taken, while writers go on: each is held to its etag, or to what it is at a second look."""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from walkforward_core.errors import NotFound
from walkforward_trainer.data.sources import READERS, changed, head_of
from walkforward_trainer.errors import Reason, Transient
from walkforward_trainer.stages import store_errors

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from walkforward_core.objectstore import ObjectHead, ObjectStore
    from walkforward_trainer.data.sources import Access, Entry, Source

__all__ = ["contents", "copy_together"]

AHEAD: Final = 1 << 26
"""Bytes that are fetched before they are needed."""
PIECE: Final = 1 << 25
"""Bytes of one request of a copy."""


def contents(access: Access, source: Source, entries: Sequence[Entry]) -> Generator[tuple[Entry, bytes]]:
    """Yield each entry with its bytes as they were when the list was taken; one that changed since is read once more.

    While one is worked on the next ones are fetched, as many as are small.

    Raises
    ------
    Transient
        An object changes while it is read, or is gone; the store does not answer.
    BadConfiguration
        It may not be read.
    """
    with ThreadPoolExecutor(READERS) as pool:
        ahead: deque[tuple[Entry, Future[bytes]]] = deque()
        position = 0
        while position < len(entries) or ahead:
            while position < len(entries) and _fits(entries[position], [entry for entry, _ in ahead]):
                ahead.append((entries[position], pool.submit(_content, access, source, entries[position])))
                position += 1
            entry, future = ahead.popleft()
            yield entry, future.result()
            del future


def _fits(entry: Entry, ahead: Sequence[Entry]) -> bool:
    """Return whether ``entry`` may be fetched beside those that are under way."""
    return not ahead or (len(ahead) < READERS and sum(other.head.size for other in ahead) + entry.head.size <= AHEAD)


def _content(access: Access, source: Source, entry: Entry) -> bytes:
    store = access.store(entry.uri, source.field)
    # a file of this machine is as near as the cache
    cache = None if entry.uri.startswith("file:") else access.cache
    kept = cache.get(entry.uri, entry.head) if cache else None
    if kept is not None:
        return kept
    with store_errors(f"{source.field}.uri"):
        for head in (entry.head, None):
            found = _unchanged(store, entry.uri, head)
            if found is not None:
                if cache:
                    cache.put(entry.uri, *found)
                return found[1]
    raise changed(source, entry.uri)


def copy_together(access: Access, source: Source, files: Mapping[str, Path]) -> None:
    """Copy objects to files as all of them stood at one moment; one that is not there is left out.

    Raises
    ------
    Transient
        They change while they are copied, or the disk is full.
    BadConfiguration
        They may not be read.
    """
    store = access.store(source.uri, source.field)
    with store_errors(f"{source.field}.uri"):
        for _ in range(2):
            before = [head_of(store, uri) for uri in files]
            whole = all(_download(store, uri, head, path) for (uri, path), head in zip(files.items(), before, strict=True))
            if whole and before == [head_of(store, uri) for uri in files]:
                return
    raise changed(source, source.uri)


def _download(store: ObjectStore, uri: str, head: ObjectHead | None, path: Path) -> bool:
    """Copy an object piece by piece; false where it does not have the size any more that it had."""
    path.unlink(missing_ok=True)
    if head is None:
        return True
    try:
        with path.open("wb") as file:
            while file.tell() < head.size:
                piece = store.get_range(uri, file.tell(), PIECE)
                if not piece:
                    return False
                file.write(piece)
            return file.tell() == head.size
    except NotFound:
        return False
    except OSError as error:
        raise Transient(
            Reason.NO_SPACE, f"{path.parent}: {error.strerror} while {uri} ({head.size} bytes) was copied there; give the run a larger /tmp"
        ) from error


def _unchanged(store: ObjectStore, uri: str, head: ObjectHead | None) -> tuple[ObjectHead, bytes] | None:
    """Return the object's bytes if they are those of ``head``; without it, of what is there now. None where they are not."""
    try:
        head = head or store.head(uri)
        data = store.get(uri)
        if len(data) == head.size and (_proves(head.etag, data) or _same(store.head(uri), head)):
            return head, data
    except NotFound:
        pass
    return None


def _proves(etag: str, data: bytes) -> bool:
    """Return whether ``etag`` is a digest of ``data``: sha256 of a file, usually MD5 in S3. Otherwise the object is looked at again."""
    digest = etag.strip('"')
    if len(digest) == 64:
        return hashlib.sha256(data).hexdigest() == digest
    return len(digest) == 32 and hashlib.md5(data, usedforsecurity=False).hexdigest() == digest


def _same(one: ObjectHead, other: ObjectHead) -> bool:
    return (one.etag, one.size) == (other.etag, other.size)
