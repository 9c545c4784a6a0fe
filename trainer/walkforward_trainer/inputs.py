"""What the rows of every kind are made from, and what they become."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from walkforward_core.features import Bars
    from walkforward_core.runs import RunDocument
    from walkforward_trainer.data.quality import QualityFacts
    from walkforward_trainer.data.sources import Access
    from walkforward_trainer.data.trades import Trades
    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.plan import Plan

__all__ = ["Inputs", "Rows"]


@dataclass(frozen=True, slots=True)
class Inputs:
    """One symbol of one run: the plan of that symbol, and how to get at addresses; ``now_ms`` only tells rows from the future."""

    run: RunDocument
    plan: Plan
    access: Access
    now_ms: int


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows with their labels, what was found about them, and what eligibility asks further.

    ``bars`` are those of the window and its warm-up, for the diversity of regimes; ``trades`` the closed trades where rows are trades.
    """

    facts: QualityFacts
    data: Dataset
    bars: Bars | None = None
    trades: Trades | None = None
