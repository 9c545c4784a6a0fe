"""What people may do: act under their own name, leave traffic, evidence and status to the operator, point at nothing that is not allowed.

Alice and Bob have the cluster's own editor role in the watched namespaces; 403 is RBAC's answer, 422 admission's.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from examples import retrain, rollout
from kube import Kube, deep, message
from releases import BREAK_GLASS, PROD, STAGING, annotated, config_map

from walkforward_core.names import FINALIZER, RUN_ANNOTATION, VERBS, action_annotation

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

WHERE = PROD.watched
WITHOUT: dict[str, Any] = {"metadata": {"finalizers": None}}
OURS = {"app.kubernetes.io/managed-by": "walkforward"}
ACTIONS = {**{action_annotation(verb): rollout for verb in VERBS}, RUN_ANNOTATION: retrain}
ROOT = "walkforward/trainer:0.1.0 or registry/own:7 or registry/fixed:1"


@pytest.fixture(scope="module")
def alice(installed: Kube) -> Kube:
    return installed.as_user("alice")


@pytest.fixture(scope="module")
def bob(installed: Kube) -> Kube:
    return installed.as_user("bob")


@pytest.fixture(scope="module")
def rescuer(installed: Kube) -> Kube:
    return installed.as_user("carol", BREAK_GLASS)


@pytest.fixture
def walk(installed: Kube) -> Iterator[dict[str, Any]]:
    item = rollout(WHERE, "walk")
    installed.create(item).raise_for_status()
    yield item
    installed.delete(item)


def signed(name: str, **more: Any) -> str:
    return json.dumps({"id": "1", "candidate": "20260101T000000Z-1a2b3c4d", "phase": "100", "by": name, "reason": "looks good"} | more)


@pytest.mark.parametrize("annotation", ACTIONS)
def test_an_action_carries_the_name_of_its_author(alice: Kube, bob: Kube, installed: Kube, annotation: str) -> None:
    item = ACTIONS[annotation](WHERE, "signed")
    for created in (alice.create(annotated(item, {annotation: signed("bob")})), bob.create(annotated(item, {annotation: signed("alice")}))):
        assert created.status_code == 422, created.text
    assert alice.create(annotated(item, {annotation: signed("alice")})).status_code == 201
    assert bob.patch(item, {"metadata": {"annotations": {annotation: signed("bob", id="2")}}}).status_code == 200
    answer = bob.patch(item, {"metadata": {"annotations": {annotation: signed("alice", id="3")}}})
    assert answer.status_code == 422
    assert f'{annotation}: "by" must be your own user name, bob' in message(answer)
    # what stands there already binds nobody else
    assert alice.patch(item, {"metadata": {"labels": {"a": "b"}}}).status_code == 200
    assert alice.patch(item, {"metadata": {"annotations": {annotation: None}}}).status_code == 200
    installed.delete(item)


@pytest.mark.parametrize(
    "value",
    [
        '{"id":"1","by":"bob"}',
        '{"by":"alice","by":"bob"}',
        '{"by":"bob","by":"alice"}',
        '{"by":"alice","BY":"bob"}',
        '{"by":"alice","bY":"bob"}',
        '{"b\\u0079":"bob","by":"alice"}',
        '{"by":"\\u0061lice"}',
        '{"by":"alice\\""}',
        '{"x":{"by":"alice"}}',
        '{"x":["by"],"by":"alice"}',
        '{"x":"\\"by\\":\\"alice\\""}',
        '{"reason":"\\"by\\": \\"alice\\"","by":"bob"}',
        '{"by":1}',
        '{"by":null}',
        '{"by":true}',
        '{"by":["alice"]}',
        '{"id":"1"}',
        "{}",
        "",
        '{"by":"alice"}{"by":"bob"}',
        '{"by":"alice"} trailing',
        '["alice"]',
        '"alice"',
        '{"by":"alice",}',
        '{"by":"alice","n":1.5}',
        '{"by":"alice","n":-1}',
        '{"by":"alice","x":"' + "y" * 1100 + '"}',
        '{"by":" alice"}',
        '{"by":"ALICE"}',
        '{"by":""}',
    ],
)
def test_no_way_to_write_another_name(alice: Kube, walk: dict[str, Any], value: str) -> None:
    answer = alice.patch(walk, {"metadata": {"annotations": {"walkforward.dev/abort": value}}})
    assert answer.status_code == 422, answer.text
    assert "walkforward.dev/abort" in message(answer)


@pytest.mark.parametrize(
    "value",
    [
        '{"by":"alice"}',
        ' { "by" : "alice" , "id" : "a b" , "n" : 7 , "force" : true } ',
        '{"id":"1","reason":"näher, höher {weiter} [x]: by hand","by":"alice"}',
    ],
)
def test_a_flat_signed_object_is_accepted(alice: Kube, walk: dict[str, Any], value: str) -> None:
    answer = alice.patch(walk, {"metadata": {"annotations": {"walkforward.dev/abort": value}}})
    assert answer.status_code == 200, answer.text


def test_a_service_account_signs_with_its_own_name(installed: Kube, walk: dict[str, Any]) -> None:
    name = "system:serviceaccount:argocd:application-controller"
    account = installed.as_user(name, "system:masters")
    assert account.patch(walk, {"metadata": {"annotations": {"walkforward.dev/pause": signed(name)}}}).status_code == 200
    assert account.patch(walk, {"metadata": {"annotations": {"walkforward.dev/pause": signed("alice")}}}).status_code == 422


def test_where_approvals_have_a_group_it_alone_approves(installed: Kube) -> None:
    item = rollout(STAGING.watched, "approved")
    installed.create(item).raise_for_status()
    alice, member = installed.as_user("alice"), installed.as_user("alice", "risk")
    for verb in ("approve", "promote"):
        change = {"metadata": {"annotations": {action_annotation(verb): signed("alice")}}}
        answer = alice.patch(item, change)
        assert answer.status_code == 422
        assert f"walkforward.dev/{verb} is for members of risk only" in message(answer)
        assert member.patch(item, change).status_code == 200
    # stopping is everybody's
    assert alice.patch(item, {"metadata": {"annotations": {"walkforward.dev/abort": signed("alice")}}}).status_code == 200
    installed.delete(item)


@pytest.mark.parametrize(
    "item",
    [
        config_map(WHERE, "fx-server-routing"),
        config_map(WHERE, "fx-server-evidence-0"),
        config_map(WHERE, "fx-server-evidence-12"),
        config_map(WHERE, "fx-1a2b3c4d", **OURS),
    ],
    ids=lambda item: item["metadata"]["name"],
)
def test_routing_and_evidence_are_the_operators(installed: Kube, alice: Kube, rescuer: Kube, item: dict[str, Any]) -> None:
    operator = PROD.operator(installed)
    ours = deep(item, {"metadata": {"labels": OURS}})
    assert alice.create(ours).status_code == 422
    assert operator.create(ours).status_code == 201
    unlabelled = {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}
    for answer in (alice.patch(item, {"data": {"a": "c"}}), alice.patch(item, unlabelled), alice.replace(ours), alice.delete(item)):
        assert answer.status_code == 422, answer.text
        assert "annotate its ModelRollout with walkforward.dev/abort" in message(answer)
    assert alice.get(item).status_code == 200
    assert rescuer.patch(item, {"data": {"a": "d"}}).status_code == 200
    assert operator.patch(item, {"data": {"a": "e"}}).status_code == 200
    assert operator.delete(item).status_code == 200


def test_a_label_does_not_make_it_ours(installed: Kube, alice: Kube) -> None:
    """Nor does a config map of one's own become the input of a run."""
    item = config_map(WHERE, "own")
    assert alice.create(item).status_code == 201
    answer = alice.patch(item, {"metadata": {"labels": OURS}})
    assert answer.status_code == 422
    assert alice.patch(item, {"data": {"a": "c"}}).status_code == 200
    assert alice.delete(item).status_code == 200


