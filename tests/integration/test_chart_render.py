"""Both charts as Helm renders them, with the values of every environment: sane, restricted, and held to their schema."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from walkforward_cluster import tool
from walkforward_core import names
from walkforward_operator.settings import Settings

pytestmark = pytest.mark.integration

CHARTS = Path(__file__).parents[2] / "charts"
ENVIRONMENTS = ("", "dev", "staging", "prod", "demo")
COMMANDS = ["--kube-version", "1.34.4", "-n", "system"]


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(tool("helm")), *arguments], capture_output=True, text=True, check=False, timeout=110)


@cache
def render(chart: str, values: str = "", *settings: str) -> tuple[dict[str, Any], ...]:
    files = ["-f", str(CHARTS / chart / f"values-{values}.yaml")] if values else []
    sets = [part for setting in settings for part in ("--set", setting)]
    answer = helm("template", "wf", str(CHARTS / chart), *COMMANDS, *files, *sets)
    assert answer.returncode == 0, answer.stderr
    return tuple(item for item in yaml.safe_load_all(answer.stdout) if item)


def operator(values: str = "", *settings: str) -> tuple[dict[str, Any], ...]:
    return render("walkforward", values, "watchNamespaces={fx,crypto}", *settings)


def find(items: tuple[dict[str, Any], ...], kind: str, name: str = "") -> dict[str, Any]:
    [found] = [item for item in items if item["kind"] == kind and name in ("", item["metadata"]["name"])]
    return found


def pods(items: tuple[dict[str, Any], ...]) -> list[dict[str, Any]]:
    return [item["spec"]["template"]["spec"] for item in items if item["kind"] == "Deployment"]


def test_lint_is_clean() -> None:
    for chart in ("walkforward", "model-server"):
        for file in (None, *sorted((CHARTS / chart).glob("values-*.yaml"))):
            answer = helm("lint", "--strict", str(CHARTS / chart), *(["-f", str(file)] if file else []))
            assert answer.returncode == 0, answer.stdout
            assert "[WARNING]" not in answer.stdout


@pytest.mark.parametrize("values", ENVIRONMENTS)
def test_every_pod_is_restricted(values: str) -> None:
    found = [*pods(operator(values)), *pods(render("model-server", values if values == "prod" else ""))]
    assert found
    for pod in found:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC"))
        assert all(set(volume) & {"configMap", "emptyDir", "persistentVolumeClaim"} for volume in pod.get("volumes", ()))
        for container in [*pod["containers"], *pod.get("initContainers", ())]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]
            assert container["resources"]["requests"]["cpu"]


def test_only_the_operators_pod_has_a_token() -> None:
    items = operator("demo")
    tokens = {
        item["metadata"]["name"]: item["spec"]["template"]["spec"]["automountServiceAccountToken"]
        for item in items
        if item["kind"] == "Deployment"
    }
    assert tokens == {"wf-walkforward": True, "wf-walkforward-store": False}
    accounts = [item for item in items if item["kind"] == "ServiceAccount"]
    assert {(item["metadata"]["namespace"], item["metadata"]["name"]) for item in accounts} == {
        ("system", "wf-walkforward"),
        ("fx", "walkforward-trainer"),
        ("crypto", "walkforward-trainer"),
    }
    assert all(item["automountServiceAccountToken"] is False for item in accounts)
    assert find(render("model-server"), "Deployment")["spec"]["template"]["spec"]["automountServiceAccountToken"] is False


def test_cluster_scoped_names_belong_to_the_release() -> None:
    items = operator("demo")
    cluster = {"ClusterRole", "ClusterRoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    found = [item["metadata"]["name"] for item in items if item["kind"] in cluster]
    assert len(found) > 30
    assert all(name == "system.wf-walkforward" or name.startswith("system.wf-walkforward.") for name in found)
    policies = {item["metadata"]["name"] for item in items if item["kind"] == "ValidatingAdmissionPolicy"}
    bindings = [item["spec"] for item in items if item["kind"] == "ValidatingAdmissionPolicyBinding"]
    assert {binding["policyName"] for binding in bindings} == policies
    assert all(binding["validationActions"] == ["Deny"] for binding in bindings)
    assert all(item["spec"]["failurePolicy"] == "Fail" for item in items if item["kind"] == "ValidatingAdmissionPolicy")


def test_every_action_has_a_policy() -> None:
    found = {item["metadata"]["name"].rpartition(".")[2] for item in operator() if item["kind"] == "ValidatingAdmissionPolicy"}
    assert {f"action-{verb}" for verb in (*names.VERBS, "run")} <= found


RIGHTS = {
    "walkforward-operator": {
        "modelretrains": "get list watch",
        "modelrollouts": "get list watch",
        "modelretrains/status": "patch",
        "modelrollouts/status": "patch",
        "jobs": "create get list watch delete",
        "configmaps": "create get list watch patch delete",
        "pods": "get list watch patch delete",
        "deployments": "get list watch",
        "events": "create",
    },
    "wf-walkforward": {"leases": "create", "leases wf-walkforward": "get patch"},
    "system.wf-walkforward": {"modelrollouts": "patch", "namespaces fx crypto": "get"},
}
"""Every right of the operator: what its code asks for (see `cluster.<verb>(KIND` in the package), and nothing else."""


def test_the_operator_has_the_rights_that_it_uses() -> None:
    found: dict[str, dict[str, str]] = {}
    for item in operator():
        if item["kind"] in ("Role", "ClusterRole") and item["metadata"]["name"] in RIGHTS:
            for rule in item["rules"]:
                for resource in rule["resources"]:
                    key = " ".join([resource, *rule.get("resourceNames", ())])
                    found.setdefault(item["metadata"]["name"], {})[key] = " ".join(rule["verbs"])
    assert found == RIGHTS


def test_the_operator_has_no_right_that_it_should_not() -> None:
    rules = [
        rule
        for item in operator()
        if item["kind"] in ("Role", "ClusterRole") and "break-glass" not in item["metadata"]["name"]
        for rule in item["rules"]
    ]
    resources = {resource for rule in rules for resource in rule["resources"]}
    assert "secrets" not in resources
    assert not any("*" in (*rule["verbs"], *rule["resources"], *rule["apiGroups"]) for rule in rules)
    own = [
        rule
        for item in operator()
        if item["metadata"]["name"] in ("walkforward-operator", "system.wf-walkforward")
        for rule in item.get("rules", ())
    ]
    assert not any({"deletecollection", "escalate", "bind", "impersonate"} & set(rule["verbs"]) for rule in own)


class Recorder(dict[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self, env: dict[str, str]) -> None:
        super().__init__(env)
        self.asked: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return super().get(name, default)


def test_the_operators_environment_is_what_it_reads() -> None:
    [container] = find(operator("prod"), "Deployment")["spec"]["template"]["spec"]["containers"]
    env = {entry["name"]: entry.get("value", "from the pod") for entry in container["env"]}
    asked = Recorder(env)
    settings = Settings.from_env(asked)
    assert set(env) <= asked.asked, "the chart sets what nobody reads"
    assert settings.namespaces == ("fx", "crypto")
    assert settings.lease_name == "wf-walkforward"
    assert settings.metrics_port == 8081
    assert settings.object_store.bundle_roots == ("s3://prod-models/",)
    assert settings.object_store.ledger_uri == "s3://prod-model-ledger"
    assert settings.installation.image.startswith("registry.example.com/walkforward/trainer@sha256:")
    assert settings.installation.secret == "walkforward-object-store"
    assert settings.installation.service_account == "walkforward-trainer"
    assert settings.installation.pull_policy == "IfNotPresent"
    assert settings.installation.bundle_roots == ("s3://prod-models/",)
    assert settings.installation.data_roots == ("s3://prod-models/", "s3://market-data/")
    assert container["envFrom"] == [{"secretRef": {"name": "walkforward-object-store"}}]


def test_crds_are_the_generated_ones() -> None:
    for kept in ("true", "false"):
        items = operator("", f"crds.keep={kept}")
        for file in sorted((CHARTS.parent / "crds").glob("*.yaml")):
            wanted = yaml.safe_load(file.read_text())
            found = find(items, "CustomResourceDefinition", wanted["metadata"]["name"])
            annotations = found["metadata"].pop("annotations", None)
            assert annotations == ({"helm.sh/resource-policy": "keep"} if kept == "true" else None)
            assert found == wanted
    assert not [item for item in operator("staging") if item["kind"] == "CustomResourceDefinition"]


@pytest.mark.parametrize(
    ("chart", "setting", "said"),
    [
        ("walkforward", "watchNamespaces=[]", "watchNamespaces is empty: name the namespaces"),
        ("walkforward", "watchNamespaces={system}", "install the operator into a namespace of its own"),
        ("walkforward", "watchNamespace=fx", "additional properties 'watchNamespace' not allowed"),
        ("walkforward", "objectStore.bundleRoots={file:///models/}", "does not match pattern"),
        ("walkforward", "objectStore.bundleRoots={s3://models/fx}", "does not match pattern"),
        ("walkforward", "objectStore.bundleRoots=[]", "minItems"),
        ("walkforward", "allowedUriPrefixes={s3://data}", "does not match pattern"),
        ("walkforward", "image.digest=latest", "does not match pattern"),
        ("walkforward", "logLevel=LOUD", "value must be one of"),
        ("walkforward", "mlflowUri=file:///mlruns", "does not match pattern"),
        ("walkforward", "breakGlass.groups=[]", "minItems"),
        ("model-server", "fullnameOverride=a.b", "does not match pattern"),
        ("model-server", "replica=3", "additional properties 'replica' not allowed"),
        ("model-server", "drainSeconds=-1", "minimum"),
    ],
)
def test_wrong_values_are_refused(chart: str, setting: str, said: str) -> None:
    watched = [] if chart == "model-server" or setting.startswith("watchNamespaces") else ["--set", "watchNamespaces={fx}"]
    answer = helm("template", "wf", str(CHARTS / chart), *COMMANDS, *watched, "--set-json" if setting.endswith("[]") else "--set", setting)
    assert answer.returncode != 0
    assert said in answer.stderr


@pytest.mark.parametrize("chart", ["walkforward", "model-server"])
def test_the_schema_knows_every_value_and_describes_it(chart: str) -> None:
    schema = json.loads((CHARTS / chart / "values.schema.json").read_text())
    values = yaml.safe_load((CHARTS / chart / "values.yaml").read_text())

    def compare(value: Any, part: dict[str, Any], path: str) -> None:
        assert path == "" or part.get("description"), f"{path} has no description"
        if isinstance(value, dict) and "properties" in part:
            assert part["additionalProperties"] is False, path
            for name, member in value.items():
                assert name in part["properties"], f"{path}.{name} is not in the schema"
                compare(member, part["properties"][name], f"{path}.{name}")

    compare(values, schema, "")


def test_a_model_server_is_what_the_server_and_the_operator_expect() -> None:
    items = render("model-server", "", "fullnameOverride=fx-server")
    deployment = find(items, "Deployment", "fx-server")
    template = deployment["spec"]["template"]
    [container] = template["spec"]["containers"]
    volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert template["metadata"]["labels"][names.TARGET_LABEL] == "fx-server"
    assert volumes["routing"]["configMap"] == {"name": names.routing_name("fx-server"), "optional": True}
    assert mounts[names.ROUTING_MOUNT] == {"name": "routing", "mountPath": names.ROUTING_MOUNT, "readOnly": True}
    assert volumes[mounts[names.STATE_MOUNT]["name"]]["emptyDir"]
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == {"http": names.HTTP_PORT, "admin": names.ADMIN_PORT}
    assert deployment["spec"]["replicas"] == 2
    assert template["spec"]["terminationGracePeriodSeconds"] >= 8 + 10
    assert [port["name"] for port in find(items, "Service")["spec"]["ports"]] == ["http"]


def test_autoscaling_leaves_the_replicas_alone() -> None:
    items = render("model-server", "prod")
    assert "replicas" not in find(items, "Deployment")["spec"]
    assert find(items, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == find(items, "Deployment")["metadata"]["name"]
    assert {item["kind"] for item in items} >= {"PodDisruptionBudget", "NetworkPolicy", "PodMonitor"}


def test_the_embedded_store_is_complete() -> None:
    items = operator("demo")
    store = find(items, "Deployment", "wf-walkforward-store")["spec"]["template"]["spec"]
    secrets = [item for item in items if item["kind"] == "Secret"]
    assert {item["metadata"]["namespace"] for item in secrets} == {"system", "fx", "crypto"}
    assert len({json.dumps(item["stringData"]) for item in secrets}) == 1
    assert secrets[0]["stringData"]["AWS_ENDPOINT_URL"] == "http://wf-walkforward-store.system.svc:7070"
    assert store["initContainers"][0]["args"] == ["models", "bars"]
    assert find(items, "PersistentVolumeClaim")
    assert not [
        item for item in operator("demo", "objectStore.embedded.persistence.enabled=false") if item["kind"] == "PersistentVolumeClaim"
    ]
    assert find(items, "Service", "wf-walkforward-store")["metadata"]["labels"]["app.kubernetes.io/component"] == "object-store"
