"""``multi-timeframe``: down, neutral or up against a threshold that follows the volatility, one methodology a timeframe.

A random forest, boosted trees and a linear model, joined by a logistic meta model that is fitted out of fold, calibrated on rows that none
of them has seen: 70 % train, 15 % calibrate, 15 % test, and the very model that was tested is shipped. Sample weights lead to the class
target of the timeframe; `data.timeframe` chooses it, and the gates with it, so each timeframe is a ModelRetrain of its own with a rollout
of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from walkforward_core.api.recipe import ClassShares, Scheme, VolatilityScale
from walkforward_core.features import TECHNICAL_17
from walkforward_trainer.recipes.recipe import Recipe
from walkforward_trainer.resolved import Model, Target, Validation

__all__ = ["MULTI_TIMEFRAME"]

BALANCED: Final = ClassShares(down=0.40, neutral=0.20, up=0.40)
"""Class target of execution (5m) and regime (12h)."""
DECIDED: Final = ClassShares(down=0.45, neutral=0.10, up=0.45)
"""Class target of tactics (1h) and strategy (24h)."""


def _profile(shares: ClassShares) -> Recipe:
    return replace(EXECUTION, target=replace(EXECUTION.target, class_target=shares))


EXECUTION: Final = Recipe(
    features=TECHNICAL_17,
    target=Target(kind="Adaptive", horizon_bars=5, threshold=1.5, volatility_scale=VolatilityScale.BAR, class_target=BALANCED),
    models=("forest", "xgboost", "linear"),
    model=Model(trees=100, depth=5),
    validation=Validation(scheme=Scheme.HOLDOUT, embargo="24h", train_share=0.7, calibration_share=0.15),
    threshold=0.60,
    checks=("leakage", "forensic"),
)
"""5m, and timeframes that are not documented."""

MULTI_TIMEFRAME: Final = replace(
    EXECUTION,
    profiles={"1h": _profile(DECIDED), "12h": _profile(BALANCED), "24h": _profile(DECIDED), "1d": _profile(DECIDED)},
)
