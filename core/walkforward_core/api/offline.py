"""The offline gates of a ModelRetrain: what a candidate must prove, on the bytes that are shipped, before it is published."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from walkforward_core.api.cel import Cel
from walkforward_core.api.fields import Percent, Share
from walkforward_core.documents import Part

__all__ = [
    "AucGate",
    "DeltaGate",
    "DistributionGate",
    "LeakageGate",
    "MaxGate",
    "MinGate",
    "OfflineGates",
    "PrecisionGate",
    "ShareGate",
]


class MinGate(Part, frozen=True, kw_only=True):
    """A metric that must not be below `min`."""

    min: Annotated[float, Meta(ge=0.0, le=100.0)]
    """Smallest value that passes; below 0 it would publish a model that loses money."""


class AucGate(Part, frozen=True, kw_only=True):
    """Area under the ROC curve, of out-of-fold predictions of the shipped model."""

    min: Annotated[float, Meta(gt=0.5, le=1.0)] = 0.62
    """Smallest value that passes; 0.5 is a coin and can never fail, so it is refused."""
    above_chance: Annotated[float, Meta(gt=0.0, le=10.0)] | None = None
    """Standard errors that it must lie above 0.5 besides, of outcomes that do not overlap: 2.5 is luck once in 160. Few rows need it."""


class PrecisionGate(Part, frozen=True, kw_only=True):
    """Precision among the k highest scores of a day, averaged over days."""

    k: Annotated[int, Meta(ge=1, le=1000)] = 20
    """Scores a day."""
    min: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.58
    """Smallest value that passes."""


class ShareGate(Part, frozen=True, kw_only=True):
    """A share between 0 and 1 that must not be below `min`."""

    min: Annotated[float, Meta(gt=0.0, le=1.0)]
    """Smallest value that passes."""


class MaxGate(Part, frozen=True, kw_only=True):
    """A share between 0 and 1 that must not be above `max`."""

    max: Annotated[float, Meta(ge=0.0, lt=1.0)]
    """Largest value that passes."""


class DeltaGate(Part, frozen=True, kw_only=True):
    """Mean absolute difference of the candidate's and the live model's probabilities on the same rows."""

    max: Annotated[float, Meta(gt=0.0, lt=1.0)] = 0.05
    """Largest value that passes."""


class DistributionGate(Part, frozen=True, kw_only=True):
    """What the predictions of three classes must look like. Each limit is a gate of its own, `distribution.minDownPct` and so on."""

    min_down_pct: Share = 0.30
    """Smallest share of rows predicted down."""
    max_down_pct: Share = 0.45
    """Largest share of rows predicted down."""
    min_up_pct: Share = 0.30
    """Smallest share of rows predicted up."""
    max_up_pct: Share = 0.45
    """Largest share of rows predicted up."""
    max_neutral_pct: Share = 0.40
    """Largest share of rows predicted neutral."""
    min_conf_mean: Share = 0.65
    """Smallest mean of the largest class probability."""
    min_pct_above_conf_060: Share = 0.40
    """Smallest share of rows whose largest class probability is above 0.60."""
    min_alpha_mean: Share = 0.12
    """Smallest mean of |p up - p down|."""
    min_eligibility_pct: Share = 0.30
    """Smallest share of rows that may be traded: not neutral, confident and with enough alpha."""


class LeakageGate(Part, frozen=True, kw_only=True):
    """Three checks that only leaked information fails: shuffled labels, shifted features, purge on and off."""

    max_shuffled_auc: Annotated[float, Meta(gt=0.5, lt=1.0)] = 0.55
    """Largest AUC of models whose training labels were shuffled, beyond which features or splits know the answer."""
    max_shift_drop: Annotated[float, Meta(gt=0.0, lt=1.0)] = 0.15
    """Largest loss of AUC when every feature comes one bar, or one label horizon, later: more means that it knew the answer's own bars."""
    max_purge_gain: Annotated[float, Meta(gt=0.0, lt=1.0)] = 0.05
    """Largest gain of AUC when purge and embargo are left out: more means that overlapping labels carry it."""


class OfflineGates(Part, frozen=True, kw_only=True):
    """What a candidate must prove offline, net of costs, on the bytes that are shipped."""

    auc: AucGate | None = None
    """Area under the ROC curve; of three classes the mean of one against the rest."""
    precision_at_k: PrecisionGate | None = None
    """Precision at k."""
    accuracy: ShareGate | None = None
    """Share of rows whose most probable class is right."""
    f1: ShareGate | None = None
    """F1 of the positive class; of three classes the mean over classes."""
    sharpe: MinGate | None = None
    """Sharpe ratio per outcome of the decisions, net of costs."""
    deflated_sharpe: ShareGate | None = None
    """Probability that the Sharpe ratio is above what the best of all trials of this retrain would show by luck; 0.95 is usual."""
    overfitting: MaxGate | None = None
    """Probability of backtest overfitting over the trials of this run (CSCV)."""
    expectancy: MinGate | None = None
    """Mean net return per outcome."""
    profit_factor: MinGate | None = None
    """Gross profit to gross loss, net of costs."""
    win_rate: ShareGate | None = None
    """Share of traded outcomes that win, net of costs."""
    kelly: MinGate | None = None
    """Kelly fraction with the win rate at its lower 95 % bound; below 0 nothing may be staked. Needs `overrides.sizing`."""
    distribution: DistributionGate | None = None
    """Distribution of the predictions, for three classes."""
    leakage: LeakageGate | None = None
    """Leak detector."""
    max_degradation: Percent | None = None
    """Largest relative loss against the live model on the same rows, of AUC, and of F1 and accuracy where they are gates."""
    delta: DeltaGate | None = None
    """Difference to the live model's probabilities on the same rows; without a live model it says NoBaseline."""

    RULES: ClassVar = (
        Cel(
            "has(self.auc) || has(self.precisionAtK) || has(self.accuracy) || has(self.f1) || has(self.sharpe) || "
            "has(self.deflatedSharpe) || has(self.expectancy) || has(self.profitFactor) || has(self.winRate)",
            "gates: name at least one of auc, precisionAtK, accuracy, f1, sharpe, deflatedSharpe, expectancy, profitFactor and winRate, or "
            "leave gates out to have the recipe's own: nothing is published unproven, and the others say nothing of what a model knows",
        ),
        Cel(
            "!has(self.maxDegradation) || !self.maxDegradation.startsWith('100')",
            "gates.maxDegradation: a loss of 100% can never be exceeded, so the gate could never fail; write 10% for example",
        ),
    )
