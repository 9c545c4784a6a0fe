"""Statistic of paired outcomes: the difference of two Sharpe ratios per outcome, from batches (`docs/reference/gates.md`, sharpe).

Estimand θ = r̄_c/sd_c - r̄_s/sd_s. Its standard error comes from batches of market time, so neither overlapping labels nor correlated
symbols make it too small. Three virtual losses of 2κ stand for the rare bad outcomes that agreement so far has not shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from walkforward_core.stats import Outcomes

__all__ = ["Paired", "annualised", "harm_evidence", "log_evidence", "outcomes_needed", "paired"]

VIRTUAL_LOSSES: Final = 3
VIRTUAL_SIZE: Final = 2.0
"""Each virtual loss is this many κ."""
HARMS: Final = (1.0, 4.0, 20.0)
"""Sizes of harm that the e-value averages over, in margins."""
MIN_BATCHES: Final = 32
MIN_OUTCOMES: Final = 100
_TINY: Final = 1e-12
_ROUNDING: Final = 1e-9
_HUGE: Final = 1e30
_NEVER: Final = 1e15
"""Outcomes that no market will ever yield; a margin next to nothing would need even more."""
_YEAR_MS: Final = 31_557_600_000


@dataclass(frozen=True, slots=True)
class Paired:
    """Sums over all batches, reduced.

    Attributes
    ----------
    n, batches:
        Outcomes, and batches that hold any.
    sharpe_stable, sharpe_candidate:
        Mean over standard deviation per outcome, net of costs; 0 for an arm without variance.
    theta, variance:
        Their difference, and its squared standard error.
    kappa:
        Variance against that of independent outcomes, within [1, outcomes per horizon].
    rho:
        Correlation of the arms' outcomes.
    degenerate:
        Why there is no such statistic; empty when there is one.
    """

    n: float
    batches: int
    sharpe_stable: float = 0.0
    sharpe_candidate: float = 0.0
    theta: float = 0.0
    variance: float = 0.0
    kappa: float = 1.0
    rho: float = 0.0
    degenerate: str = ""


def paired(outcomes: Outcomes, per_horizon: float) -> Paired:
    """Return the statistic of a table; ``per_horizon`` is H, the outcomes within one label horizon (bars times symbols).

    Raises
    ------
    ValueError
        The sums are of no possible outcomes.
    """
    rows = [outcomes.rows[key] for key in sorted(outcomes.rows, key=int)]
    if not rows:
        return Paired(0.0, 0, degenerate="no outcome has matured")
    _check(rows)
    n, s, c, ss, cc, sc = (math.fsum(column) for column in zip(*rows, strict=True))
    var_s, var_c = ss / n - (s / n) ** 2, cc / n - (c / n) ** 2
    flat = [arm for arm, var, square in (("stable", var_s, ss), ("the candidate", var_c, cc)) if var <= _TINY * square / n]
    if flat:
        return Paired(n, len(rows), degenerate=f"all {n:.0f} outcomes of {' and of '.join(flat)} are equal")
    sd_s, sd_c = math.sqrt(var_s), math.sqrt(var_c)
    sharpe_s, sharpe_c = s / n / sd_s, c / n / sd_c
    theta = sharpe_c - sharpe_s
    scale = ss / var_s + cc / var_c
    independent = scale - 2.0 * sc / (sd_s * sd_c) - n * theta * theta
    variance = _variance(rows, sd_s, sd_c, theta) / (n * n)
    # full agreement leaves only rounding; then nothing is known of the serial correlation, and the worst is assumed
    ratio = variance * n * n / independent if independent > _TINY * scale else per_horizon
    return Paired(
        n=n,
        batches=len(rows),
        sharpe_stable=sharpe_s,
        sharpe_candidate=sharpe_c,
        theta=theta,
        variance=variance,
        kappa=min(max(ratio, 1.0), max(per_horizon, 1.0)),
        rho=max(-1.0, min(1.0, (sc / n - s / n * c / n) / (sd_s * sd_c))),
    )


def _check(rows: list[tuple[float, float, float, float, float, float]]) -> None:
    """Refuse counts below one, sums beyond any return, and products that break Cauchy and Schwarz."""
    for n, s, c, ss, cc, sc in rows:
        possible = n >= 1.0 and 0.0 <= ss < _HUGE and 0.0 <= cc < _HUGE
        if not (possible and _within(s, n, ss) and _within(c, n, cc) and _within(sc, ss, cc)):
            raise ValueError(f"a batch of {n:g} outcomes with sums {s:g}, {c:g} and products {ss:g}, {cc:g}, {sc:g} cannot be")


def _within(x: float, a: float, b: float) -> bool:
    """Whether |x| ≤ √(a·b), but for rounding."""
    return abs(x) <= math.sqrt(a) * math.sqrt(b) * (1.0 + _ROUNDING)


def _variance(rows: list[tuple[float, float, float, float, float, float]], sd_s: float, sd_c: float, theta: float) -> float:
    """Return J/(J-1)·Σe_j² + 2·max(0, Σe_j·e_{j+1}): batch sums and the covariance of neighbours, never below zero."""
    e = [row[2] / sd_c - row[1] / sd_s - theta * row[0] for row in rows]
    count = len(e)
    if count < 2:
        return math.inf
    squares = math.fsum(x * x for x in e)
    neighbours = math.fsum(x * y for x, y in pairwise(e))
    return count / (count - 1) * squares + 2.0 * max(0.0, neighbours)


def log_evidence(statistic: Paired, margin: float) -> float:
    """Return Λ = m·(θ' + m/2)/se'², log evidence for "equal" against "worse by m" after the virtual losses (Wald's SPRT)."""
    n, size = statistic.n, VIRTUAL_SIZE * statistic.kappa
    if statistic.degenerate or n <= 0:
        return -math.inf
    total = n + VIRTUAL_LOSSES
    theta = (n * statistic.theta - VIRTUAL_LOSSES * size) / total
    variance = (n * n * statistic.variance + VIRTUAL_LOSSES * size * size) / (total * total)
    return margin * (theta + margin / 2.0) / variance


def harm_evidence(statistic: Paired, margin: float) -> float:
    """Return E, the mean over q in {m, 4m, 20m} of exp(-q·(θ + q/2)/se²): an e-value for "worse than equal"."""
    if statistic.degenerate or statistic.n <= 0:
        return 0.0
    return math.fsum(_exponential(-q * (statistic.theta + q / 2.0), statistic.variance) for q in (margin * h for h in HARMS)) / len(HARMS)


def _exponential(numerator: float, variance: float) -> float:
    """Return exp(numerator / variance), its limit at variance 0, and infinity where it leaves the floats."""
    if variance <= 0.0:
        return math.inf if numerator > 0.0 else 0.0
    power = numerator / variance
    return math.exp(power) if power < 700.0 else math.inf


def outcomes_needed(margin: float, per_horizon: float, *, kappa: float = 2.0, rho: float = 0.9) -> int:
    """Return n*, the outcomes that an equal candidate is expected to need (`docs/reference/gates.md`, sharpe), at least max(100, 32·H).

    n* = (κ/m²)·(a + √(a² + 72m²)), a = 6m + 6(1 - ρ). The median is 0.78 n*; 92 % have passed by 2 n*. The defaults of κ and ρ are what
    to assume before anything was seen.

    >>> outcomes_needed(0.05, 5), outcomes_needed(0.1, 5)
    (1516, 534)
    """
    a = 6.0 * margin + 6.0 * (1.0 - min(rho, 1.0))
    expected = kappa / max(margin * margin, 1.0 / _NEVER) * (a + math.sqrt(a * a + 72.0 * margin * margin))
    return max(math.ceil(min(expected, _NEVER)), MIN_OUTCOMES, math.ceil(MIN_BATCHES * per_horizon))


def annualised(per_outcome: float, base_ms: int) -> float:
    """Return a difference of per-outcome Sharpe ratios per year of a market that never closes: times √(horizons per year)."""
    return per_outcome * math.sqrt(_YEAR_MS / base_ms) if base_ms > 0 else math.nan
