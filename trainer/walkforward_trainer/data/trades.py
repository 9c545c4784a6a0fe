"""Closed trades: what the log says of each, checked; features are those frozen at the decision.

A log has one row a trade: ``opened_at``, ``closed_at``, ``side`` (1, -1, long, short, buy, sell) and ``pnl_pct``, the gross return of the
trade in its own direction, in percent (1.2 is 1.2 %), fees not taken off: costs are those of the spec. ``mae_pct`` is the maximum adverse
excursion in percent of the entry price, its sign does not matter. Rows without ``closed_at``, or whose ``status`` is one of
:data:`NOT_CLOSED`, are trades still open, or never made, and wait; a row that has ended with any other status than CLOSED is refused, since
a log whose liquidated trades are left out tells of a better trader. A log without a row, or a blank file, is one that has no trade yet.
``id`` (or ``trade_id``), where there is one, names a trade: of each symbol it closes once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_trainer.data.frozen import OPEN, check_frozen, opened_rows, with_status, without_status
from walkforward_trainer.data.instants import DAY_MS
from walkforward_trainer.data.sources import Span
from walkforward_trainer.data.tables import Column, Kind, read
from walkforward_trainer.errors import BadData, Reason
from walkforward_trainer.kinds import EVERY_SYMBOL
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import polars as pl

    from walkforward_trainer.data.sources import Access, Source
    from walkforward_trainer.data.tables import Part
    from walkforward_trainer.resolved import Target

    Vector = npt.NDArray[np.float64]
    Times = npt.NDArray[np.int64]

__all__ = ["PREFIX", "Trades", "bad_trade", "feature_names", "feature_values", "of_symbols", "read_trades", "trades_digest"]

PREFIX: Final = "f_"
"""Columns of this prefix are features, where ``overrides.features`` names none."""
TIMES: Final = (Column("opened_at", Kind.TIME), Column("closed_at", Kind.TIME))
"""The bound of ``asOf`` is on the time opened, which every row has; what closed later is left out afterwards."""
WORDS: Final = (
    Column("symbol", Kind.TEXT, required=False),
    Column("status", Kind.TEXT, required=False),
    Column("id", Kind.TEXT, required=False, aliases=("trade_id",)),
)
EXECUTION: Final = tuple(Column(name, required=False) for name in ("expected_price", "fill_price", "slippage_pct", "volatility_pct"))
"""What the execution calibrator reads; always read, so that one mapping of names serves whoever reads the log."""
CLOSED: Final = "CLOSED"
NOT_CLOSED: Final = (OPEN, "NEW", "PENDING", "PARTIAL", "CANCELED", "CANCELLED", "REJECTED", "EXPIRED")
"""What a status may say of a trade that is none yet, or never was one."""
SIDES: Final = {"1": 1.0, "+1": 1.0, "long": 1.0, "buy": 1.0, "-1": -1.0, "short": -1.0, "sell": -1.0}


@dataclass(frozen=True, slots=True, eq=False)
class Trades:
    """n closed trades, ascending by ``opened``.

    ``opened`` and ``closed`` in epoch ms UTC; ``side`` 1 or -1; ``pnl``, gross and in the trade's direction, and ``adverse`` as shares of
    the entry price; what the log does not say is NaN. ``frame`` has every column that was asked for, in the same order.
    """

    opened: Times
    closed: Times
    symbol: npt.NDArray[np.str_]
    side: Vector
    pnl: Vector
    adverse: Vector
    frame: pl.DataFrame

    def __len__(self) -> int:
        """Return the number of trades."""
        return len(self.opened)

    def __getitem__(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Trades:
        """Return the trades that ``rows`` selects."""
        index = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        return Trades(
            opened=self.opened[index],
            closed=self.closed[index],
            symbol=self.symbol[index],
            side=self.side[index],
            pnl=self.pnl[index],
            adverse=self.adverse[index],
            frame=self.frame[index],
        )


def read_trades(
    access: Access,
    source: Source,
    *,
    zone: str,
    as_of_ms: int,
    now_ms: int | None = None,
    symbol: str = "",
    results: bool = True,
    extra: Sequence[Column] = (),
) -> Trades:
    """Return the trades that were closed at ``as_of_ms``.

    Parameters
    ----------
    zone
        IANA time zone of time stamps that carry none.
    now_ms
        Now, epoch milliseconds: a log with trades that lie after it, by more than a day, is refused; without it they are left out.
    symbol
        Symbol of a log that names none.
    results
        Whether every closed trade must have a side and a result; a log that only shows for how long was traded need not.
    extra
        Further columns of the log, to be found in ``frame``.

    Raises
    ------
    BadData, BadConfiguration, Transient
        As ``read`` does; a closed trade has no result, closed before it was opened, or has other features than when it was opened; a trade
        has ended and its status does not say how.
    """
    import polars as pl  # noqa: PLC0415 - the command line answers before it loads

    named = {column.name for column in extra}
    words = [column for column in WORDS if column.name not in named]
    columns = [*TIMES, *words, Column("side", Kind.RAW, required=results), Column("pnl_pct", required=results)]
    columns += [Column("mae_pct", required=False), *extra, *(column for column in EXECUTION if column.name not in named)]
    frames, opened = [], []
    for part in read(access, source, columns, Span(until_ms=as_of_ms + 1), zone=zone, growing=True):
        if now_ms is not None:
            _check_future(part, max(now_ms, as_of_ms))
        frames.append(_closed(part.frame, as_of_ms, part.name))
        opened.append(opened_rows(part.frame))
    frames = [frame for frame in frames if frame.height]
    if not frames:
        return _empty()
    frame = pl.concat(frames, how="diagonal_relaxed")
    features = [name for name in frame.columns if name in named or name.startswith(PREFIX)]
    check_frozen(pl.concat(opened, how="diagonal_relaxed"), frame, features, source.field)
    if "symbol" not in frame.columns:
        frame = frame.with_columns(pl.lit(symbol).alias("symbol"))
    frame = frame.with_columns(pl.col("symbol").fill_null("")).sort("opened_at", "closed_at", "symbol", maintain_order=True)
    _check_times(frame, source.field)
    return Trades(
        opened=frame.get_column("opened_at").to_numpy(),
        closed=frame.get_column("closed_at").to_numpy(),
        symbol=np.array(frame.get_column("symbol").to_list(), dtype=np.str_),
        side=_sides(frame, source.field, required=results),
        pnl=_results(frame, source.field, required=results) / 100.0,
        adverse=np.abs(_numbers(frame, "mae_pct")) / 100.0,
        frame=frame,
    )


def _check_future(part: Part, now_ms: int) -> None:
    if part.last_ms is not None and part.last_ms > now_ms + DAY_MS:
        raise BadData(
            Reason.FUTURE_BARS,
            f"{part.name}: trades lie in the future, the last at {timestamp(part.last_ms)}, it is {timestamp(now_ms)} now; check the unit "
            "and data.timeZone of the time stamps",
        )


def of_symbols(trades: Trades, symbols: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return which trades are of ``symbols``, shape (n,); :data:`EVERY_SYMBOL` stands for all."""
    if EVERY_SYMBOL in symbols:
        return np.ones(len(trades), np.bool_)
    return np.isin(trades.symbol, list(symbols))


