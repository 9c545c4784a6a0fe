"""The result of a run that has ended, fetched and verified."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from walkforward_core.errors import NotFound
from walkforward_core.runs import RunPart, RunVerdict
from walkforward_operator.retrain.allowed import Problem
from walkforward_operator.retrain.reasons import RetrainReason
from walkforward_operator.retrain.result import (
    Flaw,
    failed,
    manifest_uri,
    published,
    read_message,
    read_record,
    record_uri,
    settled,
    shards,
)

if TYPE_CHECKING:
    from walkforward_core.runs import ResultDocument
    from walkforward_operator.retrain.model import Ending, Outcome, Retrain
    from walkforward_operator.retrain.status import CurrentRun

__all__ = ["Objects", "gather"]

RECORD_LIMIT: Final = 1 << 20
MANIFEST_LIMIT: Final = 1 << 20


class Objects(Protocol):
    """The object store, off the event loop."""

    async def read(self, uri: str, *, limit: int) -> bytes:
        """Return the bytes of an object; raises :class:`walkforward_core.errors.StoreError`."""
        ...


async def gather(objects: Objects, retrain: Retrain, run: CurrentRun, ending: Ending, now_ms: int) -> Outcome:
    """Return the verified outcome of ``run``.

    Raises
    ------
    StoreError
        The object store does not answer, or not to us: nothing is known yet, try again. An object that is *not there* is an answer.
    """
    if run.part is RunPart.SHARD:
        return shards(ending, run)
    try:
        result = await _result(objects, run, ending)
    except Flaw as flaw:
        return failed(ending.fault, flaw=str(flaw))
    if result.verdict is not RunVerdict.PUBLISHED:
        return settled(run, result, ending)
    try:
        manifest = await objects.read(manifest_uri(result), limit=MANIFEST_LIMIT)
    except NotFound:
        message = f"the run says Published, but {manifest_uri(result)} does not exist: look who may delete there, then run again"
        return failed(Problem(RetrainReason.BAD_RESULT, message))
    return published(retrain, run, result, manifest, now_ms)


async def _result(objects: Objects, run: CurrentRun, ending: Ending) -> ResultDocument:
    """Return the run's own word: its termination message or, where that cannot be used, its record in the store."""
    try:
        return read_message(run, ending)
    except Flaw as first:
        try:
            data = await objects.read(record_uri(run), limit=RECORD_LIMIT)
        except NotFound:
            raise Flaw(f"{first}, and there is no {record_uri(run)}") from first
        try:
            return read_record(run, ending, data)
        except Flaw as second:
            raise Flaw(f"{first}; {second}") from second
