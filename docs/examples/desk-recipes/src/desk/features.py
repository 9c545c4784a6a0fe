"""Our features. Row t may read bar t and ``lookback`` bars before it, and nothing else."""

import numpy as np

from walkforward_core.features import Bars, Feature


def close_in_range(bars: Bars) -> np.ndarray:
    """Return where the close lies between the lowest low and the highest high of 20 bars, 0 to 1; 0.5 where they are one."""
    out = np.full(len(bars), np.nan)
    if len(bars) >= 20:
        high = np.lib.stride_tricks.sliding_window_view(bars.high, 20).max(axis=1)
        low = np.lib.stride_tricks.sliding_window_view(bars.low, 20).min(axis=1)
        width = high - low
        out[19:] = np.where(width > 0, (bars.close[19:] - low) / np.where(width > 0, width, 1.0), 0.5)
    return out


CLOSE_IN_RANGE_20 = Feature(lookback=19, formula=close_in_range, meaning="close within the range of 20 bars, 0 to 1")
