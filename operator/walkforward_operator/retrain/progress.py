"""How far a run has come, read from its Job and pods; never from a log.

What people can mend while the Job waits (an image that cannot be pulled, a Secret that is missing) is said at once and given a grace;
after it the run is Failed, since its Job would wait for ever and block the next one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from walkforward_core.runs import ExitCode, RunPart
from walkforward_operator.retrain.allowed import Problem
from walkforward_operator.retrain.job import FINAL
from walkforward_operator.retrain.model import Ending, Progress, Stage
from walkforward_operator.retrain.reasons import RetrainReason

if TYPE_CHECKING:
    from walkforward_operator.retrain.model import JobView, PodView, Retrain
    from walkforward_operator.retrain.status import CurrentRun

__all__ = ["GRACE_MS", "progress_of"]

GRACE_MS: Final = 5 * 60_000
"""How long a pod may wait for its image or its Secret before the run is given up."""
_KILLED: Final = 137
_PULL: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable"}
)
_CONFIG: Final = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_EXITS: Final[dict[int, tuple[RetrainReason, str]]] = {
    ExitCode.DONE: (RetrainReason.BAD_RESULT, "it ended well but left no result"),
    ExitCode.BAD_DATA: (RetrainReason.BAD_DATA, "the trainer refused the data"),
    ExitCode.BUG: (RetrainReason.TRAINER_BUG, "the trainer failed on an error of its own"),
    ExitCode.TRANSIENT: (RetrainReason.TRANSIENT, "every attempt met a failure that may pass"),
    ExitCode.BAD_CONFIGURATION: (RetrainReason.BAD_CONFIGURATION, "the trainer refused the configuration"),
}


def progress_of(retrain: Retrain, run: CurrentRun, job: JobView | None, pods: tuple[PodView, ...], now_ms: int) -> Progress:
    """Return how far ``run`` has come; ``job`` is the Job of its name, ``pods`` those of that Job."""
    if job is None:
        return _absent(run)
    if job.owner_uid != retrain.uid:
        message = f"Job {job.name} belongs to another owner: delete it or rename it, then run again"
        return _ended(Ending(text="", exit_code=None, fault=Problem(RetrainReason.JOB_CONFLICT, message)), job)
    if job.end:
        return _ended(_shards(run, job, pods) if run.part is RunPart.SHARD else _ending(run, job, pods), job)
    if job.suspended:
        return Progress(Stage.QUEUED, RetrainReason.QUEUED, _waiting(job), attempt=job.failed + 1)
    return _active(run, job, pods, now_ms)


def _absent(run: CurrentRun) -> Progress:
    if not run.created:
        return Progress(Stage.ABSENT, RetrainReason.RUN_STARTED, f"Job {run.job} is being created")
    fault = Problem(RetrainReason.JOB_LOST, f"Job {run.job} is gone and left no result: somebody deleted it; run again")
    return Progress(Stage.ABSENT, RetrainReason.GATHERING, fault.message, ending=Ending(text="", exit_code=None, fault=fault))


def _waiting(job: JobView) -> str:
    if job.queue:
        return f"Job {job.name} waits for its turn in the queue {job.queue} (kubectl get workloads says why); delete it to give the run up"
    return f'Job {job.name} is suspended, and no queue has done it: kubectl patch job {job.name} -p \'{{"spec":{{"suspend":false}}}}\''


def _ended(ending: Ending, job: JobView) -> Progress:
    message = f"Job {job.name} has ended; its result is being verified"
    return Progress(Stage.ENDED, RetrainReason.GATHERING, message, ending=ending, took_ms=job.took_ms)


def _active(run: CurrentRun, job: JobView, pods: tuple[PodView, ...], now_ms: int) -> Progress:
    attempt = job.failed + 1
    live = [pod for pod in pods if pod.phase in {"Pending", "Running"}]
    if not live:
        message = f"Job {job.name} has no pod yet; if it stays so: kubectl describe job {job.name}"
        return Progress(Stage.PENDING, RetrainReason.POD_PENDING, message, attempt=attempt)
    # of several symbols' pods one that cannot start says most, then one that runs; otherwise the newest has followed the others
    pod = max(
        live, key=lambda one: (one.waiting in _PULL | _CONFIG, one.phase == "Running" and bool(run.symbols), one.created_ms, one.name)
    )
    if pod.waiting in _PULL | _CONFIG:
        return _stuck(job, pod, attempt, now_ms)
    if pod.phase == "Running":
        return Progress(Stage.RUNNING, RetrainReason.RUNNING, _at_work(run, job, live, pod), attempt=attempt)
    why = pod.unschedulable or pod.waiting_message or pod.waiting or "its node has not started it yet"
    return Progress(Stage.PENDING, RetrainReason.POD_PENDING, f"pod {pod.name} waits: {why}", attempt=attempt)


def _at_work(run: CurrentRun, job: JobView, live: list[PodView], pod: PodView) -> str:
    match run.part:
        case RunPart.SHARD:
            now = sorted(one.index for one in live if one.phase == "Running" and one.index is not None)
            return f"{job.succeeded} of {len(run.symbols)} symbols prepared, at work on {', '.join(_symbol(run, index) for index in now)}"
        case RunPart.GATHER:
            return f"pod {pod.name} trains on the rows of all {len(run.symbols)} symbols"
        case RunPart.WHOLE:
            return f"pod {pod.name} trains"


def _symbol(run: CurrentRun, index: int) -> str:
    return run.symbols[index] if index < len(run.symbols) else f"shard {index}"


def _stuck(job: JobView, pod: PodView, attempt: int, now_ms: int) -> Progress:
    reason = RetrainReason.IMAGE_PULL if pod.waiting in _PULL else RetrainReason.CONTAINER_CONFIG
    what = f"image {pod.image} cannot be pulled" if reason is RetrainReason.IMAGE_PULL else "the container cannot be made"
    message = f"{what} ({pod.waiting}: {pod.waiting_message or 'no further word'}), pod {pod.name}"
    left = max(pod.created_ms, pod.scheduled_ms) + GRACE_MS - now_ms  # a node may take longer than the grace to come
    if left > 0:
        return Progress(Stage.PENDING, reason, f"{message}; given up after {GRACE_MS // 60_000} minutes", attempt=attempt, again_ms=left)
    remedy = "correct spec.job.image or the registry's access" if reason is RetrainReason.IMAGE_PULL else "create what is missing"
    return _ended(Ending(text="", exit_code=None, fault=Problem(reason, f"{message}: {remedy}, then run again")), job)


def _shards(run: CurrentRun, job: JobView, pods: tuple[PodView, ...]) -> Ending:
    """Return the end of the symbols' Job: the words of all its pods, or of the one that failed it, and what to say if there is none."""
    ended = [pod for pod in pods if pod.exit_code is not None and not pod.disrupted and pod.index is not None]
    ended.sort(key=lambda one: (one.finished_ms, one.created_ms, one.name))
    if job.end == "Complete":
        last = {pod.index: pod for pod in ended if pod.exit_code == 0}
        words = [last[index] for index in sorted(last, key=lambda index: index or 0)]
        return Ending(text="", exit_code=0, fault=_fault(run, job, None), shards=tuple(_shard(run, job, pod) for pod in words))
    # the first end that no other pod would have changed; the pods that were at work then were ended by it
    failed = [pod for pod in ended if pod.exit_code != 0 and job.end_reason != "DeadlineExceeded"]
    culprit = min(failed, key=lambda one: one.exit_code not in FINAL, default=None)
    return Ending(text="", exit_code=None, fault=_fault(run, job, None), shards=(_shard(run, job, culprit),) if culprit else ())


