"""Rows that are closed trades: decided when the trade was opened, answered when it closed, features as the log has frozen them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.documents import digest, encode
from walkforward_core.durations import format_ms, parse_ms
from walkforward_trainer.data.history import keep, row_digests
from walkforward_trainer.data.quality import QualityFacts
from walkforward_trainer.data.sources import Source
from walkforward_trainer.data.tables import Column
from walkforward_trainer.data.trades import PREFIX, bad_trade, feature_names, feature_values, of_symbols, read_trades, trades_digest
from walkforward_trainer.dataset import Dataset, FixedColumns
from walkforward_trainer.eligibility import Log
from walkforward_trainer.errors import BadData, Reason
from walkforward_trainer.inputs import Rows
from walkforward_trainer.kinds import EVERY_SYMBOL
from walkforward_trainer.specfile import timestamp
from walkforward_trainer.stages import stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from walkforward_trainer.data.history import Past
    from walkforward_trainer.data.sources import Access
    from walkforward_trainer.data.trades import Trades
    from walkforward_trainer.inputs import Inputs
    from walkforward_trainer.plan import Plan

    Vector = npt.NDArray[np.float64]

__all__ = ["history_uri", "trade_log", "trade_rows"]

BASE: Final = ("side", "pnl", "adverse")
log = logging.getLogger("walkforward.trainer")


def trade_rows(inputs: Inputs) -> Rows:
    """Return the closed trades as rows; a log that does not yet have any gives none, which is no error.

    Raises
    ------
    RunError
        The log cannot be read, is not what the spec says, or its past has changed.
    """
    plan, source = inputs.plan, Source.of("data", inputs.plan.data)
    wanted = [Column(name) for name in plan.features] or [Column(f"{PREFIX}*", required=False)]
    every = plan.symbol == EVERY_SYMBOL
    with stage("trades"):
        trades = read_trades(
            inputs.access,
            source,
            zone=plan.data.time_zone,
            as_of_ms=plan.as_of_ms,
            now_ms=inputs.now_ms,
            # of several symbols a log that names none would be that of each
            symbol="" if every or len(plan.data.symbols) > 1 else plan.symbol,
            extra=wanted,
        )
    names = feature_names(trades, plan.features) if len(trades) else plan.features
    values = feature_values(trades, names)
    with stage("history"):
        _keep_history(inputs, source, trades, values, names)
    with stage("quality"):
        if not every:
            trades, values = _of_symbol(trades, values, plan)
        trades, values = _window(trades, values, plan)
        facts, present = _check(trades, values, names, plan)
        trades, values = trades[present], values[present]
    with stage("labels"):
        return Rows(facts=facts, data=_dataset(trades, values, names, plan), trades=trades)


def trade_log(access: Access, plan: Plan, rows: Trades | None) -> Log | None:
    """Return the closed trades that eligibility asks for: of the run's symbols in ``data.trades``, else the rows where they are trades."""
    if plan.data.trades is not None:
        source = Source.of("data.trades", plan.data.trades)
        trades = read_trades(access, source, zone=plan.data.time_zone, as_of_ms=plan.as_of_ms, symbol=plan.symbol, results=False)
        own = of_symbols(trades, plan.data.symbols)
        others = sorted(set(trades.symbol[~own].tolist()))[:3]
        where = f"data.trades ({int((~own).sum())} more are of {', '.join(others)})" if others else "data.trades"
        return _log(trades[own], where)
    return None if rows is None else _log(rows, "data")


def history_uri(inputs: Inputs, source: Source) -> str:
    """Return where the record of the trades is kept: by retrain, and by all that says which trades the log has."""
    plan = inputs.plan
    what = [source.uri, source.format, source.query, dict(sorted(source.columns.items())), plan.data.time_zone, plan.features]
    name = f"{inputs.run.retrain.name}-{digest(encode(what)).removeprefix('sha256:')[:8]}"
    return f"{inputs.run.spec.artifacts.uri.rstrip('/')}/datasets/{name}.json"


def _log(trades: Trades, where: str) -> Log:
    if not len(trades):
        return Log(count=0, opened_ms=0, closed_ms=0, where=where)
    return Log(count=len(trades), opened_ms=int(trades.opened.min()), closed_ms=int(trades.closed.max()), where=where)


def _keep_history(inputs: Inputs, source: Source, trades: Trades, values: Vector, names: Sequence[str]) -> None:
    uri = history_uri(inputs, source)
    store = inputs.access.store(inputs.run.spec.artifacts.uri, "artifacts")
    fresh = keep(store, uri, _past(trades, values, names), source=source.uri, as_of_ms=inputs.plan.as_of_ms)
    log.info("%d closed trades, %d of them new to %s", len(trades), fresh, uri)


