"""Overrides that a ModelRetrain shares: merged from the ConfigMap beside it, as the operator does, and never left out unseen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from trainer_runs import NOW, run_document, spec

from walkforward_core.api.recipe import Selection
from walkforward_trainer.errors import BadConfiguration
from walkforward_trainer.plan import make_plan
from walkforward_trainer.specfile import load

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "overrides-configmap.yaml"


def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(EXAMPLE.read_text(encoding="utf-8")))


def written(path: Path, *found: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump_all(found), encoding="utf-8")
    return path


def test_the_example_trains_with_what_it_shares() -> None:
    plan = make_plan(load(EXAMPLE, now_ms=NOW))
    assert plan.features == ("ret_1", "ret_6", "vol_20", "vol_ratio_5_20", "atr_14", "range_atr_14", "hour_sin", "hour_cos")
    # what the ModelRetrain says itself wins, field by field
    assert (plan.model.trees, plan.model.depth, plan.model.learning_rate) == (60, 3, 0.1)
    assert plan.decision.threshold == 0.45
    assert plan.target.kind == "Risk"


def test_the_same_overrides_written_out_are_the_same_run(tmp_path: Path) -> None:
    shared, retrain = documents()
    fields = yaml.safe_load(shared["data"]["overrides.yaml"])
    retrain["spec"]["overrides"] = fields | retrain["spec"]["overrides"] | {"model": fields["model"] | {"depth": 3}}
    del retrain["spec"]["overridesFrom"]
    inline = load(written(tmp_path / "inline.yaml", retrain), now_ms=NOW)
    assert inline == load(EXAMPLE, now_ms=NOW)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda shared: shared["metadata"].update(name="other"),
            "ConfigMap 'calm-trees' is not in this file.*put it beside the ModelRetrain",
        ),
        (lambda shared: shared["data"].update({"overrides.yaml": "modle: {}"}), "modle is not known; did you mean model"),
        (lambda shared: shared.update(data={"else": ""}), "has no key 'overrides.yaml', its keys are else"),
        (lambda shared: shared.update(data={"overrides.yaml": "model: {trees: 0}"}), "calm-trees, key overrides.yaml: .*trees"),
    ],
    ids=["another name", "a field that is none", "another key", "out of bounds"],
)
def test_what_cannot_be_merged_is_refused(tmp_path: Path, change: Any, words: str) -> None:
    shared, retrain = documents()
    change(shared)
    with pytest.raises(BadConfiguration, match=words):
        load(written(tmp_path / "fx.yaml", shared, retrain), now_ms=NOW)


def test_a_run_that_was_not_merged_does_not_train(tmp_path: Path) -> None:
    run = run_document(spec(tmp_path / "bars.csv", tmp_path / "models", overridesFrom={"configMap": "shared"}))
    with pytest.raises(BadConfiguration, match="overridesFrom: ConfigMap 'shared' was not merged"):
        make_plan(run)
    alone = documents()[1]
    (tmp_path / "fx.json").write_bytes(msgspec.json.encode(alone))
    with pytest.raises(BadConfiguration, match="'calm-trees' is not in this file"):
        load(tmp_path / "fx.json", now_ms=NOW)


def test_a_step_of_the_selection_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    daily = {"recipe": "daily-ensemble", "overrides": {"selection": {"eliminate": 8}}}
    chosen = make_plan(run_document(spec(tmp_path / "bars.csv", tmp_path / "models", **daily))).selection
    assert chosen == Selection(correlation=0.9, best=25, eliminate=8)
    alone = make_plan(run_document(spec(tmp_path / "bars.csv", tmp_path / "models", overrides={"selection": {"best": 5}}))).selection
    assert alone == Selection(best=5)
