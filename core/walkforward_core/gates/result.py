"""What a gate is given and what it answers; the same for every gate."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from walkforward_core.bundle import Verdict

if TYPE_CHECKING:
    from walkforward_core.bundle import Manifest, Reference

__all__ = ["Context", "GateReason", "GateResult", "Signal", "SignalKind", "stale"]


class GateReason(StrEnum):
    """Why a gate says what it says."""

    # NoData of any gate
    NO_EVIDENCE = "NoEvidence"
    TOO_FEW_SAMPLES = "TooFewSamples"
    STALE_EVIDENCE = "StaleEvidence"
    INCONSISTENT_EVIDENCE = "InconsistentEvidence"
    UNDECIDED = "Undecided"
    # psi
    DRIFT_WITHIN_LIMIT = "DriftWithinLimit"
    CANDIDATE_DRIFT = "CandidateDrift"
    OUT_OF_RANGE = "OutOfRange"
    CONSTANT_INPUT = "ConstantInput"
    MISSING_INPUT = "MissingInput"
    INPUTS_BROKEN = "InputsBroken"
    MARKET_DRIFT = "MarketDrift"
    REFERENCE_MISSING = "ReferenceMissing"
    NULL_BANDS_MISSING = "NullBandsMissing"
    # sharpe
    NOT_WORSE = "NotWorse"
    PASSED_BEFORE = "PassedBefore"
    HARM = "Harm"
    NO_HARM_SEEN = "NoHarmSeen"
    NO_VARIANCE = "NoVariance"
    # latency
    FAST_ENOUGH = "FastEnough"
    TOO_SLOW = "TooSlow"
    SOAK_TOO_SHORT = "SoakTooShort"
    # errorRate
    ERRORS_WITHIN_LIMIT = "ErrorsWithinLimit"
    OWN_ERRORS = "OwnErrors"
    # offlineAuc
    METRIC_REACHED = "MetricReached"
    METRIC_MISSED = "MetricMissed"
    METRIC_MISSING = "MetricMissing"


class SignalKind(StrEnum):
    """What a gate noticed that is no verdict on the candidate."""

    MARKET_DRIFT = "MarketDrift"
    """Both arms drift from their own references: a condition, a metric, a retrain trigger."""
    SATURATED = "Saturated"
    """Stable drifts so far that its candidate can no longer be compared on these features."""
    INPUTS_BROKEN = "InputsBroken"
    """Both arms see values that neither was trained on."""
    MARGIN_TOO_WIDE = "MarginTooWide"
    """The margin exceeds half of what stable earned offline."""
    HARM_UNDETECTABLE = "HarmUndetectable"
    """Too few outcomes for any harm to show yet."""


@dataclass(frozen=True, slots=True)
class Signal:
    """Something noticed beside the verdict; ``subjects`` are features, ``value`` is the largest number behind it."""

    kind: SignalKind
    message: str
    value: float | None = None
    subjects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Context:
    """Everything that a gate needs beside the evidence; times in milliseconds.

    Attributes
    ----------
    poll_age_ms:
        Age of the newest complete poll of the pods; None when there was none yet.
    max_poll_age_ms:
        Oldest poll on which a gate may still Pass.
    soak_ms:
        Verified soak time of the phase so far.
    base_ms, bar_ms:
        Label horizon and bar of the pair, from the routing document's ``measure``.
    candidate_reference, stable_reference:
        ``reference.json`` of either bundle; None when it could not be read.
    manifest:
        Manifest of the candidate; None when it could not be read.
    stable_sharpe:
        Sharpe ratio per outcome in stable's manifest (``metrics.sharpePerOutcome``), if there.
    latches:
        Latches that earlier results of this walk gave (:attr:`GateResult.latch`), kept by the caller.
    """

    poll_age_ms: int | None
    base_ms: int
    bar_ms: int
    max_poll_age_ms: int = 30_000
    soak_ms: int = 0
    candidate_reference: Reference | None = None
    stable_reference: Reference | None = None
    manifest: Manifest | None = None
    stable_sharpe: float | None = None
    latches: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate's verdict with what it rests on.

    Attributes
    ----------
    name:
        Name of the gate in the spec: psi, sharpe, latency, errorRate, offlineAuc.
    value, threshold:
        The number judged and the limit it is shown against; None where there is none yet.
    samples, missing:
        Samples that count, and how many more are expected to be needed; 0 once decided.
    reason, message, remedy:
        Why, in words with numbers, and what a person can do.
    dry_run:
        The caller shows the result and does not act on it.
    latch:
        Not empty: the caller keeps it and gives it back in :attr:`Context.latches`; the gate then stays Pass unless it fails.
    signals:
        What was noticed beside the verdict.
    """

    name: str
    verdict: Verdict
    reason: GateReason
    message: str
    value: float | None = None
    threshold: float | None = None
    samples: int = 0
    missing: int = 0
    remedy: str = ""
    dry_run: bool = False
    latch: str = ""
    signals: tuple[Signal, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """Whether exposure may rise as far as this gate is concerned."""
        return self.dry_run or self.verdict is Verdict.PASS

    @property
    def failed(self) -> bool:
        """Whether this gate asks for an abort."""
        return not self.dry_run and self.verdict is Verdict.FAIL


def stale(context: Context) -> str:
    """Return why the evidence is too old for a Pass; empty when it is fresh. A Fail stands on what was seen, however old."""
    if context.poll_age_ms is None:
        return "no pod has answered yet"
    if context.poll_age_ms > context.max_poll_age_ms:
        return f"newest poll is {context.poll_age_ms / 1000:.0f} s old, at most {context.max_poll_age_ms / 1000:.0f} s count"
    return ""
