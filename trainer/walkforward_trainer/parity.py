"""Stage 12, parity: the shipped bytes give what was evaluated, or the run fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.bundle import Parity
from walkforward_trainer.errors import Broken, Reason
from walkforward_trainer.graph import base_graph
from walkforward_trainer.runtime import run

if TYPE_CHECKING:
    import numpy.typing as npt

    from walkforward_trainer.fit import Fitted

__all__ = ["LIMIT", "check_parity"]

LIMIT: Final = 1e-6


def check_parity(x: npt.NDArray[np.float32], fitted: Fitted) -> Parity:
    """Return the largest difference found over the rows ``x``.

    Two steps are compared: the trees in ONNX against the library that trained them, as probabilities; and the whole shipped graph
    against meta model and calibrator as they were evaluated.

    Raises
    ------
    Broken
        A difference above :data:`LIMIT`, or an answer that is no probability.
    """
    shipped = run(fitted.model, x).astype(np.float64)
    z = run(base_graph([base.trees() for base in fitted.bases], x.shape[1]), x).astype(np.float64)
    native = np.column_stack([base.raw(x) for base in fitted.bases]).astype(np.float64)
    trees = np.abs(_logistic(z) - _logistic(native)).max()
    tail = np.abs(shipped[:, 1] - fitted.tail.probability(z)).max()
    total = np.abs(shipped.sum(axis=1) - 1.0).max()
    worst = float(max(trees, tail))
    if not (worst <= LIMIT and total <= LIMIT and np.isfinite(shipped).all() and (shipped >= 0).all()):
        raise Broken(
            Reason.PARITY_FAILED,
            f"parity: shipped and evaluated model differ by {worst:.3g} (trees {trees:.3g}, calibration {tail:.3g}, sum of p {total:.3g}), "
            f"limit {LIMIT:g}; nothing was published, report this with the library versions",
        )
    return Parity(max_abs=worst, rows=len(x))


def _logistic(z: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(1.0 / (1.0 + np.exp(-z)))
