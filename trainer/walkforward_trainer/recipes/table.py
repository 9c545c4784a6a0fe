"""The table of recipes: those of this package, and those that other packages bring by the entry point ``walkforward.recipes``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from walkforward_core.api.recipe import Recipe as Name
from walkforward_core.features import OHLCV
from walkforward_core.plugins import with_plugins
from walkforward_trainer.recipes.recipe import Recipe
from walkforward_trainer.resolved import Target

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BUILT_IN", "recipes"]

BUILT_IN: Final[Mapping[str, Recipe]] = {
    Name.OHLCV: Recipe(features=OHLCV, target=Target(kind="Risk"), models=("xgboost",)),
}
"""Every recipe of this package by its name in the spec."""


def recipes() -> Mapping[str, Recipe]:
    """Return every recipe by its name in the spec."""
    return with_plugins("walkforward.recipes", BUILT_IN)
