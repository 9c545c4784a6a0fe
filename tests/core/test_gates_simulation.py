"""Seeded simulations of the stated error rates: short, and made to fail when a safeguard is taken out.

Each safeguard was taken out once, with what then came of it (the tests' limits lie between):

- without the virtual losses 10 % of candidates worse by the margin pass (``agreeing``; with them 1 %);
- with the standard error of independent outcomes 21 % pass and 16 % of equal ones are aborted (``overlapping``; else 2 %, 1 %);
- without stable's PSI in the limit every defect that both models see is blamed on the candidate, and healthy ones fail;
- without the sanity rule a feature a hundred times too large goes unnoticed for 200 bars;
- without the dispersion 19 % of candidates exactly at the latency limit fail (else 1 %).

What a simulation this short cannot tell (the covariance of neighbouring batches, the null quantile) is held by the tests of formulae.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from walkforward_core.bundle import FeatureReference, Null, Reference, Verdict
from walkforward_core.drift import BINS
from walkforward_core.gates import GateReason, LatencyConfig, SharpeConfig, SignalKind, latency, psi, sharpe
from walkforward_core.gates.paired import outcomes_needed
from walkforward_core.pods import ModelRole
from walkforward_core.stats import Outcomes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

HOUR = 3_600_000


def garch_t4(rng: np.random.Generator, paths: int, n: int) -> Floats:
    """Returns of shape (paths, n): GARCH(1,1) with Student t (4) shocks, unit variance on average."""
    shocks = rng.standard_t(4, (paths, n)) / math.sqrt(2.0)
    variance, out = np.ones(paths), np.empty((paths, n))
    for t in range(n):
        out[:, t] = np.sqrt(variance) * shocks[:, t]
        variance = 0.05 + 0.08 * np.minimum(out[:, t] ** 2, 50.0) + 0.87 * variance
    return out


# --- paired Sharpe -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """Two models with positions in {-1, 0, 1} that persist; the candidate takes stable's with probability ``rho`` at every bar."""

    margin: float
    rho: float
    horizon: int
    persistence: float = 0.9

    def paths(self, seed: int, paths: int, n: int, theta: float) -> tuple[Floats, Floats]:
        """Outcomes of both arms, (paths, n), on overlapping labels; what ``theta`` costs is lost where the models disagree."""
        rng = np.random.default_rng(seed)
        total = np.cumsum(np.pad(garch_t4(rng, paths, n + self.horizon), ((0, 0), (1, 0))), axis=1)
        label = total[:, self.horizon : self.horizon + n] - total[:, :n]
        stable, other = self._positions(rng, paths, n), self._positions(rng, paths, n)
        candidate = np.where(rng.random((paths, n)) < self.rho, stable, other)
        r_s, r_c, differ = stable * label, candidate * label, stable != candidate
        return r_s, r_c + theta * r_s.std() * differ / differ.mean()

    def _positions(self, rng: np.random.Generator, paths: int, n: int) -> NDArray[np.int64]:
        fresh = rng.random((paths, n)) >= self.persistence
        fresh[:, 0] = True
        since = np.maximum.accumulate(np.where(fresh, np.arange(n), 0), axis=1)
        return np.take_along_axis(rng.integers(-1, 2, (paths, n)), since, axis=1)

    def rates(self, build: Any, theta: float, *, paths: int = 200) -> dict[Verdict, float]:
        """First verdicts over some 30 looks up to 2.5 n*, as shares of the paths."""
        needed = outcomes_needed(self.margin, self.horizon, rho=self.rho)
        looks = np.unique(np.geomspace(32 * self.horizon, 2.5 * needed, 30).astype(int)).tolist()
        found = dict.fromkeys(Verdict, 0)
        for r_s, r_c in zip(*self.paths(1, paths, looks[-1], theta), strict=True):
            found[self._first(build, r_s, r_c, looks)] += 1
        return {verdict: count / paths for verdict, count in found.items()}

    def _first(self, build: Any, r_s: Floats, r_c: Floats, looks: list[int]) -> Verdict:
        context = build.context(base_ms=self.horizon * HOUR, bar_ms=HOUR)
        for n in looks:
            evidence = build.evidence(outcomes=table(r_s[:n], r_c[:n], self.horizon))
            verdict = sharpe.judge(SharpeConfig(margin=self.margin), evidence, context).verdict
            if verdict is not Verdict.NO_DATA:
                return verdict
        return Verdict.NO_DATA


def table(r_s: Floats, r_c: Floats, horizon: int) -> Outcomes:
    """The table that a server would hold, one outcome a bar; made by numpy, as thousands are needed."""
    n, key, level = len(r_s), np.arange(len(r_s)) // horizon, 0
    while key[-1] + 1 >= 128:
        key, level = key >> 1, level + 1
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    sums = np.add.reduceat(np.stack([np.ones(n), r_s, r_c, r_s**2, r_c**2, r_s * r_c], axis=1), starts, axis=0)
    rows = {str(k): tuple(row) for k, row in zip(key[starts].tolist(), sums.tolist(), strict=True)}
    return Outcomes(plan="plan", stable="stable", candidate="candidate", base_ms=horizon * HOUR, level=level, rows=rows, newest=n * HOUR)


