"""The table of recipes: those of this package, and those that other packages bring by the entry point ``walkforward.recipes``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from walkforward_core.api.recipe import Recipe as Name
from walkforward_core.features import OHLCV
from walkforward_core.plugins import with_plugins
from walkforward_trainer.recipes.daily_ensemble import DAILY_ENSEMBLE
from walkforward_trainer.recipes.drift_robust import DRIFT_ROBUST
from walkforward_trainer.recipes.multi_timeframe import MULTI_TIMEFRAME
from walkforward_trainer.recipes.ohlcv_direction import OHLCV_DIRECTION
from walkforward_trainer.recipes.recipe import Recipe
from walkforward_trainer.recipes.risk_filter import RISK_FILTER
from walkforward_trainer.resolved import Target

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BUILT_IN", "recipes"]

BUILT_IN: Final[Mapping[str, Recipe]] = {
    Name.OHLCV: Recipe(features=OHLCV, target=Target(kind="Risk"), models=("xgboost",)),
    Name.OHLCV_DIRECTION: OHLCV_DIRECTION,
    Name.MULTI_TIMEFRAME: MULTI_TIMEFRAME,
    Name.RISK_FILTER: RISK_FILTER,
    Name.DAILY_ENSEMBLE: DAILY_ENSEMBLE,
    Name.DRIFT_ROBUST: DRIFT_ROBUST,
}
"""Every recipe of this package by its name in the spec."""


def recipes() -> Mapping[str, Recipe]:
    """Return every recipe by its name in the spec."""
    return with_plugins("walkforward.recipes", BUILT_IN)
