"""The mark of a bundle that retention will remove: an object in its folder, and the only thing that decides who may still take it up.

A run is told which bundles are in use when it begins, and removes long after. In between a rollout may be pinned to an old bundle. So a
bundle is marked first, and removed only by a later run that was told what is in use after the mark was there; a rollout takes up no
bundle that is marked. Whoever changes a mark does so by compare-and-swap, so of two at once one has lost and knows it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Final

from walkforward_core.documents import Document

__all__ = ["EXPIRY", "Expiry", "ExpiryState"]

EXPIRY: Final = "EXPIRY.json"
"""Name of the mark in a bundle's folder."""


class ExpiryState(StrEnum):
    """What will become of a marked bundle."""

    EXPIRING = "Expiring"
    """A later run removes it, unless it is in use by then or somebody spares it."""
    SPARED = "Spared"
    """It stays: as good as no mark."""
    REMOVING = "Removing"
    """A run removes it now."""


class Expiry(Document, frozen=True, kw_only=True):
    """``EXPIRY.json``; ``by`` is the run, or the person, that wrote it last."""

    NAME: ClassVar[str] = "expiry"

    state: ExpiryState
    by: str
