"""Instants as the status and the routing document keep them: RFC 3339 UTC, to the millisecond."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["millis", "stamp"]


def stamp(now_ms: int) -> str:
    """Return epoch milliseconds as RFC 3339.

    >>> stamp(1_500)
    '1970-01-01T00:00:01.500Z'
    """
    seconds, rest = divmod(now_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


def millis(instant: str) -> int:
    """Return RFC 3339 as epoch milliseconds.

    Raises
    ------
    ValueError
        ``instant`` is not RFC 3339.

    >>> millis("1970-01-01T00:00:01.500Z")
    1500
    """
    moment = datetime.fromisoformat(instant)
    return round(moment.timestamp() * 1000) if moment.tzinfo is not None else round(moment.replace(tzinfo=UTC).timestamp() * 1000)
