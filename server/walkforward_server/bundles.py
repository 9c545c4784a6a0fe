"""Bundles on disk: fetched once, cached by digest, verified on every load before they may serve."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from walkforward_core.bundle import GOLDEN, MANIFEST, MODEL, REFERENCE, Golden, Manifest, Reference
from walkforward_core.documents import digest
from walkforward_core.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from walkforward_core.objectstore import ObjectStore
    from walkforward_core.routing import ModelRef
    from walkforward_server.model import Model

__all__ = ["Bundle", "cache_path", "check_golden", "fetch", "load", "note_proven", "obtain", "proven", "prune"]

NEEDED = (MODEL, REFERENCE, GOLDEN)
"""What the server reads of a bundle; reports stay in the object store."""
MAX_FILE = 512 * 2**20
_PROVEN = "proven-here"
"""Beside a bundle's files: it was proven and opened on this pod, whose volume and image no other pod has."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """The verified bytes of one bundle; ``digest`` is of the manifest's bytes."""

    manifest: Manifest
    reference: Reference
    golden: Golden
    content: bytes
    digest: str


def cache_path(state: Path, manifest_digest: str) -> Path:
    """Return the directory of a bundle in the cache below ``state``."""
    return state / "bundles" / manifest_digest.removeprefix("sha256:")


def obtain(store: ObjectStore, ref: ModelRef, state: Path) -> Bundle:
    """Return the verified bundle, from the cache below ``state`` or from ``store``; a damaged copy is fetched anew.

    Raises
    ------
    IntegrityError, DocumentError, StoreError
        As :func:`fetch` and :func:`load`.
    """
    cached = (cache_path(state, ref.digest) / MANIFEST).exists()
    try:
        return load(fetch(store, ref, state), ref)
    except IntegrityError:
        if not cached:
            raise
        return load(fetch(store, ref, state), ref)


def fetch(store: ObjectStore, ref: ModelRef, state: Path) -> Path:
    """Return the cached copy of ``ref``'s bundle, complete or absent, fetched from ``store`` where it is not there yet.

    Raises
    ------
    IntegrityError
        The manifest is not the one that the routing document names, or a file is not the one that the manifest names.
    StoreError
        The object store did not deliver.
    """
    home = cache_path(state, ref.digest)
    if (home / MANIFEST).exists():
        return home
    root = ref.uri.rstrip("/")
    manifest_bytes = store.get(f"{root}/{MANIFEST}", limit=MAX_FILE)
    _expect(MANIFEST, digest(manifest_bytes), ref.digest, ref)
    manifest = Manifest.parse(manifest_bytes, source=f"{root}/{MANIFEST}")
    home.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".fetch-", dir=home.parent))
    try:
        for name in NEEDED:
            data = store.get(f"{root}/{name}", limit=MAX_FILE)
            _expect(name, hashlib.sha256(data).hexdigest(), _promised(manifest, name, ref), ref)
            (staging / name).write_bytes(data)
        (staging / MANIFEST).write_bytes(manifest_bytes)
        _publish(staging, home)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return home


def _publish(staging: Path, home: Path) -> None:
    """Put the directory in its place in one step; one that another process put there meanwhile has the same digest."""
    try:
        staging.rename(home)
    except OSError:
        if not (home / MANIFEST).exists():
            raise


def load(home: Path, ref: ModelRef) -> Bundle:
    """Return the bundle in the directory ``home`` after checking every byte against ``ref`` and the manifest.

    Raises
    ------
    IntegrityError
        A digest differs; the damaged copy is removed.
    DocumentError
        A document in it is not readable.
    """
    try:
        return _load(home, ref)
    except (IntegrityError, FileNotFoundError) as error:
        shutil.rmtree(home, ignore_errors=True)
        raise IntegrityError(f"copy of {ref.version} is not what was promised, and was removed: {error}") from error


def _load(home: Path, ref: ModelRef) -> Bundle:
    files = {name: (home / name).read_bytes() for name in (*NEEDED, MANIFEST)}
    _expect(MANIFEST, digest(files[MANIFEST]), ref.digest, ref)
    manifest = Manifest.parse(files[MANIFEST], source=MANIFEST)
    for name in NEEDED:
        _expect(name, hashlib.sha256(files[name]).hexdigest(), _promised(manifest, name, ref), ref)
    _expect(MODEL, digest(files[MODEL]), ref.model, ref)
    if manifest.version != ref.version:
        raise IntegrityError(f"{ref.uri}: manifest is of version {manifest.version!r}, the routing document says {ref.version!r}")
    reference = Reference.parse(files[REFERENCE], source=REFERENCE)
    names = tuple(feature.name for feature in reference.features)
    if names != manifest.input.features:
        raise IntegrityError(f"{REFERENCE} of {ref.version} is about features {names}, the manifest about {manifest.input.features}")
    golden = Golden.parse(files[GOLDEN], source=GOLDEN)
    return Bundle(manifest=manifest, reference=reference, golden=golden, content=files[MODEL], digest=ref.digest)


def check_golden(model: Model, golden: Golden) -> None:
    """Score the golden rows again, in one batch and through the bound tensors of the hot path.

    Raises
    ------
    IntegrityError
        There is none, or an output or a position differs by more than the tolerance.
    """
    if not golden.x:
        raise IntegrityError(f"{GOLDEN} of {model.version} has no rows; publish the bundle again")
    x = np.array([[np.nan if value is None else value for value in row] for row in golden.x], np.float32)
    if x.shape != (len(golden.p), model.width) or len(golden.position) != len(x):
        raise IntegrityError(
            f"{GOLDEN} of {model.version}: X has shape {x.shape}, p has {len(golden.p)} rows, the model {model.width} features"
        )
    expected = np.array(golden.p, np.float64)
    for how, answer in (("in a batch", model.score_rows(x)), ("one by one", np.array([model.score(row.tobytes()) for row in x]))):
        if expected.shape != answer.shape:
            raise IntegrityError(f"{GOLDEN} of {model.version}: p has shape {expected.shape}, the model answers {answer.shape}")
        worst = np.abs(answer - expected).max(axis=1)
        row = int(worst.argmax())
        if worst[row] > golden.tolerance:
            raise IntegrityError(
                f"golden row {row} of {model.version} scored {how} gives {answer[row].tolist()}, expected {golden.p[row]} "
                f"within {golden.tolerance}: this runtime does not reproduce the trained model"
            )
        _check_positions(model, golden, model.decisive_rows(answer).tolist())


def _check_positions(model: Model, golden: Golden, p: Sequence[float]) -> None:
    threshold = model.manifest.decision.threshold
    for row, (value, promised) in enumerate(zip(p, golden.position, strict=True)):
        given = model.position(value, 1.0)
        near = min(abs(value - threshold), abs(value - (1.0 - threshold))) <= golden.tolerance
        if abs(given - promised) > 2 * golden.tolerance and not near:
            raise IntegrityError(f"golden row {row} of {model.version}: position {given}, expected {promised} at p = {value}")


def proven(state: Path, manifest_digest: str) -> bool:
    """Return whether this pod has proven and opened the bundle before; a damaged copy takes the note with it."""
    return (cache_path(state, manifest_digest) / _PROVEN).exists()


def note_proven(state: Path, manifest_digest: str) -> None:
    """Note that this pod has proven and opened the bundle."""
    (cache_path(state, manifest_digest) / _PROVEN).touch()


def prune(state: Path, keep: Collection[str]) -> None:
    """Remove cached bundles whose digest is not in ``keep``, and what an interrupted fetch left."""
    wanted = {cache_path(state, kept).name for kept in keep}
    home = state / "bundles"
    for entry in os.scandir(home) if home.is_dir() else ():
        if entry.name not in wanted and not entry.name.startswith(".fetch-"):
            shutil.rmtree(entry.path, ignore_errors=True)


def _promised(manifest: Manifest, name: str, ref: ModelRef) -> str:
    record = manifest.files.get(name)
    if record is None:
        raise IntegrityError(f"{ref.uri}: the manifest names no {name}; publish the bundle again")
    return record.sha256


def _expect(name: str, given: str, promised: str, ref: ModelRef) -> None:
    if given != promised:
        raise IntegrityError(f"{ref.uri}: {name} has sha256 {given}, promised is {promised}; it was changed after it was published")
