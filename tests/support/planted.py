"""Markets that tests make: with an edge that is planted and known, or without any.

The edge is a hidden regime, up or down, that lasts for about ``length`` rows and moves the price by ``edge`` noise deviations a row.
Whoever looks at the last few returns can tell it. With ``edge`` 0 the volatility stays (a GARCH with heavy tails), and nothing can be told.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from walkforward_core.features import Bars

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    Vector = npt.NDArray[np.float64]

__all__ = ["Market", "market", "write_bars", "write_macro", "write_samples", "write_ticks", "write_trades"]

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
START = int(datetime(2025, 1, 6, tzinfo=UTC).timestamp() * 1000)


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """Bars, and the regime (-1, +1) that they were made in."""

    bars: Bars
    regime: Vector


def market(
    seed: int, rows: int, *, bar_ms: int = HOUR, edge: float = 0.0, length: int = 60, week: int = 7, sigma: float = 2e-3, start: int = START
) -> Market:
    """Return ``rows`` bars; ``week`` 5 leaves out Saturdays and Sundays of daily bars. ``start`` is a Monday, epoch milliseconds UTC."""
    rng = np.random.default_rng(seed)
    lasts = rng.integers(length - length // 8, length + length // 8 + 1, 2 * rows // length + 2)
    regime = np.repeat(np.where(np.arange(len(lasts)) % 2 == 0, 1.0, -1.0), lasts)[:rows]
    deviation = _garch(rng, rows, sigma)
    close = 100.0 * np.exp(np.cumsum(deviation * (edge * regime + rng.standard_t(5, rows) * np.sqrt(3 / 5))))
    opened = np.concatenate((close[:1], close[:-1]))
    high = np.maximum(opened, close) * (1 + deviation * rng.exponential(0.3, rows))
    low = np.minimum(opened, close) * (1 - deviation * rng.exponential(0.3, rows))
    volume = 1_000.0 * deviation / sigma * rng.gamma(4.0, 0.25, rows)
    index = np.arange(rows, dtype=np.int64)
    if week == 5:
        index = index + 2 * (index // 5)
    return Market(Bars(time=start + (index + 1) * bar_ms, open=opened, high=high, low=low, close=close, volume=volume), regime)


def write_bars(path: Path, bars: Bars, *, bar_ms: int = HOUR, symbol: str = "") -> Path:
    """Write CSV; stamps are the opens, in milliseconds."""
    columns: list[Any] = [bars.time - bar_ms, bars.open, bars.high, bars.low, bars.close, bars.volume]
    names = ["time", "open", "high", "low", "close", "volume"]
    if symbol:
        columns.append([symbol] * len(bars))
        names.append("symbol")
    rows = (",".join(map(str, row)) for row in zip(*(np.asarray(column).tolist() for column in columns), strict=True))
    path.write_text("\n".join([",".join(names), *rows]) + "\n", encoding="utf-8")
    return path


def write_ticks(path: Path, bars: Bars, *, bar_ms: int, seed: int = 0) -> Path:
    """Write four ticks a bar, as Parquet: at its open, its high, its low and its close."""
    import polars as pl

    rng = np.random.default_rng(seed)
    inner = np.sort(rng.uniform(0.05, 0.95, (len(bars), 2)), axis=1)
    share = np.column_stack((np.zeros(len(bars)), inner, np.full(len(bars), 0.999)))
    time = (bars.time - bar_ms)[:, None] + (share * bar_ms).astype(np.int64)
    first_high = rng.random(len(bars)) < 0.5
    middle = np.where(first_high[:, None], np.column_stack((bars.high, bars.low)), np.column_stack((bars.low, bars.high)))
    price = np.column_stack((bars.open, middle, bars.close))
    size = np.repeat(bars.volume / 4.0, 4)
    pl.DataFrame({"time": time.ravel(), "price": price.ravel(), "size": size}).write_parquet(path)
    return path


def write_trades(path: Path, seed: int, trades: int, *, edge: float = 1.5, symbol: str = "AAPL") -> Path:
    """Write closed trades as JSON lines; a trade is the more likely bad, the larger ``f_vol_ratio`` and the smaller ``f_confidence``."""
    rng = np.random.default_rng(seed)
    ratio, confidence, sma = rng.normal(size=trades), rng.normal(size=trades), rng.normal(size=trades)
    bad = rng.random(trades) < 1.0 / (1.0 + np.exp(-edge * (ratio - confidence)))
    pnl = np.where(bad, -rng.exponential(0.8, trades), rng.exponential(1.0, trades))
    opened = START + np.cumsum(rng.integers(10 * MINUTE, 4 * HOUR, trades))
    lines = [
        {
            "id": index,
            "symbol": symbol,
            "side": 1,
            "status": "CLOSED",
            "opened_at": int(opened[index]),
            "closed_at": int(opened[index] + HOUR),
            "pnl_pct": round(float(pnl[index]), 6),
            "mae_pct": round(float(abs(min(pnl[index], 0.0)) + rng.exponential(0.2)), 6),
            "f_sma_20": float(sma[index]),
            "f_vol_ratio": float(ratio[index]),
            "f_confidence": float(confidence[index]),
        }
        for index in range(trades)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def write_samples(path: Path, seed: int, samples: int, *, edge: float = 0.6) -> Path:
    """Write the feature logger's file: a header behind a hash sign, then one record a minute."""
    made = market(seed, samples, bar_ms=MINUTE, edge=edge, length=120, sigma=3e-4)
    rng = np.random.default_rng(seed + 1)
    header = {
        "started": datetime.fromtimestamp(START / 1000, UTC).isoformat(),
        "window_days": 14,
        "sample_interval_ms": MINUTE,
        "features": ["mid", "spreadBp", "vol1m", "rsi14"],
    }
    change = np.diff(made.bars.close, prepend=made.bars.close[:1])
    gain = np.convolve(np.maximum(change, 0), np.ones(14), "full")[:samples]
    loss = np.convolve(np.maximum(-change, 0), np.ones(14), "full")[:samples]
    rsi = 100.0 * np.divide(gain, gain + loss, out=np.full(samples, 0.5), where=gain + loss > 0)
    spread = 1.0 + rng.gamma(2.0, 0.3, samples)
    lines = ["# " + json.dumps(header)]
    for row in range(samples):
        raw = {
            "ts": int(made.bars.time[row]),
            "mid": float(made.bars.close[row]),
            "spreadBp": float(spread[row]),
            "vol1m": float(made.bars.volume[row]),
            "rsi14": float(rsi[row]),
        }
        lines.append(json.dumps({"ts": raw["ts"], "raw": raw, "derived": {}, "stats": {}}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_macro(path: Path, bars: Bars, seed: int) -> Path:
    """Write a table of weekly macro figures, each published two days after the week that it is about."""
    rng = np.random.default_rng(seed)
    weeks = np.arange(bars.time[0] - 5 * 7 * DAY, bars.time[-1], 7 * DAY)
    lines = ["period_end,published_at,vix,yield10"]
    lines += [f"{week},{week + 2 * DAY},{15 + 5 * rng.random():.4f},{4 + rng.normal() * 0.2:.4f}" for week in weeks.tolist()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _garch(rng: np.random.Generator, rows: int, sigma: float) -> Vector:
    """Return the standard deviation of each row: GARCH(1,1) with α 0.08 and β 0.90 around ``sigma``."""
    noise = np.square(rng.standard_t(5, rows)) * 3 / 5
    variance = np.empty(rows)
    current = sigma**2
    for row in range(rows):
        variance[row] = current
        current = 0.02 * sigma**2 + current * (0.08 * noise[row] + 0.90)
    return np.sqrt(np.minimum(variance, 25 * sigma**2))
