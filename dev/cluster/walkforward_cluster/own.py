"""The cluster of our own: one node in its own namespaces, every component a process with a record and a log."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from walkforward_cluster import addons, addresses, cgroups, kubeconfig, network, packages, pki, sandbox
from walkforward_cluster.addresses import Addresses
from walkforward_cluster.api import condition
from walkforward_cluster.binaries import ensure, folder, tool
from walkforward_cluster.errors import ClusterError
from walkforward_cluster.locks import locked
from walkforward_cluster.paths import cache, checkout, state_root
from walkforward_cluster.processes import CLIENTS, COMPONENTS, Processes
from walkforward_cluster.procs import Daemons
from walkforward_cluster.progress import say, step
from walkforward_cluster.scratch import scratch_images
from walkforward_cluster.shell import run

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

_IDENTITIES = ("admin", *CLIENTS)
_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost", "127.0.0.1")


@dataclass(frozen=True, slots=True)
class OwnCluster:
    """A cluster on this very machine, without a container engine. Needs root."""

    name: str

    @property
    def state(self) -> Path:
        """Everything that the cluster keeps; gone after `down`."""
        return state_root() / self.name

    @property
    def ours(self) -> bool:
        """We make it and take it down."""
        return True

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig with all rights."""
        return self.state / "kubeconfig" / "admin.yaml"

    @property
    def processes(self) -> Processes:
        """The running cluster; an error where it is not up."""
        facts = self._facts()
        if facts is None:
            raise ClusterError(f"cluster {self.name} is not up", reason=f"{self.state} holds none", next_step="`make cluster-up`")
        return Processes(self.name, self.state, Addresses(ipaddress.IPv4Network(facts["block"])), Path(facts["bin"]))

    def up(self) -> None:
        """Bring the cluster to a Ready node with DNS; a healthy one stays, a broken one is replaced."""
        if os.geteuid() != 0:
            raise ClusterError(
                "cannot make a cluster", reason="network and mount namespaces need root", next_step="run as root, or set CONTEXT"
            )
        with self._locked():
            packages.ensure(packages.NODE)
            ensure()
            if self._healthy():
                say(f"cluster {self.name} is up already")
                return
            if self._traces():
                say(f"cluster {self.name} is broken or of another boot: starting anew")
                self._remove()
            self._start()

    def down(self) -> None:
        """Remove every trace; may be repeated."""
        with self._locked(), step(f"taking {self.name} down"):
            self._remove()
        if state_root().exists() and not any(path.is_dir() for path in state_root().iterdir()):
            sandbox.remove_created(state_root())
            state_root().rmdir()

    def status(self) -> tuple[bool, list[str]]:
        """Whether all is well, and lines that say what runs."""
        if self._facts() is None:
            return False, [f"cluster {self.name}: not up"]
        processes = self.processes
        daemons, own = processes.daemons, processes.addresses
        lines = [f"cluster {self.name}: API {processes.plane.server}, pods {own.pods}, services {own.services}"]
        lines += [f"  {name}: {'runs' if daemons.alive(name) else f'DOES NOT RUN, see {daemons.log(name)}'}" for name in COMPONENTS]
        lines += [f"  node {self.name}: {'Ready' if self._node_ready() else 'NOT READY'}", f"  kubeconfig: {self.kubeconfig}"]
        return self._healthy(), lines

    def load_images(self, archives: Sequence[Path]) -> None:
        """Import docker-archive files into the node's containerd."""
        for archive in archives:
            run([*self.processes.ctr, "images", "import", str(archive)], hint="is the cluster up? `make cluster-status`")

    def exec_in_netns(self, command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
        """Run a command in the node's network namespace; its exit code is the caller's to judge."""
        return run([*self.processes.network.prefix, *command], check=False)

    def stop_apiserver(self, *, kill: bool = False) -> None:
        """Take the API server away; pods, kubelet and Services stay."""
        Daemons(self.state).stop("kube-apiserver", kill=kill, grace=2.0)

    def start_apiserver(self) -> None:
        """Bring the API server back, and what gave up without it."""
        processes = self.processes
        if not processes.daemons.alive("kube-apiserver"):
            processes.launch("kube-apiserver")
        processes.wait("the API server", processes.api.ready, "kube-apiserver")
        processes.revive()

    def _start(self) -> None:
        began = time.monotonic()
        with step(f"starting cluster {self.name}"):
            self._prepare()
            processes = self.processes
            processes.launch("etcd")
            processes.launch("kube-apiserver")
            processes.sandbox.start()
            processes.launch("containerd")
            archives = scratch_images()
            processes.wait("containerd", lambda: run([*processes.ctr, "version"], check=False).returncode == 0, "containerd")
            self.load_images(list(archives.values()))
            processes.wait("the API server", processes.api.ready, "kube-apiserver")
            processes.revive()
            self._apply_addons()
            processes.wait("the node", self._node_ready, "kubelet")
            processes.wait("DNS", self._dns_ready, "kubelet")
        say(f"cluster {self.name} is up in {time.monotonic() - began:.1f} s; kubeconfig {self.kubeconfig}")

    def _prepare(self) -> None:
        self.state.mkdir(parents=True, exist_ok=True, mode=0o711)
        # Held until our routes are there for others to see.
        with locked(cache() / "locks" / "addresses", "choosing addresses"):
            own = addresses.choose(self.name, [*network.routed(), *_recorded_blocks()])
            facts = {"name": self.name, "block": str(own.block), "checkout": str(checkout()), "bin": str(folder())}
            (self.state / "cluster.json").write_text(json.dumps(facts))
            processes = self.processes
            processes.network.add()
        cgroups.create(self.name)
        for path in addons.volume_folders(self.state / "volumes"):
            path.mkdir(parents=True)
            path.chmod(0o777)
        self._identify(processes)
        processes.node.write()

    def _identify(self, processes: Processes) -> None:
        own, keys = processes.addresses, self.state / "pki"
        pki.control_plane(keys, api_hosts=(*_NAMES, own.node, own.api_service), node=self.name, node_address=own.node)
        for identity in _IDENTITIES:
            path = self.state / "kubeconfig" / f"{identity}.yaml"
            kubeconfig.write(path, self.name, processes.plane.server, keys, identity)

    def _apply_addons(self) -> None:
        objects = addons.manifests(self.processes.addresses, self.state / "volumes", self.name)
        document = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        run([tool("kubectl"), f"--kubeconfig={self.kubeconfig}", "apply", "--server-side", "-f", "-"], stdin=document)

    def _healthy(self) -> bool:
        if self._facts() is None:
            return False
        alive = all(self.processes.daemons.alive(name) for name in COMPONENTS)
        return alive and self.processes.api.ready() and self._node_ready()

    def _node_ready(self) -> bool:
        return condition(self.processes.api.get(f"/api/v1/nodes/{self.name}"), "Ready")

    def _dns_ready(self) -> bool:
        deployment = self.processes.api.get("/apis/apps/v1/namespaces/kube-system/deployments/coredns")
        return bool((deployment or {}).get("status", {}).get("readyReplicas"))

    def _facts(self) -> dict[str, str] | None:
        path = self.state / "cluster.json"
        return dict(json.loads(path.read_text())) if path.exists() else None

    def _locked(self) -> AbstractContextManager[None]:
        return locked(cache() / "locks" / self.name, f"bringing {self.name} up or down")

    def _traces(self) -> bool:
        return self.state.exists() or network.namespace(self.name).exists() or network.link_exists(addresses.interface(self.name, "h"))

    def _remove(self) -> None:
        daemons = Daemons(self.state)
        # Its end is the end of everything in the node's pid namespace: kubelet, containerd, pods.
        for name in (sandbox.NAME, *reversed(COMPONENTS)):
            daemons.stop(name, kill=True)
        network.end_processes(self.name)
        cgroups.remove(self.name)
        network.remove(self.name)
        shutil.rmtree(self.state, ignore_errors=True)
        if self.state.exists():
            raise ClusterError(
                f"{self.state} is still there", reason="something in it is in use", next_step=f"grep {self.name} /proc/mounts"
            )


def _recorded_blocks() -> list[ipaddress.IPv4Network]:
    found = state_root().glob("*/cluster.json")
    return [ipaddress.IPv4Network(json.loads(path.read_text())["block"]) for path in found]
