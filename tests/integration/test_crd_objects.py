"""Objects on a real API server: defaults, round trips, status, `kubectl get`, `kubectl explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from examples import API, retrain, rollout

from walkforward_core.api.retrain import RetrainSpec
from walkforward_core.api.rollout import RolloutSpec
from walkforward_operator.conditions import Condition
from walkforward_operator.retrain.status import RetrainPhase, RetrainStatus
from walkforward_operator.rollout.status import Model, RolloutPhase, RolloutStatus, Summary

if TYPE_CHECKING:
    from kube import Kube

pytestmark = pytest.mark.integration

READY = Condition(type="Ready", status="True", reason="Published", last_transition_time="2026-11-21T14:00:00Z", observed_generation=1)
MODEL = Model(version="20260101T000000Z-1a2b3c4d", uri="s3://models/fx/1/", digest="sha256:" + "0" * 64, model="sha256:" + "1" * 64)


def filled(value: Any) -> Any:
    """JSON without what is None, as the operator writes it."""
    if isinstance(value, dict):
        return {name: filled(member) for name, member in value.items() if member is not None}
    return [filled(member) for member in value] if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize(("make", "kind"), [(retrain, RetrainSpec), (rollout, RolloutSpec)])
def test_defaults_of_the_api_server_are_those_of_the_model(kube: Kube, namespace: str, make: Any, kind: type[msgspec.Struct]) -> None:
    item = make(namespace)
    kube.create(item, fieldValidation="Strict").raise_for_status()
    stored = kube.get(item).json()
    assert msgspec.convert(stored["spec"], kind) == msgspec.convert(item["spec"], kind)
    assert stored["status"] == {"observedGeneration": -1}


def test_everything_that_was_said_survives(kube: Kube, namespace: str) -> None:
    spec = RolloutSpec.__struct_fields__
    item = rollout(
        namespace,
        mode="DryRun",
        paused=True,
        onNewCandidate="Supersede",
        outcomes={"source": "Price"},
        splitBy="symbol",
        strategy={
            "shadow": {"minRequests": 7},
            "phases": [{"weight": 1, "duration": "1h30m"}, {"weight": 100, "duration": "14d"}],
            "watch": {"duration": "36h"},
            "window": {"calendar": "24/7", "when": "Open"},
            "freezes": [{"from": "2026-12-24T00:00:00Z", "to": "2027-01-02T00:00:00Z", "reason": "holidays"}],
            "maxHold": "6h",
        },
        gates={"psi": {"max": 0.25}, "sharpe": {"nonInferiority": 0.1}, "latency": {"p95": "50ms"}, "errorRate": {}, "offlineAuc": {}},
        approval={"required": True, "expires": "2d"},
        historyLimit=3,
    )
    kube.create(item, fieldValidation="Strict").raise_for_status()
    stored = msgspec.convert(kube.get(item).json()["spec"], RolloutSpec)
    said = msgspec.convert(item["spec"], RolloutSpec)
    assert {name: getattr(stored, name) for name in spec} == {name: getattr(said, name) for name in spec}


def test_everything_that_was_said_of_a_retrain_survives(kube: Kube, namespace: str) -> None:
    """Also nested parts without a default of their own: pruning would make another model of them, without a word."""
    item = retrain(
        namespace,
        recipe="multi-timeframe",
        schedules=[{"cron": "0 13 * * *"}, {"cron": "0 3 * * *", "mode": "Calibrate", "timeZone": "America/New_York"}],
        overrides={
            "target": {"kind": "Adaptive", "horizonBars": 3, "classTarget": {"down": 0.4, "neutral": 0.2, "up": 0.4}},
            "features": ["rsi_14", "macro.vix"],
            "model": {"trees": 50, "learningRate": 0.1, "seed": 3},
            "decision": {"threshold": 0.6, "withoutModel": "Refuse"},
            "calibration": "Platt",
            "selection": {"correlation": 0.9},
            "tuning": {"trials": 20, "prune": False},
            "sizing": {"cap": 0.1},
        },
        overridesFrom={"configMap": "shared", "key": "fx.yaml"},
        data={
            "symbols": ["EURUSD", "GBPUSD"],
            "columns": {"time": "open_time"},
            "joins": [{"name": "macro", "uri": "s3://models/macro.csv", "columns": ["vix"], "maxAge": "40d"}],
            "trades": {"uri": "s3://models/trades/", "format": "csv", "columns": {"opened_at": "ts"}},
            "quality": {"maxNan": 0.01, "minRows": 100},
        },
        eligibility={"minClosedTrades": 75, "regime": {"lowQuantile": 0.1}},
        validation={"scheme": "Holdout", "trainShare": 0.6, "calibrationShare": 0.2},
        costs={"slippage": {"bps": 1.5, "byTrades": {"initial": 3, "trades": 100}, "calibrated": True}},
        gates={"f1": {"min": 0.5}, "overfitting": {"max": 0.2}, "distribution": {"minUpPct": 0.2}, "leakage": {}, "delta": {"max": 0.1}},
        artifacts={"retention": {"keepLast": 3, "maxAge": "30d"}},
        tracking={"experiment": "fx", "registeredModel": "fx-risk"},
    )
    kube.create(item, fieldValidation="Strict").raise_for_status()
    assert msgspec.convert(kube.get(item).json()["spec"], RetrainSpec) == msgspec.convert(item["spec"], RetrainSpec)


def test_the_generation_moves_with_the_spec_only(kube: Kube, namespace: str) -> None:
    item = rollout(namespace)
    kube.create(item).raise_for_status()
    assert kube.patch(item, {"status": {"phase": "Stable"}}).json()["status"] == {"observedGeneration": -1}
    answer = kube.patch(item, {"status": {"phase": "Stable", "observedGeneration": 1}}, subresource="status")
    assert answer.json()["metadata"]["generation"] == 1
    assert kube.patch(item, {"spec": {"paused": True}}).json()["metadata"]["generation"] == 2


def test_every_status_that_the_models_can_say_is_accepted(kube: Kube, namespace: str) -> None:
    for item, status in (
        (retrain(namespace), RetrainStatus(observed_generation=1, phase=RetrainPhase.PUBLISHED, conditions=(READY,))),
        (
            rollout(namespace),
            RolloutStatus(observed_generation=1, phase=RolloutPhase.WATCHING, stable=MODEL, candidate=MODEL, conditions=(READY,)),
        ),
    ):
        kube.create(item).raise_for_status()
        said = filled(msgspec.to_builtins(status))
        applied = kube.apply({"apiVersion": API, "kind": item["kind"], "metadata": item["metadata"], "status": said}, subresource="status")
        assert applied.status_code == 200, applied.text
        stored = applied.json()["status"]
        assert msgspec.convert(stored, type(status)) == status
        assert stored == said


def test_an_operator_newer_than_the_crds_keeps_its_memory(kube: Kube, namespace: str) -> None:
    """Server-side apply refuses a field that the schema does not know: the status knows them all."""
    item = rollout(namespace)
    kube.create(item).raise_for_status()
    said = {"phase": "Stable", "invented": {"deep": [1]}, "routing": {"later": 7}}
    applied = kube.apply({"apiVersion": API, "kind": item["kind"], "metadata": item["metadata"], "status": said}, subresource="status")
    assert applied.status_code == 200, applied.text
    assert said.items() <= applied.json()["status"].items()


def test_two_writers_keep_their_own_conditions(kube: Kube, namespace: str) -> None:
    item = rollout(namespace)
    kube.create(item).raise_for_status()
    head = {"apiVersion": API, "kind": item["kind"], "metadata": item["metadata"]}
    for manager, condition in (("one", READY), ("two", msgspec.structs.replace(READY, type="Approved"))):
        said = {"conditions": [msgspec.to_builtins(condition)]}
        kube.apply({**head, "status": said}, subresource="status", manager=manager).raise_for_status()
    assert {condition["type"] for condition in kube.get(item).json()["status"]["conditions"]} == {"Ready", "Approved"}


def test_kubectl_get_tells_the_state_in_one_line(kube: Kube, namespace: str) -> None:
    kube.create(retrain(namespace)).raise_for_status()
    item = rollout(namespace)
    kube.create(item).raise_for_status()
    status = RolloutStatus(
        observed_generation=1,
        phase=RolloutPhase.PROGRESSING,
        reason="Soaking",
        step="1/3",
        weight=5,
        gate="sharpe NoData",
        stable=MODEL,
        candidate=msgspec.structs.replace(MODEL, version="20260201T000000Z-5e6f7a8b"),
        summary=Summary(psi="0.11", p95="2.1%", sharpe="+0.02", held="3m", deadline="2026-11-22T00:00:00Z"),
    )
    said = {"status": filled(msgspec.to_builtins(status))}
    kube.patch(item, said, subresource="status").raise_for_status()

    rollouts = kube.kubectl("get", "mrollout", "-n", namespace).stdout.splitlines()
    assert rollouts[0].split() == ["NAME", "PHASE", "STEP", "WEIGHT", "STABLE", "CANDIDATE", "GATE", "REASON", "AGE"]
    assert "Progressing   1/3    5        20260101T000000Z-1a2b3c4d   20260201T000000Z-5e6f7a8b   sharpe NoData   Soaking" in rollouts[1]
    wide = kube.kubectl("get", "modelrollouts", "-n", namespace, "-o", "wide").stdout.splitlines()
    assert wide[0].split()[-5:] == ["PSI", "P95", "SHARPE", "HELD", "DEADLINE"]
    assert wide[1].split()[-5:] == ["0.11", "2.1%", "+0.02", "3m", "2026-11-22T00:00:00Z"]
    retrains = kube.kubectl("get", "mretrain", "-n", namespace).stdout.splitlines()
    assert retrains[0].split() == ["NAME", "PHASE", "VERDICT", "MODEL", "LAST-RUN", "NEXT-RUN", "AGE"]
    both = kube.kubectl("get", "walkforward", "-n", namespace, "-o", "name").stdout.split()
    assert both == ["modelretrain.walkforward.dev/fx", "modelrollout.walkforward.dev/fx"]


def test_rollouts_of_a_target_can_be_selected(kube: Kube, namespace: str) -> None:
    kube.create(rollout(namespace, "one")).raise_for_status()
    kube.create(rollout(namespace, "two", target={"deployment": "other"})).raise_for_status()
    found = kube.kubectl("get", "mrollout", "-n", namespace, "--field-selector=spec.target.deployment=other", "-o", "name").stdout.split()
    assert found == ["modelrollout.walkforward.dev/two"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("modelretrain", "What to train, from which data"),
        ("modelretrain.spec.data.quality.maxGap", "Longest time between two rows"),
        ("modelretrain.spec.job.affinity.nodeAffinity", "As in a pod."),
        ("modelretrain.status.latestBundle", "a ModelRollout follows it"),
        ("modelrollout.spec.strategy.phases.weight", "Percent of the request keys that the candidate answers."),
        ("modelrollout.spec.gates.sharpe.nonInferiority", "loss of Sharpe ratio per outcome that is tolerated"),
        ("modelrollout.status.gates.remedy", "What to do about it."),
    ],
)
def test_kubectl_explain_is_documentation(kube: Kube, path: str, said: str) -> None:
    answer = kube.kubectl("explain", path)
    assert said in " ".join(answer.stdout.split()), answer.stderr
