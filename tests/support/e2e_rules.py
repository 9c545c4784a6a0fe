"""What a rollout may do to exposure, checked on the routing documents that it has written (the rules of the design, seen from outside)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from walkforward_core.routing import RoutingDocument

__all__ = ["Seen", "broken_rules", "exposure", "weights"]


@dataclass(frozen=True, slots=True)
class Seen:
    """One document, when it was first seen (epoch seconds) and whether a person wrote it, past the operator."""

    at: float
    document: RoutingDocument
    by_hand: bool = False


def exposure(document: RoutingDocument) -> tuple[str, int]:
    """Return the version on trial and the percent of keys that it answers; 100 while the previous model is kept warm."""
    trial = document.on_trial
    if trial is None:
        return "", 0
    return trial.version, 100 if document.previous is not None else document.weight


def weights(history: Sequence[Seen], version: str) -> list[int]:
    """Return the exposures that ``version`` has had, repetitions left out."""
    taken: list[int] = []
    for seen in history:
        name, weight = exposure(seen.document)
        if name == version and (not taken or taken[-1] != weight):
            taken.append(weight)
    return taken


def broken_rules(history: Sequence[Seen], plan: Sequence[int]) -> list[str]:
    """Return every step that the plan's weights do not allow, in words; empty when all is well."""
    found = []
    for before, after in pairwise(history):
        if after.by_hand:
            continue
        told = f"generation {before.document.generation} -> {after.document.generation}"
        if after.document.generation <= before.document.generation:
            found.append(f"{told}: generations must rise")
        found += [f"{told}: {text}" for text in (_rise(before, after, plan), _stable(before, after)) if text]
    return found


def _rise(before: Seen, after: Seen, plan: Sequence[int]) -> str:
    """Exposure rises by one step of the plan at a time, of the same candidate, and never out of an abort."""
    (was, low), (now, high) = exposure(before.document), exposure(after.document)
    if not now or before.document.stable is None:
        return ""
    known = was == now
    low = low if known else 0
    if high <= low:
        return ""
    steps = (0, *plan)
    if low not in steps or steps.index(low) + 1 >= len(steps) or high > steps[steps.index(low) + 1]:
        return f"exposure of {now} rose from {low} to {high}, the plan has {list(plan)}"
    if known and before.document.abort is not None:
        return f"exposure of {now} rose to {high} although the document carried the abort {before.document.abort.reason}"
    return ""


def _stable(before: Seen, after: Seen) -> str:
    """Another model becomes stable only after it answered everything, or as the way back to the one before."""
    old, new = before.document.stable, after.document.stable
    if old is None or new == old:
        return ""
    if new is None:
        return f"stable {old.version} went, nothing came"
    promoted = before.document.candidate == new and before.document.weight == 100
    back = before.document.previous == new
    return "" if promoted or back else f"stable changed from {old.version} to {new.version} without a promotion"
