"""One model's live counts beside its own frozen reference, by feature name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from walkforward_core.drift import BINS, NULL_SLACK, NullCurve, edges_digest, psi

if TYPE_CHECKING:
    from walkforward_core.bundle import FeatureReference, Reference
    from walkforward_core.stats import Row

__all__ = ["SCORE", "Arm", "Broken", "Kind", "SanityLimits"]

SCORE: Final = "score"
"""Name under which the model's output is compared; no feature may have it."""

_MOST: Final = 0.5
"""A bin that holds this share of the reference may well hold all of a short window."""


class Kind(StrEnum):
    """What is wrong with the live values of a feature."""

    BEYOND = "beyond"
    CONSTANT = "constant"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class SanityLimits:
    """Shares of rows: beyond the reference's range on either side, and NaN above twice the reference's own share."""

    beyond: float
    missing: float
    samples: int


@dataclass(frozen=True, slots=True)
class Broken:
    """A feature whose live values the model was not trained on: ``share`` of rows against ``limit``."""

    name: str
    kind: Kind
    share: float
    limit: float


@dataclass(frozen=True, slots=True)
class Arm:
    """Counts and reference of one arm; ``index`` maps names of features to their place."""

    row: Row
    reference: Reference
    index: dict[str, int]

    @classmethod
    def of(cls, row: Row, reference: Reference) -> Arm:
        """Return the arm.

        Raises
        ------
        ValueError
            The counts were not taken over this reference; the message says how they differ.
        """
        names, counts = [feature.name for feature in reference.features], row.features
        lengths = {len(counts.counts), len(counts.missing), len(counts.beyond), len(counts.min), len(counts.max)}
        if lengths != {len(names)}:
            raise ValueError(f"{row.role} {row.version}: pods count {sorted(lengths)} features, its reference has {len(names)}")
        if counts.edges_digest and counts.edges_digest != (own := edges_digest(reference)):
            raise ValueError(f"{row.role} {row.version}: pods count over bins {counts.edges_digest[:15]}…, its reference has {own[:15]}…")
        if len(row.score) != BINS:
            raise ValueError(f"{row.role} {row.version}: pods count the score in {len(row.score)} bins, its reference has {BINS}")
        return cls(row, reference, {name: place for place, name in enumerate(names)})

    def names(self) -> list[str]:
        """Return the features in the reference's order, the score last."""
        return [*self.index, SCORE]

    def psi(self, name: str) -> float:
        """Return the PSI of a feature, or of the score, against the arm's own reference."""
        return psi(self.row.score if name == SCORE else self.row.features.counts[self.index[name]], self._reference(name).counts)

    def quantile(self, name: str, w: int) -> float | None:
        """Return the frozen null quantile q95(W); None when the reference has none."""
        return NullCurve.of(self._reference(name).null.q95, self.reference.rows).quantile(w)

    def broad_quantile(self, name: str, w: int) -> float | None:
        """Return 1.25·M(W)·q95(W), which no feature of a healthy window exceeds; None when the reference has none."""
        quantile, factor = self.quantile(name, w), NullCurve.of(self.reference.null_m, self.reference.rows).factor(w)
        return None if quantile is None or factor is None else NULL_SLACK * factor * quantile

    def broken(self, name: str, limits: SanityLimits) -> Broken | None:
        """Return what is wrong with the live values of a feature at a glance, if anything (`docs/reference/gates.md`, psi, rule 1)."""
        place, frozen, live = self.index[name], self._reference(name), self.row.features
        counted, missing = sum(live.counts[place]), live.missing[place]
        if counted + missing < limits.samples:
            return None
        rows = sum(frozen.counts) + frozen.missing
        allowed = min(1.0, limits.missing + 2.0 * (frozen.missing / rows if rows else 0.0))
        if (share := missing / (counted + missing)) > allowed:
            return Broken(name, Kind.MISSING, share, allowed)
        if counted < limits.samples:
            return None
        if (share := live.beyond[place] / counted) > limits.beyond:
            return Broken(name, Kind.BEYOND, share, limits.beyond)
        low, high = live.min[place], live.max[place]
        if low is not None and low == high and frozen.min < frozen.max and self._usual(place, frozen) < _MOST:
            return Broken(name, Kind.CONSTANT, 1.0, 1.0)
        return None

    def _usual(self, place: int, frozen: FeatureReference) -> float:
        """Return the reference's share of the bins that hold live values."""
        rows = sum(frozen.counts)
        held = sum(base for count, base in zip(self.row.features.counts[place], frozen.counts, strict=True) if count)
        return held / rows if rows else 1.0

    def _reference(self, name: str) -> FeatureReference:
        return self.reference.score if name == SCORE else self.reference.features[self.index[name]]
