"""Kubeconfig files, one per identity."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from pathlib import Path


def render(name: str, server: str, pki: Path, identity: str) -> str:
    """A kubeconfig with everything inline, so that the file can be copied away."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": _data(pki / "ca.crt")}}],
        "users": [
            {
                "name": identity,
                "user": {"client-certificate-data": _data(pki / f"{identity}.crt"), "client-key-data": _data(pki / f"{identity}.key")},
            }
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": identity}}],
        "current-context": name,
    }
    return yaml.safe_dump(document, sort_keys=False)


def write(path: Path, name: str, server: str, pki: Path, identity: str) -> Path:
    """Write a kubeconfig that only its owner can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(render(name, server, pki, identity))
    return path


def _data(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
