"""Checks: evidence beyond the metrics of the predictions, by the names in a recipe's ``checks``, and what it adds to the report."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from walkforward_core.bundle import GateRecord, Verdict
from walkforward_core.offline import LEAKAGE
from walkforward_trainer.forensic import examine, forensic_notes, forensic_tables, symptoms
from walkforward_trainer.forensic_files import forensic_files
from walkforward_trainer.leakage import detect_leaks
from walkforward_trainer.report.data import Table
from walkforward_trainer.stages import stage
from walkforward_trainer.telling import telling, telling_note

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.evaluate import Evidence
    from walkforward_trainer.fit import Fitted
    from walkforward_trainer.plan import Plan
    from walkforward_trainer.trials import Totals
    from walkforward_trainer.tuning import Search

__all__ = ["CHECKS", "FORENSIC", "LEAKS", "Checked", "check", "constant_output", "trials_table"]

log = logging.getLogger("walkforward.trainer")

LEAKS: Final = "leakage"
FORENSIC: Final = "forensic"
CONSTANT: Final = "constant"
LEAST_SPREAD: Final = 1e-6
"""Standard deviation of the probabilities at or below which a model says the same to every row."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What checks add: metrics for the gates, tables and sentences for the report, files of their own beside it."""

    metrics: dict[str, float]
    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()
    files: dict[str, bytes] = field(default_factory=dict)


def check(rows: Dataset, plan: Plan, evidence: Evidence, metrics: Mapping[str, float]) -> Checked:
    """Return what the checks of the recipe say, in the order of :data:`CHECKS`; the gate ``leakage`` asks for its check by itself.

    Features that tell the answer by themselves are spoken of in every run.
    """
    wanted = {*plan.recipe.checks, *((LEAKS,) if plan.gates.leakage is not None else ())}
    found = Checked({}, (), _told(rows))
    for name in (name for name in CHECKS if name in wanted):
        with stage(name):
            more = CHECKS[name](rows, plan, evidence, {**metrics, **found.metrics})
        found = Checked(found.metrics | more.metrics, found.tables + more.tables, found.notes + more.notes, found.files | more.files)
    return found


def constant_output(fitted: Fitted) -> tuple[GateRecord, ...]:
    """Return a failed gate where every row gets the same answer, else none.

    No gate of the spec need notice: whoever is always long has a positive expectancy in a market that rises. It cannot be skipped.
    Folds are looked at one by one: the models of two folds may each say one thing to all, and not the same.
    """
    spread = max(float(fitted.unseen_p[split.test].std(axis=0).max()) for split in fitted.splits)
    if spread > LEAST_SPREAD:
        return ()
    return (
        GateRecord(
            name=CONSTANT,
            value=spread,
            threshold=LEAST_SPREAD,
            verdict=Verdict.FAIL,
            message="every row gets the same answer: the standard deviation of the probabilities is zero",
            remedy="look for features that are constant or that leak, for too few rows to calibrate on, and for a target that none of the "
            "features knows anything about",
        ),
    )


def trials_table(totals: Totals, search: Search | None, metrics: Mapping[str, float]) -> Table:
    """Return what was tried, and what the best of so many trials would show by luck."""
    rows: list[tuple[str | float | None, ...]] = [
        ("trials of this retrain", float(totals.trials)),
        ("independent ones among them, at most", totals.effective),
        ("variance of their Sharpe ratios", metrics.get("trialSharpeVariance")),
        ("Sharpe ratio of the best by luck", metrics.get("expectedMaxSharpe")),
        ("probability that this one is above it", metrics.get("deflatedSharpe")),
    ]
    if search is not None:
        rows += [
            ("trials of this run's search", float(search.trials)),
            ("of them stopped early", float(search.pruned)),
            ("score of the best", search.score),
            ("probability of backtest overfitting", metrics.get("pbo")),
        ]
    note = "A rejected run counts as much as one that was published. Sharpe ratios are per outcome."
    return Table(name="trials", title="Trials", note=note, columns=("", "value"), rows=tuple(rows))


def _told(rows: Dataset) -> tuple[str, ...]:
    told = telling(rows)
    if not told:
        return ()
    note = telling_note(told)
    log.warning("%s", note)
    return (f"{note}.",)


def _leaks(rows: Dataset, plan: Plan, _evidence: Evidence, _metrics: Mapping[str, float]) -> Checked:
    found = detect_leaks(rows, plan)
    late = found.late or (None, None)
    table = Table(
        name="leakage",
        title="Leak detector",
        note="Area under the curve of a small model, on purged folds of the newest rows. Only leaked information fails these.",
        columns=("experiment", "AUC", "metric", "value"),
        rows=(
            ("as it is", found.honest, "", None),
            ("labels shuffled in blocks", found.shuffled, *_named(found.metrics, "shuffledAuc")),
            ("features one bar later", late[0], "", None),
            ("features one label horizon later", late[1], *_named(found.metrics, "shiftDrop")),
            ("without purge and embargo", found.unpurged, *_named(found.metrics, "purgeGain")),
        ),
    )
    return Checked(found.metrics, (table,))


def _named(metrics: Mapping[str, float], check: str) -> tuple[str, float | None]:
    return LEAKAGE[check], metrics.get(LEAKAGE[check])


def _forensic(rows: Dataset, plan: Plan, evidence: Evidence, metrics: Mapping[str, float]) -> Checked:
    findings, signs = examine(rows, evidence, plan, metrics), symptoms(evidence.classes, plan.decision.threshold)
    found = {f"forensic.{finding.cause[0].lower()}{finding.cause[1:]}": float(finding.found) for finding in findings}
    tables, notes = forensic_tables(evidence, plan, findings, signs), forensic_notes(findings, signs)
    return Checked(found, tables, notes, forensic_files(rows, evidence, plan, findings, signs))


CHECKS: Final[Mapping[str, Callable[[Dataset, Plan, Evidence, Mapping[str, float]], Checked]]] = {
    LEAKS: _leaks,
    FORENSIC: _forensic,
}
"""Every check by its name; the forensic one looks at what the leak detector has found."""
