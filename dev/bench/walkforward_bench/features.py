"""Features of bars: forty columns on 100,000 bars, what they cost as bars grow, and TA-Lib beside the indicators that it has.

Every figure is of one core and the median of several calls in this process, by the processor's clock: a call waits for nothing but its
core, and on a busy machine that wait is not its cost. TA-Lib is compiled and walks once over an array; ours is
numpy and gives the same bits from a short history as from a long one, which TA-Lib's recursions do not.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import talib

from walkforward_core.features import DAILY_40, Bars, compute

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["made_bars", "measure"]

FORTY: Final = DAILY_40[:40]
CURVE: Final = (100_000, 1_000_000, 5_000_000)
HOUR_MS: Final = 3_600_000

PEER: Final[Mapping[str, Callable[[Bars], Any]]] = {
    "rsi_14": lambda b: talib.RSI(b.close, 14),
    "atr_14": lambda b: talib.ATR(b.high, b.low, b.close, 14),
    "adx_14": lambda b: talib.ADX(b.high, b.low, b.close, 14),
    "stoch_d_14": lambda b: talib.STOCH(b.high, b.low, b.close, fastk_period=14, slowk_period=3, slowd_period=3),
    "cci_20": lambda b: talib.CCI(b.high, b.low, b.close, 20),
    "williams_14": lambda b: talib.WILLR(b.high, b.low, b.close, 14),
    "psar_96": lambda b: talib.SAR(b.high, b.low, 0.02, 0.2),
    "bollinger_20": lambda b: talib.BBANDS(b.close, 20, 2, 2),
    "macd_hist_12_26_9": lambda b: talib.MACD(b.close, 12, 26, 9),
    "ema_9_away": lambda b: talib.EMA(b.close, 9),
    "trix_15": lambda b: talib.TRIX(b.close, 15),
    "mfi_14": lambda b: talib.MFI(b.high, b.low, b.close, b.volume, 14),
    "ultimate": lambda b: talib.ULTOSC(b.high, b.low, b.close, 7, 14, 28),
    "aroon_up_25": lambda b: talib.AROON(b.high, b.low, 25),
    "cmf_20": lambda b: talib.CMF(b.high, b.low, b.close, b.volume, 20),
    "slope_20": lambda b: talib.LINEARREG_SLOPE(b.close, 20),
}
"""The nearest that TA-Lib has to each of our columns."""


def measure(runs: int = 5, curve: tuple[int, ...] = CURVE) -> dict[str, Any]:
    """Return seconds of forty features by number of bars, what memory they took, and milliseconds of each indicator beside TA-Lib's."""
    bars = made_bars(100_000)
    forty = _median(lambda: compute(bars, FORTY), runs)
    every = _median(lambda: compute(bars, DAILY_40), runs)
    print(f"features: {len(FORTY)} on 100,000 bars in {forty:.3f} s, all {len(DAILY_40)} of the daily set in {every:.3f} s", flush=True)
    return {
        "features": len(FORTY),
        "bars": len(bars),
        "seconds": forty,
        "everyFeature": {"features": len(DAILY_40), "seconds": every},
        "curve": [_alone(count) for count in curve],
        "indicators": [_beside(name, bars, runs) for name in PEER],
    }


def made_bars(count: int, seed: int = 7) -> Bars:
    """Return ``count`` bars of an hour of a random walk."""
    rng = np.random.default_rng(seed)
    close = 1.1 * np.exp(np.cumsum(rng.standard_t(4, count) * 1e-4))
    start = close * np.exp(rng.normal(0, 3e-5, count))
    high = np.maximum(start, close) * (1 + rng.exponential(3e-5, count))
    low = np.minimum(start, close) / (1 + rng.exponential(3e-5, count))
    time_ms = HOUR_MS * np.arange(count, dtype=np.int64)
    return Bars(time=time_ms, open=start, high=high, low=low, close=close, volume=rng.integers(0, 5_000, count).astype(float))


def _alone(count: int) -> dict[str, Any]:
    """Measure one size in a process of its own, whose peak of memory is that of nothing else."""
    done = subprocess.run(
        [sys.executable, "-m", "walkforward_bench.features", str(count)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"features of {count} bars: ended with {done.returncode}: {done.stderr[-2000:]}")
    seconds, cpu, working, matrix = (float(word) for word in done.stdout.split())
    print(f"features: {count:>9,} bars, {seconds:.2f} s ({cpu:.2f} s of CPU), {1e9 * cpu / count / len(FORTY):.0f} ns a value, "
          f"{working:.0f} MiB beside a matrix of {matrix:.0f} MiB", flush=True)  # fmt: skip
    return {"bars": count, "seconds": seconds, "cpuSeconds": cpu, "workingMiB": working, "matrixMiB": matrix}


def _beside(name: str, bars: Bars, runs: int) -> dict[str, Any]:
    ours, theirs = _median(lambda: compute(bars, [name]), runs), _median(lambda: PEER[name](bars), runs)
    print(f"features: {name:<18} {1e3 * ours:6.2f} ms, TA-Lib {1e3 * theirs:6.2f} ms", flush=True)
    return {"name": name, "oursMs": 1e3 * ours, "talibMs": 1e3 * theirs}


def _median(work: Callable[[], object], runs: int) -> float:
    taken = []
    for _ in range(runs):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return statistics.median(taken)


def _memory_mib(entry: str) -> float:
    """Return what this process holds (``VmRSS``) or has held at most since it was last asked to forget (``VmHWM``)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(entry))


def _one(count: int) -> None:
    """Print seconds, CPU seconds, memory beside the matrix and the matrix's own, in MiB."""
    bars = made_bars(count)
    compute(bars[:1_000], FORTY)
    # the peak so far is that of making bars
    Path("/proc/self/clear_refs").write_text("5")
    before, began, used = _memory_mib("VmRSS"), time.perf_counter(), time.process_time()
    matrix = compute(bars, FORTY)
    seconds, cpu, size = time.perf_counter() - began, time.process_time() - used, matrix.nbytes / 2**20
    print(seconds, cpu, _memory_mib("VmHWM") - before - size, size)


if __name__ == "__main__":
    _one(int(sys.argv[1]))
