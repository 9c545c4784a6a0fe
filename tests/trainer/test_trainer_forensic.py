"""The forensic report names each of the five causes when it is there, and none when all is well."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from trainer_datasets import dataset, plan_of
from trainer_runs import DIRECTION, NOW, eurusd, run_document, spec

from walkforward_core.api.data import DataSpec
from walkforward_core.api.defaults import effective_gates
from walkforward_core.api.offline import LeakageGate, OfflineGates
from walkforward_core.api.recipe import ClassShares
from walkforward_core.api.retrain import Artifacts, RetrainSpec
from walkforward_core.offline import blocking, judge
from walkforward_core.runs import RunVerdict
from walkforward_trainer import checks
from walkforward_trainer.checks import check, constant_output
from walkforward_trainer.errors import BadConfiguration
from walkforward_trainer.forensic import Cause, Symptom, examine, forensic_notes, forensic_tables, symptoms
from walkforward_trainer.forensic_files import ESCALATION, forensic_files
from walkforward_trainer.leakage import Leakage
from walkforward_trainer.metrics import classes
from walkforward_trainer.pipeline import execute
from walkforward_trainer.plan import make_plan

GOOD = {"ece": 0.02, "auc": 0.7, "aucError": 0.02, "expectancy": 1e-4}
SHARES = ClassShares(down=0.4, neutral=0.2, up=0.4)


def evidence(p: np.ndarray, y: np.ndarray) -> Any:
    return SimpleNamespace(classes=p, y=y, confusion=classes.confusion(y, p))


def healthy(seed: int = 0, count: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Return three classes that are predicted as often as they occur, with probabilities that differ from row to row."""
    rng = np.random.default_rng(seed)
    y = rng.choice(3, count, p=[0.4, 0.2, 0.4])
    p = np.full((count, 3), 0.1)
    p[np.arange(count), y] += rng.uniform(0.3, 0.7, count)
    return p / p.sum(axis=1, keepdims=True), y.astype(float)


def found(p: np.ndarray, y: np.ndarray, *, metrics: dict[str, float] = GOOD, share: Any = SHARES, plan: Any = None) -> set[Cause]:
    asked = plan or plan_of(classes=p.shape[1])
    asked = replace(asked, target=replace(asked.target, class_target=share))
    rows = dataset(np.zeros((len(y), 1), np.float32), y)
    return {finding.cause for finding in examine(rows, evidence(p, y), asked, metrics) if finding.found}


def test_a_healthy_model_has_none() -> None:
    assert found(*healthy()) == set()


def test_always_neutral_is_an_imbalance() -> None:
    """The broken 5m model: 91.5 % neutral."""
    p, y = healthy()
    p[: int(0.9 * len(p))] = [0.2, 0.65, 0.15]
    assert found(p, y) == {Cause.CLASS_IMBALANCE}


def test_a_rare_class_is_an_imbalance_unless_it_is_weighted_up() -> None:
    index = np.arange(600)
    y = np.where(index % 11 == 0, 1.0, np.where(index % 2 == 0, 0.0, 2.0))
    p = np.full((len(y), 3), 0.1)
    p[np.arange(len(y)), y.astype(int)] = np.linspace(0.5, 0.9, len(y))
    assert Cause.CLASS_IMBALANCE in found(p, y, share=None)
    assert Cause.CLASS_IMBALANCE not in found(p, y)


def test_probabilities_that_are_not_shares_are_poorly_calibrated() -> None:
    assert found(*healthy(), metrics=GOOD | {"ece": 0.2}) == {Cause.POOR_CALIBRATION}


def test_knowledge_that_does_not_pay_is_the_wrong_objective() -> None:
    assert found(*healthy(), metrics=GOOD | {"expectancy": -1e-5}) == {Cause.WRONG_OBJECTIVE}
    assert found(*healthy(), metrics=GOOD | {"expectancy": -1e-5, "auc": 0.51}) == set(), "who knows nothing has another problem"


