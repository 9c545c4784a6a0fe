"""Two releases side by side, installed by Helm on a control plane without nodes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from examples import retrain, rollout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx
    from kube import Kube

CHARTS = Path(__file__).parents[2] / "charts"
KUBERNETES = "1.34.4"
BREAK_GLASS = "walkforward:break-glass"
RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True)
class Release:
    """One installation of the operator and the namespace that it looks after."""

    system: str
    watched: str

    def operator(self, kube: Kube) -> Kube:
        """The API as this release's operator."""
        return kube.as_account(self.system, "walkforward")


PROD = Release("wf-prod", "fx-prod")
STAGING = Release("wf-staging", "fx-staging")


def namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def config_map(where: str, name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": where, "labels": labels}, "data": {"a": "b"}}


def install(kube: Kube, release: Release, *settings: str) -> None:
    """Install a release; the CRDs that the tests put there are taken over by the one that owns them."""
    values = [part for setting in (f"watchNamespaces={{{release.watched}}}", *settings) for part in ("--set", setting)]
    answer = kube.helm("install", "walkforward", str(CHARTS / "walkforward"), "-n", release.system, "--take-ownership", *values)
    assert answer.returncode == 0, answer.stderr


def both(kube: Kube) -> None:
    """Install production and staging, and give two people the cluster's own editor role in both namespaces."""
    for release in (PROD, STAGING):
        for name in (release.system, release.watched):
            kube.create(namespace(name)).raise_for_status()
    install(kube, PROD, "allowedSecrets={other-store}", "trainer.allowedImages={registry/own:7,registry/fixed:1}")
    install(kube, STAGING, "crds.install=false", "approvals.groups={risk}")
    for release in (PROD, STAGING):
        kube.create(editors(release.watched)).raise_for_status()
        # a controller aggregates the roles of our kinds into the cluster's own, some time after they were made
        until(partial(_may_write, kube.as_user("alice"), release.watched), "people may write our kinds")
    for index, probe in enumerate(_probes(kube)):
        until(partial(_refused, probe), f"admission refuses probe {index}")


def editors(where: str) -> dict[str, Any]:
    subjects = [{"kind": "User", "name": name, "apiGroup": RBAC} for name in ("alice", "bob")]
    role = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "edit"}
    metadata = {"name": "editors", "namespace": where}
    return {"apiVersion": f"{RBAC}/v1", "kind": "RoleBinding", "metadata": metadata, "roleRef": role, "subjects": subjects}


def _probes(kube: Kube) -> Iterator[Callable[[], httpx.Response]]:
    """One request for each kind of policy: a policy counts from the moment at which the API server has read it."""
    for release in (PROD, STAGING):
        operator, where = release.operator(kube), release.watched
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "probe", "namespace": where},
            "spec": {"containers": [{"name": "a", "image": "a"}]},
        }
        signed = {"walkforward.dev/run": "x", "walkforward.dev/approve": "x"}
        bundle = {"retrainRef": None, "bundle": {"uri": "s3://elsewhere/x", "digest": "sha256:" + "0" * 64}}
        for user, item in (
            (kube, config_map(where, "probe-routing")),
            (operator, config_map(where, "probe")),
            (kube, retrain(where, data={"uri": "s3://elsewhere/x"})),
            (kube, rollout(where, source=bundle)),
            (kube, annotated(retrain(where), signed)),
            (kube, annotated(rollout(where), signed)),
        ):
            yield partial(user.create, item, dryRun="All")
        # with all rights but the operator's name, so that admission is what answers
        yield partial(kube.as_user(operator.user, "system:masters").create, pod, dryRun="All")


def annotated(item: dict[str, Any], annotations: dict[str, str]) -> dict[str, Any]:
    """The same object with annotations."""
    return {**item, "metadata": {**item["metadata"], "annotations": annotations}}


def _refused(probe: Callable[[], httpx.Response]) -> bool:
    return probe().status_code == 422


def _may_write(person: Kube, where: str) -> bool:
    return person.create(retrain(where), dryRun="All").status_code == 201


def until(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Wait until ``condition`` holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)
