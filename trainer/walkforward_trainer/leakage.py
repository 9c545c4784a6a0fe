"""The leak detector: three experiments that only leaked information fails (gate ``leakage``, check ``leakage`` of a recipe).

A small boosted model is fitted on purged folds of the newest rows, through the very steps that the real one goes through: the same
splits, the same choice of features, the same weights. Then something is taken away that an honest model can spare, or given that it
cannot use:

- *shuffled labels*: blocks of labels change places, so nothing is left to know. An area under the curve above one half means that a step of
  the pipeline has seen the answers of rows that it is tested on.
- *late features*: every feature comes one bar later, and one label horizon later. An honest signal fades; one that falls off a cliff was
  about the bars of the answer.
- *no purge*: purge and embargo are left out. A gain means that overlapping labels carry what the model seems to know.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from walkforward_core.api.data import DataKind
from walkforward_core.offline import LEAKAGE
from walkforward_trainer.metrics import classes
from walkforward_trainer.parallel import side_by_side
from walkforward_trainer.selection import select
from walkforward_trainer.splits import purged_k_fold
from walkforward_trainer.weighing import weighed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.plan import Plan
    from walkforward_trainer.splits import Split

    Index = npt.NDArray[np.intp]

__all__ = ["Leakage", "detect_leaks"]

NEWEST: Final = 8_000
"""Rows that are looked at: enough for any leak that a gate would mind, and a second or two of work."""
FOLDS: Final = 3
ROUNDS: Final = 40
DEPTH: Final = 3
BINS: Final = 64
SHUFFLES: Final = 5
BLOCK_HORIZONS: Final = 5
"""A block of shuffled labels is this many label horizons long: overlapping labels stay together."""


@dataclass(frozen=True, slots=True)
class Leakage:
    """``honest`` area under the curve, and what became of it in each experiment; None where there is no sense in one.

    ``shuffled`` is the mean area of the shuffled labels; ``late`` the areas with features one bar and one horizon later; ``unpurged`` that
    without purge and embargo.
    """

    honest: float
    shuffled: float
    late: tuple[float, float] | None
    unpurged: float

    @property
    def metrics(self) -> dict[str, float]:
        """What the gate reads."""
        found = {LEAKAGE["shuffledAuc"]: self.shuffled, LEAKAGE["purgeGain"]: self.unpurged - self.honest}
        if self.late is not None:
            found[LEAKAGE["shiftDrop"]] = self.honest - min(self.late)
        return {name: value for name, value in found.items() if np.isfinite(value)}


def detect_leaks(rows: Dataset, plan: Plan) -> Leakage:
    """Return what the experiments show on the newest labelled rows.

    Trades have no bar before them, so their features are not made late: that check then has no value.
    """
    timed = plan.kind is not DataKind.TRADES
    overlap = _overlap(rows)
    index = np.flatnonzero(rows.known)
    if timed:
        one, horizon = _earlier(rows, 1), _earlier(rows, overlap)
        index = index[(one[index] >= 0) & (horizon[index] >= 0)]
    index = index[-NEWEST:]
    t0, t1 = rows.t0[index], rows.t1[index]
    splits = purged_k_fold(t0, t1, FOLDS, plan.embargo_ms)

    def changed(change: Callable[[], Dataset]) -> Callable[[], float]:
        # made when its turn comes: copies of a large window are not all there at once
        return lambda: _area(change(), index, splits, plan)

    seeds = range(plan.model.seed, plan.model.seed + SHUFFLES)
    shifts = (one, horizon) if timed else ()
    jobs = [changed(lambda: rows)]
    # intervals without length meet nothing, so nothing is purged
    jobs += [lambda: _area(rows, index, purged_k_fold(t0, t0, FOLDS, 0), plan)]
    jobs += [changed(partial(_shuffled, rows, index, overlap, seed)) for seed in seeds]
    jobs += [changed(partial(_late, rows, shift)) for shift in shifts]
    honest, unpurged, *rest = side_by_side(jobs)
    shuffled, late = rest[:SHUFFLES], rest[SHUFFLES:]
    return Leakage(honest=honest, shuffled=float(np.mean(shuffled)), late=(late[0], late[1]) if late else None, unpurged=unpurged)


def _overlap(rows: Dataset) -> int:
    """Return how many rows of one symbol a label spans, 1 at least."""
    first = np.flatnonzero(rows.symbol == rows.symbol[0])
    ends = np.searchsorted(rows.t0[first], rows.t1[first], side="left")
    return max(1, int(np.median(ends - np.arange(len(first)))))


def _earlier(rows: Dataset, steps: int) -> Index:
    """Return for each row the one ``steps`` rows earlier of the same symbol, -1 where there is none."""
    out = np.full(len(rows), -1, np.intp)
    for symbol in np.unique(rows.symbol):
        own = np.flatnonzero(rows.symbol == symbol)
        out[own[steps:]] = own[:-steps]
    return out


def _late(rows: Dataset, earlier: Index) -> Dataset:
    """Return the rows with the features of those that come ``earlier``."""
    return replace(rows, x=rows.x[np.maximum(earlier, 0)])


def _shuffled(rows: Dataset, index: Index, overlap: int, seed: int) -> Dataset:
    """Return the rows with the labels of ``index`` in other places, block by block."""
    length = BLOCK_HORIZONS * overlap * len(rows.symbols)
    blocks = np.array_split(index, max(2, len(index) // length))
    order = np.random.default_rng(seed).permutation(len(blocks))
    y = rows.y.copy()
    y[index] = rows.y[np.concatenate([blocks[at] for at in order])]
    return replace(rows, y=y)


def _area(rows: Dataset, index: Index, splits: Sequence[Split], plan: Plan) -> float:
    """Return the mean over folds of the area under the curve of test rows; NaN where no fold has every class."""
    found = [_fold_area(rows, index[split.train], index[split.test], plan) for split in splits]
    known = [value for value in found if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def _fold_area(rows: Dataset, train: Index, test: Index, plan: Plan) -> float:
    import xgboost  # noqa: PLC0415 - seconds to load, not needed to refuse bad data

    y = rows.y[train]
    if len(np.unique(y)) < plan.classes or len(np.unique(rows.y[test])) < plan.classes:
        return float("nan")
    columns = select(rows, train, plan)
    settings: dict[str, Any] = {
        "objective": "binary:logistic" if plan.classes == 2 else "multi:softprob",
        "tree_method": "hist",
        "max_bin": BINS,
        "max_depth": DEPTH,
        "learning_rate": 0.1,
        "seed": plan.model.seed,
        "nthread": 1,
    }
    if plan.classes > 2:
        settings["num_class"] = plan.classes
    data = xgboost.QuantileDMatrix(rows.x[np.ix_(train, columns)], label=y, weight=weighed(rows, plan, train), max_bin=BINS, nthread=1)
    p = xgboost.train(settings, data, num_boost_round=ROUNDS).inplace_predict(rows.x[np.ix_(test, columns)]).astype(np.float64)
    return classes.area(rows.y[test], p if p.ndim == 2 else np.column_stack((1.0 - p, p)))
