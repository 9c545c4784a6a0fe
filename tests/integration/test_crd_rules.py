"""Every rule of both CRDs on a real API server: what it refuses, with which words, and what it lets through."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from examples import retrain, rollout
from kube import Kube, message

from walkforward_core.api.cel import Cel
from walkforward_core.api.recipe import BUILT_IN
from walkforward_operator.schema.crd import crd
from walkforward_operator.schema.kinds import KINDS, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

MANIFESTS = Path(__file__).parents[2] / "dev" / "demo" / "manifests"
Case = tuple[dict[str, Any], str]
BUNDLE = {"uri": "s3://models/fx/1/", "digest": "sha256:" + "0" * 64}
GATES = {"psi": {}, "sharpe": {}, "latency": {}, "errorRate": {}}
MACRO = {"name": "macro", "uri": "s3://models/macro.csv", "columns": ["vix"]}
WEEK = [{"weight": 5, "duration": "7d"}, {"weight": 100, "duration": "1h30m"}]


def phases(*weights: int, duration: str = "30m") -> dict[str, Any]:
    return {"strategy": {"shadow": {}, "phases": [{"weight": weight, "duration": duration} for weight in weights]}}


RETRAIN_REFUSED: dict[str, Case] = {
    "a calendar": ({"schedules": [{"cron": "0 13 * * *", "calendar": "XNYS"}]}, "exchange calendars are not in this release; write 24/7"),
    "a market that never closes": ({"schedules": [{"cron": "0 13 * * *", "when": "Closed"}]}, "a 24/7 market never closes; write Any"),
    "three cron fields": ({"schedules": [{"cron": "0 13 *"}]}, "spec.schedules[0].cron"),
    "a drift trigger": ({"triggers": {"drift": {"rolloutRef": "fx"}}}, "triggers.drift is not in this release: use schedules"),
    "an age of nothing": ({"triggers": {"maxModelAge": "0h"}}, "a duration must be longer than zero: 90s, 30m, 1h30m or 14d"),
    "a duration in weeks": ({"triggers": {"maxModelAge": "2w"}}, "spec.triggers.maxModelAge"),
    "a recipe of one's own without gates": ({"recipe": "desk-magic"}, "brings no gates that the operator knows; write them"),
    "no name for a recipe": ({"recipe": "Ohlcv"}, "spec.recipe"),
    "an unknown target": ({"overrides": {"target": {"kind": "Magic"}}}, 'Unsupported value: "Magic"'),
    "class shares that add up to less": (
        {"overrides": {"target": {"classTarget": {"down": 0.4, "neutral": 0.2, "up": 0.3}}}},
        "classTarget: the three shares must add up to 1",
    ),
    "a feature's name with a blank": ({"overrides": {"features": ["rsi 14"]}}, "spec.overrides.features[0]"),
    "half of Kelly at most": ({"overrides": {"sizing": {"fraction": 0.6}}}, "spec.overrides.sizing.fraction"),
    "no trial": ({"overrides": {"tuning": {"trials": 0}}}, "spec.overrides.tuning.trials"),
    "no feature left": ({"overrides": {"selection": {"best": 0}}}, "spec.overrides.selection.best"),
    "a map that is none": ({"overridesFrom": {"configMap": "My Overrides"}}, "spec.overridesFrom.configMap"),
    "a key with a way up": ({"overridesFrom": {"configMap": "shared", "key": "a/b"}}, "spec.overridesFrom.key"),
    "calibration without trades": (
        {"schedules": [{"cron": "0 3 * * *", "mode": "Calibrate"}]},
        "data.trades: a schedule of mode Calibrate measures executions; say where the log of trades is",
    ),
    "an unknown mode of a schedule": ({"schedules": [{"cron": "0 3 * * *", "mode": "DryRun"}]}, 'Unsupported value: "DryRun"'),
    "a file on a disk": ({"data": {"uri": "file:///data/bars.csv"}}, "upload it to the object store and write s3://bucket/prefix"),
    "a bundle on a disk": ({"artifacts": {"uri": "file:///models"}}, "upload it to the object store and write s3://bucket/prefix"),
    "a way up": ({"artifacts": {"uri": "s3://models/../secrets"}}, "an address has no '..'"),
    "another scheme": ({"data": {"uri": "https://host/bars.csv"}}, "spec.data.uri"),
    "two windows": ({"data": {"window": "90d"}}, "set exactly one of window (90d) and windowBars (2000)"),
    "no window": ({"data": {"windowBars": None}}, "set exactly one of window (90d) and windowBars (2000)"),
    "a window of nothing": ({"data": {"windowBars": None, "window": "0d"}}, "a duration must be longer than zero"),
    "a symbol twice": ({"data": {"symbols": ["EURUSD", "GBPUSD", "EURUSD"]}}, "data.symbols: a symbol stands there twice"),
    "too many symbols": ({"data": {"symbols": [f"S{number}" for number in range(101)]}}, "spec.data.symbols"),
    "a query of files": ({"data": {"query": "SELECT 1"}}, "query: write the SQL for format sqlite or postgres, and none for files"),
    "a database without a query": ({"data": {"format": "sqlite"}}, "query: write the SQL for format sqlite or postgres"),
    "a database's address in the open": (
        {"data": {"format": "postgres", "query": "SELECT 1"}},
        "uri: format postgres has its address in the Secret, secret://BARS_DSN",
    ),
    "a Secret for a file": ({"data": {"uri": "secret://BARS_DSN"}}, "uri: format postgres has its address in the Secret"),
    "any variable of the environment": (
        {"data": {"uri": "secret://AWS_SECRET_ACCESS_KEY", "format": "postgres", "query": "SELECT 1"}},
        "spec.data.uri",
    ),
    "a join on a disk": ({"data": {"joins": [{**MACRO, "uri": "file:///macro.csv"}]}}, "upload it to the object store"),
    "a join without columns": ({"data": {"joins": [{**MACRO, "columns": []}]}}, "spec.data.joins[0].columns"),
    "a join's query of files": (
        {"data": {"joins": [{**MACRO, "query": "SELECT 1"}]}},
        "query: write the SQL for format sqlite or postgres",
    ),
    "two joins of a name": ({"data": {"joins": [MACRO, MACRO]}}, "data.joins: two tables have the same name"),
    "trades without their query": ({"data": {"trades": {"uri": "s3://models/t", "format": "sqlite"}}}, "query: write the SQL for format"),
    "no symbol": ({"data": {"symbols": []}}, "spec.data.symbols"),
    "bars of nothing": ({"data": {"timeframe": "0h"}}, "spec.data.timeframe"),
    "the 13th month": ({"data": {"asOf": "2026-13-01T00:00:00Z"}}, "date-time"),
    "another zone": ({"data": {"asOf": "2026-12-01T00:00:00+02:00"}}, "spec.data.asOf"),
    "no trades": ({"eligibility": {"minClosedTrades": 0}}, "spec.eligibility.minClosedTrades"),
    "regimes that overlap": ({"eligibility": {"regime": {"lowQuantile": 0.6}}}, "spec.eligibility.regime.lowQuantile"),
    "one fold": ({"validation": {"folds": 1}}, "spec.validation.folds"),
    "a coin": ({"gates": {"auc": {"min": 0.5}}}, "spec.gates.auc.min"),
    "no gate at all": ({"gates": {}}, "nothing is published unproven"),
    "nothing left to test on": (
        {"validation": {"scheme": "Holdout", "trainShare": 0.8, "calibrationShare": 0.2}},
        "trainShare and calibrationShare leave less than 5% of the rows to test on",
    ),
    "nothing left beside the recipe's share": ({"validation": {"calibrationShare": 0.3}}, "leave less than 5% of the rows to test on"),
    "experience that makes careless": (
        {"costs": {"slippage": {"byTrades": {"initial": 1.5, "min": 2}}}},
        "min must not be above initial; experience lowers caution",
    ),
    "nothing kept": ({"artifacts": {"retention": {"keepLast": 0}}}, "spec.artifacts.retention.keepLast"),
    "an experiment without a name": ({"tracking": {"experiment": ""}}, "spec.tracking.experiment"),
    "degradation alone": ({"gates": {"maxDegradation": "10%"}}, "the others say nothing of what a model knows"),
    "leakage alone": ({"gates": {"leakage": {}, "distribution": {}}}, "the others say nothing of what a model knows"),
    "a leak detector that leaks": ({"gates": {"auc": {}, "leakage": {"maxShuffledAuc": 0.5}}}, "spec.gates.leakage.maxShuffledAuc"),
    "a loss of everything": ({"gates": {"auc": {}, "maxDegradation": "100%"}}, "a loss of 100% can never be exceeded"),
    "a share without its sign": ({"gates": {"auc": {}, "maxDegradation": "0.1"}}, "spec.gates.maxDegradation"),
    "a negative Sharpe": ({"gates": {"sharpe": {"min": -1}}}, "spec.gates.sharpe.min"),
    "another Secret's name": ({"artifacts": {"secretName": "Other"}}, "spec.artifacts.secretName"),
    "a gpu": ({"job": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}}, "job.resources.limits: only cpu and memory may be set"),
    "a disk": (
        {"job": {"resources": {"requests": {"ephemeral-storage": "1Gi"}}}},
        "job.resources.requests: only cpu and memory may be set",
    ),
    "a number of bytes in words": ({"job": {"resources": {"limits": {"memory": "much"}}}}, "spec.job.resources.limits.memory"),
    "pods as neighbours": ({"job": {"affinity": {"podAffinity": {"any": 1}}}}, "podAffinity may not be set, only nodeAffinity"),
    "pods as enemies": ({"job": {"affinity": {"podAntiAffinity": {}}}}, "podAntiAffinity may not be set, only nodeAffinity"),
    "our label": ({"job": {"labels": {"walkforward.dev/retrain": "other"}}}, "job.labels: a key is [prefix/]name"),
    "a part of ours": ({"job": {"labels": {"x.walkforward.dev/a": "b"}}}, "job.labels: a key is [prefix/]name"),
    "Kubernetes' label": ({"job": {"labels": {"app.kubernetes.io/managed-by": "me"}}}, "job.labels: a key is [prefix/]name"),
    "a security annotation": (
        {"job": {"annotations": {"container.apparmor.security.beta.kubernetes.io/trainer": "unconfined"}}},
        "job.annotations: a key is [prefix/]name",
    ),
    "Kueue by hand": ({"job": {"labels": {"kueue.x-k8s.io/queue-name": "q"}}}, "job.labels: a key is [prefix/]name"),
    "no key": ({"job": {"labels": {"a b": "c"}}}, "job.labels: a key is [prefix/]name"),
    "an image with a blank": ({"job": {"image": "a b"}}, "spec.job.image"),
    "a run of a second": ({"job": {"activeDeadlineSeconds": 1}}, "spec.job.activeDeadlineSeconds"),
}
ROLLOUT_REFUSED: dict[str, Case] = {
    "two sources": ({"source": {"bundle": BUNDLE}}, "source: set exactly one of retrainRef and bundle"),
    "no source": ({"source": {"retrainRef": None}}, "source: set exactly one of retrainRef and bundle"),
    "a bundle on a disk": ({"source": {"retrainRef": None, "bundle": {**BUNDLE, "uri": "file:///m/1/"}}}, "upload it to the object store"),
    "a short digest": ({"source": {"retrainRef": None, "bundle": {**BUNDLE, "digest": "sha256:0"}}}, "spec.source.bundle.digest"),
    "Gateway API": ({"router": {"type": "GatewayAPI"}}, "router.type: GatewayAPI is not in this release; write Embedded"),
    "weights that fall": (phases(25, 5, 100), "weights must rise from one phase to the next, 5, 25, 100 for example"),
    "weights that stay": (phases(5, 5, 100), "weights must rise from one phase to the next, 5, 25, 100 for example"),
    "a walk that never arrives": (phases(5, 25), "strategy.phases: the last weight must be 100"),
    "no phase": ({"strategy": {"shadow": {}, "phases": []}}, "spec.strategy.phases"),
    "a weight of nothing": (phases(0, 100), "spec.strategy.phases[0].weight"),
    "a phase of nothing": (phases(5, 100, duration="0s"), "a duration must be longer than zero"),
    "a phase shorter than the latency gate needs": (
        phases(5, 100, duration="9m59s"),
        "at least gates.latency.minDuration, 10m where it is not",
    ),
    "one shorter than what is set": (
        {**phases(5, 100, duration="59s999ms"), "gates": {"latency": {"minDuration": "1m"}}},
        "or the latency gate could not pass in it",
    ),
    "a watch of nothing": ({"strategy": {"shadow": {}, "watch": {"duration": "0d0h"}}}, "a duration must be longer than zero"),
    "a calendar": (
        {"strategy": {"shadow": {}, "window": {"calendar": "XNYS"}}},
        "window.calendar: exchange calendars are not in this release",
    ),
    "a market that never closes": ({"strategy": {"shadow": {}, "window": {"when": "Closed"}}}, "window.when: a 24/7 market never closes"),
    "a freeze that ends before it begins": (
        {"strategy": {"shadow": {}, "freezes": [{"from": "2026-12-31T00:00:00Z", "to": "2026-12-30T00:00:00Z"}]}},
        "a freeze must end after it begins; exchange from and to",
    ),
    "a hold of nothing": ({"strategy": {"shadow": {}, "maxHold": "0s"}}, "strategy.maxHold: write auto, or a duration longer than zero"),
    "a hold in words": ({"strategy": {"shadow": {}, "maxHold": "long"}}, "spec.strategy.maxHold"),
    "no shadow": ({"strategy": {}}, "strategy.shadow is needed: gates.sharpe.evidence ShadowFirst, the default"),
    "no shadow for the gates' default": ({"strategy": {"watch": {"duration": "1h"}}, "gates": GATES}, "strategy.shadow is needed"),
    "a dry run without a shadow": ({"mode": "DryRun", "strategy": {}, "gates": {"psi": {}}}, "a DryRun exposes nothing"),
    "before and after": ({"gates": {"sharpe": {"mode": "BeforeAfter"}}}, "BeforeAfter is not in this release; write Paired"),
    "a risk budget": (
        {"gates": {"sharpe": {"evidence": "RiskBudget"}}},
        "RiskBudget is not in this release; write ShadowFirst or InPhases",
    ),
    "a margin of nothing": ({"gates": {"sharpe": {"nonInferiority": 0}}}, "spec.gates.sharpe.nonInferiority"),
    "a drift that cannot be": ({"gates": {"psi": {"max": 3.1}}}, "spec.gates.psi.max"),
    "an answer time that is not counted": ({"gates": {"latency": {"p95": "11s"}}}, "answer times are counted up to 10s"),
    "a slice that is too short": ({"gates": {"latency": {"minDuration": "5s"}}}, "a sixtieth of it is one slice"),
    "errors as expected as forbidden": ({"gates": {"errorRate": {"expected": "1.0%"}}}, "expected must be below max"),
    "errors never expected": ({"gates": {"errorRate": {"expected": "0.0%"}}}, "at 0% the first error would decide"),
    "errors always allowed": ({"gates": {"errorRate": {"max": "100%"}}}, "a rate of 100% can never be exceeded"),
    "a coin": ({"gates": {"offlineAuc": {"min": 0.5}, "psi": {}}}, "spec.gates.offlineAuc.min"),
    "gates that never look": ({"gates": {"offlineAuc": {}}}, "a plan whose gates never act on live traffic can never fail"),
    "gates that never act": ({"gates": {"psi": {"dryRun": True}}}, "a plan whose gates never act on live traffic can never fail"),
    "no gates": ({"gates": {}}, "or leave gates out to have all four"),
    "an expectancy": ({"gates": {**GATES, "expectancy": {"min": 0}}}, "gates.expectancy is not in this release: leave it out"),
    "a delta": ({"gates": {**GATES, "delta": {}}}, "gates.delta is not in this release"),
    "a behaviour": ({"gates": {**GATES, "behaviour": {}}}, "gates.behaviour is not in this release"),
    "silent alerts": ({"gates": {**GATES, "alertsSilent": {}}}, "gates.alertsSilent is not in this release"),
    "complete evidence": ({"gates": {**GATES, "evidenceComplete": {}}}, "gates.evidenceComplete is not in this release"),
    "PromQL": ({"gates": {**GATES, "custom": [{"query": "up"}]}}, "gates.custom is not in this release"),
    "an approval that never comes": ({"approval": {"required": True, "expires": "0h"}}, "a duration must be longer than zero"),
}
RETRAIN_ACCEPTED: dict[str, dict[str, Any]] = {
    "the least": {},
    "several schedules": {"schedules": [{"cron": "0 13 * * *"}, {"cron": "*/15 0-6 * * MON-FRI", "timeZone": "America/New_York"}]},
    "an age": {"triggers": {"maxModelAge": "1d12h"}},
    "a window in days": {"data": {"windowBars": None, "window": "90d"}},
    "no embargo": {"validation": {"embargo": "0s"}},
    "a direction": {"overrides": {"target": {"kind": "Direction"}, "decision": {"kind": "sign"}}},
    **{recipe.value: {"recipe": recipe.value} for recipe in BUILT_IN},
    "a recipe of one's own": {"recipe": "desk-magic", "gates": {"auc": {}}},
    "every gate": {
        "gates": {
            **{name: {} for name in ("auc", "precisionAtK", "distribution", "leakage", "delta")},
            **{name: {"min": 0.5} for name in ("accuracy", "f1", "sharpe", "deflatedSharpe", "expectancy", "profitFactor", "winRate")},
            "overfitting": {"max": 0.2},
            "maxDegradation": "10%",
        }
    },
    "everything of a recipe": {
        "recipe": "multi-timeframe",
        "overrides": {
            "target": {"kind": "Adaptive", "volatilityScale": "Horizon", "classTarget": {"down": 0.4, "neutral": 0.2, "up": 0.4}},
            "features": ["rsi_14", "macro.vix"],
            "model": {"trees": 50, "l2": 1.0},
            "decision": {"kind": "sign", "withoutModel": "Refuse"},
            "calibration": "Platt",
            "selection": {"correlation": 0.9, "best": 20, "eliminate": 5},
            "tuning": {"trials": 20, "timeoutSeconds": 60},
            "sizing": {},
        },
        "overridesFrom": {"configMap": "shared"},
        "validation": {"scheme": "Holdout", "trainShare": 0.7, "calibrationShare": 0.15, "embargoRows": 0.01},
        "costs": {"slippage": {"bps": 1, "byTrades": {}, "calibrated": True}},
        "eligibility": {"minClosedTrades": 75, "regime": {}},
        "artifacts": {"retention": {}},
        "tracking": {"experiment": "fx", "registeredModel": "fx risk"},
    },
    "a database": {"data": {"uri": "secret://BARS_DSN", "format": "postgres", "query": "SELECT * FROM bars"}},
    "a pattern": {"data": {"uri": "s3://models/bars/date=2026-*/*.parquet", "kind": "Ticks", "columns": {"time": "ts"}}},
    "joins, trades and many symbols": {
        "data": {
            "symbols": [f"S{number}" for number in range(100)],
            "joins": [{**MACRO, "name": f"table_{number}", "maxAge": "40d"} for number in range(10)],
            "trades": {"uri": "s3://models/trades/", "columns": {"opened_at": "open_ts"}},
        },
        "schedules": [{"cron": "0 13 * * *"}, {"cron": "0 3 * * *", "mode": "Calibrate"}],
    },
    "calibration of the trades themselves": {"recipe": "risk-filter", "schedules": [{"cron": "0 3 * * *", "mode": "Calibrate"}]},
    "a job of one's own": {
        "job": {
            "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
            "labels": {"team.example.com/desk": "fx", "owner": "desk"},
            "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
            "nodeSelector": {"kubernetes.io/arch": "amd64"},
            "tolerations": [{"key": "spot", "operator": "Exists", "effect": "NoSchedule"}],
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [{"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}]
                    }
                }
            },
            "queueName": "fx",
        }
    },
}
ROLLOUT_ACCEPTED: dict[str, dict[str, Any]] = {
    "the least": {},
    "a pinned bundle": {"source": {"retrainRef": None, "bundle": BUNDLE}},
    "long phases": {"strategy": {"shadow": {"minRequests": 1}, "phases": WEEK}},
    "phases just long enough": phases(5, 100, duration="10m"),
    "the same in other units": phases(5, 100, duration="599s1000ms"),
    "short phases for a short gate": {**phases(100, duration="20s"), "gates": {"latency": {"minDuration": "15s"}}},
    "short phases without the gate": {**phases(5, 100, duration="1s"), "gates": {"psi": {}}},
    "no shadow, evidence in the phases": {"strategy": {}, "gates": {"sharpe": {"evidence": "InPhases"}}},
    "no shadow, no proof": {"strategy": {}, "gates": {"sharpe": {"mode": "HarmOnly"}}},
    "no shadow, no profit": {"strategy": {}, "gates": {"psi": {}, "latency": {}}},
    "a dry run": {"mode": "DryRun"},
    "one gate on trial": {"gates": {"psi": {}, "errorRate": {"dryRun": True, "max": "2.5%", "expected": "0.01%"}}},
    "a hold of its own": {"strategy": {"shadow": {}, "maxHold": "6h"}},
    "a freeze": {
        "strategy": {"shadow": {}, "freezes": [{"from": "2026-12-24T00:00:00Z", "to": "2027-01-02T00:00:00Z", "reason": "holidays"}]}
    },
    "an approval": {"approval": {"required": True, "expires": "14d"}},
}


@pytest.fixture(scope="module")
def here(kube: Kube) -> Iterator[str]:
    item = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "rules"}}
    kube.create(item).raise_for_status()
    yield "rules"
    kube.delete(item)


@pytest.mark.parametrize("case", RETRAIN_REFUSED.values(), ids=RETRAIN_REFUSED)
def test_retrain_is_refused(kube: Kube, here: str, case: Case) -> None:
    answer = kube.create(retrain(here, **case[0]), fieldValidation="Strict", dryRun="All")
    assert answer.status_code == 422, answer.text
    assert case[1] in message(answer)


@pytest.mark.parametrize("case", ROLLOUT_REFUSED.values(), ids=ROLLOUT_REFUSED)
def test_rollout_is_refused(kube: Kube, here: str, case: Case) -> None:
    answer = kube.create(rollout(here, **case[0]), fieldValidation="Strict", dryRun="All")
    assert answer.status_code == 422, answer.text
    assert case[1] in message(answer)


@pytest.mark.parametrize("spec", RETRAIN_ACCEPTED.values(), ids=RETRAIN_ACCEPTED)
def test_retrain_is_accepted(kube: Kube, here: str, spec: dict[str, Any]) -> None:
    answer = kube.create(retrain(here, **spec), fieldValidation="Strict", dryRun="All")
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize("spec", ROLLOUT_ACCEPTED.values(), ids=ROLLOUT_ACCEPTED)
def test_rollout_is_accepted(kube: Kube, here: str, spec: dict[str, Any]) -> None:
    answer = kube.create(rollout(here, **spec), fieldValidation="Strict", dryRun="All")
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_the_example_of_the_reference_is_accepted(kube: Kube, here: str, kind: Kind) -> None:
    item = yaml.safe_load(kind.example)
    item["metadata"]["namespace"] = here
    answer = kube.create(item, fieldValidation="Strict", dryRun="All")
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize("file", sorted(MANIFESTS.glob("r*-*.yaml")), ids=lambda file: file.stem)
def test_what_the_demo_applies_is_accepted(kube: Kube, here: str, file: Path) -> None:
    item = yaml.safe_load(file.read_text())
    item["metadata"]["namespace"] = here
    answer = kube.create(item, fieldValidation="Strict", dryRun="All")
    assert answer.status_code == 201, answer.text


def test_names_become_names_of_other_objects(kube: Kube, here: str) -> None:
    for item, accepted in (
        (retrain(here, "a" * 47), True),
        (retrain(here, "a" * 48), False),
        (retrain(here, "a.b"), False),
        (rollout(here, "a" * 63), True),
        (rollout(here, "a" * 64), False),
        (rollout(here, "a.b"), False),
    ):
        answer = kube.create(item, dryRun="All")
        assert (answer.status_code == 201) is accepted, answer.text
        assert accepted or "lower case letters, digits and hyphens, no dots" in message(answer)


def test_the_target_stays(kube: Kube, here: str) -> None:
    item = rollout(here, "stays")
    kube.create(item).raise_for_status()
    answer = kube.patch(item, {"spec": {"target": {"deployment": "other"}}})
    assert answer.status_code == 422
    assert "delete this ModelRollout, stable goes on serving" in message(answer)
    assert kube.patch(item, {"spec": {"paused": True}}).status_code == 200


def test_the_pages_own_lines_pin_an_older_version_and_follow_the_retrain_again(kube: Kube, here: str) -> None:
    kube.create(rollout(here, "fx", source={"retrainRef": {"name": "fx"}})).raise_for_status()
    page = (MANIFESTS.parents[2] / "docs" / "reference" / "tracking.md").read_text(encoding="utf-8")
    lines = re.findall(r"`(kubectl patch modelrollout fx .+?)`", page)
    assert len(lines) == 2
    for line, source in zip(lines, ({"bundle": BUNDLE}, {"retrainRef": {"name": "fx"}}), strict=True):
        change = line.replace('"uri":"…"', f'"uri":"{BUNDLE["uri"]}"').replace("sha256:…", BUNDLE["digest"])
        done = kube.kubectl("--namespace", here, *shlex.split(change)[1:])
        assert done.returncode == 0, done.stderr
        assert kube.get(rollout(here, "fx")).json()["spec"]["source"] == source


def test_a_field_that_nobody_knows_is_refused_or_pruned(kube: Kube, here: str) -> None:
    item = rollout(here, "unknown", onMistake="Hope")
    answer = kube.create(item, fieldValidation="Strict")
    assert answer.status_code == 400
    assert 'unknown field "spec.onMistake"' in message(answer)
    made = kube.create(item, fieldValidation="Warn")
    assert "onMistake" not in made.json()["spec"]
    assert "unknown field" in made.headers["warning"]


def test_every_rule_has_a_case() -> None:
    """A rule that nothing here breaks could be wrong for ever."""
    said = [text for _, text in [*RETRAIN_REFUSED.values(), *ROLLOUT_REFUSED.values()]]
    said += ["no dots", "delete this ModelRollout, stable goes on serving"]
    untested = {rule for kind in KINDS for rule in _messages(crd(kind)) if not any(text in rule for text in said)}
    assert untested == set()
    assert isinstance(KINDS[0].rules[0], Cel)


def _messages(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (rule["message"] for rule in node.get("x-kubernetes-validations", ()) if "message" in rule)
        for value in node.values():
            yield from _messages(value)
    elif isinstance(node, list):
        for value in node:
            yield from _messages(value)
