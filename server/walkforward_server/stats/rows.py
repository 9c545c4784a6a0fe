"""The counters of one model in one generation, and of one pair of models."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from walkforward_core.stats import Bars, Errors, Pair, Positions, Requests, Row
from walkforward_server.stats.drift import DriftCounters
from walkforward_server.stats.latency import LatencyCounters, without_limit

if TYPE_CHECKING:
    from walkforward_core.pods import ModelRole
    from walkforward_core.routing import Measure
    from walkforward_server.model import Model

__all__ = ["KEY_BITS", "PairCounters", "RowCounters"]

KEY_BITS = 2048


class RowCounters:
    """One model in one routing generation; all attributes only grow.

    A row of a model that is not in memory (a candidate that was tripped, or version "" where no model is live) has no drift counts.
    """

    def __init__(self, generation: int, version: str, role: ModelRole, model: Model | None, measure: Measure | None) -> None:
        self.generation, self.version, self.role = generation, version, role
        self.exposed = self.shadow = self.unkeyed = self.fallback = self.shadow_skipped = 0
        self.exception = self.non_finite = 0
        self.distinct = self.undated = self.first_ts = self.newest_ts = 0
        self.symbols: set[str] = set()
        self.keys = bytearray(KEY_BITS // 8)
        self.drift = None if model is None else DriftCounters(model)
        self.latency = LatencyCounters(measure.latency_ms * 1000, measure.slice_ms / 1000) if measure else LatencyCounters(0.0, 1.0)

    def key(self, bucket: int) -> None:
        """Set the bit of a request key's bucket."""
        bit = bucket % KEY_BITS
        self.keys[bit >> 3] |= 1 << (bit & 7)

    def bar(self, symbol: str, ts: int, *, undated: bool) -> None:
        """Count one distinct (symbol, bar); ``ts`` in epoch milliseconds of market time, unless ``undated``."""
        self.distinct += 1
        self.undated += undated
        self.symbols.add(symbol)
        if undated:
            return  # no market time is known
        self.first_ts = ts if self.first_ts == 0 else min(self.first_ts, ts)
        self.newest_ts = max(self.newest_ts, ts)

    def fold(self, other: RowCounters) -> None:
        """Add the row of the same version in another generation; what belongs to one phase only (exceedances) is dropped."""
        for name in ("exposed", "shadow", "unkeyed", "fallback", "shadow_skipped", "exception", "non_finite", "distinct", "undated"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.symbols |= other.symbols
        self.keys = bytearray(a | b for a, b in zip(self.keys, other.keys, strict=True))
        self.first_ts = min(filter(None, (self.first_ts, other.first_ts)), default=0)
        self.newest_ts = max(self.newest_ts, other.newest_ts)
        if self.drift is None:
            self.drift = other.drift
        elif other.drift is not None:
            self.drift.fold(other.drift)
        counts = [a + b for a, b in zip(without_limit(self.latency), without_limit(other.latency), strict=True)]
        self.latency = LatencyCounters(0.0, 1.0)
        self.latency.counts = counts

    def snapshot(self, now: float) -> Row:
        """Return the row as it stands at ``now``, in monotonic seconds."""
        drift, latency = self.drift, self.latency
        features = drift.snapshot() if drift else None
        return Row(
            generation=self.generation,
            version=self.version,
            role=self.role,
            requests=Requests(
                exposed=self.exposed,
                shadow=self.shadow,
                unkeyed=self.unkeyed,
                fallback=self.fallback,
                shadow_skipped=self.shadow_skipped,
            ),
            errors=Errors(exception=self.exception, non_finite=self.non_finite),
            bars=Bars(
                distinct=self.distinct,
                undated=self.undated,
                symbols=tuple(sorted(self.symbols)),
                first_ts=self.first_ts,
                newest_ts=self.newest_ts,
            ),
            keys=base64.b64encode(self.keys).decode(),
            score=tuple(drift.score.tolist()) if drift else (),
            classes=tuple(drift.classes.tolist()) if drift else (),
            latency=latency.snapshot(now),
            **({"features": features} if features else {}),
        )


class PairCounters:
    """Both models on the same requests in one generation."""

    def __init__(self, generation: int, stable: str, candidate: str) -> None:
        self.generation, self.stable, self.candidate = generation, stable, candidate
        self.n = self.agree = self.only_candidate_failed = self.only_stable_failed = self.positions = 0
        self.sum_abs_delta = self.sum_s = self.sum_c = self.sum_s2 = self.sum_c2 = self.sum_sc = 0.0

    def position(self, s: float, c: float) -> None:
        """Add the positions of both arms on one request."""
        self.positions += 1
        self.sum_s += s
        self.sum_c += c
        self.sum_s2 += s * s
        self.sum_c2 += c * c
        self.sum_sc += s * c

    def fold(self, other: PairCounters) -> None:
        """Add the same pair in another generation."""
        for name, value in vars(other).items():
            if name not in ("generation", "stable", "candidate"):
                setattr(self, name, getattr(self, name) + value)

    def snapshot(self) -> Pair:
        """Return the pair as it stands."""
        return Pair(
            generation=self.generation,
            stable=self.stable,
            candidate=self.candidate,
            n=self.n,
            agree=self.agree,
            sum_abs_delta=self.sum_abs_delta,
            only_candidate_failed=self.only_candidate_failed,
            only_stable_failed=self.only_stable_failed,
            positions=Positions(
                n=self.positions,
                sum_s=self.sum_s,
                sum_c=self.sum_c,
                sum_s2=self.sum_s2,
                sum_c2=self.sum_c2,
                sum_sc=self.sum_sc,
            ),
        )