def feature_names(trades: Trades, asked: Sequence[str]) -> tuple[str, ...]:
    """Return the features of ``trades``: those asked for, or every column with the :data:`PREFIX`, by name.

    Raises
    ------
    BadData
        There is none.
    """
    names = tuple(asked) or tuple(sorted(name for name in trades.frame.columns if name.startswith(PREFIX)))
    if not names:
        raise BadData(
            Reason.COLUMN_MISSING,
            f"data: the log of trades has no feature, that is no column {PREFIX}…; log what was known at the decision as {PREFIX}name, "
            "or name the columns in overrides.features",
        )
    return names


def feature_values(trades: Trades, names: Sequence[str]) -> Vector:
    """Return the columns ``names``, shape (n, len(names)), NaN where a value misses."""
    return np.column_stack([_numbers(trades.frame, name) for name in names]) if len(trades) else np.empty((0, len(names)))


def bad_trade(trades: Trades, target: Target) -> Vector:
    """Return 1 where a trade lost, or its adverse excursion exceeds ``maxAdverse``, else 0; NaN where the log does not say.

    A trade that neither lost nor won is not bad. A loss is one whatever its excursion was.
    """
    lost = trades.pnl < 0
    out = (lost | (trades.adverse > target.max_adverse)).astype(np.float64)
    out[~lost & np.isnan(trades.adverse)] = np.nan
    return out


