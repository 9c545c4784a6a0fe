"""What earlier runs have seen of a log that only grows: a past trade that changed, or is gone, is refused.

A model that learned from trades is only as good as its record of them. Beside the bundles, ``<artifacts>/datasets/<name>.json`` keeps one
line for each trade that a run has read, with a digest of its values; every run holds the log against it and then adds what is new.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from walkforward_core.documents import Document
from walkforward_core.errors import AlreadyExists, DocumentError, NotFound
from walkforward_trainer.errors import BadData, Reason, Transient
from walkforward_trainer.specfile import timestamp
from walkforward_trainer.stages import store_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from walkforward_core.objectstore import ObjectStore

__all__ = ["History", "Past", "first_change", "keep", "row_digests"]

Past = tuple[int, int, str, str]
"""One trade: closed and opened in epoch milliseconds UTC, symbol, digest of its values."""
DIGEST_BYTES: Final = 12
LIMIT: Final = 512 * 2**20
ATTEMPTS: Final = 4


class History(Document, frozen=True, kw_only=True):
    """``datasets/<name>.json``: every trade that a run has read, ascending; ``digest`` is sha256 over them in this order."""

    NAME: ClassVar[str] = "dataset"

    source: str
    rows: int
    digest: str
    trades: tuple[Past, ...]


def row_digests(values: npt.NDArray[np.float64], names: Sequence[str]) -> list[str]:
    """Return a digest of each row of ``values`` (n, len(names)).

    A missing value is left out with its name, so that a column which the log gets later does not change the rows before it.

    >>> old = row_digests(np.array([[1.0, 2.0]]), ["a", "b"])
    >>> old == row_digests(np.array([[1.0, np.nan, 2.0]]), ["a", "new", "b"])
    True
    """
    present = ~np.isnan(values)
    plain = (values + 0.0).astype("<f8")  # -0.0 is 0.0
    heads: dict[bytes, bytes] = {}
    found = []
    for row, mask in zip(plain, present, strict=True):
        key = mask.tobytes()
        if key not in heads:
            heads[key] = "\x00".join(name for name, there in zip(names, mask, strict=True) if there).encode()
        found.append(hashlib.sha256(heads[key] + row[mask].tobytes()).digest()[:DIGEST_BYTES].hex())
    return found


def first_change(past: Sequence[Past], now: Sequence[Past], as_of_ms: int) -> tuple[str, int] | None:
    """Return what became of the first trade of ``past`` that is not among ``now``, and how many there are; none is well.

    Trades of ``past`` that closed after ``as_of_ms`` are not asked for: a run may pretend to happen earlier than the one before it.
    """
    there = Counter(now)
    versions: defaultdict[tuple[int, int, str], int] = defaultdict(int)
    for closed, opened, symbol, _ in now:
        versions[closed, opened, symbol] += 1
    first, count = "", 0
    for trade in sorted(past):
        closed, opened, symbol, _ = trade
        if closed > as_of_ms:
            break
        if there[trade] > 0:
            there[trade] -= 1
            continue
        count += 1
        if not first:
            fate = "has other values now" if versions[closed, opened, symbol] else "is gone"
            first = f"the trade of {symbol} opened {timestamp(opened)} and closed {timestamp(closed)} {fate}"
    return (first, count) if count else None


def keep(store: ObjectStore, uri: str, now: Sequence[Past], *, source: str, as_of_ms: int) -> int:
    """Hold ``now`` against the record at ``uri``, add to it what it lacks, and return how many trades are new.

    Raises
    ------
    BadData
        A past trade changed or is gone (``HistoryChanged``), or the record is not one.
    BadConfiguration, Transient
        The store refuses, or does not answer, or others keep writing.
    """
    for _ in range(ATTEMPTS):
        with store_errors("artifacts.uri"):
            past, etag = _load(store, uri)
        changed = first_change(past, now, as_of_ms)
        if changed is not None:
            what, count = changed
            others = f", and {count - 1} more trades" if count > 1 else ""
            raise BadData(
                Reason.HISTORY_CHANGED,
                f"data: {what}{others}, unlike in an earlier run ({uri}): the log of trades only grows; restore it, or, if the correction "
                "was meant, remove that record, and know that models trained before have learned from other trades",
            )
        known = Counter(past)
        fresh = list((Counter(now) - known).elements())
        if not fresh:
            return 0
        whole = tuple(sorted([*past, *fresh]))
        lines = "\n".join(f"{closed} {opened} {symbol} {found}" for closed, opened, symbol, found in whole)
        document = History(source=source, rows=len(whole), digest=f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}", trades=whole)
        with store_errors("artifacts.uri"):
            if _put(store, uri, document.to_bytes(), etag):
                return len(fresh)
    raise Transient(Reason.STORE_UNAVAILABLE, f"artifacts.uri: {uri} is written by others at the same time; the next try goes through")


def _load(store: ObjectStore, uri: str) -> tuple[tuple[Past, ...], str | None]:
    try:
        etag = store.head(uri).etag
        data = store.get(uri, limit=LIMIT)
    except NotFound:
        return (), None
    try:
        return History.parse(data, source=uri).trades, etag
    except DocumentError as error:
        raise BadData(
            Reason.HISTORY_CHANGED, f"{error}; it is the record of the trades that earlier runs have read: restore it, or remove it"
        ) from error


def _put(store: ObjectStore, uri: str, data: bytes, etag: str | None) -> bool:
    """Write the record as the successor of ``etag``; false when another run was faster."""
    try:
        if etag is None:
            store.put(uri, data, create_only=True)
        else:
            store.put(uri, data, if_match=etag)
    except (AlreadyExists, NotFound):
        return False
    return True
