"""What a recipe is made of, and how a ModelRetrain departs from it: target, model, decision, selection, tuning.

Every field of ``overrides`` may be left out: the recipe then says (``docs/reference/recipes.md``).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from msgspec import Meta

from walkforward_core.api.cel import Cel
from walkforward_core.api.fields import DurationOrZero, Name, Positive, Share
from walkforward_core.bundle import DecisionKind
from walkforward_core.documents import Part
from walkforward_core.routing import WithoutModel

__all__ = [
    "BUILT_IN",
    "Calibration",
    "ClassShares",
    "DecisionSpec",
    "ModelParameters",
    "Overrides",
    "OverridesFrom",
    "Recipe",
    "RecipeName",
    "Scheme",
    "Selection",
    "Sizing",
    "Target",
    "TargetKind",
    "Tuning",
    "Validation",
    "VolatilityScale",
]


class Recipe(StrEnum):
    """The recipes that the trainer's image has; a package of one's own adds others (``docs/recipes-of-your-own.md``)."""

    OHLCV = "ohlcv"
    """One boosted model on bars, for `Direction` or `Risk`."""
    OHLCV_DIRECTION = "ohlcv-direction"
    """Eleven features of bars or sampled ticks; direction, risk, price, momentum and volatility in one bundle."""
    MULTI_TIMEFRAME = "multi-timeframe"
    """Three classes with a volatility-adaptive threshold; class target and gates by `data.timeframe` (5m, 1h, 12h, 24h)."""
    RISK_FILTER = "risk-filter"
    """Logistic filter of bad trades, from closed trades with their features frozen at the decision."""
    DAILY_ENSEMBLE = "daily-ensemble"
    """Soft vote of four tree models on more than forty features, selected and tuned inside the folds."""
    DRIFT_ROBUST = "drift-robust"
    """Linear model on seven drift-robust features of logged samples."""


BUILT_IN = tuple(Recipe)
"""Recipes whose gates the operator knows by itself."""

RecipeName = Annotated[str, Meta(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)]
FeatureName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]+$", max_length=64)]


class TargetKind(StrEnum):
    """What the model is asked."""

    DIRECTION = "Direction"
    """Is the price higher after `horizonBars`?"""
    RISK = "Risk"
    """Does the larger excursion within `horizonBars` exceed `threshold` times the expected move?"""
    ADAPTIVE = "Adaptive"
    """Down, neutral or up: does the return over `horizonBars` exceed `threshold` times the realised volatility, either way?"""
    BAD_TRADE = "BadTrade"
    """Does a trade lose, or does its adverse excursion exceed `maxAdverse`?"""


class VolatilityScale(StrEnum):
    """What the realised volatility of an Adaptive target is of."""

    BAR = "Bar"
    """One bar, as it is."""
    HORIZON = "Horizon"
    """The horizon: that of one bar times √horizonBars."""


class ClassShares(Part, frozen=True, kw_only=True):
    """Shares of the three classes that the sample weights lead to; they add up to 1."""

    down: Share
    """Share of falls."""
    neutral: Share
    """Share of small moves."""
    up: Share
    """Share of rises."""

    RULES: ClassVar = (
        Cel(
            "self.down + self.neutral + self.up > 0.999 && self.down + self.neutral + self.up < 1.001",
            "classTarget: the three shares must add up to 1: {down: 0.4, neutral: 0.2, up: 0.4} for example",
        ),
    )


class Target(Part, frozen=True, kw_only=True):
    """The label."""

    kind: TargetKind | None = None
    """Direction, Risk, Adaptive or BadTrade; by default the recipe's."""
    horizon_bars: Annotated[int, Meta(ge=1, le=500)] | None = None
    """Bars that the label looks ahead; 5 unless the recipe says otherwise. Trades have their own horizon."""
    threshold: Positive | None = None
    """Risk, Adaptive: the move counts when it is above threshold times the volatility; 1.5 unless the recipe says otherwise."""
    volatility_bars: Annotated[int, Meta(ge=10, le=2000)] | None = None
    """Bars over which the volatility is taken, all of them before the decision; 100 unless the recipe says otherwise."""
    volatility_scale: VolatilityScale | None = None
    """Adaptive: Bar or Horizon."""
    class_target: ClassShares | None = None
    """Adaptive: the shares of down, neutral and up that sample weights lead to."""
    max_adverse: Share | None = None
    """BadTrade: adverse excursion, as a share of the entry price, above which a trade is bad even if it won; 0.03 by default."""


class ModelParameters(Part, frozen=True, kw_only=True):
    """Hyper-parameters of the base models; each applies to those that know it."""

    trees: Annotated[int, Meta(ge=1, le=5000)] | None = None
    """Trees, or boosting rounds."""
    depth: Annotated[int, Meta(ge=1, le=12)] | None = None
    """Depth of a tree."""
    learning_rate: Annotated[float, Meta(gt=0.0, le=1.0)] | None = None
    """Shrinkage of boosting."""
    subsample: Annotated[float, Meta(gt=0.0, le=1.0)] | None = None
    """Share of the rows that a tree sees."""
    l2: Annotated[float, Meta(gt=0.0, le=1e6)] | None = None
    """Penalty on the squared weights of a linear model, relative to the rows."""
    winsorise: Annotated[float, Meta(ge=0.0, lt=25.0)] | None = None
    """Of a linear model: percent of the training rows, at either end, beyond which each column is pulled in; 0 for none."""
    seed: Annotated[int, Meta(ge=0, le=2147483647)] | None = None
    """Seed of everything that is random in the run; 7 by default."""


