"""The run as a whole: what its stages refuse and what they find become one result (contract C8)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from walkforward_core.api.data import DataKind
from walkforward_core.durations import format_ms
from walkforward_core.errors import StoreError
from walkforward_core.objectstore import open_store
from walkforward_core.plugins import PluginError
from walkforward_core.runs import ExitCode, ResultDocument, RunMode, RunPart, RunVerdict
from walkforward_trainer.artifacts import check_writable
from walkforward_trainer.conclude import conclude
from walkforward_trainer.costs import resolve_costs
from walkforward_trainer.data.sources import Access
from walkforward_trainer.errors import BadConfiguration, Reason, RunError
from walkforward_trainer.plan import make_plan, with_features
from walkforward_trainer.result import put_result, result_uri, shard_uri
from walkforward_trainer.specfile import instant, timestamp
from walkforward_trainer.stages import stage, store_errors

if TYPE_CHECKING:
    from walkforward_core.objectstore import ObjectStore
    from walkforward_core.runs import RunDocument
    from walkforward_trainer.look import Look
    from walkforward_trainer.plan import Plan
    from walkforward_trainer.prepare import Prepared

__all__ = ["check_as_of", "execute", "prepare_all", "settled"]

log = logging.getLogger("walkforward.trainer")

CLOCKS_MS: Final = 5 * 60_000
"""How far the clocks of operator and pod may be apart."""


def execute(run: RunDocument, *, allow_file: bool, now_ms: int, shard: int = 0) -> tuple[ResultDocument, ExitCode | None]:
    """Return the result of ``run`` and, of a failed one, the exit code of its error; ``result.json`` is written, if the store lets us.

    ``now_ms`` (epoch milliseconds) only tells what is of the future, ``asOf`` or rows; everything else is relative to the run's ``asOf``.
    ``shard`` is the index of the symbol that this pod prepares, where the run's part is a shard.
    """
    store: ObjectStore | None = None
    code: ExitCode | None = None
    progress = _Progress()
    try:
        with store_errors("artifacts.uri"):
            opened = open_store(run.spec.artifacts.uri, allow_file=allow_file)
            check_writable(opened, _first_written(run, shard))
        store = opened
        check_as_of(run, now_ms)
        access = Access(allow_file=allow_file)
        if run.part is RunPart.SHARD:
            # the run's own result is that of the pod which gathers
            result = _shard(run, store, shard, progress, access, now_ms=now_ms)
        else:
            result = _run(run, store, progress, access, now_ms=now_ms)
            with store_errors("artifacts.uri"):
                put_result(store, run.spec.artifacts.uri, result)
    except RunError as error:
        result, code = _failed(run, store, error.reason, str(error)), error.code
    except PluginError as error:
        result, code = _failed(run, store, Reason.PLUGIN_BROKEN, str(error)), ExitCode.BAD_CONFIGURATION
    except Exception as error:
        # the last line of defence: what it was goes into the result, not only into a log that is gone with the pod
        log.exception("run %s", run.run)
        message = f"{type(error).__name__}: {error}; this is a bug of the trainer, report it with the log of this pod"
        result, code = _failed(run, store, Reason.INTERNAL_ERROR, message), ExitCode.BUG
    return (result if store is None else conclude(run, store, result, progress.unmet, now_ms=now_ms)), code


def check_as_of(run: RunDocument, now_ms: int) -> None:
    """Refuse an ``asOf`` that has not been yet: a bar that is still open would count as closed by then.

    Raises
    ------
    BadConfiguration
        It lies ahead of ``now_ms``, epoch milliseconds, by more than clocks may be apart.
    """
    ahead, now = instant(run.as_of, "data.asOf") - now_ms, timestamp(now_ms // 1_000 * 1_000)
    if ahead > CLOCKS_MS:
        raise BadConfiguration(
            Reason.SPEC_INVALID,
            f"data.asOf {run.as_of} lies {format_ms(ahead // 1_000 * 1_000)} ahead of now, {now} by the clock here; "
            "choose an instant that has been, or leave it out",
        )


def _first_written(run: RunDocument, shard: int) -> str:
    """Return the address of what this process writes however the run ends, or of its shard."""
    artifacts = run.spec.artifacts.uri
    return shard_uri(artifacts, run.run, shard) if run.part is RunPart.SHARD else result_uri(artifacts, run.run)


@dataclass(slots=True)
class _Progress:
    """How far a run got before it ended: ``unmet`` is what eligibility misses, None until it was looked at."""

    unmet: tuple[str, ...] | None = None


def _run(run: RunDocument, store: ObjectStore, progress: _Progress, access: Access, *, now_ms: int) -> ResultDocument:
    plan = make_plan(run)
    if run.mode is RunMode.CALIBRATE:
        from walkforward_trainer.calibrator.run import calibrate  # noqa: PLC0415 - polars loads when there is something to read

        return calibrate(run, plan, store, access)
    if run.mode is RunMode.DRY_RUN and plan.kind is DataKind.TICKS and run.part is RunPart.WHOLE and len(run.spec.data.symbols) == 1:
        from walkforward_trainer.look import look_at_ticks  # noqa: PLC0415 - polars loads when there is something to read

        seen = look_at_ticks(run, plan, access)
        if seen is not None:
            progress.unmet = seen.unmet
            return _looked(run, seen)
    prepared = prepare_all(run, plan, store, access, now_ms=now_ms)
    progress.unmet = prepared.unmet
    missing = "; ".join(prepared.unmet)
    if missing and not run.force:
        message = f"{missing}; the next occasion tries again"
        return ResultDocument(run=run.run, verdict=RunVerdict.INELIGIBLE, reason=prepared.reason, message=message)
    if missing:
        log.warning("eligibility skipped on request: %s", missing)
    if run.mode is RunMode.DRY_RUN:
        known = prepared.rows.y[prepared.rows.known]
        message = f"{len(known)} rows with a label, {known.mean():.1%} of them 1: a full run would train now"
        found = {"rows": float(len(prepared.rows)), "labelled": float(len(known)), "baseRate": float(known.mean())}
        return ResultDocument(run=run.run, verdict=RunVerdict.DRY_RUN, reason=Reason.WOULD_TRAIN, message=message, metrics=found)
    from walkforward_trainer.train import train  # noqa: PLC0415 - onnx loads when there is something to train

    return train(run, settled(run, plan, prepared, store, access), prepared, store)


def _looked(run: RunDocument, seen: Look) -> ResultDocument:
    """Return the result of a dry run that did not have to read everything."""
    if seen.unmet and not run.force:
        message = f"{'; '.join(seen.unmet)}; {seen.message}"
        return ResultDocument(run=run.run, verdict=RunVerdict.INELIGIBLE, reason=Reason.NOT_ELIGIBLE, message=message, metrics=seen.metrics)
    return ResultDocument(run=run.run, verdict=RunVerdict.DRY_RUN, reason=Reason.WOULD_TRAIN, message=seen.message, metrics=seen.metrics)


def settled(run: RunDocument, plan: Plan, prepared: Prepared, store: ObjectStore, access: Access) -> Plan:
    """Return the plan with the features that the rows brought, and the costs as measured and counted up to the run's ``asOf``."""
    from walkforward_trainer.calibrator.run import closed_trades  # noqa: PLC0415 - numpy loads when there is something to train

    plan = with_features(plan, prepared.rows.names)
    with stage("costs"), store_errors("artifacts.uri"):
        costs = resolve_costs(
            run.spec.costs,
            plan.recipe,
            store,
            artifacts=run.spec.artifacts.uri,
            as_of_ms=plan.as_of_ms,
            closed_trades=lambda: closed_trades(plan, access),
        )
    return replace(plan, costs=costs)


