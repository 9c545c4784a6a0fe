"""A Python base image from Debian packages, for machines that reach no image registry."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from walkforward_cluster import packages
from walkforward_cluster.locks import locked
from walkforward_cluster.paths import cache, content_key
from walkforward_cluster.progress import step
from walkforward_cluster.shell import run_logged

if TYPE_CHECKING:
    from pathlib import Path

_SUITE = "bookworm"
_INCLUDE = ("python3", "python3-venv", "ca-certificates", "libstdc++6", "libgomp1")
_HOOKS = (
    # the public Python image calls it `python` too, so that one Dockerfile fits both
    'ln -s ../../bin/python3 "$1/usr/local/bin/python"',
    'rm -rf "$1"/usr/share/doc/* "$1"/usr/share/man/* "$1"/usr/share/locale/* "$1"/usr/share/info/* "$1"/var/log/* "$1"/var/cache/*',
    # copied from this machine while packages were installed
    ': > "$1/etc/resolv.conf"; rm -f "$1/etc/hostname"',
)


def key() -> str:
    """The key of the recipe."""
    return content_key([], _SUITE, *_INCLUDE, *_HOOKS)


def tarball() -> Path:
    """The root file system as a tar, made once."""
    out = cache() / "base" / f"python-{key()}.tar"
    with locked(cache() / "base" / "base.lock", "making the base image"):
        if not out.exists():
            packages.ensure(packages.IMAGES)
            partial = out.with_name(f".{out.name}.part.tar")
            with step("making a Python base image from Debian packages (about 80 s, once)"):
                run_logged(
                    _command(partial),
                    cache() / "logs" / "mmdebstrap.log",
                    env=_environment(),
                    hint="see the log; is a Debian mirror reachable?",
                )
            partial.rename(out)
    return out


def _command(out: Path) -> list[str]:
    hooks = [f"--customize-hook={hook}" for hook in _HOOKS]
    mirror = os.environ.get("WALKFORWARD_DEBIAN_MIRROR")
    command = ["nice", "mmdebstrap", "--variant=essential", f"--include={','.join(_INCLUDE)}", *hooks, _SUITE, str(out)]
    return [*command, mirror] if mirror else command


def _environment() -> dict[str, str]:
    # Fixed times give the same bytes for the same packages.
    return {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