def _shard(run: CurrentRun, job: JobView, pod: PodView) -> Ending:
    name = f"symbol {_symbol(run, pod.index or 0)} (shard {pod.index})"
    return Ending(text=pod.exit_message, exit_code=pod.exit_code, fault=_fault(run, job, pod), shard=name)


def _ending(run: CurrentRun, job: JobView, pods: tuple[PodView, ...]) -> Ending:
    """Return the end of a finished Job: the last pod's word, and what to say if that is none."""
    ended = [pod for pod in pods if pod.exit_code is not None and not pod.disrupted]
    pod = max(ended, key=lambda one: (one.finished_ms, one.created_ms, one.name), default=None)
    return Ending(
        text=pod.exit_message if pod else "",
        exit_code=pod.exit_code if pod else None,
        fault=_fault(run, job, pod),
    )


def _fault(run: CurrentRun, job: JobView, pod: PodView | None) -> Problem:
    if job.end_reason == "DeadlineExceeded":
        return Problem(
            RetrainReason.DEADLINE_EXCEEDED,
            "the run took longer than spec.job.activeDeadlineSeconds: raise it, or give the Job more CPU (spec.job.resources)",
        )
    if pod is None or pod.exit_code is None:
        return Problem(RetrainReason.JOB_LOST, f"Job {job.name} ended ({_said(job)}) and its pods are gone, without a result: run again")
    if pod.exit_code == _KILLED or pod.exit_reason == "OOMKilled":
        limit = f"limit {run.memory_limit}" if run.memory_limit else "no limit of its own: its node ran out of memory"
        killed = "was killed for its memory" if pod.exit_reason == "OOMKilled" else "was killed (exit code 137), most likely for its memory"
        remedy = "raise spec.job.resources.limits.memory, or shorten spec.data.window"
        return Problem(RetrainReason.OUT_OF_MEMORY, f"pod {pod.name} {killed} ({limit}): {remedy}")
    reason, what = _EXITS.get(pod.exit_code, (RetrainReason.CRASHED, "the container ended without a result"))
    return Problem(reason, f"{what} (exit code {pod.exit_code}, pod {pod.name}): kubectl logs {pod.name}")


def _said(job: JobView) -> str:
    return f"{job.end_reason}: {job.end_message}" if job.end_reason else job.end