def _shard(run: RunDocument, store: ObjectStore, index: int, progress: _Progress, access: Access, *, now_ms: int) -> ResultDocument:
    """Return how one symbol of several ended; its rows are written for the pod that gathers."""
    from walkforward_trainer.shards import put_shard, shard_result  # noqa: PLC0415 - numpy loads when there is something to read

    prepared = _of_symbol(run, make_plan(run), index, access, now_ms=now_ms)
    progress.unmet = prepared.unmet
    put_shard(store, run, index, prepared)
    return shard_result(run, index, prepared)


def prepare_all(run: RunDocument, plan: Plan, store: ObjectStore, access: Access, *, now_ms: int) -> Prepared:
    """Return the rows of every symbol: those that shards have left, or read here and now."""
    from walkforward_trainer.shards import get_shards, pool  # noqa: PLC0415 - numpy loads when there is something to read

    if run.part is RunPart.GATHER:
        return pool(get_shards(store, run))
    symbols = range(len(run.spec.data.symbols))
    return pool([_of_symbol(run, plan, index, access, now_ms=now_ms) for index in symbols])


def _of_symbol(run: RunDocument, plan: Plan, index: int, access: Access, *, now_ms: int) -> Prepared:
    from walkforward_trainer.prepare import prepare  # noqa: PLC0415 - polars loads when there is something to read

    plan = replace(plan, symbol=run.spec.data.symbols[index])
    try:
        return prepare(run, plan, access, now_ms=now_ms)
    except RunError as error:
        if len(run.spec.data.symbols) == 1:
            raise
        # of several symbols the message has to say which
        raise type(error)(error.reason, f"{plan.symbol}: {error}") from error


def _failed(run: RunDocument, store: ObjectStore | None, reason: Reason, message: str) -> ResultDocument:
    result = ResultDocument(run=run.run, verdict=RunVerdict.FAILED, reason=reason, message=message)
    if store is not None and run.part is not RunPart.SHARD:
        try:
            put_result(store, run.spec.artifacts.uri, result)
        except StoreError as error:
            log.warning("result.json not written: %s", error)
        except Exception:
            # whatever the store does, the termination message still has to say how the run ended
            log.exception("result.json not written")
    return result
