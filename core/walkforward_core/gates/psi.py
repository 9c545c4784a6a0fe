"""Drift of the candidate's inputs and score (`docs/reference/gates.md`).

Rolling features autocorrelate, so PSI above a fixed 0.2 is what healthy traffic looks like. The candidate fails where its own PSI exceeds
0.2 + 1.5 times stable's on the same rows *and* its own frozen null quantile. What both arms see is the market's, or the feed's: a signal.

Rules, in order: 1. sanity of the candidate's inputs from 50 bars on; 2. Fail from 200 bars on; 3. MarketDrift, no verdict; 4. Pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from walkforward_core.bundle import Verdict
from walkforward_core.gates.drift_arm import SCORE, Arm, Broken, Kind, SanityLimits
from walkforward_core.gates.result import Context, GateReason, GateResult, Signal, SignalKind, stale

if TYPE_CHECKING:
    from walkforward_core.evidence.view import Evidence

__all__ = ["NAME", "PsiConfig", "judge"]

NAME = "psi"
SATURATION: Final = 5.3
"""About the largest PSI of 10 equal bins: a limit above it can never be exceeded."""
_REASONS: Final = {
    Kind.BEYOND: GateReason.OUT_OF_RANGE,
    Kind.CONSTANT: GateReason.CONSTANT_INPUT,
    Kind.MISSING: GateReason.MISSING_INPUT,
}
_WORDS: Final = {
    Kind.BEYOND: "{0.share:.0%} of rows lie more than the reference's range outside of it, {0.limit:.0%} are allowed",
    Kind.CONSTANT: "one value in every row, the reference varies",
    Kind.MISSING: "{0.share:.1%} of rows are NaN, {0.limit:.1%} are allowed",
}


@dataclass(frozen=True, slots=True)
class PsiConfig:
    """Limit ``max`` + ``ratio`` · PSI of stable, from ``min_samples`` distinct bars on; sanity limits in shares of rows."""

    max: float = 0.2
    ratio: float = 1.5
    min_samples: int = 200
    hold_on_market_drift: bool = False
    sanity_samples: int = 50
    beyond_share: float = 0.2
    missing_share: float = 0.05
    dry_run: bool = False

    def needed(self) -> int:
        """Return the distinct bars that a Pass needs."""
        return self.min_samples


@dataclass(frozen=True, slots=True)
class _Compared:
    """One feature: PSI of both arms (stable's None where it does not know the feature) and the limit for the candidate's."""

    name: str
    candidate: float
    stable: float | None
    limit: float

    @property
    def excess(self) -> float:
        return self.candidate / self.limit


def judge(config: PsiConfig, evidence: Evidence, context: Context) -> GateResult:
    """Return the verdict on the walk's drift counts; signals MarketDrift, Saturated and InputsBroken go with any verdict."""
    w = evidence.distinct_bars(context.bar_ms)
    arms, reason, text = _arms(evidence, context)
    if arms is None:
        return _say(config, w, Verdict.NO_DATA, reason, text, remedy="check the object store, and the versions of the server pods")
    if w < config.sanity_samples:
        reason = GateReason.TOO_FEW_SAMPLES if w else GateReason.NO_EVIDENCE
        return _say(config, w, Verdict.NO_DATA, reason, f"{w} of {config.min_samples} distinct bars")
    candidate, stable = arms
    own, shared = _sanity(config, candidate, stable)
    signals = _broken_signal(shared)
    if own:
        worst = max(own, key=lambda broken: broken.share / broken.limit)
        text = "; ".join(f"{broken.name}: {_WORDS[broken.kind].format(broken)}" for broken in own[:5])
        remedy = "compare units and sources of the training data with the live feed"
        return _say(
            config, w, Verdict.FAIL, _REASONS[worst.kind], text, value=worst.share, limit=worst.limit, remedy=remedy, signals=signals
        )
    if w < config.min_samples:
        return _say(config, w, Verdict.NO_DATA, GateReason.TOO_FEW_SAMPLES, f"{w} of {config.min_samples} distinct bars", signals=signals)
    return _drift(config, context, w, candidate, stable, signals)


def _arms(evidence: Evidence, context: Context) -> tuple[tuple[Arm, Arm] | None, GateReason, str]:
    if context.candidate_reference is None or context.stable_reference is None:
        who = "candidate" if context.candidate_reference is None else "stable model"
        return None, GateReason.REFERENCE_MISSING, f"reference.json of the {who} could not be read"
    if evidence.walk.conflict:
        return None, GateReason.INCONSISTENT_EVIDENCE, evidence.walk.conflict
    if not (evidence.walk.candidate.bars.distinct and evidence.walk.stable.bars.distinct):
        return None, GateReason.NO_EVIDENCE, "no bar was scored by both models"
    try:
        return (
            (Arm.of(evidence.walk.candidate, context.candidate_reference), Arm.of(evidence.walk.stable, context.stable_reference)),
            GateReason.UNDECIDED,
            "",
        )
    except ValueError as error:
        return None, GateReason.INCONSISTENT_EVIDENCE, str(error)


def _sanity(config: PsiConfig, candidate: Arm, stable: Arm) -> tuple[list[Broken], list[Broken]]:
    """Return the candidate's broken features: those that are its own, and those that stable sees broken too."""
    limits = SanityLimits(beyond=config.beyond_share, missing=config.missing_share, samples=config.sanity_samples)
    own: list[Broken] = []
    shared: list[Broken] = []
    for name in candidate.index:
        if broken := candidate.broken(name, limits):
            both = name in stable.index and stable.broken(name, limits) is not None
            (shared if both else own).append(broken)
    return own, shared


def _drift(config: PsiConfig, context: Context, w: int, candidate: Arm, stable: Arm, signals: tuple[Signal, ...]) -> GateResult:
    """Rules 2 to 4, from ``min_samples`` distinct bars on."""
    try:
        compared, without = _compare(config, w, candidate, stable)
        market = _market(config, w, candidate, stable, compared)
    except ValueError as error:
        return _say(
            config, w, Verdict.NO_DATA, GateReason.INCONSISTENT_EVIDENCE, str(error), remedy="train the bundle again", signals=signals
        )
    blind = [one.name for one in compared if one.limit >= SATURATION and one.stable is not None]
    signals = (*signals, *market, *_saturated(blind))
    worst = max(compared, key=lambda one: one.excess, default=None)
    text = _text(worst, w)

    def say(verdict: Verdict, reason: GateReason, message: str, remedy: str = "") -> GateResult:
        value, limit = (worst.candidate, worst.limit) if worst else (None, config.max)
        return _say(config, w, verdict, reason, message, value=value, limit=limit, remedy=remedy, signals=signals)

    if worst is not None and worst.excess > 1.0:
        drifted = [one.name for one in compared if one.excess > 1.0]
        more = f" (and {len(drifted) - 1} more: {', '.join(drifted[:8])})" if len(drifted) > 1 else ""
        return say(
            Verdict.FAIL, GateReason.CANDIDATE_DRIFT, f"{text}{more}", "its training data does not look like live traffic: compare the two"
        )
    if without:
        text = f"no null quantile for {', '.join(without[:5])}: the reference is too short"
        return say(Verdict.NO_DATA, GateReason.NULL_BANDS_MISSING, text, "train on at least 1,000 rows")
    if any(signal.kind is SignalKind.INPUTS_BROKEN for signal in signals):
        return say(Verdict.NO_DATA, GateReason.INPUTS_BROKEN, "both models see inputs that neither was trained on", "check the feed")
    if config.hold_on_market_drift and market:
        return say(Verdict.NO_DATA, GateReason.MARKET_DRIFT, market[0].message, "wait, train on newer data, or set onMarketDrift: Alert")
    if old := stale(context):
        return say(Verdict.NO_DATA, GateReason.STALE_EVIDENCE, f"{old}; {text}", "check that the pods' admin port answers")
    return say(Verdict.PASS, GateReason.DRIFT_WITHIN_LIMIT, text)


def _compare(config: PsiConfig, w: int, candidate: Arm, stable: Arm) -> tuple[list[_Compared], list[str]]:
    """Return every feature and the score with its limit (rule 2), and the names for which no limit can be given."""
    compared: list[_Compared] = []
    without: list[str] = []
    for name in candidate.names():
        known = name == SCORE or name in stable.index
        own = candidate.quantile(name, w) if known else candidate.broad_quantile(name, w)
        if own is None:
            without.append(name)
            continue
        beside = stable.psi(name) if known else None
        limit = max(config.max + config.ratio * beside if beside is not None else config.max, own)
        compared.append(_Compared(name, candidate.psi(name), beside, limit))
    return compared, without


def _market(config: PsiConfig, w: int, candidate: Arm, stable: Arm, compared: list[_Compared]) -> tuple[Signal, ...]:
    """Return MarketDrift where each arm's PSI exceeds what its own reference ever showed without drift (rule 3)."""
    drifted = []
    for one in compared:
        if one.stable is None or one.name == SCORE or min(one.candidate, one.stable) <= config.max:
            continue
        bands = candidate.broad_quantile(one.name, w), stable.broad_quantile(one.name, w)
        if bands[0] is not None and bands[1] is not None and one.candidate > bands[0] and one.stable > bands[1]:
            drifted.append(one)
    if not drifted:
        return ()
    worst = max(drifted, key=lambda one: one.candidate)
    both = f"PSI {worst.candidate:.2f} and stable's {worst.stable:.2f}"
    text = f"{worst.name}: {both} are beyond their own null bands; features that drift for both models: {len(drifted)}"
    return (Signal(SignalKind.MARKET_DRIFT, text, worst.candidate, tuple(one.name for one in drifted)),)


def _saturated(blind: list[str]) -> tuple[Signal, ...]:
    if not blind:
        return ()
    return (
        Signal(SignalKind.SATURATED, f"stable drifts too far to compare the candidate on {', '.join(blind[:5])}", subjects=tuple(blind)),
    )


def _broken_signal(shared: list[Broken]) -> tuple[Signal, ...]:
    if not shared:
        return ()
    text = "; ".join(f"{broken.name}: {_WORDS[broken.kind].format(broken)}" for broken in shared[:5])
    return (Signal(SignalKind.INPUTS_BROKEN, f"both models: {text}", max(b.share for b in shared), tuple(b.name for b in shared)),)


def _text(worst: _Compared | None, w: int) -> str:
    if worst is None:
        return f"nothing to compare over {w} distinct bars"
    beside = f"stable's is {worst.stable:.3f}" if worst.stable is not None else "stable does not know it"
    return f"{worst.name}: PSI {worst.candidate:.3f} against a limit of {worst.limit:.3f}, {beside}, over {w} distinct bars"


def _say(
    config: PsiConfig,
    w: int,
    verdict: Verdict,
    reason: GateReason,
    message: str,
    *,
    value: float | None = None,
    limit: float | None = None,
    remedy: str = "",
    signals: tuple[Signal, ...] = (),
) -> GateResult:
    return GateResult(
        name=NAME,
        verdict=verdict,
        reason=reason,
        message=message,
        value=value,
        threshold=config.max if limit is None else limit,
        samples=w,
        missing=max(config.min_samples - w, 0) if verdict is Verdict.NO_DATA else 0,
        remedy=remedy,
        dry_run=config.dry_run,
        signals=signals,
    )
