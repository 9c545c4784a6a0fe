"""``multi-timeframe``: down, neutral or up against a threshold that follows the volatility, one methodology a timeframe.

A random forest, boosted trees and a linear model, joined by a logistic meta model that is fitted out of fold, calibrated on rows that none
of them has seen: 70 % train, 15 % calibrate, 15 % test, and the very model that was tested is shipped. Sample weights lead to the class
target of the timeframe, and neutral is predicted as often as that asks (:mod:`walkforward_trainer.balance`).

`data.timeframe` chooses features, the volatility that the label's threshold follows, class target, how old the newest bar may be (a
weekend, but for 5m) and gates, so each timeframe is a
ModelRetrain of its own with a rollout of its own. Twenty bars are an hour and a half of 5m and a month of 24h: the same columns are not the
same question, and one methodology for all is a known cause of models of no use.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from walkforward_core.api.recipe import ClassShares, Scheme, VolatilityScale
from walkforward_core.features import TECHNICAL_17
from walkforward_trainer.recipes.recipe import Recipe
from walkforward_trainer.resolved import Model, Quality, Target, Validation

__all__ = ["MULTI_TIMEFRAME", "ROLES"]

ROLES: Final = {"5m": "execution", "1h": "tactics", "12h": "regime", "24h": "strategy", "1d": "strategy"}
"""What the model of a timeframe is for; ``1d`` is another name of ``24h``."""

BALANCED: Final = ClassShares(down=0.40, neutral=0.20, up=0.40)
"""Class target of execution (5m) and regime (12h)."""
DECIDED: Final = ClassShares(down=0.45, neutral=0.10, up=0.45)
"""Class target of tactics (1h) and strategy (24h)."""

_DAY_OF_5M: Final = 288
_WEEK_OF_1H: Final = 168
_MONTH_OF_12H: Final = 60
_QUARTER_OF_24H: Final = 60
"""Bars that the threshold's volatility is of: long enough to be steady, short enough to follow what the timeframe trades."""

TACTICS_17: Final = (
    *("ret_1", "ret_6", "ret_24", "vol_20", "vol_ratio_20_100", "atr_14", "rsi_14", "macd_hist_12_26_9", "stoch_k_14"),
    *("cci_20", "mfi_14", "adx_14", "di_14", "ema_21_away", "bollinger_20", "bollinger_width_20", "volume_z_20"),
)
"""An hour's model looks back a day (``ret_24``) and compares a day's volatility with that of half a week."""
REGIME_17: Final = (
    *("ret_1", "ret_5", "ret_20", "vol_20", "vol_ratio_20_100", "atr_14", "skew_60", "rsi_14", "macd_hist_12_26_9"),
    *("adx_14", "di_14", "sma_50_away", "sma_50_200", "bollinger_width_20", "donchian_20", "autocorr_20", "volume_z_20"),
)
"""Half a day's model asks what kind of market it is: trend or none, calm or not, over ten days to a hundred."""
STRATEGY_17: Final = (
    *("ret_1", "ret_5", "ret_20", "vol_20", "vol_ratio_20_100", "parkinson_20", "skew_60", "rsi_14", "macd_hist_12_26_9"),
    *("trix_15", "adx_14", "di_14", "sma_50_away", "sma_50_200", "donchian_20", "obv_20", "cmf_20"),
)
"""A day's model: trend and money flow over a month to most of a year."""


def _profile(features: tuple[str, ...], volatility_bars: int, shares: ClassShares, fresh: str) -> Recipe:
    target = replace(EXECUTION.target, volatility_bars=volatility_bars, class_target=shares)
    return replace(EXECUTION, features=features, target=target, quality=replace(EXECUTION.quality, max_staleness=fresh))


EXECUTION: Final = Recipe(
    features=TECHNICAL_17,
    target=Target(
        kind="Adaptive",
        horizon_bars=5,
        threshold=1.5,
        volatility_bars=_DAY_OF_5M,
        volatility_scale=VolatilityScale.BAR,
        class_target=BALANCED,
    ),
    models=("forest", "xgboost", "linear"),
    model=Model(trees=100, depth=5),
    validation=Validation(scheme=Scheme.HOLDOUT, embargo="24h", train_share=0.7, calibration_share=0.15),
    threshold=0.60,
    quality=Quality(max_staleness="1d"),
    checks=("leakage", "forensic"),
)
"""5m, and timeframes that are not documented."""
STRATEGY: Final = _profile(STRATEGY_17, _QUARTER_OF_24H, DECIDED, fresh="5d")

MULTI_TIMEFRAME: Final = replace(
    EXECUTION,
    profiles={
        "5m": EXECUTION,
        "1h": _profile(TACTICS_17, _WEEK_OF_1H, DECIDED, fresh="3d"),
        "12h": _profile(REGIME_17, _MONTH_OF_12H, BALANCED, fresh="4d"),
        "24h": STRATEGY,
        "1d": STRATEGY,
    },
)
