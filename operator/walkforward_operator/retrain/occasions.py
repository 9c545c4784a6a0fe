"""What starts a run: a slot of a schedule, the age of the newest model, a person.

Of several slots that were missed (the operator was down, another run took its time) only the newest runs. A slot that falls into a
suspension is passed over. A manual run starts once, or is refused once; only while another run is under way it waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from walkforward_core.api.defaults import effective_gates
from walkforward_core.durations import parse_ms
from walkforward_core.names import RUN_ANNOTATION
from walkforward_core.runs import RunMode, Trigger, TriggerKind
from walkforward_operator.conditions import instant
from walkforward_operator.retrain.manual import RequestError, parse, request_digest
from walkforward_operator.retrain.run import Occasion
from walkforward_operator.retrain.schedule import Cron, epoch_ms
from walkforward_operator.retrain.status import HANDLED_KEPT, HandledSlot, ManualOutcome, ManualRun

if TYPE_CHECKING:
    from walkforward_core.api.retrain import RetrainSpec
    from walkforward_operator.retrain.manual import ManualRequest
    from walkforward_operator.retrain.model import Retrain
    from walkforward_operator.retrain.status import RetrainStatus

__all__ = ["Timetable", "by_age", "by_hand", "by_schedule", "next_run", "pass_over", "register"]


@dataclass(frozen=True, slots=True)
class Timetable:
    """The occasions of a spec that follow the clock."""

    crons: tuple[Cron, ...]
    max_age_ms: int | None

    @classmethod
    def of(cls, spec: RetrainSpec) -> Timetable:
        """Return the timetable of ``spec``; raises :class:`walkforward_operator.retrain.schedule.ScheduleError`."""
        age = spec.triggers.max_model_age
        return cls(crons=tuple(Cron.of(one) for one in spec.schedules), max_age_ms=parse_ms(age) if age else None)


def register(retrain: Retrain, status: RetrainStatus, table: Timetable, now_ms: int) -> RetrainStatus:
    """Return the status with every schedule known, and no other.

    A schedule counts from the creation of its object, so that none of its slots is lost to an operator that comes late; one that was
    edited counts from now, for its past slots are nobody's wish.
    """
    since = instant(retrain.created_ms if status.observed_generation < 0 else now_ms)
    known = {slot.schedule: slot for slot in status.slots}
    slots = {cron.key: known.get(cron.key, HandledSlot(schedule=cron.key, slot=since)) for cron in table.crons}
    return msgspec.structs.replace(status, slots=tuple(slots.values()))


def by_schedule(status: RetrainStatus, table: Timetable, now_ms: int) -> Occasion | None:
    """Return the newest slot that is due, over all schedules of a mode: they do the same, so one run serves them all.

    A calibration that is due as well comes first: the training after it counts with what it measured. A smoke run comes last: it must
    not keep anybody waiting for a model.
    """
    for mode in (RunMode.CALIBRATE, RunMode.FULL, RunMode.SMOKE):
        slot = max(_due(status, table, now_ms, mode).values(), default=None)
        if slot is not None:
            at = instant(slot)
            name = "schedule" if mode is RunMode.FULL else mode.lower()
            return Occasion(trigger=Trigger(id=f"{name}-{at}", kind=TriggerKind.SCHEDULE), as_of=at, mode=mode)
    return None


def pass_over(status: RetrainStatus, table: Timetable, now_ms: int, mode: RunMode | None = None) -> RetrainStatus:
    """Return the status with every slot that is due, of ``mode`` where one is given, marked as worked off."""
    due = _due(status, table, now_ms, mode)
    slots = tuple(
        HandledSlot(schedule=one.schedule, slot=instant(due[one.schedule])) if one.schedule in due else one for one in status.slots
    )
    return msgspec.structs.replace(status, slots=slots)


def _due(status: RetrainStatus, table: Timetable, now_ms: int, mode: RunMode | None = None) -> dict[str, int]:
    handled = {slot.schedule: epoch_ms(slot.slot) for slot in status.slots}
    asked = [cron for cron in table.crons if mode in (None, cron.mode) and handled[cron.key] < now_ms]
    found = {cron.key: cron.newest(after_ms=handled[cron.key], until_ms=now_ms) for cron in asked}
    return {key: slot for key, slot in found.items() if slot is not None}


def by_age(retrain: Retrain, status: RetrainStatus, table: Timetable, now_ms: int) -> Occasion | None:
    """Return the occasion of a model that is too old; after an attempt that published nothing the next one waits for the same time."""
    due = _age_due(retrain, status, table)
    if due is None or due > now_ms:
        return None
    at = instant(now_ms)
    return Occasion(trigger=Trigger(id=f"age-{at}", kind=TriggerKind.AGE), as_of=at)


def _age_due(retrain: Retrain, status: RetrainStatus, table: Timetable) -> int | None:
    if table.max_age_ms is None:
        return None
    tried = [epoch_ms(run.started_at) for run in status.history if run.mode is RunMode.FULL]
    tried += [epoch_ms(status.run.started_at)] if status.run and status.run.mode is RunMode.FULL else []
    made = [epoch_ms(status.latest_bundle.at)] if status.latest_bundle else []
    return max(tried + made) + table.max_age_ms if tried or made else retrain.created_ms


def next_run(retrain: Retrain, status: RetrainStatus, table: Timetable, now_ms: int) -> int | None:
    """Return when the clock starts the next run; in the past where it is due and cannot start yet."""
    handled = {slot.schedule: epoch_ms(slot.slot) for slot in status.slots}
    due = list(_due(status, table, now_ms).values())
    coming = [cron.next(after_ms=max(handled[cron.key], now_ms)) for cron in table.crons]
    age = _age_due(retrain, status, table)
    return min([*(due or coming), *([] if age is None else [age])], default=None)


def by_hand(retrain: Retrain, status: RetrainStatus, *, free: bool, obstacle: str, now_ms: int) -> tuple[RetrainStatus, Occasion | None]:
    """Return the status with the newest manual run echoed, and its occasion if it is to start now.

    ``free`` is false while another run is under way: the request waits. ``obstacle`` says why nothing may start: the request is refused,
    so that nobody is surprised by it much later.
    """
    text = retrain.annotations.get(RUN_ANNOTATION)
    if not text:
        return status, None
    digest = request_digest(text)
    echo = status.manual if status.manual is not None and status.manual.request == digest else None
    if echo is not None and echo.outcome is not ManualOutcome.WAITING:
        return status, None
    try:
        request = parse(text)
    except RequestError as error:
        refused = ManualRun(request=digest, outcome=ManualOutcome.REFUSED, message=str(error), at=instant(now_ms))
        return msgspec.structs.replace(status, manual=refused), None
    return _judge(retrain, status, request, digest, free=free, obstacle=obstacle, now_ms=now_ms)


def _judge(
    retrain: Retrain, status: RetrainStatus, request: ManualRequest, digest: str, *, free: bool, obstacle: str, now_ms: int
) -> tuple[RetrainStatus, Occasion | None]:
    def echoed(outcome: ManualOutcome, message: str) -> ManualRun:
        old = status.manual
        said = ManualRun(request=digest, id=request.id, by=request.by, outcome=outcome, message=message, at=instant(now_ms))
        same = old is not None and (old.request, old.outcome, old.message) == (digest, outcome, message)
        return old if same and old is not None else said

    if request.id in status.handled:
        message = f"id {request.id!r} ran already, and an id runs once: write a new one"
        return msgspec.structs.replace(status, manual=echoed(ManualOutcome.REFUSED, message)), None
    handled = (request.id, *status.handled)[:HANDLED_KEPT]
    try:
        skipped = request.skipped(effective_gates(retrain.spec)) if retrain.spec else ()
        if retrain.spec is not None:
            request.check(retrain.spec)
    except RequestError as error:
        obstacle = str(error)
    if obstacle:
        refused = echoed(ManualOutcome.REFUSED, obstacle)
        return msgspec.structs.replace(status, manual=refused, handled=handled), None
    if not free:
        waiting = echoed(ManualOutcome.WAITING, "another run is under way; this one starts after it")
        return msgspec.structs.replace(status, manual=waiting), None
    trigger = Trigger(id=request.id, kind=TriggerKind.MANUAL, by=request.by)
    occasion = Occasion(trigger=trigger, as_of=instant(now_ms), mode=request.mode, force=request.force, skip_gates=skipped)
    started = echoed(ManualOutcome.STARTED, f"{request.mode} run started")
    return msgspec.structs.replace(status, manual=started, handled=handled), occasion
