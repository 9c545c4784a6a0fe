"""Objects as files on this machine, for laptops and tests; refused in the cluster (contract C9).

Writes go to a hidden file beside the target, are flushed, then linked (create-only) or renamed over it, so a reader and a
crash see all of an object or nothing. Writers of one directory take turns by a lock on the directory itself.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from walkforward_core.errors import AlreadyExists, Forbidden, NotFound, StoreError, Unavailable
from walkforward_core.objectstore_base import Location, ObjectHead

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FileStore"]

_TEMPORARY = ".walkforward-"
_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_BROKEN = {errno.ENAMETOOLONG, errno.ELOOP}


class FileStore:
    """An :class:`ObjectStore` on ``file://`` URIs; the etag is the sha256 of the bytes."""

    def get(self, uri: str, *, limit: int | None = None) -> bytes:
        """Return the bytes of the file."""
        path = _path(uri)
        with _errors("read", uri):
            size = path.stat().st_size
            if limit is not None and size > limit:
                raise StoreError(f"read {uri}: {size} bytes, at most {limit} are accepted here; check what was written there")
            return path.read_bytes()

    def get_range(self, uri: str, start: int, length: int) -> bytes:
        """Return some bytes of the file."""
        with _errors("read", uri), _path(uri).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size + start) if start < 0 else start)
            return file.read(length)

    def put(self, uri: str, data: bytes, *, create_only: bool = False, if_match: str | None = None) -> str:
        """Write the file whole and return its etag."""
        path = _path(uri)
        with _errors("write", uri):
            _make_folder(path.parent, uri)
            with _locked(path.parent):
                if if_match is not None and (found := _etag(path.read_bytes())) != if_match:
                    raise AlreadyExists(f"write {uri}: it has changed since it was read (etag {found}, expected {if_match}); read it again")
                _replace(path, data, create_only=create_only)
        return _etag(data)

    def head(self, uri: str) -> ObjectHead:
        """Return etag, size and time of the file."""
        data = self.get(uri)
        with _errors("look at", uri):
            modified = _path(uri).stat().st_mtime_ns
        return ObjectHead(etag=_etag(data), size=len(data), modified_ms=modified // 1_000_000)

    def list(self, prefix: str) -> list[str]:
        """Return the URIs of the files that start with ``prefix``."""
        start = "/" + unquote(_location(prefix, prefix=True).key)
        folder = Path(start if start.endswith("/") else os.path.dirname(start))  # noqa: PTH120 - a string prefix is no path
        with _errors("list", prefix):
            found = sorted(_files(folder, start), key=os.fsencode)
        return ["file://" + quote(path) for path in found]

    def delete(self, uri: str) -> None:
        """Remove the file, if it is there."""
        path = _path(uri)
        with _errors("delete", uri):
            if path.parent.is_dir():
                with _locked(path.parent):
                    path.unlink(missing_ok=True)


def _make_folder(folder: Path, uri: str) -> None:
    """Make ``folder`` where there is none; a file on the way is neither an object nor a missing one."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise StoreError(f"write {uri}: a part of its path is a file, not a folder; remove it, or choose another path") from error
    except FileNotFoundError as error:  # /proc, where nobody makes folders
        raise Forbidden(f"write {uri}: no folder can be made there; choose another path") from error


def _files(folder: Path, start: str) -> Iterator[str]:
    """Yield the paths below ``folder`` that begin with the string ``start``; folders that cannot hold one are not entered."""
    for parent, folders, names in os.walk(folder, onerror=_raise_unless_missing):
        base = parent.rstrip("/") + "/"
        folders[:] = [name for name in folders if (base + name).startswith(start)]
        yield from (base + name for name in names if (base + name).startswith(start) and not name.startswith(_TEMPORARY))


def _replace(path: Path, data: bytes, *, create_only: bool) -> None:
    """Put ``data`` at ``path`` in one step that survives a power cut."""
    temporary = path.parent / f"{_TEMPORARY}{uuid.uuid4().hex}"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if create_only:
            path.hardlink_to(temporary)
        else:
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, then flush its entries; other processes on this machine take part."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _errors(verb: str, uri: str) -> Iterator[None]:
    """Turn errors of the operating system into those of the store."""
    try:
        yield
    except FileExistsError as error:
        raise AlreadyExists(f"{verb} {uri}: it exists already; objects written create-only are never overwritten") from error
    except OSError as error:
        text = f"{verb} {uri}: {error.strerror} ({errno.errorcode.get(error.errno or 0, error.errno)})"
        if error.errno in _MISSING:
            raise NotFound(f"{text}; check the path") from error
        if error.errno in _DENIED:
            raise Forbidden(f"{text}; check owner and mode of the folder") from error
        if error.errno in _BROKEN:
            raise StoreError(f"{text}; choose another path") from error
        raise Unavailable(f"{text}; check the disk, then try again") from error


def _raise_unless_missing(error: OSError) -> None:
    if error.errno not in _MISSING:
        raise error


def _location(uri: str, *, prefix: bool = False) -> Location:
    location = Location.parse(uri, prefix=prefix)
    if location.scheme != "file":
        raise StoreError(f"object URI {uri!r} is not a file: URI; open the store for its own scheme")
    # decoded once more here: %2e%2e and %2f must not become parts of a path
    Location.parse(f"file:///{unquote(location.key)}", prefix=prefix)
    return location


def _path(uri: str) -> Path:
    return Path("/" + unquote(_location(uri).key))


def _etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
