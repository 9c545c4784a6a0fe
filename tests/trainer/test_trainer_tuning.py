"""The search of hyper-parameters: reproducible, on training rows alone, every trial counted."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from trainer_datasets import dataset, plan_of
from trainer_runs import run_document, spec

from walkforward_core.api.offline import AucGate, OfflineGates, ShareGate
from walkforward_core.api.recipe import Scheme, Selection, Tuning
from walkforward_trainer.errors import BadConfiguration, BadData
from walkforward_trainer.plan import make_plan
from walkforward_trainer.resolved import Model
from walkforward_trainer.splits import walk_forward
from walkforward_trainer.tuning import Search, search, tune

if TYPE_CHECKING:
    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.plan import Plan


@cache
def rows() -> Dataset:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(800, 5)).astype(np.float32)
    y = ((x[:, 0] * x[:, 1] + rng.normal(0, 0.8, 800)) > 0).astype(float)
    y[::40] = np.nan
    return dataset(x, y)


def plan(**changes: Any) -> Plan:
    fields: dict[str, Any] = {"tuning": Tuning(trials=4), "model": Model(trees=100, depth=3)}
    return plan_of(**(fields | changes))


@cache
def found() -> Search:
    return search(rows(), np.arange(500, dtype=np.intp), plan())


def test_the_same_rows_and_seed_make_the_same_search() -> None:
    assert repr(search(rows(), np.arange(500, dtype=np.intp), plan())) == repr(found())


def test_the_winner_lies_in_the_documented_space_and_keeps_what_was_not_searched() -> None:
    model = found().model
    assert 100 <= model.trees <= 500
    assert 3 <= model.depth <= 10
    assert 0.01 <= model.learning_rate <= 0.3
    assert 0.6 <= model.subsample <= 1.0
    assert (model.l2, model.seed) == (plan().model.l2, plan().model.seed)


def test_every_trial_counts_and_those_that_finished_have_a_sharpe_ratio() -> None:
    assert found().trials == 4
    assert found().trials - found().pruned == len(found().sharpes) >= 1
    whole = search(rows(), np.arange(500, dtype=np.intp), plan(tuning=Tuning(trials=3, prune=False)))
    assert (whole.trials, whole.pruned, len(whole.sharpes)) == (3, 0, 3)
    assert 0.0 <= whole.overfitting <= 1.0


def test_rows_outside_have_no_say() -> None:
    """A planted error: tuning on the rows that the gates read. They may hold anything."""
    spoiled_x, spoiled_y = rows().x.copy(), rows().y.copy()
    spoiled_y[500:] = np.arange(300) % 2
    spoiled_x[500:, 4] = spoiled_y[500:]
    spoiled = replace(rows(), x=spoiled_x, y=spoiled_y)
    assert search(spoiled, np.arange(500, dtype=np.intp), plan()).score == found().score
    assert search(spoiled, np.arange(800, dtype=np.intp), plan(tuning=Tuning(trials=1))).score > 0.75, "so much there is to see"


def test_each_evaluation_fold_and_the_shipped_model_have_their_own() -> None:
    asked = plan(tuning=Tuning(trials=2))
    splits = walk_forward(rows().t0, rows().t1, 2, 0)
    tuned = tune(rows(), asked, splits)
    assert [tuned.plan.model_of(fold) for fold in range(2)] == [search(rows(), split.train, asked).model for split in splits]
    assert tuned.plan.model == tuned.search.model == search(rows(), np.arange(800, dtype=np.intp), asked).model


def test_a_hold_out_ships_the_model_that_was_tested() -> None:
    asked = plan(tuning=Tuning(trials=2))
    asked = replace(asked, validation=replace(asked.validation, scheme=Scheme.HOLDOUT))
    (split, *_) = walk_forward(rows().t0, rows().t1, 2, 0)
    tuned = tune(rows(), asked, [split])
    assert tuned.plan.model == tuned.plan.model_of(0)
    assert tuned.search.trials == 2


def test_three_classes_selection_and_f1() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(400, 4)).astype(np.float32)
    y = np.digitize(x[:, 2] + rng.normal(0, 0.3, 400), [-0.5, 0.5]).astype(float)
    asked = plan(
        classes=3, tuning=Tuning(trials=2), selection=Selection(best=2), gates=OfflineGates(f1=ShareGate(min=0.5)), model=Model(trees=100)
    )
    result = search(dataset(x, y), np.arange(400, dtype=np.intp), asked)
    assert 0.6 < result.score < 1.0


def test_f1_is_sought_where_the_gates_ask_for_it_whatever_else_they_ask() -> None:
    """The documented search maximises F1; a gate that is added must not change what is sought."""
    auc, f1 = AucGate(min=0.55), ShareGate(min=0.5)
    gates = (OfflineGates(auc=auc), OfflineGates(f1=f1), OfflineGates(auc=auc, f1=f1))
    alone, of_f1, both = (search(rows(), np.arange(500, dtype=np.intp), plan(tuning=Tuning(trials=1), gates=one)).score for one in gates)
    assert both == of_f1
    assert both != alone
    run = run_document(spec("file:///bars.csv", "file:///models", recipe="daily-ensemble", overrides={}))
    assert make_plan(run).gates.f1 is not None


def test_a_search_is_refused_where_it_cannot_be() -> None:
    asked = plan()
    with pytest.raises(BadConfiguration, match="no trees to tune"):
        tune(rows(), replace(asked, recipe=replace(asked.recipe, models=("linear",))), [])
    with pytest.raises(BadData, match="20 labelled rows"):
        search(rows(), np.arange(1, 21, dtype=np.intp), asked)
    with pytest.raises(BadData, match="does not occur"):
        search(dataset(rows().x, (np.arange(800) > 750).astype(float)), np.arange(800, dtype=np.intp), asked)


def test_rows_are_thinned_only_where_labels_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("walkforward_trainer.tuning.ENOUGH_ROWS", 100)
    from walkforward_trainer.tuning import _thinned

    index = np.arange(800, dtype=np.intp)
    assert len(_thinned(dataset(rows().x, rows().y, horizon=1), index)) == 800
    assert len(_thinned(dataset(rows().x, rows().y, horizon=4), index)) == 200
    assert len(_thinned(dataset(rows().x, rows().y, horizon=50), index)) == 100
