"""Manifests and references of bundles, read in the background and cached by digest.

A reconcile never waits for the object store: it takes what is there, and is woken when more is. A manifest counts only when its
bytes have the digest that was promised, and a reference only when the manifest vouches for it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from walkforward_core.bundle import MANIFEST, MODEL, REFERENCE, Manifest, Reference
from walkforward_core.documents import digest as digest_of
from walkforward_core.errors import IntegrityError, WalkforwardError
from walkforward_core.objectstore import within
from walkforward_core.routing import ModelRef
from walkforward_operator.pins import Pin, look
from walkforward_operator.rollout.model import Bundle

if TYPE_CHECKING:
    from collections.abc import Callable

    from walkforward_operator.pins import Reads

__all__ = ["Bundles", "Missing"]

_log: Final = logging.getLogger(__name__)
_MANIFEST_LIMIT: Final = 1024 * 1024
_REFERENCE_LIMIT: Final = 16 * 1024 * 1024
_RETRY_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0)


@dataclass(frozen=True, slots=True)
class Missing:
    """A bundle that is not there yet; ``fresh`` while its first read is under way, ``message`` says what went wrong since."""

    message: str
    fresh: bool = False


@dataclass(slots=True)
class _Read:
    task: asyncio.Task[None]
    wakes: list[Callable[[], None]]
    message: str = ""
    failures: int = 0
    due: float = 0.0


class Bundles:
    """A cache of bundles; ``roots`` are the prefixes that may be read."""

    def __init__(self, objects: Reads, roots: tuple[str, ...], *, manifests: int = 4096, references: int = 128) -> None:
        self._objects = objects
        self._roots = roots
        self._limits = manifests, references
        self._manifests: OrderedDict[str, Bundle] = OrderedDict()
        self._references: OrderedDict[str, Reference] = OrderedDict()
        self._reads: dict[tuple[str, bool], _Read] = {}

    def get(self, uri: str, digest: str, *, reference: bool, wake: Callable[[], None]) -> Bundle | Missing:
        """Return the bundle as far as it is known, and read what is missing in the background; ``wake`` is called when there is more.

        With ``reference`` the frozen bins are read too; until they are there, the bundle comes without.
        """
        known = self._manifests.get(digest)
        if known is not None:
            self._manifests.move_to_end(digest)
            bins = self._references.get(digest)
            if reference and bins is None:
                self._read(known.ref.uri, digest, wake, reference=True)
            return replace(known, reference=bins) if bins is not None else known
        if not within(uri, self._roots):
            return Missing(f"bundle {uri} lies outside of what this installation may read ({', '.join(self._roots)})")
        read = self._read(uri, digest, wake, reference=False)
        if read.message:
            return Missing(read.message)
        return Missing(f"{uri}{MANIFEST} is being read", fresh=True)

    def pin(self, known: Pin | None, *, generation: int, uri: str, wake: Callable[[], None]) -> Pin:
        """Return whether retention leaves the bundle at ``uri`` to a rollout; ``known`` is what it was last told."""
        return look(self._objects, known, generation=generation, uri=uri, wake=wake)

    def _read(self, uri: str, digest: str, wake: Callable[[], None], *, reference: bool) -> _Read:
        loop = asyncio.get_running_loop()
        known = self._reads.get((digest, reference))
        if known is not None and (not known.task.done() or loop.time() < known.due):
            known.wakes.append(wake) if wake not in known.wakes else None
            return known
        task = loop.create_task(self._fetch(uri, digest, reference=reference), name=f"bundle {digest}")
        read = _Read(task, [wake], known.message if known else "", known.failures if known else 0)
        self._reads[digest, reference] = read
        return read

    async def _fetch(self, uri: str, digest: str, *, reference: bool) -> None:
        folder = uri if uri.endswith("/") else f"{uri}/"
        try:
            if reference:
                await self._fetch_reference(folder, digest)
            else:
                await self._fetch_manifest(folder, digest)
        except WalkforwardError as error:
            self._failed(digest, str(error), reference=reference)
        else:
            for wake in self._reads.pop((digest, reference)).wakes:
                wake()

    def _failed(self, digest: str, message: str, *, reference: bool) -> None:
        loop = asyncio.get_running_loop()
        read = self._reads[digest, reference]
        delay = _RETRY_S[min(read.failures, len(_RETRY_S) - 1)]
        read.failures, read.message, read.due = read.failures + 1, message, loop.time() + delay
        _log.warning("bundle %s: %s; again in %.0f s", digest, message, delay)
        for wake in read.wakes:
            wake()  # to show the message
            loop.call_later(delay, wake)  # to ask again, if it is still wanted
        read.wakes = []

    async def _fetch_manifest(self, folder: str, digest: str) -> None:
        data = await self._objects.read(f"{folder}{MANIFEST}", limit=_MANIFEST_LIMIT)
        if digest_of(data) != digest:
            raise IntegrityError(f"{folder}{MANIFEST}: its digest is {digest_of(data)}, promised was {digest}; publish the bundle again")
        manifest = Manifest.parse(data, source=f"{folder}{MANIFEST}")
        for name in (MODEL, REFERENCE):
            if name not in manifest.files:
                raise IntegrityError(f"{folder}{MANIFEST} does not list {name}; publish the bundle again")
        ref = ModelRef(version=manifest.version, uri=folder, digest=digest, model=f"sha256:{manifest.files[MODEL].sha256}")
        self._manifests[digest] = Bundle(ref, manifest)
        _shrink(self._manifests, self._limits[0])

    async def _fetch_reference(self, folder: str, digest: str) -> None:
        record = self._manifests[digest].manifest.files[REFERENCE]
        data = await self._objects.read(f"{folder}{REFERENCE}", limit=_REFERENCE_LIMIT)
        if hashlib.sha256(data).hexdigest() != record.sha256:
            raise IntegrityError(f"{folder}{REFERENCE}: its sha256 is not the manifest's {record.sha256}; publish the bundle again")
        self._references[digest] = Reference.parse(data, source=f"{folder}{REFERENCE}")
        _shrink(self._references, self._limits[1])


def _shrink(cache: OrderedDict[str, Bundle] | OrderedDict[str, Reference], limit: int) -> None:
    while len(cache) > limit:
        cache.popitem(last=False)
