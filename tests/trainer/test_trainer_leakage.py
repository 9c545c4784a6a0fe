"""The leak detector: an honest market passes, planted leaks do not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from trainer_datasets import dataset, plan_of

from walkforward_core.api.data import DataKind
from walkforward_core.api.offline import LeakageGate, OfflineGates
from walkforward_core.api.recipe import Selection
from walkforward_core.offline import blocking, judge
from walkforward_trainer import leakage
from walkforward_trainer.leakage import detect_leaks
from walkforward_trainer.splits import Split

if TYPE_CHECKING:
    from walkforward_trainer.dataset import Dataset

GATES = OfflineGates(leakage=LeakageGate())


def failed(rows: Dataset, **changes: Any) -> list[str]:
    found = detect_leaks(rows, plan_of(**changes))
    return [record.name for record in blocking(judge(GATES, found.metrics, baseline=False))]


def market(seed: int = 0, count: int = 1_800, horizon: int = 5, edge: float = 0.5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features that fade slowly (n, 4), steps of the price, and whether it is higher ``horizon`` steps later."""
    rng = np.random.default_rng(seed)
    drift = np.zeros(count + horizon)
    noise = rng.normal(size=count + horizon)
    for at in range(1, count + horizon):
        drift[at] = 0.97 * drift[at - 1] + 0.25 * noise[at]
    step = edge * np.concatenate(([0.0], drift[:-1])) + rng.normal(size=count + horizon)
    level = np.cumsum(step)
    ahead = level[horizon:] - level[:-horizon]
    x = np.column_stack((drift[:count] + rng.normal(0, 0.5, count), rng.normal(size=(count, 3))))
    return x.astype(np.float32), level, (ahead > 0).astype(float)


def test_an_honest_model_passes_every_check() -> None:
    x, _, y = market()
    found = detect_leaks(dataset(x, y, horizon=5), plan_of())
    assert found.honest > 0.65, "there is something to know"
    assert abs(found.shuffled - 0.5) < 0.05
    assert failed(dataset(x, y, horizon=5)) == []


def test_the_same_rows_give_the_same_answer() -> None:
    x, _, y = market(count=400)
    assert detect_leaks(dataset(x, y, horizon=5), plan_of()) == detect_leaks(dataset(x, y, horizon=5), plan_of())


@pytest.mark.parametrize("horizon", [1, 5, 20])
def test_a_feature_that_knows_the_answer_fails(horizon: int) -> None:
    """A planted error: the return of the label's own bars, as a tail that was filled or a centred window would bring it."""
    _, level, _ = market(edge=0.0, horizon=horizon)
    ahead = level[horizon:] - level[:-horizon]
    x = np.column_stack((ahead + np.random.default_rng(1).normal(0, 0.3, len(ahead)), np.zeros(len(ahead)))).astype(np.float32)
    assert "leakage.shiftDrop" in failed(dataset(x, (ahead > 0).astype(float), horizon=horizon))


def test_a_feature_that_is_one_bar_early_fails() -> None:
    """A planted error: a higher timeframe joined by the time of its open, a bar before it is known."""
    _, level, y = market(edge=0.0, horizon=1)
    early = np.diff(level)[: len(y)]
    x = np.column_stack((early, np.zeros(len(early)))).astype(np.float32)
    assert "leakage.shiftDrop" in failed(dataset(x, y, horizon=1))


def test_a_choice_of_features_that_saw_the_test_rows_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted error: the best of many useless features, chosen once on all rows."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(500, 150)).astype(np.float32)
    rows = dataset(x, rng.integers(0, 2, 500).astype(float))
    asked: Any = {"selection": Selection(best=5)}
    assert failed(rows, **asked) == []
    honest = leakage.select
    monkeypatch.setattr(leakage, "select", lambda rows, _train, plan: honest(rows, np.flatnonzero(rows.known), plan))
    assert "leakage.shuffledAuc" in failed(rows, **asked)


def test_splits_whose_neighbours_share_an_answer_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted error: shuffled K-fold on overlapping labels. A feature that tells the time finds the neighbour's answer."""
    rng = np.random.default_rng(5)
    level = np.cumsum(rng.normal(size=1_220))
    y = (level[20:] > level[:-20]).astype(float)
    rows = dataset(np.column_stack((level[:1_200], np.arange(1_200) / 100)).astype(np.float32), y, horizon=20)
    assert failed(rows) == []

    def interleaved(t0: Any, _t1: Any, folds: int, _embargo: int) -> list[Split]:
        index = np.arange(len(t0))
        return [Split(index[index % folds != fold], index[index % folds == fold], 0, 0) for fold in range(folds)]

    monkeypatch.setattr(leakage, "purged_k_fold", interleaved)
    assert "leakage.shuffledAuc" in failed(rows)


def test_labels_that_overlap_beyond_measure_fail_without_purge() -> None:
    """A planted error: labels that span a tenth of the window. Without purge the rows next to a test block hold half of its answers."""
    rng = np.random.default_rng(0)
    horizon, count = 300, 1_500
    level = np.cumsum(rng.normal(size=count + horizon))
    y = (level[horizon:] > level[:-horizon]).astype(float)
    x = np.column_stack((np.arange(count), level[:count])).astype(np.float32)
    found = detect_leaks(dataset(x, y, horizon=horizon), plan_of(embargo_ms=0))
    assert found.metrics["leakage.purgeGain"] > LeakageGate().max_purge_gain


def test_features_of_several_symbols_are_late_within_their_own() -> None:
    x, _, y = market(count=900)
    twice = dataset(np.repeat(x, 2, axis=0), np.repeat(y, 2), symbol=np.tile([0, 1], 900).astype(np.int16), symbols=("A", "B"))
    twice = replace(twice, t0=np.repeat(twice.t0[:900], 2), t1=np.repeat(twice.t0[:900], 2) + 5 * 3_600_000)
    earlier = leakage._earlier(twice, 1)
    assert earlier[:4].tolist() == [-1, -1, 0, 1]
    assert leakage._overlap(twice) == 5
    assert failed(twice) == []


def test_the_newest_rows_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A feature that knows the answer in the newer half alone, as a source would that was changed in between."""
    monkeypatch.setattr(leakage, "NEWEST", 500)
    _, level, y = market(edge=0.0, horizon=1, count=1_200)
    early = np.where(np.arange(len(y)) < 600, 0.0, np.diff(level)[: len(y)])
    x = np.column_stack((early, np.zeros(len(early)))).astype(np.float32)
    assert "leakage.shiftDrop" in failed(dataset(x, y, horizon=1))


def test_trades_are_not_made_late() -> None:
    x, _, y = market(count=600)
    found = detect_leaks(dataset(x, y), plan_of(kind=DataKind.TRADES))
    assert found.late is None
    assert "leakage.shiftDrop" not in found.metrics


def test_three_classes() -> None:
    x, level, _ = market(count=1_000)
    ahead = level[5:] - level[:-5]
    y = np.digitize(ahead, [-2.0, 2.0]).astype(float)
    found = detect_leaks(dataset(x, y, horizon=5), plan_of(classes=3))
    assert found.honest > 0.6
    assert abs(found.shuffled - 0.5) < 0.05
