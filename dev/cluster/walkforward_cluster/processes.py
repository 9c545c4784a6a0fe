"""The processes of one cluster of our own: how each is started, and when it counts as ready."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from walkforward_cluster import packages, sandbox
from walkforward_cluster.api import Api
from walkforward_cluster.components import ControlPlane, Ports
from walkforward_cluster.errors import ClusterError
from walkforward_cluster.network import Network
from walkforward_cluster.node import Node
from walkforward_cluster.procs import Daemons, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from walkforward_cluster.addresses import Addresses

# In the order of starting; stopped in the reverse one.
COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", sandbox.NAME, "containerd", "kubelet", "kube-proxy")
# What needs the API server, and may have given up while it was away.
CLIENTS = ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
_INSIDE = ("containerd", "kubelet")
_READY_S = 120.0
# Nothing of the caller's: a proxy setting would send the components' own requests away. /usr/sbin is for nft, mount and runc.
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}


@dataclass(frozen=True, slots=True)
class Processes:
    """One cluster's processes, from the facts that `up` has written down."""

    name: str
    state: Path
    addresses: Addresses
    bin: Path

    @property
    def daemons(self) -> Daemons:
        """Their records."""
        return Daemons(self.state)

    @property
    def network(self) -> Network:
        """Where they run."""
        return Network(self.name, self.addresses)

    @property
    def sandbox(self) -> sandbox.Sandbox:
        """Where containerd, the kubelet and the pods run."""
        return sandbox.Sandbox(self.state, self.network)

    @property
    def plane(self) -> ControlPlane:
        """The control plane's command lines."""
        return ControlPlane(self.bin, self.state, self.addresses.node, Ports(), service_cidr=str(self.addresses.services), kubelets=True)

    @property
    def node(self) -> Node:
        """The node's files."""
        plugin = packages.find("host-local")
        if plugin is None:
            raise ClusterError("no CNI plugins", reason="host-local was not found", next_step="apt-get install containernetworking-plugins")
        return Node(self.name, self.state, self.addresses, Path(plugin).parent)

    @property
    def api(self) -> Api:
        """A minimal client with all rights."""
        return Api(self.plane.server, self.state / "pki")

    @property
    def ctr(self) -> list[str]:
        """Containerd's client, pointed at this node's."""
        return ["ctr", f"--address={self.state / 'containerd.sock'}", "--namespace=k8s.io"]

    def launch(self, name: str) -> None:
        """Start one component."""
        inside = name in _INSIDE
        prefix = self.sandbox.prefix if inside else self.network.prefix
        self.daemons.start(name, self._command(name), prefix=prefix, env=_ENVIRONMENT, forks=inside)

    def revive(self) -> None:
        """Start the clients of the API server that do not run."""
        for name in CLIENTS:
            if not self.daemons.alive(name):
                self.launch(name)

    def wait(self, what: str, ready: Callable[[], bool], component: str) -> None:
        """Wait until `ready`; the end of `component` ends the waiting, its last words are the reason."""
        if wait_until(lambda: ready() or not self.daemons.alive(component), _READY_S, every=0.1) and self.daemons.alive(component):
            return
        state = f"not after {_READY_S:.0f} s" if self.daemons.alive(component) else "does not run"
        reason = f"{component} {state}: {self.daemons.last_words(component)}"
        raise ClusterError(f"{what} is not ready", reason=reason, next_step=f"read {self.state / 'logs'}")

    def _command(self, name: str) -> list[str]:
        config = self.state / "config"
        commands: dict[str, Callable[[], list[str]]] = {
            "etcd": self.plane.etcd,
            "kube-apiserver": self.plane.apiserver,
            "kube-controller-manager": self.plane.controller_manager,
            "kube-scheduler": self.plane.scheduler,
            "containerd": lambda: [packages.find("containerd") or "containerd", "--config", str(config / "containerd.toml")],
            "kubelet": lambda: self.node.kubelet_command(self.bin / "kubelet"),
            "kube-proxy": lambda: [str(self.bin / "kube-proxy"), f"--config={config / 'kube-proxy.yaml'}"],
        }
        return commands[name]()
