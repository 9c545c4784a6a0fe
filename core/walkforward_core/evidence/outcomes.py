"""Matured outcomes in mergeable batches of market time (contract C4; `docs/reference/gates.md`, sharpe).

A table maps the key floor(bar time of the prediction / (baseMs · 2^level)) to (n, Σr_s, Σr_c, Σr_s², Σr_c², Σr_s·r_c). All symbols of
one time share a row, so the correlation between symbols stays inside it. A full table doubles its batch: keys halve, rows add.
Since halving commutes with adding, tables merge in any order to the same result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from walkforward_core.stats import Outcomes

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MAX_ROWS", "merge_outcomes"]

MAX_ROWS = 128
"""A table that has this many rows is coarsened at once."""

Batch = tuple[float, float, float, float, float, float]
Table = dict[int, Batch]


def merge_outcomes(many: Iterable[Outcomes]) -> Outcomes:
    """Return the sum of tables of one pair, plan and horizon, at the highest of their levels or above.

    Raises
    ------
    ValueError
        No table, or tables of different pairs, plans or horizons: they must not be added.
    """
    tables = list(many)
    if not tables:
        raise ValueError("no outcome table to merge")
    first = tables[0]
    level = max(table.level for table in tables)
    sums: Table = {}
    for table in tables:
        if (table.plan, table.stable, table.candidate, table.base_ms) != (first.plan, first.stable, first.candidate, first.base_ms):
            raise ValueError(f"outcomes of {table.candidate}/{table.plan} must not be added to those of {first.candidate}/{first.plan}")
        for key, batch in table.rows.items():
            wide = int(key) >> (level - table.level)
            found = sums.get(wide)
            sums[wide] = batch if found is None else _add(found, batch)
    sums, level = _fit(sums, level)
    return Outcomes(
        plan=first.plan,
        stable=first.stable,
        candidate=first.candidate,
        base_ms=first.base_ms,
        level=level,
        rows={str(key): sums[key] for key in sorted(sums)},
        newest=max(table.newest for table in tables),
        matured=sum(table.matured for table in tables),
        duplicate=sum(table.duplicate for table in tables),
        expired=sum(table.expired for table in tables),
        rejected=sum(table.rejected for table in tables),
        evicted=sum(table.evicted for table in tables),
    )


def _fit(table: Table, level: int) -> tuple[Table, int]:
    while len(table) >= MAX_ROWS:
        table, level = _coarsen(table), level + 1
    return table, level


def _coarsen(table: Table) -> Table:
    """Return the table with batches twice as long, exactly."""
    result: Table = {}
    for key, batch in table.items():
        found = result.get(key >> 1)
        result[key >> 1] = batch if found is None else _add(found, batch)
    return result


def _add(a: Batch, b: Batch) -> Batch:
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3], a[4] + b[4], a[5] + b[5])
