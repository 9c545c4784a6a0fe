"""What a probability means: the position of one decision, in [-1, 1] (contract C5)."""

from __future__ import annotations

from collections.abc import Callable

from walkforward_core.bundle import Decision, DecisionKind

__all__ = ["PositionRule", "choice_rule", "needs_base", "position_rule"]

PositionRule = Callable[[float, float], float]
"""(probability of the positive class, base position) -> position."""


def needs_base(decision: Decision) -> bool:
    """Return whether a position can only be formed from a base position."""
    return decision.kind is DecisionKind.FILTER


def position_rule(decision: Decision) -> PositionRule:
    """Return the rule of ``decision``, compared in double precision.

    >>> position_rule(Decision(kind=DecisionKind.SIGN, threshold=0.6))(0.7, 0.0)
    1.0
    >>> position_rule(Decision(kind=DecisionKind.FILTER, threshold=0.5))(0.4, -0.5)
    -0.5
    """
    threshold = decision.threshold

    def sign(p: float, _base: float) -> float:
        if p > threshold:
            return 1.0
        return -1.0 if p < 1.0 - threshold else 0.0

    def filtered(p: float, base: float) -> float:
        return 0.0 if p > threshold else base

    def size(p: float, _base: float) -> float:
        return 2.0 * p - 1.0

    return {DecisionKind.SIGN: sign, DecisionKind.FILTER: filtered, DecisionKind.SIZE: size}[decision.kind]


def choice_rule(decision: Decision) -> Callable[[float], float]:
    """Return what two models are compared by: the position for a base position of 1; of a size, its side only."""
    rule = position_rule(decision)
    if decision.kind is DecisionKind.SIZE:
        return lambda p: 1.0 if p > 0.5 else -1.0
    return lambda p: rule(p, 1.0)
