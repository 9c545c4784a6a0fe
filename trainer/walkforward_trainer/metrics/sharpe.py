"""What a Sharpe ratio proves: PSR, DSR and the shortest track record (Bailey & López de Prado 2012, 2014).

Every Sharpe ratio here is per outcome: mean / population standard deviation, not annualised.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Vector = npt.NDArray[np.float64]
    Times = npt.NDArray[np.int64]

__all__ = ["Moments", "deflated", "disjoint", "expected_maximum", "moments", "probabilistic", "track_record"]

EULER_MASCHERONI: Final = 0.5772156649015329
_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True)
class Moments:
    """``sharpe`` of a sample, its ``skew`` and its ``kurtosis`` (3 for a normal distribution, not the excess), both without bias."""

    sharpe: float
    skew: float
    kurtosis: float

    @property
    def spread(self) -> float:
        """The standard error of the Sharpe ratio, times √(n - 1)."""
        return math.sqrt(1.0 - self.skew * self.sharpe + (self.kurtosis - 1.0) / 4.0 * self.sharpe**2)


def moments(net: Vector) -> Moments | None:
    """Return the moments of ``net`` (n,); None of fewer than four outcomes, without spread, or where they make no sense."""
    n = len(net)
    if n < 4 or float(np.ptp(net)) == 0.0:
        return None
    centred = net - net.mean()
    m2, m3, m4 = (float(np.mean(centred**power)) for power in (2, 3, 4))
    skew = math.sqrt(n * (n - 1.0)) / (n - 2.0) * m3 / m2**1.5
    excess = (n - 1.0) / ((n - 2.0) * (n - 3.0)) * ((n + 1.0) * (m4 / m2**2 - 3.0) + 6.0)
    found = Moments(sharpe=float(net.mean()) / math.sqrt(m2), skew=skew, kurtosis=excess + 3.0)
    return found if 1.0 - found.skew * found.sharpe + (found.kurtosis - 1.0) / 4.0 * found.sharpe**2 > 0.0 else None


def probabilistic(found: Moments, outcomes: float, benchmark: float = 0.0) -> float:
    """Return PSR: the probability that the true Sharpe ratio is above ``benchmark``, of ``outcomes`` independent ones.

    Φ((SR - SR*)·√(n - 1) / √(1 - γ3·SR + (γ4 - 1)/4·SR²)).
    """
    return _NORMAL.cdf((found.sharpe - benchmark) * math.sqrt(max(outcomes - 1.0, 0.0)) / found.spread)


def expected_maximum(trials: float, variance: float) -> float:
    """Return SR*: the Sharpe ratio that the best of ``trials`` independent trials without skill is expected to show.

    √V·[(1 - γ)·Φ⁻¹(1 - 1/N) + γ·Φ⁻¹(1 - 1/(N·e))]; of one trial 0, since nothing was chosen. Runs that share most of their rows count as
    little more than one, where the formula falls below zero and would reward them: between one and two it is the straight line.
    """
    if trials <= 1.0:
        return 0.0
    if trials < 2.0:
        return (trials - 1.0) * expected_maximum(2.0, variance)
    upper, lower = _NORMAL.inv_cdf(1.0 - 1.0 / trials), _NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e))
    return math.sqrt(variance) * ((1.0 - EULER_MASCHERONI) * upper + EULER_MASCHERONI * lower)


def deflated(found: Moments, outcomes: float, trials: float, variance: float) -> float:
    """Return DSR: PSR against the best of ``trials`` whose Sharpe ratios have the ``variance``."""
    return probabilistic(found, outcomes, expected_maximum(trials, variance))


def track_record(found: Moments, confidence: float = 0.95, benchmark: float = 0.0) -> float:
    """Return MinTRL: the independent outcomes from which PSR reaches ``confidence``; infinite without skill above the benchmark."""
    if found.sharpe <= benchmark:
        return math.inf
    return 1.0 + math.ceil((found.spread * _NORMAL.inv_cdf(confidence) / (found.sharpe - benchmark)) ** 2)


def disjoint(t0: Times, t1: Times) -> int:
    """Return how many of the intervals [t0, t1), ``t0`` ascending, can be taken one after the other without overlap.

    Outcomes that share time share luck: of a label that looks 5 bars ahead from every bar, a fifth of the rows are independent
    evidence. Rows of several symbols at one time count once.
    """
    following = np.maximum(np.searchsorted(t0, t1, side="left"), np.arange(1, len(t0) + 1)).tolist()
    count, at = 0, 0
    while at < len(following):
        count, at = count + 1, following[at]
    return count
