"""The features in the report: what the models look at, and how far the newest rows are from the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.drift import NULL_SLACK, NullCurve, psi
from walkforward_core.gates.psi import PsiConfig
from walkforward_trainer.report.data import Drift, DriftColumn

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from walkforward_core.bundle import FeatureReference, Reference

    Matrix = npt.NDArray[np.float32]
    Vector = npt.NDArray[np.float64]

__all__ = ["importance", "newest_drift"]

FLOOR: Final = PsiConfig().max
"""Below it the rollout's psi gate calls nothing drift, by default; the limit here is max(it, NULL_SLACK · M(W) · q95(W))."""


def importance(names: Sequence[str], shares: Sequence[Vector]) -> dict[str, float]:
    """Return each feature's mean share over models, largest first; ``shares`` (f,) not negative, of any scale."""
    parts = [share / share.sum() for share in shares if share.sum() > 0]
    mean = np.mean(parts, axis=0) if parts else np.zeros(len(names))
    return {names[at]: float(mean[at]) for at in np.argsort(-mean, kind="stable").tolist()}


def newest_drift(x: Matrix, score: Vector, reference: Reference) -> tuple[Drift, ...]:
    """Return the PSI of the newest rows against all others, beside what it is without drift; rows in time order, as in ``reference``.

    The newest rows are as many as the longest stretch whose PSI without drift is known.
    """
    rows = max((int(window) for window in reference.score.null.q95), default=0)
    if not rows or rows * 2 > len(x):
        return ()
    factor = NullCurve.of(reference.null_m, reference.rows).factor(rows) or 1.0
    columns = [*zip(reference.features, x.T, strict=True), (reference.score, score.astype(np.float32))]
    found = tuple(_column(frozen, column[-rows:], rows, factor) for frozen, column in columns)
    return (Drift(window=f"newest {rows} rows", against=f"the {len(x) - rows} rows before them", rows=rows, columns=found),)


def _column(frozen: FeatureReference, newest: npt.NDArray[np.float32], rows: int, factor: float) -> DriftColumn:
    bins = np.searchsorted(np.asarray(frozen.edges, np.float32), newest[~np.isnan(newest)], side="right")
    inside = np.bincount(bins, minlength=len(frozen.counts))
    usual = frozen.null.q95[str(rows)]
    value = psi(inside.tolist(), (np.asarray(frozen.counts) - inside).tolist())
    return DriftColumn(name=frozen.name, psi=value, usual=usual, limit=max(FLOOR, NULL_SLACK * factor * usual))
