"""The live model's decisions beside the candidate's, on rows that neither has seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from walkforward_core.decision import decision_score
from walkforward_trainer.backtest import backtest
from walkforward_trainer.decision import position

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from walkforward_core.bundle import Decision
    from walkforward_trainer.backtest import Backtest
    from walkforward_trainer.baseline import Comparison
    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.evaluate import Evidence

__all__ = ["LiveOutcomes", "live_outcomes"]


@dataclass(frozen=True, slots=True, eq=False)
class LiveOutcomes:
    """Outcomes of both models and of the base rule on the entries ``at`` of the evidence."""

    at: npt.NDArray[np.intp]
    candidate: Backtest
    live: Backtest
    base: Backtest


def live_outcomes(compared: Comparison, decision: Decision, evidence: Evidence, rows: Dataset, round_trip: float) -> LiveOutcomes | None:
    """Return what was earned on the rows that were compared, ``decision`` the live model's own; None where there are none."""
    at = compared.at
    if not len(at):
        return None
    returns, base = rows.returns[evidence.row[at]], evidence.base.position[at]
    score = decision_score(compared.p[:, -1], compared.p[:, 0], compared.p.shape[1])
    return LiveOutcomes(
        at=at,
        candidate=backtest(evidence.model.position[at], returns, round_trip),
        live=backtest(position(decision, score, base), returns, round_trip),
        base=backtest(base, returns, round_trip),
    )
