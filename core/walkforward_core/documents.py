"""Base of every JSON document that passes between the parts.

A document carries ``schema: walkforward.dev/<name>/v<major>``. Unknown fields are ignored, so that an older reader
understands a newer writer; an unknown name or major is refused. Floats are finite: JSON knows no NaN.
"""

from __future__ import annotations

import hashlib
from typing import ClassVar, Self, TypeVar

import msgspec

from walkforward_core.errors import DocumentError

__all__ = ["Document", "Part", "decode", "digest", "encode"]

GROUP = "walkforward.dev"
T = TypeVar("T")


class Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=False):
    """A nested object of a document: immutable, camel case on the wire, unknown fields ignored."""


class Document(Part, frozen=True, kw_only=True):
    """A top level document; subclasses name themselves in ``NAME`` and give ``schema`` as their first field."""

    NAME: ClassVar[str]

    schema: str = ""

    def __post_init__(self) -> None:
        """Fill in the schema of a document made in code, refuse a foreign one."""
        expected = f"{GROUP}/{self.NAME}/v1"
        if not self.schema:
            msgspec.structs.force_setattr(self, "schema", expected)
        elif self.schema != expected:
            raise ValueError(f"schema is {self.schema!r}, this reader understands {expected!r}: upgrade the older side")

    @classmethod
    def parse(cls, data: bytes, *, source: str = "") -> Self:
        """Return the document in ``data``; ``source`` names where the bytes came from in the error."""
        return decode(cls, data, source=source or cls.NAME)

    def to_bytes(self) -> bytes:
        """Return the canonical bytes: fields in declared order, no white space."""
        return encode(self)


def encode(value: object) -> bytes:
    """Return ``value`` as compact JSON in declared field order, the form that digests are taken over."""
    return msgspec.json.encode(value)


def decode(kind: type[T], data: bytes, *, source: str) -> T:
    """Return ``data`` as a ``kind``.

    Raises
    ------
    DocumentError
        The bytes are not JSON, or a field has another type than its contract; the message has the field's path.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DocumentError(f"{source}: {error} (starts with {data[:60]!r}); write it again with the version that reads it") from error


def digest(data: bytes) -> str:
    """Return ``sha256:<hex>`` of ``data``, the form in which every digest is written.

    >>> digest(b"")
    'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
    """
    return "sha256:" + hashlib.sha256(data).hexdigest()
