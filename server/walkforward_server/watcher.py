"""The routing document as it is mounted: a directory whose ``..data`` link the kubelet swaps.

The link is read every 50 ms (7 µs). A watch on the file itself would die at the first swap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from walkforward_core.errors import DocumentError
from walkforward_core.names import ROUTING_KEY
from walkforward_server.table import read_routing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from walkforward_server.table import Routing

__all__ = ["POLL_S", "RoutingWatcher"]

POLL_S = 0.05


class RoutingWatcher:
    """Reads the document when it changed; ``apply`` gets one that was understood, :attr:`error` says what is wrong with one that was not.

    A document that is refused, or that goes away, changes nothing else: the last good one stays in force.
    """

    def __init__(self, directory: Path, apply: Callable[[Routing], None]) -> None:
        self._link = directory / "..data"
        self._file = directory / ROUTING_KEY
        self._apply = apply
        self._mark: object = None
        self._applied = ""
        self.error: str | None = f"no routing document yet: {self._file} does not exist"

    def poll(self) -> None:
        """Look once, read and apply if something changed."""
        try:
            mark = self._look()
            if mark == self._mark:
                return
            data = self._file.read_bytes()
        except FileNotFoundError:
            self._missing()
            return
        except OSError as error:
            self.error = f"{self._file}: {error}"
            return
        self._mark = mark
        self._take(data)

    def _look(self) -> object:
        """Return something that changes with the document: the target of the kubelet's link, or a plain file's identity."""
        try:
            return self._link.readlink()
        except OSError:
            status = self._file.stat()
            return (status.st_ino, status.st_mtime_ns, status.st_size)

    def _missing(self) -> None:
        # between two swaps the file may be gone for an instant: the next look reads it
        self._mark = None
        if self._applied:
            self.error = f"{self._file} is gone; the document {self._applied} stays in force"

    def _take(self, data: bytes) -> None:
        try:
            routing = read_routing(data)
        except DocumentError as error:
            self.error = str(error)
            return
        self.error = None
        if routing.digest != self._applied:
            self._applied = routing.digest
            self._apply(routing)
