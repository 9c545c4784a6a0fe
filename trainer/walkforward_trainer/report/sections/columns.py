"""Features: what the models look at, and whether the newest rows still look like the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from walkforward_trainer.report.figures import fixed, number, share
from walkforward_trainer.report.markup import Markup, el
from walkforward_trainer.report.sections.parts import block, cell, figure_cell, table

if TYPE_CHECKING:
    from walkforward_trainer.report.data import Drift, DriftColumn, Report

__all__ = ["features"]

MOST: Final = 60
"""Rows of the table; report.json has all."""
BAR: Final = 200.0
LIMIT_AT: Final = 0.7
"""Where the limit stands in every row, as a share of the width: PSI of different features is not of one size."""


def features(report: Report) -> Markup | None:
    """Return importance and drift, a row for each feature."""
    if not report.features:
        return None
    drift = report.drift[0] if report.drift else None
    columns = {column.name: column for column in drift.columns} if drift else {}
    names = list(report.features)
    extra = [name for name in columns if name not in report.features]
    top = max(report.features.values()) or 1.0
    rows = [_row(name, report.features.get(name), top, columns.get(name), drifts=drift is not None) for name in (*names[:MOST], *extra)]
    head = ("feature", "importance", "", *(("PSI", "against its limit") if drift else ()))
    more = f" {len(names) - MOST} more features are in report.json." if len(names) > MOST else ""
    said = _said(drift) if drift else "Importance: share of what the models look at, mean over base models."
    return block("Features", table(head, rows, name="Features", kind="features", left=(2, 4)), el("p", said + more, class_="how"))


def _said(drift: Drift) -> str:
    beyond = [column.name for column in drift.columns if column.psi > column.limit]
    verdict = (
        f"Beyond their limit: {', '.join(beyond[:8])}{' and others' if len(beyond) > 8 else ''}." if beyond else "None is beyond its limit."
    )
    return (
        f"PSI compares the {drift.window} with {drift.against}. Shaded: what 95 % of such stretches show without drift; "
        f"the mark is its own limit in live monitoring. {verdict}"
    )


def _row(name: str, part: float | None, top: float, column: DriftColumn | None, *, drifts: bool) -> tuple[Markup, ...]:
    cells = [
        el("th", el("bdi", name), scope="row"),
        figure_cell(share(part)),
        cell(_bar(part / top, f"{name}: {share(part)}") if part is not None else ""),
    ]
    if drifts:
        cells += [figure_cell(fixed(column.psi, 3)) if column else cell(""), cell(_bullet(column) if column else "")]
    return tuple(cells)


def _bar(part: float, says: str) -> Markup:
    fill = el("rect", el("title", says), x=0, y=3, width=max(BAR * part, 0.5), height=8, rx=2, class_="fill")
    return _cell_bar(says, fill)


def _bullet(column: DriftColumn) -> Markup:
    says = f"{column.name}: PSI {number(column.psi, 3)}, usual up to {number(column.usual, 3)}, limit {number(column.limit, 3)}"
    over = "over" if column.psi > column.limit else "fill"
    scale = column.limit / LIMIT_AT
    return _cell_bar(
        says,
        el("title", says),
        el("rect", x=0, y=0, width=BAR * min(column.usual / scale, 1.0), height=14, class_="band"),
        el("rect", x=0, y=4, width=max(BAR * min(column.psi / scale, 1.0), 0.5), height=6, rx=2, class_=over),
        el("path", d=f"M{BAR * LIMIT_AT:g},1V13", class_="limit"),
    )


def _cell_bar(says: str, *marks: Markup) -> Markup:
    return el("svg", *marks, viewBox=f"0 0 {BAR:g} 14", preserveAspectRatio="none", role="img", aria_label=says, class_="cell-bar")
