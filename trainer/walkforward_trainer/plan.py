"""The run as numbers: the spec resolved against its recipe, every rule checked that an API server would have checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import msgspec

from walkforward_core.api.data import DataKind
from walkforward_core.api.defaults import effective_gates
from walkforward_core.api.recipe import ClassShares
from walkforward_core.bundle import Decision, DecisionKind
from walkforward_core.decision import LEAST_THRESHOLD
from walkforward_core.documents import digest, encode
from walkforward_core.durations import format_ms, parse_ms
from walkforward_core.features import lookback, timeframe_ms
from walkforward_core.offline import GATES, names
from walkforward_core.plugins import PluginError
from walkforward_core.routing import WithoutModel
from walkforward_core.runs import RunMode
from walkforward_trainer.checks import CHECKS
from walkforward_trainer.costs import assumed_costs
from walkforward_trainer.errors import BadConfiguration, Reason
from walkforward_trainer.kinds import check_kind, joined_names, table_names
from walkforward_trainer.labels import classes_of, warmup_of
from walkforward_trainer.recipes.table import recipes
from walkforward_trainer.resolved import filled
from walkforward_trainer.specfile import instant
from walkforward_trainer.spectext import repeated
from walkforward_trainer.stretches import LIMIT

if TYPE_CHECKING:
    from walkforward_core.api.data import DataSpec
    from walkforward_core.api.offline import OfflineGates
    from walkforward_core.api.recipe import Calibration, Selection, Sizing, Tuning
    from walkforward_core.api.retrain import RetrainSpec
    from walkforward_core.runs import RunDocument
    from walkforward_trainer.costs import RunCosts
    from walkforward_trainer.recipes.recipe import Recipe
    from walkforward_trainer.resolved import Model, Quality, Target, Validation

__all__ = ["Plan", "make_plan", "with_features"]

SMOKE_TREES: Final = 20
SMOKE_FOLDS: Final = 3
SMOKE_TRIALS: Final = 3
SMOKE_BARS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What the stages need to know; times in epoch milliseconds UTC, costs as a share of the traded value."""

    recipe: Recipe
    kind: DataKind
    features: tuple[str, ...]
    target: Target
    classes: int
    model: Model
    calibration: Calibration
    selection: Selection | None
    tuning: Tuning | None
    sizing: Sizing | None
    decision: Decision
    base_rule: str
    data: DataSpec
    symbol: str
    as_of_ms: int
    bar_ms: int
    window_ms: int | None
    window_bars: int | None
    max_rows: int
    warmup_bars: int
    quality: Quality
    validation: Validation
    embargo_ms: int
    costs: RunCosts
    gates: OfflineGates
    top_k: int
    config_digest: str
    fold_models: tuple[Model, ...] = ()

    @property
    def round_trip(self) -> float:
        """Cost of both sides as a share of the traded value."""
        return self.costs.round_trip

    @property
    def folds(self) -> int:
        """Number of test blocks."""
        return self.validation.folds

    def model_of(self, fold: int) -> Model:
        """Return the hyper-parameters of an evaluation fold: those that a search found on its training rows, if there was one."""
        return self.fold_models[fold] if self.fold_models else self.model

    @property
    def trees(self) -> int:
        """Trees of each tree model."""
        return self.model.trees


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
    gates = effective_gates(spec)
    _check_gates(gates)
    _check_skipped(run, gates)
    asked = spec.overrides
    target, model, validation = (
        filled(recipe.target, asked.target),
        filled(recipe.model, asked.model),
        filled(recipe.validation, spec.validation),
    )
    if classes_of(target) != len(ClassShares.__struct_fields__):
        target = replace(target, class_target=None)  # shares of down, neutral and up say nothing about another target
    kind, joined, quality = spec.data.kind or recipe.kind, joined_names(spec), filled(recipe.quality, spec.data.quality)
    features = asked.features or (*recipe.features, *joined)
    check_kind(spec, recipe, kind, target.kind, features)
    bars, tuning = spec.data.window_bars, asked.tuning or recipe.tuning
    _check_answerable(gates, classes_of(target), tuning, asked.sizing or recipe.sizing)
    if run.mode is RunMode.SMOKE:
        model, validation = (
            replace(model, trees=min(model.trees, SMOKE_TREES)),
            replace(validation, folds=min(validation.folds, SMOKE_FOLDS), embargo=_smoke_embargo(validation.embargo, spec.data.timeframe)),
        )
        bars, quality = min(bars or SMOKE_BARS, SMOKE_BARS), replace(quality, min_rows=min(quality.min_rows, SMOKE_BARS // 2))
        tuning = None if tuning is None else msgspec.structs.replace(tuning, trials=min(tuning.trials, SMOKE_TRIALS))
    base_rule = asked.decision.base_rule or recipe.base_rule
    plan = Plan(
        recipe=recipe,
        kind=kind,
        features=features,
        target=target,
        classes=classes_of(target),
        model=model,
        calibration=asked.calibration or recipe.calibration,
        selection=_selection(asked.selection, recipe.selection),
        tuning=tuning,
        sizing=asked.sizing or recipe.sizing,
        decision=_decision(spec, recipe, target),
        base_rule=base_rule,
        data=spec.data,
        symbol=spec.data.symbols[0],
        as_of_ms=instant(run.as_of, "asOf"),
        bar_ms=timeframe_ms(spec.data.timeframe),
        window_ms=parse_ms(spec.data.window) if spec.data.window else None,
        window_bars=bars,
        max_rows=_most_rows(spec, kind, quality),
        warmup_bars=max(
            lookback(table_names(features, joined, kind)),
            warmup_of(target),
            *(warmup_of(head.target) for head in recipe.heads),
            _rule_bars(base_rule),
        ),
        quality=quality,
        validation=validation,
        embargo_ms=parse_ms(validation.embargo),
        costs=assumed_costs(spec.costs, recipe),
        gates=gates,
        top_k=gates.precision_at_k.k if gates.precision_at_k else 20,
        config_digest="",
    )
    return replace(plan, config_digest=_config_digest(plan))


def with_features(plan: Plan, features: tuple[str, ...]) -> Plan:
    """Return ``plan`` with the features that the rows brought: those of trades are known when the log was read."""
    if features == plan.features:
        return plan
    plan = replace(plan, features=features)
    return replace(plan, config_digest=_config_digest(plan))


def _config_digest(plan: Plan) -> str:
    """Return the digest of what the model is made of, and no more: other gates or costs do not make another model."""
    recipe = plan.recipe
    composed = (recipe.models, recipe.join, recipe.weights, recipe.heads, plan.calibration, plan.selection, plan.tuning, plan.validation)
    return digest(encode([plan.features, plan.target, plan.model, plan.data.timeframe, *composed]))


def _smoke_embargo(embargo: str, timeframe: str) -> str:
    """Return an embargo that leaves rows to test on: a day of it is a third of a smoke run's bars of five minutes."""
    return format_ms(min(parse_ms(embargo), SMOKE_BARS * timeframe_ms(timeframe) // 20))


def _recipe(spec: RetrainSpec) -> Recipe:
    try:
        known = recipes()
    except PluginError as error:
        raise BadConfiguration(Reason.SPEC_INVALID, f"recipe: {error}") from error
    if spec.recipe not in known:
        raise BadConfiguration(
            Reason.NOT_IN_THIS_RELEASE,
            f"recipe: {spec.recipe} is not in this image; write one of {', '.join(known)}, or set job.image to one that has your package",
        )
    recipe = known[spec.recipe]
    strangers = sorted(set(recipe.checks) - set(CHECKS))
    if strangers:
        raise BadConfiguration(
            Reason.SPEC_INVALID, f"recipe {spec.recipe}: no check is called {strangers[0]!r}; there are {', '.join(CHECKS)}"
        )
    return recipe.profiles.get(spec.data.timeframe, recipe)


def _decision(spec: RetrainSpec, recipe: Recipe, target: Target) -> Decision:
    chosen = spec.overrides.decision
    kind = chosen.kind or (DecisionKind.FILTER if target.kind in ("Risk", "BadTrade") else DecisionKind.SIGN)
    threshold = recipe.threshold if chosen.threshold is None else chosen.threshold
    if classes_of(target) > 2 and (kind is DecisionKind.FILTER or threshold < LEAST_THRESHOLD):
        raise BadConfiguration(
            Reason.SPEC_INVALID,
            f"overrides.decision: {kind} with threshold {threshold:g} does not fit a target of three classes; use sign or size, and a "
            f"threshold of at least {LEAST_THRESHOLD:g}",
        )
    return Decision(kind=kind, threshold=threshold, without_model=chosen.without_model or WithoutModel.ALLOW)


def _check(spec: RetrainSpec) -> None:
    """Hold the rules that the CRD states in CEL: a laptop has no API server."""
    if (spec.data.window is None) == (spec.data.window_bars is None):
        raise BadConfiguration(Reason.SPEC_INVALID, "data: set exactly one of window (90d) and windowBars (2000)")
    twice = repeated(spec.data.symbols)
    if twice is not None:
        raise BadConfiguration(
            Reason.SPEC_INVALID, f"data.symbols: {twice} stands there twice, and its rows would count twice; name each one once"
        )
    if spec.overrides_from is not None:
        raise BadConfiguration(
            Reason.SPEC_INVALID,
            f"overridesFrom: ConfigMap {spec.overrides_from.config_map!r} was not merged, and the run would train without it; the operator "
            "merges it into run.json: write its fields below overrides",
        )


def _check_gates(gates: OfflineGates) -> None:
    proofs = (gates.auc, gates.precision_at_k, gates.accuracy, gates.f1, gates.sharpe, gates.deflated_sharpe, gates.expectancy)
    if not any((*proofs, gates.profit_factor, gates.win_rate)):
        raise BadConfiguration(
            Reason.SPEC_INVALID,
            "gates: at least one of auc, precisionAtK, accuracy, f1, sharpe, deflatedSharpe, expectancy, profitFactor and winRate is "
            "needed, or leave gates out to have the recipe's own: a model that need not prove anything is not published",
        )


def _check_answerable(gates: OfflineGates, classes: int, tuning: Tuning | None, sizing: Sizing | None) -> None:
    """Refuse gates whose metric no run of this spec could have: they would block for ever, and say so only after the training."""
    if gates.overfitting is not None and (tuning is None or tuning.trials < 2):
        raise BadConfiguration(
            Reason.SPEC_INVALID,
            "gates.overfitting: it compares the trials of a search, and there is none; set overrides.tuning, or leave the gate out",
        )
    if gates.kelly is not None and sizing is None:
        raise BadConfiguration(Reason.SPEC_INVALID, "gates.kelly: nothing is staked; set overrides.sizing, or leave the gate out")
    if gates.distribution is not None and classes != 3:
        raise BadConfiguration(
            Reason.SPEC_INVALID,
            f"gates.distribution: it is about down, neutral and up, the target has {classes} classes; use Adaptive, or leave the gate out",
        )


def _check_skipped(run: RunDocument, gates: OfflineGates) -> None:
    """Refuse to skip what is no gate, or without a reason: both would look skipped and be judged, or be skipped and not explained."""
    for gate in run.skip_gates:
        if gate.name not in (*GATES, *names(gates)):
            raise BadConfiguration(Reason.SPEC_INVALID, f"skipGates: {gate.name!r} is no gate; there are {', '.join(GATES)}")
        if not gate.reason.strip():
            raise BadConfiguration(
                Reason.SPEC_INVALID, f"skipGates: {gate.name} is to be skipped without a reason; say why, it is recorded"
            )


def _selection(asked: Selection | None, own: Selection | None) -> Selection | None:
    """Return the recipe's selection with every step that the overrides name; a step is turned off by a limit that nothing reaches."""
    if asked is None or own is None:
        return asked or own
    said = {name: value for name, value in msgspec.structs.asdict(asked).items() if value is not None}
    return msgspec.structs.replace(own, **said)


def _most_rows(spec: RetrainSpec, kind: DataKind, quality: Quality) -> int:
    """Return how many rows of each symbol are used."""
    asked = spec.data.max_rows
    if asked is not None and kind is DataKind.TRADES:
        raise BadConfiguration(Reason.SPEC_INVALID, "data.maxRows: trades are no series of which stretches could be left out; remove it")
    most = (asked or LIMIT) // len(spec.data.symbols)
    if quality.min_rows > most:
        raise BadConfiguration(
            Reason.SPEC_INVALID,
            f"data.quality.minRows: {quality.min_rows} rows of each symbol are wanted, and data.maxRows lets {most} be used; lower the one "
            "or raise the other",
        )
    return most


def _rule_bars(base_rule: str) -> int:
    """Return the bars that the base rule looks back."""
    rule, _, bars = base_rule.partition(":")
    return int(bars) if rule == "momentum" else 0
