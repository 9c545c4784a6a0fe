"""``ModelRollout``: which deployment serves, which candidates it follows, and what each must show before it is exposed further."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from walkforward_core.api.cel import Cel, duration_ms, rules
from walkforward_core.api.fields import CalendarName, Duration, Name, Percent, Timestamp, Uri
from walkforward_core.api.retrain import SessionState
from walkforward_core.documents import Part
from walkforward_core.durations import parse_ms
from walkforward_core.routing import OutcomeSource, SplitBy

__all__ = ["RolloutSpec"]

Weight = Annotated[int, Meta(ge=1, le=100)]

_HOLD = Cel("self == 'auto' || self.matches('[1-9]')", "strategy.maxHold: write auto, or a duration longer than zero, 6h for example")


class Mode(StrEnum):
    """Whether a candidate may be exposed."""

    LIVE = "Live"
    DRY_RUN = "DryRun"


class TargetRef(Part, frozen=True, kw_only=True):
    """What serves."""

    deployment: Name
    """Deployment of model servers, in the same namespace. One rollout per target; it cannot be changed."""

    RULES: ClassVar = (
        Cel(
            "self.deployment == oldSelf.deployment",
            "target.deployment cannot be changed: delete this ModelRollout, stable goes on serving; create one for the other Deployment",
        ),
    )


class RetrainReference(Part, frozen=True, kw_only=True):
    """A retrain to follow."""

    name: Name
    """ModelRetrain in the same namespace; its newest published bundle is the candidate."""


class BundleReference(Part, frozen=True, kw_only=True):
    """One bundle, pinned."""

    uri: Uri
    """Folder of the bundle."""
    digest: Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]
    """sha256 of its manifest.json."""


class Source(Part, frozen=True, kw_only=True):
    """Where candidates come from."""

    retrain_ref: RetrainReference | None = None
    """Follow the newest bundle of a retrain that passed its gates."""
    bundle: BundleReference | None = None
    """Serve this bundle."""

    RULES: ClassVar = (Cel("has(self.retrainRef) != has(self.bundle)", "source: set exactly one of retrainRef and bundle"),)


class OnNewCandidate(StrEnum):
    """What becomes of a running walk when a newer candidate appears."""

    FINISH = "Finish"
    SUPERSEDE = "Supersede"


class RouterType(StrEnum):
    """Who splits the traffic."""

    EMBEDDED = "Embedded"
    GATEWAY_API = "GatewayAPI"


class Router(Part, frozen=True, kw_only=True):
    """Who splits the traffic."""

    type: RouterType = RouterType.EMBEDDED
    """Embedded: the server pods, by a sticky hash of the request key."""

    RULES: ClassVar = (Cel("self.type == 'Embedded'", "router.type: GatewayAPI is not in this release; write Embedded"),)


class OutcomesSpec(Part, frozen=True, kw_only=True):
    """How outcomes reach the servers."""

    source: OutcomeSource = OutcomeSource.RECEIPT
    """Receipt: clients report the return of each receipt. Price: servers see it in the prices of later requests."""


class Shadow(Part, frozen=True, kw_only=True):
    """No exposure, paired evidence from every request."""

    min_requests: Annotated[int, Meta(ge=1, le=10_000_000)] = 200
    """Requests scored by both models before the first weight."""


class Phase(Part, frozen=True, kw_only=True):
    """One step of exposure."""

    weight: Weight
    """Percent of the request keys that the candidate answers."""
    duration: Duration
    """Soak time: counted only while every pod is verified and somebody is watching."""


class Watch(Part, frozen=True, kw_only=True):
    """After the last phase: the previous model stays loaded and scored, evidence of harm goes back to it."""

    duration: Duration = "24h"
    """How long."""


class Freeze(Part, frozen=True, kw_only=True, rename={"from_": "from"}):
    """A time in which no step happens; an abort always may."""

    from_: Timestamp
    """Start."""
    to: Timestamp
    """End."""
    reason: Annotated[str, Meta(max_length=256)] = ""
    """Shown in status."""

    RULES: ClassVar = (Cel("self.from < self.to", "strategy.freezes: a freeze must end after it begins; exchange from and to"),)


class Window(Part, frozen=True, kw_only=True):
    """When steps may happen; an abort always may."""

    calendar: CalendarName = "24/7"
    """Market calendar. Only 24/7 in this release."""
    when: SessionState = SessionState.ANY
    """State of that market."""

    RULES: ClassVar = (
        Cel("self.calendar == '24/7'", "window.calendar: exchange calendars are not in this release; write 24/7, or leave window out"),
        Cel("self.when != 'Closed'", "window.when: a 24/7 market never closes; write Any, or leave window out"),
    )


class OnMaxHold(StrEnum):
    """What happens when the evidence never came."""

    ROLLBACK = "Rollback"


class Strategy(Part, frozen=True, kw_only=True):
    """The plan of a walk."""

    shadow: Shadow | None = None
    """Paired evidence before the first weight; with evidence ShadowFirst it ends when the paired gate passed."""
    phases: Annotated[tuple[Phase, ...], Meta(min_length=1, max_length=10)] = (
        Phase(weight=5, duration="30m"),
        Phase(weight=25, duration="30m"),
        Phase(weight=100, duration="30m"),
    )
    """Steps of exposure; weights rise, the last is 100."""
    watch: Watch = Watch()
    """After the last phase."""
    window: Window | None = None
    """When steps may happen."""
    freezes: Annotated[tuple[Freeze, ...], Meta(max_length=20)] = ()
    """Times in which no step happens."""
    max_hold: Annotated[
        str,
        Meta(
            pattern=r"^(auto|([0-9]{1,5}d)?([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,6}s)?)$",
            min_length=2,
            max_length=24,
            extra_json_schema=rules(_HOLD),
        ),
    ] = "auto"
    """Longest time without a verdict; auto is twice the outcomes that are expected to be needed."""
    on_max_hold: OnMaxHold = OnMaxHold.ROLLBACK
    """What happens then."""

    RULES: ClassVar = (
        Cel("self.phases[size(self.phases) - 1].weight == 100", "strategy.phases: the last weight must be 100"),
        Cel(
            # CEL has no index loop: each weight is the place of its phase in the sorted list
            "self.phases.map(p, p.weight).isSorted() && self.phases.all(p, self.phases.exists_one(q, q.weight == p.weight))",
            "strategy.phases: weights must rise from one phase to the next, 5, 25, 100 for example",
        ),
    )


class OnMarketDrift(StrEnum):
    """What drift that both models see does to a walk."""

    ALERT = "Alert"
    HOLD = "Hold"


class PsiGate(Part, frozen=True, kw_only=True):
    """Drift of the candidate's inputs and score against its own reference, compared with stable's on the same rows."""

    max: Annotated[float, Meta(gt=0.0, le=3.0)] = 0.2
    """Base of the limit (PSI saturates above 3): Fail above max + ratio · PSI of stable and above the candidate's own null quantile."""
    ratio: Annotated[float, Meta(ge=0.0, le=10.0)] = 1.5
    """Part of stable's own drift that is allowed for."""
    min_samples: Annotated[int, Meta(ge=200, le=1_000_000)] = 200
    """Distinct bars before a verdict."""
    on_market_drift: OnMarketDrift = OnMarketDrift.ALERT
    """Drift that both models see is the market's: Alert, or Hold the weight."""
    dry_run: bool = False
    """Judge and show, but do not act."""


