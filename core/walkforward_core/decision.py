"""The number that a decision is taken on, the same in trainer and server: for one row, and for arrays of rows (contract C5)."""

from __future__ import annotations

from typing import Any

__all__ = ["LEAST_THRESHOLD", "decision_score"]

LEAST_THRESHOLD = 0.5
"""Of three classes, the lowest threshold of a decision: below it up and down could both be probable enough."""


def decision_score(positive: Any, negative: Any, classes: int) -> Any:
    """Return the score of the probabilities of the positive and of the negative class: floats, or arrays of double precision.

    Of two classes it is ``positive``. Of three it is max(positive, 1/2) where positive ≥ negative, else min(1 - negative, 1/2): for every
    threshold from 1/2 on it is above the threshold exactly where ``positive`` is, and below 1 - threshold exactly where ``negative``
    is above the threshold, up to the rounding of 1 - negative. So the rules for two classes (sign, size) hold for three, and a row on
    which neither has half the probability is at 1/2, whatever the third class says.

    >>> decision_score(0.7, 0.1, 3), decision_score(0.1, 0.75, 3), decision_score(0.1, 0.2, 3), decision_score(0.3, 0.7, 2)
    (0.7, 0.25, 0.5, 0.3)
    """
    if classes == 2:
        return positive
    # in arithmetic, so that floats and arrays take the same path; of two products one is exactly zero
    up, down = positive > LEAST_THRESHOLD, negative > LEAST_THRESHOLD
    return up * positive + down * (1.0 - negative) + (1 - up - down * 1) * LEAST_THRESHOLD
