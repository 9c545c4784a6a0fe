"""Downloaded objects on this machine, by what they are: address, etag and size. An object that changed has another key.

A cache is a convenience: where it cannot be read or written, the run goes on without it and says so in the log.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from walkforward_trainer.errors import BadConfiguration, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from walkforward_core.objectstore import ObjectHead

__all__ = ["Cache", "cache_of"]

log = logging.getLogger("walkforward.trainer")

FOLDER_VARIABLE: Final = "WALKFORWARD_CACHE_DIR"
LIMIT_VARIABLE: Final = "WALKFORWARD_CACHE_MIB"
LIMIT_MIB: Final = 4_096
SUFFIX: Final = ".object"
DIGEST: Final = hashlib.sha256().digest_size


def cache_of(env: Mapping[str, str]) -> Cache | None:
    """Return the cache that the environment asks for, none without ``WALKFORWARD_CACHE_DIR``.

    Raises
    ------
    BadConfiguration
        The limit is no number of MiB.
    """
    folder, limit = env.get(FOLDER_VARIABLE), env.get(LIMIT_VARIABLE, str(LIMIT_MIB))
    if not folder:
        return None
    if not limit.isascii() or not limit.isdigit():
        raise BadConfiguration(Reason.SPEC_INVALID, f"{LIMIT_VARIABLE} {limit!r} is no number of MiB; write 4096, or leave it out")
    return Cache(Path(folder), int(limit) << 20)


class Cache:
    """A folder of objects, at most ``limit`` bytes of them; the least recently used go first. Several processes may share it.

    Each file is the sha256 of the object, then the object: what a disk has damaged is noticed and thrown away.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit

    def get(self, uri: str, head: ObjectHead) -> bytes | None:
        """Return the object as it was when it had that ``head``, if it is here and whole."""
        path = self._path(uri, head)
        try:
            stored = path.read_bytes()
            data = stored[DIGEST:]
            if len(data) != head.size or hashlib.sha256(data).digest() != stored[:DIGEST]:
                log.warning("cache: %s is damaged; it is removed and read again from %s", path, uri)
                path.unlink(missing_ok=True)
                return None
            os.utime(path)  # used just now
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("cache: %s: %s; the object is read from its store", path, error.strerror)
            return None
        return data

    def put(self, uri: str, head: ObjectHead, data: bytes) -> None:
        """Keep ``data``, the object that has that ``head``, and let the oldest go for it; one that is too large is not kept."""
        if DIGEST + len(data) > self.limit:
            return
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._make_room(DIGEST + len(data))
            with tempfile.NamedTemporaryFile(dir=self.folder, prefix=".", delete=False) as file:
                try:
                    file.write(hashlib.sha256(data).digest())
                    file.write(data)
                    file.flush()
                    Path(file.name).replace(self._path(uri, head))
                except OSError:
                    Path(file.name).unlink(missing_ok=True)
                    raise
        except OSError as error:
            log.warning("cache: %s: %s; %s is not kept", self.folder, error.strerror, uri)

    def _path(self, uri: str, head: ObjectHead) -> Path:
        key = "\n".join((uri, head.etag, str(head.size)))
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()}{SUFFIX}"

    def _make_room(self, size: int) -> None:
        """Remove what was not used for longest until ``size`` bytes fit; another process may do the same."""
        found = []
        for path in self.folder.glob(f"*{SUFFIX}"):
            with suppress(FileNotFoundError):
                state = path.stat()
                found.append((state.st_mtime_ns, state.st_size, path))
        total = sum(length for _, length, _ in found) + size
        for _, length, path in sorted(found):
            if total <= self.limit:
                break
            path.unlink(missing_ok=True)
            total -= length
