"""Datasets of random rows with something to learn, and plans for them: what stands between labels and models, without any bars."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from trainer_runs import HOUR, run_document, spec

from walkforward_core.bundle import Decision, DecisionKind
from walkforward_core.durations import parse_ms
from walkforward_trainer.dataset import Dataset, FixedColumns
from walkforward_trainer.labels import classes_of
from walkforward_trainer.plan import make_plan
from walkforward_trainer.recipes.recipe import Recipe
from walkforward_trainer.resolved import Target

if TYPE_CHECKING:
    from walkforward_trainer.plan import Plan

HORIZON = 5
KINDS = {2: "Direction", 3: "Adaptive"}
"""A target of so many classes; its answers are those of the rows."""


def rows_of(classes: int = 2, *, count: int = 1_200, features: int = 5, seed: int = 1, edge: float = 1.0, **fields: Any) -> Dataset:
    """Return hourly rows whose answer leans on the first two features by ``edge``; the last ones have no label yet."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, features)).astype(np.float32)
    move = edge * (x[:, 0] + x[:, 1] * x[:, 2 % features]) + rng.standard_t(5, count)
    y = np.digitize(move, [-0.8, 0.8]).astype(float) if classes == 3 else (move > 0).astype(float)
    y[-HORIZON:] = np.nan
    t0 = np.arange(count, dtype=np.int64) * HOUR + 1_700_000_000_000
    names = tuple(f"f{index}" for index in range(features))
    made = Dataset(
        x=x,
        names=names,
        y=y,
        t0=t0,
        t1=t0 + HORIZON * HOUR,
        returns=move / 100,
        base=np.ones(count),
        weight=np.ones(count),
        symbol=np.zeros(count, np.int16),
        symbols=("EURUSD",),
        digest=f"sha256:{seed}",
        columns=FixedColumns(x, names),
        warmup=0,
        horizon_ms=HORIZON * HOUR,
    )
    return replace(made, **fields)


def plan_of(models: tuple[str, ...] = ("xgboost",), kind: str = "Direction", **fields: Any) -> Plan:
    """Return the plan of a recipe with these base models; ``join``, ``weights``, ``heads`` are its own, other ``fields`` the plan's."""
    target = Target(kind=kind, horizon_bars=HORIZON)
    known = {name: fields.pop(name) for name in ("join", "weights", "heads") if name in fields}
    plan = make_plan(run_document(spec("file:///nowhere.csv", "file:///nowhere")))
    recipe = Recipe(features=(), target=target, models=models, **known)
    decision = Decision(kind=DecisionKind.SIGN, threshold=0.5)
    classes = classes_of(target)
    made = replace(plan, recipe=recipe, target=target, classes=classes, decision=decision, **fields)
    return replace(made, embargo_ms=parse_ms(made.validation.embargo))