def test_a_collection_of_config_maps_can_still_be_deleted(installed: Kube, alice: Kube) -> None:
    """A request for a whole collection has no name; it must fail on what is ours only."""
    installed.create(config_map(WHERE, "one", batch="x")).raise_for_status()
    collection = f"/api/v1/namespaces/{WHERE}/configmaps"
    assert alice.request("DELETE", collection, labelSelector="batch=x").status_code == 200
    PROD.operator(installed).create(config_map(WHERE, "fx-routing", batch="x")).raise_for_status()
    assert alice.request("DELETE", collection, labelSelector="batch=x").status_code == 422
    PROD.operator(installed).delete(config_map(WHERE, "fx-routing")).raise_for_status()


def test_status_is_the_operators(installed: Kube, alice: Kube, rescuer: Kube) -> None:
    almighty = installed.as_user("dave", "system:masters")
    for item in (rollout(WHERE, "state"), retrain(WHERE, "state")):
        installed.create(item).raise_for_status()
        change = {"status": {"phase": "Stable" if item["kind"] == "ModelRollout" else "Idle"}}
        assert alice.patch(item, change, subresource="status").status_code == 403
        answer = almighty.patch(item, change, subresource="status")
        assert answer.status_code == 422
        assert "status is what the operator has seen" in message(answer)
        assert rescuer.patch(item, change, subresource="status").status_code == 200
        assert PROD.operator(installed).patch(item, change, subresource="status").status_code == 200
        # by the front door it is left out
        assert almighty.patch(item, {"status": {"phase": None}}).json()["status"]["phase"] == change["status"]["phase"]
        installed.delete(item)


