"""The stages up to eligibility: rows of any kind → quality → features → labels → eligibility."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from walkforward_core.api.data import DataKind
from walkforward_core.runs import RunMode
from walkforward_trainer.data.bars import read_bars
from walkforward_trainer.data.joins import read_joins
from walkforward_trainer.data.quality import check_quality
from walkforward_trainer.data.ticks import read_ticks
from walkforward_trainer.eligibility import Seen, bootstrap, check_learnable, limits, smoked, unmet
from walkforward_trainer.errors import Reason
from walkforward_trainer.inputs import Inputs, Rows
from walkforward_trainer.rows import bar_features, label_bars
from walkforward_trainer.sample_rows import sample_rows
from walkforward_trainer.stages import stage
from walkforward_trainer.stretches import left_out
from walkforward_trainer.trade_rows import trade_log, trade_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from walkforward_core.runs import RunDocument
    from walkforward_trainer.data.bars import RawBars
    from walkforward_trainer.data.quality import QualityFacts
    from walkforward_trainer.data.sources import Access
    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.plan import Plan

__all__ = ["ROWS", "Prepared", "prepare"]

log = logging.getLogger("walkforward.trainer")


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Rows with their labels, what was found about the data, and what eligibility misses, for which ``reason``."""

    facts: QualityFacts
    rows: Dataset
    unmet: tuple[str, ...]
    reason: Reason = Reason.NOT_ELIGIBLE


def prepare(run: RunDocument, plan: Plan, access: Access, *, now_ms: int) -> Prepared:
    """Return what there is to train on.

    Raises
    ------
    RunError
        The data cannot be read, or are not what the spec says.
    """
    found = ROWS[plan.kind](Inputs(run=run, plan=plan, access=access, now_ms=now_ms))
    with stage("eligibility"):
        waiting = bootstrap(found.data, plan)
        missing = tuple(filter(None, (waiting, *_unmet(run, plan, access, found))))
        if not missing or run.force:
            check_learnable(found.data, plan)
    reason = Reason.BOOTSTRAP if waiting else Reason.NOT_ELIGIBLE
    return Prepared(facts=found.facts, rows=found.data, unmet=missing, reason=reason)


def _unmet(run: RunDocument, plan: Plan, access: Access, found: Rows) -> list[str]:
    asked, rows = limits(run.spec.eligibility), found.data
    if run.mode is RunMode.SMOKE:
        asked = smoked(asked, plan.bar_ms)
    span = int(rows.t0[-1]) - int(rows.t0[0]) + plan.bar_ms if len(rows) else 0
    seen = Seen(rows=len(rows) + rows.left_out, span_ms=span, bars=found.bars, log=trade_log(access, plan, found.trades))
    return unmet(asked, seen, plan.as_of_ms)


def bar_rows(inputs: Inputs) -> Rows:
    """Return bars as rows."""
    with stage("bars"):
        raw = read_bars(inputs.access, inputs.plan, now_ms=inputs.now_ms)
    return _of_bars(raw, inputs)


def tick_rows(inputs: Inputs) -> Rows:
    """Return the bars that ticks make as rows."""
    with stage("ticks"):
        raw = read_ticks(inputs.access, inputs.plan, now_ms=inputs.now_ms)
    return _of_bars(raw, inputs)


def _of_bars(raw: RawBars, inputs: Inputs) -> Rows:
    plan = inputs.plan
    with stage("quality"):
        window = check_quality(raw, plan)
    joined = {}
    if plan.data.joins:
        with stage("joins"):
            joined = read_joins(inputs.access, plan, window.bars.time)
    with stage("features"):
        x, columns = bar_features(window, plan, joined)
    with stage("labels"):
        rows = label_bars(x, columns, plan)
    before = len(window.bars) - window.start - len(rows) - rows.left_out
    if joined and before:
        log.warning("%d rows lie before the first publication of every joined column, they are left out", before)
    if rows.left_out:
        log.warning("%s", left_out(rows))
    facts = replace(window.facts, bars=len(rows) + rows.left_out, dropped=window.facts.dropped + before)
    return Rows(facts=facts, data=rows, bars=window.bars)


ROWS: Final[Mapping[DataKind, Callable[[Inputs], Rows]]] = {
    DataKind.BARS: bar_rows,
    DataKind.TICKS: tick_rows,
    DataKind.TRADES: trade_rows,
    DataKind.SAMPLES: sample_rows,
}
"""How the rows of every kind are made; what follows knows none of them."""
