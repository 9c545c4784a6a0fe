"""The bundles below one address as a registry: which versions there are, which one people have made active, and why.

The store is the registry. A rollout follows its ModelRetrain, or is pinned to ``source.bundle`` by uri and digest, which this lists;
``ACTIVE.json`` is for programs that load a model by themselves, without an operator, and for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final

from walkforward_core.bundle import MANIFEST, Manifest
from walkforward_core.documents import Document, digest
from walkforward_core.errors import DocumentError, NotFound
from walkforward_core.expiry import EXPIRY, Expiry, ExpiryState
from walkforward_core.objectstore import create
from walkforward_trainer.errors import BadConfiguration, Reason
from walkforward_trainer.expiring import spare
from walkforward_trainer.pointer import move_forward
from walkforward_trainer.publish import POINTER, Latest
from walkforward_trainer.retention import ACTIVE, KEEP, bundle_folders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from walkforward_core.objectstore import ObjectStore
    from walkforward_trainer.retention import Folder

__all__ = ["Entry", "Promotion", "Registry", "table"]

PROMOTIONS: Final = "promotions"
MANIFEST_LIMIT: Final = 4 * 2**20


class Promotion(Document, frozen=True, kw_only=True):
    """``ACTIVE.json``, and each record below ``promotions/``: the version that a person made active, when (RFC 3339 UTC), and why."""

    NAME: ClassVar[str] = "promotion"

    version: str
    uri: str
    digest: str
    reason: str
    by: str
    at: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One version; ``uri`` and ``digest`` are what ``source.bundle`` of a rollout takes. ``flaw`` says why it cannot be read."""

    version: str
    uri: str
    digest: str
    as_of: str
    run: str
    verdict: str
    metrics: dict[str, float]
    marks: tuple[str, ...]
    flaw: str = ""


