"""``drift-robust``: a linear model on seven features that were chosen to drift little, from the feature logger's samples.

L2 logistic regression on columns that are kept within bounds, which cut 0.5 % of the training rows at either end; Platt's calibration,
purged 5-fold with an embargo of 60 minutes. The return over five minutes is one over five minutes, by time stamp.
"""

from __future__ import annotations

from typing import Final

from walkforward_core.api.data import DataKind
from walkforward_core.api.recipe import Calibration
from walkforward_core.features import DRIFT_ROBUST_7
from walkforward_trainer.recipes.recipe import Recipe
from walkforward_trainer.resolved import Join, Model, Quality, Target, Validation

__all__ = ["DRIFT_ROBUST"]

DRIFT_ROBUST: Final = Recipe(
    features=DRIFT_ROBUST_7,
    target=Target(kind="Direction", horizon_bars=5),
    models=("linear",),
    model=Model(l2=1e-3, winsorise=0.5),
    kind=DataKind.SAMPLES,
    evidence_files=True,
    join=Join.VOTE,
    weights=(1.0,),
    calibration=Calibration.PLATT,
    validation=Validation(folds=5, embargo="60m"),
    quality=Quality(max_gap="5m", min_completeness=0.995, max_nan=0.005, max_staleness="1h", min_rows=1_000),
)
