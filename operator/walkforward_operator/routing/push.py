"""The push: an annotation that makes the kubelet look at the routing ConfigMap at once (contract C3).

It is set after the write of the document was answered, never before: measured, in that order no pod stayed stale, with both at once
every sixth update did. A pod that does not follow within a second is bumped again, backing off. What is to be pushed follows from the
pods as they are, so a pod born around the write gets it too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from walkforward_operator.rollout.model import Pod

__all__ = ["Bumps", "Push"]

_FIRST_S: Final = 1.0
_MOST_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Push:
    """One annotation to be set."""

    pod: Pod
    value: str


@dataclass(slots=True)
class _Bump:
    value: str
    at: float


class Bumps:
    """Remembers when which pod was pushed; ``now`` is the event loop's clock, in seconds."""

    def __init__(self) -> None:
        self._last: dict[str, _Bump] = {}

    def due(self, pods: Iterable[Pod], *, generation: int, digest: str, now: float) -> tuple[tuple[Push, ...], float | None]:
        """Return what is to be pushed now, and after how many seconds to ask again (None: when a pod changes)."""
        pods = [pod for pod in pods if not pod.terminating]
        self._last = {pod.uid: self._last[pod.uid] for pod in pods if pod.uid in self._last}
        pushes, waits = [], []
        for pod in pods:
            current, attempt = _parse(pod.pushed)
            if current != generation:
                pushes.append(Push(pod, str(generation)))
            elif pod.running and not _applied(pod, digest):
                # after a restart of the operator it is not known when this was pushed: from now on is soon enough
                since = self._last.setdefault(pod.uid, _Bump(pod.pushed, now)).at
                wait = since + min(_FIRST_S * 2.0 ** min(attempt, 30), _MOST_S) - now
                if wait <= 0:
                    pushes.append(Push(pod, f"{generation}.{attempt + 1}"))
                else:
                    waits.append(wait)
        waits += [_FIRST_S] if pushes else []
        return tuple(pushes), min(waits, default=None)

    def done(self, push: Push, *, now: float) -> None:
        """Note that the annotation was set."""
        self._last[push.pod.uid] = _Bump(push.value, now)


def _parse(value: str) -> tuple[int | None, int]:
    """Return generation and attempt of an annotation; None for one that nobody here has written."""
    generation, _, attempt = value.partition(".")
    if not generation.isdecimal() or (attempt and not attempt.isdecimal()):
        return None, 0
    return int(generation), int(attempt or 0)


def _applied(pod: Pod, digest: str) -> bool:
    return pod.report is not None and pod.report.applied is not None and pod.report.applied.digest == digest