class SharpeMode(StrEnum):
    """How profit is judged."""

    PAIRED = "Paired"
    HARM_ONLY = "HarmOnly"
    BEFORE_AFTER = "BeforeAfter"


class EvidenceMode(StrEnum):
    """When the paired gate must have passed."""

    SHADOW_FIRST = "ShadowFirst"
    IN_PHASES = "InPhases"
    RISK_BUDGET = "RiskBudget"


class SharpeGate(Part, frozen=True, kw_only=True):
    """Paired outcomes of both models on the same requests, net of costs."""

    mode: SharpeMode = SharpeMode.PAIRED
    """Paired: not worse by the margin, proven. HarmOnly: aborts on evidence of harm, proves nothing more."""
    non_inferiority: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.05
    """Margin: loss of Sharpe ratio per outcome that is tolerated."""
    alpha: Annotated[float, Meta(gt=0.0, le=0.2)] = 0.05
    """Share of candidates worse by the margin that may pass."""
    alpha_harm: Annotated[float, Meta(gt=0.0, le=0.2)] = 0.05
    """Share of equal candidates that may be aborted."""
    min_outcomes: Annotated[int, Meta(ge=100, le=10_000_000)] = 100
    """Outcomes before a verdict."""
    min_batches: Annotated[int, Meta(ge=32, le=128)] = 32
    """Batches of market time before a verdict."""
    evidence: EvidenceMode = EvidenceMode.SHADOW_FIRST
    """ShadowFirst: before the first percent, which costs no time and a hundredth of the exposure. InPhases: before the weight of 100."""
    dry_run: bool = False
    """Judge and show, but do not act."""

    RULES: ClassVar = (
        Cel("self.mode != 'BeforeAfter'", "gates.sharpe.mode: BeforeAfter is not in this release; write Paired, it needs fewer outcomes"),
        Cel("self.evidence != 'RiskBudget'", "gates.sharpe.evidence: RiskBudget is not in this release; write ShadowFirst or InPhases"),
    )


