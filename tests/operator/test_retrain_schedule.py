"""Slots: against brute force over every minute, around daylight saving of many zones."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walkforward_core.api.retrain import Schedule
from walkforward_operator.conditions import instant
from walkforward_operator.retrain.schedule import Cron, ScheduleError, epoch_ms

MINUTE = 60_000
HOUR = 60 * MINUTE
# Clocks that move by an hour, by half an hour, not at all, and one that left a day out (Apia, 30 December 2011).
ZONES = ["Etc/UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kolkata", "America/Sao_Paulo"]
CHANGES = ["2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z", "2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z", "2026-04-04T15:00:00Z"]
CHANGES += ["2026-10-03T15:30:00Z", "2011-12-30T10:00:00Z", "2018-11-04T03:00:00Z", "2026-06-15T12:00:00Z"]


def cron(expression: str, zone: str = "Etc/UTC") -> Cron:
    return Cron.of(Schedule(cron=expression, time_zone=zone))


def brute_force(minutes: set[int], hours: set[int], zone: str, start_ms: int, end_ms: int) -> list[int]:
    """Every slot in (start, end], found by looking at each minute: the first minute that shows a wall clock time is the slot."""
    seen: set[datetime] = set()
    slots = []
    look_back = start_ms - 30 * HOUR  # so that a wall clock time which came before `start` is known to have come
    for at in range(look_back - look_back % MINUTE, end_ms + 1, MINUTE):
        wall = datetime.fromtimestamp(at / 1000, ZoneInfo(zone)).replace(tzinfo=None)
        if wall in seen:
            continue
        seen.add(wall)
        if wall.minute in minutes and wall.hour in hours and start_ms < at <= end_ms:
            slots.append(at)
    return slots


@given(
    zone=st.sampled_from(ZONES),
    change=st.sampled_from(CHANGES),
    offset=st.integers(-20 * 60, 20 * 60),
    minutes=st.sets(st.integers(0, 59), min_size=1, max_size=3),
    hours=st.one_of(st.just(set(range(24))), st.sets(st.integers(0, 23), min_size=1, max_size=3)),
)
def test_slots_are_those_of_brute_force(zone: str, change: str, offset: int, minutes: set[int], hours: set[int]) -> None:
    start = epoch_ms(change) + offset * MINUTE
    end = start + 50 * HOUR
    expected = brute_force(minutes, hours, zone, start, end)
    slots = cron(f"{','.join(map(str, minutes))} {','.join(map(str, hours))} * * *", zone)

    found, at = [], start
    while (at := slots.next(after_ms=at)) <= end:
        found.append(at)

    assert found == expected
    for known, then in zip(expected, [*expected[1:], end + 1], strict=True):
        for now in {known, (known + then) // 2, then - 1}:
            assert slots.newest(after_ms=start, until_ms=now) == known
    assert slots.newest(after_ms=expected[-1] if expected else start, until_ms=end) is None


def test_a_slot_that_daylight_saving_skips_does_not_run() -> None:
    slots = cron("30 2 * * *", "Europe/Berlin")
    assert instant(slots.next(after_ms=epoch_ms("2026-03-28T12:00:00Z"))) == "2026-03-30T00:30:00Z"
    assert slots.newest(after_ms=epoch_ms("2026-03-28T12:00:00Z"), until_ms=epoch_ms("2026-03-29T23:00:00Z")) is None


def test_a_slot_that_comes_twice_runs_the_first_time_only() -> None:
    slots = cron("30 2 * * *", "Europe/Berlin")
    first = epoch_ms("2026-10-25T00:30:00Z")
    assert slots.next(after_ms=epoch_ms("2026-10-24T12:00:00Z")) == first
    assert slots.newest(after_ms=first, until_ms=first + 2 * HOUR) is None
    assert instant(slots.next(after_ms=first)) == "2026-10-26T01:30:00Z"


def test_of_many_missed_slots_only_the_newest_runs() -> None:
    slots = cron("* * * * *")
    now = epoch_ms("2026-01-01T12:00:30Z")
    assert slots.newest(after_ms=epoch_ms("2001-01-01T00:00:00Z"), until_ms=now) == now - 30_000


def test_both_day_fields_given_mean_either_as_in_cron() -> None:
    slots = cron("0 0 31 * 1")
    monday = slots.next(after_ms=epoch_ms("2026-03-28T00:00:00Z"))
    assert [instant(monday), instant(slots.next(after_ms=monday))] == ["2026-03-30T00:00:00Z", "2026-03-31T00:00:00Z"]


def test_a_leap_day_is_found() -> None:
    slots = cron("0 0 29 2 *")
    assert instant(slots.next(after_ms=epoch_ms("2026-01-01T00:00:00Z"))) == "2028-02-29T00:00:00Z"
    assert instant(slots.newest(after_ms=0, until_ms=epoch_ms("2026-01-01T00:00:00Z")) or 0) == "2024-02-29T00:00:00Z"


@pytest.mark.parametrize(
    ("expression", "zone", "word"),
    [
        ("0 0 30 2 *", "Etc/UTC", "never|find next"),
        ("61 * * * *", "Etc/UTC", "out of range"),
        ("H H * * *", "Etc/UTC", "cron 'H H"),
        ("* * * * R/2", "Etc/UTC", "made up anew"),
        ("0 0 * * *", "Mars/Olympus", "IANA name"),
        ("0 0 * * *", "America", "IANA name"),
    ],
)
def test_a_schedule_that_cannot_work_says_why(expression: str, zone: str, word: str) -> None:
    with pytest.raises(ScheduleError, match=word):
        cron(expression, zone)


def test_an_edited_schedule_is_another_one() -> None:
    assert cron("0  13 * * *").key == cron("0 13 * * *").key
    assert cron("0 13 * * *").key != cron("0 13 * * *", "Europe/Berlin").key


def test_epoch_ms_reads_what_instant_writes() -> None:
    now = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
    assert epoch_ms(instant(round(now.timestamp() * 1000))) == round(now.timestamp() * 1000)
    assert epoch_ms("2026-05-04T03:02:01.123456789Z") == round((now + timedelta(milliseconds=123)).timestamp() * 1000)


FIELD = st.from_regex(r"[0-9A-Za-z*/,?#-]{1,6}", fullmatch=True)
LIKELY = st.sampled_from(["*", "*/5", "0", "1-5", "L", "MON-FRI", "mon#2", "JAN", "?", "5,10", "7", "l5"])
ODD = st.sampled_from(["*/0", "5-1", "R", "H", "R/5", "W", "15W", "00"])


@settings(max_examples=300)
@given(fields=st.lists(st.one_of(LIKELY, LIKELY, ODD, FIELD), min_size=5, max_size=5), zone=st.sampled_from(ZONES))
def test_whatever_the_schema_lets_through_is_a_schedule_or_a_clear_error(fields: list[str], zone: str) -> None:
    now = epoch_ms("2026-03-29T00:59:30Z")
    slots = None
    with contextlib.suppress(ScheduleError):  # anything else would be a crash of the reconcile
        slots = cron(" ".join(fields), zone)
    if slots is None:
        return
    later = slots.next(after_ms=now)
    assert later > now
    assert slots.newest(after_ms=now, until_ms=later) == later
    assert slots.newest(after_ms=later, until_ms=later) is None
