"""What the operator's account may do to pods, Jobs, ConfigMaps and other namespaces: RBAC gives it, admission takes it away again.

Bodies go straight to the API server, as the operator's ServiceAccount; 403 is RBAC's answer, 422 admission's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from examples import retrain, rollout
from kube import MERGE, Kube, deep, message, path_of
from releases import PROD, STAGING, Release, config_map, install, namespace, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

WHERE = PROD.watched
ROUTING = "walkforward.dev/routing"
TARGET = {"walkforward.dev/target": "fx-server"}
CONTAINER = {"name": "server", "image": "server:1", "resources": {"requests": {"cpu": "5m"}}}
OURS = {"app.kubernetes.io/managed-by": "walkforward"}


def pod(name: str, labels: dict[str, str], annotations: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": WHERE, "labels": labels, "annotations": annotations or {"team": "fx"}},
        "spec": {"containers": [CONTAINER]},
    }


def job(**template: Any) -> dict[str, Any]:
    container = {
        "name": "trainer",
        "image": "walkforward/trainer:0.1.0",
        "envFrom": [{"secretRef": {"name": "walkforward-object-store"}}],
        "env": [{"name": "LEVEL", "value": "info"}, {"name": "UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}],
    }
    base = {
        "restartPolicy": "Never",
        "serviceAccountName": "walkforward-trainer",
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": [{"name": "run", "configMap": {"name": "fx-1"}}, {"name": "tmp", "emptyDir": {}}],
    }
    metadata = {"name": "fx-12345678", "namespace": WHERE, "labels": OURS}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": {"spec": deep(base, template)}}}


def with_container(**change: Any) -> dict[str, Any]:
    [container] = job()["spec"]["template"]["spec"]["containers"]
    return job(containers=[deep(container, change)])


@pytest.fixture(scope="module")
def operator(installed: Kube) -> Kube:
    return PROD.operator(installed)


@pytest.fixture(scope="module")
def almighty(installed: Kube, operator: Kube) -> Kube:
    """The operator's name with every right: what admission alone says."""
    return installed.as_user(operator.user, "system:masters")


@pytest.fixture
def server(installed: Kube) -> Iterator[dict[str, Any]]:
    item = pod("server", TARGET, {"team": "fx", "note": "a"})
    installed.create(item).raise_for_status()
    yield item
    installed.request("DELETE", path_of(item, named=True), {"gracePeriodSeconds": 0})


@pytest.fixture
def stranger(installed: Kube) -> Iterator[dict[str, Any]]:
    item = pod("stranger", {"app": "other"})
    installed.create(item).raise_for_status()
    yield item
    installed.request("DELETE", path_of(item, named=True), {"gracePeriodSeconds": 0})


def test_the_push_is_allowed(operator: Kube, server: dict[str, Any]) -> None:
    for value in ("17", "17.1", "18"):
        answer = operator.patch(server, {"metadata": {"annotations": {ROUTING: value}}})
        assert answer.status_code == 200, answer.text
    assert operator.patch(server, {"metadata": {"annotations": {ROUTING: None}}}).status_code == 200
    assert (
        operator.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {**_head(server), "annotations": {ROUTING: "19"}}}).status_code
        == 200
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"metadata": {"annotations": {"team": "other"}}}, "another annotation differs"),
        ({"metadata": {"annotations": {"new": "1"}}}, "another annotation differs"),
        ({"metadata": {"annotations": {"note": None}}}, "another annotation differs"),
        ({"metadata": {"annotations": {ROUTING: "17", "note": None}}}, "another annotation differs"),
        ({"metadata": {"annotations": {ROUTING: "1" * 65}}}, "limited to 64 characters"),
        ({"metadata": {"labels": {"x": "y"}}}, "spec, labels, finalizers or ownerReferences differ"),
        ({"metadata": {"labels": {"walkforward.dev/target": None}}}, "spec, labels, finalizers or ownerReferences differ"),
        ({"metadata": {"finalizers": ["walkforward.dev/hold"]}}, "spec, labels, finalizers or ownerReferences differ"),
        (
            {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "b"}]}},
            "spec, labels, finalizers or ownerReferences differ",
        ),
        ({"spec": {"containers": [{"name": "server", "image": "evil:1"}]}}, "spec, labels, finalizers or ownerReferences differ"),
        ({"spec": {"activeDeadlineSeconds": 1}}, "spec, labels, finalizers or ownerReferences differ"),
    ],
)
def test_nothing_else_of_a_pod_may_change(operator: Kube, server: dict[str, Any], change: dict[str, Any], said: str) -> None:
    answer = operator.request("PATCH", path_of(server, named=True), change, kind="application/strategic-merge-patch+json")
    assert answer.status_code == 422, answer.text
    assert said in message(answer)


def test_pods_of_no_target_are_none_of_its_business(operator: Kube, stranger: dict[str, Any]) -> None:
    for answer in (operator.patch(stranger, {"metadata": {"annotations": {ROUTING: "17"}}}), operator.delete(stranger)):
        assert answer.status_code == 422, answer.text
        assert "pods labelled walkforward.dev/target" in message(answer)


