"""What probabilities mean: the score and the position of one decision, in [-1, 1] (contract C5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter

from walkforward_core.bundle import Decision, DecisionKind, Output
from walkforward_core.decision import decision_score

__all__ = ["PositionRule", "choice_rule", "needs_base", "position_rule", "score_rule"]

PositionRule = Callable[[float, float], float]
"""(score of the decision, base position) -> position."""


def score_rule(output: Output) -> Callable[[Sequence[float]], float]:
    """Return what makes one score of the probabilities of a row: of two classes that of the positive one.

    >>> score_rule(Output(classes=(0, 1, 2), positive=2, negative=0))([0.1, 0.2, 0.7])
    0.7
    """
    classes = len(output.classes)
    positive, negative = output.classes.index(output.positive), output.classes.index(output.negative)
    if classes == 2:
        return itemgetter(positive)
    return lambda p: float(decision_score(p[positive], p[negative], classes))


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


def choice_rule(decision: Decision, classes: int = 2) -> Callable[[float], float]:
    """Return what two models are compared by: the position for a base position of 1; of a size, its side only.

    Of three classes a size of 0, where neither side has half the probability, is a choice of its own.
    """
    rule = position_rule(decision)
    if decision.kind is DecisionKind.SIZE and classes > 2:
        return lambda p: float(p > 0.5) - float(p < 0.5)
    if decision.kind is DecisionKind.SIZE:
        return lambda p: 1.0 if p > 0.5 else -1.0
    return lambda p: rule(p, 1.0)
