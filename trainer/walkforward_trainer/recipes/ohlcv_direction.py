"""``ohlcv-direction``: eleven features of bars, or of bars built from sampled ticks; five answers in one bundle.

Direction decides; risk, price, momentum and volatility are further outputs of the same graph. One bundle and not five, since they are
trained on the same rows for the same trading engine, and live or go back together: five rollouts would mix generations.

Documented numbers: gradient boosting with 100 trees of depth 4, learning rate 0.05, subsample 0.8; the first 70 % train, then an embargo
of 5 % of the rows or 24 hours, whichever is longer, the rest tests; slippage of 2 bps a side, times 2.0 falling to 1.5 over 500 trades.
"""

from __future__ import annotations

from typing import Final

from walkforward_core.api.recipe import Calibration, Scheme
from walkforward_core.api.retrain import SlippageByTrades
from walkforward_core.features import OHLCV_11
from walkforward_trainer.recipes.recipe import Recipe
from walkforward_trainer.resolved import Head, Join, Model, Target, Validation

__all__ = ["OHLCV_DIRECTION"]

OHLCV_DIRECTION: Final = Recipe(
    features=OHLCV_11,
    target=Target(kind="Direction", horizon_bars=5),
    models=("xgboost",),
    model=Model(trees=100, depth=4, learning_rate=0.05, subsample=0.8),
    join=Join.VOTE,
    weights=(1.0,),
    calibration=Calibration.NONE,
    validation=Validation(scheme=Scheme.HOLDOUT, embargo="24h", embargo_rows=0.05, train_share=0.7),
    heads=(
        Head("risk", Target(kind="Risk", horizon_bars=5)),
        Head("price", Target(kind="Price", horizon_bars=5)),
        Head("momentum", Target(kind="Momentum", horizon_bars=5)),
        Head("volatility", Target(kind="Volatility", horizon_bars=5)),
    ),
    slippage_bps=2.0,
    by_trades=SlippageByTrades(),
)
