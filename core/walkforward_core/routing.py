"""The routing document: which model answers which request (contract C2).

One document per target, in the ConfigMap ``<deployment>-routing``. The operator alone writes it; servers apply whatever
is mounted and never compare generations.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import ClassVar

from walkforward_core.documents import Document, Part

__all__ = [
    "Abort",
    "Measure",
    "ModelRef",
    "OutcomeSource",
    "RolloutRef",
    "RoutingDocument",
    "SplitBy",
    "WithoutModel",
    "bucket",
    "salt_for",
]

BUCKETS = 10_000
NO_SALT = "0" * 16


class SplitBy(StrEnum):
    """Request parameter that the sticky hash is taken over."""

    CLIENT = "client"
    SYMBOL = "symbol"
    STRATEGY = "strategy"
    ID = "id"


class OutcomeSource(StrEnum):
    """The one way in which outcomes count (contract C5)."""

    RECEIPT = "Receipt"
    PRICE = "Price"


class WithoutModel(StrEnum):
    """What a server does while the document names no stable model."""

    ALLOW = "Allow"
    REFUSE = "Refuse"


class RolloutRef(Part, frozen=True, kw_only=True):
    """The ModelRollout that owns the document."""

    namespace: str
    name: str
    uid: str


class ModelRef(Part, frozen=True, kw_only=True):
    """One published bundle; ``digest`` is of ``manifest.json``, ``model`` of ``model.onnx``."""

    version: str
    uri: str
    digest: str
    model: str


class Abort(Part, frozen=True, kw_only=True):
    """An abort written into the document first; adopted only while it names the current candidate's manifest digest."""

    candidate: str
    reason: str
    at: str


class Measure(Part, frozen=True, kw_only=True):
    """How evidence is taken; durations in milliseconds, ``round_trip`` as a fraction of the traded value.

    ``slice_ms`` is a sixtieth of the latency gate's minimum duration, ``base_ms`` the label horizon, ``bar_ms`` the timeframe.
    """

    plan: str
    outcomes: OutcomeSource
    latency_ms: float
    slice_ms: int
    base_ms: int
    bar_ms: int
    round_trip: float


class RoutingDocument(Document, frozen=True, kw_only=True):
    """Everything that a server needs to know; times are RFC 3339 UTC, ``weight`` is in percent of the request keys.

    ``prove_on`` is the UID of the one pod that proves a new candidate before the others load it; None means all.
    """

    NAME: ClassVar[str] = "routing"

    generation: int
    rollout: RolloutRef
    stable: ModelRef | None = None
    candidate: ModelRef | None = None
    previous: ModelRef | None = None
    weight: int = 0
    shadow: bool = False
    split_by: SplitBy = SplitBy.CLIENT
    salt: str = NO_SALT
    without_model: WithoutModel | None = None
    prove_on: str | None = None
    evidence_from: int = 0
    exposure_not_after: str | None = None
    abort: Abort | None = None
    measure: Measure | None = None

    @property
    def on_trial(self) -> ModelRef | None:
        """The model whose evidence has the role "candidate": also after promotion, while ``previous`` is kept."""
        return self.stable if self.previous is not None else self.candidate

    @property
    def reference(self) -> ModelRef | None:
        """The model whose evidence has the role "stable", the other side of every pair."""
        return self.previous if self.previous is not None else self.stable


def bucket(key: str, salt: str) -> int:
    """Return the bucket, 0 … 9,999, of a request key; the candidate answers iff it is below ``weight * 100``.

    >>> bucket("EURUSD", "0" * 16), bucket("client-1", "0" * 16)
    (2951, 2293)
    """
    raw = hashlib.blake2b(key.encode(), key=salt.encode("ascii"), digest_size=8).digest()
    return int.from_bytes(raw, "big") % BUCKETS


def salt_for(rollout_uid: str, candidate_digest: str) -> str:
    """Return the salt of one candidate's walk: constant for its length, different for the next one."""
    return hashlib.sha256(f"{rollout_uid}/{candidate_digest}".encode()).hexdigest()[:16]
