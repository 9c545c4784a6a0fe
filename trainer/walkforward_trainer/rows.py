"""Stage 3, features: the matrix that the model learns from, float32 before anything is fitted; and the rows that they become."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.features import compute, lookback, unknown
from walkforward_trainer.data.tables import PRICES
from walkforward_trainer.dataset import Dataset, FixedColumns
from walkforward_trainer.decision import base_position
from walkforward_trainer.errors import BadData, Reason
from walkforward_trainer.labels import Labels, label, warmup_of
from walkforward_trainer.stretches import length_of, positions, stretches

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from walkforward_core.features import Bars
    from walkforward_trainer.data.quality import Window
    from walkforward_trainer.plan import Plan
    from walkforward_trainer.resolved import Target

BLOCK: Final = 1 << 18
"""Rows looked at at a time."""
NOTHING: Final[Mapping[str, npt.NDArray[np.float64]]] = MappingProxyType({})

__all__ = ["BarColumns", "JoinedColumns", "bar_features", "bars_digest", "label_bars"]


@dataclass(frozen=True, slots=True, eq=False)
class BarColumns:
    """Feature columns of bars with their warm-up; the rows are the bars from ``start`` on, or those of the stretches ``used`` alone."""

    bars: Bars
    start: int
    used: tuple[tuple[int, int], ...] = ()

    @property
    def stretches(self) -> tuple[tuple[int, int], ...]:
        """The bars that are rows, as (first, end) of each stretch of them."""
        return self.used or ((self.start, len(self.bars)),)

    def missing(self, names: Sequence[str]) -> str:
        """Return why ``names`` cannot be had for every row, or nothing."""
        strangers = unknown(names)
        if strangers:
            return f"features that this release does not have: {', '.join(strangers)}"
        needed = lookback(names)
        return f"features that need {needed} bars before the window, {self.start} are there" if needed > self.start else ""

    def matrix(self, names: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return the columns ``names``."""
        return _features(self.bars, names, self.stretches)


