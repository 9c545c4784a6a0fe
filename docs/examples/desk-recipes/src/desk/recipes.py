"""Our recipes: which features, which label, which models. No stage is written anew."""

from walkforward_core.features import OHLCV
from walkforward_trainer.recipes.recipe import Recipe
from walkforward_trainer.resolved import Model, Target

DESK_BREAKOUT = Recipe(
    features=("close_in_range_20", *OHLCV),
    target=Target(kind="Breakout", horizon_bars=5),
    models=("xgboost", "linear"),
    model=Model(trees=100, depth=3),
)
