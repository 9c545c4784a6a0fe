"""Builders of evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from walkforward_core.bundle import FeatureReference, Null, Reference
from walkforward_core.evidence import Evidence, Scope
from walkforward_core.evidence.outcomes import merge_outcomes
from walkforward_core.gates import Context
from walkforward_core.pods import ModelRole
from walkforward_core.stats import Bars, FeatureCounts, Latency, Outcomes, Pair, Row

if TYPE_CHECKING:
    from collections.abc import Iterable

HOUR = 3_600_000


class Build:
    """Evidence and its context with everything in order; a test names what is not."""

    HOUR = HOUR

    @staticmethod
    def row(role: ModelRole, **fields: object) -> Row:
        return Row(**{"generation": 0, "version": role.value, "role": role, **fields})

    @classmethod
    def evidence(
        cls,
        *,
        stable: Row | None = None,
        candidate: Row | None = None,
        pair: Pair | None = None,
        outcomes: Outcomes | None = None,
        conflict: str = "",
    ) -> Evidence:
        """The same counts for the walk and for the phase."""
        scope = Scope(
            stable=stable or cls.row(ModelRole.STABLE),
            candidate=candidate or cls.row(ModelRole.CANDIDATE),
            pair=pair or Pair(generation=0, stable="stable", candidate="candidate"),
            conflict=conflict,
        )
        return Evidence(plan="plan", stable="stable", candidate="candidate", walk=scope, phase=scope, outcomes=outcomes, conflict=conflict)

    @classmethod
    def paired(cls, n: int, own: int = 0, stables: int = 0) -> Evidence:
        pair = Pair(generation=0, stable="stable", candidate="candidate", n=n, only_candidate_failed=own, only_stable_failed=stables)
        return cls.evidence(pair=pair)

    @classmethod
    def latency(cls, n: int, k: int, *, slices: int | None = None, k2n: float | None = None, limit_ms: float = 80.0) -> Evidence:
        """``n`` answers, ``k`` slow ones, spread evenly over the slices unless ``k2n`` says otherwise."""
        even = k * k / n if n and k2n is None else (k2n or 0.0)
        count = (min(n, 60) if slices is None else slices) if n else 0
        latency = Latency(le=(80_000.0,), counts=(n - k, k), limit_ms=limit_ms, n=n, k=k, k2n=even, slices=count)
        return cls.evidence(candidate=cls.row(ModelRole.CANDIDATE, latency=latency))

    @staticmethod
    def outcomes(drawn: Iterable[tuple[int, float, float]], *, base_ms: int = 5 * HOUR, **fields: object) -> Outcomes:
        """A table of outcomes ``(bar time, stable's return, candidate's return)``, each a table of its own, merged."""
        same = {"plan": "plan", "stable": "stable", "candidate": "candidate", "base_ms": base_ms, "matured": 1, **fields}
        return merge_outcomes(
            Outcomes(rows={str(ts // base_ms): (1.0, s, c, s * s, c * c, s * c)}, **{"newest": ts, **same}) for ts, s, c in drawn
        )

    @staticmethod
    def context(**fields: object) -> Context:
        return Context(**{"poll_age_ms": 1_000, "base_ms": 5 * HOUR, "bar_ms": HOUR, "soak_ms": 600_000, **fields})

    @staticmethod
    def feature(name: str, counts: tuple[int, ...] = (100,) * 10, *, q95: float | None = 0.1, **fields: object) -> FeatureReference:
        edges = tuple(float(edge) for edge in range(1, 10))
        null = Null(q95={"200": q95}) if q95 is not None else Null()
        return FeatureReference(**{"name": name, "edges": edges, "counts": counts, "min": 0.0, "max": 10.0, "null": null, **fields})

    @classmethod
    def reference(cls, *features: FeatureReference, null_m: float = 2.0, rows: int = 1_000) -> Reference:
        return Reference(rows=rows, null_m={"200": null_m}, features=features, score=cls.feature("score"))

    @classmethod
    def drift_row(cls, role: ModelRole, counts: list[tuple[int, ...]], *, score: tuple[int, ...] | None = None, **fields: object) -> Row:
        """A row of as many dated bars as the first feature has counts; every value within the reference's range."""
        rows = sum(counts[0]) + (fields.get("missing") or (0,))[0]
        ready = {"missing": (0,) * len(counts), "beyond": (0,) * len(counts), "min": (0.5,) * len(counts), "max": (9.5,) * len(counts)}
        features = FeatureCounts(counts=tuple(counts), **{**ready, **fields})
        bars = Bars(distinct=rows, symbols=("EURUSD",), first_ts=HOUR, newest_ts=rows * HOUR)
        return cls.row(role, bars=bars, features=features, score=score or cls.even(rows))

    @staticmethod
    def even(rows: int) -> tuple[int, ...]:
        return tuple(rows // 10 + (1 if place < rows % 10 else 0) for place in range(10))


@pytest.fixture(scope="session")
def build() -> type[Build]:
    return Build
