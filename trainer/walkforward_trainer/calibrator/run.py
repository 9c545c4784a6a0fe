"""A run of mode Calibrate: closed trades in, ``execution_calibration.json`` and its immutable copy out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.api.data import DataKind
from walkforward_core.documents import digest
from walkforward_core.errors import AlreadyExists, DocumentError
from walkforward_core.objectstore import create
from walkforward_core.runs import ResultDocument, RunVerdict
from walkforward_trainer.calibrator.document import Calibration, RegimeBy, copy_uri, pointer_uri, stamp
from walkforward_trainer.calibrator.measure import Executions, measure
from walkforward_trainer.data.columns import Column
from walkforward_trainer.data.sources import Source
from walkforward_trainer.data.trades import of_symbols, read_trades
from walkforward_trainer.errors import BadConfiguration, BadData, Reason
from walkforward_trainer.pointer import move_forward
from walkforward_trainer.specfile import instant, timestamp
from walkforward_trainer.stages import stage, store_errors

if TYPE_CHECKING:
    from walkforward_core.objectstore import ObjectStore
    from walkforward_core.runs import RunDocument
    from walkforward_trainer.data.sources import Access
    from walkforward_trainer.data.trades import Trades, Vector
    from walkforward_trainer.plan import Plan

__all__ = ["MIN_TRADES", "calibrate", "closed_trades", "executions", "trades_source"]

MIN_TRADES: Final = 20
"""Closed trades with prices below which an average is an accident."""
LIMIT_PCT: Final = 20.0
"""Slippage of one side above which two columns have been mixed up."""
COLUMNS: Final = tuple(Column(name, required=False) for name in ("expected_price", "fill_price", "slippage_pct", "volatility_pct"))


def calibrate(run: RunDocument, plan: Plan, store: ObjectStore, access: Access) -> ResultDocument:
    """Return the result of a run that measures executions and trains nothing.

    Raises
    ------
    RunError
        There is no log of trades, or it is not what it should be; another measurement was written for the same ``asOf``.
    """
    source = trades_source(plan)
    if source is None:
        raise BadConfiguration(
            Reason.SPEC_INVALID,
            "data.trades: mode Calibrate measures executions; say where the log of trades is, or use rows of kind Trades",
        )
    with stage("trades"):
        trades = read_trades(access, source, zone=plan.data.time_zone, as_of_ms=plan.as_of_ms, symbol=plan.symbol, extra=COLUMNS)
        measured = executions(trades[of_symbols(trades, plan.data.symbols)], source.field)
    if len(measured.slip) < MIN_TRADES:
        what = f", {measured.unpriced} more without prices" if measured.unpriced else ""
        message = (
            f"{source.field}: {len(measured.slip)} closed trades of {', '.join(plan.data.symbols)} with expected and fill price up to "
            f"{run.as_of}{what}; {MIN_TRADES} are needed, the next occasion tries again"
        )
        return ResultDocument(run=run.run, verdict=RunVerdict.INELIGIBLE, reason=Reason.TOO_FEW_TRADES, message=message)
    with stage("calibration"):
        found = measure(measured, assumed_pct=plan.costs.slippage_bps / 100.0, generated_at=timestamp(plan.as_of_ms))
    with store_errors("artifacts.uri"):
        uri = _put(store, run.spec.artifacts.uri, plan.as_of_ms, found.to_bytes())
    return _result(run, found, uri)


def trades_source(plan: Plan) -> Source | None:
    """Return where the closed trades are: the log beside the rows, or the rows themselves; None where there are none."""
    if plan.data.trades is not None:
        return Source.of("data.trades", plan.data.trades)
    return Source.of("data", plan.data) if plan.kind is DataKind.TRADES else None


def closed_trades(plan: Plan, access: Access) -> int | None:
    """Return how many trades of the run's symbols were closed at its ``asOf``; None without a log of trades."""
    source = trades_source(plan)
    if source is None:
        return None
    trades = read_trades(access, source, zone=plan.data.time_zone, as_of_ms=plan.as_of_ms, symbol=plan.symbol, results=False)
    return int(of_symbols(trades, plan.data.symbols).sum())


