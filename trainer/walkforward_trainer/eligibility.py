"""Stage 5, eligibility: whether there is enough to train on. Not met is no error; the next occasion tries again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.durations import format_ms, parse_ms
from walkforward_trainer.errors import BadData, Reason

if TYPE_CHECKING:
    from walkforward_core.api.data import Eligibility
    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.plan import Plan

__all__ = ["check_learnable", "unmet"]

MIN_REFERENCE_ROWS: Final = 200
"""Rows below which no drift can be judged against the reference (four windows of 50)."""
MIN_CLASS_ROWS: Final = 20
"""Rows of the rarer answer below which neither a fold nor a gate says anything."""


def unmet(eligibility: Eligibility, rows: Dataset, plan: Plan) -> list[str]:
    """Return what is missing, a sentence each; none means that training may go on."""
    missing = []
    if eligibility.min_bars is not None and len(rows) < eligibility.min_bars:
        missing.append(f"eligibility.minBars: {len(rows)} bars in the window, {eligibility.min_bars} wanted")
    span = int(rows.t0[-1]) - int(rows.t0[0]) + plan.bar_ms
    if eligibility.min_age is not None and span < parse_ms(eligibility.min_age):
        missing.append(f"eligibility.minAge: the window's bars span {format_ms(span)}, {eligibility.min_age} wanted")
    return missing


def check_learnable(rows: Dataset, plan: Plan) -> None:
    """Refuse data that nothing can be learned from; no request skips this.

    Raises
    ------
    BadData
        Too few rows with a label, or one answer that is never or hardly ever given.
    """
    known = rows.y[rows.known]
    limit = max(plan.quality.min_rows, MIN_REFERENCE_ROWS)
    if len(known) < limit:
        raise BadData(
            Reason.TOO_FEW_ROWS,
            f"data.quality.minRows: {len(known)} of {len(rows.y)} rows have a label, limit {limit}; deliver more bars or lengthen "
            "the window (rows whose horizon crosses a market gap, or the end of the data, have none)",
        )
    rarer = int(min(np.sum(known == 0), np.sum(known == 1)))
    if rarer < MIN_CLASS_ROWS:
        what = "threshold or horizonBars" if plan.target.kind == "Risk" else "horizonBars"
        raise BadData(
            Reason.ONE_CLASS,
            f"overrides.target: of {len(known)} labels {int(known.sum())} are 1, the rarer answer has {rarer} rows and needs "
            f"{MIN_CLASS_ROWS}; choose another {what}",
        )
