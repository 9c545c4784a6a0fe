"""``risk-filter``: will this trade be a bad one? Learned from closed trades, with the features frozen when each was decided.

A trade is bad if it lost, or if its adverse excursion was above 3 %. A logistic regression blocks trades whose probability of being bad is
above 0.5; where it is missing or broken, the rules decide alone (`withoutModel: Allow`). From 20 closed trades on; before, the system is
in its bootstrap, which is no error.
"""

from __future__ import annotations

from typing import Final

from walkforward_core.api.data import DataKind
from walkforward_core.api.recipe import Calibration
from walkforward_trainer.recipes.recipe import Recipe
from walkforward_trainer.resolved import Join, Quality, Target, Validation

__all__ = ["RISK_FILTER"]

RISK_FILTER: Final = Recipe(
    features=(),
    target=Target(kind="BadTrade", horizon_bars=1, max_adverse=0.03),
    models=("linear",),
    kind=DataKind.TRADES,
    join=Join.VOTE,
    weights=(1.0,),
    calibration=Calibration.NONE,
    validation=Validation(folds=5, embargo="0s"),
    quality=Quality(max_gap="30d", min_completeness=0.0, max_staleness="30d", min_rows=20),
)
"""No features of its own: those that the log has frozen, or the ones named in the overrides."""
