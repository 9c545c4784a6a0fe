"""Durations as people write them in a spec: ``90s``, ``30m``, ``1h30m``, ``14d``."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["PATTERN", "format_ms", "parse_ms"]

PATTERN: Final = r"^([0-9]{1,5}d)?([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,6}s)?([0-9]{1,6}ms)?$"
_UNITS: Final = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))
_PART: Final = re.compile(r"([0-9]+)(ms|d|h|m|s)")


def parse_ms(text: str) -> int:
    """Return the duration in milliseconds.

    Raises
    ------
    ValueError
        ``text`` is empty or not of the form above.

    >>> parse_ms("1h30m"), parse_ms("14d"), parse_ms("80ms")
    (5400000, 1209600000, 80)
    """
    if not text or re.fullmatch(PATTERN, text) is None:
        raise ValueError(f"duration {text!r} is not of the form 14d, 1h30m, 90s or 80ms")
    sizes = dict(_UNITS)
    return sum(int(number) * sizes[unit] for number, unit in _PART.findall(text))


def format_ms(duration: int) -> str:
    """Return ``duration`` milliseconds in the shortest exact form.

    >>> format_ms(5_400_000), format_ms(0), format_ms(1_209_600_000)
    ('1h30m', '0s', '14d')
    """
    parts, rest = [], duration
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