def test_a_pod_of_a_target_may_be_replaced(operator: Kube, installed: Kube) -> None:
    item = pod("replaced", TARGET)
    installed.create(item).raise_for_status()
    assert operator.delete(item).status_code == 200


@pytest.mark.parametrize("subresource", ["status", "ephemeralcontainers", "resize", "binding", "eviction", "exec", "attach", "portforward"])
def test_no_subresource_even_with_every_right(operator: Kube, almighty: Kube, server: dict[str, Any], subresource: str) -> None:
    path = path_of(server, named=True, subresource=subresource)
    body: Any = {"apiVersion": "v1", "kind": "Pod", "metadata": _head(server)}
    method, kind = "PATCH", MERGE
    if subresource == "binding":
        method, kind, body = "POST", "application/json", {**body, "kind": "Binding", "target": {"kind": "Node", "name": "n"}}
    elif subresource == "eviction":
        method, kind, body = "POST", "application/json", {**body, "apiVersion": "policy/v1", "kind": "Eviction"}
    elif subresource in ("exec", "attach", "portforward"):
        method, kind, body = "POST", "application/json", None
    elif subresource == "status":
        body = {"status": {"message": "changed"}}
    elif subresource == "ephemeralcontainers":
        body = {"spec": {"ephemeralContainers": [{"name": "x", "image": "x"}]}}
    elif subresource == "resize":
        body = {"spec": {"containers": [{"name": "server", "resources": {"requests": {"cpu": "10m"}}}]}}
    query = {"command": "id"} if subresource == "exec" else {}
    assert operator.request(method, path, body, kind=kind, **query).status_code == 403
    answer = almighty.request(method, path, body, kind=kind, **query)
    assert answer.status_code in (403, 422), answer.text
    assert "operator-pods" in answer.text


def test_it_makes_no_pods_and_deletes_no_collection(operator: Kube, almighty: Kube, server: dict[str, Any]) -> None:
    item = pod("made", TARGET)
    assert operator.create(item).status_code == 403
    assert almighty.create(item).status_code == 422
    assert operator.request("DELETE", path_of(server, named=False)).status_code == 403


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (job(serviceAccountName="default"), "a training Job runs as walkforward-trainer and mounts no token"),
        (job(serviceAccountName=None), "a training Job runs as walkforward-trainer and mounts no token"),
        (job(automountServiceAccountToken=True), "a training Job runs as walkforward-trainer and mounts no token"),
        (job(automountServiceAccountToken=None), "a training Job runs as walkforward-trainer and mounts no token"),
        (job(hostNetwork=True), "nothing of the host"),
        (job(hostPID=True), "nothing of the host"),
        (job(volumes=[{"name": "x", "hostPath": {"path": "/"}}]), "volumes of the kinds configMap and emptyDir only"),
        (job(volumes=[{"name": "x", "secret": {"secretName": "s"}}]), "volumes of the kinds configMap and emptyDir only"),
        (job(volumes=[{"name": "x", "projected": {"sources": []}}]), "volumes of the kinds configMap and emptyDir only"),
        (with_container(image="evil:1"), "a training Job runs one of walkforward/trainer:0.1.0, registry/own:7, registry/fixed:1"),
        (with_container(image="registry/fixed:2"), "a training Job runs one of"),
        (with_container(image="registry/own:7@sha256:" + "0" * 64), "a training Job runs one of"),
        (with_container(envFrom=[{"secretRef": {"name": "root"}}]), "from walkforward-object-store, other-store only"),
        (with_container(envFrom=[{"configMapRef": {"name": "any"}}]), "from walkforward-object-store, other-store only"),
        (with_container(env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "root", "key": "k"}}}]), "from walkforward-object-store"),
        (deep(job(), {"metadata": {"labels": None}}), "labelled app.kubernetes.io/managed-by=walkforward"),
        (job(initContainers=[{"name": "i", "image": "evil:1"}]), "a training Job runs one of"),
    ],
)
def test_jobs_get_nothing_of_their_own_choice(operator: Kube, item: dict[str, Any], said: str) -> None:
    answer = operator.create(item, dryRun="All")
    assert answer.status_code == 422, answer.text
    assert said in message(answer)


@pytest.mark.parametrize(
    "item",
    [
        job(),
        with_container(image="registry/own:7"),
        with_container(image="registry/fixed:1"),
        with_container(envFrom=[{"secretRef": {"name": "other-store"}}]),
    ],
)
def test_the_trainers_job_is_allowed(operator: Kube, item: dict[str, Any]) -> None:
    answer = operator.create(item, dryRun="All")
    assert answer.status_code == 201, answer.text


def test_other_peoples_jobs_are_left_alone(operator: Kube, installed: Kube) -> None:
    item = deep(job(), {"metadata": {"name": "theirs", "labels": None}})
    installed.create(item).raise_for_status()
    assert operator.delete(item).status_code == 422
    assert operator.patch(item, {"spec": {"suspend": True}}).status_code == 403
    installed.delete(item)