agreeing = Cell(margin=0.1, rho=0.9, horizon=5)
overlapping = Cell(margin=0.1, rho=0.6, horizon=12)


@pytest.mark.parametrize("cell", [agreeing, overlapping], ids=["agreeing", "overlapping"])
def test_at_most_one_in_twenty_passes_though_worse_by_the_margin(build: Any, cell: Cell) -> None:
    assert cell.rates(build, -cell.margin)[Verdict.PASS] <= 0.05


def test_candidates_worse_by_twice_the_margin_are_aborted(build: Any) -> None:
    rates = agreeing.rates(build, -0.2)
    assert rates[Verdict.PASS] <= 0.01
    assert rates[Verdict.FAIL] >= 0.87


@pytest.mark.parametrize(("cell", "power"), [(agreeing, 0.92), (overlapping, 0.6)], ids=["agreeing", "overlapping"])
def test_equal_candidates_pass_and_are_hardly_ever_aborted(build: Any, cell: Cell, power: float) -> None:
    rates = cell.rates(build, 0.0)
    assert rates[Verdict.PASS] >= power
    assert rates[Verdict.FAIL] <= 0.023


# --- drift -------------------------------------------------------------------------------------------------------------------------


def features(rng: np.random.Generator, n: int) -> Floats:
    """Eight features of one GARCH path, (n, 8): returns, momenta, volatilities and z-scores over rolling windows."""
    warm = 100
    r = garch_t4(rng, 1, n + warm)[0]
    price = np.cumsum(r)

    def rolling(x: Floats, w: int) -> Floats:
        total = np.cumsum(np.pad(x, (1, 0)))
        return (total[w:] - total[:-w])[-n:] / w

    deviation = {w: np.sqrt(np.maximum(rolling(price**2, w) - rolling(price, w) ** 2, 1e-12)) for w in (20, 50)}
    columns = [r[-n:], *(price[-n:] - price[-n - w : -w] for w in (5, 20)), *(np.sqrt(rolling(r**2, w)) for w in (10, 50))]
    columns += [(price[-n:] - rolling(price, w)) / deviation[w] for w in (20, 50)]
    columns.append(rolling(np.sign(r), 14))
    return np.stack(columns, axis=1)


