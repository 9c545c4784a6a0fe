"""The sizes of the images that were built last; nothing is built for it."""

from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING, Any

from walkforward_cluster import images
from walkforward_cluster.paths import cache

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["measure"]

_CHUNK = 1 << 20


class _Counter(io.RawIOBase):
    """Counts what is written to it."""

    size = 0

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: Any) -> int:
        """Forget the bytes, keep their number."""
        self.size += len(data)
        return len(data)


def measure() -> dict[str, Any]:
    """Return megabytes of each part's newest archive, unpacked (as a node keeps it) and compressed (as it is pulled), base included."""
    found: dict[str, Any] = {}
    for part in images.PARTS:
        archives = sorted((cache() / "images" / part).glob("*.tar"), key=lambda path: path.stat().st_mtime)
        if archives:
            found[part] = {"unpacked_mb": archives[-1].stat().st_size / 1e6, "compressed_mb": _compressed(archives[-1]) / 1e6}
        else:
            print(f"no image of the {part} on this machine: run 'make images' first", flush=True)
    return {"images": found}


def _compressed(archive: Path) -> int:
    counter = _Counter()
    with archive.open("rb") as data, gzip.GzipFile(fileobj=counter, mode="wb", compresslevel=6) as packed:
        while chunk := data.read(_CHUNK):
            packed.write(chunk)
    return counter.size
