"""Features that tell the answer by themselves: no market has one, so it was written after the answer was known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_trainer.metrics.probability import auc

if TYPE_CHECKING:
    from walkforward_trainer.dataset import Dataset

__all__ = ["telling", "telling_note"]

LIMIT: Final = 0.95
"""Area under the curve of one feature alone. Made markets with a strong edge stay below it."""
NEWEST: Final = 50_000
"""Labelled rows that are looked at, the newest."""
LEAST: Final = 20
"""Rows of either answer below which chance can separate them."""


def telling(rows: Dataset) -> dict[str, float]:
    """Return the features that alone tell the answers apart, with the area under the curve that each has, the largest first.

    A feature that is lower where the answer is yes tells as much. Of three classes it is down against up; missing values say nothing.
    """
    known = np.flatnonzero(rows.known)[-NEWEST:]
    y = rows.y[known]
    outer = (y == 0) | (y == y.max(initial=1))
    answer = (y[outer] > 0).astype(np.float64)
    found = {}
    for name, column in zip(rows.names, rows.x[known[outer]].T, strict=True):
        use = np.isfinite(column)
        up = answer[use]
        if min(up.sum(), len(up) - up.sum()) < LEAST:
            continue
        area = auc(up, column[use].astype(np.float64))
        found[name] = max(area, 1.0 - area)
    return {name: area for name, area in sorted(found.items(), key=lambda one: -one[1]) if area >= LIMIT}


def telling_note(found: dict[str, float]) -> str:
    """Return what a person should look at."""
    features = ", ".join(f"{name} (AUC {area:.3f})" for name, area in found.items())
    return (
        f"By itself each of these features tells the answer better than any market lets it: {features}. Look when its values became known "
        "(a trade's row written at its close, a joined table without its publication) before the model gets any traffic"
    )
