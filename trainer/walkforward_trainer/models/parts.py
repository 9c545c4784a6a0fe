"""What a fitted base model is made of: arrays that the graph is written from, and nothing of the library that trained it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from walkforward_core.features import Bounds

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Matrix = npt.NDArray[np.float32]
    Vector = npt.NDArray[np.float64]
    Index = npt.NDArray[np.intp]
    Ints = npt.NDArray[np.int64]

__all__ = ["SHARE_FLOOR", "BaseModel", "Linear", "Link", "Part", "TreeEnsemble", "to_log_odds", "to_shares"]

SHARE_FLOOR = 0.005
"""A forest's share of a class counts as at least this, of two classes as at most 1 - this: the log-odds of 0 are not finite."""


class Link(StrEnum):
    """What a raw score is."""

    LOG_ODDS = "LogOdds"
    """Of two classes the log-odds of class 1; of more a score a class, up to one constant a row."""
    SHARE = "Share"
    """Of two classes the probability of class 1; of more one a class, which need not add up to 1."""
    NUMBER = "Number"
    """The estimate of a number."""


@dataclass(frozen=True, slots=True, eq=False)
class TreeEnsemble:
    """Regression trees whose leaf values add up: parallel arrays, one entry a node.

    A row goes to ``yes`` where x[feature] < threshold in float32 (with ``or_equal`` where ≤; NaN: where ``nan_yes``); ``yes`` is -1 at a
    leaf of value ``leaf``, which is added to the output ``target``: in float32 where ``leaf`` is, else in double. ``offset`` has one entry
    an output; ``features`` is the width of x.
    """

    tree: Ints
    node: Ints
    feature: Ints
    threshold: npt.NDArray[np.float32]
    yes: Ints
    no: Ints
    nan_yes: Ints
    leaf: npt.NDArray[np.float32] | Vector
    target: Ints
    offset: tuple[float, ...]
    features: int
    link: Link = Link.LOG_ODDS
    or_equal: bool = False

    @property
    def splits(self) -> list[tuple[int, float]]:
        """Every distinct (feature, threshold) that a row is compared with, ascending."""
        inner = self.yes >= 0
        return sorted(set(zip(self.feature[inner].tolist(), self.threshold[inner].tolist(), strict=True)))

    @property
    def importance(self) -> Vector:
        """Splits that look at each feature, shape (features,)."""
        return np.bincount(self.feature[self.yes >= 0], minlength=self.features).astype(np.float64)

    def among(self, columns: Index, features: int) -> TreeEnsemble:
        """Return the same trees for rows of ``features`` columns, of which these know ``columns``."""
        return replace(self, feature=np.asarray(columns, np.int64)[self.feature], features=features)


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """Outputs Σ (x - center) · weights + bias in double precision: ``center`` (f,), ``weights`` (outputs, f), ``bias`` (outputs,).

    ``scale`` (f,) is the standard deviation of each column, for :attr:`importance` only. x is first kept within ``bounds``.
    """

    center: Vector
    weights: Vector
    bias: Vector
    scale: Vector
    link: Link = Link.LOG_ODDS
    bounds: Bounds | None = None

    @property
    def splits(self) -> list[tuple[int, float]]:
        """Every (column, bound) that a value is compared with."""
        if self.bounds is None:
            return []
        ends = [*enumerate(self.bounds.lower.tolist()), *enumerate(self.bounds.upper.tolist())]
        return sorted({(column, bound) for column, bound in ends if math.isfinite(bound)})

    @property
    def importance(self) -> Vector:
        """Mean size of the weights of each standardised column, shape (f,)."""
        return np.asarray((np.abs(self.weights) * self.scale).mean(axis=0))

    def among(self, columns: Index, features: int) -> Linear:
        """Return the same for rows of ``features`` columns; the others have no weight."""
        center, scale, weights = np.zeros(features), np.zeros(features), np.zeros((len(self.weights), features))
        center[columns], scale[columns], weights[:, columns] = self.center, self.scale, self.weights
        bounds = self.bounds
        if bounds is not None:
            lower, upper = np.full(features, -np.inf, np.float32), np.full(features, np.inf, np.float32)
            lower[columns], upper[columns] = bounds.lower, bounds.upper
            bounds = Bounds(lower=lower, upper=upper)
        return replace(self, center=center, scale=scale, weights=weights, bounds=bounds)


Part = TreeEnsemble | Linear


@dataclass(frozen=True, slots=True, eq=False)
class BaseModel:
    """A fitted base model.

    Parameters
    ----------
    part
        What is exported; its features are the columns of the whole matrix.
    native
        The library's own predictor: rows of the columns that the model was fitted on → raw scores, shape (n,) or (n, outputs).
    columns
        These columns; all where none are named.
    """

    part: Part
    native: Callable[[Matrix], npt.NDArray[np.floating]]
    columns: Index | None = None

    def raw(self, x: Matrix) -> Vector:
        """Return the raw scores of whole rows ``x`` by the library itself, shape (n, outputs)."""
        seen = x if self.columns is None else np.ascontiguousarray(x[:, self.columns])
        return np.asarray(self.native(seen), np.float64).reshape(len(x), -1)

    def importance(self) -> Vector:
        """Return how much the model looks at each column of whole rows, shape (features,), ≥ 0."""
        return self.part.importance

    def among(self, columns: Index, features: int) -> BaseModel:
        """Return the model for whole rows, of which it knows ``columns``."""
        return BaseModel(part=self.part.among(columns, features), native=self.native, columns=columns)


def to_log_odds(raw: Vector, link: Link) -> Vector:
    """Return the log-odds of the classes 1 … C - 1 against class 0, shape (n, C - 1), of raw scores (n, outputs); numbers stay."""
    if link is Link.NUMBER:
        return raw
    if link is Link.SHARE:
        if raw.shape[1] == 1:
            share = np.clip(raw, SHARE_FLOOR, 1.0 - SHARE_FLOOR)
            return np.asarray(np.log(share) - np.log(1.0 - share))
        raw = np.log(np.maximum(raw, SHARE_FLOOR))
    return raw if raw.shape[1] == 1 else raw[:, 1:] - raw[:, :1]


def to_shares(z: Vector) -> Vector:
    """Return the probabilities of all classes, shape (…, C), of log-odds ``z`` (…, C - 1) against class 0."""
    if z.shape[-1] == 1:
        one = 1.0 / (1.0 + np.exp(-z))
        return np.concatenate((1.0 - one, one), axis=-1)
    whole = np.concatenate((np.zeros_like(z[..., :1]), z), axis=-1)
    grown = np.exp(whole - whole.max(axis=-1, keepdims=True))
    return np.asarray(grown / grown.sum(axis=-1, keepdims=True))
