"""What several sections are made of: tables, facts, headed blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from walkforward_trainer.report.markup import Markup, el, join

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["NAMES", "STYLES", "block", "cell", "facts", "figure_cell", "table"]

NAMES: Final = {"model": "with the model", "baseRule": "base rule alone", "candidate": "this candidate", "liveModel": "live model"}
"""What the curves are called."""
STYLES: Final = {"model": "model", "baseRule": "base", "candidate": "model", "liveModel": "live"}
"""Their classes in the style."""


def block(title: str, *parts: Markup, lead: str = "") -> Markup:
    """Return a section under its heading; ``lead`` is one sentence."""
    return el("section", el("h2", title), *((el("p", lead, class_="lead"),) if lead else ()), *parts)


def cell(value: object, kind: str = "") -> Markup:
    """Return a cell of text."""
    return el("td", value, class_=kind or None)


def figure_cell(value: object, label: str = "") -> Markup:
    """Return a cell of a number, aligned; ``label`` is shown beside it where a phone has no room for the head."""
    return el("td", value, class_="n", data_label=label or None)


def table(head: Sequence[str], rows: Iterable[Sequence[Markup]], *, name: str, kind: str = "", left: Sequence[int] = ()) -> Markup:
    """Return a table that scrolls by itself where the page is too narrow; the first column and those in ``left`` are no numbers."""
    top = [el("th", words, scope="col", class_="n" if index and index not in left else None) for index, words in enumerate(head)]
    body = [el("tr", *cells) for cells in rows]
    grid = el("table", el("thead", el("tr", *top)), el("tbody", *body), class_=kind or None)
    return el("div", grid, class_="scroll", tabindex="0", role="region", aria_label=name)


def facts(values: Mapping[str, object]) -> Markup:
    """Return names with their values."""
    return el("dl", *(join(el("dt", name), el("dd", el("bdi", value))) for name, value in values.items()), class_="facts")
