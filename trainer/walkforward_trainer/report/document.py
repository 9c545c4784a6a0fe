"""Stage 15, report: what a person asks about a candidate, as numbers (:mod:`~walkforward_trainer.report.data`)."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from walkforward_core.bundle import DecisionKind
from walkforward_core.offline import blocking, explain
from walkforward_trainer.logs import without_secrets
from walkforward_trainer.report.answers import calibration, class_names, confusions, days, distribution
from walkforward_trainer.report.breakdown import breakdown
from walkforward_trainer.report.columns import importance, newest_drift
from walkforward_trainer.report.data import Fold, Lineage, Report, Table
from walkforward_trainer.report.money import BASE, CANDIDATE, LIVE, MODEL, cost_curve, finite, money
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    from walkforward_core.bundle import GateRecord, Reference
    from walkforward_core.runs import RunDocument
    from walkforward_trainer.data.quality import QualityFacts
    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.evaluate import Evidence
    from walkforward_trainer.fit import Fitted
    from walkforward_trainer.plan import Plan
    from walkforward_trainer.report.data import Money
    from walkforward_trainer.report.live import LiveOutcomes

__all__ = ["Findings", "make_report"]

FILTER_ROWS: Final = (
    ("tradeCount", "trade count", ""),
    ("badTrades", "bad trades", ""),
    ("winRate", "win rate", "share"),
    ("expectancy", "expectancy of a trade, net", "bps"),
    ("maxDrawdown", "max drawdown", "share"),
)
"""Rows of the table of a filter: key, words, unit."""


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """Everything that the stages before have found."""

    rows: Dataset
    facts: QualityFacts
    fitted: Fitted
    evidence: Evidence
    metrics: dict[str, float]
    gates: tuple[GateRecord, ...]
    reference: Reference
    libraries: Mapping[str, str]
    trials: int = 1
    notes: tuple[str, ...] = ()
    live: LiveOutcomes | None = None
    tables: tuple[Table, ...] = ()


def make_report(run: RunDocument, plan: Plan, found: Findings) -> Report:
    """Return the report of ``run``; nothing in it depends on when it was made."""
    rows, evidence = found.rows, found.evidence
    names = class_names(plan.target.kind, evidence.classes.shape[1])
    t0 = rows.t0[evidence.row]
    outcomes = {MODEL: evidence.model, BASE: evidence.base}
    at_threshold = plan.decision.threshold if plan.decision.kind is DecisionKind.FILTER else None
    return Report(
        lineage=_lineage(run, plan, found),
        question=_question(plan, rows),
        data=_data(plan, rows, found.facts),
        gates=found.gates,
        failed=tuple(explain(record) for record in blocking(found.gates)),
        notes=found.notes,
        metrics=found.metrics,
        folds=tuple(_fold(index, found) for index in range(len(found.fitted.splits))),
        money=money(t0, rows.t1[evidence.row], outcomes),
        live=_live(t0, rows.t1[evidence.row], found.live),
        costs=cost_curve(outcomes, plan.round_trip, evidence.independent) if len(t0) else None,
        calibration=calibration(evidence.y, evidence.classes, names, evidence.independent),
        confusion=confusions(evidence.y, evidence.classes, evidence.score, names, at_threshold),
        distribution=distribution(evidence.y, evidence.classes, names),
        days=days(t0, evidence.hit, evidence.p, plan.top_k),
        features=importance(rows.names, [model.importance() for model in found.fitted.bases]),
        drift=newest_drift(rows.x, found.fitted.score, found.reference),
        tables=(
            *_filter_table(evidence.table),
            *breakdown(t0, evidence.model, evidence.base, rows.symbol[evidence.row], rows.symbols),
            *_head_table(found),
            *found.tables,
        ),
    )


def _question(plan: Plan, rows: Dataset) -> dict[str, Any]:
    found = {
        "target": plan.target,
        "models": plan.recipe.models,
        "model": plan.model,
        "calibration": plan.calibration,
        "features": rows.names,
        "decision": plan.decision,
        "baseRule": plan.base_rule,
        "costs": plan.costs,
        "roundTrip": plan.round_trip,
        "validation": plan.validation,
    }
    return {name: _camel(value) for name, value in found.items()}


def _data(plan: Plan, rows: Dataset, facts: QualityFacts) -> dict[str, Any]:
    return {
        "symbols": rows.symbols,
        "timeframe": plan.data.timeframe,
        "asOf": timestamp(plan.as_of_ms),
        "from": timestamp(int(rows.t0[0])),
        "to": timestamp(int(rows.t0[-1])),
        "rows": len(rows),
        "labelled": int(rows.known.sum()),
        "quality": _camel(facts),
    }


def _camel(value: object) -> Any:
    """Return ``value`` as JSON has it, with the fields of every part in camel case."""
    if is_dataclass(value):
        names = [part.name for part in fields(value)]
        return {re.sub(r"_([a-z0-9])", lambda hit: hit[1].upper(), name): _camel(getattr(value, name)) for name in names}
    return msgspec.to_builtins(value)


def _lineage(run: RunDocument, plan: Plan, found: Findings) -> Lineage:
    return Lineage(
        retrain=f"{run.retrain.namespace}/{run.retrain.name}",
        run=run.run,
        recipe=run.spec.recipe,
        mode=run.mode,
        data=without_secrets(run.spec.data.uri or ""),
        digest=found.rows.digest,
        as_of=run.as_of,
        symbols=found.rows.symbols,
        config=plan.config_digest,
        baseline=run.baseline,
        trials=found.trials,
        seeds={"model": plan.model.seed},
        libraries=dict(found.libraries),
    )


def _fold(index: int, found: Findings) -> Fold:
    split, rows = found.fitted.splits[index], found.rows
    return Fold(
        from_=timestamp(int(rows.t0[split.test[0]])),
        to=timestamp(int(rows.t0[split.test[-1]])),
        train=len(split.train),
        test=len(split.test),
        purged=split.purged,
        embargoed=split.embargoed,
        # a fold in which a class never occurs has none
        auc=finite(found.evidence.folds[index]),
    )


def _live(t0: npt.NDArray[np.int64], t1: npt.NDArray[np.int64], live: LiveOutcomes | None) -> Money | None:
    if live is None:
        return None
    return money(t0[live.at], t1[live.at], {CANDIDATE: live.candidate, LIVE: live.live, BASE: live.base})


def _filter_table(table: Mapping[str, Mapping[str, float]]) -> tuple[Table, ...]:
    """Return what a filter changes (rules only against rules and model) as a table."""
    if not table:
        return ()
    columns = list(table.values())
    rows = tuple((words, *(column.get(name) for column in columns)) for name, words, _ in FILTER_ROWS)
    return (
        Table(
            name="filter",
            title="Rules alone against rules with the model",
            note="The same occasions; the model may only forbid a trade that the rule would make.",
            columns=("", "rules alone", "rules with the model"),
            rows=rows,
            units=tuple(unit for _, _, unit in FILTER_ROWS),
        ),
    )


def _head_table(found: Findings) -> tuple[Table, ...]:
    """Return what is known of the graph's further outputs."""
    if not found.fitted.heads:
        return ()
    rows = tuple(
        (name, head.target, *(found.metrics.get(f"{name}{part}") for part in ("Auc", "R2", "Width", "Coverage")))
        for name, head in found.fitted.heads.items()
    )
    return (
        Table(
            name="heads",
            title="Further outputs",
            note="On rows that the model which answers has not seen. They have no part in the decision.",
            columns=("output", "target", "AUC", "R²", "width of the interval", "answers inside"),
            column_units=("", "", "", "", "", "share"),
            rows=rows,
        ),
    )
