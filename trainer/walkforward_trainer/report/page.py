"""``report.html``: the report as one page that needs nothing else: no script, no font, no network; the page itself forbids them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from walkforward_trainer.report.markup import EMPTY, Markup, el, join
from walkforward_trainer.report.sections import answers, columns, folds, gates, money, record, verdict
from walkforward_trainer.report.style import style

if TYPE_CHECKING:
    from collections.abc import Callable

    from walkforward_trainer.report.data import Report

__all__ = ["SECTIONS", "make_page"]

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""What the browser may do with the page: apply its style."""

SECTIONS: Final[tuple[Callable[[Report], Markup | None], ...]] = (
    verdict.head,
    gates.gates,
    money.money,
    money.live,
    money.costs,
    record.comparisons,
    answers.probabilities,
    answers.classes,
    columns.features,
    folds.folds,
    record.checks,
    record.metrics,
    record.data,
    record.question,
    record.lineage,
)
"""Sections in their order; one that returns None is left out."""


def make_page(report: Report) -> bytes:
    """Return the page as UTF-8."""
    title = f"{report.lineage.retrain}: {'rejected' if report.failed else 'passed its gates'}"
    head = join(
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", http_equiv="Content-Security-Policy", content=POLICY),
        el("meta", name="color-scheme", content="light dark"),
        el("title", title),
        el("link", rel="icon", href="data:,"),
        el("style", Markup(style())),
    )
    body = join(*(section(report) or EMPTY for section in SECTIONS))
    foot = el("footer", f"Walkforward, run {report.lineage.run}. Every number on this page is in report.json beside it.")
    page = el("html", el("head", head), el("body", el("main", body), foot), lang="en")
    return f"<!doctype html>{page}\n".encode()