def reference(x: Floats) -> Reference:
    """Frozen bins and null bands, straight from the definition: windows of W every W/4 rows against the rest."""
    edges = np.quantile(x, np.arange(1, BINS) / BINS, axis=0)
    hits = np.stack([np.eye(BINS)[np.searchsorted(edges[:, f], x[:, f], side="right")] for f in range(x.shape[1])], axis=1)
    seen = np.cumsum(np.concatenate([np.zeros((1, *hits.shape[1:])), hits]), axis=0)
    null: dict[int, Floats] = {}
    for w in (50, 100, 200):
        start = np.arange(0, len(x) - w + 1, w // 4)
        inside = seen[start + w] - seen[start]
        p, q = ((c + 0.5) / (c.sum(axis=-1, keepdims=True) + 5) for c in (inside, seen[-1] - inside))
        null[w] = ((p - q) * np.log(p / q)).sum(axis=-1)
    q95 = {w: np.quantile(values, 0.95, axis=0) for w, values in null.items()}
    made = [
        FeatureReference(
            name=f"f{f}",
            edges=tuple(edges[:, f].tolist()),
            counts=tuple(seen[-1, f].astype(int).tolist()),
            min=float(x[:, f].min()),
            max=float(x[:, f].max()),
            null=Null(q95={str(w): float(values[f]) for w, values in q95.items()}),
        )
        for f in range(x.shape[1])
    ]
    worst = {str(w): float((null[w] / q95[w]).max()) for w in null}
    return Reference(
        rows=len(x),
        null_m=worst,
        features=tuple(made),
        score=FeatureReference(name="score", edges=(0.5,) * 9, counts=(1,) * 10, null=made[0].null),
    )


def live(build: Any, role: ModelRole, frozen: Reference, x: Floats) -> Any:
    """What pods count over rows ``x``; the score stays like its reference."""
    low = np.array([2 * feature.min - feature.max for feature in frozen.features])
    high = np.array([2 * feature.max - feature.min for feature in frozen.features])
    bins = [np.searchsorted(feature.edges, x[:, f], side="right") for f, feature in enumerate(frozen.features)]
    return build.drift_row(
        role,
        [tuple(np.bincount(one, minlength=BINS).tolist()) for one in bins],
        beyond=tuple(((x < low) | (x > high)).sum(axis=0).tolist()),
        min=tuple(x.min(axis=0).tolist()),
        max=tuple(x.max(axis=0).tolist()),
        missing=(0,) * x.shape[1],
    )


@pytest.fixture(scope="module")
def worlds() -> list[tuple[Reference, Reference, Floats]]:
    """Forty markets: the candidate's reference, stable's (6 % of its rows older), and 1,000 live rows after both."""
    made = []
    for seed in range(40):
        x = features(np.random.default_rng(seed), 5_120)
        made.append((reference(x[120:4_120]), reference(x[:4_000]), x[4_120:]))
    return made


def look(build: Any, world: tuple[Reference, Reference, Floats], w: int, *, theirs: Floats | None = None, both: bool = False) -> Any:
    candidate, stable, rows = world
    seen = rows[:w] if theirs is None else theirs[:w]
    evidence = build.evidence(
        candidate=live(build, ModelRole.CANDIDATE, candidate, seen),
        stable=live(build, ModelRole.STABLE, stable, seen if both else rows[:w]),
    )
    context = build.context(candidate_reference=candidate, stable_reference=stable)
    return psi.judge(psi.PsiConfig(), evidence, context)


LOOKS = (200, 350, 500, 1_000)


def test_healthy_candidates_pass_the_drift_gate_though_a_fixed_limit_would_always_fire(build: Any, worlds: list) -> None:
    failed, market, fixed = 0, 0, 0
    for world in worlds:
        results = [look(build, world, w) for w in LOOKS]
        failed += any(result.verdict is Verdict.FAIL for result in results)
        market += any(signal.kind is SignalKind.MARKET_DRIFT for result in results for signal in result.signals)
        counts = live(build, ModelRole.CANDIDATE, world[0], world[2][:500]).features.counts
        from walkforward_core.drift import psi as level

        fixed += any(level(live_counts, frozen.counts) > 0.2 for live_counts, frozen in zip(counts, world[0].features, strict=True))
        assert results[-1].verdict is not Verdict.NO_DATA
    assert failed / len(worlds) <= 0.05
    assert market / len(worlds) <= 0.10
    assert fixed / len(worlds) >= 0.9


@pytest.mark.parametrize(
    ("defect", "w", "power"),
    [("zeros", 200, 0.9), ("hundredfold", 50, 0.9), ("shift", 500, 0.7)],
)
def test_a_defect_of_the_candidates_inputs_is_found(build: Any, worlds: list, defect: str, w: int, power: float) -> None:
    found = total = 0
    for number, world in enumerate(worlds):
        rows, feature = world[2].copy(), number % 8
        column = rows[:, feature]
        rows[:, feature] = {"zeros": column * 0, "hundredfold": column * 100, "shift": column + world[2][:, feature].std()}[defect]
        result = look(build, world, w, theirs=rows)
        found += result.verdict is Verdict.FAIL
        total += 1
    assert found / total >= power


def test_a_defect_that_both_models_see_is_not_the_candidates_fault(build: Any, worlds: list) -> None:
    blamed = noticed = 0
    for number, world in enumerate(worlds):
        rows = world[2].copy()
        rows[:, number % 8] *= 100
        result = look(build, world, 500, theirs=rows, both=True)
        blamed += result.verdict is Verdict.FAIL
        noticed += result.reason is GateReason.INPUTS_BROKEN
    assert blamed == 0
    assert noticed / len(worlds) >= 0.8


# --- latency -----------------------------------------------------------------------------------------------------------------------


def latency_rates(build: Any, share: float, *, paths: int = 200) -> dict[Verdict, float]:
    """First verdicts over 30 min in slices of 10 s with 20 answers each; stalls of 2 s slow down whatever falls into them."""
    rng = np.random.default_rng(7)
    stalled = rng.random((paths, 180, 5)) < share
    k = np.take_along_axis(stalled, rng.integers(0, 5, (paths, 180, 20)), axis=2).sum(axis=2)
    total, squares = np.cumsum(k, axis=1), np.cumsum(k**2 / 20, axis=1)
    found = dict.fromkeys(Verdict, 0)
    for path in range(paths):
        verdict = Verdict.NO_DATA
        for slices in range(12, 181, 4):
            evidence = build.latency(20 * slices, int(total[path, slices - 1]), slices=slices, k2n=float(squares[path, slices - 1]))
            verdict = latency.judge(LatencyConfig(), evidence, build.context(soak_ms=10_000 * slices)).verdict
            if verdict is not Verdict.NO_DATA:
                break
        found[verdict] += 1
    return {verdict: count / paths for verdict, count in found.items()}


@pytest.mark.parametrize(
    ("share", "fails", "passes"),
    [
        (0.01, (0.0, 0.0), (0.99, 1.0)),
        (0.025, (0.0, 0.01), (0.85, 1.0)),
        (0.05, (0.0, 0.08), (0.0, 0.10)),
        (0.10, (0.97, 1.0), (0.0, 0.0)),
    ],
)
def test_latency_decides_as_published(build: Any, share: float, fails: tuple[float, float], passes: tuple[float, float]) -> None:
    rates = latency_rates(build, share)
    assert fails[0] <= rates[Verdict.FAIL] <= fails[1], rates
    assert passes[0] <= rates[Verdict.PASS] <= passes[1], rates
