"""Cumulative statistics of one server process, ``GET /v1/stats`` (contract C4).

Every number counts since the process started (``boot``) and only grows, so a merge is the sum over sources
(pod UID, boot) of the highest ``seq``: idempotent and independent of the order in which snapshots arrive.
"""

from __future__ import annotations

from typing import ClassVar

from walkforward_core.documents import Document, Part
from walkforward_core.pods import ModelRole

__all__ = ["Bars", "Errors", "FeatureCounts", "Latency", "Outcomes", "Pair", "Positions", "Requests", "Row", "StatsDocument"]

MAX_LEVEL = 40
"""Batches of 2^40 horizons: longer than any market has been open."""
MAX_KEY = 20


class Requests(Part, frozen=True, kw_only=True):
    """Requests that this model answered (``exposed``) or was scored on beside the answer (``shadow``)."""

    exposed: int = 0
    shadow: int = 0
    unkeyed: int = 0
    fallback: int = 0
    shadow_skipped: int = 0


class Errors(Part, frozen=True, kw_only=True, rename="pascal"):
    """Scores that failed: raised, or not a finite number."""

    exception: int = 0
    non_finite: int = 0


class Bars(Part, frozen=True, kw_only=True):
    """Distinct (symbol, bar) rows that drift counts are taken over; times in epoch milliseconds of the market."""

    distinct: int = 0
    undated: int = 0
    symbols: tuple[str, ...] = ()
    first_ts: int = 0
    newest_ts: int = 0


class FeatureCounts(Part, frozen=True, kw_only=True):
    """Counts per feature in the manifest's order, over the frozen bins of the reference (contract C7)."""

    edges_digest: str = ""
    counts: tuple[tuple[int, ...], ...] = ()
    missing: tuple[int, ...] = ()
    beyond: tuple[int, ...] = ()
    min: tuple[float | None, ...] = ()
    max: tuple[float | None, ...] = ()


class Latency(Part, frozen=True, kw_only=True):
    """Exposed requests only. ``le`` in microseconds, ``counts`` has one more for +Inf; ``n, k, k2n`` sum closed slices.

    Per closed slice i with n_i > 0 requests of which k_i took longer than ``limit_ms``: n = Σn_i, k = Σk_i, k2n = Σk_i²/n_i.
    """

    le: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    limit_ms: float = 0.0
    n: int = 0
    k: int = 0
    k2n: float = 0.0
    slices: int = 0


class Row(Part, frozen=True, kw_only=True):
    """One model in one routing generation; ``keys`` is base64 of a 256-byte bitmap, bit = bucket mod 2048."""

    generation: int
    version: str
    role: ModelRole
    requests: Requests = Requests()
    errors: Errors = Errors()
    bars: Bars = Bars()
    keys: str = ""
    features: FeatureCounts = FeatureCounts()
    score: tuple[int, ...] = ()
    classes: tuple[int, ...] = ()
    latency: Latency = Latency()


class Positions(
    Part, frozen=True, kw_only=True, rename={"sum_s": "sumS", "sum_c": "sumC", "sum_s2": "sumS2", "sum_c2": "sumC2", "sum_sc": "sumSC"}
):
    """Sums of both arms' positions on the same requests."""

    n: int = 0
    sum_s: float = 0.0
    sum_c: float = 0.0
    sum_s2: float = 0.0
    sum_c2: float = 0.0
    sum_sc: float = 0.0


class Pair(Part, frozen=True, kw_only=True):
    """Both models on the same requests in one generation; ``agree`` counts equal decisions."""

    generation: int
    stable: str
    candidate: str
    n: int = 0
    agree: int = 0
    sum_abs_delta: float = 0.0
    only_candidate_failed: int = 0
    only_stable_failed: int = 0
    positions: Positions = Positions()


class Outcomes(Part, frozen=True, kw_only=True):
    """Matured outcomes of a pair under one plan, in batches of market time.

    ``rows[key] = (n, Σr_s, Σr_c, Σr_s², Σr_c², Σr_s·r_c)``, key = floor(bar time of the prediction / (base_ms · 2^level)).
    """

    plan: str
    stable: str
    candidate: str
    base_ms: int
    level: int = 0
    rows: dict[str, tuple[float, float, float, float, float, float]] = {}
    newest: int = 0
    matured: int = 0
    duplicate: int = 0
    expired: int = 0
    rejected: int = 0
    evicted: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be merged: keys that are no integers, levels that no table reaches."""
        if not 0 <= self.level <= MAX_LEVEL:
            raise ValueError(f"level {self.level} of outcomes is outside 0 … {MAX_LEVEL}")
        for key in self.rows:
            if not key.removeprefix("-").isdecimal() or len(key) > MAX_KEY:
                raise ValueError(f"batch key {key[:40]!r} of outcomes is no integer of at most {MAX_KEY} digits")


class StatsDocument(Document, frozen=True, kw_only=True):
    """Everything that one process has counted; ``versions`` are bundle versions."""

    NAME: ClassVar[str] = "stats"

    pod_uid: str
    boot: str
    seq: int
    rows: tuple[Row, ...] = ()
    pairs: tuple[Pair, ...] = ()
    outcomes: tuple[Outcomes, ...] = ()
