"""A log of trades as Parquet, for calibrations and costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from trainer_runs import HOUR

from walkforward_trainer.specfile import instant

if TYPE_CHECKING:
    from pathlib import Path

FIRST_MS = instant("2024-01-01T00:00:00Z", "first")


def trade_log(path: Path, count: int = 60, first_ms: int = FIRST_MS, **columns: Any) -> Path:
    """Trades six hours apart, each an hour long and filled 0.06 % worse than expected, every other one short."""
    side = np.where(np.arange(count) % 2 == 0, 1, -1)
    opened = first_ms + 6 * HOUR * np.arange(count)
    frame = {
        "opened_at": opened.tolist(),
        "closed_at": (opened + HOUR).tolist(),
        "symbol": ["EURUSD"] * count,
        "side": side.tolist(),
        "expected_price": [100.0] * count,
        "fill_price": (100.0 + 0.06 * side).tolist(),
        "pnl_pct": [(1.0, -0.5)[at % 2] for at in range(count)],
        "volatility_pct": [(0.2, 1.0, 2.0)[at % 3] for at in range(count)],
    }
    pl.DataFrame({name: values for name, values in (frame | columns).items() if values is not None}).write_parquet(path)
    return path
