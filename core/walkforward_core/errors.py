"""Exceptions of the shared documents and stores.

WalkforwardError
├── DocumentError          bytes that are not the document they claim to be
├── IntegrityError         bytes whose digest differs from the one that was promised
└── StoreError             the object store did not do as asked
    ├── NotFound           no such object
    ├── AlreadyExists      create-only write met an object
    ├── Forbidden          credentials or prefix do not allow it
    └── Unavailable        unreachable, throttled or failing; worth another try
"""

from __future__ import annotations

__all__ = ["AlreadyExists", "DocumentError", "Forbidden", "IntegrityError", "NotFound", "StoreError", "Unavailable", "WalkforwardError"]


class WalkforwardError(Exception):
    """Root of every exception that Walkforward raises on purpose."""


class DocumentError(WalkforwardError):
    """Bytes are not the document that they claim to be; the message names field, value, reason and next step."""


class IntegrityError(WalkforwardError):
    """Bytes differ from the digest that was promised for them."""


class StoreError(WalkforwardError):
    """The object store did not do as asked."""


class NotFound(StoreError):  # noqa: N818 - named as the store names it
    """There is no such object."""


class AlreadyExists(StoreError):  # noqa: N818 - named as the store names it
    """A create-only write met an object that is already there."""


class Forbidden(StoreError):  # noqa: N818 - named as the store names it
    """The credentials, or the allowed prefixes, do not permit the request."""


class Unavailable(StoreError):  # noqa: N818 - named as the store names it
    """The store is unreachable, throttled or failing; the same request may go through later."""
