"""Status conditions as kstatus, Helm and Argo CD read them.

Contract: working is ``Reconciling=True``; done and good is ``Ready=True`` alone; given up is ``Ready=False`` with ``Stalled=True``.
``Reconciling`` and ``Stalled`` are absent, never False. ``lastTransitionTime`` moves only when ``status`` does.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from walkforward_core.documents import Part

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Condition", "find", "instant", "merge"]


class Condition(Part, frozen=True, kw_only=True):
    """One condition."""

    type: Annotated[str, Meta(max_length=316)]
    """Ready, Reconciling, Stalled or one of the domain's own."""
    status: Annotated[str, Meta(pattern="^(True|False|Unknown)$")]
    """True, False or Unknown."""
    reason: Annotated[str, Meta(max_length=1024)]
    """One word for programs."""
    message: Annotated[str, Meta(max_length=32768)] = ""
    """One sentence for people."""
    last_transition_time: Annotated[str, Meta(max_length=40)] = ""
    """When `status` last changed."""
    observed_generation: int = 0
    """Generation of the object that this was said of."""


def instant(now_ms: int) -> str:
    """Return an instant as Kubernetes writes it, RFC 3339 UTC to the second.

    >>> instant(0)
    '1970-01-01T00:00:00Z'
    """
    return datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def find(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """Return the condition of type ``kind``, if there is one."""
    return next((condition for condition in conditions if condition.type == kind), None)


def merge(old: Iterable[Condition], new: Iterable[Condition], *, generation: int, now_ms: int) -> tuple[Condition, ...]:
    """Return ``new`` sorted by type, each keeping the transition time of ``old`` where its status did not change."""
    before = {condition.type: condition for condition in old}
    merged = []
    for condition in sorted(new, key=lambda one: one.type):
        known = before.get(condition.type)
        since = known.last_transition_time if known is not None and known.status == condition.status else instant(now_ms)
        merged.append(msgspec.structs.replace(condition, last_transition_time=since, observed_generation=generation))
    return tuple(merged)
