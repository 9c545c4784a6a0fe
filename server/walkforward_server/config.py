"""Settings of one server, from flags and environment; a flag wins."""

from __future__ import annotations

import argparse
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from walkforward_core.names import ADMIN_PORT, HTTP_PORT, ROUTING_MOUNT, STATE_MOUNT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["PREFIX", "Settings", "read_settings"]

PREFIX = "WALKFORWARD_"
TOKEN_VARIABLE = PREFIX + "OUTCOMES_TOKEN"


CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
SERVER_MIB = 256
"""Left of the container's memory for the serving process."""
PROOF_MIB = (384, 2048)
"""Least and most that a proof gets; it needs about 220 MiB of address space before it opens a model."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How one pod serves; ports of 0 are any free one, times in seconds, ``proof_memory`` in bytes."""

    target: str
    pod_uid: str
    routing: Path
    state: Path
    roots: tuple[str, ...] = ()
    allow_file: bool = False
    token: bytes | None = None
    host: str = "0.0.0.0"  # noqa: S104 - a pod serves its network
    http_port: int = HTTP_PORT
    admin_port: int = ADMIN_PORT
    drain_s: float = 8.0
    proof_s: float = 60.0
    proof_memory: int = 2 * 2**30


def read_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Return the settings.

    Raises
    ------
    SystemExit
        A value is missing or wrong; argparse has said which.
    """
    parser = _parser(environment)
    given = parser.parse_args(arguments)
    if not given.target:
        parser.error(f"--target or {PREFIX}TARGET is required: the name of the model, which is that of the Deployment")
    token = environment.get(TOKEN_VARIABLE, "")
    return Settings(
        target=given.target,
        pod_uid=given.pod_uid,
        routing=given.routing_dir,
        state=given.state_dir,
        roots=tuple(root.strip() for root in given.bundle_roots.split(",") if root.strip()),
        allow_file=given.allow_file_bundles,
        token=token.encode() or None,
        host=given.host,
        http_port=given.http_port,
        admin_port=given.admin_port,
        drain_s=given.drain_seconds,
        proof_s=given.proof_seconds,
        proof_memory=given.proof_memory_mib * 2**20,
    )


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="walkforward-server",
        description=f"Serve the models of one routing document. Every flag has a variable: --target is {PREFIX}TARGET. "
        f"Receipts are signed where {TOKEN_VARIABLE} is set.",
    )

    def option(flag: str, default: str, text: str, kind: type = str) -> None:
        value = environment.get(PREFIX + flag.removeprefix("--").replace("-", "_").upper(), default)
        parser.add_argument(flag, default=value, type=kind, help=f"{text} (default: {default or 'none'})")

    option("--target", "", "name of the model and of the Deployment")
    option("--pod-uid", socket.gethostname(), "UID of the pod, from the downward API")
    option("--routing-dir", ROUTING_MOUNT, "directory in which the routing ConfigMap is mounted", Path)
    option("--state-dir", STATE_MOUNT, "writable directory of the pod", Path)
    option("--bundle-roots", "", "allowed prefixes of bundle URIs, separated by commas")
    option("--host", "0.0.0.0", "address to listen on")  # noqa: S104 - a pod serves its network
    option("--http-port", str(HTTP_PORT), "port for inference and outcomes", int)
    option("--admin-port", str(ADMIN_PORT), "port for operator, kubelet and Prometheus", int)
    option("--drain-seconds", "8", "how long to go on serving after SIGTERM", float)
    option("--proof-seconds", "60", "time in which a bundle must be fetched and proven", float)
    option("--proof-memory-mib", str(_proof_memory_mib(CGROUP_LIMIT)), "address space of the process that proves a bundle", int)
    allowed = environment.get(PREFIX + "ALLOW_FILE_BUNDLES", "").lower() in ("1", "true", "yes")
    parser.add_argument("--allow-file-bundles", action="store_true", default=allowed, help="take file:// bundles; for a laptop only")
    return parser


def _proof_memory_mib(limit: Path) -> int:
    """Return what a proof may use, in MiB: what the container's limit leaves, so that a proof never ends the whole container."""
    try:
        text = limit.read_text(encoding="ascii").strip()
    except OSError:
        text = "max"
    least, most = PROOF_MIB
    return most if text == "max" else max(least, min(most, int(text) // 2**20 - SERVER_MIB))
