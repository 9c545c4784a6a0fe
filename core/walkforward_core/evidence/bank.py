"""The shards of a walk's totals: one ConfigMap each, at most 32 open sources in one (contract C4).

A source stays in the shard that first took it, and is folded into that shard's ``closed``. So every fold is one write of one object,
and no crash between two writes can lose a source or count it twice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from walkforward_core.evidence.totals import Totals, source_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from walkforward_core.stats import StatsDocument

__all__ = ["OPEN_PER_SHARD", "Bank"]

OPEN_PER_SHARD: Final = 32


@dataclass(frozen=True, slots=True)
class Bank:
    """All evidence of one walk. Immutable: every change returns a new bank that shares what did not change.

    Attributes
    ----------
    shards:
        Totals, the k-th of which is banked in the k-th ConfigMap; at least one.
    """

    shards: tuple[Totals, ...]

    @classmethod
    def empty(cls, rollout_uid: str, plan: str, evidence_from: int) -> Bank:
        """Return the bank of a walk that has just begun at routing generation ``evidence_from``."""
        return cls((Totals(rollout_uid=rollout_uid, plan=plan, evidence_from=evidence_from),))

    @classmethod
    def load(cls, stored: Mapping[int, bytes], *, rollout_uid: str, plan: str, evidence_from: int) -> Bank:
        """Return the bank out of the ConfigMaps' bytes by shard number; shards of another walk count for nothing.

        Raises
        ------
        DocumentError
            A shard cannot be read.
        """
        blank = Totals(rollout_uid=rollout_uid, plan=plan, evidence_from=evidence_from)
        shards = [blank] * max([1, *(number + 1 for number in stored)])
        for number, data in stored.items():
            totals = Totals.from_gzip(data, source=f"evidence shard {number} of rollout {rollout_uid}")
            if (totals.rollout_uid, totals.plan, totals.evidence_from) == (rollout_uid, plan, evidence_from):
                shards[number] = totals
        return cls(tuple(shards))

    def absorb(self, stats: StatsDocument, *, phase_from: int) -> Bank:
        """Return the bank with one pod's answer in it; see :meth:`Totals.absorb`."""
        source = source_of(stats.pod_uid, stats.boot)
        if any(source in shard.closed.sources for shard in self.shards):
            return self
        for number, shard in enumerate(self.shards):
            if source in shard.open:
                return self._with(number, shard.absorb(stats, phase_from=phase_from))
        for number, shard in enumerate(self.shards):
            if len(shard.open) < OPEN_PER_SHARD:
                return self._with(number, shard.absorb(stats, phase_from=phase_from))
        first = self.shards[0]
        fresh = Totals(rollout_uid=first.rollout_uid, plan=first.plan, evidence_from=first.evidence_from)
        return replace(self, shards=(*self.shards, fresh.absorb(stats, phase_from=phase_from)))

    def close(self, sources: Collection[str], *, phase_from: int) -> Bank:
        """Return the bank with vanished sources folded, each in its own shard; see :meth:`Totals.close`."""
        shards = tuple(shard.close(sources, phase_from=phase_from) for shard in self.shards)
        return replace(self, shards=shards) if any(new is not old for new, old in zip(shards, self.shards, strict=True)) else self

    def vanished(self, alive: Collection[str]) -> tuple[str, ...]:
        """Return the open sources that are not ``alive``: what to close."""
        return tuple(sorted(source for source in self.open_sources if source not in alive))

    @property
    def open_sources(self) -> frozenset[str]:
        """Names of the sources that may still count on."""
        return frozenset(source for shard in self.shards for source in shard.open)

    def changed(self, banked: Bank) -> tuple[int, ...]:
        """Return the numbers of the shards that differ from what ``banked`` held: what to write."""
        known = len(banked.shards)
        return tuple(number for number, shard in enumerate(self.shards) if number >= known or shard is not banked.shards[number])

    def _with(self, number: int, totals: Totals) -> Bank:
        if totals is self.shards[number]:
            return self
        return replace(self, shards=(*self.shards[:number], totals, *self.shards[number + 1 :]))
