"""What a Dockerfile takes from its context, so that an image has a key before it is built."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

from walkforward_cluster.errors import ClusterError
from walkforward_cluster.paths import tree

if TYPE_CHECKING:
    from pathlib import Path

_BIND = re.compile(r"--mount=type=bind,\S*?(?:source|src)=([^,\s]+)")


def sources(text: str) -> list[str]:
    """The context paths (or patterns) that COPY, ADD and bind mounts name; what comes from another stage is not of the context."""
    joined = re.sub(r"\\\n", " ", text)
    found: list[str] = []
    for line in joined.splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0].upper() in {"COPY", "ADD"}:
            options = [word for word in words[1:] if word.startswith("--")]
            if not any(option.startswith("--from=") for option in options):
                found += [word for word in words[1:] if not word.startswith("--")][:-1]
        elif words[0].upper() == "RUN":
            found += [match for mount in words if "from=" not in mount for match in _BIND.findall(mount)]
    return found


def context_files(root: Path, dockerfile: Path) -> list[tuple[str, Path]]:
    """Every file that the build can see, as (path in the context, path)."""
    files: dict[str, Path] = {}
    for source in sources(dockerfile.read_text()):
        matches = [root] if source in {".", "./"} else sorted(root.glob(source.strip("/").removeprefix("./")))
        if not matches:
            raise ClusterError(
                f"{dockerfile.name} copies {source}", reason="there is no such file", next_step="correct the Dockerfile or add the file"
            )
        for match in matches:
            files.update(tree(root, match))
    return sorted(files.items())


def stage(context: Path, files: list[tuple[str, Path]], dockerfile: Path) -> None:
    """Copy exactly those files, so that the key says all and nothing else is sent to the builder."""
    for name, path in files:
        target = context / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    shutil.copy2(dockerfile, context / "Dockerfile")
