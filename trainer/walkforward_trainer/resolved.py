"""What a spec leaves open, filled in: the recipe's value where the overrides have none."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from walkforward_core.api.recipe import Scheme, VolatilityScale

if TYPE_CHECKING:
    import msgspec

    from walkforward_core.api.recipe import ClassShares

__all__ = ["Head", "Join", "Model", "Quality", "Target", "Validation", "filled"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Target:
    """The label: ``kind`` is a name in the table of labels. Fields that a kind does not know are of no effect."""

    kind: str
    horizon_bars: int = 5
    threshold: float = 1.5
    volatility_bars: int = 100
    volatility_scale: VolatilityScale = VolatilityScale.HORIZON
    class_target: ClassShares | None = None
    max_adverse: float = 0.03


@dataclass(frozen=True, slots=True)
class Model:
    """Hyper-parameters of the base models; each reads those that it knows.

    ``winsorise`` is of a linear model: percent of the training rows beyond either bound that it keeps each column within; 0 for none.
    """

    trees: int = 100
    depth: int = 3
    learning_rate: float = 0.05
    subsample: float = 0.8
    l2: float = 1e-3
    winsorise: float = 0.0
    seed: int = 7


@dataclass(frozen=True, slots=True)
class Validation:
    """Splits; ``embargo`` as in the spec, ``embargo_rows`` a share of the rows: the longer of both applies."""

    scheme: Scheme = Scheme.PURGED_K_FOLD
    folds: int = 5
    embargo: str = "24h"
    embargo_rows: float = 0.0
    train_share: float = 0.7
    calibration_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Quality:
    """Limits on the data, as in the spec."""

    max_gap: str = "5d"
    min_completeness: float = 0.5
    max_nan: float = 0.005
    max_flat: float = 0.1
    max_jump: float = 1.9
    max_staleness: str = "7d"
    min_rows: int = 500


@dataclass(frozen=True, slots=True)
class Head:
    """A further output of the graph: ``name`` of the tensor, ``target`` in the table of labels.

    ``coverage`` of an estimate: two more outputs, ``<name>_lower`` and ``<name>_upper``, hold this share of the answers between them.
    """

    name: str
    target: Target
    coverage: float | None = None


class Join(StrEnum):
    """How base models become one score."""

    META = "Meta"
    """A logistic meta model on their log-odds, fitted out of fold."""
    VOTE = "Vote"
    """The weighted mean of their probabilities."""


def filled(default: T, given: msgspec.Struct) -> T:
    """Return ``default`` (a dataclass) with every field that ``given`` names and sets.

    >>> from walkforward_core.api.recipe import Target as Given
    >>> filled(Target("Risk"), Given(threshold=2.0)).threshold
    2.0
    """
    known = {field.name for field in dataclasses.fields(default)}  # type: ignore[arg-type]
    changes: dict[str, Any] = {
        name: getattr(given, name) for name in given.__struct_fields__ if name in known and getattr(given, name) is not None
    }
    return dataclasses.replace(default, **changes)  # type: ignore[type-var]
