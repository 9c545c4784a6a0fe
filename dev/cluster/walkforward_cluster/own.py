"""The cluster of our own: one node in its own namespaces, every component a process with a record and a log."""

from __future__ import annotations

import ipaddress
import json
import os
import platform
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from walkforward_cluster import addons, cgroups, kubeconfig, network, packages, pki, sandbox, scratch
from walkforward_cluster.addresses import Addresses, choose
from walkforward_cluster.api import Api, condition
from walkforward_cluster.binaries import ensure, folder, tool
from walkforward_cluster.components import ControlPlane
from walkforward_cluster.errors import ClusterError
from walkforward_cluster.locks import locked
from walkforward_cluster.network import Network
from walkforward_cluster.node import PAUSE_IMAGE, Node
from walkforward_cluster.paths import cache, checkout, state_root
from walkforward_cluster.procs import Daemons, wait_until
from walkforward_cluster.progress import say, step
from walkforward_cluster.shell import run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

_IDENTITIES = ("admin", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
# In the order of starting; stopped in the reverse one.
_COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", sandbox.NAME, "containerd", "kubelet", "kube-proxy")
_READY_S = 120.0
_IMAGES = {"pause": PAUSE_IMAGE, "coredns": addons.COREDNS_IMAGE, "versitygw": "docker.io/walkforward/versitygw:dev"}


@dataclass(frozen=True, slots=True)
class OwnCluster:
    """A cluster on this very machine, without a container engine. Needs root."""

    name: str

    @property
    def state(self) -> Path:
        """Everything that the cluster keeps; gone after `down`."""
        return state_root() / self.name

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig with all rights."""
        return self.state / "kubeconfig" / "admin.yaml"

    @property
    def addresses(self) -> Addresses:
        """The cluster's block; an error where it is not up."""
        facts = self.state / "cluster.json"
        if not facts.exists():
            raise ClusterError(f"cluster {self.name} is not up", reason=f"{facts} is missing", next_step="`make cluster-up`")
        return Addresses(ipaddress.IPv4Network(json.loads(facts.read_text())["block"]))

    @property
    def api(self) -> Api:
        """A minimal client with all rights."""
        return Api(self._plane.server, self.state / "pki")

    def up(self) -> None:
        """Bring the cluster to a Ready node with DNS; a healthy one stays, a broken one is replaced."""
        if os.geteuid() != 0:
            raise ClusterError("cannot make a cluster", reason="network and mount namespaces need root", next_step="run as root, or set CONTEXT")
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
        if not (self.state / "cluster.json").exists():
            return False, [f"cluster {self.name}: not up"]
        daemons = Daemons(self.state)
        lines = [f"cluster {self.name}: API {self._plane.server}, pods {self.addresses.pods}, services {self.addresses.services}"]
        lines += [f"  {name}: {'runs' if daemons.alive(name) else 'DOES NOT RUN, see ' + str(daemons.log(name))}" for name in _COMPONENTS]
        lines += [f"  node {self.name}: {'Ready' if self._node_ready() else 'NOT READY'}", f"  kubeconfig: {self.kubeconfig}"]
        return self._healthy(), lines

    def load_images(self, archives: Sequence[Path]) -> None:
        """Import docker-archive files into the node's containerd."""
        for archive in archives:
            run([*self._ctr, "images", "import", str(archive)], hint="is the cluster up? `make cluster-status`")

    def exec_in_netns(self, command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
        """Run a command in the node's network namespace; its exit code is the caller's to judge."""
        return run([*self._network.prefix, *command], check=False)

    def stop_apiserver(self, *, kill: bool = False) -> None:
        """Take the API server away; pods, kubelet and Services stay."""
        Daemons(self.state).stop("kube-apiserver", kill=kill, grace=2.0)

    def start_apiserver(self) -> None:
        """Bring the API server back, and what gave up without it."""
        daemons = Daemons(self.state)
        if not daemons.alive("kube-apiserver"):
            self._launch("kube-apiserver")
        self._await("the API server", self.api.ready, "kube-apiserver")
        for name in ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"):
            if not daemons.alive(name):
                self._launch(name)

    def _locked(self) -> AbstractContextManager[None]:
        return locked(cache() / "locks" / self.name, f"bringing {self.name} up or down")

    def _start(self) -> None:
        began = time.monotonic()
        with step(f"starting cluster {self.name}"):
            self._prepare()
            self._launch("etcd")
            self._launch("kube-apiserver")
            sandbox.Sandbox(self.state, self._network).start()
            self._launch("containerd")
            archives = scratch_images()
            self._await("containerd", lambda: run([*self._ctr, "version"], check=False).returncode == 0, "containerd")
            self.load_images(list(archives.values()))
            self._await("the API server", self.api.ready, "kube-apiserver")
            for name in ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"):
                self._launch(name)
            self._apply_addons()
            self._await("the node", self._node_ready, "kubelet")
            self._await("DNS", self._dns_ready, "kubelet")
        say(f"cluster {self.name} is up in {time.monotonic() - began:.1f} s; kubeconfig {self.kubeconfig}")

    def _prepare(self) -> None:
        self.state.mkdir(parents=True, exist_ok=True, mode=0o711)
        with locked(cache() / "locks" / "addresses", "choosing addresses"):
            addresses = choose(self.name, [*network.routed(), *_recorded_blocks()])
            facts = {"name": self.name, "block": str(addresses.block), "checkout": str(checkout()), "bin": str(folder())}
            (self.state / "cluster.json").write_text(json.dumps(facts))
        self._network.add()
        cgroups.create(self.name)
        for path in addons.volume_folders(self.state / "volumes"):
            path.mkdir(parents=True)
            path.chmod(0o777)
        hosts = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost", "127.0.0.1")
        api_hosts = (*hosts, addresses.node, addresses.api_service)
        pki.control_plane(self.state / "pki", api_hosts=api_hosts, node=self.name, node_address=addresses.node)
        for identity in _IDENTITIES:
            path = self.state / "kubeconfig" / f"{identity}.yaml"
            kubeconfig.write(path, self.name, self._plane.server, self.state / "pki", identity)
        self._node.write()

    def _launch(self, name: str) -> None:
        plane, node, binaries = self._plane, self._node, self._binaries
        containerd = packages.find("containerd") or "containerd"
        inside = sandbox.Sandbox(self.state, self._network).prefix if name in {"containerd", "kubelet"} else self._network.prefix
        commands = {
            "etcd": plane.etcd,
            "kube-apiserver": plane.apiserver,
            "kube-controller-manager": plane.controller_manager,
            "kube-scheduler": plane.scheduler,
            "containerd": lambda: [containerd, "--config", str(self.state / "config" / "containerd.toml")],
            "kubelet": lambda: node.kubelet_command(binaries / "kubelet"),
            "kube-proxy": lambda: [str(binaries / "kube-proxy"), f"--config={self.state / 'config' / 'kube-proxy.yaml'}"],
        }
        Daemons(self.state).start(name, commands[name](), prefix=inside, env=_environment(), forks=name in {"containerd", "kubelet"})

    def _apply_addons(self) -> None:
        objects = addons.manifests(self.addresses, self.state / "volumes", self.name)
        document = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        run([tool("kubectl"), f"--kubeconfig={self.kubeconfig}", "apply", "--server-side", "-f", "-"], stdin=document)

    def _await(self, what: str, ready: object, component: str) -> None:
        daemons = Daemons(self.state)
        assert callable(ready)
        if wait_until(lambda: bool(ready()) or not daemons.alive(component), _READY_S, every=0.1) and daemons.alive(component):
            return
        state = "does not run" if not daemons.alive(component) else f"not after {_READY_S:.0f} s"
        raise ClusterError(f"{what} is not ready", reason=f"{component} {state}: {daemons.last_words(component)}", next_step=f"read {self.state / 'logs'}")

    def _healthy(self) -> bool:
        daemons = Daemons(self.state)
        return (self.state / "cluster.json").exists() and all(daemons.alive(name) for name in _COMPONENTS) and self.api.ready() and self._node_ready()

    def _node_ready(self) -> bool:
        return condition(self.api.get(f"/api/v1/nodes/{self.name}"), "Ready")

    def _dns_ready(self) -> bool:
        deployment = self.api.get("/apis/apps/v1/namespaces/kube-system/deployments/coredns")
        return bool((deployment or {}).get("status", {}).get("readyReplicas"))

    def _traces(self) -> bool:
        return self.state.exists() or (Path("/run/netns") / self.name).exists() or network.link_exists(network.interface(self.name, "h"))

    def _remove(self) -> None:
        daemons = Daemons(self.state)
        # Its end is the end of everything in the node's pid namespace: kubelet, containerd, pods.
        for name in (sandbox.NAME, *reversed(_COMPONENTS)):
            daemons.stop(name, kill=True)
        network.end_processes(self.name)
        cgroups.remove(self.name)
        network.remove(self.name)
        shutil.rmtree(self.state, ignore_errors=True)
        if self.state.exists():
            raise ClusterError(f"{self.state} is still there", reason="something in it is mounted or in use", next_step=f"grep {self.name} /proc/mounts")

    @property
    def _binaries(self) -> Path:
        return Path(json.loads((self.state / "cluster.json").read_text())["bin"])

    @property
    def _network(self) -> Network:
        return Network(self.name, self.addresses)

    @property
    def _node(self) -> Node:
        plugin = packages.find("host-local")
        if plugin is None:
            raise ClusterError("no CNI plugins", reason="host-local was not found", next_step="apt-get install containernetworking-plugins")
        return Node(self.name, self.state, self.addresses, Path(plugin).parent)

    @property
    def _plane(self) -> ControlPlane:
        addresses = self.addresses
        ports = (6443, 2379, 2380, 10257, 10259)
        return ControlPlane(self._binaries, self.state, addresses.node, *ports, service_cidr=str(addresses.services), kubelets=True)

    @property
    def _ctr(self) -> list[str]:
        return ["ctr", f"--address={self.state / 'containerd.sock'}", "--namespace=k8s.io"]


def scratch_images() -> dict[str, Path]:
    """The images of single binaries, kept beside the binaries' own key."""
    out = cache() / "images" / folder().name
    missing = {name: tag for name, tag in _IMAGES.items() if not (out / f"{name}.tar").exists()}
    for name, tag in missing.items():
        scratch.archive(out / f"{name}.tar", tool(name), [tag], folders=("tmp", "data"))
    return {name: out / f"{name}.tar" for name in _IMAGES}


def _recorded_blocks() -> list[ipaddress.IPv4Network]:
    found = state_root().glob("*/cluster.json")
    return [ipaddress.IPv4Network(json.loads(path.read_text())["block"]) for path in found]


def _environment() -> dict[str, str]:
    # Nothing of the caller's: a proxy setting would send the components' own requests away. /usr/sbin for nft, mount and runc.
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8", "MACHINE": platform.machine()}
