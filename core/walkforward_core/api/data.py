"""The data of a ModelRetrain: where rows come from, what they must be, and what must be there before a run trains."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from msgspec import Meta

from walkforward_core.api.cel import Cel, rules
from walkforward_core.api.fields import IN_THE_STORE, Duration, Share, Timestamp, TimeZone
from walkforward_core.documents import Part

__all__ = ["BarTime", "DataFormat", "DataKind", "DataSpec", "Eligibility", "JoinSpec", "Quality", "RegimeSpec", "TradesSpec"]

_NO_WAY_UP = Cel("!self.contains('..') && !self.matches('[\\\\s#]')", "an address has no '..', no white space and no '#'")

DataUri = Annotated[
    str,
    Meta(
        pattern=r"^((s3|file)://|secret://[A-Z][A-Z0-9_]{0,58}_DSN$)",
        min_length=6,
        max_length=1024,
        extra_json_schema=rules(IN_THE_STORE, _NO_WAY_UP),
    ),
]
"""s3://bucket/prefix, with * and ? in the last parts of the path; secret://NAME_DSN for a database whose address is in the Secret."""
Query = Annotated[str, Meta(min_length=1, max_length=4096)]
ColumnName = Annotated[str, Meta(min_length=1, max_length=128)]


class DataFormat(StrEnum):
    """Where rows are kept."""

    PARQUET = "parquet"
    CSV = "csv"
    FEATHER = "feather"
    JSONL = "jsonl"
    SQLITE = "sqlite"
    """A database file in the object store; it is copied as a whole, then read."""
    POSTGRES = "postgres"
    """PostgreSQL or Timescale; the address is in the Secret: uri secret://NAME_DSN."""


class DataKind(StrEnum):
    """What a row is."""

    BARS = "Bars"
    """time, open, high, low, close, volume and, for several symbols, symbol."""
    TICKS = "Ticks"
    """time, price and, where known, size and symbol; bars of `timeframe` are built from them."""
    TRADES = "Trades"
    """Closed trades with the features frozen when each was decided."""
    SAMPLES = "Samples"
    """The feature logger's records: ts and raw {mid, spreadBp, vol1m, rsi14}."""


class BarTime(StrEnum):
    """Which end of a bar its time stamp names."""

    OPEN = "open"
    CLOSE = "close"


class Quality(Part, frozen=True, kw_only=True):
    """Limits on the data; each is checked and refused by its own name. What is left out is the recipe's."""

    max_gap: Duration | None = None
    """Longest time between two rows, 5d in general: over a weekend the FX market is closed for two days, over a holiday for longer."""
    min_completeness: Share | None = None
    """Bars found, as a share of those that a market open round the clock would have, 0.5 in general; a five-day market has 0.71."""
    max_nan: Share | None = None
    """Share of missing values in any one column, 0.005 in general."""
    max_flat: Share | None = None
    """Share of rows that only repeat the price before them, as filled in over weekends or since the feed broke; 0.1 in general."""
    max_jump: Annotated[float, Meta(gt=1.0, le=1e6)] | None = None
    """Largest factor by which the price may move within a row, or from the one before it; 1.9 in general, just below a split."""
    max_staleness: Duration | None = None
    """Longest time between the newest row with a new price and `asOf`, 7d in general."""
    min_rows: Annotated[int, Meta(ge=10, le=100_000_000)] | None = None
    """Rows left for training after the warm-up; 500 unless the recipe says otherwise."""


_SQL = Cel(
    "has(self.query) == (self.format == 'sqlite' || self.format == 'postgres')",
    "query: write the SQL for format sqlite or postgres, and none for files",
)
_DSN = Cel(
    "(self.format == 'postgres') == self.uri.startsWith('secret://')",
    "uri: format postgres has its address in the Secret, secret://BARS_DSN for example; files have s3://bucket/prefix",
)


class JoinSpec(Part, frozen=True, kw_only=True):
    """Columns of another table, each as it was published by the time of the row: fundamental, sentiment or macro data."""

    name: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*$", max_length=32)]
    """Prefix of the features: `macro` makes `macro.vix` of the column vix."""
    uri: DataUri
    """File, or prefix of files."""
    format: DataFormat = DataFormat.PARQUET
    """parquet, csv, feather, jsonl, sqlite or postgres."""
    query: Query | None = None
    """SQL for sqlite and postgres."""
    columns: Annotated[tuple[ColumnName, ...], Meta(min_length=1, max_length=100)]
    """Columns that become features, numbers all of them."""
    published: ColumnName = "published_at"
    """Column with the instant at which a row became known; a value counts from then on, never from the period that it is about."""
    symbol: ColumnName | None = None
    """Column with the symbol, where values differ by symbol."""
    max_age: Duration | None = None
    """An older value counts as missing, which is refused: so that a feed that has stopped is noticed."""

    RULES: ClassVar = (_SQL, _DSN)


