"""Trials are counted across runs, once each, and deflate the Sharpe ratio."""

from __future__ import annotations

import dataclasses
import json
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from trainer_datasets import dataset, plan_of
from trainer_runs import DIRECTION, NOW, RISK, eurusd, run_document, spec

from walkforward_core.bundle import Manifest
from walkforward_core.errors import Unavailable
from walkforward_core.objectstore import open_store
from walkforward_trainer import trials
from walkforward_trainer.errors import BadData, Reason
from walkforward_trainer.metrics.sharpe import deflated, expected_maximum, moments, probabilistic
from walkforward_trainer.pipeline import execute
from walkforward_trainer.trials import Totals, account, deflate, effective, tried

if TYPE_CHECKING:
    from pathlib import Path

    from walkforward_trainer.dataset import Dataset

DAY = 86_400_000


def rows(day: int = 0, days: int = 90) -> Dataset:
    found = dataset(np.zeros((2, 1), np.float32), np.array([0.0, 1.0]))
    return dataset(found.x, found.y, t0=np.array([day, day + days - 1]) * DAY, t1=np.array([day + 1, day + days]) * DAY)


def store(folder: Path) -> Any:
    return open_store(folder.as_uri(), allow_file=True)


def run(folder: Path, name: str, retrain: str = "fx", namespace: str = "demo") -> Any:
    return run_document(spec(folder, folder), run=f"{retrain}-{name}", retrain={"namespace": namespace, "name": retrain, "uid": "u-1"})


def tell(folder: Path, name: str, attempts: tuple[int, tuple[float, ...]] = (1, (0.1,)), **options: Any) -> Totals:
    asked: dict[str, Any] = {"plan": plan_of(), "rows": rows(), "write": True} | options
    retrain = {key: asked.pop(key) for key in ("retrain", "namespace") if key in asked}
    return account(store(folder), run(folder, name, **retrain), asked["plan"], asked["rows"], attempts, write=asked["write"])


def test_runs_add_up_rejected_or_not(tmp_path: Path) -> None:
    assert tell(tmp_path, "a") == Totals(trials=1, effective=1.0, variance=None)
    second = tell(tmp_path, "b", (100, (0.2, 0.3)), rows=rows(day=200))
    assert second.trials == 101
    assert second.variance == pytest.approx(np.var([0.1, 0.2, 0.3], ddof=1))
    assert second.effective == pytest.approx(200), "two times apart, a hundred trials each at most"
    names = sorted(path.name for path in (tmp_path / "trials").iterdir())
    assert names == [f"{plan_of().as_of_ms}-fx-a.json", f"{plan_of().as_of_ms}-fx-b.json"]


def test_a_run_that_is_tried_again_counts_once_and_sees_what_it_saw(tmp_path: Path) -> None:
    first = tell(tmp_path, "a")
    tell(tmp_path, "b")
    before = {path.name: path.read_bytes() for path in (tmp_path / "trials").iterdir()}
    assert tell(tmp_path, "a", (1, (0.7,))) == first
    assert {path.name: path.read_bytes() for path in (tmp_path / "trials").iterdir()} == before
    assert tell(tmp_path, "c").trials == 3


def test_a_smoke_run_leaves_no_record(tmp_path: Path) -> None:
    assert tell(tmp_path, "a", write=False).trials == 1
    assert not (tmp_path / "trials").exists()


def test_other_retrains_in_the_same_place_are_not_counted(tmp_path: Path) -> None:
    tell(tmp_path, "a")
    tell(tmp_path, "b", retrain="fx-eur")
    tell(tmp_path, "c", namespace="prod")
    assert tell(tmp_path, "d").trials == 2


@pytest.mark.parametrize("spoil", [b"", b"{}", b'{"schema": "walkforward.dev/trials/v2"}', "cut"])
def test_an_unreadable_record_is_refused_never_left_out(tmp_path: Path, spoil: bytes | str) -> None:
    tell(tmp_path, "a")
    (path,) = (tmp_path / "trials").iterdir()
    path.write_bytes(path.read_bytes()[:-20] if isinstance(spoil, str) else spoil)
    with pytest.raises(BadData, match=r"fx-a\.json.*how much was tried") as refused:
        tell(tmp_path, "b")
    assert refused.value.reason is Reason.TRIALS_UNREADABLE


def test_a_write_whose_answer_was_lost_is_found_again(tmp_path: Path) -> None:
    class Forgetful:
        """A store that writes and then does not say so."""

        def __init__(self) -> None:
            self.real, self.blind = store(tmp_path), True

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

        def put(self, uri: str, data: bytes, **options: Any) -> None:
            self.real.put(uri, data, **options)
            raise Unavailable("the answer was lost")

    forgetful: Any = Forgetful()
    with pytest.raises(Unavailable):
        account(forgetful, run(tmp_path, "a"), plan_of(), rows(), (1, (0.1,)), write=True)
    assert tell(tmp_path, "a").trials == 1
    assert tell(tmp_path, "b").trials == 2


