"""Slots of cron schedules, in the schedule's own time zone.

A cron expression speaks of wall clock time. Each wall clock time has at most one instant here: one that daylight saving skips has
none, one that comes twice has its first. So the order of wall clock times is the order of instants, and a slot runs at most once.
Instants are epoch milliseconds, UTC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterBadCronError, CroniterBadDateError, croniter

from walkforward_core.runs import RunMode

if TYPE_CHECKING:
    from walkforward_core.api.retrain import Schedule

__all__ = ["Cron", "ScheduleError", "epoch_ms"]

_LONGEST_JUMP = timedelta(hours=26)
"""No time zone ever moved its clocks by more: Samoa left a whole day out in 2011."""
_RANDOM = re.compile(r"(^|[\s,/-])[hr]($|[\s,/-])", re.IGNORECASE)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ScheduleError(ValueError):
    """A schedule that cannot be read, or that never comes; the message names field, value, reason and next step."""


def epoch_ms(text: str) -> int:
    """Return an RFC 3339 instant as epoch milliseconds.

    >>> epoch_ms("1970-01-01T00:00:01Z")
    1000
    """
    return round((datetime.fromisoformat(text) - _EPOCH) / timedelta(milliseconds=1))


@dataclass(frozen=True, slots=True)
class Cron:
    """One schedule; make it with :meth:`of`, which refuses what cannot work."""

    expression: str
    time_zone: str
    mode: RunMode = RunMode.FULL

    @classmethod
    def of(cls, schedule: Schedule) -> Cron:
        """Return the slots of ``schedule``.

        Raises
        ------
        ScheduleError
            The expression is no cron expression or never comes (30 February), or there is no such time zone.
        """
        cron = cls(expression=" ".join(schedule.cron.split()), time_zone=schedule.time_zone, mode=RunMode(schedule.mode))
        try:
            cron._zone()
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            hint = "write an IANA name such as Etc/UTC or America/New_York"
            raise ScheduleError(f"schedules: timeZone {schedule.time_zone!r} is not known: {hint}") from error
        try:
            cron._prove()
        except (CroniterBadCronError, CroniterBadDateError) as error:
            hint = "write minute, hour, day of month, month and day of week, '0 13 * * *' for 13:00 every day"
            raise ScheduleError(f"schedules: cron {schedule.cron!r} cannot be used ({error}): {hint}") from error
        return cron

    @property
    def key(self) -> str:
        """What identifies the schedule in the status; an edited schedule is another one."""
        mode = "" if self.mode is RunMode.FULL else f" {self.mode}"
        return f"{self.expression} {self.time_zone}{mode}"

    def newest(self, *, after_ms: int, until_ms: int) -> int | None:
        """Return the newest slot in (after, until], so of several missed slots the last; None where there is none.

        The work is bounded by the slots of a day, however long ago ``after_ms`` is.
        """
        zone = self._zone()
        walls = self._walk(_wall(until_ms, zone, latest=True) + timedelta(minutes=1))
        while True:
            instant = self._instant(_step(walls, forward=False), zone)
            if instant is None or instant > until_ms:
                continue
            return instant if instant > after_ms else None

    def next(self, *, after_ms: int) -> int:
        """Return the first slot after ``after_ms``."""
        zone = self._zone()
        walls = self._walk(_wall(after_ms, zone, latest=False) - timedelta(minutes=1))
        while True:
            instant = self._instant(_step(walls, forward=True), zone)
            if instant is not None and instant > after_ms:
                return instant

    def _prove(self) -> None:
        """Find one slot; raises what croniter raises where there is none."""
        if _RANDOM.search(self.expression):
            raise CroniterBadCronError("H and R stand for numbers that are made up anew each time")
        self._walk(datetime(2000, 1, 1)).get_next(datetime)  # noqa: DTZ001 - wall clock time of the schedule's own zone

    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    def _walk(self, start: datetime) -> croniter:
        return croniter(self.expression, start)

    def _instant(self, wall: datetime, zone: ZoneInfo) -> int | None:
        """Return the one instant of a wall clock time, None where daylight saving skips it."""
        utc = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
        exists = utc.astimezone(zone).replace(tzinfo=None) == wall
        return round((utc - _EPOCH) / timedelta(milliseconds=1)) if exists else None


def _wall(now_ms: int, zone: ZoneInfo, *, latest: bool) -> datetime:
    """Return a wall clock time that no slot on the wanted side of ``now_ms`` lies beyond, whichever way clocks moved around it."""
    now = _EPOCH + timedelta(milliseconds=now_ms)
    walls = [(moment.astimezone(zone).utcoffset() or timedelta()) for moment in (now - _LONGEST_JUMP, now, now + _LONGEST_JUMP)]
    return (now + (max(walls) if latest else min(walls))).replace(tzinfo=None)


def _step(walls: croniter, *, forward: bool) -> datetime:
    found = walls.get_next(datetime) if forward else walls.get_prev(datetime)
    if not isinstance(found, datetime):  # croniter is typed for both of its result types at once
        raise TypeError(f"croniter gave a {type(found).__name__}, a datetime was asked for")
    return found
