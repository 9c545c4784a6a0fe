"""Old bundles that go after a run that published: the decision is pure, the deletion leaves no half bundle that looks whole.

A run marks what may go; a later run that was told what is in use when the mark was there already removes it. So nothing is removed that a
rollout has taken up since a run began (:mod:`walkforward_core.expiry`).

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
from walkforward_core.expiry import EXPIRY
from walkforward_trainer.expiring import GONE_MS, mark, spare, take
from walkforward_trainer.publish import POINTER
from walkforward_trainer.specfile import COMMAND_LINE, instant

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
LEFTOVERS: Final = "leftovers of runs that did not finish"
CENTURIES: Final = ("19", "20", "21")
"""Versions begin with a year: so listing them passes by the folders of runs and audits, which are many more."""


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
    def marked(self) -> bool:
        """Whether a run has marked it, or has taken the mark back."""
        return EXPIRY in self.names

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
        and now_ms - modified_ms.get(folder.version, now_ms) > GONE_MS
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
    """Mark what may go and remove what is ripe, or only say what would; return a sentence, empty where there is nothing to say.

    Raises
    ------
    StoreError, DocumentError
        The store did not do as asked, or a mark cannot be read; what was removed by then is gone, and whole bundles are whole.
    """
    rule = run.spec.artifacts.retention
    if rule is None:
        return ""
    try:
        keep = protected(store, run, result.version)
    except DocumentError as error:
        return f"retention: nothing was removed, since {error}"
    found = bundle_folders(store, run.spec.artifacts.uri)
    old = expired(found, rule, keep=keep, as_of_ms=instant(run.as_of, "asOf"))
    debris = leftover(found, _modified(store, found), keep=keep, now_ms=now_ms)
    used_ms = _used_ms(run, now_ms)
    if not remove or used_ms is None:
        said = _list(("old bundles", old), (LEFTOVERS, debris))
        untold = "; it does not, since it was not told which bundles are in use" if remove else ""
        return f"retention would remove {said}{untold}" if said else ""
    for folder in found:
        if folder.whole and folder.marked and folder not in old:
            spare(store, folder.uri, run.run, now_ms=now_ms)
    gone = [folder for folder in old if folder.marked and take(store, folder.uri, run.run, used_ms=used_ms, now_ms=now_ms)]
    marked = [folder for folder in old if folder not in gone]
    for folder in marked:
        mark(store, folder.uri, run.run)
    for folder in [*gone, *debris]:
        _remove(store, folder)
    removed, waiting = _list(("old bundles", gone), (LEFTOVERS, debris)), _list(("for a later run to remove", marked))
    parts = [f"removed {removed}"] * bool(removed) + [f"marked {waiting}"] * bool(waiting)
    return f"retention {', '.join(parts)}" if parts else ""


def _list(*kinds: tuple[str, list[Folder]]) -> str:
    return "; ".join(f"{kind} {', '.join(folder.version for folder in some)}" for kind, some in kinds if some)


def _used_ms(run: RunDocument, now_ms: int) -> int | None:
    """Return when it was seen which bundles are in use: files of this machine are used by no rollout; None where nobody has looked."""
    if run.in_use_at:
        return instant(run.in_use_at, "inUseAt")
    alone = run.trigger.id == COMMAND_LINE and run.spec.artifacts.uri.startswith("file:")
    return now_ms if alone else None


def _remove(store: ObjectStore, folder: Folder) -> None:
    """Remove a folder: its manifest first, so that from then on it is no bundle, and its mark last, so that nobody takes up a part."""
    for name in sorted(folder.names, key=lambda name: (name != MANIFEST, name == EXPIRY, name)):
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
