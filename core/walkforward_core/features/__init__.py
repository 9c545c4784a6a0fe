"""Features over bars, the same code in the trainer and beside the live client.

>>> from walkforward_core.features import OHLCV, lookback
>>> len(OHLCV), lookback(OHLCV)
(18, 100)
"""

from __future__ import annotations

from walkforward_core.features.bars import Bars, timeframe_ms
from walkforward_core.features.table import FEATURES, OHLCV, Feature, compute, latest, lookback, unknown

__all__ = ["FEATURES", "OHLCV", "Bars", "Feature", "compute", "latest", "lookback", "timeframe_ms", "unknown"]
