"""The market data of the demo: 5,000 real hourly EURUSD bars, and a vendor's copy whose volume is counted in another unit.

The bars ship inside a test-only dependency; nothing is fetched. A retrain as of bar 2,200 has seen the bars before it; the replayer plays
those from there on, which no model has seen when it is judged on them.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

__all__ = ["FIRST", "SECOND", "VENDOR_UNIT", "Bars", "eurusd"]

FIRST = 2_200
"""Bar at which the first retrain happens."""
SECOND = 2_320
"""Bar at which the second one happens, a trading week later."""
VENDOR_UNIT = 1_000


@dataclass(frozen=True, slots=True)
class Bars:
    """Rows of time, open, high, low, close, volume; time is the open, UTC."""

    rows: tuple[tuple[datetime, float, float, float, float, float], ...]

    def as_of(self, bar: int) -> str:
        """Return the instant at which ``bar`` opens and all before it are complete."""
        return self.rows[bar][0].strftime("%Y-%m-%dT%H:%M:%SZ")

    def csv(self, *, volume_unit: int = 1, symbol: str = "EURUSD") -> bytes:
        """Return the bars as the trainer reads them; ``volume_unit`` multiplies the volume: a vendor who counts in another unit."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["time", "symbol", "open", "high", "low", "close", "volume"])
        for time, *prices, volume in self.rows:
            writer.writerow([time.strftime("%Y-%m-%dT%H:%M:%SZ"), symbol, *prices, volume * volume_unit])
        return text.getvalue().encode()


def eurusd() -> Bars:
    """Return the bars that ship in the package ``backtesting``, without importing it: that would start a plotting library."""
    text = Path(str(metadata.distribution("backtesting").locate_file("backtesting/test/EURUSD.csv"))).read_text(encoding="utf-8")
    records = list(csv.reader(io.StringIO(text)))[1:]
    return Bars(tuple(_row(record) for record in records))


def _row(record: list[str]) -> tuple[datetime, float, float, float, float, float]:
    time, opened, high, low, close, volume = record
    return datetime.fromisoformat(time).replace(tzinfo=UTC), float(opened), float(high), float(low), float(close), float(volume)
