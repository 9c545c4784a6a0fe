"""Features over bars and samples, the same code in the trainer and beside the live client.

>>> from walkforward_core.features import OHLCV, lookback
>>> len(OHLCV), lookback(OHLCV)
(18, 100)
"""

from __future__ import annotations

from walkforward_core.features.bars import Bars, timeframe_ms
from walkforward_core.features.checks import check_causal
from walkforward_core.features.feature import Feature, FeatureError, Of, Sheet
from walkforward_core.features.matrix import compute, latest
from walkforward_core.features.samples import Samples
from walkforward_core.features.sets import DAILY_40, DRIFT_ROBUST_7, OHLCV, OHLCV_11, SETS, TECHNICAL_17
from walkforward_core.features.table import FEATURES, features, lookback, unknown
from walkforward_core.features.winsor import Bounds, rolling_winsorised

__all__ = [
    "DAILY_40",
    "DRIFT_ROBUST_7",
    "FEATURES",
    "OHLCV",
    "OHLCV_11",
    "SETS",
    "TECHNICAL_17",
    "Bars",
    "Bounds",
    "Feature",
    "FeatureError",
    "Of",
    "Samples",
    "Sheet",
    "check_causal",
    "compute",
    "features",
    "latest",
    "lookback",
    "rolling_winsorised",
    "timeframe_ms",
    "unknown",
]
