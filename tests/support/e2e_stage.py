"""Sets the stage for all scenarios, once a run: a cluster of its own, images, the operator with an object store, the bundles."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from e2e_kube import admin, await_true, item
from e2e_models import Model, make_models

from walkforward_cluster import images, open_cluster, tool
from walkforward_cluster.paths import default_name
from walkforward_core.documents import digest
from walkforward_core.objectstore import ObjectStore, open_store
from walkforward_demo.shell import Shell

if TYPE_CHECKING:
    from kube import Kube

__all__ = ["CLUSTER", "OWN_OPERATOR", "SCENARIOS", "SECRET", "SYSTEM", "WORK", "Stage", "install_operator", "set_up", "store_of"]

ROOT = Path(__file__).resolve().parents[2]
CHARTS = ROOT / "charts"
WORK = ROOT / ".work" / "e2e"
CLUSTER = default_name().replace("wf-", "e2e-")
"""A cluster of this checkout's tests alone: neither its demo nor another clone meets it."""
SYSTEM = "walkforward-system"
SECRET = "walkforward-object-store"
SCENARIOS = (
    "promoted", "drift", "slow", "harm", "errors", "nan", "kills", "by-hand", "pod-killed", "scaled", "store-away", "api-away",
    "deleted", "namespace", "two", "dry-run", "retrain", "rejected", "aborted",
    "ohlcv-direction", "multi-timeframe", "risk-filter", "daily-ensemble", "drift-robust", "shards",
)  # fmt: skip
"""Scenarios of the shared operator; each has the namespace ``e2e-<scenario>``."""
OWN_OPERATOR = ("op-killed", "op-gone")
"""Scenarios with a release of their own in ``walkforward-<scenario>``."""


class Stage(msgspec.Struct, frozen=True):
    """Where everything is; written by the process that set the stage, read by those that play on it."""

    kubeconfig: str
    tags: dict[str, str]
    models: dict[str, Model]
    cluster: str = ""
    """Digest of the kubeconfig: a cluster that was made anew has other keys."""

    @property
    def shell(self) -> Shell:
        return Shell(tool("kubectl"), tool("helm"), Path(self.kubeconfig))

    def kube(self) -> Kube:
        return admin(Path(self.kubeconfig))


def set_up() -> Stage:
    """Bring everything up, or take what is up already; write it down for the workers."""
    began = time.monotonic()
    cluster = open_cluster(CLUSTER)
    cluster.up()
    built = images.build()
    known = digest(cluster.kubeconfig.read_bytes())
    stage = Stage(str(cluster.kubeconfig), {image.part: image.tag for image in built}, {}, known)
    before = _before(stage)
    if before is None:
        images.load(cluster, built)
    _say(began, "the cluster is up, the images are in it")
    kube = stage.kube()
    for scenario in (*SCENARIOS, *OWN_OPERATOR):
        _namespace(kube, f"e2e-{scenario}")
    install_operator(stage, kube, "walkforward", SYSTEM, [f"e2e-{scenario}" for scenario in SCENARIOS], embedded=True)
    _spread_secret(kube)
    _say(began, "the operator runs")
    models = before.models if before is not None else make_models(WORK / "models", store_of(kube))
    stage = msgspec.structs.replace(stage, models=models)
    kube.client.close()
    (WORK / "stage.json").write_bytes(msgspec.json.encode(stage))
    _say(began, "the bundles are made, the stage is set")
    return stage


def _before(stage: Stage) -> Stage | None:
    """Return what was set up before in this very cluster for these very images, None where anything differs."""
    file = WORK / "stage.json"
    known = msgspec.json.decode(file.read_bytes(), type=Stage) if file.exists() else None
    return known if known is not None and (known.cluster, known.tags) == (stage.cluster, stage.tags) else None


def _say(began: float, what: str) -> None:
    print(f"e2e: {what} after {time.monotonic() - began:.0f} s", flush=True)


def install_operator(stage: Stage, kube: Kube, release: str, system: str, watched: list[str], *, embedded: bool) -> None:
    """Install a release of the operator by Helm and wait until it runs; only the one with the store brings the CRDs."""
    _namespace(kube, system)
    own = str(embedded).lower()
    stage.shell.helm(
        "upgrade", "--install", release, str(CHARTS / "walkforward"), "-n", system,
        "-f", str(CHARTS / "walkforward" / "values-demo.yaml"),
        "--set", f"watchNamespaces={{{','.join(watched)}}}",
        "--set", f"image.tag={tag(stage, 'operator')}", "--set", f"trainer.image.tag={tag(stage, 'trainer')}",
        "--set", f"objectStore.embedded.enabled={own}", "--set", f"crds.install={own}",
        "--wait", "--timeout", "3m",
    )  # fmt: skip


def tag(stage: Stage, part: str) -> str:
    """Return the tag alone of the image of a part."""
    return stage.tags[part].rsplit(":", 1)[1]


def store_of(kube: Kube) -> ObjectStore:
    """Return the object store, reached at its Service's address."""
    services = kube.request("GET", f"/api/v1/namespaces/{SYSTEM}/services", labelSelector="app.kubernetes.io/component=object-store")
    (service,) = services.json()["items"]
    secret = kube.get(item("Secret", SYSTEM, SECRET)).json()["data"]
    environment = {name: base64.b64decode(value).decode() for name, value in secret.items()}
    address = f"http://{service['spec']['clusterIP']}:7070"
    return open_store("s3://models", allow_file=False, env={**environment, "AWS_ENDPOINT_URL": address})


def _namespace(kube: Kube, name: str) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    if kube.get(body).is_success:
        return
    kube.create(body).raise_for_status()
    await_true(f"namespace {name} is there", lambda: kube.get(body).is_success, 10)


def _spread_secret(kube: Kube) -> None:
    """Give the store's Secret to the namespaces that have an operator of their own: a team would do that by its secret manager."""
    secret = kube.get(item("Secret", SYSTEM, SECRET)).json()
    for scenario in OWN_OPERATOR:
        for namespace in (f"walkforward-{scenario}", f"e2e-{scenario}"):
            _namespace(kube, namespace)
            kube.apply(item("Secret", namespace, SECRET, data=secret["data"], type="Opaque")).raise_for_status()
