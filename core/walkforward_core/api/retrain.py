"""``ModelRetrain``: what to train, from which data, on which occasions, and what it must prove before it is published."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from walkforward_core.api.affinity import SCHEMA as AFFINITY
from walkforward_core.api.cel import Cel
from walkforward_core.api.data import DataSpec, Eligibility
from walkforward_core.api.fields import CalendarName, CronExpression, Duration, Name, Positive, Quantity, TimeZone, Uri
from walkforward_core.api.offline import OfflineGates
from walkforward_core.api.recipe import BUILT_IN, Overrides, OverridesFrom, Recipe, RecipeName, Validation
from walkforward_core.documents import Part

__all__ = ["Artifacts", "RetrainSpec"]


class SessionState(StrEnum):
    """State of the market in which something may happen."""

    ANY = "Any"
    OPEN = "Open"
    CLOSED = "Closed"


class ScheduledMode(StrEnum):
    """What an occasion does."""

    FULL = "Full"
    SMOKE = "Smoke"
    CALIBRATE = "Calibrate"


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
    mode: ScheduledMode = ScheduledMode.FULL
    """Full trains; Smoke takes a reduced model through every stage and publishes nothing; Calibrate measures what execution costs, from
    `data.trades`, for the runs after it."""

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


class SlippageByTrades(Part, frozen=True, kw_only=True):
    """A multiplier that falls with experience: initial - (initial - min) · min(closed trades / trades, 1)."""

    initial: Annotated[float, Meta(ge=1.0, le=10.0)] = 2.0
    """Multiplier without any closed trade."""
    min: Annotated[float, Meta(ge=1.0, le=10.0)] = 1.5
    """Multiplier from `trades` closed trades on."""
    trades: Annotated[int, Meta(ge=1, le=1_000_000)] = 500
    """Closed trades after which it falls no more."""

    RULES: ClassVar = (
        Cel("self.min <= self.initial", "costs.slippage.byTrades: min must not be above initial; experience lowers caution"),
    )


class Slippage(Part, frozen=True, kw_only=True):
    """Slippage of one side, times a multiplier."""

    bps: Annotated[float, Meta(ge=0.0, le=1000.0)] | None = None
    """Basis points a side, where nothing was measured; by default what the recipe assumes."""
    multiplier: Annotated[float, Meta(ge=0.0, le=100.0)] = 1.0
    """Caution."""
    by_trades: SlippageByTrades | None = None
    """Caution that falls with the number of closed trades in `data.trades`, or in the rows themselves; it replaces `multiplier`, and is the
    recipe's where that has one."""
    calibrated: bool = False
    """Use what the newest execution calibration before `asOf` has measured; without one `bps` stands, and the report says so."""


class CostsSpec(Part, frozen=True, kw_only=True):
    """What trading costs; a round trip is 2 · (feeBps + slippage.bps · slippage.multiplier)."""

    fee_bps: Annotated[float, Meta(ge=0.0, le=1000.0)] = 0.5
    """Fee of one side, in basis points of the traded value."""
    slippage: Slippage = Slippage()
    """Slippage of one side."""


class Artifacts(Part, frozen=True, kw_only=True):
    """Where bundles go."""

    uri: Uri
    """Prefix of the bundles; one folder per version is made below it."""
    secret_name: Name | None = None
    """Secret with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, AWS_REGION; by default the release's own."""
    retention: Retention | None = None
    """Which old bundles go; without it none ever does. Never one in use, a baseline, or one that a rollout has pinned."""


class Retention(Part, frozen=True, kw_only=True):
    """Old bundles that may go, after a run that published: those older than `maxAge` and not among the `keepLast` newest."""

    keep_last: Annotated[int, Meta(ge=1, le=10_000)] = 10
    """Newest bundles that stay, whatever their age."""
    max_age: Duration = "90d"
    """Age, from the version's time to `asOf`, below which a bundle stays."""


class Tracking(Part, frozen=True, kw_only=True):
    """MLflow: parameters, metrics and model of each run; its address is in the Secret, MLFLOW_TRACKING_URI. A run never fails by it."""

    experiment: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._/-]*$", max_length=128)]
    """Experiment that runs are logged to."""
    registered_model: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$", max_length=128)] | None = None
    """Registered model that gets a version for each bundle; the rollout that promotes it moves the alias `champion`."""


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
    recipe: RecipeName = Recipe.OHLCV.value
    """Composition of the trainer: ohlcv, ohlcv-direction, multi-timeframe, risk-filter, daily-ensemble, drift-robust, or one of a
    package of your own in `job.image`."""
    overrides: Overrides = Overrides()
    """Parts of the recipe that differ from its defaults."""
    overrides_from: OverridesFrom | None = None
    """More overrides, in a ConfigMap."""
    data: DataSpec
    """The rows to learn from."""
    eligibility: Eligibility = Eligibility()
    """What must be there before a run trains."""
    validation: Validation = Validation()
    """Splits."""
    costs: CostsSpec = CostsSpec()
    """What trading costs."""
    gates: OfflineGates | None = None
    """What a candidate must prove; by default what the recipe asks (`docs/reference/recipes.md`)."""
    artifacts: Artifacts
    """Where bundles go."""
    baseline_from: Name | None = None
    """ModelRollout whose stable model is the baseline; needed where two rollouts follow this retrain."""
    tracking: Tracking | None = None
    """MLflow."""
    job: JobSpec = JobSpec()
    """The trainer's Job."""
    history_limit: Annotated[int, Meta(ge=1, le=100)] = 10
    """Runs kept in status, with their Jobs."""

    RULES: ClassVar = (
        Cel(
            f"self.recipe in {[recipe.value for recipe in BUILT_IN]} || has(self.gates)",
            "gates: a recipe of a package of your own brings no gates that the operator knows; write them, auc {min: 0.62} for example",
        ),
        Cel(
            "!has(self.schedules) || !self.schedules.exists(s, s.mode == 'Calibrate') || "
            "has(self.data.trades) || self.recipe == 'risk-filter'",
            "data.trades: a schedule of mode Calibrate measures executions; say where the log of trades is",
        ),
    )