def test_a_constant_output_is_leakage() -> None:
    """The broken 24h model: 100 % BUY, no variance."""
    _, y = healthy()
    assert found(np.tile([0.3, 0.3, 0.4], (len(y), 1)), y) >= {Cause.FEATURE_LEAKAGE}


@pytest.mark.parametrize("metric", ["leakage.shuffledAuc", "leakage.shiftDrop", "leakage.purgeGain"])
def test_what_the_leak_detector_found_is_leakage(metric: str) -> None:
    assert found(*healthy(), metrics=GOOD | {metric: 0.9}) == {Cause.FEATURE_LEAKAGE}


def test_a_timeframe_without_numbers_of_its_own_is_one_methodology() -> None:
    plan = plan_of(classes=3)
    profiled = replace(plan, recipe=replace(plan.recipe, profiles={"5m": plan.recipe}))
    assert found(*healthy(), plan=profiled) == {Cause.ONE_METHODOLOGY}
    assert found(*healthy(), plan=replace(profiled, data=type(plan.data)(**{**_fields(plan.data), "timeframe": "5m"}))) == set()


def _fields(struct: Any) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


@pytest.mark.parametrize("timeframe", ["5m", "1h", "12h", "24h", "1d"])
def test_every_documented_timeframe_has_numbers_of_its_own(timeframe: str) -> None:
    fields = spec(eurusd(), Path("/nowhere"), recipe="multi-timeframe", overrides={}, gates=None)
    plan = make_plan(run_document(fields | {"data": fields["data"] | {"timeframe": timeframe}}))
    assert found(*healthy(), plan=plan, share=plan.target.class_target) == set()


def broken_5m() -> np.ndarray:
    """91.5 % neutral, nothing eligible."""
    p = np.tile([0.31, 0.38, 0.31], (1_000, 1))
    p[:85] = np.where(np.arange(85)[:, None] % 2, [0.36, 0.32, 0.32], [0.32, 0.32, 0.36])
    return p


def broken_24h() -> np.ndarray:
    """100 % BUY, without any variance."""
    return np.tile([0.33, 0.33, 0.34], (1_000, 1))


@pytest.mark.parametrize(
    ("timeframe", "p", "seen", "failed"),
    [
        (
            "5m",
            broken_5m(),
            {Symptom.ALWAYS_NEUTRAL, Symptom.NO_SIGNAL},
            {"minDownPct", "minUpPct", "maxNeutralPct", "minConfMean", "minPctAboveConf060", "minAlphaMean", "minEligibilityPct"},
        ),
        (
            "24h",
            broken_24h(),
            {Symptom.ONE_SIDED, Symptom.CONSTANT_OUTPUT, Symptom.NO_SIGNAL},
            {"minDownPct", "maxUpPct", "minConfMean", "minPctAboveConf060", "minAlphaMean", "minEligibilityPct"},
        ),
    ],
)
def test_the_broken_baselines_are_caught(timeframe: str, p: np.ndarray, seen: set[Symptom], failed: set[str]) -> None:
    """By the gates of their timeframe, each limit by its name with a remedy, and by the forensic report."""
    assert {sign.symptom for sign in symptoms(p, 0.60)} == seen
    data = DataSpec(uri="s3://bars/", symbols=("X",), timeframe=timeframe, window="90d")
    gates = effective_gates(RetrainSpec(recipe="multi-timeframe", data=data, artifacts=Artifacts(uri="s3://models/")))
    metrics = {f"distribution.{name}": value for name, value in classes.distribution(p, 0.60).items()}
    records = blocking(judge(gates, metrics, baseline=False))
    assert {record.name.removeprefix("distribution.") for record in records if record.name.startswith("distribution")} == failed
    said = " ".join(record.remedy for record in records if record.name.startswith("distribution"))
    for remedy in ("class target (its weights)", "more data", "tuned hyper-parameters", "review the labels", "the limit stays"):
        assert remedy in said


