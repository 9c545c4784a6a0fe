"""The decision ledger: one chain of records per rollout in the object store, each naming the sha256 of the one before.

A record is written create-only, so two writers cannot fork the chain. Whoever decides keeps a decision in the status until it is seen
here: writing is therefore retried for as long as it takes, in the background, and nobody waits for it but a rise of the weight.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

import msgspec

from walkforward_core.documents import Document, digest
from walkforward_core.errors import WalkforwardError
from walkforward_core.routing import RolloutRef
from walkforward_operator.audit import ab_test_run
from walkforward_operator.rollout.model import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable

    from walkforward_operator.cluster.fence import Writes
    from walkforward_operator.metrics import Metrics
    from walkforward_operator.rollout.model import Record

__all__ = ["LedgerBook", "LedgerRecord", "LedgerStore"]

_log: Final = logging.getLogger(__name__)
_RECORD_LIMIT: Final = 1024 * 1024
_RETRY_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0)


class LedgerRecord(Document, frozen=True, kw_only=True):
    """One record; ``previous`` is the digest of the record before it, empty for the first."""

    NAME: ClassVar[str] = "ledger"

    rollout: RolloutRef
    seq: int
    kind: str
    previous: str
    body: msgspec.Raw


class LedgerStore(Protocol):
    """Where the ledger is kept; :class:`walkforward_operator.objects.Objects` is one."""

    async def read(self, uri: str, *, limit: int) -> bytes:
        """Return the bytes of an object."""
        ...

    async def create(self, uri: str, data: bytes) -> bool:
        """Write an object once."""
        ...

    async def list(self, prefix: str) -> list[str]:
        """Return the URIs that start with ``prefix``, sorted."""
        ...


@dataclass(slots=True)
class _Chain:
    """What is known of one rollout's chain."""

    rollout: RolloutRef
    wake: Callable[[], None]
    stored: int | None = None
    head: str = ""
    error: str = ""
    waiting: dict[int, Record] = field(default_factory=dict)
    gone: bool = False
    task: asyncio.Task[None] | None = None


class LedgerBook:
    """All chains; ``root`` is the ledger's URI, ``leading`` is asked before each write."""

    def __init__(self, store: LedgerStore, root: str, *, leading: Callable[[], bool], writes: Writes, metrics: Metrics) -> None:
        self._store = store
        self._root = root.rstrip("/")
        self._leading = leading
        self._writes = writes
        self._metrics = metrics
        self._chains: dict[str, _Chain] = {}

    def view(self, rollout: RolloutRef, *, wake: Callable[[], None]) -> Ledger:
        """Return how far the chain of ``rollout`` has come; ``wake`` is called when that changes."""
        chain = self._chains.get(rollout.uid)
        if chain is None:
            chain = self._chains[rollout.uid] = _Chain(rollout, wake)
            self._work(chain)
        return Ledger(stored=chain.stored, error=chain.error)

    def add(self, rollout: RolloutRef, record: Record, *, wake: Callable[[], None]) -> None:
        """Have a record written; one that is there, or waits already, changes nothing."""
        self.view(rollout, wake=wake)
        chain = self._chains[rollout.uid]
        if chain.stored is None or record.seq > chain.stored:
            chain.waiting.setdefault(record.seq, record)
            self._work(chain)

    def forget(self, uid: str) -> None:
        """Drop what is known of a rollout that is gone, once its last records are written."""
        chain = self._chains.get(uid)
        if chain is not None:
            chain.gone = True
            self._drop(chain)

    def _drop(self, chain: _Chain) -> None:
        if chain.gone and not chain.waiting:
            self._chains.pop(chain.rollout.uid, None)

    def _work(self, chain: _Chain) -> None:
        if chain.task is None or chain.task.done():
            chain.task = asyncio.get_running_loop().create_task(self._flush(chain), name=f"ledger {chain.rollout.name}")

    async def _flush(self, chain: _Chain) -> None:
        """Write all that waits, in order, however long it takes."""
        failures = 0
        while chain.stored is None or chain.waiting:
            try:
                if chain.stored is None:
                    await self._load(chain)
                else:
                    await self._append(chain, chain.waiting[min(chain.waiting)])
            except (WalkforwardError, msgspec.DecodeError) as error:
                self._metrics.ledger_errors.inc()
                if str(error) != chain.error:
                    _log.warning("ledger of %s/%s: %s", chain.rollout.namespace, chain.rollout.name, error)
                    chain.error = str(error)
                    chain.wake()
                await asyncio.sleep(_RETRY_S[min(failures, len(_RETRY_S) - 1)])
                failures += 1
            else:
                failures, chain.error = 0, ""
        self._drop(chain)
        chain.wake()

    async def _load(self, chain: _Chain) -> None:
        prefix = self._prefix(chain)
        found = [uri for uri in await self._store.list(prefix) if uri.endswith(".json")]
        if not found:
            chain.stored = 0
            return
        # names are zero-padded, so the last by name is the newest
        data = await self._store.read(found[-1], limit=_RECORD_LIMIT)
        chain.head, chain.stored = digest(data), LedgerRecord.parse(data, source=found[-1]).seq
        chain.waiting = {seq: record for seq, record in chain.waiting.items() if seq > chain.stored}

    async def _append(self, chain: _Chain, record: Record) -> None:
        entry = LedgerRecord(
            rollout=chain.rollout, seq=record.seq, kind=record.kind, previous=chain.head, body=msgspec.Raw(record.body.encode())
        )
        data, uri = entry.to_bytes(), f"{self._prefix(chain)}{record.seq:08d}.json"
        row = ab_test_run(chain.rollout, record)
        if row is not None:  # first, so that the row of every entry that is there is there too
            await self._create(f"{self._root}/{row[0]}", row[1])
        try:
            await self._create(uri, data)
        except WalkforwardError:
            chain.stored = None  # somebody may have written: look again before the next attempt
            raise
        chain.head, chain.stored = digest(data), record.seq
        chain.waiting.pop(record.seq, None)

    async def _create(self, uri: str, data: bytes) -> None:
        if not self._leading():
            raise WalkforwardError("this process does not hold the Lease; the ledger is written by the one that does")
        self._writes.before(f"ledger {uri}")
        await self._store.create(uri, data)
        self._writes.after(f"ledger {uri}")

    def _prefix(self, chain: _Chain) -> str:
        rollout = chain.rollout
        return f"{self._root}/rollouts/{rollout.namespace}/{rollout.name}/{rollout.uid}/"
