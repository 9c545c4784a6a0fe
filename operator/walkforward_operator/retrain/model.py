"""What a retrain decision is made from, and what it asks for.

``decide(retrain, status, observation, now_ms) -> Decision`` is pure. The service writes the decided status first, where it differs,
and carries the actions out then; an action is asked for again for as long as it has not happened. Times are epoch milliseconds, UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from walkforward_core.api.retrain import RetrainSpec
    from walkforward_core.bundle import Baseline
    from walkforward_core.runs import RunDocument, RunVerdict
    from walkforward_operator.cluster.kinds import Kind
    from walkforward_operator.retrain.allowed import Installation, Problem
    from walkforward_operator.retrain.reasons import RetrainReason
    from walkforward_operator.retrain.status import LatestBundle, RetrainStatus
    from walkforward_operator.rollout.model import Emit

__all__ = [
    "Action",
    "Decision",
    "Discard",
    "Ending",
    "Inputs",
    "JobView",
    "Observation",
    "Outcome",
    "Owned",
    "PodView",
    "Progress",
    "Retrain",
    "Rollout",
    "Stage",
    "StartRun",
]


@dataclass(frozen=True, slots=True)
class Retrain:
    """One ModelRetrain as the API server has it; ``spec`` is None where ``spec_error`` says why it cannot be read."""

    namespace: str
    name: str
    uid: str
    generation: int
    created_ms: int
    spec: RetrainSpec | None
    spec_error: str = ""
    annotations: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class JobView:
    """One Job: ``end`` is "", "Complete" or "Failed", with the reason and message of that condition.

    ``failed`` and ``succeeded`` count its pods; ``took_ms`` is how long a complete one ran, ``image`` what its trainer is, ``queue`` that
    of Kueue, which suspends the Job when it is created and starts it when its turn has come.
    """

    name: str
    uid: str
    owner_uid: str
    suspended: bool = False
    queue: str = ""
    failed: int = 0
    succeeded: int = 0
    image: str = ""
    took_ms: int = 0
    end: str = ""
    end_reason: str = ""
    end_message: str = ""

    @property
    def active(self) -> bool:
        """Whether a pod of it runs or may still be started."""
        return not self.end


@dataclass(frozen=True, slots=True)
class PodView:
    """One pod of a run's Job: what its trainer container waits for, or how it ended; ``disrupted`` when the cluster took it away.

    ``scheduled_ms`` is when it got its node, 0 before; ``index`` is that of its symbol in an Indexed Job, ``owner_uid`` that of its Job.
    """

    name: str
    created_ms: int
    scheduled_ms: int
    phase: str
    image: str = ""
    waiting: str = ""
    waiting_message: str = ""
    unschedulable: str = ""
    exit_code: int | None = None
    exit_reason: str = ""
    exit_message: str = ""
    finished_ms: int = 0
    disrupted: bool = False
    owner_uid: str = ""
    index: int | None = None


class Stage(StrEnum):
    """How far the Job of the run has come."""

    ABSENT = "Absent"
    QUEUED = "Queued"
    PENDING = "Pending"
    RUNNING = "Running"
    ENDED = "Ended"


@dataclass(frozen=True, slots=True)
class Ending:
    """A Job that will not go on: ``text`` is its termination message; ``fault`` is what it failed of, if it left no valid result.

    Of a Job of several symbols the words are in ``shards``: of every pod, where it is complete (``exit_code`` 0), else of the one that
    failed it. ``shard`` says which symbol a word is of.
    """

    text: str
    exit_code: int | None
    fault: Problem
    shard: str = ""
    shards: tuple[Ending, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """What Job and pods show of the run; ``again_ms`` says after how long the same view may mean something else.

    ``took_ms`` is how long a Job that is complete ran.
    """

    stage: Stage
    reason: RetrainReason
    message: str = ""
    attempt: int = 1
    ending: Ending | None = None
    again_ms: int | None = None
    took_ms: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The verified result of a run; ``bundle`` only where it published one."""

    verdict: RunVerdict
    reason: RetrainReason
    message: str
    metrics: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    failed: tuple[str, ...] = ()
    bundle: LatestBundle | None = None


@dataclass(frozen=True, slots=True)
class Rollout:
    """A ModelRollout of the namespace: whether it ``follows`` this retrain, and the model that it has live."""

    name: str
    follows: bool
    stable: Baseline | None


@dataclass(frozen=True, slots=True)
class Owned:
    """An object that a run left or uses."""

    kind: Kind
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a run is made of beside its spec, as it stands when the run begins.

    ``shared`` are the overrides of ``spec.overridesFrom`` as plain JSON, or why they cannot be had. ``in_use`` are the folders of bundles
    that retention must leave alone; None where they are not known completely, which ``unknown`` explains.
    """

    shared: Mapping[str, Any] | Problem = field(default_factory=lambda: MappingProxyType({}))
    in_use: tuple[str, ...] | None = ()
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that is seen at one moment.

    ``progress`` is of the status's run, None without one. When it has ended, either ``outcome`` has its verified result, or ``unavailable``
    says why the object store does not give it yet. ``refused`` is the API server's answer to the last attempt to create the Job.
    ``rollouts`` are those that follow the retrain, and the one that its spec names. ``document`` is what the run of several symbols was
    begun with: its last step is made of that, not of a spec that may have been edited meanwhile. ``inputs`` is what a run that begins is
    made of beside its spec, None where that was not asked for.
    """

    installation: Installation
    progress: Progress | None = None
    outcome: Outcome | None = None
    unavailable: str = ""
    refused: Problem | None = None
    jobs: tuple[JobView, ...] = ()
    config_maps: tuple[Owned, ...] = ()
    rollouts: tuple[Rollout, ...] = ()
    document: RunDocument | None = None
    inputs: Inputs | None = None


@dataclass(frozen=True, slots=True)
class StartRun:
    """Create the ConfigMap and then the Job, both create-only: those that are there already are the run's own."""

    config_map: Mapping[str, Any]
    job: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Discard:
    """Delete a Job (its pods with it) or a ConfigMap, by UID."""

    target: Owned
    why: str


Action: TypeAlias = "StartRun | Discard | Emit"


@dataclass(frozen=True, slots=True)
class Decision:
    """Write ``status`` where it differs, then do ``actions`` in order; look again after ``requeue_after_ms``.

    Where ``asks`` is true nothing was decided: a run would begin, and what it is made of (:class:`Inputs`) was not looked at yet.
    """

    status: RetrainStatus
    actions: tuple[Action, ...] = ()
    requeue_after_ms: int | None = None
    asks: bool = False
