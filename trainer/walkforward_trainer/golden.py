"""Stage 14, golden rows: rows on and around split thresholds, with the answers that a server must give before it serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.bundle import Golden
from walkforward_trainer.decision import position
from walkforward_trainer.runtime import run

if TYPE_CHECKING:
    import numpy.typing as npt

    from walkforward_trainer.fit import Fitted
    from walkforward_trainer.plan import Plan

    Matrix = npt.NDArray[np.float32]

__all__ = ["MAX_ROWS", "TOLERANCE", "golden_rows", "make_golden"]

MAX_ROWS: Final = 512
PLAIN_ROWS: Final = 62
"""Rows of the window itself among them, spread over its time."""
TOLERANCE: Final = 1e-6


def make_golden(x: Matrix, fitted: Fitted, plan: Plan) -> Golden:
    """Return at most :data:`MAX_ROWS` rows with the probabilities of the shipped bytes, and the position for a base position of 1."""
    rows = golden_rows(x, [split for base in fitted.bases for split in base.trees().splits])
    p = run(fitted.model, rows)
    taken = position(plan.decision, p[:, 1].astype(np.float64), np.ones(len(rows)))
    return Golden(
        x=tuple(tuple(None if np.isnan(value) else value for value in row) for row in rows.astype(np.float64).tolist()),
        p=tuple(map(tuple, p.astype(np.float64).tolist())),
        position=tuple(taken.tolist()),
        tolerance=TOLERANCE,
    )


def golden_rows(x: Matrix, splits: list[tuple[int, float]]) -> Matrix:
    """Return rows of ``x``, then for splits spread over all of them a row that lies on the threshold and on either neighbour.

    At a threshold the last bit of a feature chooses the branch: a server that compares in another precision is found out here.
    """
    plain = x[np.unique(np.linspace(0, len(x) - 1, min(PLAIN_ROWS, len(x))).astype(np.intp))]
    ordered = sorted(set(splits))
    count = min(len(ordered), (MAX_ROWS - len(plain)) // 3)
    chosen = [ordered[int(at)] for at in np.linspace(0, len(ordered) - 1, count)] if count else []
    around = []
    for number, (feature, threshold) in enumerate(chosen):
        at = np.float32(threshold)
        for value in (np.nextafter(at, np.float32(-np.inf)), at, np.nextafter(at, np.float32(np.inf))):
            row = x[number * len(x) // len(chosen)].copy()
            row[feature] = value
            around.append(row)
    return np.ascontiguousarray(np.vstack([plain, *around]), dtype=np.float32)
