"""The node's pid and mount namespace: when its first process ends, the kernel ends every other one and drops every mount.

That is what makes `down` clean, whatever state containerd, its shims and the pods are in, and keeps paths that are hard-coded in
containerd and the kubelet (/run/containerd/s, /var/lib/cni, /var/log/containers, …) apart from those of the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from walkforward_cluster.binaries import tool
from walkforward_cluster.errors import ClusterError
from walkforward_cluster.procs import Daemons, wait_until

if TYPE_CHECKING:
    from walkforward_cluster.network import Network

NAME = "sandbox"
# Written to by containerd 1.6, its CNI library and the kubelet, with no setting to move them.
HARD_CODED = ("/run/containerd", "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers", "/var/log/pods")
_READY_S = 10.0


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The namespaces of one node, held by a `pause` process."""

    state: Path
    network: Network

    def start(self) -> None:
        """Start the holder; afterwards `prefix` leads inside."""
        created = [folder for folder in HARD_CODED if not Path(folder).exists()]
        note_created(self.state.parent, created)
        for folder in HARD_CODED:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self._own(folder).mkdir(parents=True, exist_ok=True)
        self._ready.unlink(missing_ok=True)
        binds = [f"mount --bind {self._own(folder)} {folder}" for folder in HARD_CODED]
        # Shared inside, so that volumes with mount propagation work; private towards the machine.
        script = " && ".join(["mount --make-rshared /", *binds, f"touch {self._ready}", f"exec {tool('pause')}"])
        unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--propagation", "private", "--mount-proc"]
        daemons = Daemons(self.state)
        daemons.start(NAME, ["sh", "-ec", script], prefix=[*self.network.prefix, *unshare], forks=True)
        if not wait_until(self._ready.exists, _READY_S):
            raise ClusterError("the node's namespaces were not made", reason=daemons.last_words(NAME), next_step="run as root")

    @property
    def prefix(self) -> list[str]:
        """Words that run a command inside all three namespaces."""
        record = Daemons(self.state).record(NAME)
        if record is None or not record.alive():
            raise ClusterError("the node is gone", reason="its first process does not run", next_step="`make cluster-up`")
        return ["nsenter", f"--target={record.pid}", "--net", "--mount", "--pid", "--"]

    @property
    def _ready(self) -> Path:
        return self.state / "sandbox.ready"

    def _own(self, folder: str) -> Path:
        return self.state / "hard-coded" / folder.strip("/").replace("/", "-")


def note_created(root: Path, folders: list[str]) -> None:
    """Remember which mount points we made, for the last cluster to remove."""
    noted = root / "created-folders"
    known = set(noted.read_text().split()) if noted.exists() else set()
    if set(folders) - known:
        noted.write_text("\n".join(sorted(known | set(folders))) + "\n")


def remove_created(root: Path) -> None:
    """Remove the mount points that we made, where nobody has put anything there since."""
    noted = root / "created-folders"
    for folder in noted.read_text().split() if noted.exists() else []:
        path = Path(folder)
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    noted.unlink(missing_ok=True)
