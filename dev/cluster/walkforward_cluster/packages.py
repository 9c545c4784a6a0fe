"""Debian packages: installed where we may, named with the command to run where not."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from walkforward_cluster.errors import ClusterError
from walkforward_cluster.locks import locked
from walkforward_cluster.paths import cache
from walkforward_cluster.progress import say, step
from walkforward_cluster.shell import run, run_logged

# Debian keeps administrators' programs where a user's PATH may not look.
_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/lib/cni")


@dataclass(frozen=True, slots=True)
class Package:
    """A Debian package, and a program by which its presence is seen."""

    name: str
    program: str


NODE = (
    Package("containerd", "containerd"),
    Package("runc", "runc"),
    Package("containernetworking-plugins", "host-local"),
    Package("nftables", "nft"),
    Package("iptables", "iptables"),
    Package("conntrack", "conntrack"),
    Package("iproute2", "ip"),
    Package("util-linux", "nsenter"),
    Package("mount", "mount"),
    Package("ethtool", "ethtool"),
    Package("socat", "socat"),
)
IMAGES = (Package("buildah", "buildah"), Package("mmdebstrap", "mmdebstrap"), Package("runc", "runc"))


def find(program: str) -> str | None:
    """The path of a program, administrators' folders included."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_SBIN])
    return shutil.which(program, path=path)


def ensure(packages: tuple[Package, ...]) -> None:
    """Install what is missing, as root on Debian; else say which command does. One process at a time: apt does not wait for another."""
    if _missing(packages):
        with locked(cache() / "apt.lock", "installing packages"):
            _install(_missing(packages))


def _missing(packages: tuple[Package, ...]) -> list[str]:
    return [package.name for package in packages if find(package.program) is None]


def _install(missing: list[str]) -> None:
    if not missing:
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    if find("apt-get") is None or os.geteuid() != 0:
        why = "this is not Debian" if find("apt-get") is None else "only root may install them"
        reason = f"{', '.join(missing)} missing and {why}"
        raise ClusterError("packages are missing", reason=reason, next_step=f"apt-get update && {' '.join(command)}")
    log = cache() / "logs" / "apt.log"
    hint = "install them by hand: " + " ".join(command)
    with step(f"installing {', '.join(missing)}"):
        updated = run(["apt-get", "update"], check=False)
        if updated.returncode != 0:
            # One broken source among several is common; the install itself tells whether it mattered.
            say(f"apt-get update complained, going on: {updated.stderr.strip().splitlines()[-1:]}")
        with _no_services():
            run_logged(command, log, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, hint=hint)


class _no_services:  # noqa: N801 - reads as a statement
    """Keep packages from starting their services (containerd's would); a policy that is there stays."""

    _policy = Path("/usr/sbin/policy-rc.d")

    def __enter__(self) -> None:
        self._ours = not self._policy.exists()
        if self._ours:
            self._policy.write_text("#!/bin/sh\nexit 101\n")
            self._policy.chmod(0o755)

    def __exit__(self, *_: object) -> None:
        if self._ours:
            self._policy.unlink(missing_ok=True)
