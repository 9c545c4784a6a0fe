"""The table of base models: those of this package, and those that other packages bring by the entry point ``walkforward.models``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from walkforward_core.plugins import with_plugins
from walkforward_trainer.models.lgbm import fit_lightgbm
from walkforward_trainer.models.linear import fit_linear
from walkforward_trainer.models.parts import BaseModel
from walkforward_trainer.models.training import Training
from walkforward_trainer.models.xgb import fit_boosted, fit_forest, fit_xgboost
from walkforward_trainer.resolved import Model

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BUILT_IN", "Fit", "models"]

Fit = Callable[[Training, Model], BaseModel]
"""Rows with answers and hyper-parameters → fitted model. Two classes, three, or a number: ``training.classes`` says which.

The same arguments give the same model to the last bit, on one thread, and nothing but the rows' own values is read.
"""

BUILT_IN: Final[Mapping[str, Fit]] = {
    "xgboost": fit_xgboost,
    "forest": fit_forest,
    "boosted": fit_boosted,
    "lightgbm": fit_lightgbm,
    "linear": fit_linear,
}
"""Every base model of this package by its name in a recipe."""


def models() -> Mapping[str, Fit]:
    """Return every base model by its name in a recipe."""
    return with_plugins("walkforward.models", BUILT_IN)
