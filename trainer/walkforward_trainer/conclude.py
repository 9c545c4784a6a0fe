"""What follows a run's verdict and never changes it: audit, retention, tracking. What goes wrong here is said, and no more."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from msgspec.structs import replace

from walkforward_core.errors import WalkforwardError
from walkforward_core.runs import RunMode, RunPart, RunVerdict
from walkforward_trainer.audit import put_audit
from walkforward_trainer.result import put_result, shard_uri
from walkforward_trainer.retention import sweep
from walkforward_trainer.stages import stage
from walkforward_trainer.tracking import track

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from walkforward_core.objectstore import ObjectStore
    from walkforward_core.runs import ResultDocument, RunDocument

__all__ = ["conclude"]

log = logging.getLogger("walkforward.trainer")


def conclude(
    run: RunDocument,
    store: ObjectStore,
    result: ResultDocument,
    unmet: Sequence[str] | None,
    *,
    now_ms: int,
    env: Mapping[str, str] = os.environ,
) -> ResultDocument:
    """Return the result with a sentence for each thing worth saying; its record is written by now, and once more if it changes.

    ``unmet`` is what eligibility missed, None where it was not looked at. Shards leave all this to the pod that gathers, unless they
    have ended the run themselves.
    """
    if run.part is RunPart.SHARD and result.verdict is RunVerdict.PREPARED:
        return result
    said = [_quietly("audit", lambda: _audit(store, run, result, unmet, now_ms))]
    if result.verdict is RunVerdict.PUBLISHED or run.mode in (RunMode.DRY_RUN, RunMode.SMOKE):
        remove = result.verdict is RunVerdict.PUBLISHED
        said.append(_quietly("retention", lambda: sweep(store, run, result, now_ms=now_ms, remove=remove)))
    if run.part is RunPart.GATHER and run.spec.artifacts.retention is not None and result.verdict is not RunVerdict.FAILED:
        said.append(_quietly("shards", lambda: _clear(store, run)))
    if run.spec.tracking is not None and run.mode is RunMode.FULL:
        said.append(_quietly("tracking", lambda: track(store, run, result, env)))
    said = [sentence for sentence in said if sentence]
    if not said:
        return result
    result = replace(result, message="; ".join([*([result.message] if result.message else []), *said]))
    if run.part is not RunPart.SHARD:
        _quietly("record", lambda: _record(store, run, result))
    return result


def _audit(store: ObjectStore, run: RunDocument, result: ResultDocument, unmet: Sequence[str] | None, now_ms: int) -> str:
    put_audit(store, run, result, unmet, now_ms)
    return ""


def _clear(store: ObjectStore, run: RunDocument) -> str:
    """Remove what the pods of the symbols have left: only a run that failed may be tried again, and nobody else reads it."""
    for index in range(len(run.spec.data.symbols)):
        store.delete(shard_uri(run.spec.artifacts.uri, run.run, index))
    return ""


def _record(store: ObjectStore, run: RunDocument, result: ResultDocument) -> str:
    put_result(store, run.spec.artifacts.uri, result)
    return ""


def _quietly(name: str, step: Callable[[], str]) -> str:
    """Return what the step says; an error of it is its sentence, since the run has ended as it has."""
    try:
        with stage(name):
            said = step()
    except WalkforwardError as error:
        log.warning("%s: %s", name, error)
        return f"{name}: {error}"
    except Exception as error:
        log.exception("%s", name)
        return f"{name}: {type(error).__name__}: {error}; this is a bug of the trainer, report it with the log of this pod"
    if said:
        log.info("%s", said)
    return said
