"""The banked form of the evidence of one walk: what survives pods and the operator (contract C4).

Every snapshot of a source (pod UID and boot) holds all that it has counted, so a newer one replaces an older one and the total is a
plain sum. A source that has vanished is folded into ``closed`` once, and its name stays there: what arrives late counts no more.
Generations before the phase add up in generation 0, so that the size does not grow with the number of documents written.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, ClassVar, Final

from msgspec import structs

from walkforward_core.documents import Document, Part
from walkforward_core.errors import DocumentError, WalkforwardError
from walkforward_core.evidence.outcomes import merge_outcomes
from walkforward_core.evidence.rows import merge_pairs, merge_rows
from walkforward_core.stats import Outcomes, Pair, Row, StatsDocument

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = ["LIMIT", "Closed", "Counts", "EvidenceFull", "Snapshot", "Totals", "source_of"]

LIMIT: Final = 900 * 1024
"""Bytes of one gzipped document; a ConfigMap holds 1 MiB, names and labels included."""
_INFLATED: Final = 64 * 1024 * 1024
_GZIP: Final = 31
"""zlib's word for: gzip header, largest window."""


class EvidenceFull(WalkforwardError):  # noqa: N818 - the condition of the same name
    """The evidence of a walk no longer fits where it is banked; promotion holds."""


class Counts(Part, frozen=True, kw_only=True):
    """What was counted for this walk, one entry a key (:func:`walkforward_core.evidence.rows.row_key`)."""

    rows: tuple[Row, ...] = ()
    pairs: tuple[Pair, ...] = ()
    outcomes: tuple[Outcomes, ...] = ()


class Snapshot(Counts, frozen=True, kw_only=True):
    """Everything that one source has counted, as of ``seq``."""

    seq: int


class Closed(Counts, frozen=True, kw_only=True):
    """The sum over the last snapshots of the sources that are gone, and their names."""

    sources: tuple[str, ...] = ()


class Totals(Document, frozen=True, kw_only=True):
    """Evidence of one walk: a rollout, a plan, and the generation ``evidence_from`` at which the walk began."""

    NAME: ClassVar[str] = "evidence"

    rollout_uid: str
    plan: str
    evidence_from: int
    closed: Closed = Closed()
    open: dict[str, Snapshot] = {}

    def absorb(self, stats: StatsDocument, *, phase_from: int) -> Totals:
        """Return the totals with a poll's answer in them; ``self`` where it is not newer. Closed sources the bank keeps away.

        Rows of generations before the walk (and the server's own fold, generation 0) do not belong to it; neither do outcomes of
        another plan. Rows of the walk before generation ``phase_from`` are added up in generation 0.
        """
        source = source_of(stats.pod_uid, stats.boot)
        known = self.open.get(source)
        if known is not None and known.seq >= stats.seq:
            return self
        snapshot = Snapshot(
            seq=stats.seq,
            rows=merge_rows(_fold(self._of_the_walk(stats.rows), phase_from)),
            pairs=merge_pairs(_fold_pairs([pair for pair in stats.pairs if pair.generation >= max(self.evidence_from, 1)], phase_from)),
            outcomes=_merge_outcomes(table for table in stats.outcomes if table.plan == self.plan),
        )
        return structs.replace(self, open={**self.open, source: snapshot})

    def close(self, sources: Collection[str], *, phase_from: int) -> Totals:
        """Return the totals with vanished ``sources`` folded into ``closed``; one already there, or unknown, changes nothing."""
        going = sorted(source for source in set(sources) if source in self.open)
        if not going:
            return self
        parts: list[Counts] = [self.closed, *(self.open[source] for source in going)]
        closed = Closed(
            sources=tuple(sorted({*self.closed.sources, *going})),
            rows=merge_rows(_fold([row for part in parts for row in part.rows], phase_from)),
            pairs=merge_pairs(_fold_pairs([pair for part in parts for pair in part.pairs], phase_from)),
            outcomes=_merge_outcomes(table for part in parts for table in part.outcomes),
        )
        return structs.replace(self, closed=closed, open={name: snapshot for name, snapshot in self.open.items() if name not in going})

    def to_gzip(self) -> bytes:
        """Return the bytes to bank, the same for the same totals.

        Raises
        ------
        EvidenceFull
            More than :data:`LIMIT` bytes.
        """
        ordered = structs.replace(self, open=dict(sorted(self.open.items())))
        packer = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
        data = packer.compress(ordered.to_bytes()) + packer.flush()
        if len(data) > LIMIT:
            raise EvidenceFull(
                f"evidence of rollout {self.rollout_uid}, plan {self.plan}: {len(data)} bytes gzipped from {len(self.open)} open and "
                f"{len(self.closed.sources)} closed sources, at most {LIMIT} fit into a ConfigMap; run fewer pods or restart the walk"
            )
        return data

    @classmethod
    def from_gzip(cls, data: bytes, *, source: str) -> Totals:
        """Return what :meth:`to_gzip` wrote; ``source`` names the ConfigMap in errors.

        Raises
        ------
        DocumentError
            Not gzip, cut short, too large when unpacked, or not such a document.
        """
        unpacker = zlib.decompressobj(_GZIP)
        try:
            text = unpacker.decompress(data, _INFLATED)
        except zlib.error as error:
            raise DocumentError(f"{source}: {error}; delete the ConfigMap, the walk then counts from the running pods") from error
        if not unpacker.eof:
            raise DocumentError(
                f"{source}: cut short or above {_INFLATED} bytes; delete the ConfigMap, the walk then counts from the running pods"
            )
        return cls.parse(text, source=source)

    def _of_the_walk(self, rows: Iterable[Row]) -> list[Row]:
        # generation 0 of a server is its own fold of old generations: whose they were is not known
        return [row for row in rows if row.generation >= max(self.evidence_from, 1)]


def source_of(pod_uid: str, boot: str) -> str:
    """Return the name of a source of evidence."""
    return f"{pod_uid}/{boot}"


def _fold(rows: list[Row], phase_from: int) -> list[Row]:
    return [structs.replace(row, generation=0) if 0 < row.generation < phase_from else row for row in rows]


def _fold_pairs(pairs: list[Pair], phase_from: int) -> list[Pair]:
    return [structs.replace(pair, generation=0) if 0 < pair.generation < phase_from else pair for pair in pairs]


def _merge_outcomes(tables: Iterable[Outcomes]) -> tuple[Outcomes, ...]:
    groups: dict[tuple[str, str, str, int], list[Outcomes]] = {}
    for table in tables:
        groups.setdefault((table.plan, table.stable, table.candidate, table.base_ms), []).append(table)
    return tuple(merge_outcomes(groups[key]) for key in sorted(groups))
