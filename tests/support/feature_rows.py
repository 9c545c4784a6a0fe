"""Random bars and samples for tests of features."""

from __future__ import annotations

import numpy as np

from walkforward_core.features import Bars, Samples

HOUR = 3_600_000
MINUTE = 60_000
START = 1_500_000_000_000 // HOUR * HOUR


def random_bars(seed: int, count: int, *, step_ms: int = HOUR, scale: float = 1e-3) -> Bars:
    """Return bars of a fat-tailed random walk; some volumes are zero."""
    rng = np.random.default_rng(seed)
    close = 1.1 * np.exp(np.cumsum(rng.standard_t(4, count) * scale))
    start = close * np.exp(rng.normal(0, 0.3 * scale, count))
    high = np.maximum(start, close) * (1 + rng.exponential(0.3 * scale, count))
    low = np.minimum(start, close) / (1 + rng.exponential(0.3 * scale, count))
    time = START + step_ms * np.arange(count, dtype=np.int64)
    return Bars(time=time, open=start, high=high, low=low, close=close, volume=rng.integers(0, 5_000, count).astype(float))


def flat_bars(count: int, price: float = 1.1, volume: float = 0.0) -> Bars:
    """Return bars of a market that does not move."""
    flat = np.full(count, price)
    return Bars(time=START + HOUR * np.arange(count), open=flat, high=flat, low=flat, close=flat, volume=np.full(count, volume))


def random_samples(seed: int, count: int, *, missing: float = 0.0) -> Samples:
    """Return samples a minute apart, to half a second; a share of them is ``missing``."""
    rng = np.random.default_rng(seed)
    samples = Samples(
        time=START + MINUTE * np.arange(count, dtype=np.int64) + rng.integers(-250, 250, count),
        mid=44_000 * np.exp(np.cumsum(rng.standard_t(4, count) * 2e-4)),
        spread_bp=rng.exponential(1.5, count),
        vol1m=rng.exponential(20, count),
        rsi14=rng.uniform(10, 90, count),
    )
    return samples[rng.random(count) >= missing]