class TradesSpec(Part, frozen=True, kw_only=True):
    """The log of trades, for eligibility, slippage and the execution calibrator."""

    uri: DataUri
    """File, or prefix of files."""
    format: DataFormat = DataFormat.PARQUET
    """parquet, csv, feather, jsonl, sqlite or postgres."""
    query: Query | None = None
    """SQL for sqlite and postgres."""
    columns: Annotated[dict[ColumnName, ColumnName], Meta(max_length=50)] = {}
    """Names as they are in the log, by the names that the trainer uses: {opened_at: open_ts}."""

    RULES: ClassVar = (_SQL, _DSN)


class DataSpec(Part, frozen=True, kw_only=True):
    """The rows to learn from. Everything is relative to `asOf`: no later row is read."""

    uri: DataUri
    """File, prefix of files, pattern (`s3://bars/fx/date=2026-*/*.parquet`), or secret://NAME_DSN of a database."""
    format: DataFormat = DataFormat.PARQUET
    """parquet, csv (also .gz), feather, jsonl, sqlite or postgres."""
    kind: DataKind | None = None
    """Bars, Ticks, Trades or Samples; by default the recipe's."""
    query: Query | None = None
    """SQL for sqlite and postgres. It runs read-only, as SELECT * FROM (query) q WHERE time < asOf: what came later is never seen."""
    columns: Annotated[dict[ColumnName, ColumnName], Meta(max_length=100)] = {}
    """Names as they are in the data, by the names that the trainer uses: {time: open_time, volume: qty}."""
    symbols: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=32)], ...], Meta(min_length=1, max_length=100)]
    """Instruments, as they are called in the data. Several make an Indexed Job, one symbol a pod, and one model of all their rows."""
    timeframe: Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,2}(m|h|d)$", max_length=5)] = "1h"
    """Length of a bar: 1m, 5m, 1h, 1d."""
    window: Duration | None = None
    """Length of the training window before `asOf`; the warm-up lies before it."""
    window_bars: Annotated[int, Meta(ge=10, le=100_000_000)] | None = None
    """The same, counted in rows of each symbol."""
    max_rows: Annotated[int, Meta(ge=10_000, le=100_000_000)] | None = None
    """Most rows of the window that are trained and tested on, 4,000,000 in general, of all symbols together. Of a longer window whole
    stretches of rows are left out, evenly over its time, the newest never; each costs some 1,200 bytes of memory."""
    as_of: Timestamp | None = None
    """The instant at which the run pretends to happen; by default the scheduled slot, for a manual run the time it was asked for."""
    bar_time: BarTime = BarTime.OPEN
    """Whether a bar's time stamp is its open or its close."""
    time_zone: TimeZone = "Etc/UTC"
    """IANA time zone of time stamps that carry none. Stamps with an offset, and numbers (since 1970, UTC), are taken as they are."""
    joins: Annotated[tuple[JoinSpec, ...], Meta(max_length=10)] = ()
    """Other tables whose columns become features, as of their publication."""
    trades: TradesSpec | None = None
    """The log of trades, where rows are not trades themselves."""
    quality: Quality = Quality()
    """Limits on the data."""

    RULES: ClassVar = (
        Cel("has(self.window) != has(self.windowBars)", "data: set exactly one of window (90d) and windowBars (2000)"),
        Cel(
            "self.symbols.all(one, self.symbols.exists_one(other, other == one))",
            "data.symbols: a symbol stands there twice, and its rows would count twice; name each one once",
        ),
        Cel(
            "!has(self.joins) || self.joins.all(one, self.joins.exists_one(other, other.name == one.name))",
            "data.joins: two tables have the same name, so their features would too; give each one a name of its own",
        ),
        _SQL,
        _DSN,
    )


class RegimeSpec(Part, frozen=True, kw_only=True):
    """Diversity of market regimes: the recent bars must reach into both tails of the volatility of a long reference window."""

    low_quantile: Annotated[float, Meta(gt=0.0, lt=0.5)] = 0.2
    """Quantile of the reference below which a bar is calm."""
    high_quantile: Annotated[float, Meta(gt=0.5, lt=1.0)] = 0.8
    """Quantile of the reference above which a bar is volatile."""
    min_share: Annotated[float, Meta(gt=0.0, lt=0.5)] = 0.05
    """Share of recent bars that must be calm, and that must be volatile."""
    recent: Duration = "10d"
    """Length of the recent window; the rest of the data before it is the reference."""


class Eligibility(Part, frozen=True, kw_only=True):
    """What must be there before a run trains; not met is no error, the run is tried again on the next occasion."""

    min_age: Duration | None = None
    """Time that the data must span; of the log of trades, where there is one: from the first opened to the last closed."""
    min_bars: Annotated[int, Meta(ge=1, le=100_000_000)] | None = None
    """Rows that must exist in the window."""
    min_closed_trades: Annotated[int, Meta(ge=1, le=100_000_000)] | None = None
    """Closed trades that must exist, in `data.trades` or in the rows themselves."""
    regime: RegimeSpec | None = None
    """Diversity of market regimes."""
    tick_sample: Annotated[int, Meta(ge=1_000, le=100_000_000)] = 10_000
    """Ticks that a dry run looks at, at the least, instead of reading them all; more make its estimate of bars and regimes better."""
