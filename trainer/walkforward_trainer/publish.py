"""Stage 16, second half: the one write that makes files a bundle, and the pointer to the newest (contracts C6, C8)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from walkforward_core.bundle import MANIFEST, MODEL, Manifest
from walkforward_core.documents import Document, digest
from walkforward_core.errors import AlreadyExists, DocumentError, NotFound
from walkforward_core.objectstore import create
from walkforward_trainer.errors import BadConfiguration, Reason, Transient
from walkforward_trainer.pointer import move_forward

if TYPE_CHECKING:
    from collections.abc import Callable

    from walkforward_core.objectstore import ObjectStore
    from walkforward_trainer.bundle import Bundle

__all__ = ["POINTER", "Latest", "Published", "publish"]

POINTER: Final = "LATEST.json"
QUIET_MS: Final = 60_000
"""A file that nobody has written for this long belongs to no run under way: an upload takes seconds."""


class Latest(Document, frozen=True, kw_only=True):
    """``LATEST.json``: the newest bundle by ``asOf``, for people; rollouts follow the retrain's status."""

    NAME: ClassVar[str] = "latest"

    version: str
    uri: str
    digest: str


@dataclass(frozen=True, slots=True)
class Published:
    """What stands in the store: ``digest`` of its manifest, ``run`` that wrote it, ``fresh`` where that was this very call."""

    digest: str
    run: str
    fresh: bool


def wall_clock_ms() -> int:
    """Return now in epoch milliseconds."""
    return time.time_ns() // 1_000_000


def publish(store: ObjectStore, bundle: Bundle, artifacts: str, *, clock_ms: Callable[[], int] = wall_clock_ms) -> Published:
    """Write the bundle, manifest last and create-only, then move the pointer below ``artifacts``.

    A bundle of the same version that another run has published stands where it is the same model, deciding the same; it is never
    written over.

    Raises
    ------
    BadConfiguration
        The version is there, and differs in more than who made it.
    Transient
        Another run is writing files of this very version.
    StoreError
        The store did not do as asked.
    """
    manifest_uri = bundle.uri + MANIFEST
    try:
        found = _standing(bundle, store.get(manifest_uri))
    except NotFound:
        for name, data in bundle.files.items():
            _upload(store, bundle.uri + name, data, clock_ms)
        try:
            fresh = create(store, manifest_uri, bundle.manifest)
        except AlreadyExists:  # another run was faster
            found = _standing(bundle, store.get(manifest_uri))
        else:
            found = Published(bundle.digest, _run_of(bundle.manifest), fresh=fresh)
    pointer = Latest(version=bundle.version, uri=bundle.uri, digest=found.digest)
    stamp = bundle.version.partition("-")[0]
    move_forward(store, f"{artifacts.rstrip('/')}/{POINTER}", pointer.to_bytes(), later=lambda data: _stamp_of(data) > stamp)
    return found


def _upload(store: ObjectStore, uri: str, data: bytes, clock_ms: Callable[[], int]) -> None:
    """Write one file of a bundle that has no manifest yet.

    Files that are there are a leftover of a run that did not finish, or of one that is about to commit a manifest over them: only the
    first may be replaced, so other bytes must have lain for a while. Old ones are written again even where they are the same, so that
    retention, which removes leftovers by age, keeps away from them.
    """
    try:
        if create(store, uri, data):
            return
        same = True
    except AlreadyExists:
        same = False
    busy = f"{uri}: written less than {QUIET_MS // 1000} s ago by another run of this very version, or by one that was killed; try again"
    try:
        head = store.head(uri)
        if clock_ms() - head.modified_ms >= QUIET_MS:
            store.put(uri, data, if_match=head.etag)
        elif not same:
            raise Transient(Reason.VERSION_BUSY, busy)
    except (AlreadyExists, NotFound) as error:
        raise Transient(Reason.VERSION_BUSY, busy) from error


def _standing(bundle: Bundle, written: bytes) -> Published:
    """Return the bundle that is there, if it is as good as ours."""
    if written == bundle.manifest:
        return Published(bundle.digest, _run_of(written), fresh=False)
    try:
        there = Manifest.parse(written, source=bundle.uri + MANIFEST)
    except DocumentError as error:
        raise BadConfiguration(
            Reason.VERSION_EXISTS, f"{error}; this bundle is not readable: move it out of the way, or choose another data.asOf"
        ) from error
    differs = _differences(there, Manifest.parse(bundle.manifest))
    if differs:
        raise BadConfiguration(
            Reason.VERSION_EXISTS,
            f"{bundle.uri}{MANIFEST} exists: this model was published for this asOf by the run {there.retrain.run} of "
            f"{there.retrain.namespace}/{there.retrain.name}, with another {', '.join(differs)}; use that bundle, or another data.asOf",
        )
    return Published(digest(written), there.retrain.run, fresh=False)


def _differences(there: Manifest, ours: Manifest) -> list[str]:
    """Return what differs, of all that says what the bundle decides, what it was learned from and what it has proven.

    Left out: the run, library versions, the last digits of metrics and the reports, none of which makes another model of the same bytes.
    """
    pairs = {
        "owner": ((there.retrain.namespace, there.retrain.name), (ours.retrain.namespace, ours.retrain.name)),
        "model": (there.files.get(MODEL), ours.files.get(MODEL)),
        "set of files": (set(there.files), set(ours.files)),
        "input": (there.input, ours.input),
        "output": (there.output, ours.output),
        "decision": (there.decision, ours.decision),
        "horizon": (there.horizon, ours.horizon),
        "costs": (there.costs, ours.costs),
        "data": (there.data, ours.data),
        "validation": (there.validation, ours.validation),
        "baseline": (there.baseline, ours.baseline),
        "gates": (_judged(there), _judged(ours)),
    }
    return [name for name, (left, right) in pairs.items() if left != right]


def _judged(manifest: Manifest) -> list[tuple[object, ...]]:
    return [(gate.name, gate.threshold, gate.verdict, gate.forced) for gate in manifest.gates]


def _run_of(manifest: bytes) -> str:
    return Manifest.parse(manifest).retrain.run


def _stamp_of(pointer: bytes) -> str:
    """Return the time stamp of the version that is pointed to; empty when the pointer is not readable as one."""
    try:
        return Latest.parse(pointer, source=POINTER).version.partition("-")[0]
    except DocumentError:
        return ""
