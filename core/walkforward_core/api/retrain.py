"""``ModelRetrain``: what to train, from which data, on which occasions, and what it must prove before it is published."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from walkforward_core.api.affinity import SCHEMA as AFFINITY
from walkforward_core.api.cel import Cel
from walkforward_core.api.fields import (
    CalendarName,
    CronExpression,
    Duration,
    DurationOrZero,
    Name,
    Percent,
    Positive,
    Quantity,
    Share,
    Timestamp,
    TimeZone,
    Uri,
)
from walkforward_core.bundle import DecisionKind
from walkforward_core.documents import Part
from walkforward_core.routing import WithoutModel

__all__ = ["RetrainSpec"]


class SessionState(StrEnum):
    """State of the market in which something may happen."""

    ANY = "Any"
    OPEN = "Open"
    CLOSED = "Closed"


class Schedule(Part, frozen=True, kw_only=True):
    """One occasion on which a run starts."""

    cron: CronExpression
    """When: five cron fields in `timeZone`."""
    time_zone: TimeZone = "Etc/UTC"
    """IANA time zone of `cron`. Daylight saving is followed: a slot that does not exist is skipped, one that comes twice runs once."""
    calendar: CalendarName = "24/7"
    """Market calendar that `when` looks at. Only 24/7 in this release."""
    when: SessionState = SessionState.ANY
    """Run only while the market of `calendar` is in this state."""

    RULES: ClassVar = (
        Cel("self.calendar == '24/7'", "calendar: exchange calendars are not in this release; write 24/7, or leave it out"),
        Cel("self.when != 'Closed'", "when: a 24/7 market never closes; write Any, or leave it out"),
    )


class DriftTrigger(Part, frozen=True, kw_only=True):
    """Retrain on drift that a rollout has seen. Arrives with a later release."""

    rollout_ref: Name
    """ModelRollout whose evidence is watched."""
    when: Annotated[str, Meta(pattern=r"^[A-Z][A-Za-z]*$", max_length=32)] = "MarketDrift"
    """Condition of the rollout that starts a run."""
    psi_above: Positive | None = None
    """Start when any feature's PSI is above this; measured, 0.2 nearly always is."""
    cooldown: Duration = "24h"
    """No second start within this time."""


class Triggers(Part, frozen=True, kw_only=True):
    """Occasions other than a schedule."""

    drift: DriftTrigger | None = None
    """Start on drift."""
    max_model_age: Duration | None = None
    """Start when the newest published model is older than this."""

    RULES: ClassVar = (Cel("!has(self.drift)", "triggers.drift is not in this release: use schedules or triggers.maxModelAge instead"),)


class Recipe(StrEnum):
    """Declared compositions of the trainer."""

    OHLCV = "ohlcv"
    DRIFT_ROBUST = "drift-robust"
    OHLCV_DIRECTION = "ohlcv-direction"
    MULTI_TIMEFRAME = "multi-timeframe"
    RISK_FILTER = "risk-filter"
    DAILY_ENSEMBLE = "daily-ensemble"


class TargetKind(StrEnum):
    """What the model is asked."""

    DIRECTION = "Direction"
    """Is the price higher after `horizonBars`?"""
    RISK = "Risk"
    """Does the larger excursion within `horizonBars` exceed `threshold` times the expected move?"""


class Target(Part, frozen=True, kw_only=True):
    """The label."""

    kind: TargetKind = TargetKind.RISK
    """Direction (up or down) or Risk (a move larger than expected)."""
    horizon_bars: Annotated[int, Meta(ge=1, le=500)] = 5
    """Bars that the label looks ahead."""
    threshold: Positive = 1.5
    """Risk only: the excursion counts when it is above threshold · σ · √horizonBars, with σ over `volatilityBars` bars."""
    volatility_bars: Annotated[int, Meta(ge=10, le=2000)] = 100
    """Bars over which σ is taken, all of them before the decision."""


class ModelParameters(Part, frozen=True, kw_only=True):
    """Hyper-parameters of the base model."""

    trees: Annotated[int, Meta(ge=1, le=5000)] = 100
    """Boosting rounds."""
    depth: Annotated[int, Meta(ge=1, le=12)] = 3
    """Depth of a tree."""
    learning_rate: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.05
    """Shrinkage."""
    subsample: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.8
    """Share of the rows that a tree sees."""
    seed: Annotated[int, Meta(ge=0, le=2147483647)] = 7
    """Seed of everything that is random in the run."""