_P95_MS, _SOAK_MS = duration_ms("self.p95"), duration_ms("self.minDuration")


class LatencyGate(Part, frozen=True, kw_only=True):
    """Share of the candidate's answers that take longer than the limit, over slices of time."""

    p95: Duration = "80ms"
    """Limit that 95 % of the answers must keep."""
    min_samples: Annotated[int, Meta(ge=200, le=10_000_000)] = 200
    """Answers before a verdict."""
    min_duration: Duration = "10m"
    """Soak before a Pass; a sixtieth of it is one slice, a fifth is enough for a Fail."""
    dry_run: bool = False
    """Judge and show, but do not act."""

    RULES: ClassVar = (
        Cel(f"{_P95_MS} <= 10000", "gates.latency.p95: answer times are counted up to 10s; a higher limit could never fail"),
        Cel(
            f"{_SOAK_MS} >= 6000",
            "gates.latency.minDuration: a sixtieth of it is one slice, which must be 100ms or longer; write 6s or more",
        ),
    )


def _percent(text: str) -> str:
    return f"double({text}.substring(0, size({text}) - 1))"


class ErrorRateGate(Part, frozen=True, kw_only=True):
    """Errors that the candidate alone made, on requests that stable answered."""

    max: Percent = "1%"
    """Rate that fails."""
    expected: Percent = "0.1%"
    """Rate that passes."""
    min_samples: Annotated[int, Meta(ge=300, le=10_000_000)] = 300
    """Requests before a Pass."""
    dry_run: bool = False
    """Judge and show, but do not act."""

    RULES: ClassVar = (
        Cel(
            f"{_percent('self.expected')} < {_percent('self.max')}",
            "gates.errorRate: expected must be below max, or no traffic could tell them apart; expected 0.1% and max 1% for example",
        ),
        Cel("self.expected.matches('[1-9]')", "gates.errorRate.expected: at 0% the first error would decide; write 0.1% for example"),
        Cel("!self.max.startsWith('100')", "gates.errorRate.max: a rate of 100% can never be exceeded; write 1% for example"),
    )


class OfflineAucGate(Part, frozen=True, kw_only=True):
    """The AUC in the candidate's manifest, judged again at admission."""

    min: Annotated[float, Meta(gt=0.5, le=1.0)] = 0.62
    """Smallest value that passes; 0.5 is a coin and can never fail, so it is refused."""
    dry_run: bool = False
    """Judge and show, but do not act."""


