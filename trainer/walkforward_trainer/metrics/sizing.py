"""Kelly's rule: the share of the capital that makes it grow fastest, and the smaller one that may be staked (Kelly 1956, Thorp 2006)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from walkforward_core.api.recipe import Sizing

    Vector = npt.NDArray[np.float64]

__all__ = ["HALF", "Stake", "kelly_binary", "kelly_continuous", "lower_bound", "stake"]

HALF: Final = 0.5
"""Never more than half of the Kelly fraction: what it costs to overestimate the edge is larger than what it earns."""


@dataclass(frozen=True, slots=True)
class Stake:
    """``kelly`` of the shrunken win rate, ``continuous`` mean / variance, ``stake`` the share of the capital; ``win_rate`` is the bound."""

    kelly: float
    continuous: float
    stake: float
    win_rate: float


def kelly_binary(p: float, odds: float) -> float:
    """Return f* = p - (1 - p) / b for the win rate ``p`` and b = mean win / mean loss; negative where the bet should not be made."""
    return p - (1.0 - p) / odds


def kelly_continuous(net: Vector) -> float:
    """Return f* = mean / variance of ``net``: the growth-optimal leverage of small, frequent outcomes; NaN without any spread."""
    variance = float(net.var())
    return float(net.mean()) / variance if variance > 0.0 else float("nan")


def lower_bound(wins: float, n: float, confidence: float = 0.95) -> float:
    """Return Wilson's lower bound of a share, one-sided: ``wins`` of ``n``.

    >>> round(lower_bound(60.0, 100.0), 4)
    0.5178
    """
    z2 = NormalDist().inv_cdf(confidence) ** 2
    p = wins / n
    return max(0.0, (p + z2 / (2 * n) - math.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n * n)))) / (1 + z2 / n))


def stake(net: Vector, independent: float, sizing: Sizing) -> Stake | None:
    """Return the stake of traded outcomes ``net`` (n,), of which ``independent`` do not share luck; None without a win or any of these.

    The win rate is shrunk to its lower 95 % bound before anything is staked; a negative fraction stakes nothing.
    """
    won, lost = net[net > 0], net[net < 0]
    if not len(won) or independent < 1.0:
        return None
    p = lower_bound(len(won) / len(net) * independent, independent)
    kelly = kelly_binary(p, float(won.mean()) / float(-lost.mean()) if len(lost) else math.inf)
    share = min(min(sizing.fraction, HALF) * max(kelly, 0.0), sizing.cap)
    return Stake(kelly=kelly, continuous=kelly_continuous(net), stake=share, win_rate=p)
