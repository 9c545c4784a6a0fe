"""Exceptions of the cluster. Each message names the verb, the object, the reason and, where there is one, the next step.

ClusterError
├── NotFound               no such object (or no such kind)
├── Conflict               the object changed since it was read, or is another one of the same name
│   └── AlreadyExists      create met an object
├── Forbidden              RBAC or an admission policy refused
├── Invalid                the API server does not accept the object
├── Unreachable            no answer, or the API server fails; worth another try
│   └── Throttled          asked to wait: ``retry_after`` seconds
└── NotLeading             this process does not hold the Lease, so nothing was sent
"""

from __future__ import annotations

from walkforward_core.errors import WalkforwardError

__all__ = ["AlreadyExists", "ClusterError", "Conflict", "Forbidden", "Invalid", "NotFound", "NotLeading", "Throttled", "Unreachable"]


class ClusterError(WalkforwardError):
    """The cluster did not do as asked."""


class NotFound(ClusterError):  # noqa: N818 - named as the API names it
    """There is no such object."""


class Conflict(ClusterError):  # noqa: N818 - named as the API names it
    """The object has changed since it was read, or another one has its name now."""


class AlreadyExists(Conflict):
    """A create met an object that is already there."""


class Forbidden(ClusterError):  # noqa: N818 - named as the API names it
    """RBAC or an admission policy does not permit the request."""


class Invalid(ClusterError):  # noqa: N818 - named as the API names it
    """The API server does not accept the object as it is; the same request will fail again."""


class Unreachable(ClusterError):  # noqa: N818 - says what happened
    """The API server gave no answer, or failed; the same request may go through later."""


class Throttled(Unreachable):
    """The API server asks to wait ``retry_after`` seconds."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotLeading(ClusterError):  # noqa: N818 - says what is the case
    """The Lease is not held by this process: the write was not sent."""
