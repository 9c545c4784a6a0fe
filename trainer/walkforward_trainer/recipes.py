"""Recipes: declared compositions. Another recipe is another entry; it needs no stage of its own.

What a name stands for is in the table of its kind: features in :mod:`walkforward_core.features`, labels in
:mod:`walkforward_trainer.labels`, base models in :mod:`walkforward_trainer.models`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from walkforward_core.api.retrain import Recipe as RecipeName
from walkforward_core.features import OHLCV

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RECIPES", "Recipe"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """One composition: its features in order, and the base models whose scores the meta model joins."""

    features: tuple[str, ...]
    models: tuple[str, ...]


RECIPES: Final[Mapping[RecipeName, Recipe]] = {
    RecipeName.OHLCV: Recipe(features=OHLCV, models=("xgboost",)),
}
"""Every recipe of this release by its name in the spec."""
