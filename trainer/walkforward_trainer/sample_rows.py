"""Rows that are logged samples: features recomputed from what was logged raw, the mid's direction as the answer."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from walkforward_core.durations import parse_ms
from walkforward_core.features import Bars, Samples, compute, lookback, unknown
from walkforward_trainer.data.prices import check_flat, check_jump, newest_move
from walkforward_trainer.data.quality import QualityFacts, check_gaps
from walkforward_trainer.data.samples import INTERVAL_MS, read_samples
from walkforward_trainer.dataset import Dataset
from walkforward_trainer.decision import base_position
from walkforward_trainer.errors import BadData, Reason
from walkforward_trainer.inputs import Rows
from walkforward_trainer.specfile import timestamp
from walkforward_trainer.stages import stage
from walkforward_trainer.stretches import left_out, length_of, positions, stretches

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from walkforward_trainer.data.samples import RawSamples
    from walkforward_trainer.inputs import Inputs
    from walkforward_trainer.plan import Plan

    Vector = npt.NDArray[np.float64]
    Times = npt.NDArray[np.int64]

__all__ = ["SampleColumns", "compare_derived", "mid_direction", "sample_rows"]

RAW: Final = ("mid", "spread_bp", "vol1m", "rsi14")
log = logging.getLogger("walkforward.trainer")


@dataclass(frozen=True, slots=True, eq=False)
class SampleColumns:
    """Feature columns of samples, of which row i is sample ``rows[i]``."""

    samples: Samples
    rows: npt.NDArray[np.intp]

    def missing(self, names: Sequence[str]) -> str:
        """Return why ``names`` cannot be had for every row, or nothing."""
        strangers = unknown(names)
        if strangers:
            return f"features that this release does not have: {', '.join(strangers)}"
        lacking = [name for name in names if not np.isfinite(self.matrix([name])).all()]
        return f"features that are not there for every row: {', '.join(lacking)}" if lacking else ""

    def matrix(self, names: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return the columns ``names``."""
        return compute(self.samples, names)[self.rows]


def sample_rows(inputs: Inputs) -> Rows:
    """Return the logged samples as rows.

    Raises
    ------
    RunError
        The log cannot be read, or is not what the spec says.
    """
    plan = inputs.plan
    with stage("samples"):
        raw = read_samples(inputs.access, plan, now_ms=inputs.now_ms)
    with stage("quality"):
        samples, start, facts = _check(raw, plan)
    with stage("features"):
        x = compute(samples, plan.features)
        for name, worst in compare_derived(raw).items():
            log.info("logged %s differs from the one recomputed by at most %.3g; the recomputed one is used", name, worst)
        # a lag that falls into a gap has no value: the row is left out, not filled in
        whole = np.asarray(np.isfinite(x).all(axis=1))
        whole[:start] = False
        rows = np.flatnonzero(whole)
        if not len(rows):
            raise BadData(
                Reason.TOO_FEW_ROWS,
                f"data: no sample has every feature, the longest looks back {lookback(plan.features)} minutes; log longer",
            )
    with stage("labels"):
        data = _dataset(samples, x, rows, plan)
    if data.left_out:
        log.warning("%s", left_out(data))
    return Rows(facts=replace(facts, bars=len(rows), dropped=facts.dropped + len(samples) - start - len(rows)), data=data)