def executions(trades: Trades, field: str) -> Executions:
    """Return what the trades say about execution; those without prices are left out and counted.

    Raises
    ------
    BadData
        A price that is none, or a slippage that no market has.
    """
    slip = _slippage(trades, field)
    priced = np.isfinite(slip)
    worst = int(np.argmax(np.where(priced, np.abs(slip), 0.0))) if priced.any() else 0
    if priced.any() and abs(slip[worst]) > LIMIT_PCT:
        raise BadData(
            Reason.IMPOSSIBLE_SLIPPAGE,
            f"{field}: the trade opened at {timestamp(int(trades.opened[worst]))} has a slippage of {slip[worst]:.4g} % a side, limit "
            f"{LIMIT_PCT:g} %; check which columns are expected_price and fill_price, and their units",
        )
    volatility = _numbers(trades, "volatility_pct")
    return Executions(
        opened=trades.opened[priced],
        slip=slip[priced],
        pnl=100.0 * trades.pnl[priced],
        volatility=volatility[priced] if np.isfinite(volatility[priced]).any() else None,
        unpriced=int((~priced).sum()),
    )


def _slippage(trades: Trades, field: str) -> Vector:
    """Return the slippage of one side in per cent, adverse positive, NaN where the log does not say."""
    given = _numbers(trades, "slippage_pct")
    expected, filled = _numbers(trades, "expected_price"), _numbers(trades, "fill_price")
    for name, price in (("expected_price", expected), ("fill_price", filled)):
        if (price <= 0).any():
            at = int(np.argmax(price <= 0))
            raise BadData(
                Reason.IMPOSSIBLE_PRICES,
                f"{field}: {name} of the trade opened at {timestamp(int(trades.opened[at]))} is {price[at]:g}; a price is above zero",
            )
    return np.asarray(np.where(np.isfinite(given), given, 100.0 * trades.side * (filled - expected) / expected))


def _numbers(trades: Trades, column: str) -> Vector:
    if column not in trades.frame.columns:
        return np.full(len(trades), np.nan)
    return np.asarray(trades.frame.get_column(column).fill_null(float("nan")).to_numpy(), dtype=np.float64)


def _put(store: ObjectStore, artifacts: str, as_of_ms: int, data: bytes) -> str:
    """Write the copy of this ``asOf``, once, and point to it unless a later one is pointed to; return the copy's address."""
    uri = copy_uri(artifacts, stamp(as_of_ms))
    try:
        create(store, uri, data)
    except AlreadyExists as error:
        raise BadConfiguration(
            Reason.CALIBRATION_EXISTS,
            f"{uri} exists with another content: the log of trades, or what is assumed, has changed since; backtests may have used "
            "it, so it stays; calibrate with a later data.asOf",
        ) from error

    def later(there: bytes) -> bool:
        try:
            return instant(Calibration.parse(there).generated_at, "generated_at") > as_of_ms
        except (DocumentError, BadConfiguration):
            return False  # not readable: what is written now is

    move_forward(store, pointer_uri(artifacts), data, later=later)
    return uri


def _result(run: RunDocument, found: Calibration, uri: str) -> ResultDocument:
    metrics = {
        "trades": float(found.trade_count),
        "slippagePct": found.execution.ema_slippage_per_side_pct,
        "assumedSlippagePct": found.execution.assumed_slippage_per_side_pct,
        "positionMultiplier": found.execution.position_size_multiplier,
        "winRate": found.win_rate,
    }
    if found.profit_factor is not None:
        metrics["profitFactor"] = found.profit_factor
    if found.regime_by is RegimeBy.VOLATILITY:
        metrics["volatileMultiplier"] = found.regime_slippage["volatile"].pos_mult
    metrics["smallestHourMultiplier"] = min(bucket.pos_mult for bucket in found.time_of_day.values())
    return ResultDocument(
        run=run.run,
        verdict=RunVerdict.CALIBRATED,
        reason=Reason.CALIBRATED,
        message="; ".join(found.recommendations),
        uri=uri,
        digest=digest(found.to_bytes()),
        metrics=metrics,
    )