def test_a_healthy_model_has_no_symptom_and_neither_has_a_filter_that_lets_most_pass() -> None:
    assert symptoms(healthy()[0], 0.45) == ()
    p = np.linspace(0.01, 0.3, 100)
    assert symptoms(np.column_stack((1 - p, p)), 0.5) == ()
    assert [sign.symptom for sign in symptoms(np.tile([0.6, 0.4], (100, 1)), 0.5)] == [Symptom.CONSTANT_OUTPUT]


def test_a_constant_output_is_rejected_whatever_the_gates_of_the_spec_are(tmp_path: Path) -> None:
    """Whoever is always long earns in a market that rises. Each fold's model says one thing to all rows, the next fold's another."""
    dull = {**DIRECTION, "model": {"trees": 1, "depth": 1, "learningRate": 1e-12}, "decision": {"threshold": 0.4}}
    fields = spec(eurusd(), tmp_path / "models", gates={"expectancy": {"min": 0}}, overrides=dull)
    result, _ = execute(run_document(fields), allow_file=True, now_ms=NOW)
    assert (result.verdict, result.failed) == (RunVerdict.REJECTED, ("constant",))
    assert "same answer" in result.message
    assert "features that are constant" in result.message
    assert not list((tmp_path / "models").glob("2*"))


def test_the_files_say_the_same_to_programs_and_to_people() -> None:
    p, y = healthy()
    rows, plan = dataset(np.zeros((len(y), 1), np.float32), y), plan_of(classes=3)
    plan = replace(plan, target=replace(plan.target, class_target=SHARES))
    seen = evidence(p, y)
    files = forensic_files(rows, seen, plan, examine(rows, seen, plan, GOOD | {"ece": 0.2}), symptoms(p, 0.60))
    results, text = json.loads(files["forensic_analysis_results.json"]), files["forensic_report.txt"].decode()
    assert results["classes"]["neutral"]["asked"] == 0.2
    assert sum(one["predictions"] for one in results["classes"].values()) == pytest.approx(1.0)
    assert [one["cause"] for one in results["causes"] if one["found"]] == ["PoorCalibration"]
    assert {one["cause"] for one in results["causes"]} == set(Cause)
    assert results["eligible"]["share"] == pytest.approx(classes.distribution(p, plan.decision.threshold)["eligibilityPct"])
    assert f"{results['classes']['down']['predictions']:.1%}" in text
    assert "[x] PoorCalibration" in text
    assert "[ ] FeatureLeakage" in text
    assert [text.index(topic) for topic, _ in ESCALATION] == sorted(text.index(topic) for topic, _ in ESCALATION)


def test_tables_and_notes_say_what_was_found_and_what_to_do() -> None:
    p, y = healthy()
    rows, plan = dataset(np.zeros((len(y), 1), np.float32), y), plan_of(classes=3)
    findings = examine(rows, evidence(p, y), plan, GOOD | {"ece": 0.2})
    signs = symptoms(broken_24h(), 0.60)
    first, *_, note = forensic_notes(findings, signs)
    assert "ConstantOutput" in first
    assert "PoorCalibration" in note
    assert "calibrationShare" in note
    causes, shares, confidence = forensic_tables(evidence(p, y), plan, findings, signs)
    assert [row[0] for row in causes.rows] == [*Cause, *(sign.symptom for sign in signs)]
    assert [row[1] for row in causes.rows].count("yes") == 1 + len(signs)
    assert sum(float(row[1] or 0) for row in shares.rows) == pytest.approx(1.0)
    assert sum(float(row[1] or 0) for row in confidence.rows) == pytest.approx(1.0)


