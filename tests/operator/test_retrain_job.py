"""The manifests word for word: what a person who may create a ModelRetrain gets, and what not."""

from __future__ import annotations

import json

import msgspec
import pytest
import yaml
from retrains import INSTALLATION, NOW, retrain, spec

from walkforward_core.api.retrain import JobSpec, Resources, Schedule, Toleration
from walkforward_core.bundle import Baseline
from walkforward_core.runs import RunDocument, RunMode, SkippedGate, Trigger, TriggerKind
from walkforward_operator.retrain.job import config_map, inputs_digest, job, run_name
from walkforward_operator.retrain.run import Occasion, begin

OCCASION = Occasion(trigger=Trigger(id="schedule-2026-03-02T12:00:00Z", kind=TriggerKind.SCHEDULE), as_of="2026-03-02T12:00:00Z")

PLAIN = """
metadata:
  name: NAME
  namespace: prod
  labels:
    app.kubernetes.io/managed-by: walkforward
    walkforward.dev/retrain: fx
    walkforward.dev/run: NAME
  annotations:
    walkforward.dev/as-of: '2026-03-02T12:00:00Z'
    walkforward.dev/trigger: Schedule/schedule-2026-03-02T12:00:00Z
  ownerReferences:
  - {apiVersion: walkforward.dev/v1alpha1, kind: ModelRetrain, name: fx, uid: uid-of-fx, controller: true}
spec:
  completions: 1
  parallelism: 1
  backoffLimit: 2
  activeDeadlineSeconds: 3600
  podFailurePolicy:
    rules:
    - action: Ignore
      onPodConditions: [{type: DisruptionTarget, status: 'True'}]
    - action: FailJob
      onExitCodes: {containerName: trainer, operator: In, values: [1, 65, 70, 78, 137]}
  template:
    metadata:
      labels:
        app.kubernetes.io/managed-by: walkforward
        walkforward.dev/retrain: fx
        walkforward.dev/run: NAME
      annotations:
        walkforward.dev/as-of: '2026-03-02T12:00:00Z'
        walkforward.dev/trigger: Schedule/schedule-2026-03-02T12:00:00Z
    spec:
      restartPolicy: Never
      automountServiceAccountToken: false
      enableServiceLinks: false
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: trainer
        image: registry.local/trainer:1
        imagePullPolicy: IfNotPresent
        args: [run, --spec, /etc/walkforward/run.json]
        envFrom: [{secretRef: {name: walkforward-store}}]
        resources: {}
        securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
        terminationMessagePolicy: File
        volumeMounts:
        - {name: run, mountPath: /etc/walkforward, readOnly: true}
        - {name: tmp, mountPath: /tmp}
      volumes:
      - name: run
        configMap: {name: NAME, items: [{key: run.json, path: run.json}]}
      - {name: tmp, emptyDir: {}}
"""


def test_the_job_of_a_plain_retrain() -> None:
    run = begin(retrain(), spec(), OCCASION, None, NOW)
    assert json.loads(json.dumps(job(retrain(), run, spec(), INSTALLATION))) == yaml.safe_load(PLAIN.replace("NAME", run.id))
    assert run.id == "fx-" + run.id[-8:]