class DecisionSpec(Part, frozen=True, kw_only=True):
    """How a probability becomes a position."""

    kind: DecisionKind | None = None
    """sign, filter or size; by default sign for Direction and filter for Risk."""
    threshold: Share = 0.5
    """sign: a position is taken above it; filter: the base rule is blocked above it."""
    base_rule: Annotated[str, Meta(pattern=r"^momentum:[0-9]{1,4}$|^long$", max_length=24)] = "momentum:20"
    """filter, in the backtest: the base rule's position. momentum:N is the sign of the N-bar return; long is always 1."""
    without_model: WithoutModel = WithoutModel.ALLOW
    """What servers do while no model is live: Allow passes the base position, Refuse is not ready."""


class Overrides(Part, frozen=True, kw_only=True):
    """Parts of the recipe that differ from its defaults."""

    target: Target = Target()
    """The label."""
    features: Annotated[tuple[Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]+$", max_length=64)], ...], Meta(max_length=200)] = ()
    """Names of the features, in order; empty is the recipe's own list."""
    model: ModelParameters = ModelParameters()
    """Hyper-parameters."""
    decision: DecisionSpec = DecisionSpec()
    """How a probability becomes a position."""

    RULES: ClassVar = (
        Cel(
            "!has(self.decision.kind) || self.decision.kind == (self.target.kind == 'Direction' ? 'sign' : 'filter')",
            "overrides.decision.kind: a Direction target decides by sign, a Risk target by filter; leave it out to have that",
        ),
    )


class DataFormat(StrEnum):
    """File formats of the bars."""

    PARQUET = "parquet"
    CSV = "csv"
    FEATHER = "feather"
    JSONL = "jsonl"


class BarTime(StrEnum):
    """Which end of a bar its time stamp names."""

    OPEN = "open"
    CLOSE = "close"


class Quality(Part, frozen=True, kw_only=True):
    """Limits on the data; each is checked and refused by its own name."""

    max_gap: Duration = "5d"
    """Longest time between two bars: over a weekend the FX market is closed for two days, over a holiday for longer."""
    min_completeness: Share = 0.5
    """Bars found, as a share of the bars that a market open round the clock would have; a five-day market has 0.71."""
    max_nan: Share = 0.005
    """Share of missing values in any one column."""
    max_staleness: Duration = "7d"
    """Longest time between the newest bar and `asOf`."""
    min_rows: Annotated[int, Meta(ge=50, le=100_000_000)] = 500
    """Rows left for training after the warm-up."""


class DataSpec(Part, frozen=True, kw_only=True):
    """The bars to learn from. Everything is relative to `asOf`: no later bar is read."""

    uri: Uri
    """File, or prefix of files, with columns time, open, high, low, close, volume and, for several symbols, symbol."""
    format: DataFormat = DataFormat.PARQUET
    """parquet, csv (also .gz), feather or jsonl."""
    symbols: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=32)], ...], Meta(min_length=1, max_length=100)]
    """Instruments, as they are called in the data."""
    timeframe: Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,2}(m|h|d)$", max_length=5)] = "1h"
    """Length of a bar: 1m, 5m, 1h, 1d."""
    window: Duration | None = None
    """Length of the training window before `asOf`; the warm-up lies before it."""
    window_bars: Annotated[int, Meta(ge=100, le=100_000_000)] | None = None
    """The same, counted in bars of each symbol."""
    as_of: Timestamp | None = None
    """The instant at which the run pretends to happen; by default the scheduled slot, for a manual run the time it was asked for."""
    bar_time: BarTime = BarTime.OPEN
    """Whether a bar's time stamp is its open or its close."""
    time_zone: TimeZone = "Etc/UTC"
    """IANA time zone of time stamps that carry none. Stamps with an offset, and numbers (since 1970, UTC), are taken as they are."""
    quality: Quality = Quality()
    """Limits on the data."""

    RULES: ClassVar = (
        Cel("has(self.window) != has(self.windowBars)", "data: set exactly one of window (90d) and windowBars (2000)"),
        Cel("size(self.symbols) == 1", "data.symbols: this release trains one symbol; make one ModelRetrain a symbol"),
    )


class Eligibility(Part, frozen=True, kw_only=True):
    """What must be there before a run trains; not met is no error, the run is tried again on the next occasion."""

    min_age: Duration | None = None
    """Time that the data must span."""
    min_bars: Annotated[int, Meta(ge=1, le=100_000_000)] | None = None
    """Bars that must exist in the window."""
    min_closed_trades: Annotated[int, Meta(ge=1, le=100_000_000)] | None = None
    """Closed trades that must exist. Arrives with the recipes that learn from trades."""
    regime: dict[str, Any] | None = None
    """Diversity of market regimes. Arrives with a later release."""

    RULES: ClassVar = (
        Cel("!has(self.minClosedTrades)", "eligibility.minClosedTrades is not in this release: use minAge or minBars instead"),
        Cel("!has(self.regime)", "eligibility.regime is not in this release: use minAge or minBars instead"),
    )