def test_an_exposed_candidate_is_not_forgotten(installed: Kube, alice: Kube, rescuer: Kube) -> None:
    """Taking the finalizer away is a common reflex; the candidate would stay exposed with nobody to look after it."""
    operator = PROD.operator(installed)
    for remove in (operator, rescuer):
        item = rollout(WHERE, "exposed")
        installed.create(item).raise_for_status()
        operator.patch(item, {"metadata": {"finalizers": [FINALIZER]}}).raise_for_status()
        for answer in (alice.patch(item, {"metadata": {"finalizers": None}}), alice.replace(deep(alice.get(item).json(), WITHOUT))):
            assert answer.status_code == 422, answer.text
            assert "To end the walk now, annotate it with walkforward.dev/abort" in message(answer)
        assert alice.patch(item, {"metadata": {"finalizers": [FINALIZER, "example.com/own"]}}).status_code == 200
        assert alice.patch(item, {"metadata": {"finalizers": [FINALIZER]}}).status_code == 200
        assert alice.delete(item).status_code == 200
        assert alice.get(item).json()["metadata"]["deletionTimestamp"]
        assert remove.patch(item, {"metadata": {"finalizers": None}}).status_code == 200
        assert alice.get(item).status_code == 404


def test_the_break_glass_role_opens_nothing_else(rescuer: Kube) -> None:
    assert rescuer.request("GET", f"/api/v1/namespaces/{WHERE}/secrets").status_code == 403
    assert rescuer.request("GET", f"/api/v1/namespaces/{PROD.system}/configmaps").status_code == 403
    answer = rescuer.create(annotated(rollout(WHERE, "x"), {"walkforward.dev/approve": signed("alice")}))
    assert answer.status_code == 403


