"""Every base model: exported to the last bit that counts, weighted, and as good as the library that it stands for."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from walkforward_trainer.graph import base_graph
from walkforward_trainer.metrics.probability import auc
from walkforward_trainer.models.lgbm import floor32
from walkforward_trainer.models.parts import BaseModel, Link, TreeEnsemble, to_log_odds, to_shares
from walkforward_trainer.models.table import models
from walkforward_trainer.models.training import Binned, Training
from walkforward_trainer.parity import _apart, straddling
from walkforward_trainer.resolved import Model
from walkforward_trainer.runtime import run

NAMES = ("xgboost", "forest", "boosted", "lightgbm", "linear")


def test_the_table_is_complete() -> None:
    assert tuple(models()) == NAMES


@cache
def rows(classes: int = 2, seed: int = 1, count: int = 1_000) -> tuple[np.ndarray, np.ndarray]:
    """Prices near 44,000 in steps of 0.01 are what double thresholds rounded to float32 go wrong on."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 4)).astype(np.float32)
    x[:, 3] = np.round(44_000 + x[:, 3], 2)
    x[::9, 1] = 0.0
    score = x[:, 0] * x[:, 1] + 2 * (x[:, 3] - 44_000) + rng.normal(size=count)
    return x, {0: score, 2: (score > 0.5).astype(float), 3: np.digitize(score, [-0.7, 1.0]).astype(float)}[classes]


def training(classes: int = 2, seed: int = 1, weight: np.ndarray | None = None, count: int = 1_000) -> Training:
    x, y = rows(classes, seed, count)
    return Training(Binned(x), y, np.ones(len(y)) if weight is None else weight, classes)


def apart(model: BaseModel, x: np.ndarray) -> float:
    """Return how far the exported model is from the library, on the rows ``x``."""
    return _apart(model, run(base_graph([model.part], x.shape[1]), x), x)


@cache
def fitted(name: str, classes: int, trees: int = 40) -> BaseModel:
    return models()[name](training(classes), Model(trees=trees, depth=4))