def _past(trades: Trades, values: Vector, names: Sequence[str]) -> list[Past]:
    known = np.column_stack([trades.side, trades.pnl, trades.adverse, values])
    found = row_digests(known, [*BASE, *names])
    rows = list(zip(trades.closed.tolist(), trades.opened.tolist(), trades.symbol.tolist(), found, strict=True))
    if len(set(rows)) < len(rows):
        seen: set[Past] = set()
        twice = next(row for row in rows if row in seen or seen.add(row))  # type: ignore[func-returns-value]
        raise BadData(
            Reason.DUPLICATE_ROWS,
            f"data: {len(rows) - len(set(rows))} trades occur twice with all their values, first that of {twice[2]} closed "
            f"{timestamp(twice[0])}; keep one of each: a trade counted twice is learned twice",
        )
    _check_ids(trades)
    return rows


def _check_ids(trades: Trades) -> None:
    """Refuse a trade that closes twice: which of its two results is the true one, the log does not say."""
    if "id" not in trades.frame.columns:
        return
    seen: dict[tuple[str, str], int] = {}
    for row, (name, symbol) in enumerate(zip(trades.frame.get_column("id").to_list(), trades.symbol.tolist(), strict=True)):
        first = seen.setdefault((name, symbol), row)
        if name is not None and first != row:
            times = " and ".join(timestamp(int(trades.closed[at])) for at in (first, row))
            raise BadData(
                Reason.DUPLICATE_ROWS,
                f"data: trade {name!r} of {symbol} stands there twice with different values, closed {times}; the log of trades only grows "
                "and a trade closes once: keep the row that is true",
            )


def _of_symbol(trades: Trades, values: Vector, plan: Plan) -> tuple[Trades, Vector]:
    own = trades.symbol == plan.symbol
    if len(trades) and not own.any():
        found = ", ".join(sorted(set(trades.symbol.tolist()))[:10])
        raise BadData(
            Reason.SYMBOL_MISSING,
            f"data: no closed trades of symbol {plan.symbol!r}, there are {found}; correct data.symbols, or write "
            f"['{EVERY_SYMBOL}'] for all",
        )
    return trades[own], values[own]


def _window(trades: Trades, values: Vector, plan: Plan) -> tuple[Trades, Vector]:
    """Return the trades that were opened in the window."""
    inside = np.ones(len(trades), np.bool_)
    if plan.window_ms is not None:
        inside &= trades.opened >= plan.as_of_ms - plan.window_ms
    if plan.window_bars is not None:
        inside[: max(0, len(trades) - plan.window_bars)] = False
    return trades[inside], values[inside]


def _check(trades: Trades, values: Vector, names: Sequence[str], plan: Plan) -> tuple[QualityFacts, npt.NDArray[np.bool_]]:
    """Return what was found, and which trades have every feature; gaps and completeness mean nothing without a cadence."""
    with np.errstate(over="ignore"):  # what float32, which models read, cannot hold is no value
        finite = np.isfinite(values.astype(np.float32))
    share = {name: float(1.0 - finite[:, index].mean()) if len(trades) else 0.0 for index, name in enumerate(names)}
    worst = max(share, key=lambda name: share[name], default="")
    if worst and share[worst] > plan.quality.max_nan:
        raise BadData(
            Reason.MISSING_VALUES,
            f"data.quality.maxNan: feature {worst} misses in {share[worst]:.1%} of the trades, limit {plan.quality.max_nan:.1%}; "
            "log it with every decision, or leave it out of overrides.features",
        )
    age = plan.as_of_ms - int(trades.closed.max()) if len(trades) else 0
    if age > parse_ms(plan.quality.max_staleness):
        raise BadData(
            Reason.STALE,
            f"data.quality.maxStaleness: the newest trade closed {format_ms(age // 60_000 * 60_000)} before asOf, limit "
            f"{plan.quality.max_staleness}; look why no newer trades arrive, or raise the limit for a strategy that trades rarely",
        )
    present = np.asarray(finite.all(axis=1))
    gap = int(np.diff(np.sort(trades.closed)).max(initial=0))
    dropped = int((~present).sum())
    facts = QualityFacts(bars=len(trades) - dropped, dropped=dropped, nan_share=share, max_gap_ms=gap, completeness=1.0, staleness_ms=age)
    return facts, present


def _dataset(trades: Trades, values: Vector, names: tuple[str, ...], plan: Plan) -> Dataset:
    x = np.ascontiguousarray(values, dtype=np.float32)
    symbols = tuple(dict.fromkeys(trades.symbol.tolist())) if plan.symbol == EVERY_SYMBOL and len(trades) else (plan.symbol,)
    place = {symbol: index for index, symbol in enumerate(symbols)}
    return Dataset(
        x=x,
        names=names,
        y=bad_trade(trades, plan.target),
        t0=trades.opened,
        t1=trades.closed,
        # what the instrument did, so that base position times return is what the trade made
        returns=trades.pnl * trades.side,
        base=trades.side,
        weight=np.ones(len(trades)),
        symbol=np.array([place[symbol] for symbol in trades.symbol.tolist()], np.int16),
        symbols=symbols,
        digest=trades_digest(trades, values),
        columns=FixedColumns(x, names),
        warmup=0,
        # not the trades' own mean: live and candidate model must be of one horizon, whatever trades came in between
        horizon_ms=plan.target.horizon_bars * plan.bar_ms,
    )
