"""Where the ticks of an axis are, and what they say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from walkforward_trainer.report.figures import MINUS

__all__ = ["Scale", "Tick", "date_title", "linear", "times"]

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
SAME: Final = 1e-9
SMALLEST: Final = 1e-12
"""Differences below this are no money, no share and no probability."""
HOURS: Final = (1, 2, 3, 6, 12)
DAYS: Final = (1, 2, 7, 14)
MONTHS: Final = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200)


@dataclass(frozen=True, slots=True)
class Tick:
    """A value of an axis with its label."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis from ``low`` to ``high`` (low < high) and its ticks."""

    low: float
    high: float
    ticks: tuple[Tick, ...]

    def place(self, value: float) -> float:
        """Return where ``value`` lies, 0 at the low end and 1 at the high end."""
        return (value - self.low) / (self.high - self.low)


def linear(low: float, high: float, most: int = 6, *, factor: float = 1.0, loose: bool = True) -> Scale:
    """Return a scale with at most about ``most`` round ticks; labels show value · ``factor``.

    ``loose`` widens the ends to ticks. Ends that differ by rounding alone are pulled apart.
    """
    if high - low <= SAME * max(abs(low), abs(high)) + SMALLEST:
        room = abs(low) * 0.5 if abs(low) > SMALLEST else 1.0 / factor
        low, high = low - room, high + room
    step = _step((high - low) * factor / max(most - 1, 1)) / factor
    first, last = (
        (math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)) if loose else (math.ceil(low / step), math.floor(high / step))
    )
    digits = max(0, _is_quarter(step * factor) - math.floor(math.log10(step * factor) + 1e-9))
    ticks = tuple(Tick(index * step, _label(index * step * factor, digits)) for index in range(first, last + 1))
    return Scale(first * step, last * step, ticks) if loose else Scale(low, high, ticks)


def times(low_ms: int, high_ms: int, letters: float) -> Scale:
    """Return a scale of epoch milliseconds with ticks at whole hours, days, months or years of UTC.

    ``letters`` is how many letters have room along the axis: labels keep half their length between them.
    """
    if high_ms <= low_ms:
        low_ms, high_ms = low_ms - HOUR_MS, high_ms + HOUR_MS
    span = high_ms - low_ms
    for hours in HOURS:
        if _fit(span / (hours * HOUR_MS), 12, letters):
            return _even(low_ms, high_ms, hours * HOUR_MS, 0, "%-d %b %H:%M")
    for days in DAYS:
        if _fit(span / (days * DAY_MS), 6, letters):
            # the epoch was a Thursday: weeks begin on Monday
            return _even(low_ms, high_ms, days * DAY_MS, 4 * DAY_MS if days >= 7 else 0, "%-d %b")
    for months in MONTHS:
        found = _months(low_ms, high_ms, months)
        if _fit(len(found), 8 if months % 12 else 4, letters):
            return Scale(low_ms, high_ms, found)
    return Scale(low_ms, high_ms, _months(low_ms, high_ms, MONTHS[-1]))


def _fit(count: float, length: int, letters: float) -> bool:
    """Return whether ``count`` labels of ``length`` letters have room, a tick or two at the ends included."""
    return (count + 0.5) * 1.5 * length <= letters


def date_title(scale: Scale, first: str, last: str) -> str:
    """Return what a time axis measures: the years of ``first`` and ``last`` (RFC 3339) where its labels do not say them."""
    years = " to ".join(sorted({first[:4], last[:4]}))
    return "UTC" if any(first[:4] in tick.label or last[:4] in tick.label for tick in scale.ticks) else f"{years}, UTC"


def _step(rough: float) -> float:
    """Return the smallest of 1, 2, 2.5, 5 times a power of ten that is at least ``rough``."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in STEPS if step * power >= rough * (1 - 1e-9))


def _is_quarter(step: float) -> bool:
    return abs(step / 10.0 ** math.floor(math.log10(step) + 1e-9) - 2.5) < 1e-6


def _label(value: float, digits: int) -> str:
    written = f"{value:,.{digits}f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    if not written.strip("-0.,"):
        return "0"
    return written.replace("-", MINUS)


def _even(low_ms: int, high_ms: int, step: int, offset: int, form: str) -> Scale:
    first = -((offset - low_ms) // step)
    stamps = range(first * step + offset, high_ms + 1, step)
    return Scale(low_ms, high_ms, tuple(Tick(stamp, _stamp(stamp, form)) for stamp in stamps))


def _stamp(stamp: int, form: str) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=stamp)).strftime(form)


def _months(low_ms: int, high_ms: int, every: int) -> tuple[Tick, ...]:
    start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=low_ms)
    index = -(-(start.year * 12 + start.month - 1) // every) * every
    found: list[Tick] = []
    while True:
        stamp = int(datetime(index // 12, index % 12 + 1, 1, tzinfo=UTC).timestamp()) * 1_000
        if stamp > high_ms:
            return tuple(found)
        if stamp >= low_ms:
            found.append(Tick(stamp, _stamp(stamp, "%Y" if every % 12 == 0 else "%b %Y")))
        index += every