class Gates(Part, frozen=True, kw_only=True):
    """What a candidate must show; those that are named must Pass."""

    psi: PsiGate | None = None
    """Input and score drift."""
    sharpe: SharpeGate | None = None
    """Paired profit."""
    latency: LatencyGate | None = None
    """Answer times."""
    error_rate: ErrorRateGate | None = None
    """Errors of its own."""
    offline_auc: OfflineAucGate | None = None
    """AUC of the manifest."""
    expectancy: dict[str, Any] | None = None
    """Mean net return. Arrives with a later release."""
    delta: dict[str, Any] | None = None
    """Difference of the scores. Arrives with a later release."""
    behaviour: dict[str, Any] | None = None
    """Agreement of the positions. Arrives with a later release."""
    alerts_silent: dict[str, Any] | None = None
    """No critical alert fires. Arrives with a later release."""
    evidence_complete: dict[str, Any] | None = None
    """Every file of evidence is there. Arrives with a later release."""
    custom: Annotated[tuple[dict[str, Any], ...], Meta(max_length=20)] | None = None
    """Gates in PromQL. Arrive with a later release."""

    RULES: ClassVar = (
        *(
            Cel(f"!has(self.{name})", f"gates.{name} is not in this release: leave it out; it is never ignored silently")
            for name in ("expectancy", "delta", "behaviour", "alertsSilent", "evidenceComplete", "custom")
        ),
        Cel(
            " || ".join(f"(has(self.{name}) && !self.{name}.dryRun)" for name in ("psi", "sharpe", "latency", "errorRate")),
            "gates: name at least one of psi, sharpe, latency and errorRate without dryRun, or leave gates out to have all four: "
            "a plan whose gates never act on live traffic can never fail",
        ),
    )


class Approval(Part, frozen=True, kw_only=True):
    """A person's word before the first weight of 100."""

    required: bool = False
    """Ask."""
    expires: Duration = "24h"
    """How long to wait for it; then the candidate is rolled back."""


class OnDelete(StrEnum):
    """What remains when the rollout is deleted."""

    KEEP_STABLE = "KeepStable"


_LEAST_PHASE = f"(has(self.gates) ? {duration_ms('self.gates.latency.minDuration')} : {parse_ms(LatencyGate().min_duration)})"


class RolloutSpec(Part, frozen=True, kw_only=True):
    """Which deployment serves, which candidates it follows, and what each must show before it is exposed further."""

    mode: Mode = Mode.LIVE
    """Live, or DryRun: shadow, evidence and verdicts, no exposure; the status says what would have happened."""
    paused: bool = False
    """No step happens while this is true; gates are judged on, and an abort still happens."""
    target: TargetRef
    """What serves."""
    source: Source
    """Where candidates come from."""
    on_new_candidate: OnNewCandidate = OnNewCandidate.FINISH
    """Finish: the running walk ends first, of several that wait only the newest is kept. Supersede: the newer one starts at once."""
    router: Router = Router()
    """Who splits the traffic."""
    outcomes: OutcomesSpec = OutcomesSpec()
    """How outcomes reach the servers."""
    split_by: SplitBy = SplitBy.CLIENT
    """Request parameter that the sticky hash is taken over."""
    strategy: Strategy = Strategy(shadow=Shadow())
    """The plan of a walk; left out: a shadow of 200 requests, then 5, 25 and 100 %, 30 minutes each."""
    gates: Gates | None = None
    """What a candidate must show; left out: psi, sharpe, latency and errorRate at their defaults."""
    approval: Approval = Approval()
    """A person's word before the first weight of 100."""
    on_delete: OnDelete = OnDelete.KEEP_STABLE
    """What remains when the rollout is deleted: stable serves all of the traffic."""
    history_limit: Annotated[int, Meta(ge=1, le=50)] = 10
    """Ended walks kept in status."""

    RULES: ClassVar = (
        Cel(
            "has(self.strategy.shadow) || (has(self.gates) && (!has(self.gates.sharpe) || self.gates.sharpe.mode != 'Paired' || "
            "self.gates.sharpe.evidence != 'ShadowFirst'))",
            "strategy.shadow is needed: gates.sharpe.evidence ShadowFirst, the default, asks for paired evidence before the first percent; "
            "write strategy.shadow: {minRequests: 200}, or gates.sharpe.evidence: InPhases",
        ),
        Cel(
            "self.mode != 'DryRun' || has(self.strategy.shadow)",
            "mode: a DryRun exposes nothing, so all of its evidence comes from the shadow; write strategy.shadow: {minRequests: 200}",
        ),
        Cel(
            f"(has(self.gates) && !has(self.gates.latency)) || self.strategy.phases.all(p, {duration_ms('p.duration')} >= {_LEAST_PHASE})",
            "strategy.phases: every phase must last at least gates.latency.minDuration, 10m where it is not set, or the latency gate could "
            "not pass in it; lengthen the phase, or write a shorter gates.latency.minDuration",
        ),
    )
