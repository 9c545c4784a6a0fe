"""The gates of a recipe where a ModelRetrain names none; here and not in the trainer, since the operator judges by them too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from walkforward_core.api.offline import (
    AucGate,
    DistributionGate,
    LeakageGate,
    MinGate,
    OfflineGates,
    PrecisionGate,
    ShareGate,
)
from walkforward_core.api.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from walkforward_core.api.retrain import RetrainSpec

__all__ = ["effective_gates"]

LUCK: Final = 2.5
"""Standard errors by which every recipe's AUC has to lie above one half: a score that knows nothing gets there once in 160 (Mann & Whitney
1947, outcomes that do not overlap), however short the window. At 500 bars a limit of 0.62 alone is luck once in 50.
"""

_GATES: Final[Mapping[str, OfflineGates]] = {
    # a risk that is known well does not make a rule earn that loses
    Recipe.OHLCV: OfflineGates(auc=AucGate(above_chance=LUCK), expectancy=MinGate(min=0.0)),
    Recipe.OHLCV_DIRECTION: OfflineGates(
        auc=AucGate(min=0.55, above_chance=LUCK), expectancy=MinGate(min=0.0), deflated_sharpe=ShareGate(min=0.95)
    ),
    Recipe.RISK_FILTER: OfflineGates(auc=AucGate(min=0.55, above_chance=LUCK), expectancy=MinGate(min=0.0)),
    # where most bars rise, who always says so has accuracy and F1, and an AUC of one half
    Recipe.DAILY_ENSEMBLE: OfflineGates(
        auc=AucGate(min=0.55, above_chance=LUCK),
        f1=ShareGate(min=0.65),
        accuracy=ShareGate(min=0.70),
        kelly=MinGate(min=0.0),
        max_degradation="10%",
    ),
    Recipe.DRIFT_ROBUST: OfflineGates(auc=AucGate(min=0.62, above_chance=LUCK), precision_at_k=PrecisionGate(k=20, min=0.58)),
}

_TIMEFRAMES: Final[Mapping[str, DistributionGate]] = {
    "5m": DistributionGate(),
    "1h": DistributionGate(
        min_down_pct=0.35, max_down_pct=0.50, min_up_pct=0.35, max_up_pct=0.50, max_neutral_pct=0.30, min_conf_mean=0.60
    ),
    "12h": DistributionGate(min_conf_mean=0.55, min_eligibility_pct=0.25),
    "24h": DistributionGate(
        min_down_pct=0.35,
        max_down_pct=0.50,
        min_up_pct=0.35,
        max_up_pct=0.50,
        max_neutral_pct=0.30,
        min_conf_mean=0.50,
        min_eligibility_pct=0.25,
    ),
}
"""The documented gates of each timeframe: class bounds are target - 10 and + 5 points, neutral + 20."""


def effective_gates(spec: RetrainSpec) -> OfflineGates:
    """Return the gates that a run of ``spec`` is judged by.

    A multi-timeframe model of a timeframe that is not documented is held to the gates of 5m, the strictest.
    """
    if spec.gates is not None:
        return spec.gates
    if spec.recipe == Recipe.MULTI_TIMEFRAME:
        timeframe = {"1d": "24h"}.get(spec.data.timeframe, spec.data.timeframe)
        distribution = _TIMEFRAMES.get(timeframe, _TIMEFRAMES["5m"])
        return OfflineGates(
            auc=AucGate(min=0.55, above_chance=LUCK), expectancy=MinGate(min=0.0), distribution=distribution, leakage=LeakageGate()
        )
    return _GATES.get(spec.recipe, OfflineGates(auc=AucGate(above_chance=LUCK)))
