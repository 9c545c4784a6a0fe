"""The stages up to eligibility: bars → quality → features → labels → eligibility."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from walkforward_trainer.data.bars import read_bars
from walkforward_trainer.data.quality import check_quality
from walkforward_trainer.eligibility import check_learnable, unmet
from walkforward_trainer.rows import bar_features, label_bars
from walkforward_trainer.stages import stage

if TYPE_CHECKING:
    from walkforward_core.runs import RunDocument
    from walkforward_trainer.data.quality import QualityFacts
    from walkforward_trainer.data.sources import Access
    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.plan import Plan

__all__ = ["Prepared", "prepare"]


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Rows with their labels, what was found about the bars, and what eligibility misses."""

    facts: QualityFacts
    rows: Dataset
    unmet: tuple[str, ...]


def prepare(run: RunDocument, plan: Plan, access: Access, *, now_ms: int) -> Prepared:
    """Return what there is to train on.

    Raises
    ------
    RunError
        The bars cannot be read, or are not what the spec says.
    """
    with stage("bars"):
        raw = read_bars(access, plan, now_ms=now_ms)
    with stage("quality"):
        window = check_quality(raw, plan)
    with stage("features"):
        x, columns = bar_features(window, plan)
    with stage("labels"):
        rows = label_bars(x, columns, plan)
    with stage("eligibility"):
        missing = tuple(unmet(run.spec.eligibility, rows, plan))
        if not missing or run.force:
            check_learnable(rows, plan)
    return Prepared(facts=window.facts, rows=rows, unmet=missing)
