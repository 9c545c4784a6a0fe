"""Stage 3, features: the matrix that the model learns from, float32 before anything is fitted."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from walkforward_core.features import compute
from walkforward_trainer.errors import BadData, Reason
from walkforward_trainer.tables import PRICES

if TYPE_CHECKING:
    import numpy.typing as npt

    from walkforward_core.features import Bars
    from walkforward_trainer.plan import Plan
    from walkforward_trainer.quality import Window

__all__ = ["Rows", "build_rows"]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The rows of the training window: ``x`` (n, features) float32, ``bars`` with the warm-up, of which row i is bar ``start + i``."""

    x: npt.NDArray[np.float32]
    bars: Bars
    start: int

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.x)

    @property
    def time(self) -> npt.NDArray[np.int64]:
        """Decision times: the closes of the bars, epoch milliseconds UTC."""
        return self.bars.time[self.start :]

    @property
    def digest(self) -> str:
        """``sha256:`` over every value that was used, warm-up included: equal data, equal digest, whatever file they came from."""
        seen = hashlib.sha256(self.bars.time.astype("<i8").tobytes())
        for column in PRICES:
            seen.update(getattr(self.bars, column).astype("<f8").tobytes())
        return f"sha256:{seen.hexdigest()}"


def build_rows(window: Window, plan: Plan) -> Rows:
    """Return the features of every bar of the window.

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
    return Rows(x=np.ascontiguousarray(x[start:]), bars=window.bars, start=start)
