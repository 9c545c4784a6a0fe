"""Features: what the models look at, and whether the newest rows still look like the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from walkforward_trainer.report.figures import fixed, number, share
from walkforward_trainer.report.markup import Markup, el
from walkforward_trainer.report.sections.parts import block, cell, figure_cell, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from walkforward_trainer.report.data import Drift, DriftColumn, Report

__all__ = ["features"]

MOST: Final = 60
"""Rows of the table; report.json has all."""
FEW: Final = 5
"""As many features that nobody looks at are no clutter."""
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
    kept, idle = _apart([*names[:MOST], *extra], report.features, columns)

    def grid(some: list[str], name: str) -> Markup:
        rows = [_row(one, report.features.get(one), top, columns.get(one), drifts=drift is not None) for one in some]
        return table(head, rows, name=name, kind="features", left=(2, 4))

    head = ("feature", "importance", "", *(("PSI", "usual, and limit", "limit") if drift else ()))
    more = f" {len(names) - MOST} more features are in report.json." if len(names) > MOST else ""
    said = _said(drift) if drift else "Importance: share of what the models look at, mean over base models."
    parts = [grid(kept, "Features")]
    if idle:
        parts.append(el("details", el("summary", f"{len(idle)} features that the models do not look at"), grid(idle, "Other features")))
    return block("Features", *parts, el("p", said + more, class_="how"))


def _apart(names: list[str], shares: Mapping[str, float], columns: Mapping[str, DriftColumn]) -> tuple[list[str], list[str]]:
    """Return the rows that say something, and the features that no model looks at and that have not drifted; few of them stay."""
    idle = [name for name in names if shares.get(name) == 0.0 and (name not in columns or columns[name].psi <= columns[name].limit)]
    if len(idle) < FEW or len(idle) == len(names):
        return names, []
    return [name for name in names if name not in idle], idle


def _said(drift: Drift) -> str:
    beyond = [column.name for column in drift.columns if column.psi > column.limit]
    verdict = (
        f"Beyond their limit: {', '.join(beyond[:8])}{' and others' if len(beyond) > 8 else ''}." if beyond else "None is beyond its limit."
    )
    return (
        f"PSI compares the {drift.window} with {drift.against}. Bar: PSI. Shaded: what 95 % of such stretches show without drift. "
        f"Mark: the limit, which is this feature's own and that of live monitoring. {verdict}"
    )


def _row(name: str, part: float | None, top: float, column: DriftColumn | None, *, drifts: bool) -> tuple[Markup, ...]:
    cells = [
        el("th", el("bdi", name), scope="row"),
        figure_cell(share(part)),
        cell(_bar(part / top, f"{name}: {share(part)}") if part is not None else ""),
    ]
    if drifts:
        cells += (
            [figure_cell(fixed(column.psi, 3)), cell(_bullet(column)), figure_cell(fixed(column.limit, 3))] if column else [cell("")] * 3
        )
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
