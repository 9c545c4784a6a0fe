"""A control plane without nodes, for tests and load: etcd, API server, controllers, scheduler on loopback; kwok for fake nodes."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Self

from walkforward_cluster import kubeconfig, pki
from walkforward_cluster.api import Api
from walkforward_cluster.binaries import ensure
from walkforward_cluster.components import ControlPlane, Ports
from walkforward_cluster.errors import ClusterError
from walkforward_cluster.procs import Daemons, wait_until
from walkforward_cluster.progress import say

_READY_S = 90.0
_SERVICES = "10.254.0.0/24"
_IDENTITIES = ("admin", "kube-controller-manager", "kube-scheduler", "kwok")
_KWOK_RIGHTS = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "walkforward-kwok"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "walkforward-kwok"}],
}


class ApiOnly:
    """`with ApiOnly() as api:` gives a real API server at `api.server`, with an admin's file at `api.kubeconfig`.

    `kwok_nodes` fake nodes run pods that become Ready at once and do nothing. A guard process cleans up even where this one is killed.
    """

    def __init__(self, *, kwok_nodes: int = 0, controllers: bool = True, keep_logs: Path | None = None) -> None:
        self._kwok_nodes = kwok_nodes
        self._controllers = controllers
        self._keep_logs = keep_logs
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._binaries = ensure()
            self.state = Path(tempfile.mkdtemp(prefix="walkforward-api-"))
            self._daemons = Daemons(self.state)
            stack.callback(self._clean)
            self._guard = self._watch_over()
            self._plane = self._prepare()
            self._start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def server(self) -> str:
        """The API server's URL."""
        return self._plane.server

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig with all rights."""
        return self.state / "kubeconfig" / "admin.yaml"

    @property
    def api(self) -> Api:
        """A minimal client with all rights."""
        return Api(self.server, self.state / "pki")

    def start_apiserver(self) -> None:
        """Start the API server and wait until it is ready."""
        self._daemons.start("kube-apiserver", self._plane.apiserver())
        began = time.monotonic()
        ready = wait_until(lambda: self.api.ready() or not self._daemons.alive("kube-apiserver"), _READY_S)
        if not ready or not self._daemons.alive("kube-apiserver"):
            reason = self._daemons.last_words("kube-apiserver")
            raise ClusterError("the API server is not ready", reason=reason, next_step=f"read {self._daemons.log('kube-apiserver')}")
        self._revive()
        say(f"API server at {self.server} ready in {time.monotonic() - began:.1f} s")

    def stop_apiserver(self, *, kill: bool = False) -> None:
        """Stop the API server; `kill` gives it no time to say goodbye. Asked, it still waits for its watchers, here 2 s at most."""
        self._daemons.stop("kube-apiserver", kill=kill, grace=2.0)

    def log(self, component: str) -> Path:
        """A component's log."""
        return self._daemons.log(component)

    def _prepare(self) -> ControlPlane:
        ports = Ports(*_free_ports(len(fields(Ports))))
        plane = ControlPlane(self._binaries, self.state, "127.0.0.1", ports, service_cidr=_SERVICES, kubelets=False)
        hosts = ("127.0.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
        pki.control_plane(self.state / "pki", api_hosts=hosts, node="none", node_address="127.0.0.1")
        for identity in _IDENTITIES:
            path = self.state / "kubeconfig" / f"{identity}.yaml"
            kubeconfig.write(path, "walkforward-api", plane.server, self.state / "pki", identity)
        return plane

    def _start(self) -> None:
        self._daemons.start("etcd", self._plane.etcd())
        self.start_apiserver()
        if self._kwok_nodes:
            self._start_kwok()

    def _revive(self) -> None:
        """Start the others where they do not run: they may have given up while the API server was away."""
        commands = {"kube-controller-manager": self._plane.controller_manager(), "kube-scheduler": self._plane.scheduler()}
        for name, command in commands.items() if self._controllers else ():
            if not self._daemons.alive(name):
                self._daemons.start(name, command)

    def _start_kwok(self) -> None:
        self._create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", _KWOK_RIGHTS)
        config = self.state / "kubeconfig" / "kwok.yaml"
        flags = ["--manage-all-nodes=true", "--node-lease-duration-seconds=40", "--cidr=10.253.0.0/16"]
        self._daemons.start("kwok", [self._binaries / "kwok", f"--kubeconfig={config}", *flags])
        for index in range(self._kwok_nodes):
            self._create("/api/v1/nodes", fake_node(f"kwok-{index}"))

    def _create(self, path: str, item: object) -> None:
        status, body = self.api.request("POST", path, item)
        if status >= 300:
            raise ClusterError(f"the API server refused {path}", reason=body.decode(errors="replace"), next_step="report this")

    def _watch_over(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "walkforward_cluster.guard", str(self.state)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, cwd=Path(__file__).parents[1])

    def _clean(self) -> None:
        for record in self._daemons.records():
            self._daemons.stop(record.name, kill=True)
        if self._keep_logs is not None and (self.state / "logs").exists():
            shutil.copytree(self.state / "logs", self._keep_logs, dirs_exist_ok=True)
        shutil.rmtree(self.state, ignore_errors=True)
        guard = getattr(self, "_guard", None)
        if guard is not None:
            guard.communicate()


def fake_node(name: str) -> dict[str, object]:
    """A node that kwok plays."""
    resources = {"cpu": "64", "memory": "256Gi", "pods": "5000"}
    metadata = {"name": name, "annotations": {"kwok.x-k8s.io/node": "fake"}, "labels": {"kubernetes.io/hostname": name, "type": "kwok"}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": {"allocatable": resources, "capacity": resources}}


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(server.getsockname()[1]) for server in held]
    for server in held:
        server.close()
    return ports
