"""The real operator under the chart's own rights: as its ServiceAccount, behind its admission policies, with its environment."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from bundles import make_bundle
from examples import retrain, rollout
from kube import Kube, message
from releases import CHARTS, KUBERNETES, PROD, annotated, until
from s3_server import s3_server

from walkforward_core.objectstore import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

WHERE = PROD.watched
POD = {"POD_NAME": "walkforward-0", "POD_NAMESPACE": PROD.system, "POD_UID": "00000000-0000-0000-0000-000000000001"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with s3_server(tmp_path_factory.mktemp("s3")) as env:
        yield env


@pytest.fixture(scope="module")
def log(installed: Kube, store: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run the operator as the chart would; the fixture's value is its log."""
    folder = tmp_path_factory.mktemp("operator")
    target = folder / "log"
    env = {**_environment(installed), **store, **POD, "METRICS_PORT": "0", "KUBECONFIG": str(_kubeconfig(installed, folder))}
    with target.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", "walkforward_operator"], env=env, stdout=out, stderr=out)
    try:
        until(lambda: "probes and metrics on port" in target.read_text(), "the operator is up")
        yield target
    finally:
        process.terminate()
        process.wait(20)


def _environment(kube: Kube) -> dict[str, str]:
    """What the chart says, and nothing of the machine but what Python needs."""
    arguments = [
        "--kube-version",
        KUBERNETES,
        "-n",
        PROD.system,
        "--set",
        f"watchNamespaces={{{WHERE}}}",
        "-s",
        "templates/deployment.yaml",
    ]
    rendered = yaml.safe_load(kube.helm("template", "walkforward", str(CHARTS / "walkforward"), *arguments).stdout)
    [container] = rendered["spec"]["template"]["spec"]["containers"]
    said = {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
    return {**said, "PATH": os.environ["PATH"], "LOG_LEVEL": "DEBUG"}


def _kubeconfig(kube: Kube, folder: Path) -> Path:
    """A kubeconfig with a token of the chart's ServiceAccount."""
    path = f"/api/v1/namespaces/{PROD.system}/serviceaccounts/walkforward/token"
    answer = kube.request("POST", path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})
    admin = yaml.safe_load(kube.kubeconfig.read_text())
    cluster = admin["clusters"][0]["cluster"]
    if "certificate-authority" in cluster:
        authority = base64.b64encode(open(cluster.pop("certificate-authority"), "rb").read()).decode()  # noqa: PTH123, SIM115 - read once
        cluster["certificate-authority-data"] = authority
    target = folder / "kubeconfig"
    users = [{"name": "operator", "user": {"token": answer.json()["status"]["token"]}}]
    contexts = [{"name": "c", "context": {"cluster": "api", "user": "operator"}}]
    config = {"apiVersion": "v1", "kind": "Config", "clusters": [{"name": "api", "cluster": cluster}], "users": users}
    target.write_text(yaml.safe_dump({**config, "contexts": contexts, "current-context": "c"}))
    return target


def status(kube: Kube, item: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = kube.get(item).json().get("status", {})
    return found


def refused(log: Path) -> list[str]:
    """Lines of the log in which the API server refused something."""
    words = ("forbidden", "ValidatingAdmissionPolicy", "is invalid")
    return [line for line in log.read_text().splitlines() if any(word in line for word in words)]


def test_a_run_is_started(installed: Kube, log: Path) -> None:
    request = json.dumps({"id": "first", "mode": "Full", "reason": "try", "by": "alice"})
    item = annotated(retrain(WHERE, "rights", data={"asOf": "2026-01-01T00:00:00Z"}), {"walkforward.dev/run": request})
    assert installed.as_user("alice").create(item).status_code == 201
    until(lambda: bool(status(installed, item).get("run", {}).get("created")), f"the Job is there: {log}")
    run = status(installed, item)["run"]["id"]
    job = installed.request("GET", f"/apis/batch/v1/namespaces/{WHERE}/jobs/{run}").json()
    assert job["spec"]["template"]["spec"]["serviceAccountName"] == "walkforward-trainer"
    assert installed.request("GET", f"/api/v1/namespaces/{WHERE}/configmaps/{run}").status_code == 200
    until(lambda: bool(_events(installed, "rights")), "people are told")
    assert refused(log) == []


def test_a_rollout_writes_its_document_and_pushes_it(installed: Kube, log: Path, store: dict[str, str], tmp_path: Path) -> None:
    made = make_bundle(tmp_path)
    bundle = {"uri": f"s3://models/rights/{made.ref.version}/", "digest": made.ref.digest}
    objects = open_store(bundle["uri"], allow_file=False, env=store)
    for name, data in made.files.items():
        objects.put(bundle["uri"] + name, data)
    settings = ["--set", "fullnameOverride=rights", "--set", "replicas=1"]
    answer = installed.helm("install", "rights", str(CHARTS / "model-server"), "-n", WHERE, *settings)
    assert answer.returncode == 0, answer.stderr
    item = rollout(WHERE, "rights", target={"deployment": "rights"}, source={"retrainRef": None, "bundle": bundle})
    installed.create(item).raise_for_status()
    routing = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rights-routing", "namespace": WHERE}}
    until(lambda: installed.get(routing).status_code == 200, f"the routing document is there: {log}")
    until(lambda: _pushed(installed), f"the document is pushed: {log}")
    assert status(installed, item)["phase"] == "Bootstrapping"
    assert installed.delete(item).status_code == 200
    until(lambda: installed.get(item).status_code == 404, "the rollout is gone", 60.0)
    assert refused(log) == []


def _pushed(kube: Kube) -> bool:
    pods = kube.request("GET", f"/api/v1/namespaces/{WHERE}/pods", labelSelector="walkforward.dev/target=rights").json()["items"]
    return bool(pods) and all("walkforward.dev/routing" in pod["metadata"].get("annotations", {}) for pod in pods)


def test_it_leads_by_its_own_lease(installed: Kube, log: Path) -> None:
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "walkforward", "namespace": PROD.system}}
    until(lambda: installed.get(lease).json().get("spec", {}).get("holderIdentity", "").find(POD["POD_UID"]) >= 0, "it leads")


def test_nobody_else_could_have_done_it(installed: Kube) -> None:
    alice = installed.as_user("alice")
    forged = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rights-routing", "namespace": WHERE}}
    answer = alice.patch(forged, {"data": {"routing.json": "{}"}})
    assert answer.status_code in (404, 422)
    assert answer.status_code == 404 or "written by system:serviceaccount:wf-prod:walkforward only" in message(answer)


def _events(kube: Kube, name: str) -> list[dict[str, Any]]:
    found = kube.request("GET", f"/apis/events.k8s.io/v1/namespaces/{WHERE}/events").json()["items"]
    return [event for event in found if event["regarding"]["name"] == name]