def test_checks_run_by_their_names_and_the_gate_asks_for_its_own() -> None:
    p, y = healthy(count=150)
    rows, plan = dataset(np.random.default_rng(0).normal(size=(150, 2)).astype(np.float32), y), plan_of(classes=3)
    seen: Any = evidence(p, y)
    assert check(rows, plan, seen, GOOD).metrics == {}
    gated = check(rows, replace(plan, gates=OfflineGates(leakage=LeakageGate())), seen, GOOD)
    assert ([table.name for table in gated.tables], "leakage.shiftDrop" in gated.metrics) == (["leakage"], True)
    forensic = check(rows, replace(plan, recipe=replace(plan.recipe, checks=("forensic",))), seen, GOOD)
    assert set(forensic.metrics) == {f"forensic.{cause[0].lower()}{cause[1:]}" for cause in Cause}
    both = check(rows, replace(plan, recipe=replace(plan.recipe, checks=("forensic", "leakage"))), seen, GOOD)
    assert {"leakage.shuffledAuc", "leakage.shiftDrop", "leakage.purgeGain"} < set(both.metrics)
    assert [table.name for table in both.tables] == ["leakage", "forensic", "classes", "confidence"]


def test_the_forensic_check_knows_what_the_leak_detector_found(monkeypatch: pytest.MonkeyPatch) -> None:
    leak = Leakage(honest=0.7, shuffled=0.9, late=(0.68, 0.66), unpurged=0.72)
    monkeypatch.setattr(checks, "detect_leaks", lambda rows, plan: leak)
    p, y = healthy()
    rows, plan = dataset(np.zeros((len(y), 1), np.float32), y), plan_of(classes=3)
    seen: Any = evidence(p, y)
    both = check(rows, replace(plan, recipe=replace(plan.recipe, checks=("forensic", "leakage"))), seen, GOOD)
    assert both.metrics["forensic.featureLeakage"] == 1.0
    (table,) = (table for table in both.tables if table.name == "leakage")
    assert [row[:2] for row in table.rows] == [
        ("as it is", 0.7),
        ("labels shuffled in blocks", 0.9),
        ("features one bar later", 0.68),
        ("features one label horizon later", 0.66),
        ("without purge and embargo", 0.72),
    ]
    shown = {name: value for _, _, name, value in table.rows if name}
    assert shown == pytest.approx({"leakage.shuffledAuc": 0.9, "leakage.shiftDrop": 0.04, "leakage.purgeGain": 0.02})


def test_a_model_is_constant_where_every_fold_says_one_thing_of_every_class() -> None:
    same, varied = np.tile([0.5, 0.2, 0.3], (4, 1)), np.column_stack((np.linspace(0.2, 0.5, 4), np.full(4, 0.2), np.linspace(0.6, 0.3, 4)))

    def constant(*folds: np.ndarray) -> bool:
        splits = [SimpleNamespace(test=np.arange(4) + 4 * number) for number in range(len(folds))]
        fitted: Any = SimpleNamespace(unseen_p=np.concatenate(folds), splits=splits)
        return bool(constant_output(fitted))

    assert constant(same, same[:, ::-1]), "one thing each, and not the same"
    assert not constant(same, varied), "one fold that learned nothing is for the gates to judge"
    assert not constant(varied), "one class of the three may always be as likely"


def test_a_recipe_that_asks_for_an_unknown_check_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from walkforward_trainer import plan as planning

    table = planning.recipes()
    monkeypatch.setattr(planning, "recipes", lambda: {**table, "ohlcv": replace(table["ohlcv"], checks=("leakge",))})
    with pytest.raises(BadConfiguration, match="no check is called 'leakge'; there are leakage, forensic"):
        plan_of()


@pytest.mark.parametrize(
    ("gates", "message"),
    [
        ({"auc": {}, "overfitting": {"max": 0.5}}, "compares the trials of a search"),
        ({"auc": {}, "distribution": {}}, "about down, neutral and up"),
        ({"auc": {}, "kelly": {"min": 0}}, "nothing is staked"),
    ],
)
def test_gates_that_no_run_could_answer_are_refused(gates: dict[str, Any], message: str) -> None:
    with pytest.raises(BadConfiguration, match=message):
        make_plan(run_document(spec(eurusd(), Path("/nowhere"), gates=gates)))
