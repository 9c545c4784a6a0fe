"""Images of one static binary, written as docker-archive by hand: no builder needed, and the same bytes every time."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from typing import TYPE_CHECKING

from walkforward_cluster.addons import COREDNS_IMAGE
from walkforward_cluster.binaries import folder, tool
from walkforward_cluster.node import PAUSE_IMAGE
from walkforward_cluster.paths import cache

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_NOBODY = "65532:65532"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_IMAGES = {"pause": PAUSE_IMAGE, "coredns": COREDNS_IMAGE, "versitygw": "docker.io/walkforward/versitygw:dev"}


def scratch_images() -> dict[str, Path]:
    """The archives of the images of single binaries, kept under the binaries' own key."""
    out = cache() / "images" / folder().name
    for name, tag in _IMAGES.items():
        if not (out / f"{name}.tar").exists():
            archive(out / f"{name}.tar", tool(name), [tag], folders=("tmp", "data"))
    return {name: out / f"{name}.tar" for name in _IMAGES}


def archive(out: Path, binary: Path, tags: Sequence[str], *, user: str = _NOBODY, folders: Sequence[str] = ("tmp",)) -> Path:
    """Write an image that runs `binary`; `folders` exist in it and belong to its user."""
    layer = _layer(binary, folders, int(user.partition(":")[0]))
    config = json.dumps(
        {
            "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {"Entrypoint": [f"/{binary.name}"], "User": user, "WorkingDir": "/", "Env": ["PATH=/"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
    ).encode()
    name = hashlib.sha256(config).hexdigest()
    manifest = json.dumps([{"Config": f"{name}.json", "RepoTags": list(tags), "Layers": ["layer.tar"]}]).encode()
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(".part")
    with tarfile.open(partial, "w") as image:
        for entry, content in ((f"{name}.json", config), ("layer.tar", layer), ("manifest.json", manifest)):
            _add(image, entry, content, mode=0o644)
    partial.replace(out)
    return out


def _layer(binary: Path, folders: Sequence[str], owner: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        for folder in folders:
            info = tarfile.TarInfo(folder)
            info.type, info.mode, info.uid, info.gid = tarfile.DIRTYPE, 0o755, owner, owner
            layer.addfile(info)
        _add(layer, binary.name, binary.read_bytes(), mode=0o755)
    return buffer.getvalue()


def _add(target: tarfile.TarFile, name: str, content: bytes, *, mode: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    target.addfile(info, io.BytesIO(content))
