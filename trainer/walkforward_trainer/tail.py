"""What follows the base models, in double precision: their log-odds → one score (meta model or vote) → calibration → probabilities.

Fitted on what ONNX Runtime answers for the base models' exported graphs, so it knows the numbers that it will meet, and written into
the same graph exactly as it is evaluated here. ``z`` is (n, m · (C - 1)): for each of m models the log-odds of the classes 1 … C - 1
against class 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from walkforward_core.api.recipe import Calibration
from walkforward_trainer.balance import balanced, fit_balance
from walkforward_trainer.calibration import DIGITS, Curve, Sigmoid, fit_curve, fit_sigmoid
from walkforward_trainer.models.parts import to_shares
from walkforward_trainer.regression import dot, fit_logistic, fit_softmax, sigmoid, softmax
from walkforward_trainer.resolved import Join

if TYPE_CHECKING:
    import numpy.typing as npt

    Vector = npt.NDArray[np.float64]

__all__ = ["LEAST_SHARE", "Meta", "Tail", "TailKind", "Vote", "fit_ending", "fit_join", "fit_tail"]

LEAST_SHARE: Final = 1e-3
"""Of three classes, what a calibrated class counts as at least before the classes are made to add up to 1.

Where no calibrator gives any class a share, each gets a third, and the answer does not jump on the way there.
"""


@dataclass(frozen=True, slots=True)
class TailKind:
    """What is to be fitted: ``weights`` of a vote, one a model; ``neutral`` the share of predictions that is asked for, 0 for none."""

    classes: int = 2
    join: Join = Join.META
    weights: tuple[float, ...] = ()
    calibration: Calibration = Calibration.ISOTONIC
    neutral: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Meta:
    """A logistic regression on ``z``: of two classes ``weights`` (1, k) and ``bias`` (1,), of three a row a class."""

    weights: Vector
    bias: Vector

    def joined(self, z: Vector) -> Vector:
        """Return the probability of class 1, shape (n, 1), or of each of three classes, shape (n, 3)."""
        logits = np.column_stack([dot(z, weights) + bias for weights, bias in zip(self.weights, self.bias, strict=True)])
        return sigmoid(logits) if len(self.bias) == 1 else softmax(logits)

    def describe(self) -> dict[str, Any]:
        """Return weights and biases."""
        return {"kind": "Meta", "weights": self.weights.tolist(), "bias": self.bias.tolist()}


@dataclass(frozen=True, slots=True, eq=False)
class Vote:
    """The mean of the models' own probabilities with ``weights`` (m,), which add up to 1."""

    weights: Vector
    classes: int

    def joined(self, z: Vector) -> Vector:
        """Return the same as :meth:`Meta.joined`."""
        shares = to_shares(z.reshape(len(z), len(self.weights), -1))
        kept = shares[:, :, 1:] if self.classes == 2 else shares
        return np.column_stack([dot(kept[:, :, column], self.weights) for column in range(kept.shape[2])])

    def describe(self) -> dict[str, Any]:
        """Return the weights."""
        return {"kind": "Vote", "weights": self.weights.tolist()}


@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """``calibrators``: none, one for class 1 of two classes, or one for each of three; ``neutral`` is what class 1 of three counts."""

    classes: int
    join: Meta | Vote
    calibrators: tuple[Curve | Sigmoid, ...]
    neutral: float = 1.0

    def probability(self, z: Vector) -> Vector:
        """Return the probabilities of all classes, shape (n, classes)."""
        joined = self.join.joined(z)
        if self.calibrators:
            joined = np.column_stack([one.apply(column) for one, column in zip(self.calibrators, joined.T, strict=True)])
        if self.classes == 2:
            one = np.clip(joined, 0.0, 1.0)
            return np.column_stack((1.0 - one, one))
        if not self.calibrators and self.neutral == 1.0:
            return joined
        kept = balanced(np.maximum(joined, LEAST_SHARE), self.neutral)
        return np.asarray(kept / dot(kept, np.ones(self.classes))[:, None])

    def describe(self) -> dict[str, Any]:
        """Return what was fitted, for people and for an audit."""
        found = {"join": self.join.describe(), "calibration": [one.describe() for one in self.calibrators]}
        return found if self.neutral == 1.0 else found | {"neutral": self.neutral}


def fit_tail(z: Vector, y: Vector, weight: Vector, kind: TailKind) -> Tail:
    """Return the tail of base log-odds ``z``, out of fold, and classes ``y``; rows weigh ``weight`` (n,)."""
    return fit_ending(fit_join(z, y, weight, kind), z, y, weight, kind)


def fit_ending(join: Meta | Vote, z: Vector, y: Vector, weight: Vector, kind: TailKind) -> Tail:
    """Return the tail that begins with ``join``: calibrators, and what neutral counts, of the rows ``z``, ``y``, ``weight``."""
    tail = Tail(kind.classes, join, fit_calibrators(join.joined(z), y, weight, kind))
    if kind.classes == 2 or not kind.neutral:
        return tail
    return replace(tail, neutral=fit_balance(tail.probability(z), kind.neutral))


def fit_join(z: Vector, y: Vector, weight: Vector, kind: TailKind) -> Meta | Vote:
    """Return the meta model of ``z`` and ``y``, or the vote, which learns nothing."""
    if kind.join is Join.VOTE:
        models = z.shape[1] // (kind.classes - 1)
        votes = np.array(kind.weights or (1.0,) * models)
        return Vote(votes / votes.sum(), kind.classes)
    if kind.classes == 2:
        weights, bias = fit_logistic(z, y, weight)
        return Meta(np.round(weights, DIGITS)[None, :], np.array([round(bias, DIGITS)]))
    many, biases = fit_softmax(z, y, kind.classes, weight)
    return Meta(np.round(many, DIGITS), np.round(biases, DIGITS))


def fit_calibrators(joined: Vector, y: Vector, weight: Vector, kind: TailKind) -> tuple[Curve | Sigmoid, ...]:
    """Return the calibrators of joined probabilities: each class against the rest."""
    if kind.calibration is Calibration.NONE:
        return ()
    fit = fit_curve if kind.calibration is Calibration.ISOTONIC else fit_sigmoid
    wanted = (1,) if kind.classes == 2 else range(kind.classes)
    return tuple(fit(column, (y == one).astype(np.float64), weight) for one, column in zip(wanted, joined.T, strict=True))