class Registry:
    """Versions below ``artifacts``.

    Parameters
    ----------
    store, artifacts
        Where bundles are; ``artifacts`` as in the spec of the ModelRetrain.
    now
        The clock, for promotions.
    """

    def __init__(self, store: ObjectStore, artifacts: str, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._store = store
        self._root = artifacts.rstrip("/")
        self._now = now

    def versions(self) -> list[Entry]:
        """Return every committed bundle, newest first.

        Raises
        ------
        StoreError
            The store did not do as asked.
        """
        active, latest = self.active(), self._latest()
        whole = [folder for folder in bundle_folders(self._store, self._root) if folder.whole]
        return [self._entry(folder, active.version if active else "", latest) for folder in reversed(whole)]

    def list_candidates(self) -> dict[str, dict[str, Any]]:
        """Return the versions that are not active, with their metrics, newest first."""
        return {
            entry.version: {"metrics": entry.metrics, "asOf": entry.as_of, "uri": entry.uri, "digest": entry.digest}
            for entry in self.versions()
            if "active" not in entry.marks and not entry.flaw
        }

    def promote_candidate(self, version: str, *, reason: str, by: str = "") -> Promotion:
        """Make ``version`` the active one, also an older one than is active now: that is a rollback. The reason is recorded for good.

        Raises
        ------
        BadConfiguration
            No such version, one that is not readable, or no reason.
        StoreError
            The store did not do as asked.
        """
        if not reason.strip():
            raise BadConfiguration(Reason.SPEC_INVALID, f"promote {version}: say why; the reason is recorded")
        entry = next((entry for entry in self.versions() if entry.version == version), None)
        if entry is None or entry.flaw:
            why = entry.flaw if entry else f"there is no such version below {self._root}"
            raise BadConfiguration(Reason.SPEC_INVALID, f"promote {version}: {why}; see walkforward-trainer list")
        at = self._now().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._spare(version, by or "promote")
        made = Promotion(version=version, uri=entry.uri, digest=entry.digest, reason=reason, by=by, at=at)
        # the record first: an active model that nobody can explain would be worse than an explanation of nothing
        name = at.replace("-", "").replace(":", "")
        create(self._store, f"{self._root}/{PROMOTIONS}/{name}-{version}.json", made.to_bytes())
        move_forward(self._store, f"{self._root}/{ACTIVE}", made.to_bytes(), later=lambda there: _at(there) > at)
        return made

    def keep(self, version: str, *, reason: str) -> None:
        """Keep ``version`` for ever: retention passes it by, and a rollout may take it up though it was marked.

        Raises
        ------
        BadConfiguration
            No such version, or a run removes it at this moment.
        StoreError
            The store did not do as asked.
        """
        if version not in {entry.version for entry in self.versions()}:
            raise BadConfiguration(Reason.SPEC_INVALID, f"keep {version}: there is no such version below {self._root}")
        self._store.put(f"{self._root}/{version}/{KEEP}", reason.encode())
        self._spare(version, "keep")

    def _spare(self, version: str, by: str) -> None:
        if not spare(self._store, f"{self._root}/{version}/", by, now_ms=round(self._now().timestamp() * 1000)):
            raise BadConfiguration(Reason.SPEC_INVALID, f"{version}: a run removes it at this moment; take another version")

    def active(self) -> Promotion | None:
        """Return what a person made active, None if nobody has."""
        uri = f"{self._root}/{ACTIVE}"
        try:
            return Promotion.parse(self._store.get(uri), source=uri)
        except NotFound:
            return None

    def get_registry_summary(self) -> dict[str, Any]:
        """Return how many versions there are, which are active and newest, and the last ten promotions, newest first."""
        entries, active = self.versions(), self.active()
        history = [Promotion.parse(self._store.get(uri), source=uri) for uri in self._store.list(f"{self._root}/{PROMOTIONS}/")[-10:]]
        return {
            "artifacts": self._root,
            "versions": len(entries),
            "candidates": len([entry for entry in entries if "active" not in entry.marks]),
            "active": None if active is None else active.version,
            "latest": self._latest() or None,
            "promotions": [{"version": made.version, "reason": made.reason, "by": made.by, "at": made.at} for made in reversed(history)],
        }

    def _latest(self) -> str:
        uri = f"{self._root}/{POINTER}"
        try:
            return Latest.parse(self._store.get(uri), source=uri).version
        except (NotFound, DocumentError):
            return ""

    def _entry(self, folder: Folder, active: str, latest: str) -> Entry:
        marks = [
            name
            for name, is_so in (
                ("active", folder.version == active),
                ("latest", folder.version == latest),
                ("kept", folder.kept),
                ("expiring", folder.marked and self._expires(folder)),
            )
            if is_so
        ]
        try:
            raw = self._store.get(folder.uri + MANIFEST, limit=MANIFEST_LIMIT)
            found = Manifest.parse(raw, source=folder.uri + MANIFEST)
        except (DocumentError, NotFound) as error:
            return Entry(folder.version, folder.uri, "", "", "", "unreadable", {}, tuple(marks), flaw=str(error))
        skipped = [gate.name for gate in found.gates if gate.forced]
        verdict = f"Published ({', '.join(skipped)} skipped)" if skipped else "Published"
        return Entry(folder.version, folder.uri, digest(raw), found.data.as_of, found.retrain.run, verdict, found.metrics, tuple(marks))

    def _expires(self, folder: Folder) -> bool:
        try:
            found = Expiry.parse(self._store.get(folder.uri + EXPIRY), source=folder.uri + EXPIRY)
        except NotFound:
            return False
        return found.state is not ExpiryState.SPARED


def table(entries: Iterable[Entry]) -> str:
    """Return the versions as text for a terminal, one line each, with what a rollout's ``source.bundle`` takes."""
    head = ("VERSION", "AS OF", "AUC", "VERDICT", "RUN", "", "URI", "DIGEST")
    lines = [head]
    for entry in entries:
        area = entry.metrics.get("auc")
        shown = "-" if area is None else f"{area:.4f}"
        lines.append(
            (entry.version, entry.as_of, shown, entry.verdict, entry.run, ",".join(entry.marks), entry.uri, entry.digest or entry.flaw)
        )
    width = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join("  ".join(cell.ljust(size) for cell, size in zip(line, width, strict=True)).rstrip() for line in lines)


def _at(promotion: bytes) -> str:
    """Return when a promotion was made; empty when it is not readable as one."""
    try:
        return Promotion.parse(promotion).at
    except DocumentError:
        return ""
