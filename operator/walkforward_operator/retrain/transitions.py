"""Events: one for each transition, found by comparing two statuses, so that none is told twice however often it is decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from walkforward_core.runs import RunVerdict
from walkforward_operator.retrain.reasons import RetrainReason
from walkforward_operator.retrain.status import ManualOutcome
from walkforward_operator.rollout.model import Emit

if TYPE_CHECKING:
    from walkforward_operator.retrain.status import RetrainStatus

__all__ = ["transitions"]

_ATTENTION: Final = frozenset(
    {
        RetrainReason.INVALID_SPEC,
        RetrainReason.IMAGE_NOT_ALLOWED,
        RetrainReason.SECRET_NOT_ALLOWED,
        RetrainReason.URI_NOT_ALLOWED,
        RetrainReason.FILE_REFUSED,
        RetrainReason.JOB_SETTING_NOT_ALLOWED,
        RetrainReason.OVERRIDES_MISSING,
        RetrainReason.OVERRIDES_INVALID,
        RetrainReason.BASELINE_AMBIGUOUS,
        RetrainReason.BASELINE_MISSING,
        RetrainReason.JOB_REFUSED,
        RetrainReason.IMAGE_PULL,
        RetrainReason.CONTAINER_CONFIG,
        RetrainReason.STORE_UNAVAILABLE,
    }
)
"""Reasons that a person should hear of when they come up, and not only when a run ends by them."""


def transitions(old: RetrainStatus, new: RetrainStatus) -> tuple[Emit, ...]:
    """Return the events between two statuses."""
    events = []
    ended = new.history[0] if new.history and (not old.history or new.history[0].run != old.history[0].run) else None
    if ended is not None:
        events.append(Emit(ended.reason, f"run {ended.run}: {ended.message}", warning=ended.verdict is RunVerdict.FAILED))
    elif new.reason != old.reason and new.reason in _ATTENTION:
        events.append(Emit(new.reason, new.message, warning=True))
    if new.manual is not None and new.manual != old.manual and new.manual.outcome is ManualOutcome.REFUSED:
        events.append(Emit(RetrainReason.RUN_REFUSED, f"run {new.manual.id!r} of {new.manual.by!r}: {new.manual.message}", warning=True))
    if new.run is not None and new.run.gathering_since and (old.run is None or old.run.gathering_since is None):
        events.append(Emit(RetrainReason.GATHERING, f"run {new.run.id}: all {len(new.run.symbols)} symbols are prepared"))
    if new.run is not None and (old.run is None or old.run.id != new.run.id):
        what = f"run {new.run.id}, {new.run.mode}, by {new.run.trigger.kind} {new.run.trigger.id}, as of {new.run.as_of}"
        events.append(Emit(RetrainReason.RUN_STARTED, what))
    return tuple(events)