@pytest.mark.parametrize("classes", [0, 2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_exported_models_equal_the_library_on_and_around_every_threshold(name: str, classes: int) -> None:
    model = fitted(name, classes)
    x, _ = rows(classes)
    edge = np.vstack((x, straddling(x, model.part.splits)))
    if name != "linear":
        assert len(edge) > len(x) + 300
    assert apart(model, edge) <= 1e-6
    assert model.importance().shape == (4,)
    assert (model.importance() >= 0).all()
    assert model.part.link is (Link.NUMBER if classes == 0 else Link.SHARE if name == "forest" else Link.LOG_ODDS)


@pytest.mark.parametrize("name", ["xgboost", "forest", "boosted", "lightgbm"])
@pytest.mark.parametrize("classes", [0, 2, 3])
def test_many_trees_stay_within_the_limit(name: str, classes: int) -> None:
    """Five times the usual number: rounding adds up where two libraries add in another order."""
    model = models()[name](training(classes, count=400), Model(trees=500, depth=4, learning_rate=0.1))
    x, _ = rows(classes, 2)
    assert apart(model, np.vstack((x, straddling(x, model.part.splits, 300)))) <= 2e-7


def test_thresholds_of_lightgbm_rounded_to_the_nearest_would_be_wrong() -> None:
    """What the floor is for: with the nearest float32 rows between the two go the other way."""
    values = np.array([44_000.01, 44_000.005, -44_000.01, 1e-3, 0.1, 0.3])
    floored = floor32(values)
    assert (floored.astype(float) <= values).all()
    assert (np.nextafter(floored, np.float32(np.inf)).astype(float) > values).all()
    assert (values.astype(np.float32).astype(float) > values).any()
    model = fitted("lightgbm", 2)
    part = model.part
    assert isinstance(part, TreeEnsemble)
    # a float32 above the floor lies above the true threshold: one step up is another answer somewhere
    up = replace(part, threshold=np.nextafter(part.threshold, np.float32(9e9)))
    x, _ = rows()
    edge = straddling(x, part.splits)
    assert np.abs(run(base_graph([up], 4), edge) - model.raw(edge)).max() > 1e-3
    assert np.abs(run(base_graph([part], 4), edge) - model.raw(edge)).max() < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_rows_that_weigh_nothing_teach_nothing(name: str) -> None:
    """Half of the labels are lies of (almost) no weight."""
    x, y = rows()
    lies = np.arange(len(y)) % 2 == 0
    weight = np.where(lies, 1e-6, 2.0)
    told = Training(Binned(x), np.where(lies, 1 - y, y), weight, 2)
    known, found = rows(2, 5)
    model = models()[name](told, Model(trees=40, depth=3))
    assert auc(found, to_log_odds(model.raw(known), model.part.link)[:, 0]) > 0.85
    deaf = models()[name](Training(Binned(x), told.y, np.ones(len(y)), 2), Model(trees=40, depth=3))
    assert auc(found, to_log_odds(deaf.raw(known), deaf.part.link)[:, 0]) < 0.7


@pytest.mark.parametrize("name", NAMES)
def test_the_same_rows_give_the_same_model(name: str) -> None:
    again = models()[name](training(3), Model(trees=40, depth=4))
    assert base_graph([again.part], 4) == base_graph([fitted(name, 3).part], 4)


def test_bins_are_shared_and_each_model_has_its_own_answers() -> None:
    """XGBoost's matrix holds label, weight and start: what one model set must not reach the next."""
    shared = Binned(rows(3)[0])
    for classes in (3, 0, 2, 3):
        for name in ("forest", "xgboost", "boosted"):
            own = models()[name](Training(shared, rows(classes)[1], np.ones(1_000), classes), Model(trees=40, depth=4))
            assert base_graph([own.part], 4) == base_graph([fitted(name, classes).part], 4), (name, classes)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_of_some_columns_is_one_of_whole_rows(name: str) -> None:
    x, y = rows()
    columns = np.array([1, 3])
    narrow = models()[name](Training(Binned(x[:, columns]), y, np.ones(len(y)), 2), Model(trees=30))
    whole = narrow.among(columns, 4)
    np.testing.assert_array_equal(whole.raw(x), narrow.raw(x[:, columns]))
    assert apart(whole, x) <= 1e-6
    assert (whole.importance() > 0).tolist() == [False, True, False, True]


class TestAgainstScikitLearn:
    """Oracles: not the same trees, but the same method."""

    def far(self, name: str, classes: int, **parameters: float) -> np.ndarray:
        model = models()[name](training(classes), Model(**({"trees": 100, "depth": 4} | parameters)))  # type: ignore[arg-type]
        return to_shares(to_log_odds(model.raw(rows(classes, 5)[0]), model.part.link))

    def test_forest(self) -> None:
        from sklearn.ensemble import RandomForestClassifier

        for classes in (2, 3):
            x, y = rows(classes)
            theirs = RandomForestClassifier(100, max_depth=6, random_state=1).fit(x, y).predict_proba(rows(classes, 5)[0])
            ours = self.far("forest", classes, depth=6)
            assert np.abs(ours - theirs).mean() < 0.04
            truth = rows(classes, 5)[1]
            for one in range(classes):
                assert auc((truth == one).astype(float), ours[:, one]) > auc((truth == one).astype(float), theirs[:, one]) - 0.03

    def test_boosted(self) -> None:
        from sklearn.ensemble import GradientBoostingClassifier

        for classes in (2, 3):
            x, y = rows(classes)
            fit = GradientBoostingClassifier(n_estimators=100, max_depth=4, learning_rate=0.05, subsample=0.8, random_state=1).fit(x, y)
            theirs, ours = fit.predict_proba(rows(classes, 5)[0]), self.far("boosted", classes)
            assert np.abs(ours - theirs).mean() < 0.04
            truth = rows(classes, 5)[1]
            assert auc((truth == 1).astype(float), ours[:, 1]) > auc((truth == 1).astype(float), theirs[:, 1]) - 0.015

    @pytest.mark.parametrize("l2", [1e-3, 0.5])
    def test_linear(self, l2: float) -> None:
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.preprocessing import StandardScaler

        weight = np.random.default_rng(1).uniform(0.2, 2.0, 1_000)
        weight /= weight.mean()
        for classes in (2, 3):
            x, y = rows(classes)
            scaler = StandardScaler().fit(x.astype(float), sample_weight=weight)
            theirs = LogisticRegression(C=1 / (l2 * len(y)), tol=1e-10, max_iter=5_000).fit(scaler.transform(x.astype(float)), y, weight)
            model = models()["linear"](training(classes, weight=weight), Model(l2=l2))
            ours = to_shares(to_log_odds(model.raw(x), model.part.link))
            np.testing.assert_allclose(ours, theirs.predict_proba(scaler.transform(x.astype(float))), atol=2e-4)
        x, y = rows(0)
        scaler = StandardScaler().fit(x.astype(float), sample_weight=weight)
        theirs = Ridge(alpha=l2 * len(y)).fit(scaler.transform(x.astype(float)), y, weight)
        model = models()["linear"](training(0, weight=weight), Model(l2=l2))
        np.testing.assert_allclose(model.raw(x)[:, 0], theirs.predict(scaler.transform(x.astype(float))), atol=1e-6)


def test_columns_are_kept_within_bounds_of_the_training_rows() -> None:
    x, y = rows()
    wild = x.copy()
    wild[::50] *= 1_000
    model = models()["linear"](Training(Binned(wild), y, np.ones(len(y)), 2), Model(winsorise=2.5))
    far = np.vstack((wild, straddling(wild, model.part.splits), np.float32([[9e9, -9e9, 0, 44_000]])))
    assert len(model.part.splits) == 8
    assert apart(model, far) <= 1e-6
    _, found = rows(2, 5)
    assert auc(found, model.raw(rows(2, 5)[0])[:, 0]) > 0.85
    plain = models()["linear"](Training(Binned(wild), y, np.ones(len(y)), 2), Model())
    assert auc(found, plain.raw(rows(2, 5)[0])[:, 0]) < 0.8
    assert apart(model.among(np.arange(1, 5), 6), np.column_stack((far[:, :1], far, far[:, :1]))) <= 1e-6


def test_a_constant_column_has_no_weight() -> None:
    x, y = rows()
    flat = x.copy()
    flat[:, 2] = 1.0
    model = models()["linear"](Training(Binned(flat), y, np.ones(len(y)), 2), Model())
    assert model.importance()[2] == 0
    assert np.isfinite(model.raw(x)).all()


def test_a_tree_of_one_leaf_is_exported() -> None:
    """Nothing to split on: constant features."""
    x = np.ones((60, 2), np.float32)
    y = (np.arange(60) % 3 == 0).astype(float)
    for name in NAMES:
        model = models()[name](Training(Binned(x), y, np.ones(60), 2), Model(trees=5))
        assert apart(model, x) <= 1e-6


@pytest.mark.parametrize("name", ["xgboost", "forest", "boosted", "lightgbm"])
@pytest.mark.parametrize("changed", [{"trees": 7}, {"depth": 2}, {"subsample": 0.5}, {"seed": 9}, {"learning_rate": 0.3}])
def test_every_hyper_parameter_is_heeded(name: str, changed: dict[str, float]) -> None:
    plain = Model(trees=6, depth=4, subsample=0.8, seed=1, learning_rate=0.05)
    before, after = (models()[name](training(count=300), one) for one in (plain, replace(plain, **changed)))
    same = base_graph([before.part], 4) == base_graph([after.part], 4)
    # the trees of a forest are not added up step by step
    assert same is (name == "forest" and "learning_rate" in changed)


def test_boosted_takes_the_very_steps_of_scikit_learn() -> None:
    """Prior and leaves to the sixth digit, where there is one way to split: a column of two values, a class of one in seven."""
    from sklearn.ensemble import GradientBoostingClassifier

    rng = np.random.default_rng(2)
    x = rng.integers(0, 2, (400, 1)).astype(np.float32)
    y = (rng.random(400) < np.where(x[:, 0] > 0, 0.22, 0.06)).astype(float)
    ours = models()["boosted"](Training(Binned(x), y, np.ones(400)), Model(trees=3, depth=1, learning_rate=0.2, subsample=1.0))
    theirs = GradientBoostingClassifier(n_estimators=3, max_depth=1, learning_rate=0.2).fit(x, y)
    np.testing.assert_allclose(ours.raw(x)[:, 0], theirs.decision_function(x), atol=5e-6)
