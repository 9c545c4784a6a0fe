"""``daily-ensemble``: a soft vote of four tree models on more than forty features of daily bars, and on what other tables know.

XGBoost, random forest, gradient boosting and LightGBM vote 2 : 1 : 1 : 1.5; Platt's calibration; features that say the same are left
out, and the rest chosen, inside every fold; hyper-parameters searched on purged folds of the training rows. The move itself is estimated
too, between two bounds that hold nine of ten. At most 10 % below the live model.
"""

from __future__ import annotations

from typing import Final

from walkforward_core.api.recipe import Calibration, Scheme, Selection, Sizing, Tuning
from walkforward_core.features import DAILY_40
from walkforward_trainer.recipes.recipe import Recipe
from walkforward_trainer.resolved import Head, Join, Model, Target, Validation

__all__ = ["DAILY_ENSEMBLE"]

DAILY_ENSEMBLE: Final = Recipe(
    features=DAILY_40,
    target=Target(kind="Direction", horizon_bars=5),
    models=("xgboost", "forest", "boosted", "lightgbm"),
    model=Model(trees=200, depth=4, learning_rate=0.05, subsample=0.8),
    join=Join.VOTE,
    weights=(2.0, 1.0, 1.0, 1.5),
    calibration=Calibration.PLATT,
    validation=Validation(scheme=Scheme.WALK_FORWARD, folds=5, embargo="7d"),
    heads=(Head("price", Target(kind="Price", horizon_bars=5), coverage=0.9),),
    selection=Selection(correlation=0.9, best=25),
    tuning=Tuning(trials=100),
    sizing=Sizing(),
)
