"""Stage 14, golden rows: rows on and around split thresholds, with the answers that a server must give before it serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.bundle import Golden
from walkforward_core.decision import decision_score
from walkforward_trainer.decision import position
from walkforward_trainer.parity import straddling
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
    rows = golden_rows(x, [split for base in fitted.bases for split in base.part.splits])
    p = run(fitted.model, rows).astype(np.float64)
    taken = position(plan.decision, decision_score(p[:, -1], p[:, 0], p.shape[1]), np.ones(len(rows)))
    return Golden(
        x=tuple(tuple(None if np.isnan(value) else value for value in row) for row in rows.astype(np.float64).tolist()),
        p=tuple(map(tuple, p.tolist())),
        position=tuple(taken.tolist()),
        tolerance=TOLERANCE,
    )


def golden_rows(x: Matrix, splits: list[tuple[int, float]]) -> Matrix:
    """Return rows of ``x``, then for splits spread over all of them a row that lies on the threshold and on either neighbour.

    A server that compares in another precision than the trainer is found out here.
    """
    plain = x[np.unique(np.linspace(0, len(x) - 1, min(PLAIN_ROWS, len(x))).astype(np.intp))]
    around = straddling(x, splits, (MAX_ROWS - len(plain)) // 3)
    return np.ascontiguousarray(np.vstack([plain, around]), dtype=np.float32)
