"""Where tables are: one file, a prefix, a pattern or date partitions in a store; what was there is written down once, then read."""

from __future__ import annotations

import dataclasses
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from walkforward_core.api.data import DataFormat
from walkforward_core.errors import NotFound
from walkforward_core.objectstore import open_store
from walkforward_trainer.data.cache import cache_of
from walkforward_trainer.data.instants import DAY_MS
from walkforward_trainer.errors import BadData, Reason, Transient
from walkforward_trainer.stages import store_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from walkforward_core.api.data import DataSpec, JoinSpec, TradesSpec
    from walkforward_core.objectstore import ObjectHead, ObjectStore

__all__ = ["Access", "Entry", "Source", "Span", "changed", "head_of", "listing", "names", "partition_end", "symbol_of"]

SUFFIXES: Final[Mapping[DataFormat, tuple[str, ...]]] = {
    DataFormat.PARQUET: (".parquet", ".pq"),
    DataFormat.CSV: (".csv", ".csv.gz"),
    DataFormat.FEATHER: (".feather", ".arrow", ".ipc"),
    DataFormat.JSONL: (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz"),
    DataFormat.SQLITE: (".db", ".sqlite", ".sqlite3"),
}
WILDCARD: Final = re.compile(r"[*?]")
PARTITION: Final = re.compile(r"(?:^|/)(?:(?:date|dt|day)=(\d{4})-(\d{2})-(\d{2})|(\d{4})/(\d{2})/(\d{2}))/")
"""A folder of one day, below the fixed part of the address: date=2026-01-31/ or 2026/01/31/."""
SYMBOL: Final = re.compile(r"(?:^|/)symbol=([^/]+)/")
"""A folder of one symbol, as writers of partitions name it, who then leave the column out."""
READERS: Final = 8
"""Requests at a time."""


@dataclass(frozen=True, slots=True)
class Source:
    """A table as the spec names it; ``field`` is the name of that part of the spec in messages.

    ``columns`` maps our names to theirs; where the spec asks for theirs themselves, nothing is ``renamed`` in its eyes.
    """

    field: str
    uri: str
    format: DataFormat
    query: str | None = None
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    renamed: bool = True

    @classmethod
    def of(cls, name: str, spec: DataSpec | TradesSpec | JoinSpec) -> Source:
        """Return the source that the part ``name`` of the spec describes."""
        names = spec.columns if isinstance(spec.columns, dict) else {}
        return cls(field=name, uri=spec.uri, format=spec.format, query=spec.query, columns=names)


@dataclass(frozen=True, slots=True)
class Span:
    """Rows wanted: ``since_ms`` <= time < ``until_ms``, epoch milliseconds UTC.

    ``slack_ms`` is how far a row's time may lie from the day of its partition, beside the day that time zones take.
    """

    until_ms: int
    since_ms: int | None = None
    slack_ms: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """An object as it was when the list was taken; ``day_ms`` is the start of its partition's day, UTC, if it has one."""

    uri: str
    head: ObjectHead
    day_ms: int | None


class Access:
    """How a run gets at addresses: a store by scheme, database addresses and the cache from the environment. One for each run.

    Raises
    ------
    BadConfiguration
        As ``cache_of`` does.
    """

    def __init__(self, *, allow_file: bool, env: Mapping[str, str] = os.environ, stores: Mapping[str, ObjectStore] | None = None) -> None:
        self.allow_file = allow_file
        self.env = env
        self.cache = cache_of(env)
        self._stores = dict(stores or {})

    def store(self, uri: str, field: str) -> ObjectStore:
        """Return the store of ``uri``; ``field`` is what the spec calls the address.

        Raises
        ------
        BadConfiguration
            A file where none is allowed, or no address of a store.
        """
        scheme = uri.partition("://")[0]
        if scheme not in self._stores:
            with store_errors(f"{field}.uri"):
                self._stores[scheme] = open_store(uri, allow_file=self.allow_file, env=self.env)
        return self._stores[scheme]


def listing(access: Access, source: Source, span: Span) -> list[Entry]:
    """Return what is there now, newest partition first, then by name; partitions that certainly lie outside ``span`` are left out.

    Raises
    ------
    BadData, BadConfiguration, Transient
        Nothing there, or not for that time; not allowed, or no address; the store does not answer, or is rewritten just now.
    """
    store = access.store(source.uri, source.field)
    with store_errors(f"{source.field}.uri"):
        for _ in range(2):
            wanted = _wanted(_names(store, source), source, span)
            with ThreadPoolExecutor(READERS) as pool:
                heads = list(pool.map(lambda uri: head_of(store, uri), wanted))
            # one that is gone already may have been replaced by one that this list does not have
            entries = [Entry(uri, head, day) for (uri, day), head in zip(wanted.items(), heads, strict=True) if head is not None]
            if len(entries) == len(wanted):
                return sorted(entries, key=lambda entry: (-(entry.day_ms if entry.day_ms is not None else 2**62), entry.uri))
    raise changed(source, source.uri)


def names(access: Access, source: Source, span: Span) -> list[str]:
    """Return the addresses of the same objects, without a look at any: for those who take a few bytes of each.

    Raises
    ------
    BadData, BadConfiguration, Transient
        As ``listing`` does.
    """
    store = access.store(source.uri, source.field)
    with store_errors(f"{source.field}.uri"):
        return sorted(_wanted(_names(store, source), source, span))


def _wanted(found: dict[str, int | None], source: Source, span: Span) -> dict[str, int | None]:
    if not found:
        what = "no file matches the pattern, or lies below it" if WILDCARD.search(source.uri) else "neither a file nor a prefix"
        raise BadData(
            Reason.DATA_NOT_FOUND,
            f"{source.field}.uri {source.uri}: {what} with {' or '.join(SUFFIXES[source.format])} files; "
            f"check the address and {source.field}.format",
        )
    wanted = {uri: day for uri, day in found.items() if day is None or _may_hold(day, span)}
    if not wanted:
        days = sorted(day for day in found.values() if day is not None)
        raise BadData(
            Reason.EMPTY_WINDOW,
            f"{source.field}.uri {source.uri}: {len(found)} files in partitions from {_day(days[0])} to {_day(days[-1])}, none of which "
            "reaches into the window before asOf; choose another data.asOf, or deliver those days",
        )
    return wanted


def changed(source: Source, uri: str) -> Transient:
    """Return what a run ends with that did not find the data as they were listed."""
    return Transient(
        Reason.DATA_CHANGED,
        f"{source.field}.uri: {uri} was changed or removed while it was read, and again at a second try; let writers add files "
        "instead of rewriting them; the run is tried again",
    )


def head_of(store: ObjectStore, uri: str) -> ObjectHead | None:
    """Return the head of what was just listed, or nothing if it is gone since: then it is no part of what is read."""
    try:
        return store.head(uri)
    except NotFound:
        return None


def _exists(store: ObjectStore, uri: str) -> bool:
    """Return whether there is an object; the head of a file would be taken over all its bytes."""
    try:
        store.get_range(uri, 0, 1)
    except NotFound:
        return False
    return True


def _names(store: ObjectStore, source: Source) -> dict[str, int | None]:
    """Return the addresses that ``source`` means, each with the start of its partition's day."""
    uri, suffixes = source.uri, SUFFIXES[source.format]
    wild = WILDCARD.search(uri)
    if wild is None:
        if not uri.endswith("/") and _exists(store, uri):
            return {uri: None}
        base, pattern, prefix = uri.rstrip("/") + "/", None, uri.rstrip("/") + "/"
    else:
        # only whole parts of the path are the fixed part; the store is asked for all that begins like the pattern
        base, prefix = uri[: uri.rindex("/", 0, wild.start()) + 1], uri[: wild.start()]
        pattern = _pattern(_plain(uri)[len(_plain(base)) :].rstrip("/"))
    found: dict[str, int | None] = {}
    for name in store.list(prefix):
        below = _plain(name)[len(_plain(base)) :]
        match = pattern.match(below) if pattern else None
        if pattern and not match:
            continue
        exact = match is not None and match.end() == len(below)
        if exact or (below.lower().endswith(suffixes) and not _hidden(below)):
            found[name] = _day_of(below)
    return found


def _plain(uri: str) -> str:
    """Return an address without percent-encoding, which those of files have and those of objects have not."""
    return unquote(uri) if uri.startswith("file:") else uri


def _pattern(text: str) -> re.Pattern[str]:
    """Return ``text`` as an expression for a path, or for the folders that it begins with; a wildcard never crosses a slash."""
    body = "".join({"*": "[^/]*", "?": "[^/]"}.get(character, re.escape(character)) for character in text)
    return re.compile(f"{body}(?=/|$)")


def _hidden(below: str) -> bool:
    """Return whether a writer's own files are meant: _temporary/0/part.parquet, .part.parquet.crc."""
    return any(part.startswith(("_", ".")) for part in below.split("/"))


def _day_of(below: str) -> int | None:
    match = PARTITION.search(below)
    if match is None:
        return None
    year, month, day = (int(part) for part in match.groups() if part is not None)
    try:
        return int(datetime(year, month, day, tzinfo=UTC).timestamp()) * 1_000
    except ValueError:  # 2026/13/45 is no day, so it tells nothing
        return None


def _may_hold(day_ms: int, span: Span) -> bool:
    """Return whether a row of the partition can lie in ``span``: its day in any time zone, and the slack."""
    return day_ms - DAY_MS - span.slack_ms < span.until_ms and (span.since_ms is None or partition_end(day_ms, span) > span.since_ms)


def partition_end(day_ms: int, span: Span) -> int:
    """Return the instant before which every row of the partition lies."""
    return day_ms + 2 * DAY_MS + span.slack_ms


def symbol_of(uri: str) -> str | None:
    """Return the symbol whose folder an object lies in, nothing where it lies in none.

    >>> symbol_of("s3://bars/symbol=BTC%2FUSDT/date=2026-01-31/a.parquet"), symbol_of("s3://bars/a.parquet")
    ('BTC/USDT', None)
    """
    match = SYMBOL.search(_plain(uri))
    return None if match is None else unquote(match[1])


def _day(day_ms: int) -> str:
    return datetime.fromtimestamp(day_ms / 1_000, UTC).date().isoformat()