def mid_direction(samples: Samples, minutes: int) -> tuple[Vector, Times, Vector]:
    """Return every sample's answer (1 where the mid is higher ``minutes`` later, else 0), when it was known, and the return until then.

    The later sample is the one nearest to that time, half a minute off at most; without one there is no answer (NaN), it is not guessed.
    """
    wanted = samples.time + minutes * INTERVAL_MS
    right = np.searchsorted(samples.time, wanted)
    left = np.clip(right - 1, 0, len(samples) - 1)
    right = np.clip(right, 0, len(samples) - 1)
    nearest = np.where(np.abs(samples.time[left] - wanted) <= np.abs(samples.time[right] - wanted), left, right)
    known = (np.abs(samples.time[nearest] - wanted) <= INTERVAL_MS // 2) & (nearest > np.arange(len(samples)))
    move = samples.mid[nearest] / samples.mid - 1.0
    answer = np.where(known, (samples.mid[nearest] > samples.mid).astype(np.float64), np.nan)
    return answer, np.where(known, samples.time[nearest], wanted), np.where(known, move, np.nan)


def compare_derived(raw: RawSamples) -> Mapping[str, float]:
    """Return the largest difference between each logged feature and ours, where both are known."""
    found = {}
    rows = _rising(raw.samples.time)
    samples = raw.samples[rows]
    for name, logged in raw.derived.items():
        if unknown([name]):
            continue
        off = np.abs(logged[rows] - compute(samples, [name])[:, 0])
        if np.isfinite(off).any():
            found[name] = float(np.nanmax(off))
    return found


def _rising(time: Times) -> npt.NDArray[np.intp]:
    """Return the rows that are later than every row before."""
    before = np.maximum.accumulate(np.concatenate(([np.iinfo(np.int64).min], time[:-1])))
    return np.flatnonzero(time > before)


def _check(raw: RawSamples, plan: Plan) -> tuple[Samples, int, QualityFacts]:
    """Return the samples that miss nothing, where the window starts among them, and what was found."""
    _check_order(raw.samples.time)
    _check_broken(raw, plan)
    samples, start = _cut(raw.samples, plan)
    share = {name: float(np.mean(~np.isfinite(getattr(samples, name)))) for name in RAW}
    worst = max(share, key=lambda name: share[name])
    if share[worst] > plan.quality.max_nan:
        raise BadData(
            Reason.MISSING_VALUES,
            f"data.quality.maxNan: {worst} misses in {share[worst]:.2%} of the samples, limit {plan.quality.max_nan:.2%}; "
            "correct the logger",
        )
    present = np.isfinite(np.column_stack([getattr(samples, name) for name in RAW])).all(axis=1)
    clean, start = samples[present], int(present[:start].sum())
    _check_values(clean)
    gap = check_gaps(clean.time, plan, "sample", "find out why, fill in what was missed from the exchange, or let data.window begin later")
    completeness = _check_completeness(clean.time, plan)
    repeated = _repeated(clean)
    newest = newest_move(repeated, clean.time)
    staleness = plan.as_of_ms - newest
    if staleness > parse_ms(plan.quality.max_staleness):
        raise BadData(
            Reason.STALE,
            f"data.quality.maxStaleness: the newest sample that is not the one before it is of {timestamp(newest)}, limit "
            f"{plan.quality.max_staleness} before asOf; look whether the logger runs",
        )
    facts = QualityFacts(
        bars=len(clean) - start,
        dropped=int((~present).sum()),
        nan_share=share,
        max_gap_ms=gap,
        completeness=completeness,
        staleness_ms=staleness,
        flat_share=check_flat(repeated, clean.time, plan.quality.max_flat, "samples"),
        max_jump=check_jump(_jumps(clean.mid), clean.time, plan.quality.max_jump, lambda row: f"mid {clean.mid[row]:g}"),
    )
    return clean, start, facts


def _repeated(samples: Samples) -> npt.NDArray[np.bool_]:
    """Return which samples are the one before, in every raw value: the mid alone may well stand still for a minute."""
    same = np.ones(len(samples), np.bool_)
    for name in RAW:
        same &= np.diff(getattr(samples, name), prepend=np.nan) == 0.0
    return same


def _jumps(mid: Vector) -> Vector:
    """Return by which factor the mid moved from each sample to the next; shape (n,), 1 or more."""
    return np.asarray(np.exp(np.abs(np.diff(np.log(mid), prepend=np.log(mid[:1])))))


def _check_order(time: Times) -> None:
    step = np.diff(time)
    if (step < 0).any():
        where = int(np.argmax(step < 0)) + 1
        raise BadData(
            Reason.OUT_OF_ORDER,
            f"data: {int((step < 0).sum())} samples are older than the one before them, first at {timestamp(int(time[where]))}; "
            "let one logger write a file, and name files in the order of time",
        )
    if (step == 0).any():
        where = int(np.argmax(step == 0))
        raise BadData(
            Reason.DUPLICATE_ROWS,
            f"data: {int((step == 0).sum())} samples occur twice, first at {timestamp(int(time[where]))}; keep one of each",
        )


def _check_broken(raw: RawSamples, plan: Plan) -> None:
    share = raw.broken / (raw.broken + len(raw.samples) + raw.later)
    if share > plan.quality.max_nan:
        raise BadData(
            Reason.BROKEN_RECORDS,
            f"data.quality.maxNan: {raw.broken} lines, {share:.2%}, are no records, limit {plan.quality.max_nan:.2%}; the first is "
            f"{raw.first_broken}: repair the logger, or remove those lines",
        )


def _cut(samples: Samples, plan: Plan) -> tuple[Samples, int]:
    """Return the warm-up and the window, and where the window starts."""
    start = 0
    if plan.window_ms is not None:
        start = int(np.searchsorted(samples.time, plan.as_of_ms - plan.window_ms, side="left"))
    if plan.window_bars is not None:
        start = max(start, len(samples) - plan.window_bars)
    if start >= len(samples):
        raise BadData(
            Reason.EMPTY_WINDOW,
            f"data.window {plan.data.window} before asOf {timestamp(plan.as_of_ms)} holds no sample, the newest is of "
            f"{timestamp(int(samples.time[-1]))}; look whether the logger runs",
        )
    # where the log has no samples for the warm-up, the first ones of the window serve
    first = max(0, start - plan.warmup_bars)
    start = max(start, min(plan.warmup_bars, len(samples)))
    return samples[first:], start - first


def _check_values(samples: Samples) -> None:
    rules = (
        ("mid is not above zero", samples.mid <= 0),
        ("spreadBp is below zero", samples.spread_bp < 0),
        ("vol1m is below zero", samples.vol1m < 0),
        ("rsi14 is not between 0 and 100", (samples.rsi14 < 0) | (samples.rsi14 > 100)),
    )
    for what, wrong in rules:
        if wrong.any():
            where = int(np.argmax(wrong))
            raise BadData(
                Reason.IMPOSSIBLE_PRICES,
                f"data: in {int(wrong.sum())} samples {what}, first at {timestamp(int(samples.time[where]))}; correct the logger",
            )


def _check_completeness(time: Times, plan: Plan) -> float:
    possible = round((int(time[-1]) - int(time[0])) / INTERVAL_MS) + 1 if len(time) else 0
    share = min(1.0, len(time) / possible) if possible else 0.0
    if share < plan.quality.min_completeness:
        raise BadData(
            Reason.INCOMPLETE,
            f"data.quality.minCompleteness: {len(time)} samples of {possible} possible ones, {share:.2%}, limit "
            f"{plan.quality.min_completeness:.2%}; fill in what was missed",
        )
    return share


def _dataset(samples: Samples, x: npt.NDArray[np.float32], rows: npt.NDArray[np.intp], plan: Plan) -> Dataset:
    every = len(rows)
    used = stretches(0, every, plan.max_rows)
    rows = rows[positions(used)]
    y, t1, returns = mid_direction(samples, plan.target.horizon_bars)
    flat = Bars(time=samples.time, open=samples.mid, high=samples.mid, low=samples.mid, close=samples.mid, volume=samples.vol1m)
    return Dataset(
        x=np.ascontiguousarray(x[rows]),
        names=plan.features,
        y=y[rows],
        t0=samples.time[rows],
        t1=t1[rows],
        returns=returns[rows],
        base=np.nan_to_num(base_position(plan.base_rule, flat)[rows]),
        weight=np.ones(len(rows)),
        symbol=np.zeros(len(rows), np.int16),
        symbols=(plan.symbol,),
        digest=_digest(samples, used),
        columns=SampleColumns(samples=samples, rows=rows),
        warmup=lookback(plan.features),
        horizon_ms=plan.target.horizon_bars * INTERVAL_MS,
        left_out=every - len(rows),
        stretch=length_of(plan.max_rows) if len(used) > 1 else 0,
    )


def _digest(samples: Samples, used: tuple[tuple[int, int], ...]) -> str:
    seen = hashlib.sha256(samples.time.astype("<i8").tobytes())
    for name in RAW:
        seen.update(getattr(samples, name).astype("<f8").tobytes())
    if len(used) > 1:
        seen.update(f"{used}".encode())
    return f"sha256:{seen.hexdigest()}"
