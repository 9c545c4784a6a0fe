"""From a run's own word to a verified outcome.

The trainer says in its termination message (or, where the pod is gone, in ``result.json``) how the run ended. The operator believes
none of it unread: the run's id, the exit code and the verdict must agree; a published bundle must have the digest that was reported, be
this run's, and pass the gates as they stood when the run began.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from walkforward_core.bundle import MODEL, Manifest
from walkforward_core.documents import digest
from walkforward_core.errors import DocumentError
from walkforward_core.objectstore import within
from walkforward_core.runs import ALREADY_PUBLISHED, TERMINATION_LIMIT, ExitCode, ResultDocument, RunMode, RunPart, RunVerdict
from walkforward_operator.conditions import instant
from walkforward_operator.retrain.allowed import Problem
from walkforward_operator.retrain.model import Outcome
from walkforward_operator.retrain.reasons import RetrainReason
from walkforward_operator.retrain.status import LatestBundle
from walkforward_operator.retrain.verdict import contradiction, rejection

if TYPE_CHECKING:
    from walkforward_operator.retrain.model import Ending, Retrain
    from walkforward_operator.retrain.status import CurrentRun

__all__ = ["Flaw", "failed", "manifest_uri", "published", "read_message", "read_record", "record_uri", "settled", "shards"]

_EXITS: Final = MappingProxyType(
    {
        RunVerdict.PUBLISHED: {ExitCode.DONE},
        RunVerdict.DRY_RUN: {ExitCode.DONE},
        RunVerdict.INELIGIBLE: {ExitCode.DONE},
        RunVerdict.CALIBRATED: {ExitCode.DONE},
        RunVerdict.PREPARED: {ExitCode.DONE},
        RunVerdict.REJECTED: {ExitCode.REJECTED},
        RunVerdict.FAILED: {ExitCode.BAD_DATA, ExitCode.BUG, ExitCode.TRANSIENT, ExitCode.BAD_CONFIGURATION},
    }
)
_EITHER: Final = {RunVerdict.INELIGIBLE, RunVerdict.FAILED}
_CAN: Final = MappingProxyType(
    {
        RunMode.FULL: {RunVerdict.PUBLISHED, RunVerdict.REJECTED} | _EITHER,
        RunMode.SMOKE: {RunVerdict.DRY_RUN, RunVerdict.REJECTED} | _EITHER,
        RunMode.DRY_RUN: {RunVerdict.DRY_RUN} | _EITHER,
        RunMode.CALIBRATE: {RunVerdict.CALIBRATED} | _EITHER,
    }
)
"""How a run of each mode may end."""
_SHARD_CAN: Final = {RunVerdict.PREPARED, RunVerdict.REJECTED} | _EITHER
"""How a pod of one symbol may end."""
_REASONS: Final = MappingProxyType(
    {
        RunVerdict.REJECTED: RetrainReason.CANDIDATE_REJECTED,
        RunVerdict.INELIGIBLE: RetrainReason.INELIGIBLE,
        RunVerdict.DRY_RUN: RetrainReason.DRY_RUN,
        RunVerdict.CALIBRATED: RetrainReason.CALIBRATED,
    }
)


class Flaw(ValueError):  # noqa: N818 - a flaw of the result, not of the program
    """What a run reported cannot be used; the message says why."""


def record_uri(run: CurrentRun) -> str:
    """Return where the run writes its full record."""
    return f"{run.artifacts.rstrip('/')}/runs/{run.id}/result.json"


def manifest_uri(result: ResultDocument) -> str:
    """Return where the manifest of the reported bundle is."""
    return f"{result.uri.rstrip('/')}/manifest.json"


def read_message(run: CurrentRun, ending: Ending) -> ResultDocument:
    """Return the result in a termination message.

    Raises
    ------
    Flaw
        Missing, too long, not of the schema, of another run, or at odds with the exit code.
    """
    if not ending.text:
        raise Flaw("there is no termination message")
    size = len(ending.text.encode())
    if size > TERMINATION_LIMIT:
        raise Flaw(f"the termination message has {size} bytes, at most {TERMINATION_LIMIT} are promised")
    result = _parse(run, ending.text.encode(), "termination message")
    if ending.exit_code not in _EXITS[result.verdict]:
        raise Flaw(f"the termination message says {result.verdict}, but the exit code is {ending.exit_code}")
    return result


def read_record(run: CurrentRun, ending: Ending, data: bytes) -> ResultDocument:
    """Return the result in ``result.json``; raises :class:`Flaw` as :func:`read_message` does.

    The record is written before the trainer ends, so the exit code may be that of a kill, but not another word of the trainer's own.
    """
    result = _parse(run, data, "result.json")
    if ending.exit_code in list(ExitCode) and ending.exit_code not in _EXITS[result.verdict]:
        raise Flaw(f"result.json says {result.verdict}, but the exit code is {ending.exit_code}")
    return result


def _parse(run: CurrentRun, data: bytes, source: str) -> ResultDocument:
    try:
        result = ResultDocument.parse(data, source=source)
    except DocumentError as error:
        raise Flaw(str(error)) from error
    # a trainer that cannot read its run.json knows no run, but says what is wrong with it
    if result.run != run.id and not (result.verdict is RunVerdict.FAILED and not result.run):
        raise Flaw(f"{source} is of run {result.run!r}, not of {run.id!r}")
    if result.verdict not in (_SHARD_CAN if run.part is RunPart.SHARD else _CAN[run.mode]):
        raise Flaw(f"{source} says {result.verdict}, but a {run.mode} run ends otherwise{_of_part(run)}")
    if result.verdict is RunVerdict.PUBLISHED:
        _check_claim(run, result, source)
    return result


def _of_part(run: CurrentRun) -> str:
    return "" if run.part is RunPart.WHOLE else f" in its part {run.part}"


def _check_claim(run: CurrentRun, result: ResultDocument, source: str) -> None:
    """Refuse a claim to have published that cannot be true, before anything is read by it."""
    if not within(result.uri, [run.artifacts]):
        raise Flaw(f"{source} has a bundle at {result.uri!r}, outside of {run.artifacts!r}")
    if not (result.version and result.digest and result.model):
        raise Flaw(f"{source} says Published without version, digest and model")


def failed(problem: Problem, *, flaw: str = "") -> Outcome:
    """Return the outcome of a run without a usable result."""
    return Outcome(RunVerdict.FAILED, problem.reason, f"{problem.message} ({flaw})" if flaw else problem.message)


def settled(run: CurrentRun, result: ResultDocument, ending: Ending) -> Outcome:
    """Return the outcome of a run that published nothing; its verdict stands."""
    detail = f"{result.reason}: {result.message}" if result.message else result.reason
    if result.verdict is RunVerdict.FAILED:
        return _failure(ending, detail, result)
    message = rejection(run, result) if result.verdict is RunVerdict.REJECTED else detail
    return Outcome(result.verdict, _REASONS[result.verdict], message, metrics=result.metrics, failed=result.failed)


def _failure(ending: Ending, detail: str, result: ResultDocument) -> Outcome:
    """The trainer's own words explain an exit code of its own; a kill or a deadline came after them, so they are of an earlier attempt."""
    if ending.exit_code in _EXITS[RunVerdict.FAILED]:
        return Outcome(RunVerdict.FAILED, ending.fault.reason, detail, metrics=result.metrics, failed=result.failed)
    if ending.fault.reason is RetrainReason.JOB_LOST:
        return Outcome(RunVerdict.FAILED, RetrainReason.RUN_FAILED, detail, metrics=result.metrics, failed=result.failed)
    return failed(ending.fault)


