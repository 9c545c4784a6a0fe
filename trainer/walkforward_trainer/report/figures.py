"""Numbers and times as people read them; a value that is not there, or no number, is a dash: report.json has null."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final

__all__ = ["MINUS", "bps", "count", "date_of", "fixed", "number", "percent", "share", "shown"]

MINUS: Final = "\N{MINUS SIGN}"
NONE: Final = "\N{EN DASH}"
RAISED: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
THIN: Final = "\N{NARROW NO-BREAK SPACE}"


def count(value: float | None) -> str:
    """Return a whole number in groups of three.

    >>> count(12345).replace(THIN, " ")
    '12 345'
    """
    return NONE if value is None or not math.isfinite(value) else _minus(f"{round(value):,}".replace(",", THIN))


def number(value: float | None, digits: int = 4) -> str:
    """Return ``value`` with ``digits`` significant digits; very large and very small ones as a power of ten.

    >>> number(0.73149), number(-1.2e-5), number(2.0)
    ('0.7315', '−1.2·10⁻⁵', '2')
    """
    if value is None or not math.isfinite(value):
        return NONE
    if value == int(value) and abs(value) < 1e15:
        return count(value)
    if 1e-4 <= abs(value) < 1e6:
        return _minus(f"{value:.{digits}g}") if abs(value) < 10**digits else count(value)
    mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
    return f"{_minus(mantissa.rstrip('0').rstrip('.'))}·10{str(int(power)).translate(RAISED)}"


def fixed(value: float | None, digits: int) -> str:
    """Return ``value`` with ``digits`` decimals, for a column."""
    return NONE if value is None or not math.isfinite(value) else _fixed(value, digits, sign=False)


def percent(value: float | None, digits: int = 2, *, sign: bool = False) -> str:
    r"""Return a share in percent.

    >>> percent(-0.0123), percent(0.5, 0, sign=True)
    ('−1.23\u202f%', '+50\u202f%')
    """
    return NONE if value is None or not math.isfinite(value) else f"{_fixed(100 * value, digits, sign=sign)}{THIN}%"


def share(value: float | None) -> str:
    """Return a share that is not money: 23.4 %."""
    return percent(value, 1)


def bps(value: float | None, digits: int = 2, *, sign: bool = False) -> str:
    """Return a share of the traded value in basis points."""
    return NONE if value is None or not math.isfinite(value) else f"{_fixed(1e4 * value, digits, sign=sign)}{THIN}bps"


def shown(value: object) -> str:
    """Return any value of the report for a table."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return number(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(shown(item) for item in value) or NONE
    return str(value)


def date_of(stamp: str) -> datetime:
    """Return the time of an RFC 3339 ``stamp`` in UTC."""
    return datetime.fromisoformat(stamp).astimezone(UTC)


def _fixed(value: float, digits: int, *, sign: bool) -> str:
    written = _minus(f"{value:,.{digits}f}".replace(",", THIN))
    return f"+{written}" if sign and value > 0 and written.strip("0.") else written


def _minus(written: str) -> str:
    """Return ``written`` with a minus that is as wide as a digit; zero has no sign."""
    if written.startswith("-"):
        bare = written[1:]
        return bare if not bare.strip("0.,") else MINUS + bare
    return written
