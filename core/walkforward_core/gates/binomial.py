"""Binomial tails without scipy: exact, and by the normal law where a million trials make no difference."""

from __future__ import annotations

import math

__all__ = ["binomial_tail"]

_NEGLIGIBLE = 1e-18
_MANY = 1_000_000


def binomial_tail(k: int, n: int, p: float) -> float:
    """Return P(Bin(n, p) ≥ k), summed from its largest term outwards until terms no longer matter; beyond a million trials normal.

    >>> round(binomial_tail(5, 5, 0.5), 5), round(binomial_tail(0, 9, 0.3), 5), binomial_tail(3, 2, 0.5)
    (0.03125, 1.0, 0.0)

    Raises
    ------
    ValueError
        ``n`` is negative or ``p`` not within [0, 1].
    """
    if n < 0 or not 0.0 <= p <= 1.0:
        raise ValueError(f"binomial of n = {n}, p = {p}: n must not be negative, p lies within [0, 1]")
    if k <= 0:
        return 1.0
    if k > n or p == 0.0:
        return 0.0
    if p == 1.0:
        return 1.0
    if n > _MANY:  # the sum would take √n steps
        return 0.5 * math.erfc((k - 0.5 - n * p) / math.sqrt(2.0 * n * p * (1.0 - p)))
    if k <= n * p:
        # the other tail is the small one; its terms fall away from k - 1 downwards
        return 1.0 - _outwards(n - k + 1, n, 1.0 - p)
    return _outwards(k, n, p)


def _outwards(k: int, n: int, p: float) -> float:
    """Sum the terms k, k + 1, …, which fall from the first on because k lies above the mean."""
    term = math.exp(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(p) + (n - k) * math.log1p(-p))
    total, odds = 0.0, p / (1.0 - p)
    for i in range(k, n + 1):
        total += term
        if term < total * _NEGLIGIBLE:
            break
        term *= odds * (n - i) / (i + 1)
    return min(total, 1.0)