def shards(ending: Ending, run: CurrentRun) -> Outcome:
    """Return how the symbols' pods ended: Prepared, where the last step may begin, or the word of the first that says otherwise.

    Of a Job that is complete a pod that is gone has ended well; whether its rows are there the last step sees.
    """
    for shard in ending.shards:
        try:
            result = read_message(run, shard)
        except Flaw as flaw:
            return _of_shard(shard, failed(shard.fault, flaw=str(flaw)))
        if result.verdict is not RunVerdict.PREPARED:
            return _of_shard(shard, settled(run, result, shard))
    if ending.exit_code != ExitCode.DONE:
        return failed(ending.fault)
    return Outcome(RunVerdict.PREPARED, RetrainReason.GATHERING, f"all {len(run.symbols)} symbols are prepared")


def _of_shard(shard: Ending, outcome: Outcome) -> Outcome:
    return replace(outcome, message=f"{shard.shard}: {outcome.message}")


def published(retrain: Retrain, run: CurrentRun, result: ResultDocument, manifest: bytes, now_ms: int) -> Outcome:
    """Return the outcome of a run that says Published, judged again from the manifest's bytes."""
    found = digest(manifest)
    if found != result.digest:
        message = f"{manifest_uri(result)} has digest {found}, the run reported {result.digest}: look who may write into the bundle"
        return failed(Problem(RetrainReason.DIGEST_MISMATCH, message))
    try:
        document = Manifest.parse(manifest, source=manifest_uri(result))
        _check_identity(retrain, run, result, document)
    except (DocumentError, Flaw) as error:
        return failed(Problem(RetrainReason.BAD_RESULT, f"{error}: use the trainer image of this release"))
    wrong = contradiction(run, document)
    if wrong:
        message = f"the run says Published, but {wrong}: nothing is published; use the trainer image of this release"
        return failed(Problem(RetrainReason.VERDICT_MISMATCH, message))
    bundle = LatestBundle(
        version=result.version, uri=result.uri, digest=result.digest, model=result.model, run=run.id, at=instant(now_ms)
    )  # fmt: skip
    detail = f"version {result.version} passed its gates: {_listed(document)}"
    return Outcome(RunVerdict.PUBLISHED, RetrainReason.PUBLISHED, detail, metrics=result.metrics, bundle=bundle)


def _check_identity(retrain: Retrain, run: CurrentRun, result: ResultDocument, manifest: Manifest) -> None:
    """Refuse a manifest that is not this run's.

    Where the trainer says AlreadyPublished it may be another run's, also of the retrain's life before it was deleted and applied again,
    if it is as of the same instant.
    """
    file = manifest.files.get(MODEL)
    owner = manifest.retrain
    if result.reason == ALREADY_PUBLISHED and owner.run != run.id:
        identity = {
            "retrain": ((owner.namespace, owner.name), (retrain.namespace, retrain.name)),
            "asOf": (_moment(manifest.data.as_of), _moment(run.as_of)),
        }
    else:
        identity = {"retrain": ((owner.namespace, owner.uid), (retrain.namespace, retrain.uid)), "run": (owner.run, run.id)}
    pairs = identity | {
        "version": (manifest.version, result.version),
        "model": (f"sha256:{file.sha256.removeprefix('sha256:')}" if file else "", result.model),
        "baseline": (manifest.baseline, run.baseline),
    }
    for name, (found, expected) in pairs.items():
        if found != expected:
            raise Flaw(f"{manifest_uri(result)} has {name} {found!r}, the run {expected!r}")


def _moment(text: str) -> object:
    """Return the instant, which may be written in two ways; what is none is returned as it stands, equal to nothing else."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return text


def _listed(manifest: Manifest) -> str:
    return ", ".join(
        f"{gate.name} {'-' if gate.value is None else f'{gate.value:.4g}'}{' (skipped)' if gate.forced else ''}" for gate in manifest.gates
    )
