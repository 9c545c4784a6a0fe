"""Clusters that are not ours: one that exists (`CONTEXT`), or one that kind makes where a container engine runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from walkforward_cluster.binaries import tool
from walkforward_cluster.errors import ClusterError
from walkforward_cluster.packages import find
from walkforward_cluster.paths import cache
from walkforward_cluster.progress import say, step
from walkforward_cluster.shell import run

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence
    from pathlib import Path

_KIND_TIMEOUT = "180s"


def docker_runs() -> bool:
    """Whether a Docker engine answers."""
    return find("docker") is not None and run(["docker", "info"], check=False).returncode == 0


@dataclass(frozen=True, slots=True)
class ExistingCluster:
    """The cluster that `CONTEXT` names in the user's kubeconfig; never brought down by us."""

    context: str

    @property
    def name(self) -> str:
        """The context's name."""
        return self.context

    @property
    def kubeconfig(self) -> Path:
        """A copy of the user's kubeconfig with this context alone."""
        return _kubeconfig(f"context-{self.context.replace('/', '_')}")

    @property
    def ours(self) -> bool:
        """It is the user's."""
        return False

    def up(self) -> None:
        """Check that the cluster answers, and write the kubeconfig."""
        kubectl = tool("kubectl")
        done = run([kubectl, "config", "view", "--minify", "--flatten", f"--context={self.context}"], hint="`kubectl config get-contexts`")
        _write(self.kubeconfig, done.stdout)
        run([kubectl, f"--kubeconfig={self.kubeconfig}", "get", "--raw", "/readyz"], hint=f"check that context {self.context} works")
        say(f"using the existing cluster of context {self.context}")

    def down(self) -> None:
        """Only forget it."""
        self.kubeconfig.unlink(missing_ok=True)
        say(f"context {self.context} is not ours to take down: left as it is")

    def status(self) -> tuple[bool, list[str]]:
        """Whether it answers."""
        ready = (
            self.kubeconfig.exists()
            and run([tool("kubectl"), f"--kubeconfig={self.kubeconfig}", "get", "--raw", "/readyz"], check=False).returncode == 0
        )
        return ready, [f"context {self.context}: {'answers' if ready else 'does not answer'}", f"  kubeconfig: {self.kubeconfig}"]

    def load_images(self, archives: Sequence[Path]) -> None:
        """Only say which images the cluster must be able to pull: its nodes and its registry are not ours."""
        names = ", ".join(f"walkforward/{archive.parent.name}:{archive.stem} ({archive})" for archive in archives)
        say(f"context {self.context} is not ours to load images into; its nodes must be able to pull {names}")

    def exec_in_netns(self, command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
        """Not possible."""
        _unsupported(f"run {command[0]} on the node", "the node is not ours", "use an embedded cluster")

    def stop_apiserver(self, *, kill: bool = False) -> None:
        """Not ours to stop."""
        _unsupported(f"stop the API server (kill={kill})", "it is not ours", "use an embedded cluster")

    def start_apiserver(self) -> None:
        """Not ours to start."""
        _unsupported("start the API server", "it is not ours", "use an embedded cluster")


@dataclass(frozen=True, slots=True)
class KindCluster:
    """A cluster by kind, for machines with a container engine."""

    name: str

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig with all rights."""
        return _kubeconfig(f"kind-{self.name}")

    @property
    def ours(self) -> bool:
        """We make it and take it down."""
        return True

    def up(self) -> None:
        """Create it unless it is there."""
        if self.name not in run(["kind", "get", "clusters"]).stdout.split():
            with step(f"kind makes cluster {self.name}"):
                run(["kind", "create", "cluster", "--name", self.name, "--wait", _KIND_TIMEOUT, "--kubeconfig", self.kubeconfig])
        _write(self.kubeconfig, run(["kind", "get", "kubeconfig", "--name", self.name]).stdout)

    def down(self) -> None:
        """Delete it."""
        run(["kind", "delete", "cluster", "--name", self.name])
        self.kubeconfig.unlink(missing_ok=True)

    def status(self) -> tuple[bool, list[str]]:
        """Whether kind has it."""
        there = self.name in run(["kind", "get", "clusters"]).stdout.split()
        return there, [f"kind cluster {self.name}: {'up' if there else 'not up'}", f"  kubeconfig: {self.kubeconfig}"]

    def load_images(self, archives: Sequence[Path]) -> None:
        """Import docker-archive files into the node."""
        for archive in archives:
            run(["kind", "load", "image-archive", archive, "--name", self.name])

    def exec_in_netns(self, command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
        """Run a command in the node container."""
        return run(["docker", "exec", self._node, *command], check=False)

    def stop_apiserver(self, *, kill: bool = False) -> None:
        """Take its static pod's manifest away."""
        run(["docker", "exec", self._node, "mv", "/etc/kubernetes/manifests/kube-apiserver.yaml", "/etc/kubernetes/"])
        if kill:
            run(["docker", "exec", self._node, "pkill", "-KILL", "-x", "kube-apiserver"], check=False)

    def start_apiserver(self) -> None:
        """Put the manifest back."""
        run(["docker", "exec", self._node, "mv", "/etc/kubernetes/kube-apiserver.yaml", "/etc/kubernetes/manifests/"])

    @property
    def _node(self) -> str:
        return f"{self.name}-control-plane"


def context_of_environment() -> str | None:
    """The context that the caller asks for."""
    return os.environ.get("CONTEXT") or None


def _kubeconfig(name: str) -> Path:
    return cache() / "kubeconfig" / f"{name}.yaml"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)


def _unsupported(what: str, reason: str, next_step: str) -> NoReturn:
    raise ClusterError(f"cannot {what}", reason=reason, next_step=next_step)
