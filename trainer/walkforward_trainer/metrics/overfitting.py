"""Probability of backtest overfitting by combinatorially symmetric cross-validation (Bailey, Borwein, López de Prado & Zhu 2017)."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Matrix = npt.NDArray[np.float64]

__all__ = ["BLOCKS", "overfitting"]

BLOCKS: Final = 16
CHUNK: Final = 2_000
"""Splits that are ranked at once, so that memory stays bounded."""


def overfitting(net: Matrix, blocks: int = BLOCKS) -> float:
    """Return PBO of the net returns ``net`` (outcomes in time order, trials).

    The outcomes are cut into ``blocks`` contiguous blocks; every half of them chooses the trial with the best Sharpe ratio, and the other
    half ranks it. PBO is the share of choices that end below the median of all trials. NaN with fewer than two trials, or with fewer
    than two outcomes a block.
    """
    rows, trials = net.shape
    if trials < 2 or rows < 2 * blocks:
        return float("nan")
    # sums of a block are all that a half needs: no split is computed from its rows again
    parts = np.array_split(net - net.mean(), blocks)
    sums = np.array([[part.sum(axis=0), (part**2).sum(axis=0)] for part in parts])
    size = np.array([float(len(part)) for part in parts])
    shift = float(net.mean())
    halves = np.array([[index in half for index in range(blocks)] for half in combinations(range(blocks), blocks // 2)], dtype=np.float64)
    below = 0
    for start in range(0, len(halves), CHUNK):
        inside = halves[start : start + CHUNK]
        best = _sharpe(inside, sums, size, shift).argmax(axis=1)
        outside = _sharpe(1.0 - inside, sums, size, shift)
        chosen = np.take_along_axis(outside, best[:, None], axis=1)
        # mean rank of ties, from 1; below the median is a relative rank under one half
        rank = (outside < chosen).sum(axis=1) + ((outside == chosen).sum(axis=1) + 1.0) / 2.0
        below += int((rank / (trials + 1.0) < 0.5).sum())
    return below / len(halves)


def _sharpe(chosen: Matrix, sums: npt.NDArray[np.float64], size: npt.NDArray[np.float64], shift: float) -> Matrix:
    """Return the Sharpe ratio of every trial over the ``chosen`` blocks (splits, blocks); 0 without spread: it never wins."""
    n = (chosen @ size)[:, None]
    mean = chosen @ sums[:, 0] / n
    variance = np.maximum(chosen @ sums[:, 1] / n - mean**2, 0.0)
    flat = variance <= 1e-15 * np.maximum(chosen @ sums[:, 1] / n, 1e-300)
    return np.where(flat, 0.0, (mean + shift) / np.sqrt(np.where(flat, 1.0, variance)))
