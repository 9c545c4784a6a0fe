"""Stage 8, decision: a probability becomes a position in [-1, 1], the rule that the server applies (contract C5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.bundle import DecisionKind
from walkforward_core.features.rolling import lag

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from walkforward_core.bundle import Decision
    from walkforward_core.features import Bars

    Vector = npt.NDArray[np.float64]

__all__ = ["base_position", "position"]


def position(decision: Decision, p: Vector, base: Vector) -> Vector:
    """Return the position for probabilities ``p`` of the positive class and base positions ``base``, both of shape (n,)."""
    return _RULES[decision.kind](p, base, decision.threshold)


def base_position(rule: str, bars: Bars) -> Vector:
    """Return the base rule's position at every bar: ``momentum:N`` is the sign of the N-bar return, ``long`` always 1.

    Shape (n,); NaN where the rule's own history is missing.
    """
    name, _, argument = rule.partition(":")
    if name == "long":
        return np.ones(len(bars))
    return np.sign(bars.close - lag(bars.close, int(argument)))


def _sign(p: Vector, _base: Vector, threshold: float) -> Vector:
    return np.where(p > threshold, 1.0, np.where(p < 1.0 - threshold, -1.0, 0.0))


def _filter(p: Vector, base: Vector, threshold: float) -> Vector:
    return np.where(p > threshold, 0.0, base)


def _size(p: Vector, _base: Vector, _threshold: float) -> Vector:
    return 2.0 * p - 1.0


_RULES: Final[Mapping[DecisionKind, Callable[[Vector, Vector, float], Vector]]] = {
    DecisionKind.SIGN: _sign,
    DecisionKind.FILTER: _filter,
    DecisionKind.SIZE: _size,
}