def trades_digest(trades: Trades, values: Vector) -> str:
    """Return ``sha256:`` over every value that was used."""
    seen = hashlib.sha256()
    for column in (trades.opened.astype("<i8"), trades.closed.astype("<i8"), trades.side, trades.pnl, trades.adverse, values):
        seen.update(np.ascontiguousarray(column).tobytes())
    seen.update("\x00".join(trades.symbol.tolist()).encode())
    return f"sha256:{seen.hexdigest()}"


def _closed(frame: pl.DataFrame, as_of_ms: int, name: str) -> pl.DataFrame:
    import polars as pl  # noqa: PLC0415 - see read_trades

    ended = frame.filter(pl.col("closed_at") <= as_of_ms)
    if "status" not in frame.columns:
        return ended
    unknown = without_status(ended, CLOSED, *NOT_CLOSED)
    if unknown.height:
        raise BadData(
            Reason.COLUMN_TYPE,
            f"{name}: the status of {unknown.height} trades with a closed_at is {unknown.get_column('status')[0]!r}, first of the one that "
            f"closed at {timestamp(int(unknown.get_column('closed_at')[0]))}; write {CLOSED} for every trade that has ended, however it "
            f"ended, and one of {', '.join(NOT_CLOSED)} for what is no trade (yet)",
        )
    return with_status(ended, CLOSED)


def _check_times(frame: pl.DataFrame, field: str) -> None:
    import polars as pl  # noqa: PLC0415 - see read_trades

    wrong = frame.filter(pl.col("opened_at") > pl.col("closed_at"))
    if wrong.height:
        raise BadData(
            Reason.TIME_STAMPS,
            f"{field}: {wrong.height} trades closed before they were opened, first the one that closed at "
            f"{timestamp(int(wrong.get_column('closed_at')[0]))}; check which column is which, and their time zones",
        )


def _numbers(frame: pl.DataFrame, column: str) -> Vector:
    if column not in frame.columns:
        return np.full(frame.height, np.nan)
    return np.asarray(frame.get_column(column).fill_null(float("nan")).to_numpy())


def _results(frame: pl.DataFrame, field: str, *, required: bool) -> Vector:
    pnl = _numbers(frame, "pnl_pct")
    if required and not np.isfinite(pnl).all():
        bad = ~np.isfinite(pnl)
        raise BadData(
            Reason.MISSING_VALUES,
            f"{field}: {int(bad.sum())} closed trades have no pnl_pct, first the one that closed at "
            f"{timestamp(int(frame.get_column('closed_at')[int(np.argmax(bad))]))}; log the result when a trade closes",
        )
    return pnl


def _sides(frame: pl.DataFrame, field: str, *, required: bool) -> Vector:
    if "side" not in frame.columns:
        return np.full(frame.height, np.nan)
    given = frame.get_column("side").to_list()
    side = np.array([SIDES.get(_word(value), np.nan) for value in given], dtype=np.float64)
    wrong = np.isnan(side)
    if required and wrong.any():
        raise BadData(
            Reason.COLUMN_TYPE,
            f"{field}: side of {int(wrong.sum())} trades is neither 1 nor -1, the first is {given[int(np.argmax(wrong))]!r}; "
            "write 1 or -1, long or short, buy or sell",
        )
    return side


def _word(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip().lower()


def _empty() -> Trades:
    import polars as pl  # noqa: PLC0415 - see read_trades

    none, never = np.empty(0), np.empty(0, np.int64)
    return Trades(opened=never, closed=never, symbol=np.empty(0, dtype=np.str_), side=none, pnl=none, adverse=none, frame=pl.DataFrame())
