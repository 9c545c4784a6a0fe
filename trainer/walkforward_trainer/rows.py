"""Stage 3, features: the matrix that the model learns from, float32 before anything is fitted; and the rows that they become."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from walkforward_core.features import compute, lookback, unknown
from walkforward_trainer.data.tables import PRICES
from walkforward_trainer.dataset import Dataset
from walkforward_trainer.decision import base_position
from walkforward_trainer.errors import BadData, Reason
from walkforward_trainer.labels import label

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from walkforward_core.features import Bars
    from walkforward_trainer.data.quality import Window
    from walkforward_trainer.plan import Plan

__all__ = ["BarColumns", "bar_features", "bars_digest", "label_bars"]


@dataclass(frozen=True, slots=True, eq=False)
class BarColumns:
    """Feature columns of bars with their warm-up, of which row i is bar ``start + i``."""

    bars: Bars
    start: int

    def missing(self, names: Sequence[str]) -> str:
        """Return why ``names`` cannot be had for every row, or nothing."""
        strangers = unknown(names)
        if strangers:
            return f"features that this release does not have: {', '.join(strangers)}"
        needed = lookback(names)
        return f"features that need {needed} bars before the window, {self.start} are there" if needed > self.start else ""

    def matrix(self, names: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return the columns ``names``."""
        return compute(self.bars, names)[self.start :]


def bar_features(window: Window, plan: Plan) -> tuple[npt.NDArray[np.float32], BarColumns]:
    """Return the features of every bar of the window, and where others come from.

    Raises
    ------
    BadData
        A feature is missing or not finite in rows that have their warm-up.
    """
    x = compute(window.bars, plan.features)
    start = window.start
    # bars that were dropped for a missing value may have shortened the warm-up
    while start < len(x) and start < plan.warmup_bars and not np.isfinite(x[start]).all():
        start += 1
    bad = ~np.isfinite(x[start:])
    if bad.any() or start == len(x):
        column = int(bad.sum(axis=0).argmax())
        raise BadData(
            Reason.BAD_FEATURE,
            f"feature {plan.features[column]} is not a finite number in {int(bad[:, column].sum())} of {len(bad)} rows; "
            "check its column in the data, or leave it out of overrides.features",
        )
    return np.ascontiguousarray(x[start:]), BarColumns(bars=window.bars, start=start)


def label_bars(x: npt.NDArray[np.float32], columns: BarColumns, plan: Plan) -> Dataset:
    """Return the rows of bars with their labels."""
    bars, start = columns.bars, columns.start
    found = label(bars, plan.target, plan.bar_ms, start)
    heads = {head.name: label(bars, head.target, plan.bar_ms, start).y for head in plan.recipe.heads}
    return Dataset(
        x=x,
        names=plan.features,
        y=found.y,
        t0=found.t0,
        t1=found.t1,
        returns=found.returns,
        base=np.nan_to_num(base_position(plan.base_rule, bars)[start:]),
        weight=np.ones(len(x)),
        symbol=np.zeros(len(x), np.int16),
        symbols=(plan.symbol,),
        digest=bars_digest(bars),
        columns=columns,
        warmup=lookback(plan.features),
        horizon_ms=found.horizon_ms,
        targets=heads,
    )


def bars_digest(bars: Bars) -> str:
    """Return ``sha256:`` over every value that was used, warm-up included: equal data, equal digest, whatever file they came from."""
    seen = hashlib.sha256(bars.time.astype("<i8").tobytes())
    for column in PRICES:
        seen.update(getattr(bars, column).astype("<f8").tobytes())
    return f"sha256:{seen.hexdigest()}"
