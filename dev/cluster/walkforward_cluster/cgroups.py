"""The node's own root in the cgroup tree, so that two clusters never share `kubepods`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from walkforward_cluster.errors import ClusterError
from walkforward_cluster.procs import wait_until

_ROOT = Path("/sys/fs/cgroup")
_INHERITED = ("cpuset.mems", "cpuset.cpus")
_GONE_S = 10.0


def create(name: str) -> None:
    """Make the group in every hierarchy (v1) or in the one (v2)."""
    for hierarchy in _hierarchies():
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        for setting in _INHERITED:
            if (group / setting).exists() and (hierarchy / setting).exists() and not (group / setting).read_text().strip():
                (group / setting).write_text((hierarchy / setting).read_text())
    if _unified():
        for group in (_ROOT, _ROOT / name):
            available = (group / "cgroup.controllers").read_text().split()
            (group / "cgroup.subtree_control").write_text(" ".join(f"+{controller}" for controller in available))


def remove(name: str) -> None:
    """Remove the group and all below it; its processes have been ended before."""
    for hierarchy in _hierarchies():
        group = hierarchy / name
        if group.is_dir() and not wait_until(partial(_removed, group), _GONE_S):
            members = [path.read_text().split() for path in group.rglob("cgroup.procs")]
            raise ClusterError(f"cgroup {group} is still there", reason=f"processes {members}", next_step="end them, then run down again")


def _removed(group: Path) -> bool:
    below = sorted((path for path in group.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts))
    for path in [*below, group]:
        try:
            path.rmdir()
        except OSError:  # busy: the kernel is still taking its last process away, the caller tries again
            return False
    return True


def _unified() -> bool:
    return (_ROOT / "cgroup.controllers").exists()


def _hierarchies() -> list[Path]:
    if _unified():
        return [_ROOT]
    # Links such as cpu -> cpu,cpuacct would be visited twice.
    return [path for path in sorted(_ROOT.iterdir()) if path.is_dir() and not path.is_symlink() and (path / "cgroup.procs").exists()]