@dataclass(frozen=True, slots=True, eq=False)
class JoinedColumns:
    """Feature columns of bars, and beside them those that were joined, of the same rows."""

    bars: BarColumns
    joined: FixedColumns

    def missing(self, names: Sequence[str]) -> str:
        """Return why ``names`` cannot be had for every row, or nothing."""
        return self.bars.missing([name for name in names if name not in self.joined.names])

    def matrix(self, names: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return the columns ``names``."""
        own = [name for name in names if name not in self.joined.names]
        there = dict(zip(own, self.bars.matrix(own).T, strict=True))
        there |= {name: self.joined.matrix([name])[:, 0] for name in names if name not in own}
        return np.column_stack([there[name] for name in names])


def bar_features(
    window: Window, plan: Plan, joined: Mapping[str, npt.NDArray[np.float64]] = NOTHING
) -> tuple[npt.NDArray[np.float32], BarColumns | JoinedColumns]:
    """Return the features of every bar of the window, and where others come from.

    ``joined`` are features of other tables at every bar, warm-up included; bars before the first value of each of them are left out.

    Raises
    ------
    BadData
        A feature is missing or not finite in rows that have their warm-up.
    """
    own = [name for name in plan.features if name not in joined]
    start = max(window.start, _first_known(joined, len(window.bars)))
    # bars that were dropped for a missing value may have shortened the warm-up
    head = compute(window.bars[: plan.warmup_bars], own) if start < plan.warmup_bars else np.empty((0, len(own)), np.float32)
    while start < len(head) and not np.isfinite(head[start]).all():
        start += 1
    of_bars = BarColumns(window.bars, start, stretches(start, len(window.bars), plan.max_rows))
    x = of_bars.matrix(own)
    columns: BarColumns | JoinedColumns = of_bars
    if joined:
        at = positions(of_bars.stretches)
        table = np.column_stack([column[at].astype(np.float32) for column in joined.values()])
        columns = JoinedColumns(of_bars, FixedColumns(table, tuple(joined)))
        there = dict(zip(own, x.T, strict=True)) | dict(zip(joined, table.T, strict=True))
        x = np.column_stack([there[name] for name in plan.features])
    bad = _not_finite(x)
    if bad.any() or not len(x):
        column = int(bad.argmax())
        raise BadData(
            Reason.BAD_FEATURE,
            f"feature {plan.features[column]} is not a finite number in {int(bad[column])} of {len(x)} rows; "
            "check its column in the data, or leave it out of overrides.features",
        )
    return x, columns


def _features(bars: Bars, names: Sequence[str], used: tuple[tuple[int, int], ...]) -> npt.NDArray[np.float32]:
    """Return the features of the stretches ``used``, each computed from its own bars and those that it looks back alone."""
    back = lookback(names)
    if len(used) == 1:
        ((first, end),) = used
        begin = max(0, first - back)
        return compute(bars[begin:end], names)[first - begin :]
    x = np.empty((sum(end - first for first, end in used), len(names)), np.float32)
    row = 0
    for first, end in used:
        begin = max(0, first - back)
        x[row : row + end - first] = compute(bars[begin:end], names)[first - begin :]
        row += end - first
    return x


def _not_finite(x: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Return how many values of each column are no finite numbers; block by block, since a mask of all would be a quarter of ``x``."""
    found = np.zeros(x.shape[1], np.int64)
    for first in range(0, len(x), BLOCK):
        found += np.count_nonzero(~np.isfinite(x[first : first + BLOCK]), axis=0)
    return found


def _first_known(joined: Mapping[str, npt.NDArray[np.float64]], rows: int) -> int:
    """Return the first row at which every joined column has a value; from there on each has one."""
    return max((int(np.argmax(np.isfinite(column))) if np.isfinite(column).any() else rows for column in joined.values()), default=0)


def label_bars(x: npt.NDArray[np.float32], columns: BarColumns | JoinedColumns, plan: Plan) -> Dataset:
    """Return the rows of bars with their labels."""
    of_bars = columns.bars if isinstance(columns, JoinedColumns) else columns
    bars, start = of_bars.bars, of_bars.start
    own = [name for name in plan.features if not isinstance(columns, JoinedColumns) or name not in columns.joined.names]
    left_out = len(bars) - start - len(x)
    found = _labels(of_bars, plan.target, plan)
    heads = {head.name: _labels(of_bars, head.target, plan).y for head in plan.recipe.heads}
    return Dataset(
        x=x,
        names=plan.features,
        y=found.y,
        t0=found.t0,
        t1=found.t1,
        returns=found.returns,
        base=np.nan_to_num(_base(of_bars, plan)),
        weight=np.ones(len(x)),
        symbol=np.zeros(len(x), np.int16),
        symbols=(plan.symbol,),
        digest=_digest(bars, columns),
        columns=columns,
        warmup=lookback(own),
        horizon_ms=found.horizon_ms,
        targets=heads,
        left_out=left_out,
        stretch=length_of(plan.max_rows) if left_out else 0,
    )


def _labels(columns: BarColumns, target: Target, plan: Plan) -> Labels:
    """Return the labels of the rows; of each stretch from its own bars, those that its labels look back, and those that answer."""
    if len(columns.stretches) == 1:
        return label(columns.bars, target, plan.bar_ms, columns.start)
    parts = []
    for first, end in columns.stretches:
        begin = max(0, first - warmup_of(target))
        parts.append(label(columns.bars[begin : end + target.horizon_bars], target, plan.bar_ms, first - begin))
    sizes = [end - first for first, end in columns.stretches]
    joined = {
        name: np.concatenate([getattr(part, name)[:size] for part, size in zip(parts, sizes, strict=True)])
        for name in ("y", "t0", "t1", "returns")
    }
    spans = [part.horizon_ms for part in parts]
    return Labels(**joined, horizon_ms=max(sorted(set(spans)), key=spans.count))


def _base(columns: BarColumns, plan: Plan) -> npt.NDArray[np.float64]:
    """Return the base rule's position in every row; the warm-up is at least as long as its history."""
    parts = []
    for first, end in columns.stretches:
        begin = max(0, first - plan.warmup_bars)
        parts.append(base_position(plan.base_rule, columns.bars[begin:end])[first - begin :])
    return np.concatenate(parts)


def _digest(bars: Bars, columns: BarColumns | JoinedColumns) -> str:
    """Return the digest of the bars, of which of them are rows where not all are, and of what was joined to them."""
    found = bars_digest(bars)
    used = (columns.bars if isinstance(columns, JoinedColumns) else columns).stretches
    if len(used) > 1:
        found = f"sha256:{hashlib.sha256(f'{found} {used}'.encode()).hexdigest()}"
    if not isinstance(columns, JoinedColumns):
        return found
    joined = columns.joined
    return f"sha256:{hashlib.sha256(f'{found} {joined.names}'.encode() + joined.x.astype('<f4').tobytes()).hexdigest()}"


def bars_digest(bars: Bars) -> str:
    """Return ``sha256:`` over every value that was used, warm-up included: equal data, equal digest, whatever file they came from."""
    seen = hashlib.sha256(np.ascontiguousarray(bars.time, "<i8").data)
    for column in PRICES:
        seen.update(np.ascontiguousarray(getattr(bars, column), "<f8").data)
    return f"sha256:{seen.hexdigest()}"
