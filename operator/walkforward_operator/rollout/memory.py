"""What the service keeps of one rollout between two looks: all of it can be lost, it is found again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from walkforward_core.pods import ModelState
from walkforward_operator.rollout.attendant import Attendant
from walkforward_operator.routing.push import Bumps

if TYPE_CHECKING:
    from collections.abc import Callable

    from walkforward_core.evidence import Bank, Evidence
    from walkforward_operator.cluster.protocol import Cluster
    from walkforward_operator.evidence.client import Pods
    from walkforward_operator.metrics import Metrics
    from walkforward_operator.pins import Pin
    from walkforward_operator.rollout.model import Pod
    from walkforward_operator.rollout.see import Seen
    from walkforward_operator.rollout.status import RolloutPhase

__all__ = ["Memory"]

_ABORT_S: Final = 120.0
_REFUSED_S: Final = 5.0


@dataclass(slots=True)
class Memory:
    """The pods' attendant, when which pod was pushed, and what the last writes came to."""

    uid: str
    attendant: Attendant
    wake: Callable[[], None]
    born: float
    bumps: Bumps = field(default_factory=Bumps)
    router_error: str = ""
    refusals: int = 0
    """How often in a row the routing document could not be written."""
    not_before: float = 0.0
    """When to try again, on the loop's clock: the status of a failed attempt must not bring the next one about."""
    written_ms: int = 0
    """When the status was last written by this process: to the millisecond, which the API server does not keep."""
    passes: int = 0
    phase: RolloutPhase | None = None
    aborted: tuple[float, str] | None = None
    """When an abort was written, on the loop's clock, and the digest of its document."""
    evidence: tuple[Bank, tuple[object, ...], Evidence] | None = None
    pin: Pin | None = None
    """Whether retention leaves the bundle of ``spec.source.bundle`` to this rollout."""

    @classmethod
    def of(cls, uid: str, pods: Pods, cluster: Cluster, *, metrics: Metrics, wake: Callable[[], None]) -> Self:
        """Return the memory of a rollout that was not known so far."""
        attendant = Attendant(pods, cluster, metrics=metrics, wake=wake)
        return cls(uid, attendant, wake, asyncio.get_running_loop().time())

    def refused(self, error: str) -> float:
        """Note that the routing document cannot be written; return after how many seconds to try again."""
        delay = float(min(0.5 * 2.0 ** min(self.refusals, 10), _REFUSED_S))
        self.router_error, self.refusals = error, self.refusals + 1
        self.not_before = asyncio.get_running_loop().time() + delay
        return delay

    def accepted(self) -> None:
        """Note that the routing document was written."""
        self.router_error, self.refusals, self.not_before = "", 0, 0.0

    def age(self) -> float:
        """Return for how many seconds the rollout has been known."""
        return asyncio.get_running_loop().time() - self.born

    def abort_verified(self, seen: Seen) -> float | None:
        """Return, once, how many seconds after an abort every running pod had followed it."""
        if self.aborted is None:
            return None
        began, digest = self.aborted
        took = asyncio.get_running_loop().time() - began
        pods = [pod for pod in seen.observation.target.pods if pod.running and not pod.terminating]
        if pods and all(_follows(pod, digest) for pod in pods):
            self.aborted = None
            return took
        document = seen.observation.document
        if took > _ABORT_S or document is None or document.digest != digest:
            self.aborted = None  # it was replaced by a later document: whatever is measured now is not this abort
        return None


def _follows(pod: Pod, digest: str) -> bool:
    report = pod.report
    if report is None or report.applied is None or report.applied.digest != digest:
        return False
    return all(model.state is ModelState.READY for model in report.models.values() if model.role == "stable")
