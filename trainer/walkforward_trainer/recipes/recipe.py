"""A recipe: one composition of what the tables of features, labels and models hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from walkforward_core.api.data import DataKind
from walkforward_core.api.recipe import Calibration
from walkforward_trainer.resolved import Join, Model, Quality, Validation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from walkforward_core.api.recipe import Selection, Sizing, Tuning
    from walkforward_core.api.retrain import SlippageByTrades
    from walkforward_trainer.resolved import Head, Target

__all__ = ["Recipe"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """One composition. No stage knows a recipe by its name; another recipe is another value of this class.

    Parameters
    ----------
    features
        Names in the table of features, in the order of the model's columns.
    target
        The label, by its name in the table of labels.
    models
        Base models, by their names in the table of models.
    model
        Their hyper-parameters.
    kind
        What a row of the data is.
    join, weights
        How the base models' scores become one; ``weights`` of a vote, one a model.
    calibration
        How the joined score becomes a probability.
    heads
        Further outputs of the graph, with targets of their own.
    checks
        Further evidence, by its name in the table of checks (``leakage``, ``forensic``).
    evidence_files
        Whether the bundle also has weights, scaler, PSI snapshot and report as files of their own.
    quality
        Limits on the data.
    slippage_bps, by_trades
        Assumed slippage of one side and the caution that falls with experience, where the spec says nothing.
    profiles
        Whole recipes for single timeframes, in place of this one.
    """

    features: tuple[str, ...]
    target: Target
    models: tuple[str, ...]
    model: Model = field(default_factory=Model)
    kind: DataKind = DataKind.BARS
    join: Join = Join.META
    weights: tuple[float, ...] = ()
    calibration: Calibration = Calibration.ISOTONIC
    validation: Validation = field(default_factory=Validation)
    threshold: float = 0.5
    base_rule: str = "momentum:20"
    quality: Quality = field(default_factory=Quality)
    heads: tuple[Head, ...] = ()
    selection: Selection | None = None
    tuning: Tuning | None = None
    sizing: Sizing | None = None
    checks: tuple[str, ...] = ()
    evidence_files: bool = False
    slippage_bps: float = 0.0
    by_trades: SlippageByTrades | None = None
    profiles: Mapping[str, Recipe] = field(default_factory=dict)
