"""An early look at where a run will write: a bucket that is not there, or not to be written to, is told before anything is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from walkforward_core.errors import AlreadyExists, NotFound, StoreError

if TYPE_CHECKING:
    from walkforward_core.objectstore import ObjectStore

__all__ = ["check_writable"]

NO_ETAG: Final = "0" * 32
"""No object has it, so a write that asks for it is refused by whoever may write, and by whoever may not."""


def check_writable(store: ObjectStore, uri: str) -> None:
    """Hold ``store`` to taking a write at ``uri``, an object that the run writes later, and leave nothing behind.

    The write asks for an object that there is not. Every store looks at the right to write first, so the answer of one that would take it
    is that the condition does not hold. It takes no right that a run does without: it reads, lists and writes below ``artifacts.uri``.

    Raises
    ------
    StoreError
        No such bucket, no right to write, or no answer; or the store does not know conditions, which hold a bundle together.
    """
    try:
        store.put(uri, b"", if_match=NO_ETAG)
    except AlreadyExists:
        return
    except NotFound:
        # the object, or the bucket: of a bucket that is there a listing is empty
        store.list(uri)
        return
    raise StoreError(
        f"write {uri}: the store took a write whose condition (If-Match) did not hold, so that two runs could write over each other; "
        "use a store with conditional writes"
    )
