"""The record: tables of checks, all metrics, the data, what was asked, and where the candidate comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from walkforward_core.durations import format_ms
from walkforward_trainer.report.figures import bps, number, share, shown
from walkforward_trainer.report.markup import Markup, el, join
from walkforward_trainer.report.sections.parts import block, facts, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from walkforward_trainer.report.data import Report, Table

UNITS: Final[Mapping[str, Callable[[float | None], str]]] = {"share": share, "bps": bps}

__all__ = ["checks", "comparisons", "data", "lineage", "metrics", "question"]


BESIDE_THE_MONEY: Final = frozenset({"filter", "periods", "sides", "symbols", "drawdowns"})
"""Names of tables that are shown with what the decisions earn."""


PLAIN: Final = {
    "asOf": "as of",
    "labelled": "rows with an answer",
    "quality.bars": "rows after the checks",
    "quality.dropped": "rows left out, since a value was missing",
    "quality.maxGap": "longest gap",
    "quality.completeness": "rows there of those expected",
    "quality.staleness": "newest row before the as of",
    "quality.flatShare": "rows that only repeat the price",
    "quality.maxJump": "largest factor between prices",
}
"""Words for what the checks of the data have found."""


def comparisons(report: Report) -> Markup | None:
    """Return the tables that say what the model changes."""
    return _tables(one for one in report.tables if one.name in BESIDE_THE_MONEY)


def checks(report: Report) -> Markup | None:
    """Return the tables that checks have brought."""
    return _tables(one for one in report.tables if one.name not in BESIDE_THE_MONEY)


def metrics(report: Report) -> Markup | None:
    """Return every metric."""
    if not report.metrics:
        return None
    body = facts({name: number(value, 5) for name, value in sorted(report.metrics.items())})
    return block(
        "All metrics", el("details", el("summary", f"{len(report.metrics)} metrics, on rows that the scoring model has not seen"), body)
    )


def data(report: Report) -> Markup | None:
    """Return what the data were, in words."""
    quality = dict(report.data.get("quality") or {})
    missing = {name: part for name, part in (quality.pop("nanShare", None) or {}).items() if part}
    found = _flat({**report.data, "quality": quality})
    for name in ("completeness", "flatShare"):
        if quality.get(name) is not None:
            found[f"quality.{name}"] = share(quality[name])
    said = {PLAIN.get(name, name): value for name, value in found.items()}
    if quality:
        said["missing values"] = ", ".join(f"{name} {share(part)}" for name, part in missing.items()) or "none"
    return block("Data", facts(said)) if said else None


def question(report: Report) -> Markup | None:
    """Return what was asked of the run."""
    return _facts("What was asked", report.question)


def lineage(report: Report) -> Markup | None:
    """Return where the candidate comes from."""
    line = report.lineage
    baseline = f"{line.baseline.uri} ({line.baseline.digest})" if line.baseline else "none"
    values: dict[str, object] = {
        "retrain": line.retrain,
        "run": line.run,
        "recipe": line.recipe,
        "mode": line.mode,
        "as of": line.as_of,
        "symbols": shown(line.symbols),
        "data": line.data,
        "data digest": el("code", line.digest),
        "config digest": el("code", line.config),
        "live model compared with": baseline,
        "trials counted": shown(line.trials),
        "seeds": ", ".join(f"{name} {seed}" for name, seed in line.seeds.items()),
        "libraries": ", ".join(f"{name} {version}" for name, version in line.libraries.items()),
    }
    return block(
        "Lineage", facts(values), lead="Enough to make it again: the same data, configuration, seeds and libraries give the same model."
    )


def _tables(found: Iterable[Table]) -> Markup | None:
    return join(*map(_table, found)) or None


def _table(one: Table) -> Markup:
    one = _without_empty(one)
    units = one.units or ("",) * len(one.rows)
    across = one.column_units or ("",) * len(one.columns)
    words = [index for index in range(len(one.columns)) if any(index and isinstance(row[index], str) for row in one.rows)]
    rows = [
        [_cell(value, unit or across[index], one.columns[index], first=index == 0) for index, value in enumerate(row)]
        for row, unit in zip(one.rows, units, strict=True)
    ]
    return block(
        one.title,
        table(one.columns, rows, name=one.title, left=words, kind="cards" if words or len(one.columns) > 4 else ""),
        lead=one.note,
    )


def _without_empty(one: Table) -> Table:
    """Return the table without columns in which no row says anything: a remedy where nothing is wrong."""
    kept = [index for index in range(len(one.columns)) if not index or any(row[index] not in ("", None) for row in one.rows)]
    return msgspec.structs.replace(
        one,
        columns=tuple(one.columns[index] for index in kept),
        rows=tuple(tuple(row[index] for index in kept) for row in one.rows),
        column_units=tuple(one.column_units[index] for index in kept) if one.column_units else (),
    )


def _cell(value: str | float | None, unit: str, column: str, *, first: bool) -> Markup:
    if first:
        return el("th", shown(value), scope="row")
    if isinstance(value, str):
        return el("td", value, data_label=column)
    return el("td", UNITS.get(unit, shown)(value), class_="n none" if value is None else "n", data_label=column)


def _facts(title: str, values: Mapping[str, Any]) -> Markup | None:
    found = _flat(values)
    return block(title, facts(found)) if found else None


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Return nested mappings as dotted names, without what is not set."""
    out: dict[str, object] = {}
    for key, inner in value.items():
        plain = msgspec.to_builtins(inner)
        if isinstance(plain, dict):
            out |= _flat(plain, f"{prefix}{key}.")
        elif key.endswith("Ms") and isinstance(plain, int):
            out[f"{prefix}{key.removesuffix('Ms')}"] = format_ms(plain)
        elif plain not in (None, "", []):
            out[f"{prefix}{key}"] = bps(plain) if key == "roundTrip" else shown(plain)
    return out
