"""Paired profit: promote what is not worse by the margin, abort what is harmful (`docs/reference/gates.md`).

Pass: Λ ≥ ln(1/α), tested first; it latches for this (plan, margin), so later looks need not pass again. Fail: E ≥ 1/α_harm, for ever,
also after the Pass and in ``watch``. Anything else is NoData. It may be evaluated as often as one likes. The latch is an output
(:attr:`GateResult.latch`) that the caller keeps and gives back in :attr:`Context.latches`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from walkforward_core.bundle import Verdict
from walkforward_core.gates.paired import Paired, annualised, harm_evidence, log_evidence, outcomes_needed, paired
from walkforward_core.gates.result import Context, GateReason, GateResult, Signal, SignalKind, stale

if TYPE_CHECKING:
    from walkforward_core.evidence.view import Evidence

__all__ = ["NAME", "SharpeConfig", "SharpeMode", "judge", "per_horizon"]

NAME = "sharpe"


class SharpeMode(StrEnum):
    """How profit is judged."""

    PAIRED = "Paired"
    """Proven not worse by the margin."""
    HARM_ONLY = "HarmOnly"
    """Aborts on evidence of harm, proves nothing more."""


@dataclass(frozen=True, slots=True)
class SharpeConfig:
    """``margin`` m in Sharpe ratio per outcome; ``alpha`` and ``alpha_harm`` the error rates; floors before any verdict."""

    mode: SharpeMode = SharpeMode.PAIRED
    margin: float = 0.05
    alpha: float = 0.05
    alpha_harm: float = 0.05
    min_outcomes: int = 100
    min_batches: int = 32
    dry_run: bool = False

    def __post_init__(self) -> None:
        """Refuse a margin or error rates without meaning."""
        if not (self.margin > 0.0 and 0.0 < self.alpha < 1.0 and 0.0 < self.alpha_harm < 1.0):
            raise ValueError(f"sharpe: margin {self.margin} must be positive, alpha {self.alpha} and {self.alpha_harm} within (0, 1)")

    def needed(self, horizon: float, *, kappa: float = 2.0, rho: float = 0.9) -> int:
        """Return the outcomes that an equal candidate is expected to need; ``horizon`` is H."""
        floor = max(self.min_outcomes, math.ceil(self.min_batches * horizon))
        return max(floor, outcomes_needed(self.margin, horizon, kappa=kappa, rho=rho) if self.mode is SharpeMode.PAIRED else 0)

    def latch(self, plan: str) -> str:
        """Return the name under which a Pass is remembered: another plan or margin is another question."""
        return f"{NAME}/{plan}/{self.margin:g}"


def per_horizon(evidence: Evidence, context: Context) -> float:
    """Return H, the outcomes within one label horizon: bars in it times symbols."""
    return max(1.0, context.base_ms / context.bar_ms if context.bar_ms > 0 else 1.0) * evidence.symbols


def judge(config: SharpeConfig, evidence: Evidence, context: Context) -> GateResult:
    """Return the verdict on the matured outcomes of the pair under the plan."""
    horizon = per_horizon(evidence, context)
    statistic, conflict = Paired(0.0, 0, degenerate="no outcome has matured"), evidence.conflict
    if evidence.outcomes is not None:
        try:
            statistic = paired(evidence.outcomes, horizon)
        except ValueError as error:
            conflict = str(error)
    look = _Look(config, evidence, context, statistic, horizon, conflict)
    if blocked := look.blocked():
        return blocked
    if config.mode is SharpeMode.HARM_ONLY:
        return look.harm_only()
    return look.paired()


@dataclass(frozen=True, slots=True)
class _Look:
    """One evaluation."""

    config: SharpeConfig
    evidence: Evidence
    context: Context
    statistic: Paired
    horizon: float
    conflict: str

    def paired(self) -> GateResult:
        evidence, bar = log_evidence(self.statistic, self.config.margin), math.log(1.0 / self.config.alpha)
        text = f"{self._seen()}; evidence {evidence:.2f} of {bar:.2f} that the candidate is not worse by {self._margin()}"
        if evidence >= bar:
            return self._say(Verdict.PASS, GateReason.NOT_WORSE, text, latch=self.config.latch(self.evidence.plan))
        if harm := self._harm():
            return harm
        if latched := self._latched():
            return latched
        return self._say(Verdict.NO_DATA, GateReason.UNDECIDED, text, missing=self._missing(), remedy="wait, or widen the margin")

    def harm_only(self) -> GateResult:
        if harm := self._harm():
            return harm
        text = f"{self._seen()}; no harm shown"
        if not self._floors():
            return self._say(Verdict.PASS, GateReason.NO_HARM_SEEN, text)
        # said aloud: this early no candidate, however bad, would be stopped for its profit
        signal = Signal(SignalKind.HARM_UNDETECTABLE, f"harm cannot show yet: {self._floors()}", self.statistic.n)
        return self._say(Verdict.PASS, GateReason.NO_HARM_SEEN, f"{text}: {self._floors()}", signals=(signal,))

    def blocked(self) -> GateResult | None:
        """Return NoData where nothing can be judged; a Pass of an earlier look stands."""
        reason, text, remedy = self._obstacle()
        if reason is None:
            return None
        return self._latched() or self._say(Verdict.NO_DATA, reason, text, missing=self._missing(), remedy=remedy)

    def _obstacle(self) -> tuple[GateReason | None, str, str]:
        statistic = self.statistic
        if self.conflict:
            return GateReason.INCONSISTENT_EVIDENCE, self.conflict, "compare the versions of the server pods"
        if statistic.n <= 0:
            return GateReason.NO_EVIDENCE, statistic.degenerate, "check that outcomes are reported, or that prices come with requests"
        if self.config.mode is SharpeMode.PAIRED and (floors := self._floors()):
            return GateReason.TOO_FEW_SAMPLES, floors, "wait for more outcomes"
        if old := stale(self.context) or self._old_market():
            return GateReason.STALE_EVIDENCE, old, "check that pods answer and outcomes keep coming"
        if statistic.degenerate and (self.config.mode is SharpeMode.PAIRED or not self._floors()):
            return GateReason.NO_VARIANCE, statistic.degenerate, "a model that never trades cannot be compared; check its threshold"
        return None, "", ""

    def _floors(self) -> str:
        n, batches, config = self.statistic.n, self.statistic.batches, self.config
        if n >= config.min_outcomes and batches >= config.min_batches:
            return ""
        return f"{n:.0f} of {config.min_outcomes} outcomes in {batches} of {config.min_batches} batches of market time"

    def _old_market(self) -> str:
        """Return why outcomes lag behind the market; judged in market time, so a closed market is no lag."""
        newest, seen, base = self.evidence.outcomes.newest if self.evidence.outcomes else 0, self.evidence.newest_ts, self.context.base_ms
        if base <= 0 or seen - newest <= 2 * base:
            return ""
        return f"newest matured bar is {(seen - newest) / base:.1f} horizons behind the newest request, at most 2 count"

    def _harm(self) -> GateResult | None:
        harm, bar = harm_evidence(self.statistic, self.config.margin), 1.0 / self.config.alpha_harm
        if self._floors() or harm < bar:
            return None
        text = f"{self._seen()}; evidence of harm {harm:.3g}, {bar:.3g} is enough"
        return self._say(Verdict.FAIL, GateReason.HARM, text, remedy="the candidate loses against stable on the same requests: train again")

    def _latched(self) -> GateResult | None:
        latch = self.config.latch(self.evidence.plan)
        if self.config.mode is not SharpeMode.PAIRED or latch not in self.context.latches:
            return None
        return self._say(Verdict.PASS, GateReason.PASSED_BEFORE, f"{self._seen()}; passed earlier in this walk", latch=latch)

    def _missing(self) -> int:
        """Return the outcomes up to the next multiple of n*, re-estimated from what was seen once the floors are reached."""
        known = not self._floors() and not self.statistic.degenerate
        needed = (
            self.config.needed(self.horizon, kappa=self.statistic.kappa, rho=self.statistic.rho)
            if known
            else self.config.needed(self.horizon)
        )
        return needed - int(self.statistic.n) % needed

    def _seen(self) -> str:
        s = self.statistic
        return f"Sharpe ratio per outcome {s.sharpe_candidate:+.4f} against stable's {s.sharpe_stable:+.4f} over {s.n:.0f} outcomes"

    def _margin(self) -> str:
        return f"{self.config.margin:g} (a year: {annualised(self.config.margin, self.context.base_ms):.1f})"

    def _wide(self) -> tuple[Signal, ...]:
        sharpe = self.context.stable_sharpe
        if self.config.mode is not SharpeMode.PAIRED or sharpe is None or self.config.margin <= 0.5 * sharpe:
            return ()
        text = f"margin {self.config.margin:g} exceeds half of stable's offline Sharpe ratio per outcome, {sharpe:.4f}"
        return (Signal(SignalKind.MARGIN_TOO_WIDE, f"{text}: a candidate that earns next to nothing could pass", sharpe),)

    def _say(
        self,
        verdict: Verdict,
        reason: GateReason,
        message: str,
        *,
        missing: int = 0,
        remedy: str = "",
        latch: str = "",
        signals: tuple[Signal, ...] = (),
    ) -> GateResult:
        return GateResult(
            name=NAME,
            verdict=verdict,
            reason=reason,
            message=message,
            value=None if self.statistic.degenerate else self.statistic.theta,
            threshold=-self.config.margin,
            samples=int(self.statistic.n),
            missing=missing,
            remedy=remedy,
            dry_run=self.config.dry_run,
            latch=latch,
            signals=(*self._wide(), *signals),
        )