def test_every_setting_of_the_job_arrives_where_it_belongs() -> None:
    settings = JobSpec(
        image="registry.local/trainer:2",
        resources=Resources(requests={"cpu": "1"}, limits={"memory": "2Gi"}),
        active_deadline_seconds=60,
        backoff_limit=0,
        node_selector={"pool": "train"},
        tolerations=(Toleration(key="train", operator="Exists", effect="NoSchedule"), Toleration(key="x", value="y", toleration_seconds=5)),
        affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}},
        labels={"team": "fx", "walkforward.dev/run": "somebody-else"},
        annotations={"example.com/cost": "7"},
        queue_name="night",
    )
    wanted = spec(job=settings)
    run = begin(retrain(), wanted, OCCASION, None, NOW)
    made = job(retrain(), run, wanted, INSTALLATION)
    pod = made["spec"]["template"]
    assert (made["spec"]["activeDeadlineSeconds"], made["spec"]["backoffLimit"]) == (60, 0)
    assert made["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "night"
    assert "kueue.x-k8s.io/queue-name" not in pod["metadata"]["labels"]
    assert pod["metadata"]["labels"]["team"] == "fx"
    assert pod["metadata"]["labels"]["walkforward.dev/run"] == run.id, "nobody's label makes a Job another run's"
    assert pod["metadata"]["annotations"]["example.com/cost"] == "7"
    assert pod["spec"]["nodeSelector"] == {"pool": "train"}
    assert pod["spec"]["affinity"] == settings.affinity
    assert pod["spec"]["tolerations"] == [
        {"key": "train", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "x", "operator": "Equal", "value": "y", "tolerationSeconds": 5},
    ]
    container = pod["spec"]["containers"][0]
    assert container["image"] == "registry.local/trainer:2"
    assert container["resources"] == {"requests": {"cpu": "1"}, "limits": {"memory": "2Gi"}}
    assert run.memory_limit == "2Gi"


def test_run_json_is_complete_and_reads_back() -> None:
    skipped = (SkippedGate(name="auc", reason="new target"),)
    occasion = Occasion(
        trigger=Trigger(id="1", kind=TriggerKind.MANUAL, by="alice"),
        as_of="2026-03-01T00:00:00Z",
        mode=RunMode.SMOKE,
        force=True,
        skip_gates=skipped,
    )
    wanted = spec(schedules=(Schedule(cron="0 1 * * *"),), suspend=True)
    run = begin(retrain(), wanted, occasion, Baseline(uri="s3://models/fx/1/", digest="sha256:1"), NOW)
    made = config_map(retrain(), run, wanted)
    assert made["immutable"] is True
    assert made["metadata"]["name"] == run.id
    document = RunDocument.parse(made["data"]["run.json"].encode())
    assert (document.run, document.mode, document.force, document.skip_gates) == (run.id, RunMode.SMOKE, True, skipped)
    assert document.baseline == run.baseline
    assert document.trigger.by == "alice"
    assert document.spec == spec(), "what says when a run starts is no input of it"


def test_the_name_depends_on_what_the_run_does_and_on_nothing_else() -> None:
    def name(**changes: str) -> str:
        said = {"uid": "u", "inputs": "i", "as_of": "a", "trigger_id": "t", **changes}
        return run_name("fx", **said)

    names = {name(), name(uid="v"), name(inputs="j"), name(as_of="b"), name(trigger_id="s")}
    assert len(names) == 5
    assert name() == name()
    same = [spec(), spec(suspend=True), spec(history_limit=3), spec(baseline_from="a"), spec(schedules=(Schedule(cron="1 1 * * *"),))]
    assert len({inputs_digest(one) for one in same}) == 1
    left, right = ({"a": "1", "b": "2"}, {"b": "2", "a": "1"})
    assert inputs_digest(spec(job=JobSpec(node_selector=left))) == inputs_digest(spec(job=JobSpec(node_selector=right)))
    assert inputs_digest(spec()) != inputs_digest(spec(job=JobSpec(node_selector=left)))


def test_the_longest_allowed_name_still_makes_a_label() -> None:
    assert len(run_name("x" * 47, uid="u", inputs="i", as_of="a", trigger_id="t")) <= 63


@pytest.mark.parametrize("field", ["as_of", "occasion"])
def test_as_of_of_the_spec_wins_over_the_occasion(field: str) -> None:
    pinned = "2025-01-01T00:00:00Z"
    wanted = spec(data=msgspec.structs.replace(spec().data, as_of=pinned)) if field == "as_of" else spec()
    assert begin(retrain(), wanted, OCCASION, None, NOW).as_of == (pinned if field == "as_of" else OCCASION.as_of)
