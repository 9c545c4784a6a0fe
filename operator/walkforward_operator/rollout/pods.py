"""What the pods say of the routing document: who has applied it, with which models (contract C3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from walkforward_core.pods import ModelState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from walkforward_core.pods import ModelReport
    from walkforward_core.routing import ModelRef
    from walkforward_operator.rollout.model import Pod
    from walkforward_operator.rollout.turn import Turn

__all__ = ["REPORT_MS", "report_on", "unverified"]

REPORT_MS: Final = 30_000
"""A report older than this says nothing about now."""


def unverified(turn: Turn, pods: Sequence[Pod], *, stable_only: bool = False) -> str:
    """Return why the applied document is not verified on ``pods``, naming the first pod that lags; empty when it is.

    ``stable_only`` is for the way back: the other models may be in any state. An empty set is never verified.
    """
    if not pods:
        return "no pod is ready"
    lag = first_lagging(turn, pods, stable_only=stable_only)
    return "" if lag is None else f"pod {lag[0].name}: {lag[1]}"


def first_lagging(turn: Turn, pods: Iterable[Pod], *, stable_only: bool) -> tuple[Pod, str] | None:
    """Return the first pod by name that has not applied the document, and what it lacks."""
    applied, kept = turn.applied, turn.status.routing.applied
    if applied is None or kept is None:
        return None
    named = (applied.stable,) if stable_only else (applied.stable, applied.candidate, applied.previous)
    models = tuple(ref for ref in named if ref is not None)
    for pod in sorted(pods, key=lambda one: one.name):
        lack = _lack(pod, kept.digest, models)
        if lack:
            return pod, lack
    return None


def report_on(pod: Pod, ref: ModelRef) -> ModelReport | None:
    """Return what a pod says of one bundle; None where it says nothing, or speaks of another one of that version."""
    found = pod.report.models.get(ref.version) if pod.report is not None else None
    return found if found is not None and found.digest in ("", ref.digest) else None


def _lack(pod: Pod, digest: str, models: tuple[ModelRef, ...]) -> str:
    report = pod.report
    if report is None:
        return "has not answered yet"
    if pod.report_age_ms is not None and pod.report_age_ms > REPORT_MS:
        return "no longer answers"
    if report.applied is None or report.applied.digest != digest:
        return f"refuses the routing document: {report.error}" if report.error else "has not applied the routing document yet"
    for ref in models:
        state = report_on(pod, ref)
        if state is None:
            return f"does not know {ref.version} yet"
        if state.state is not ModelState.READY:
            return f"{ref.version} is {state.state}{f': {state.reason}' if state.reason else ''}"
    return ""
