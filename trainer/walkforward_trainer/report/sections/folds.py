"""Folds: how even the result is over time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from walkforward_trainer.report.figures import count, date_of, number
from walkforward_trainer.report.markup import Markup, el
from walkforward_trainer.report.scale import date_title, linear, times
from walkforward_trainer.report.sections.parts import block, figure_cell, table
from walkforward_trainer.report.svg import Chart, Size, figure, legend

if TYPE_CHECKING:
    from walkforward_trainer.report.data import Fold, Report

__all__ = ["folds"]

SIZES: Final = ((Size(940, 210), "wide"), (Size(380, 220), "narrow"))
COIN: Final = 0.5
SHORT: Final = timedelta(days=3)
"""Blocks shorter than this are told apart by the time of day."""


def folds(report: Report) -> Markup | None:
    """Return AUC by test block and the table of blocks."""
    if not report.folds:
        return None
    digits = 16 if any(date_of(fold.to) - date_of(fold.from_) < SHORT for fold in report.folds) else 10
    rows = [_row(index, fold, digits) for index, fold in enumerate(report.folds, start=1)]
    head = ("fold", "tested from", "to", "train rows", "test rows", "purged", "embargoed", "AUC")
    parts = [table(head, rows, name="Folds")]
    if any(fold.auc is not None for fold in report.folds):
        limit = next((gate.threshold for gate in report.gates if gate.name == "auc"), None)
        lines = [("model", "AUC of a test block"), ("base", "a coin"), *([("limit", "limit of the gate")] if limit is not None else [])]
        parts.insert(0, figure("AUC by test block", legend(lines), *(_chart(report, limit, size, kind) for size, kind in SIZES)))
    lead = "Each block is predicted by a model that has not seen it. Labels that reach into it are purged, rows just after it embargoed."
    return block("Folds", *parts, lead=lead)


def _row(index: int, fold: Fold, digits: int) -> tuple[Markup, ...]:
    numbers = (fold.train, fold.test, fold.purged, fold.embargoed)
    stamps = (fold.from_[:digits].replace("T", " "), fold.to[:digits].replace("T", " "))
    return (
        el("th", str(index), scope="row"),
        *(figure_cell(stamp) for stamp in stamps),
        *(figure_cell(count(value)) for value in numbers),
        figure_cell(number(fold.auc, 3)),
    )


def _chart(report: Report, limit: float | None, size: Size, kind: str) -> Markup:
    spans = [(date_of(fold.from_).timestamp() * 1000, date_of(fold.to).timestamp() * 1000, fold.auc) for fold in report.folds]
    values = [value for _, _, value in spans if value is not None] + [COIN] + ([limit] if limit is not None else [])
    x = times(int(min(span[0] for span in spans)), int(max(span[1] for span in spans)), size.letters)
    chart = Chart(
        size,
        x,
        linear(max(min(values) - 0.02, 0.0), min(max(values) + 0.02, 1.0), 5),
        date_title(x, report.folds[0].from_, report.folds[-1].to),
        "AUC",
    )
    marks = [chart.level(COIN, "base"), *([chart.level(limit, "limit")] if limit is not None else [])]
    for index, (start, end, value) in enumerate(spans, start=1):
        if value is not None:
            marks += [
                chart.line((start, end), (value, value), "model"),
                chart.dot((start + end) / 2, value, 4, "model", f"fold {index}: {number(value, 3)}"),
            ]
    says = ", ".join(f"fold {index} {number(value, 3)}" for index, (_, _, value) in enumerate(spans, start=1))
    return chart.draw(marks, title="AUC by test block", says=says, name=f"folds-{kind}", kind=kind)