MACRO = {"name": "macro", "uri": "s3://models/macro.csv", "columns": ["vix"]}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"data": {"uri": "s3://elsewhere/bars.csv"}}, "data.trades.uri must lie below s3://models/ (values objectStore.bundleRoots"),
        ({"data": {"uri": "s3://models-of-others/x"}}, "data.uri, data.joins[].uri and data.trades.uri must lie below s3://models/"),
        ({"data": {"trades": {"uri": "s3://elsewhere/t"}}}, "data.trades.uri must lie below s3://models/"),
        ({"data": {"joins": [MACRO, {**MACRO, "name": "b", "uri": "s3://elsewhere/m"}]}}, "data.joins[].uri and data.trades.uri must lie"),
        ({"artifacts": {"uri": "s3://elsewhere/fx"}}, "artifacts.uri must lie below s3://models/ (value objectStore.bundleRoots"),
        ({"artifacts": {"secretName": "root"}}, "artifacts.secretName must be walkforward-object-store or other-store, or left out"),
        ({"job": {"image": "evil:1"}}, f"job.image must be {ROOT}, or left out"),
        ({"job": {"image": "registry/own"}}, f"job.image must be {ROOT}, or left out"),
        ({"job": {"image": "registry/fixed:2"}}, f"job.image must be {ROOT}, or left out"),
        ({"job": {"annotations": {"sidecar.istio.io/inject": "true"}}}, "job.annotations: a key is without prefix, or has one of []"),
        ({"job": {"labels": {"team.example.com/a": "b"}}}, "job.labels: a key is without prefix, or has one of []"),
    ],
)
def test_a_retrain_points_at_what_the_installation_allows(alice: Kube, spec: dict[str, Any], said: str) -> None:
    answer = alice.create(retrain(WHERE, **spec), dryRun="All")
    assert answer.status_code == 422, answer.text
    assert said in message(answer)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"data": {"uri": "s3://models"}, "artifacts": {"uri": "s3://models"}},
        {"data": {"joins": [MACRO], "trades": {"uri": "s3://models/trades/"}}},
        {"data": {"uri": "secret://BARS_DSN", "format": "postgres", "query": "SELECT * FROM bars"}},
        {"artifacts": {"secretName": "other-store"}},
        {"job": {"image": "registry/own:7"}},
        {"job": {"image": "registry/fixed:1"}},
        {"job": {"image": "walkforward/trainer:0.1.0"}},
        {"job": {"labels": {"desk": "fx"}, "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}}},
    ],
)
def test_what_is_allowed_is_accepted(alice: Kube, spec: dict[str, Any]) -> None:
    answer = alice.create(retrain(WHERE, **spec), dryRun="All")
    assert answer.status_code == 201, answer.text


def test_a_pinned_bundle_lies_below_the_roots(alice: Kube) -> None:
    def pinned(uri: str) -> dict[str, Any]:
        return rollout(WHERE, source={"retrainRef": None, "bundle": {"uri": uri, "digest": "sha256:" + "0" * 64}})

    assert alice.create(pinned("s3://models/fx/1/"), dryRun="All").status_code == 201
    answer = alice.create(pinned("s3://elsewhere/fx/1/"), dryRun="All")
    assert answer.status_code == 422
    assert "source.bundle.uri must lie below s3://models/" in message(answer)


def test_an_older_object_can_still_be_suspended(installed: Kube, alice: Kube) -> None:
    """The lists became shorter after it was made: it goes on as it is, but not further away."""
    item = retrain("default", "older", job={"image": "old:1"})
    moved = deep(item, {"metadata": {"namespace": WHERE}})
    assert alice.create(moved, dryRun="All").status_code == 422
    path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/wf-prod.walkforward.allowed-retrain"
    binding = installed.request("GET", path).json()
    installed.request("DELETE", path).raise_for_status()
    try:
        _retry(lambda: alice.create(moved).status_code == 201)
    finally:
        binding["metadata"].pop("resourceVersion")
        installed.request("POST", path.rpartition("/")[0], binding).raise_for_status()
    _retry(lambda: alice.patch(moved, {"spec": {"job": {"image": "other:1"}}}, dryRun="All").status_code == 422)
    assert alice.patch(moved, {"spec": {"suspend": True}}).status_code == 200
    installed.delete(moved)


def _retry(condition: Any) -> None:
    from releases import until

    until(condition, "admission has read its bindings", 10.0)


def test_people_do_not_see_the_other_release(alice: Kube) -> None:
    assert alice.request("GET", f"/apis/walkforward.dev/v1alpha1/namespaces/{WHERE}/modelrollouts").status_code == 200
    assert alice.request("GET", "/apis/walkforward.dev/v1alpha1/modelrollouts").status_code == 403
    assert alice.request("GET", f"/api/v1/namespaces/{PROD.system}/secrets").status_code == 403