class Scheme(StrEnum):
    """How rows are split into training and test."""

    PURGED_K_FOLD = "PurgedKFold"
    WALK_FORWARD = "WalkForward"


class Validation(Part, frozen=True, kw_only=True):
    """Splits: purged by the labels' information intervals, then embargoed."""

    scheme: Scheme = Scheme.PURGED_K_FOLD
    """PurgedKFold or WalkForward."""
    folds: Annotated[int, Meta(ge=2, le=20)] = 5
    """Number of test blocks."""
    embargo: DurationOrZero = "24h"
    """Time after a test block whose rows do not train; 0s leaves the purge alone."""


class Slippage(Part, frozen=True, kw_only=True):
    """Slippage of one side, times a multiplier."""

    bps: Annotated[float, Meta(ge=0.0, le=1000.0)] = 0.0
    """Basis points a side."""
    multiplier: Annotated[float, Meta(ge=0.0, le=100.0)] = 1.0
    """Caution."""


class CostsSpec(Part, frozen=True, kw_only=True):
    """What trading costs; a round trip is 2 · (feeBps + slippage.bps · slippage.multiplier)."""

    fee_bps: Annotated[float, Meta(ge=0.0, le=1000.0)] = 0.5
    """Fee of one side, in basis points of the traded value."""
    slippage: Slippage = Slippage()
    """Slippage of one side."""


class MinGate(Part, frozen=True, kw_only=True):
    """A metric that must not be below `min`."""

    min: Annotated[float, Meta(ge=0.0, le=100.0)]
    """Smallest value that passes; below 0 it would publish a model that loses money."""


class AucGate(Part, frozen=True, kw_only=True):
    """Area under the ROC curve, of out-of-fold predictions of the shipped model."""

    min: Annotated[float, Meta(gt=0.5, le=1.0)] = 0.62
    """Smallest value that passes; 0.5 is a coin and can never fail, so it is refused."""


class PrecisionGate(Part, frozen=True, kw_only=True):
    """Precision among the k highest scores of a day, averaged over days."""

    k: Annotated[int, Meta(ge=1, le=1000)] = 20
    """Scores a day."""
    min: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.58
    """Smallest value that passes."""


class OfflineGates(Part, frozen=True, kw_only=True):
    """What a candidate must prove offline, net of costs, on the bytes that are shipped."""

    auc: AucGate | None = None
    """Area under the ROC curve."""
    precision_at_k: PrecisionGate | None = None
    """Precision at k."""
    sharpe: MinGate | None = None
    """Sharpe ratio per outcome of the decisions, net of costs."""
    expectancy: MinGate | None = None
    """Mean net return per outcome."""
    max_degradation: Percent | None = None
    """Largest relative loss of AUC against the live model on the same rows; without a live model it says NoBaseline."""

    RULES: ClassVar = (
        Cel(
            "has(self.auc) || has(self.precisionAtK) || has(self.sharpe) || has(self.expectancy)",
            "gates: name at least one of auc, precisionAtK, sharpe and expectancy, or leave gates out to have auc {min: 0.62}: nothing is "
            "published unproven, and maxDegradation alone says nothing of a first model",
        ),
        Cel(
            "!has(self.maxDegradation) || !self.maxDegradation.startsWith('100')",
            "gates.maxDegradation: a loss of 100% can never be exceeded, so the gate could never fail; write 10% for example",
        ),
    )


class Artifacts(Part, frozen=True, kw_only=True):
    """Where bundles go."""

    uri: Uri
    """Prefix of the bundles; one folder per version is made below it."""
    secret_name: Name | None = None
    """Secret with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, AWS_REGION; by default the release's own."""


class Resources(Part, frozen=True, kw_only=True):
    """Requests and limits of the trainer's container."""

    requests: Annotated[dict[str, Quantity], Meta(max_length=8)] = {}
    """cpu and memory that are reserved."""
    limits: Annotated[dict[str, Quantity], Meta(max_length=8)] = {}
    """cpu and memory that it must not exceed."""

    RULES: ClassVar = tuple(
        Cel(
            f"!has(self.{kind}) || self.{kind}.all(k, k == 'cpu' || k == 'memory')",
            f"job.resources.{kind}: only cpu and memory may be set; the trainer uses nothing else",
        )
        for kind in ("requests", "limits")
    )


