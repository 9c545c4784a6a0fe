"""The run as a whole: what its stages refuse and what they find become one result (contract C8)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from walkforward_core.errors import StoreError
from walkforward_core.objectstore import open_store
from walkforward_core.runs import ExitCode, ResultDocument, RunMode, RunVerdict
from walkforward_trainer.errors import Reason, RunError
from walkforward_trainer.plan import make_plan
from walkforward_trainer.result import put_result
from walkforward_trainer.stages import store_errors

if TYPE_CHECKING:
    from walkforward_core.objectstore import ObjectStore
    from walkforward_core.runs import RunDocument

__all__ = ["execute"]

log = logging.getLogger("walkforward.trainer")


def execute(run: RunDocument, *, allow_file: bool, now_ms: int) -> tuple[ResultDocument, ExitCode | None]:
    """Return the result of ``run`` and, of a failed one, the exit code of its error; ``result.json`` is written, if the store lets us.

    ``now_ms`` (epoch milliseconds) only tells bars from the future; everything else is relative to the run's ``asOf``.
    """
    store: ObjectStore | None = None
    try:
        with store_errors("artifacts.uri"):
            store = open_store(run.spec.artifacts.uri, allow_file=allow_file)
        result = _run(run, store, allow_file=allow_file, now_ms=now_ms)
        with store_errors("artifacts.uri"):
            put_result(store, run.spec.artifacts.uri, result)
    except RunError as error:
        return _failed(run, store, error.reason, str(error)), error.code
    except Exception as error:
        # the last line of defence: what it was goes into the result, not only into a log that is gone with the pod
        log.exception("run %s", run.run)
        message = f"{type(error).__name__}: {error}; this is a bug of the trainer, report it with the log of this pod"
        return _failed(run, store, Reason.INTERNAL_ERROR, message), ExitCode.BUG
    return result, None


def _run(run: RunDocument, store: ObjectStore, *, allow_file: bool, now_ms: int) -> ResultDocument:
    plan = make_plan(run)
    with store_errors("data.uri"):
        source = open_store(plan.data.uri, allow_file=allow_file)
    from walkforward_trainer.prepare import prepare  # noqa: PLC0415 - polars loads when there is something to read

    prepared = prepare(run, plan, source, now_ms=now_ms)
    missing = "; ".join(prepared.unmet)
    if missing and not run.force:
        message = f"{missing}; the next occasion tries again"
        return ResultDocument(run=run.run, verdict=RunVerdict.INELIGIBLE, reason=Reason.NOT_ELIGIBLE, message=message)
    if missing:
        log.warning("eligibility skipped on request: %s", missing)
    if run.mode is RunMode.DRY_RUN:
        known = prepared.rows.y[prepared.rows.known]
        message = f"{len(known)} rows with a label, {known.mean():.1%} of them 1: a full run would train now"
        found = {"rows": float(len(prepared.rows)), "labelled": float(len(known)), "baseRate": float(known.mean())}
        return ResultDocument(run=run.run, verdict=RunVerdict.DRY_RUN, reason=Reason.WOULD_TRAIN, message=message, metrics=found)
    from walkforward_trainer.train import train  # noqa: PLC0415 - onnx loads when there is something to train

    return train(run, plan, prepared, store)


def _failed(run: RunDocument, store: ObjectStore | None, reason: Reason, message: str) -> ResultDocument:
    result = ResultDocument(run=run.run, verdict=RunVerdict.FAILED, reason=reason, message=message)
    if store is not None:
        try:
            put_result(store, run.spec.artifacts.uri, result)
        except StoreError as error:
            log.warning("result.json not written: %s", error)
    return result
