"""The real operator as a process, on a real API server without nodes: pods made by hand, their admin ports served on loopback.

Where there is no kubelet, this stands in for two things only: it brings the routing document to a pod whose annotation has changed,
and it answers the admin port as a server would.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
from aiohttp import web
from rollout_cluster import Server
from rollout_world import bundle

from walkforward_core.bundle import FeatureReference, FileRecord, Reference
from walkforward_core.documents import digest
from walkforward_core.objectstore import open_store
from walkforward_core.pods import Applied
from walkforward_core.routing import RoutingDocument
from walkforward_operator.cluster.errors import ClusterError, NotFound
from walkforward_operator.cluster.kinds import CONFIG_MAP, DEPLOYMENT, NAMESPACE, POD, ROLLOUT
from walkforward_operator.rollout.observe import subject_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from walkforward_operator.cluster.api import KubernetesCluster
    from walkforward_operator.rollout.status import RolloutStatus

TARGET = "fx-server"
PER_POLL = 5_000


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


class Process:
    """One life of the operator."""

    def __init__(self, kubeconfig: Path, folder: Path, namespaces: str, *, system: str, admin_port: int, env: Mapping[str, str]) -> None:
        self.port = free_port()
        self.log = folder / f"operator-{uuid.uuid4().hex[:6]}.log"
        environment = {
            "PATH": os.environ["PATH"],
            # as in the image: a fifth less memory with thousands of objects
            "MALLOC_ARENA_MAX": "1",
            "MALLOC_TRIM_THRESHOLD_": "131072",
            "KUBECONFIG": str(kubeconfig),
            "WATCH_NAMESPACES": namespaces,
            "POD_UID": "11111111-2222-3333-4444-555555555555",
            "POD_NAME": "operator-0",
            "POD_NAMESPACE": system,
            "OBJECT_STORE_BUNDLE_ROOTS": "s3://models/",
            "OBJECT_STORE_LEDGER_URI": "s3://models/ledger",
            "TRAINER_IMAGE": "walkforward/trainer:dev",
            "METRICS_PORT": str(self.port),
            "SERVER_ADMIN_PORT": str(admin_port),
            **env,
        }
        with self.log.open("wb") as out:
            self._process = subprocess.Popen([sys.executable, "-m", "walkforward_operator"], env=environment, stdout=out, stderr=out)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> int | None:
        return self._process.poll()

    def stop(self) -> int:
        """Ask it to end, as the kubelet does."""
        self._process.terminate()
        return self._process.wait(timeout=20)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(timeout=10)

    def rss_mb(self) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmRSS")

    async def metrics(self) -> dict[str, float]:
        """Return every sample by its name and labels."""
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{self.port}/metrics") as answer:
            text = await answer.text()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if not line.startswith("#")}

    async def ready(self, seconds: float = 30.0) -> None:
        async with asyncio.timeout(seconds), aiohttp.ClientSession() as session:
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"http://127.0.0.1:{self.port}/readyz") as answer:
                        if answer.status == 200:
                            return
                assert self.ended is None, self.log.read_text()[-3000:]
                await asyncio.sleep(0.1)


class Scene:
    """One namespace with a target, its pods and bundles."""

    def __init__(self, cluster: KubernetesCluster, s3: Mapping[str, str], namespace: str) -> None:
        self.cluster = cluster
        self.s3 = s3
        self._store = open_store("s3://models/", allow_file=False, env=s3)
        self.namespace = namespace
        self.admin_port = free_port()
        self.servers: dict[str, Server] = {}
        self._annotations: dict[str, str] = {}
        self._runners: list[web.AppRunner] = []
        self._number = 0
        self.kubelet_rests = False

    async def prepare(self, pods: int = 2) -> None:
        await make_namespace(self.cluster, self.namespace)
        labels = {"app": TARGET, "walkforward.dev/target": TARGET}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "server", "image": "none"}]}}
        spec = {"replicas": pods, "selector": {"matchLabels": {"app": TARGET}}, "template": template}
        await self.cluster.create(DEPLOYMENT, {"metadata": {"namespace": self.namespace, "name": TARGET}, "spec": spec}, manager="test")
        for _ in range(pods):
            await self.add_pod()

    async def add_pod(self) -> Server:
        """Make a pod that runs, and serve its admin port."""
        self._number += 1
        name, address = f"{TARGET}-{self._number}", f"127.0.{os.getpid() % 200 + 1}.{self._number}"
        body = {
            "metadata": {"namespace": self.namespace, "name": name, "labels": {"app": TARGET, "walkforward.dev/target": TARGET}},
            "spec": {"containers": [{"name": "server", "image": "none"}], "automountServiceAccountToken": False},
        }
        made = await self.cluster.create(POD, body, manager="test")
        status = {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        await pod_status(self.cluster, self.namespace, name, status)
        server = Server(made["metadata"]["uid"], address, str(uuid.uuid4()))
        self.servers[name] = server
        await self._serve(server)
        return server

    async def _serve(self, server: Server) -> None:
        async def report(_: web.Request) -> web.Response:
            return web.Response(body=server.report().to_bytes(), content_type="application/json")

        async def stats(_: web.Request) -> web.Response:
            return web.Response(body=server.stats(PER_POLL).to_bytes(), content_type="application/json")

        application = web.Application()
        application.add_routes([web.get("/v1/routing", report), web.get("/v1/stats", stats)])
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, server.address, self.admin_port).start()
        self._runners.append(runner)

    async def kubelet(self) -> None:
        """Bring the document to every pod whose annotation has changed, until cancelled."""
        while True:
            with contextlib.suppress(ClusterError):  # the API server may be away: a kubelet tries again
                for pod in () if self.kubelet_rests else await self.cluster.list(POD, self.namespace):
                    name = pod["metadata"]["name"]
                    value = (pod["metadata"].get("annotations") or {}).get("walkforward.dev/routing", "")
                    if value != self._annotations.get(name, ""):
                        self._annotations[name] = value
                        await self._bring(self.servers[name])
            await asyncio.sleep(0.05)

    async def _bring(self, server: Server) -> None:
        found = await self.cluster.get(CONFIG_MAP, self.namespace, f"{TARGET}-routing")
        text = found["data"]["routing.json"].encode()
        server.document = RoutingDocument.parse(text)
        server.applied = Applied(generation=server.document.generation, digest=digest(text))

    def publish(self, name: str) -> dict[str, str]:
        """Put a bundle into the store; return it as a rollout pins it."""
        feature = FeatureReference(name="a", edges=tuple(float(edge) for edge in range(9)), counts=(10,) * 10)
        reference = Reference(rows=100, null_m={}, features=(feature, feature), score=feature).to_bytes()
        files = {"model.onnx": b"model " + name.encode(), "reference.json": reference}
        records = {file: FileRecord(sha256=digest(data)[7:], size=len(data)) for file, data in files.items()}
        manifest = bundle(name, files=records).manifest.to_bytes()
        for file, data in {**files, "manifest.json": manifest}.items():
            self._store.put(f"s3://models/{self.namespace}/{name}/{file}", data)
        return {"uri": f"s3://models/{self.namespace}/{name}/", "digest": digest(manifest)}

    async def rollout(self, pinned: dict[str, str], **spec: Any) -> None:
        """Create the rollout, or point it to another bundle."""
        metadata = {"namespace": self.namespace, "name": "fx"}
        if not await self.exists():
            whole = {"target": {"deployment": TARGET}, "source": {"bundle": pinned}, **spec}
            await self.cluster.create(ROLLOUT, {"metadata": metadata, "spec": whole}, manager="test")
        else:
            await self.cluster.patch(ROLLOUT, {"metadata": metadata, "spec": {"source": {"bundle": pinned}, **spec}}, manager="test")

    async def exists(self) -> bool:
        try:
            await self.cluster.get(ROLLOUT, self.namespace, "fx")
        except NotFound:
            return False
        return True

    async def status(self) -> RolloutStatus:
        return subject_of(await self.cluster.get(ROLLOUT, self.namespace, "fx")).status

    async def document(self) -> RoutingDocument:
        found = await self.cluster.get(CONFIG_MAP, self.namespace, f"{TARGET}-routing")
        return RoutingDocument.parse(found["data"]["routing.json"].encode())

    async def until(self, phase: str, *, version: str = "", seconds: float = 60.0) -> RolloutStatus:
        async with asyncio.timeout(seconds):
            while True:
                found = await self.status()
                if found.phase == phase and (not version or (found.stable is not None and found.stable.version == version)):
                    return found
                await asyncio.sleep(0.1)

    async def close(self) -> None:
        for runner in self._runners:
            await runner.cleanup()


@contextlib.asynccontextmanager
async def scene(cluster: KubernetesCluster, s3: Mapping[str, str], namespace: str, *, pods: int = 2) -> AsyncIterator[Scene]:
    """Give a prepared scene with its stand-in for the kubelet."""
    made = Scene(cluster, s3, namespace)
    await made.prepare(pods)
    kubelet = asyncio.create_task(made.kubelet())
    try:
        yield made
    finally:
        kubelet.cancel()
        await asyncio.gather(kubelet, return_exceptions=True)
        await made.close()


async def make_namespace(cluster: KubernetesCluster, name: str) -> None:
    """Create a namespace with the account that pods need; there is no controller to make it."""
    await cluster.create(NAMESPACE, {"metadata": {"name": name}}, manager="test")
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    await cluster._send("POST", f"/api/v1/namespaces/{name}/serviceaccounts", body=account)


async def pod_status(cluster: KubernetesCluster, namespace: str, name: str, status: dict[str, Any]) -> None:
    """Set a pod's status, as its kubelet would."""
    path = POD.path(namespace, name, subresource="status")
    await cluster._send("PATCH", path, body={"status": status}, content="application/merge-patch+json")


def timeless(status: RolloutStatus) -> dict[str, Any]:
    """Return what must not depend on when something happened."""
    found: dict[str, Any] = msgspec.to_builtins(status)
    kept = {name: found[name] for name in ("phase", "reason", "weight", "stable", "candidate", "previous", "walk", "handled")}
    kept["stable"] = status.stable.version if status.stable is not None else None
    history = [(one.version, one.outcome, one.reason, one.weight) for one in status.history]
    return {**kept, "history": history, "conditions": [(one.type, one.status, one.reason) for one in status.conditions]}