def test_another_attempt_that_sees_no_record_yet_does_not_write_over_it(tmp_path: Path) -> None:
    first = tell(tmp_path, "a")
    (path,) = (tmp_path / "trials").iterdir()
    before = path.read_bytes()

    class Stale:
        """A store whose listing is behind."""

        def __getattr__(self, name: str) -> Any:
            return (lambda _folder: []) if name == "list" else getattr(store(tmp_path), name)

    stale: Any = Stale()
    assert account(stale, run(tmp_path, "a"), plan_of(), rows(), (7, (0.9,)), write=True) == first
    assert path.read_bytes() == before


def test_a_run_that_only_looks_sees_its_own_record_once(tmp_path: Path) -> None:
    first = tell(tmp_path, "a")
    assert tell(tmp_path, "a", write=False) == first


def test_records_of_a_retrain_whose_name_begins_alike_are_not_even_read(tmp_path: Path) -> None:
    tell(tmp_path, "a", retrain="fxb")
    (path,) = (tmp_path / "trials").iterdir()
    path.write_bytes(b"not a record")
    assert tell(tmp_path, "a").trials == 1


def test_records_are_plain_documents(tmp_path: Path) -> None:
    tell(tmp_path, "a")
    (path,) = (tmp_path / "trials").iterdir()
    record = json.loads(path.read_bytes())
    assert record["schema"] == "walkforward.dev/trials/v1"
    assert (record["namespace"], record["name"], record["run"], record["trials"]) == ("demo", "fx", "fx-a", 1)


def test_another_question_is_another_trial_even_on_the_same_rows(tmp_path: Path) -> None:
    tell(tmp_path, "a")
    same = tell(tmp_path, "b")
    assert same.effective == pytest.approx(1.0), "the same question on the same rows is the same trial"
    other = plan_of(overrides={"target": {"kind": "Risk"}, "decision": {"threshold": 0.45}})
    assert tell(tmp_path, "c", plan=other).effective == pytest.approx(2.0)


def test_runs_that_share_half_of_their_rows_are_nearly_two_trials(tmp_path: Path) -> None:
    """From the first row to the last answer: with a correlation of 1/2 the eigenvalues are 3/2 and 1/2."""
    tell(tmp_path, "a", rows=rows(days=90))
    assert tell(tmp_path, "b", rows=rows(day=45, days=90)).effective == pytest.approx((1.5**0.5 + 0.5**0.5) ** 2 / 2, abs=1e-5)


def test_overlapping_windows_are_not_independent_and_never_flattered() -> None:
    """The largest of the Sharpe ratios of a window that moves, simulated, is below what the effective number of trials expects."""
    rng = np.random.default_rng(0)
    for count, window, step in ((200, 60, 1), (52, 104, 2), (10, 90, 30)):
        number = effective([(day * step, day * step + window) for day in range(count)])
        assert 1.0 < number < count
        total = np.cumsum(rng.normal(size=(1_000, (count - 1) * step + window + 1)), axis=1)
        sharpes = (total[:, window:] - total[:, :-window])[:, ::step] / window
        assert sharpes.max(axis=1).mean() < expected_maximum(number, 1.0 / window)


def test_two_runs_that_share_nearly_all_rows_cost_a_little_and_never_reward() -> None:
    """Of two standard normals with correlation r the larger is √((1 - r)/π) on average: exact, where the formula for many is below zero."""
    for step in (1, 3, 10, 30, 60):
        exact = math.sqrt(step / 90 / math.pi)
        assert 0.95 * exact < expected_maximum(effective([(0, 90), (step, 90 + step)]), 1.0) < 1.5 * exact
    grid = [expected_maximum(trials, 1.0) for trials in np.linspace(1.0, 4.0, 61).tolist()]
    assert grid[0] == 0.0
    assert (np.diff(grid) > 0).all()


@pytest.mark.parametrize(("count", "step", "each"), [(2, 1, 1), (30, 1, 1), (10, 30, 1), (3, 5, 4), (4, 90, 2)])
def test_the_variance_is_that_of_trials_that_share_no_rows(count: int, step: int, each: int) -> None:
    """Sharpe ratios of a window that moves lie close together; what they would spread without that is 1 here, by construction."""
    rng = np.random.default_rng(4)
    found: list[float] = []
    for _ in range(400):
        total = np.cumsum(rng.normal(size=((count - 1) * step + 91, each)), axis=0)
        sharpes = (total[90:] - total[:-90])[::step] / math.sqrt(90)
        records = [record(at * step, at * step + 90, tuple(row.tolist())) for at, row in enumerate(sharpes)]
        variance = trials._totals(records).variance
        assert variance is not None
        found.append(variance)
    assert np.mean(found) == pytest.approx(1.0, abs=0.2)


def test_one_trial_told_twice_has_no_variance() -> None:
    assert trials._totals([record(0, 90, (0.1,)), record(0, 90, (0.1,))]).variance is None
    assert trials._totals([record(0, 90, (0.1,))]).variance is None
    assert trials._totals([record(0, 90, ()), record(5, 95, (0.1,))]).variance is None
    apart = [record(0, 90, (0.1,)), record(0, 90, (0.3,), question="another")]
    assert trials._totals(apart).variance == pytest.approx(0.02), "other questions on the same rows are other trials"