class DecisionSpec(Part, frozen=True, kw_only=True):
    """How a probability becomes a position."""

    kind: DecisionKind | None = None
    """sign, filter or size; by default sign for Direction and Adaptive, filter for Risk and BadTrade."""
    threshold: Share | None = None
    """sign: a position is taken above it; filter: the base rule is blocked above it. 0.5 unless the recipe says otherwise."""
    base_rule: Annotated[str, Meta(pattern=r"^momentum:[0-9]{1,4}$|^long$", max_length=24)] | None = None
    """filter, in the backtest: the base rule's position. momentum:N is the sign of the N-bar return; long is 1; trades bring theirs."""
    without_model: WithoutModel | None = None
    """What servers do while no model is live: Allow passes the base position, Refuse is not ready. Allow by default."""


class Calibration(StrEnum):
    """How scores become probabilities."""

    ISOTONIC = "Isotonic"
    PLATT = "Platt"
    NONE = "None"


class Selection(Part, frozen=True, kw_only=True):
    """Choice of features, made anew inside every fold from its training rows alone."""

    correlation: Annotated[float, Meta(gt=0.0, le=1.0)] | None = None
    """Of two features whose absolute rank correlation is above this, the one that says less about the label is left out."""
    best: Annotated[int, Meta(ge=1, le=500)] | None = None
    """Features kept by their F statistic with the label (SelectKBest)."""
    eliminate: Annotated[int, Meta(ge=1, le=500)] | None = None
    """Fewest features that recursive elimination with purged cross-validation (RFECV) may leave; it keeps as many as score best."""


class Tuning(Part, frozen=True, kw_only=True):
    """Search of hyper-parameters with Optuna, scored on purged folds of the training rows alone."""

    trials: Annotated[int, Meta(ge=1, le=10_000)] = 100
    """Trials; each one counts for the deflated Sharpe ratio."""
    prune: bool = True
    """Stop a trial whose first folds are worse than the best trial's (Wilcoxon signed-rank test)."""
    timeout_seconds: Annotated[int, Meta(ge=1, le=86_400)] | None = None
    """No new trial after this time. A run with a time limit is not reproducible to the byte, and its manifest says so."""


class Sizing(Part, frozen=True, kw_only=True):
    """Size of a position by Kelly's rule, reported with the evidence."""

    fraction: Annotated[float, Meta(gt=0.0, le=0.5)] = 0.5
    """Share of the Kelly fraction that is staked; half at most."""
    cap: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.25
    """Largest share of the capital in one position."""


class Overrides(Part, frozen=True, kw_only=True):
    """Parts of the recipe that differ from its defaults."""

    target: Target = Target()
    """The label."""
    features: Annotated[tuple[FeatureName, ...], Meta(max_length=500)] = ()
    """Names of the features, in order; empty is the recipe's own list."""
    model: ModelParameters = ModelParameters()
    """Hyper-parameters."""
    decision: DecisionSpec = DecisionSpec()
    """How a probability becomes a position."""
    calibration: Calibration | None = None
    """Isotonic, Platt or None."""
    selection: Selection | None = None
    """Choice of features inside the folds."""
    tuning: Tuning | None = None
    """Search of hyper-parameters."""
    sizing: Sizing | None = None
    """Kelly sizing."""


class OverridesFrom(Part, frozen=True, kw_only=True):
    """Overrides that several retrains share, or that a user may edit without touching the ModelRetrain."""

    config_map: Name
    """ConfigMap of the same namespace."""
    key: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]+$", min_length=1, max_length=63)] = "overrides.yaml"
    """Its key, whose text is YAML with the fields of `overrides`. What `spec.overrides` says itself wins."""


class Scheme(StrEnum):
    """How rows are split into training and test."""

    PURGED_K_FOLD = "PurgedKFold"
    """Test blocks partition the rows; training rows lie on both sides."""
    WALK_FORWARD = "WalkForward"
    """Each test block is predicted from all earlier rows."""
    HOLDOUT = "Holdout"
    """The first `trainShare` trains, the next `calibrationShare` calibrates, the rest tests; the very model that was tested is shipped."""


class Validation(Part, frozen=True, kw_only=True):
    """Splits: purged by the labels' information intervals, then embargoed. What is left out is the recipe's, 5 folds and 24h in general."""

    scheme: Scheme | None = None
    """PurgedKFold, WalkForward or Holdout."""
    folds: Annotated[int, Meta(ge=2, le=20)] | None = None
    """Number of test blocks; of a Holdout, of the folds inside its training rows."""
    embargo: DurationOrZero | None = None
    """Time between a test block and rows that train: after it, or before it where only earlier rows train; 0s leaves the purge alone."""
    embargo_rows: Share | None = None
    """The same as a share of the rows; the longer of both applies, and the manifest says which in hours."""
    train_share: Annotated[float, Meta(ge=0.3, le=0.9)] | None = None
    """Holdout: share of the rows that train."""
    calibration_share: Annotated[float, Meta(ge=0.0, le=0.4)] | None = None
    """Holdout: share of the rows that calibrate, between training and test."""

    RULES: ClassVar = (
        Cel(
            "!has(self.calibrationShare) || self.calibrationShare + (has(self.trainShare) ? self.trainShare : 0.7) <= 0.95",
            "validation: trainShare and calibrationShare leave less than 5% of the rows to test on; lower one of them",
        ),
    )
