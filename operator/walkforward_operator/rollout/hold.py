"""How long a step may wait for its verdicts, and what moves its deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from walkforward_core import gates as core
from walkforward_core.bundle import Verdict
from walkforward_operator.rollout.clock import millis, stamp
from walkforward_operator.rollout.plan import HOLD_MAX, HOUR, required

if TYPE_CHECKING:
    from walkforward_operator.rollout.turn import Turn

__all__ = ["hold_for", "rehold"]

_NOTABLE: Final = 0.25
"""An estimate that moved by less leaves the deadline where it is: a deadline that moves writes the routing document."""


def hold_for(turn: Turn) -> int:
    """Return the hold of a step that begins now: ``maxHold``, or for auto max(1 h, 2 n* outcomes missing / rate seen), at most 14 d."""
    plan = turn.plan
    if plan is not None and plan.max_hold_ms is not None:
        return plan.max_hold_ms
    return _estimate(turn) or HOUR


def rehold(turn: Turn) -> Turn:
    """Move the deadline when the hold changed: an edit of ``maxHold`` in place, or for auto a better estimate of the time needed."""
    walk, plan = turn.walk, turn.plan
    if walk is None or plan is None or walk.deadline is None or walk.verified_at is None:
        return turn
    if plan.max_hold_ms is not None:
        return _move(turn, plan.max_hold_ms, least_ms=None) if plan.max_hold_ms != walk.hold_ms else turn
    rest = _estimate(turn)
    if rest is None:
        return turn
    estimate = min(HOLD_MAX, rest + turn.now_ms - millis(walk.verified_at))
    if abs(estimate - walk.hold_ms) < _NOTABLE * walk.hold_ms:
        return turn
    return _move(turn, estimate, least_ms=turn.now_ms + HOUR)


def _move(turn: Turn, hold_ms: int, *, least_ms: int | None) -> Turn:
    walk = turn.walk
    if walk is None or walk.deadline is None:
        return turn
    moved = millis(walk.deadline) + hold_ms - walk.hold_ms
    return turn.with_walk(hold_ms=hold_ms, deadline=stamp(moved if least_ms is None else max(moved, least_ms)))


def _estimate(turn: Turn) -> int | None:
    """Return how much longer the paired gate needs at the rate seen; None where it says nothing new.

    Its missing outcomes reach up to n*; twice n* is when 92 % of equal candidates have passed. Past half of n* an estimate stands:
    counted on, it would move with every outcome and never end.
    """
    walk, plan = turn.walk, turn.plan
    if walk is None or plan is None or core.sharpe.NAME not in required(plan, walk.step):
        return None
    result = next((one for one in turn.results if one.name == core.sharpe.NAME), None)
    if result is None or result.verdict is Verdict.PASS or result.samples <= 0:
        return None
    if result.samples >= result.missing and walk.hold_ms not in (0, HOLD_MAX):
        return None
    elapsed = max(1, turn.now_ms - millis(walk.started_at))
    missing = 2 * (result.samples + result.missing) - result.samples
    return min(HOLD_MAX, max(HOUR, missing * elapsed // result.samples))
