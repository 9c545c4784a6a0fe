"""Bars from an exchange, page by page, as Parquet in date partitions; a download that was cut off goes on where it was.

``<to>/date=2026-01-31/BTC-USDT.parquet`` holds one UTC day of bars by their open, ``<to>/year=2026/…`` a year of daily or longer ones. A
partition is written whole, and says in its metadata up to when it was filled: one that was filled to its end is never asked for again, any
other is fetched anew and replaced. So a bar is never there twice, whatever was killed when. The bar that is still open is never written.
"""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from walkforward_core.errors import NotFound
from walkforward_core.features import timeframe_ms
from walkforward_trainer.data.instants import DAY_MS
from walkforward_trainer.data.parquet import NotParquet, read_footer
from walkforward_trainer.errors import BadData, Reason
from walkforward_trainer.specfile import timestamp
from walkforward_trainer.stages import store_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from walkforward_core.objectstore import ObjectStore
    from walkforward_trainer.data.exchange import Exchange

__all__ = ["Downloaded", "Partition", "Wanted", "download", "partitions"]

log = logging.getLogger("walkforward.trainer")

FILLED: Final = "walkforward.filled_until"
"""Name in a file's metadata: up to this instant, epoch ms UTC, the exchange had been asked and the bars had closed."""
PAGE: Final = 1_000
SETTLE_MS: Final = 2_000
"""An exchange may still correct a bar shortly after its close."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Bars of ``symbol`` that open in [``since_ms``, ``until_ms``), below the address ``to``."""

    symbol: str
    timeframe: str
    since_ms: int
    until_ms: int
    to: str

    @property
    def bar_ms(self) -> int:
        """Length of a bar."""
        return timeframe_ms(self.timeframe)


@dataclass(frozen=True, slots=True)
class Partition:
    """One file: bars that open in [``start_ms``, ``end_ms``)."""

    uri: str
    start_ms: int
    end_ms: int


@dataclass(slots=True)
class Downloaded:
    """What was done: bars and files written, partitions that were there already, first and last open."""

    bars: int = 0
    written: int = 0
    kept: int = 0
    opens: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        """Return one line for people."""
        span = f" from {timestamp(self.opens[0])} to {timestamp(self.opens[-1])}" if self.opens else ""
        return f"{self.bars} bars in {self.written} files{span}, {self.kept} files were there already"


def download(exchange: Exchange, store: ObjectStore, wanted: Wanted) -> Downloaded:
    """Fetch what is missing of ``wanted`` and write it.

    Raises
    ------
    RunError
        The exchange or the store refuses, or does not answer; bars that are none. What was written stays, and is complete.
    """
    exchange.check(wanted.symbol, wanted.timeframe)
    # no bar that is not closed by both clocks
    until = min(wanted.until_ms, exchange.now() - SETTLE_MS) // wanted.bar_ms * wanted.bar_ms
    done = Downloaded()
    pages = _Pages(exchange, wanted, until)
    for partition in partitions(wanted, until):
        if _is_whole(store, partition):
            done.kept += 1
            continue
        bars = pages.between(partition.start_ms, min(partition.end_ms, until))
        if not bars:
            continue
        with store_errors("--to"):
            store.put(partition.uri, _parquet(bars, wanted.symbol, min(partition.end_ms, until)))
        done.bars += len(bars)
        done.written += 1
        done.opens = [min([*done.opens[:1], bars[0][0]]), bars[-1][0]]
        log.info("%s: %d bars up to %s", partition.uri, len(bars), timestamp(bars[-1][0]))
    if done.opens and not done.kept and done.opens[0] > wanted.since_ms + DAY_MS:
        log.warning(
            "%s has no bars of %s before %s; some exchanges keep only the newest",
            exchange.name,
            wanted.symbol,
            timestamp(done.opens[0]),
        )
    return done


