"""The last step of three classes: neutral is predicted as often as the class target asks.

Weights lead the fit to the class target, and so the *mean probability* of neutral becomes what is asked. How often neutral is the *most
probable* class is another matter: asked for 10 %, it is hardly ever that, since down or up is nearly always likelier. The prediction
gates look at the most probable class, so the weight of neutral is raised until that is as frequent as asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Vector = npt.NDArray[np.float64]

__all__ = ["MOST", "balance_weights", "balanced", "fit_balance"]

MOST: Final = 4.0
"""Most that neutral counts. Where it takes more, nothing is known of neutral: it would only take from what is known of the others."""
CLOSE: Final = 1e-6
"""Rows that need factors no further apart than this, relative to them, are won together or not at all."""
DIGITS: Final = 9


def fit_balance(p: Vector, wanted: float) -> float:
    """Return what neutral counts in ``p`` (n, 3), down, neutral, up, so that it is the most probable class in ``wanted`` of the rows.

    It counts once at the least: the step takes confidence from down and up, and gives them none, so it never makes a trade. ``p`` is of
    rows that have no part in any evidence.

    >>> p = np.array([[0.6, 0.1, 0.3], [0.3, 0.3, 0.4], [0.2, 0.1, 0.7], [0.8, 0.1, 0.1]])
    >>> round(fit_balance(p, 0.25), 2), fit_balance(p, 0.0)
    (2.83, 1.0)
    """
    # neutral wins a row once it counts more than this
    needed = np.sort(np.maximum(p[:, 0], p[:, 2]) / np.maximum(p[:, 1], 1e-300))
    ends = np.flatnonzero(np.diff(needed, append=np.inf) > CLOSE * needed)
    at = int(ends[np.abs(ends + 1 - wanted * len(needed)).argmin()])
    if wanted * len(needed) < (at + 1) / 2:
        return 1.0
    # halfway to the next row: no row stands on the very edge, where another processor's last digit would decide
    beyond = needed[at + 1] if at + 1 < len(needed) else needed[at] * 1.01
    return round(min(max(float(np.sqrt(needed[at] * beyond)), 1.0), MOST), DIGITS)


def balanced(p: Vector, neutral: float) -> Vector:
    """Return ``p`` (n, 3) with the second column times ``neutral``; rows no longer add up to 1."""
    return np.asarray(p * np.array([1.0, neutral, 1.0]))


def balance_weights(y: Vector, neutral: float) -> Vector:
    """Return what rows of the classes ``y`` (n,) weigh where probabilities count neutral ``neutral`` times.

    Shares p, each times a factor of its class and divided by their sum, are the probabilities of a market in which rows of that class
    weigh the factor (Bayes): under these weights they are as well calibrated as they were before.
    """
    return np.where(y == 1, neutral, 1.0)
