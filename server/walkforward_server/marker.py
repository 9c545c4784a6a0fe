"""The note on the pod's own volume that a model on trial is in the process: who finds it at the start knows what died with it."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Marker"]


class Marker:
    """``held`` while a model on trial is loaded; found at the start, it becomes ``tripped``.

    Files survive a restarted container and go with the pod (emptyDir).
    """

    def __init__(self, state: Path) -> None:
        self._held = state / "on-trial"
        self._tripped = state / "tripped"
        state.mkdir(parents=True, exist_ok=True)
        if self._held.exists():
            self._held.replace(self._tripped)

    @property
    def tripped(self) -> str | None:
        """The digest of the model that this pod's process died with, if any."""
        try:
            return self._tripped.read_text(encoding="ascii") or None
        except FileNotFoundError:
            return None

    def hold(self, digest: str) -> None:
        """Note that ``digest`` is about to be in the process; on disk before this returns."""
        draft = self._held.with_suffix(".new")
        with draft.open("w", encoding="ascii") as file:
            file.write(digest)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._held)

    def release(self) -> None:
        """Note that no model on trial is in the process, or that it ends in good order."""
        with contextlib.suppress(FileNotFoundError):
            self._held.unlink()

    def forgive(self) -> None:
        """Forget what was tripped: the document does not name it any more."""
        with contextlib.suppress(FileNotFoundError):
            self._tripped.unlink()
