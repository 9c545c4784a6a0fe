"""What --spec reads, and the rules that an API server would have checked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from trainer_runs import DIRECTION, FIRST, NOW, RISK, run_document, spec

from walkforward_core.runs import RunMode, TriggerKind
from walkforward_trainer.errors import BadConfiguration, Reason
from walkforward_trainer.plan import make_plan
from walkforward_trainer.specfile import instant, load, load_all, timestamp

if TYPE_CHECKING:
    from pathlib import Path

YAML = """
apiVersion: walkforward.dev/v1alpha1
kind: ModelRetrain
metadata: {name: fx, namespace: team, uid: u-9}
spec:
  data: {uri: "s3://bars/eurusd.csv", format: csv, symbols: [EURUSD], windowBars: 2000, asOf: 2017-08-25T01:00:00Z}
  artifacts: {uri: "s3://models/fx"}
"""


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_retrain_in_yaml_is_a_manual_run(tmp_path: Path) -> None:
    run = load(write(tmp_path / "fx.yaml", "---\nkind: Secret\n---" + YAML), now_ms=NOW)
    assert (run.retrain.namespace, run.retrain.name, run.retrain.uid) == ("team", "fx", "u-9")
    assert (run.as_of, run.mode, run.trigger.kind) == (FIRST, RunMode.FULL, TriggerKind.MANUAL)
    assert run.run.startswith("fx-")
    assert len(run.run) == len("fx-") + 8
    assert run.spec.data.window_bars == 2000


def test_the_same_yaml_is_the_same_run_and_another_is_not(tmp_path: Path) -> None:
    first = load(write(tmp_path / "a.yaml", YAML), now_ms=NOW)
    assert load(write(tmp_path / "b.yaml", YAML), now_ms=NOW + 999_999).run == first.run
    assert load(write(tmp_path / "c.yaml", YAML.replace("2000", "1500")), now_ms=NOW).run != first.run


def test_without_as_of_it_is_now(tmp_path: Path) -> None:
    text = YAML.replace(", asOf: 2017-08-25T01:00:00Z", "")
    assert load(write(tmp_path / "fx.yaml", text), now_ms=NOW + 1).as_of == "2026-06-01T00:00:00Z"


def test_a_retrain_in_json_and_a_run_json(tmp_path: Path) -> None:
    import yaml

    fields = yaml.safe_load(YAML.replace("asOf: 2017-08-25T01:00:00Z", "asOf: '2017-08-25T01:00:00Z'"))
    assert load(write(tmp_path / "fx.json", json.dumps(fields)), now_ms=NOW).retrain.name == "fx"
    document = run_document(spec("s3://bars/x.csv", "s3://models/fx"), mode="Smoke", force=True)
    assert load(write(tmp_path / "run.json", msgspec.json.encode(document)), now_ms=NOW) == document


def test_several_retrains_in_one_file_are_several_runs(tmp_path: Path) -> None:
    path = write(tmp_path / "all.yaml", YAML + "---" + YAML.replace("name: fx,", "name: fx-5m,"))
    assert [run.retrain.name for run in load_all(path, now_ms=NOW)] == ["fx", "fx-5m"]
    assert load(path, now_ms=NOW, name="fx-5m").retrain.name == "fx-5m"
    with pytest.raises(BadConfiguration, match="no ModelRetrain is called 'fx-1h'; there are fx, fx-5m"):
        load_all(path, now_ms=NOW, name="fx-1h")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (YAML.replace("windowBars", "windowbars"), r"spec\.data\.windowbars is not a field of ModelRetrain; did you mean windowBars\?"),
        (YAML.replace("windowBars: 2000", "windowBars: many"), r"spec: Expected `int \| null`, got `str` - at `\$\.data\.windowBars`"),
        (YAML.replace("  artifacts", "  artefacts"), r"spec: Object missing required field `artifacts`"),
        (YAML.replace("v1alpha1", "v1"), r"apiVersion is 'walkforward.dev/v1'; write walkforward\.dev/v1alpha1"),
        (YAML.replace("name: fx, ", ""), r"metadata: Object missing required field `name`"),
        (YAML + "---" + YAML, r"2 ModelRetrain documents, two of them called 'fx'"),
        (YAML + "---" + YAML.replace("name: fx,", "name: fx-5m,"), r"2 ModelRetrain documents \(fx, fx-5m\); name the one that is meant"),
        ("kind: Pod", r"0 ModelRetrain documents"),
        ("a: [", r"not YAML"),
        ("{", r"must be one JSON object"),
        ('{"schema": "walkforward.dev/run/v2"}', r"run\.json"),
        ('{"schema": "walkforward.dev/run/v1"}', r"missing required field"),
        (YAML.replace("s3://bars", "http://bars"), r"spec: Expected `str` matching regex"),
    ],
)
def test_what_cannot_be_a_run_is_refused_by_name(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadConfiguration, match=words) as caught:
        load(write(tmp_path / "run.json", text), now_ms=NOW)
    assert caught.value.reason is Reason.SPEC_INVALID


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (YAML + "  artifacts: {uri: s3://other}\n", r"fx.yaml: spec\.artifacts stands twice, in the lines 7 and 8; keep one of them"),
        (YAML.replace("format: csv", "format: csv, format: parquet"), r"spec\.data\.format stands twice, in line 6"),
        (YAML.replace("format: csv", '"format": csv, format: csv'), r"spec\.data\.format stands twice, in line 6"),
        (YAML + "kind: ModelRetrain", r"fx.yaml: kind stands twice, in the lines 3 and 8"),
        (YAML + '  schedules: [{cron: "0 1 * * *"}, {cron: "0 1 * * *", cron: "0 2 * * *"}]\n', r"spec\.schedules\[1\]\.cron stands twice"),
        (YAML + "  overrides: &o {model: {trees: 5, trees: 6}}\n  x: *o", r"spec\.overrides\.model\.trees stands twice"),
        ('{"kind": "ModelRetrain", "spec": {"data": {"uri": "a", "uri": "b"}}}', r"the key 'uri' stands twice in one object"),
        ('{"schema": "walkforward.dev/run/v1", "schema": "walkforward.dev/run/v1"}', r"the key 'schema' stands twice"),
    ],
)
def test_a_key_that_stands_twice_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadConfiguration, match=words) as caught:
        load(write(tmp_path / "fx.yaml", text), now_ms=NOW)
    assert caught.value.reason is Reason.SPEC_INVALID


def test_what_a_merge_brings_in_may_be_written_over(tmp_path: Path) -> None:
    shared = "x: &usual {format: csv, symbols: [EURUSD], windowBars: 1}\nkind: List\n---"
    text = YAML.replace("data: {", "data: {<<: {format: parquet, windowBars: 1}, ")
    assert load(write(tmp_path / "fx.yaml", shared + text), now_ms=NOW).spec.data.window_bars == 2000


def test_strangers_inside_lists_are_found(tmp_path: Path) -> None:
    text = YAML + '  schedules: [{cron: "0 13 * * *", timezone: Etc/UTC}]\n'
    with pytest.raises(BadConfiguration, match=r"spec\.schedules\[0\]\.timezone is not a field .* did you mean timeZone"):
        load(write(tmp_path / "fx.yaml", text), now_ms=NOW)


def test_times() -> None:
    assert timestamp(instant("2017-08-25T01:00:00Z", "asOf")) == "2017-08-25T01:00:00Z"
    assert instant("2017-08-25T01:00:00.250Z", "asOf") % 1000 == 250
    with pytest.raises(BadConfiguration, match="asOf '2017-08-25T01:00:00' has no time zone"):
        instant("2017-08-25T01:00:00", "asOf")
    with pytest.raises(BadConfiguration, match="asOf 'yesterday'"):
        instant("yesterday", "asOf")


def plan(**changes: Any) -> Any:
    fields = spec("s3://bars/x.csv", "s3://models/fx")
    fields["data"] |= changes.pop("data", {})
    return make_plan(run_document(fields | changes))


@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        ({"data": {"window": "90d"}}, Reason.SPEC_INVALID, "exactly one of window"),
        ({"data": {"windowBars": None}}, Reason.SPEC_INVALID, "exactly one of window"),
        ({"recipe": "mine", "gates": {"auc": {}}}, Reason.NOT_IN_THIS_RELEASE, "recipe: mine is not in this image; write one of ohlcv"),
        ({"gates": {}}, Reason.SPEC_INVALID, "gates: at least one of auc"),
        ({"overrides": {"features": ["ret_1", "macd"]}}, Reason.SPEC_INVALID, "macd not known; the recipe's own are ret_1, ret_3"),
        ({"overrides": {"features": ["ret_1", "z_20", "ret_1"]}}, Reason.SPEC_INVALID, "ret_1 named twice"),
    ],
)
def test_rules_of_the_spec(changes: dict[str, Any], reason: Reason, words: str) -> None:
    with pytest.raises(BadConfiguration, match=words) as caught:
        plan(**changes)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("skipped", "words"),
    [
        ({"name": "acu", "reason": "r"}, "'acu' is no gate; there are auc, precisionAtK"),
        ({"name": "auc", "reason": " "}, "without a reason"),
    ],
)
def test_only_gates_are_skipped_and_only_for_a_reason(skipped: dict[str, str], words: str) -> None:
    with pytest.raises(BadConfiguration, match=words):
        make_plan(run_document(spec("s3://bars/x.csv", "s3://models/fx"), skipGates=[skipped]))


def test_what_follows_from_the_spec() -> None:
    found = plan(costs={"feeBps": 1.0, "slippage": {"bps": 2.0, "multiplier": 1.5}})
    assert found.round_trip == pytest.approx(8e-4)
    assert (found.decision.kind, found.decision.threshold, found.warmup_bars) == ("filter", 0.4, 100)
    assert plan(overrides=DIRECTION).decision.kind == "sign"
    assert plan(overrides=DIRECTION | {"features": ["ret_1"]}).warmup_bars == 20  # of the base rule momentum:20
    assert plan(overrides=DIRECTION | {"features": ["z_50"], "decision": {"baseRule": "long"}}).warmup_bars == 49
    assert plan(overrides=RISK | {"target": RISK["target"] | {"volatilityBars": 300}}).warmup_bars == 300


def test_only_what_makes_the_model_is_in_its_digest() -> None:
    same = plan().config_digest
    assert (
        plan(gates={"sharpe": {"min": 0.1}}, costs={"feeBps": 9}, overrides=RISK | {"decision": {"threshold": 0.9}}).config_digest == same
    )
    assert plan(overrides=RISK | {"model": {"trees": 99}}).config_digest != same


def test_a_smoke_run_is_smaller() -> None:
    fields = spec("s3://bars/x.csv", "s3://models/fx")
    smoke = make_plan(run_document(fields, mode="Smoke"))
    assert (smoke.window_bars, smoke.trees, smoke.folds) == (1_000, 20, 3)