LabelValue = Annotated[str, Meta(pattern=r"^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$", max_length=63)]

_KEY = "^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$"
_RESERVED = "^([a-z0-9.-]*[.])?(walkforward[.]dev|kubernetes[.]io|(x-)?k8s[.]io)/"
# The one key of a reserved prefix that belongs to whoever runs the Job.
_SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"


class Toleration(Part, frozen=True, kw_only=True):
    """A taint that the Job's pod tolerates, as in a pod."""

    key: Annotated[str, Meta(max_length=316)] = ""
    """Taint key."""
    operator: Annotated[str, Meta(pattern="^(Exists|Equal)$", max_length=6)] = "Equal"
    """Exists or Equal."""
    value: Annotated[str, Meta(max_length=63)] = ""
    """Taint value."""
    effect: Annotated[str, Meta(pattern="^(|NoSchedule|PreferNoSchedule|NoExecute)$", max_length=16)] = ""
    """Taint effect; empty is any."""
    toleration_seconds: Annotated[int, Meta(ge=0, le=604_800)] | None = None
    """How long NoExecute is tolerated."""


class JobSpec(Part, frozen=True, kw_only=True):
    """The trainer's Job: an allow-list, no pod template, so that nobody gets an account, a Secret or a volume by it."""

    image: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*$", max_length=512)] | None = None
    """Trainer image, one of those that the installation allows; by default the release's own."""
    resources: Resources = Resources()
    """Requests and limits."""
    active_deadline_seconds: Annotated[int, Meta(ge=10, le=604_800)] = 3600
    """Time after which a run is Failed."""
    backoff_limit: Annotated[int, Meta(ge=0, le=10)] = 2
    """Retries of transient failures; a rejection is never trained a second time."""
    node_selector: Annotated[dict[str, LabelValue], Meta(max_length=20)] = {}
    """Node labels."""
    tolerations: Annotated[tuple[Toleration, ...], Meta(max_length=20)] = ()
    """Taints that are tolerated."""
    affinity: Annotated[dict[str, Any] | None, Meta(extra_json_schema=AFFINITY)] = None
    """Node affinity only, as in a pod: {nodeAffinity: …}."""
    labels: Annotated[dict[str, LabelValue], Meta(max_length=20)] = {}
    """Labels of Job and pod."""
    annotations: Annotated[dict[str, Annotated[str, Meta(max_length=1024)]], Meta(max_length=20)] = {}
    """Annotations of Job and pod."""
    queue_name: Name | None = None
    """Kueue queue."""

    RULES: ClassVar = tuple(
        Cel(
            f"!has(self.{kind}) || self.{kind}.all(k, k.matches('{_KEY}') && (k == '{_SAFE_TO_EVICT}' || !k.matches('{_RESERVED}')))",
            f"job.{kind}: a key is [prefix/]name, and its prefix may not be walkforward.dev, kubernetes.io, k8s.io or a part of these: "
            "they change what the operator or Kubernetes does with the Job; use a prefix of your own",
        )
        for kind in ("labels", "annotations")
    )


class RetrainSpec(Part, frozen=True, kw_only=True):
    """What to train, from which data, on which occasions, and what it must prove before it is published."""

    schedules: Annotated[tuple[Schedule, ...], Meta(max_length=10)] = ()
    """Occasions by the clock."""
    triggers: Triggers = Triggers()
    """Other occasions."""
    suspend: bool = False
    """No new run starts while this is true; a running one ends by itself."""
    recipe: Recipe = Recipe.OHLCV
    """Composition of the trainer."""
    overrides: Overrides = Overrides()
    """Parts of the recipe that differ from its defaults."""
    data: DataSpec
    """The bars to learn from."""
    eligibility: Eligibility = Eligibility()
    """What must be there before a run trains."""
    validation: Validation = Validation()
    """Splits."""
    costs: CostsSpec = CostsSpec()
    """What trading costs."""
    gates: OfflineGates = OfflineGates(auc=AucGate())
    """What a candidate must prove; by default auc {min: 0.62}."""
    artifacts: Artifacts
    """Where bundles go."""
    baseline_from: Name | None = None
    """ModelRollout whose stable model is the baseline; needed where two rollouts follow this retrain."""
    job: JobSpec = JobSpec()
    """The trainer's Job."""
    history_limit: Annotated[int, Meta(ge=1, le=100)] = 10
    """Runs kept in status, with their Jobs."""

    RULES: ClassVar = (Cel("self.recipe == 'ohlcv'", "recipe: this release has ohlcv only; the other recipes arrive with a later one"),)
