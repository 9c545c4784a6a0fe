"""Old bundles that go after a run that published: the decision is pure, the deletion leaves no half bundle that looks whole.

A bundle is one as long as it has its ``manifest.json``: that goes first, so a reader sees all of it or nothing. A run that is killed in
between leaves files without a manifest, which nobody reads and a later run removes.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from walkforward_core.bundle import MANIFEST
from walkforward_core.documents import Part, decode
from walkforward_core.durations import parse_ms
from walkforward_core.errors import DocumentError, NotFound
from walkforward_trainer.publish import POINTER
from walkforward_trainer.specfile import COMMAND_LINE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from walkforward_core.api.retrain import Retention
    from walkforward_core.objectstore import ObjectStore
    from walkforward_core.runs import ResultDocument, RunDocument

__all__ = ["ACTIVE", "KEEP", "Folder", "bundle_folders", "expired", "folders", "leftover", "protected", "sweep"]

ACTIVE: Final = "ACTIVE.json"
"""What a person has made active (``registry``)."""
KEEP: Final = "KEEP"
"""An object of this name in a bundle's folder keeps it for ever; its content, if any, says why."""
VERSION: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
CENTURIES: Final = ("19", "20", "21")
"""Versions begin with a year: so listing them passes by the folders of runs and audits, which are many more."""
LEFTOVER_MS: Final = 86_400_000
"""Files without a manifest that nobody has written for this long are of a run that is gone."""


class Pointer(Part, frozen=True, kw_only=True):
    """What the pointers to a version have in common."""

    version: str


@dataclass(frozen=True, slots=True)
class Folder:
    """What lies under one version: the names of its objects below ``uri``, which ends in a slash."""

    version: str
    uri: str
    names: frozenset[str] = field(default_factory=frozenset)

    @property
    def whole(self) -> bool:
        """Whether it is a bundle."""
        return MANIFEST in self.names

    @property
    def kept(self) -> bool:
        """Whether a person keeps it."""
        return KEEP in self.names

    @property
    def as_of_ms(self) -> int:
        """Return the time of the version, epoch milliseconds; raises ValueError for digits that are no date."""
        stamp = self.version.partition("-")[0]
        return round(datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp() * 1000)


def folders(artifacts: str, uris: Iterable[str]) -> list[Folder]:
    """Return the versions that the objects ``uris`` below ``artifacts`` make up; what is no version's is left alone."""
    root = artifacts.rstrip("/") + "/"
    names: dict[str, set[str]] = {}
    for uri in uris:
        version, _, name = uri.removeprefix(root).partition("/")
        if name and VERSION.fullmatch(version) and _is_date(version):
            names.setdefault(version, set()).add(name)
    return [Folder(version, f"{root}{version}/", frozenset(found)) for version, found in sorted(names.items())]


def expired(found: Iterable[Folder], rule: Retention, *, keep: frozenset[str], as_of_ms: int) -> list[Folder]:
    """Return the whole bundles that may go, oldest first: older than ``maxAge``, not among the ``keepLast`` newest, not in ``keep``."""
    bundles = sorted((folder for folder in found if folder.whole), key=lambda folder: folder.version)
    beyond = bundles[: max(0, len(bundles) - rule.keep_last)]
    oldest = as_of_ms - parse_ms(rule.max_age)
    return [folder for folder in beyond if folder.as_of_ms < oldest and not folder.kept and folder.version not in keep]


def leftover(found: Iterable[Folder], modified_ms: Mapping[str, int], *, keep: frozenset[str], now_ms: int) -> list[Folder]:
    """Return folders without a manifest whose newest object, by ``modified_ms`` of each version, is older than a day."""
    return [
        folder
        for folder in found
        if not folder.whole
        and not folder.kept
        and folder.version not in keep
        and now_ms - modified_ms.get(folder.version, now_ms) > LEFTOVER_MS
    ]


def protected(store: ObjectStore, run: RunDocument, published: str = "") -> frozenset[str]:
    """Return the versions that must stay: in use, the baseline, the newest, the active, and the one just published.

    Versions, not addresses: a bundle that is named in any spelling stays.

    Raises
    ------
    StoreError, DocumentError
        Which is the newest or the active one cannot be said; then nothing may be removed.
    """
    used = [*run.in_use, *([] if run.baseline is None else [run.baseline.uri]), published]
    names = {uri.rstrip("/").rpartition("/")[2] for uri in used}
    for pointer in (POINTER, ACTIVE):
        uri = f"{run.spec.artifacts.uri.rstrip('/')}/{pointer}"
        with suppress(NotFound):  # nothing was ever published, or made active
            names.add(decode(Pointer, store.get(uri), source=uri).version)
    return frozenset(names)


def sweep(store: ObjectStore, run: RunDocument, result: ResultDocument, *, now_ms: int, remove: bool) -> str:
    """Remove what may go, or only say what would; return a sentence, empty where there is nothing to say.

    Raises
    ------
    StoreError
        The store did not do as asked; what was removed by then is gone, and whole bundles are whole.
    """
    rule = run.spec.artifacts.retention
    if rule is None:
        return ""
    try:
        keep = protected(store, run, result.version)
    except DocumentError as error:
        return f"retention: nothing was removed, since {error}"
    found = bundle_folders(store, run.spec.artifacts.uri)
    as_of_ms = round(datetime.fromisoformat(run.as_of).timestamp() * 1000)
    old = expired(found, rule, keep=keep, as_of_ms=as_of_ms)
    debris = leftover(found, _modified(store, found), keep=keep, now_ms=now_ms)
    if not old and not debris:
        return ""
    kinds = (("old bundles", old), ("leftovers of runs that did not finish", debris))
    said = "; ".join(f"{kind} {', '.join(folder.version for folder in gone)}" for kind, gone in kinds if gone)
    if not remove:
        return f"retention would remove {said}"
    if run.trigger.id == COMMAND_LINE and not run.spec.artifacts.uri.startswith("file:"):
        return f"retention would remove {said}; a run from the command line does not, since it is not told which bundles are in use"
    for folder in [*old, *debris]:
        _remove(store, folder)
    return f"retention removed {said}"


def _remove(store: ObjectStore, folder: Folder) -> None:
    """Remove a folder: its manifest first, so that from then on it is no bundle."""
    for name in sorted(folder.names, key=lambda name: (name != MANIFEST, name)):
        store.delete(folder.uri + name)


def bundle_folders(store: ObjectStore, artifacts: str) -> list[Folder]:
    """Return the versions below ``artifacts``, oldest first, whole or not."""
    return folders(artifacts, [uri for century in CENTURIES for uri in store.list(f"{artifacts.rstrip('/')}/{century}")])


def _modified(store: ObjectStore, found: Iterable[Folder]) -> dict[str, int]:
    """Return when the newest object of each folder without a manifest was written; what vanishes meanwhile is being worked on."""
    times: dict[str, int] = {}
    for folder in found:
        if not folder.whole:
            try:
                times[folder.version] = max(store.head(folder.uri + name).modified_ms for name in folder.names)
            except NotFound:
                continue
    return times


def _is_date(version: str) -> bool:
    try:
        return Folder(version, "").as_of_ms >= 0
    except ValueError:
        return False
