"""Both charts installed by Helm on a real API server: taken whole, upgraded, kept apart, uninstalled without loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from examples import rollout
from releases import CHARTS, KUBERNETES, PROD, RBAC, STAGING, Release, install
from releases import namespace as of

if TYPE_CHECKING:
    from kube import Kube

pytestmark = pytest.mark.integration


def test_a_namespace_belongs_to_one_release(installed: Kube) -> None:
    installed.create(of("wf-greedy")).raise_for_status()
    settings = ["--set", f"watchNamespaces={{{PROD.watched}}}", "--set", "crds.install=false"]
    answer = installed.helm("install", "walkforward", str(CHARTS / "walkforward"), "-n", "wf-greedy", *settings)
    assert answer.returncode != 0
    assert "exists and cannot be imported into the current release" in answer.stderr
    assert 'must equal "wf-greedy": current value is "wf-prod"' in answer.stderr


def test_an_upgrade_keeps_the_stores_keys(installed: Kube) -> None:
    embedded = ["--set", "objectStore.embedded.enabled=true", "--reuse-values"]
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "walkforward-object-store", "namespace": STAGING.watched}}
    keys = []
    for _ in range(2):
        answer = installed.helm("upgrade", "walkforward", str(CHARTS / "walkforward"), "-n", STAGING.system, *embedded)
        assert answer.returncode == 0, answer.stderr
        keys.append(installed.get(secret).json()["data"])
    assert keys[0] == keys[1]
    assert set(keys[0]) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION"}


def test_restricted_namespaces_take_every_pod(installed: Kube, namespace: str) -> None:
    """Pod Security says what it would do to the pods of every Deployment: nothing."""
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/warn": "restricted"}}}
    installed.patch(of(namespace), label).raise_for_status()
    answer = installed.helm("install", "fx-server", str(CHARTS / "model-server"), "-n", namespace)
    assert answer.returncode == 0, answer.stderr
    assert "would violate PodSecurity" not in answer.stderr
    settings = ["--kube-version", KUBERNETES, "--set", "watchNamespaces={x}", "--set", "objectStore.embedded.enabled=true"]
    only = ["-s", "templates/deployment.yaml", "-s", "templates/store/store.yaml"]
    demo = installed.helm("template", "wf", str(CHARTS / "walkforward"), "-n", namespace, *settings, *only)
    applied = installed.kubectl("apply", "--dry-run=server", "-n", namespace, "-f", "-", stdin=demo.stdout)
    assert applied.returncode == 0, applied.stderr
    assert "would violate PodSecurity" not in applied.stderr
    bare = demo.stdout.replace("runAsNonRoot: true", "runAsNonRoot: false")
    assert "would violate PodSecurity" in installed.kubectl("apply", "--dry-run=server", "-n", namespace, "-f", "-", stdin=bare).stderr


def test_uninstalling_keeps_what_people_made(installed: Kube) -> None:
    """The CRDs stay, and with them every ModelRollout."""
    release = Release("wf-gone", "fx-gone")
    for name in (release.system, release.watched):
        installed.create(of(name)).raise_for_status()
    install(installed, release, "crds.install=false")
    item = rollout(release.watched)
    installed.create(item).raise_for_status()
    answer = installed.helm("uninstall", "walkforward", "-n", release.system)
    assert answer.returncode == 0, answer.stderr
    assert installed.get(item).status_code == 200
    left = installed.request("GET", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies").json()["items"]
    assert not [policy for policy in left if policy["metadata"]["name"].startswith("wf-gone.")]
    manifest = installed.helm("get", "manifest", "walkforward", "-n", PROD.system).stdout
    assert manifest.count("helm.sh/resource-policy: keep") == 2


def test_notes_say_what_comes_next(installed: Kube) -> None:
    notes = installed.helm("get", "notes", "walkforward", "-n", PROD.system).stdout
    assert f"looks after {PROD.watched}" in notes
    assert f"kubectl -n {PROD.system} rollout status deployment/walkforward" in notes
    assert "The Secret walkforward-object-store must exist in wf-prod and in fx-prod." in notes


def test_viewer_and_editor_come_with_the_clusters_own_roles(installed: Kube) -> None:
    viewer = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "viewers", "namespace": PROD.watched},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "User", "name": "victor", "apiGroup": RBAC}],
    }
    installed.create(viewer).raise_for_status()
    victor = installed.as_user("victor")
    item = rollout(PROD.watched, "viewed")
    installed.create(item).raise_for_status()
    assert victor.get(item).status_code == 200
    assert victor.patch(item, {"spec": {"paused": True}}).status_code == 403
    assert installed.as_user("alice").patch(item, {"spec": {"paused": True}}).status_code == 200
    installed.delete(item)
