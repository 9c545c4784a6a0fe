"""The run as numbers: the spec resolved against its recipe, every rule checked that an API server would have checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from walkforward_core.api.retrain import Recipe as RecipeName
from walkforward_core.api.retrain import TargetKind
from walkforward_core.bundle import Decision, DecisionKind
from walkforward_core.documents import digest, encode
from walkforward_core.durations import parse_ms
from walkforward_core.features import lookback, timeframe_ms, unknown
from walkforward_core.offline import GATES
from walkforward_core.runs import RunMode
from walkforward_trainer.errors import BadConfiguration, Reason
from walkforward_trainer.recipes import RECIPES, Recipe
from walkforward_trainer.specfile import instant

if TYPE_CHECKING:
    from walkforward_core.api.retrain import DataSpec, ModelParameters, RetrainSpec, Target, Validation
    from walkforward_core.runs import RunDocument

__all__ = ["Plan", "make_plan"]

SMOKE_TREES: Final = 20
SMOKE_FOLDS: Final = 3
SMOKE_BARS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What the stages need to know; times in epoch milliseconds UTC, costs as a share of the traded value."""

    recipe: Recipe
    features: tuple[str, ...]
    target: Target
    model: ModelParameters
    decision: Decision
    base_rule: str
    data: DataSpec
    symbol: str
    as_of_ms: int
    bar_ms: int
    window_ms: int | None
    window_bars: int | None
    warmup_bars: int
    validation: Validation
    folds: int
    trees: int
    embargo_ms: int
    round_trip: float
    top_k: int
    config_digest: str

    @property
    def horizon_ms(self) -> int:
        """Time from a decision to its outcome."""
        return self.target.horizon_bars * self.bar_ms


def make_plan(run: RunDocument) -> Plan:
    """Return the plan of ``run``.

    Raises
    ------
    BadConfiguration
        A rule of the spec does not hold, or it asks for what this release does not have.
    """
    spec = run.spec
    recipe = _recipe(spec)
    _check(spec)
    _check_skipped(run)
    target, model, chosen = spec.overrides.target, spec.overrides.model, spec.overrides.decision
    features = spec.overrides.features or recipe.features
    _check_features(features)
    smoke = run.mode is RunMode.SMOKE
    default_kind = DecisionKind.FILTER if target.kind is TargetKind.RISK else DecisionKind.SIGN
    decision = Decision(kind=chosen.kind or default_kind, threshold=chosen.threshold, without_model=chosen.without_model)
    bars = spec.data.window_bars
    return Plan(
        recipe=recipe,
        features=features,
        target=target,
        model=model,
        decision=decision,
        base_rule=chosen.base_rule,
        data=spec.data,
        symbol=spec.data.symbols[0],
        as_of_ms=instant(run.as_of, "asOf"),
        bar_ms=timeframe_ms(spec.data.timeframe),
        window_ms=parse_ms(spec.data.window) if spec.data.window else None,
        window_bars=min(bars or SMOKE_BARS, SMOKE_BARS) if smoke else bars,
        warmup_bars=_warmup(features, target, chosen.base_rule),
        validation=spec.validation,
        folds=min(spec.validation.folds, SMOKE_FOLDS) if smoke else spec.validation.folds,
        trees=min(model.trees, SMOKE_TREES) if smoke else model.trees,
        embargo_ms=parse_ms(spec.validation.embargo),
        round_trip=2 * (spec.costs.fee_bps + spec.costs.slippage.bps * spec.costs.slippage.multiplier) / 10_000,
        top_k=spec.gates.precision_at_k.k if spec.gates.precision_at_k else 20,
        # what the model is made of, and no more: other gates or costs do not make another model
        config_digest=digest(encode([spec.recipe, features, target, model, spec.data.timeframe])),
    )


def _recipe(spec: RetrainSpec) -> Recipe:
    try:
        return RECIPES[spec.recipe]
    except KeyError:
        known = ", ".join(RECIPES)
        raise BadConfiguration(Reason.NOT_IN_THIS_RELEASE, f"recipe: {spec.recipe} is not in this release; write one of {known}") from None


def _check(spec: RetrainSpec) -> None:
    """Hold the rules that the CRD states in CEL: a laptop has no API server."""
    if (spec.data.window is None) == (spec.data.window_bars is None):
        raise BadConfiguration(Reason.SPEC_INVALID, "data: set exactly one of window (90d) and windowBars (2000)")
    if len(spec.data.symbols) != 1:
        raise BadConfiguration(
            Reason.NOT_IN_THIS_RELEASE,
            f"data.symbols: {len(spec.data.symbols)} symbols; this release trains one symbol, make one ModelRetrain a symbol",
        )
    for field, value in (("minClosedTrades", spec.eligibility.min_closed_trades), ("regime", spec.eligibility.regime)):
        if value is not None:
            raise BadConfiguration(Reason.NOT_IN_THIS_RELEASE, f"eligibility.{field} is not in this release: use minAge or minBars instead")
    gates = spec.gates
    if not any((gates.auc, gates.precision_at_k, gates.sharpe, gates.expectancy, gates.max_degradation)):
        raise BadConfiguration(
            Reason.SPEC_INVALID,
            "gates: at least one is needed, or leave gates out to have auc {min: 0.62}: a model that need not prove anything is not "
            "published",
        )


def _check_skipped(run: RunDocument) -> None:
    """Refuse to skip what is no gate, or without a reason: both would look skipped and be judged, or be skipped and not explained."""
    for gate in run.skip_gates:
        if gate.name not in GATES:
            raise BadConfiguration(Reason.SPEC_INVALID, f"skipGates: {gate.name!r} is no gate; there are {', '.join(GATES)}")
        if not gate.reason.strip():
            raise BadConfiguration(
                Reason.SPEC_INVALID, f"skipGates: {gate.name} is to be skipped without a reason; say why, it is recorded"
            )


def _check_features(features: tuple[str, ...]) -> None:
    strangers = unknown(features)
    if strangers:
        raise BadConfiguration(
            Reason.SPEC_INVALID,
            f"overrides.features: {', '.join(strangers)} not known; the recipe's own are {', '.join(RECIPES[RecipeName.OHLCV].features)}",
        )
    if len(set(features)) != len(features):
        twice = sorted({name for name in features if features.count(name) > 1})
        raise BadConfiguration(Reason.SPEC_INVALID, f"overrides.features: {', '.join(twice)} named twice; name each once")


def _warmup(features: tuple[str, ...], target: Target, base_rule: str) -> int:
    """Return the bars needed before the first row of the window, by features, label and base rule alike."""
    rule, _, bars = base_rule.partition(":")
    needed = [lookback(features), int(bars) if rule == "momentum" else 0]
    if target.kind is TargetKind.RISK:
        needed.append(target.volatility_bars)
    return max(needed)