def test_config_maps_are_its_own_or_none(operator: Kube, installed: Kube) -> None:
    for item in (config_map(WHERE, "a-routing"), config_map(WHERE, "a-evidence-0"), config_map(WHERE, "fx-1", **OURS)):
        assert operator.create(item).status_code == 201
        assert operator.patch(item, {"data": {"a": "c"}}).status_code == 200
        assert operator.delete(item).status_code == 200
    theirs = config_map(WHERE, "theirs")
    installed.create(theirs).raise_for_status()
    for answer in (
        operator.create(config_map(WHERE, "new")),
        operator.patch(theirs, {"data": {"a": "c"}}),
        operator.patch(theirs, {"metadata": {"labels": OURS}}),
        operator.delete(theirs),
    ):
        assert answer.status_code == 422, answer.text
        assert "may only write routing documents, evidence and ConfigMaps labelled" in message(answer)
    installed.delete(theirs)


def test_no_secret_and_no_right_beyond_its_list(operator: Kube) -> None:
    for path in (f"/api/v1/namespaces/{WHERE}/secrets", "/api/v1/namespaces", f"/apis/apps/v1/namespaces/{WHERE}/replicasets"):
        assert operator.request("GET", path).status_code == 403
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "fx-server", "namespace": WHERE}}
    assert operator.patch(deployment, {"spec": {"replicas": 0}}).status_code == 403
    assert operator.create(retrain(WHERE)).status_code == 403
    assert operator.delete(rollout(WHERE)).status_code == 403


def test_it_leads_by_one_lease_of_its_own_namespace(operator: Kube) -> None:
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "walkforward", "namespace": PROD.system},
        "spec": {},
    }
    other = deep(lease, {"metadata": {"name": "other"}})
    assert operator.create(lease).status_code == 201
    assert operator.patch(lease, {"spec": {"holderIdentity": "me"}}).status_code == 200
    assert operator.get(lease).status_code == 200
    assert operator.get(other).status_code == 403
    assert operator.create(deep(lease, {"metadata": {"namespace": WHERE}})).status_code == 403


def test_each_operator_reaches_its_own_namespaces_only(installed: Kube) -> None:
    for release, other in ((PROD, STAGING), (STAGING, PROD)):
        mine, theirs = release.operator(installed), rollout(other.watched, "border")
        own = rollout(release.watched, "border")
        for item in (theirs, own):
            installed.create(item)
        for path in (path_of(theirs, named=True), path_of(theirs, named=False), f"/api/v1/namespaces/{other.watched}/configmaps"):
            assert mine.request("GET", path).status_code == 403
        assert mine.request("GET", f"/api/v1/namespaces/{other.watched}").status_code == 403
        assert mine.request("GET", f"/api/v1/namespaces/{release.watched}").status_code == 200
        assert mine.create(config_map(other.watched, "fx-routing")).status_code == 403
        assert mine.patch(theirs, {"status": {"phase": "Stable"}}, subresource="status").status_code == 403
        answer = mine.patch(theirs, {"metadata": {"finalizers": ["walkforward.dev/restore-stable"]}})
        assert answer.status_code == 422, answer.text
        assert f"{other.watched} is not among watchNamespaces of its release" in message(answer)
        for finalizers in (["walkforward.dev/restore-stable"], None):
            assert mine.patch(own, {"metadata": {"finalizers": finalizers}}).status_code == 200
        assert mine.patch(own, {"status": {"phase": "Stable"}}, subresource="status").status_code == 200


def test_the_finalizer_goes_although_the_namespace_is_on_its_way_out(installed: Kube) -> None:
    """A namespace takes its RoleBindings and ConfigMaps first; `patch` comes from outside of it."""
    release = Release("wf-third", "fx-third")
    for name in (release.system, release.watched):
        installed.create(namespace(name)).raise_for_status()
    install(installed, release, "crds.install=false")
    operator, item = release.operator(installed), rollout(release.watched)
    binding = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{release.watched}/rolebindings/walkforward-operator"
    item["metadata"]["finalizers"] = ["walkforward.dev/restore-stable"]
    installed.create(item).raise_for_status()
    installed.create(config_map(release.watched, "fx-server-routing")).raise_for_status()
    installed.delete(namespace(release.watched)).raise_for_status()
    until(lambda: installed.request("GET", binding).status_code == 404, "the RoleBinding is gone")
    assert operator.get(item).status_code == 403
    assert operator.request("GET", f"/api/v1/namespaces/{release.watched}").json()["status"]["phase"] == "Terminating"
    assert operator.patch(item, {"metadata": {"finalizers": None}}).status_code == 200
    until(lambda: installed.get(namespace(release.watched)).status_code == 404, "the namespace is gone", 60.0)


def _head(item: dict[str, Any]) -> dict[str, Any]:
    return {"name": item["metadata"]["name"], "namespace": item["metadata"]["namespace"]}
