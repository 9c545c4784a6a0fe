"""The calibration of closed trades, in numbers: pure functions of arrays in the order in which the trades were opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_trainer.calibrator.document import Bucket, Calibration, Execution, RegimeBy

if TYPE_CHECKING:
    import numpy.typing as npt

    Vector = npt.NDArray[np.float64]
    Mask = npt.NDArray[np.bool_]

__all__ = ["ALPHA", "RECENT_N", "RECENT_WEIGHT", "Executions", "ema", "measure", "multiplier"]

ALPHA: Final = 0.15
"""Weight of a new trade in the moving average."""
RECENT_N: Final = 50
"""Newest trades that count more."""
RECENT_WEIGHT: Final = 3.0
"""How many times :data:`ALPHA` a recent trade weighs."""
HOURS: Final = {"00-06": (0, 6), "06-12": (6, 12), "12-18": (12, 18), "18-24": (18, 24)}
"""Buckets of the time of day, UTC, from the hour up to the hour."""
RANGING, VOLATILE = 0.3, 2.0
"""Per cent from which a market trends, and from which it is volatile."""
SMALLEST, LARGEST = 0.5, 1.2
"""Limits of a multiplier of the position size."""
MIN_BUCKET: Final = 10
"""Trades below which a bucket's average is an accident: nothing is sized by it."""
DIGITS: Final = 9
HOUR_MS, DAY_MS = 3_600_000, 86_400_000


@dataclass(frozen=True, slots=True, eq=False)
class Executions:
    """Closed trades, ascending by ``opened`` (epoch milliseconds UTC), arrays of shape (n,).

    ``slip``: slippage of one side in per cent of the expected price, adverse is positive. ``pnl``: outcome in per cent.
    ``volatility``: in per cent, as it was known before the trade; None where the log has none.
    """

    opened: npt.NDArray[np.int64]
    slip: Vector
    pnl: Vector
    volatility: Vector | None
    unpriced: int = 0


def ema(slip: Vector, recent: Mask) -> float:
    """Return the moving average of ``slip``, oldest first: it begins with the first value and ``recent`` ones weigh three times as much."""
    average = float(slip[0])
    for value, newer in zip(slip[1:].tolist(), recent[1:].tolist(), strict=True):
        weight = ALPHA * RECENT_WEIGHT if newer else ALPHA
        average = weight * value + (1.0 - weight) * average
    return average


def multiplier(reference: float, slip: float) -> float:
    """Return the size for ``slip`` where ``reference`` would be 1: clip(reference / slip, 0.5, 1.2).

    Where nothing is expected to be lost there is nothing to compare with: 1. What costs nothing takes the largest size.
    """
    if reference <= 0.0:
        return 1.0
    return LARGEST if slip <= 0.0 else min(max(reference / slip, SMALLEST), LARGEST)


def measure(trades: Executions, *, assumed_pct: float, generated_at: str) -> Calibration:
    """Return the calibration of at least one trade; ``assumed_pct`` is the slippage of one side that costs have assumed so far."""
    recent = np.arange(len(trades.slip)) >= len(trades.slip) - RECENT_N
    overall = ema(trades.slip, recent)
    hour = trades.opened % DAY_MS // HOUR_MS
    by = RegimeBy.PNL if trades.volatility is None else RegimeBy.VOLATILITY
    extent = np.abs(trades.pnl) if trades.volatility is None else trades.volatility
    regimes = {"ranging": extent < RANGING, "trending": (extent >= RANGING) & (extent < VOLATILE), "volatile": extent >= VOLATILE}
    day = {name: _bucket(trades.slip, recent, (hour >= first) & (hour < end), overall) for name, (first, end) in HOURS.items()}
    kinds = {name: _bucket(trades.slip, recent, mask, overall, sized=by is RegimeBy.VOLATILITY) for name, mask in regimes.items()}
    gains, losses = float(trades.pnl[trades.pnl > 0].sum()), float(-trades.pnl[trades.pnl < 0].sum())
    return Calibration(
        generated_at=generated_at,
        trade_count=len(trades.slip),
        win_rate=round(float(np.mean(trades.pnl > 0)), DIGITS),
        profit_factor=round(gains / losses, DIGITS) if losses > 0 else None,
        execution=Execution(
            ema_slippage_per_side_pct=round(overall, DIGITS),
            position_size_multiplier=round(multiplier(assumed_pct, overall), DIGITS),
            recent_n_weighted=int(recent.sum()),
            recent_weight_mult=RECENT_WEIGHT,
            assumed_slippage_per_side_pct=assumed_pct,
        ),
        time_of_day=day,
        regime_slippage=kinds,
        recommendations=tuple(_recommendations(overall, assumed_pct, day, kinds, by)),
        regime_by=by,
        unpriced=trades.unpriced,
    )


def _bucket(slip: Vector, recent: Mask, inside: Mask, overall: float, *, sized: bool = True) -> Bucket:
    count = int(inside.sum())
    if count == 0:
        return Bucket(count=0, ema_slip=None, pos_mult=1.0)
    average = ema(slip[inside], recent[inside])
    size = multiplier(overall, average) if sized and count >= MIN_BUCKET else 1.0
    return Bucket(count=count, ema_slip=round(average, DIGITS), pos_mult=round(size, DIGITS))


def _recommendations(overall: float, assumed: float, day: dict[str, Bucket], kinds: dict[str, Bucket], by: RegimeBy) -> list[str]:
    """Return what to do, a sentence each. Lower slippage is the better one."""
    found = f"measured slippage is {overall:.4f} % a side, {assumed:.4f} % were assumed"
    if overall > assumed:
        said = [f"{found}: worse; backtests have been too kind, set costs.slippage.calibrated, or bps to {100 * overall:.3g}"]
    elif overall < assumed:
        said = [f"{found}: better; costs.slippage.calibrated would use it"]
    else:
        said = [f"{found}: as assumed"]
    places = [(f"between {name} UTC", bucket) for name, bucket in day.items()]
    places += [(f"in a {name} market", bucket) for name, bucket in kinds.items()]
    for where, bucket in places:
        if bucket.pos_mult < 1.0:
            said.append(f"{where} it is {bucket.ema_slip:.4f} % a side: trade {bucket.pos_mult:.2f} of the usual size")
    if by is RegimeBy.PNL:
        said.append(
            "regimes are by the size of the outcome, for reading only: log volatility_pct, as known before each trade, to size by them"
        )
    return said
