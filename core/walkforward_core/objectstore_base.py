"""What an object store is to Walkforward, and how its addresses read.

Addresses are URIs: ``s3://bucket/key`` (the key taken as it stands) or ``file:///absolute/path`` (percent-encoded, as
``pathlib.Path.as_uri`` writes it). A prefix is a string prefix, as in S3: ``s3://b/a`` matches ``s3://b/ab``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from walkforward_core.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Location", "ObjectHead", "ObjectStore", "within"]


@dataclass(frozen=True, slots=True)
class ObjectHead:
    """An object without its bytes; ``etag`` is opaque, to be given back as ``if_match``; ``size`` in bytes.

    ``modified_ms`` is when it was written, epoch milliseconds by the store's clock (S3 tells whole seconds).
    """

    etag: str
    size: int
    modified_ms: int = 0


@dataclass(frozen=True, slots=True)
class Location:
    """A parsed address: ``place`` is the bucket (empty for files), ``key`` the rest without the leading slash."""

    scheme: str
    place: str
    key: str

    @classmethod
    def parse(cls, uri: str, *, prefix: bool = False) -> Location:
        """Return the parts of ``uri``; with ``prefix`` the key may be empty or end in a slash.

        Raises
        ------
        StoreError
            Not an ``s3://`` or ``file://`` URI, no bucket, no key, or a key with empty, ``.`` or ``..`` segments or control characters.
        """
        if any(character < " " or "\ud800" <= character <= "\udfff" for character in uri):
            raise StoreError(f"object URI {uri!r} has a character that no name has: write it without")
        scheme, separator, rest = uri.partition("://")
        if not separator or scheme not in {"s3", "file"}:
            raise StoreError(f"object URI {uri!r} has no known scheme: write s3://bucket/key or file:///absolute/path")
        place, _, key = rest.partition("/")
        if scheme == "s3" and not place:
            raise StoreError(f"object URI {uri!r} names no bucket: write s3://bucket/key")
        if scheme == "file" and place:
            raise StoreError(f"file URI {uri!r} names the host {place!r}: write file:///absolute/path, with three slashes")
        segments = key.removesuffix("/").split("/") if prefix else key.split("/")
        if (not prefix and not key) or ((key if prefix else True) and any(part in {"", ".", ".."} for part in segments)):
            raise StoreError(f"object URI {uri!r} has an empty, '.' or '..' part in its key {key!r}: name the object plainly")
        return cls(scheme=scheme, place=place, key=key)


class ObjectStore(Protocol):
    """Whole objects by URI, strongly consistent. Every method may be called from any thread and blocks its caller.

    Every method raises a :class:`walkforward_core.errors.StoreError`: ``NotFound``, ``AlreadyExists``, ``Forbidden`` or
    ``Unavailable`` (worth another try), whose message names bucket, key, endpoint, reason and the next step.
    """

    def get(self, uri: str, *, limit: int | None = None) -> bytes:
        """Return the bytes of the object; more than ``limit`` bytes are refused with a plain ``StoreError``."""
        ...

    def get_range(self, uri: str, start: int, length: int) -> bytes:
        """Return at most ``length`` bytes from ``start`` on, fewer where the object ends; a negative ``start`` counts from the end."""
        ...

    def put(self, uri: str, data: bytes, *, create_only: bool = False, if_match: str | None = None) -> str:
        """Write the object whole and return its new etag.

        ``create_only`` refuses an object that exists, ``if_match`` one whose etag has changed, both with ``AlreadyExists``;
        ``if_match`` on an object that is gone raises ``NotFound``. A reader sees the old bytes or the new, never a part.
        """
        ...

    def head(self, uri: str) -> ObjectHead:
        """Return etag and size of the object."""
        ...

    def list(self, prefix: str) -> list[str]:
        """Return the URIs of all objects that start with ``prefix``, in ascending order."""
        ...

    def delete(self, uri: str) -> None:
        """Remove the object; one that is not there is no error."""
        ...


def within(uri: str, roots: Iterable[str]) -> bool:
    """Return whether ``uri`` lies under one of the allowed ``roots``, at a path boundary.

    >>> within("s3://models/fx/v1/", ["s3://models/fx"]), within("s3://models/fx-evil/v1", ["s3://models/fx"])
    (True, False)
    >>> within("s3://models/fx/../other/v1", ["s3://models/fx/"])
    False
    """
    try:
        Location.parse(uri, prefix=True)
    except StoreError:
        return False
    return any(f"{uri.rstrip('/')}/".startswith(f"{root.rstrip('/')}/") for root in roots if root)
