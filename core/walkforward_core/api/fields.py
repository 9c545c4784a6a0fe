"""Types that fields of both resources share."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from walkforward_core.api.cel import Cel, rules
from walkforward_core.durations import PATTERN

__all__ = [
    "IN_THE_STORE",
    "CalendarName",
    "CronExpression",
    "Duration",
    "DurationOrZero",
    "Name",
    "Percent",
    "Positive",
    "Quantity",
    "Share",
    "TimeZone",
    "Timestamp",
    "Uri",
]

_NOT_ZERO = Cel("self.matches('[1-9]')", "a duration must be longer than zero: 90s, 30m, 1h30m or 14d for example")
IN_THE_STORE = Cel(
    "!self.startsWith('file:')",
    "file:// is for the trainer on a laptop: a cluster has no such folder; upload it to the object store and write s3://bucket/prefix",
)
_NO_WAY_UP = Cel("!self.contains('..') && !self.matches('[\\\\s?#]')", "an address has no '..', no white space, no '?' and no '#'")

Duration = Annotated[str, Meta(pattern=PATTERN, min_length=2, max_length=24, extra_json_schema=rules(_NOT_ZERO))]
"""A length of time, longer than zero: 90s, 30m, 1h30m, 14d."""
DurationOrZero = Annotated[str, Meta(pattern=PATTERN, min_length=2, max_length=24)]
"""A length of time, which may be 0s."""
Percent = Annotated[str, Meta(pattern=r"^(100|[0-9]{1,2})(\.[0-9]{1,4})?%$", max_length=9)]
"""A share written with its sign: 1%, 0.1%."""
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
"""A number between 0 and 1."""
Positive = Annotated[float, Meta(gt=0.0)]
"""A number above 0."""
Name = Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)]
"""The name of an object in the same namespace."""
Uri = Annotated[str, Meta(pattern=r"^(s3|file)://", min_length=6, max_length=1024, extra_json_schema=rules(IN_THE_STORE, _NO_WAY_UP))]
"""Where objects lie, s3://bucket/prefix; file:// on a laptop only, refused in the cluster."""
Timestamp = Annotated[
    str,
    Meta(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?Z$", max_length=30, extra_json_schema={"format": "date-time"}),
]
"""An instant, RFC 3339 in UTC: 2026-01-31T13:00:00Z."""
CronExpression = Annotated[str, Meta(pattern=r"^([0-9A-Za-z*/,?#-]+\s+){4}[0-9A-Za-z*/,?#-]+$", max_length=100)]
"""Five fields: minute, hour, day of month, month, day of week."""
TimeZone = Annotated[str, Meta(pattern=r"^[A-Za-z_]+(/[A-Za-z0-9_+-]+)*$", max_length=64)]
"""An IANA time zone: Etc/UTC, America/New_York."""
CalendarName = Annotated[str, Meta(pattern=r"^[A-Z0-9/_.-]+$", max_length=16)]
"""A market calendar: 24/7, XNYS."""
Quantity = Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$", max_length=20)]
"""A Kubernetes quantity: 500m, 2, 4Gi."""
