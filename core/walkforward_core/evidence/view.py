"""Evidence as the gates read it: everything that was banked and polled, merged (contract C4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec import structs

from walkforward_core import drift
from walkforward_core.evidence.outcomes import merge_outcomes
from walkforward_core.evidence.rows import merge_pairs, total
from walkforward_core.pods import ModelRole
from walkforward_core.stats import FeatureCounts, Pair, Row

if TYPE_CHECKING:
    from collections.abc import Iterable

    from walkforward_core.evidence.bank import Bank
    from walkforward_core.evidence.totals import Counts
    from walkforward_core.stats import Outcomes

__all__ = ["Evidence", "Scope"]


@dataclass(frozen=True, slots=True)
class Scope:
    """What both arms and their pair counted over one span of generations.

    Attributes
    ----------
    stable, candidate:
        Sums over all sources; an empty row where nothing was counted.
    pair:
        Requests on which both models were asked; an empty pair where there were none.
    conflict:
        Why the sums must not be judged (pods counted over different bins or limits); empty when they may.
    """

    stable: Row
    candidate: Row
    pair: Pair
    conflict: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The merged, read-only evidence of one candidate against one stable model under one plan.

    Attributes
    ----------
    walk:
        Since ``evidenceFrom``: drift and paired counts.
    phase:
        Generations of the phase: latency and errors. Drift counts are left out, they are judged over the walk.
    outcomes:
        Matured outcomes of the pair under the plan, or None.
    conflict:
        Why ``outcomes`` must not be judged; empty when they may.
    sources:
        Number of (pod, boot) that counted.
    """

    plan: str
    stable: str
    candidate: str
    walk: Scope
    phase: Scope
    outcomes: Outcomes | None = None
    conflict: str = ""
    sources: int = 0

    @classmethod
    def of(cls, bank: Bank, *, stable: str, candidate: str, first: int, last: int) -> Evidence:
        """Return the evidence in ``bank`` for a pair of versions.

        Parameters
        ----------
        bank:
            Everything banked and polled.
        stable, candidate:
            Versions by role: ``candidate`` is the model on trial, also after promotion.
        first, last:
            First and last routing generation of the phase, both inclusive.
        """
        # in the order of names, so that sums of floats come out the same to the last bit
        open_parts = {source: snapshot for shard in bank.shards for source, snapshot in shard.open.items()}
        parts: list[Counts] = [*(shard.closed for shard in bank.shards), *(open_parts[source] for source in sorted(open_parts))]
        rows = [row for part in parts for row in part.rows]
        pairs = [pair for part in parts for pair in part.pairs if (pair.stable, pair.candidate) == (stable, candidate)]
        walk = _scope(rows, pairs, stable, candidate)
        # features are nine tenths of a row and of the work of adding it
        in_phase = [structs.replace(row, features=FeatureCounts(), score=(), classes=()) for row in rows if first <= row.generation <= last]
        phase = _scope(in_phase, [pair for pair in pairs if first <= pair.generation <= last], stable, candidate)
        tables = [table for part in parts for table in part.outcomes if (table.stable, table.candidate) == (stable, candidate)]
        outcomes, conflict = _outcomes(tables)
        sources = sum(len(shard.open) + len(shard.closed.sources) for shard in bank.shards)
        return cls(
            plan=bank.shards[0].plan,
            stable=stable,
            candidate=candidate,
            walk=walk,
            phase=phase,
            outcomes=outcomes,
            conflict=conflict,
            sources=sources,
        )

    @property
    def newest_ts(self) -> int:
        """Newest market time seen on any request of the walk, epoch milliseconds; 0 before the first."""
        return max(self.walk.stable.bars.newest_ts, self.walk.candidate.bars.newest_ts)

    @property
    def symbols(self) -> int:
        """Number of symbols that requests named, at least 1."""
        return max(1, len(self.walk.candidate.bars.symbols), len(self.walk.stable.bars.symbols))

    def distinct_bars(self, bar_ms: int) -> int:
        """Return W, the distinct (symbol, bar) rows on which both arms were counted (:func:`walkforward_core.drift.window`)."""
        arms = (self.walk.stable.bars, self.walk.candidate.bars)
        return min(drift.window(bars.distinct, bars.first_ts, bars.newest_ts, bar_ms, len(bars.symbols)) for bars in arms)


def _scope(rows: Iterable[Row], pairs: list[Pair], stable: str, candidate: str) -> Scope:
    rows = list(rows)
    arms, conflict = [], ""
    for role, version in ((ModelRole.STABLE, stable), (ModelRole.CANDIDATE, candidate)):
        empty = Row(generation=0, version=version, role=role)
        try:
            arms.append(total(row for row in rows if row.role == role and row.version == version) or empty)
        except ValueError as error:
            arms.append(empty)
            conflict = conflict or str(error)
    merged = merge_pairs(structs.replace(pair, generation=0) for pair in pairs)
    pair = merged[0] if merged else Pair(generation=0, stable=stable, candidate=candidate)
    return Scope(stable=arms[0], candidate=arms[1], pair=pair, conflict=conflict)


def _outcomes(tables: list[Outcomes]) -> tuple[Outcomes | None, str]:
    if not tables:
        return None, ""
    try:
        return merge_outcomes(tables), ""
    except ValueError as error:
        return None, str(error)
