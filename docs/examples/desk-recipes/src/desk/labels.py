"""Our labels. A label looks ahead, over ``target.horizon_bars`` bars and not further; NaN is no label."""

import numpy as np

from walkforward_core.features import Bars
from walkforward_trainer.labels import Label
from walkforward_trainer.resolved import Target

LOOKBACK = 20


def breakout(bars: Bars, target: Target) -> np.ndarray:
    """1 where one of the next bars closes above the highest high of the last 20, else 0."""
    y = np.full(len(bars), np.nan)
    for t in range(LOOKBACK - 1, len(bars) - target.horizon_bars):
        ceiling = bars.high[t - LOOKBACK + 1 : t + 1].max()
        y[t] = float(bars.close[t + 1 : t + 1 + target.horizon_bars].max() > ceiling)
    return y


BREAKOUT = Label(answer=breakout, classes=2, history=lambda _target: LOOKBACK - 1)