def partitions(wanted: Wanted, until_ms: int) -> Iterator[Partition]:
    """Yield the files that bars from ``since_ms`` to ``until_ms`` belong into; the first one begins at the start of its day or year."""
    name = "".join(character if character.isalnum() or character in "._" else "-" for character in wanted.symbol)
    base = wanted.to.rstrip("/")
    start = wanted.since_ms // DAY_MS * DAY_MS
    while start < until_ms:
        day = datetime.fromtimestamp(start / 1_000, UTC)
        if wanted.bar_ms < DAY_MS:
            yield Partition(f"{base}/date={day:%Y-%m-%d}/{name}.parquet", start, start + DAY_MS)
            start += DAY_MS
        else:
            first, end = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 1_000 for year in (day.year, day.year + 1))
            yield Partition(f"{base}/year={day.year}/{name}.parquet", first, end)
            start = end


class _Pages:
    """Bars in the order of time; what one page holds beyond a partition serves the next one."""

    def __init__(self, exchange: Exchange, wanted: Wanted, until_ms: int) -> None:
        self._exchange = exchange
        self._wanted = wanted
        self._until = until_ms
        self._ahead: list[list[Any]] = []
        self._asked_until = 0

    def between(self, start_ms: int, end_ms: int) -> list[list[Any]]:
        """Return the bars that open in [``start_ms``, ``end_ms``)."""
        self._ahead = [bar for bar in self._ahead if bar[0] >= start_ms]
        self._asked_until = max(self._asked_until, start_ms)
        while self._asked_until < end_ms:
            self._fetch()
        found = [bar for bar in self._ahead if bar[0] < end_ms]
        self._ahead = self._ahead[len(found) :]
        return found

    def _fetch(self) -> None:
        since, bar_ms = self._asked_until, self._wanted.bar_ms
        raw = self._exchange.page(self._wanted.symbol, self._wanted.timeframe, since, PAGE)
        page = _checked(raw, self._wanted)
        fresh = [bar for bar in page if since <= bar[0] < self._until]
        self._ahead += fresh
        # a page may be shorter than was asked for, and a market without a trade has no bars: then a page's time was empty
        last = max((bar[0] for bar in page), default=since - bar_ms)
        self._asked_until = last + bar_ms if last >= since else since + PAGE * bar_ms


def _checked(raw: Sequence[Sequence[Any]], wanted: Wanted) -> list[list[Any]]:
    """Return the bars of a page in order, each once; some exchanges repeat one, or turn the order round."""
    by_open: dict[int, list[Any]] = {}
    for bar in raw:
        if len(bar) < 6 or not isinstance(bar[0], (int, float)):
            raise BadData(Reason.DATA_UNREADABLE, f"{wanted.symbol}: {bar!r} is no bar; report it to ccxt with the name of the exchange")
        by_open[int(bar[0])] = [int(bar[0]), *bar[1:6]]
    return [by_open[at] for at in sorted(by_open)]


def _is_whole(store: ObjectStore, partition: Partition) -> bool:
    """Return whether the file is there and was filled to its end."""
    with store_errors("--to"):
        try:
            footer = read_footer(lambda start, length: store.get_range(partition.uri, start, length))
        except NotFound:
            return False
        except NotParquet as error:
            raise BadData(
                Reason.DATA_UNREADABLE, f"--to {partition.uri}: {error}; something else lies there: remove it, or choose another address"
            ) from error
    filled = footer.metadata.get(FILLED, "")
    return filled.isdigit() and int(filled) >= partition.end_ms


def _parquet(bars: Sequence[Sequence[Any]], symbol: str, filled_ms: int) -> bytes:
    """Return the file of ``bars``: the layout that the trainer reads; equal bars make equal bytes."""
    import polars as pl  # noqa: PLC0415 - the command line answers before it loads

    names = ("open", "high", "low", "close", "volume")
    columns: dict[str, pl.Series] = {"time": pl.Series([bar[0] for bar in bars], dtype=pl.Int64).cast(pl.Datetime("ms", "UTC"))}
    for index, name in enumerate(names, start=1):
        values = [None if bar[index] is None else float(bar[index]) for bar in bars]
        columns[name] = pl.Series(values, dtype=pl.Float64)
    columns["symbol"] = pl.Series([symbol] * len(bars), dtype=pl.String)
    buffer = io.BytesIO()
    pl.DataFrame(columns).write_parquet(buffer, metadata={FILLED: str(filled_ms)})
    return buffer.getvalue()
