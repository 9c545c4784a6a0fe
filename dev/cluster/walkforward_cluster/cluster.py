"""Which cluster a command is about: an existing one, kind's, or our own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from walkforward_cluster.external import ExistingCluster, KindCluster, context_of_environment, docker_runs
from walkforward_cluster.own import OwnCluster
from walkforward_cluster.packages import find
from walkforward_cluster.paths import default_name

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence
    from pathlib import Path


class Cluster(Protocol):
    """What the demo and the tests may ask of any cluster; a ClusterError says where one cannot."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def ours(self) -> bool:
        """Whether `down` takes it away as a whole."""

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig with all rights; there after `up`."""

    def up(self) -> None:
        """Bring it up; nothing happens where it is up."""

    def down(self) -> None:
        """Take it down and leave nothing behind."""

    def status(self) -> tuple[bool, list[str]]:
        """Whether all is well, and lines for people."""

    def load_images(self, archives: Sequence[Path]) -> None:
        """Import docker-archive files."""

    def exec_in_netns(self, command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
        """Run a command where the node's network is."""

    def stop_apiserver(self, *, kill: bool = False) -> None:
        """Take the API server away."""

    def start_apiserver(self) -> None:
        """Bring it back."""


def open_cluster(name: str | None = None) -> Cluster:
    """The cluster of this checkout (or of that name), up or not."""
    context = context_of_environment()
    if context is not None:
        return ExistingCluster(context)
    chosen = name or default_name()
    if find("kind") is not None and docker_runs():
        return KindCluster(chosen)
    return OwnCluster(chosen)
