"""Where things are: the checkout, the user's cache, a cluster's state; and keys made from content."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_KEY_LENGTH = 16


def checkout() -> Path:
    """The root of the repository that this file belongs to."""
    return Path(__file__).resolve().parents[3]


def go_module() -> Path:
    """The folder of the Go module that holds every binary."""
    return checkout() / "dev" / "cluster" / "go"


def cache() -> Path:
    """What may be built again: shared by all clones of the user, `$XDG_CACHE_HOME/walkforward`."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "walkforward"


def state_root() -> Path:
    """Where running clusters keep their state; short, since Unix sockets live below it (108 bytes at most)."""
    return Path(os.environ.get("WALKFORWARD_STATE") or "/var/lib/walkforward")


def default_name(root: Path | None = None) -> str:
    """A cluster name of the checkout's own, so that two clones on one machine do not meet."""
    digest = hashlib.sha256(str(root or checkout()).encode()).hexdigest()
    return f"wf-{digest[:6]}"


def content_key(files: Iterable[tuple[str, Path]], *extra: str) -> str:
    """A key of names, contents and executable bits, and of what else decides the result (versions, flags)."""
    digest = hashlib.sha256()
    for part in extra:
        digest.update(b"extra\0" + part.encode() + b"\0")
    for name, path in sorted(files):
        executable = b"x" if path.stat().st_mode & 0o100 else b"-"
        content = hashlib.sha256(path.read_bytes()).digest()
        digest.update(b"file\0" + name.encode() + b"\0" + executable + content)
    return digest.hexdigest()[:_KEY_LENGTH]


def tree(root: Path, folder: Path) -> list[tuple[str, Path]]:
    """All files below `folder` as (path relative to `root`, path), without what Python and editors leave behind."""
    skipped = {"__pycache__", ".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", "node_modules"}
    found = folder.rglob("*") if folder.is_dir() else [folder]
    return sorted((str(path.relative_to(root)), path) for path in found if path.is_file() and not skipped & set(path.parts))
