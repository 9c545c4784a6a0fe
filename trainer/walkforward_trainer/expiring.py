"""The marks of bundles that are about to go (:mod:`walkforward_core.expiry`), each change by compare-and-swap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from walkforward_core.errors import AlreadyExists, NotFound
from walkforward_core.expiry import EXPIRY, Expiry, ExpiryState

if TYPE_CHECKING:
    from walkforward_core.objectstore import ObjectHead, ObjectStore

__all__ = ["GONE_MS", "GRACE_MS", "mark", "spare", "take"]

GRACE_MS: Final = 3_600_000
"""A mark counts from an hour after it was written: clocks of the store and of the operator may differ, and a rollout may look twice."""
GONE_MS: Final = 86_400_000
"""Whoever has written nothing for so long is no longer at work."""


def mark(store: ObjectStore, folder: str, by: str) -> None:
    """Mark the bundle in ``folder`` (ends in a slash); one that is marked stays as it is, and so does one that is being removed.

    Raises
    ------
    StoreError, DocumentError
        The store did not do as asked; the mark there cannot be read.
    """
    found = _read(store, folder)
    if found is None or found[1].state is ExpiryState.SPARED:
        _swap(store, folder, found[0] if found else None, Expiry(state=ExpiryState.EXPIRING, by=by))


def take(store: ObjectStore, folder: str, by: str, *, used_ms: int, now_ms: int) -> bool:
    """Return whether the bundle in ``folder`` is the caller's to remove, which nobody can undo from then on.

    It is where the mark was there before ``used_ms``, when it was seen what is in use, or where a removal was left half done.
    """
    found = _read(store, folder)
    if found is None:
        return False
    head, expiry = found
    ripe = expiry.state is ExpiryState.EXPIRING and head.modified_ms + GRACE_MS < used_ms
    left = expiry.state is ExpiryState.REMOVING and head.modified_ms + GONE_MS < now_ms
    return (ripe or left) and _swap(store, folder, head, Expiry(state=ExpiryState.REMOVING, by=by))


def spare(store: ObjectStore, folder: str, by: str, *, now_ms: int) -> bool:
    """Take the mark back; return whether the bundle stays: false while a run removes it."""
    found = _read(store, folder)
    if found is None or found[1].state is ExpiryState.SPARED:
        return True
    head, expiry = found
    if expiry.state is ExpiryState.REMOVING and head.modified_ms + GONE_MS >= now_ms:
        return False
    return _swap(store, folder, head, Expiry(state=ExpiryState.SPARED, by=by))


def _read(store: ObjectStore, folder: str) -> tuple[ObjectHead, Expiry] | None:
    """Return the mark with its etag, None without one; the etag is read first, so that a swap fails where the content is newer."""
    uri = folder + EXPIRY
    try:
        return store.head(uri), Expiry.parse(store.get(uri), source=uri)
    except NotFound:
        return None


def _swap(store: ObjectStore, folder: str, head: ObjectHead | None, expiry: Expiry) -> bool:
    """Write the mark in the place of the one that was read; false where somebody else was faster."""
    try:
        if head is None:
            store.put(folder + EXPIRY, expiry.to_bytes(), create_only=True)
        else:
            store.put(folder + EXPIRY, expiry.to_bytes(), if_match=head.etag)
    except AlreadyExists:
        return False
    except NotFound:
        if head is None:
            raise
        return False
    return True