@pytest.mark.parametrize(
    "changes",
    [
        {"overrides": {"target": {"kind": "Risk"}, "model": {"depth": 2}}},
        {"overrides": {"target": {"kind": "Risk"}, "features": ["ret_1"]}},
        {"overrides": {"target": {"kind": "Risk"}, "calibration": "None"}},
        {"overrides": {"target": {"kind": "Risk"}, "decision": {"baseRule": "long"}}},
        {"overrides": {"target": {"kind": "Risk", "horizonBars": 7}}},
        {"validation": {"folds": 3}},
        {"validation": {"embargo": "48h"}},
    ],
)
def test_a_changed_spec_is_another_trial(tmp_path: Path, changes: dict[str, Any]) -> None:
    tell(tmp_path, "a", plan=plan_of(overrides={"target": {"kind": "Risk"}}))
    assert tell(tmp_path, "b", plan=plan_of(**({"overrides": {"target": {"kind": "Risk"}}} | changes))).effective == pytest.approx(2.0)


@pytest.mark.parametrize("changes", [{"uri": "s3://other/bars.csv"}, {"symbols": ("GBPUSD",)}])
def test_other_data_of_the_same_time_is_another_trial(tmp_path: Path, changes: dict[str, Any]) -> None:
    plan = plan_of()
    tell(tmp_path, "a", plan=plan)
    other = dataclasses.replace(plan, data=msgspec.structs.replace(plan.data, **changes))
    assert tell(tmp_path, "b", plan=other).effective == pytest.approx(2.0)


def record(start: int, end: int, sharpes: tuple[float, ...], question: str = "one") -> trials.TrialsRecord:
    return trials.TrialsRecord(
        namespace="demo",
        name="fx",
        run=f"fx-{start}",
        question=question,
        from_ms=start,
        to_ms=end,
        trials=max(len(sharpes), 1),
        sharpes=sharpes,
        totals=Totals(trials=0, effective=0.0),
    )


def evidence(net: np.ndarray) -> Any:
    return SimpleNamespace(moments=moments(net), independent=len(net), model=SimpleNamespace(sharpe=float(net.mean() / net.std())))


def test_the_deflated_sharpe_ratio_pays_for_every_trial() -> None:
    net = np.random.default_rng(1).normal(0.1, 1.0, 500)
    found = moments(net)
    assert found is not None
    alone = deflate(evidence(net), Totals(trials=1, effective=1.0), None)
    assert alone["deflatedSharpe"] == probabilistic(found, 500)
    assert alone["expectedMaxSharpe"] == 0.0
    many = deflate(evidence(net), Totals(trials=100, effective=80.0, variance=0.002), None)
    assert many["deflatedSharpe"] == deflated(found, 500, 80.0, 0.002) < alone["deflatedSharpe"]
    assert (many["trials"], many["trialsEffective"]) == (100.0, 80.0)
    # two trials of which nothing is known spread as luck does
    assert deflate(evidence(net), Totals(trials=2, effective=2.0), None)["trialSharpeVariance"] == 1 / 500


def test_without_a_sharpe_ratio_nothing_is_deflated() -> None:
    flat: Any = SimpleNamespace(moments=None, independent=10, model=SimpleNamespace(sharpe=float("nan")))
    assert "deflatedSharpe" not in deflate(flat, Totals(trials=1, effective=1.0), None)
    assert tried(flat, None) == (1, ())


def test_a_search_brings_its_trials_and_its_overfitting() -> None:
    search: Any = SimpleNamespace(trials=100, sharpes=(0.1, 0.2), overfitting=0.3, limited=True)
    net = np.random.default_rng(1).normal(0.1, 1.0, 500)
    assert tried(evidence(net), search) == (100, (0.1, 0.2))
    assert deflate(evidence(net), Totals(trials=100, effective=100.0, variance=0.01), search)["pbo"] == 0.3
    assert deflate(evidence(net), Totals(trials=100, effective=100.0, variance=0.01), search)["tuningTimeLimited"] == 1.0


def test_a_rejected_run_counts_for_the_next_one(tmp_path: Path) -> None:
    """Whole runs: the first asks for what cannot be known, the second is published and says that it was not the first."""
    for name, overrides in (("aaaa1111", DIRECTION), ("bbbb2222", RISK)):
        fields = spec(eurusd(), tmp_path, overrides={**overrides, "model": {"trees": 20}}, validation={"folds": 3})
        result, _ = execute(run_document(fields, run=f"fx-{name}"), allow_file=True, now_ms=NOW)
    assert result.verdict == "Published", result.message
    manifest = Manifest.parse((tmp_path / result.version / "manifest.json").read_bytes())
    assert manifest.trials == 2
    assert manifest.metrics["trials"] == 2.0
    assert manifest.metrics["trialsEffective"] == pytest.approx(2.0)
    assert manifest.metrics["deflatedSharpe"] <= manifest.metrics["probabilisticSharpe"]
