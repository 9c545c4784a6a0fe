"""``report.json``: every number that ``report.html`` draws, and what a person needs to believe them.

Times are RFC 3339 UTC, returns and costs shares of the traded value, lists of points ascending. A part that a run has nothing for is
None or empty, and its section is left out of the page.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from walkforward_core.bundle import Baseline, GateRecord
from walkforward_core.documents import Document, Part

__all__ = [
    "Calibration",
    "CalibrationPoint",
    "Confusion",
    "CostCurve",
    "Day",
    "Days",
    "Distribution",
    "Drift",
    "DriftColumn",
    "Fold",
    "Lineage",
    "Money",
    "Report",
    "Series",
    "Table",
]


class Series(Part, frozen=True, kw_only=True):
    """One curve of the money: running sum of net returns, and how far it is below its highest point so far (both (points,)).

    ``sharpe`` is per outcome, not annualised; ``break_even`` the round trip at which nothing is left. None where there is no such number.
    """

    name: str
    equity: tuple[float, ...]
    drawdown: tuple[float, ...]
    outcomes: int
    traded: float
    total: float
    expectancy: float | None
    sharpe: float | None
    hit_rate: float | None
    profit_factor: float | None
    max_drawdown: float
    break_even: float | None


class Money(Part, frozen=True, kw_only=True):
    """Equity of a constant stake on the same rows: each decision is a round trip of its own, summed as it is decided.

    Of the first series, ``open_mean`` is how many positions are open at once on average, ``open_most`` at most.
    """

    times: tuple[str, ...]
    series: tuple[Series, ...]
    open_mean: float = 0.0
    open_most: int = 0


class CostCurve(Part, frozen=True, kw_only=True):
    """Mean net return of an outcome by the cost of a round trip; ``low`` and ``high`` hold the first series' 95 % interval."""

    costs: tuple[float, ...]
    expectancy: dict[str, tuple[float, ...]]
    low: tuple[float, ...]
    high: tuple[float, ...]
    current: float
    break_even: dict[str, float | None]


class CalibrationPoint(Part, frozen=True, kw_only=True):
    """One bin of equal mass: mean probability, share in which it happened with its 95 % interval (Wilson), rows."""

    stated: float
    seen: float
    low: float
    high: float
    rows: int


class Calibration(Part, frozen=True, kw_only=True):
    """Stated probability against what happened, of one class."""

    name: str
    points: tuple[CalibrationPoint, ...]


class Confusion(Part, frozen=True, kw_only=True):
    """Rows by what was (first index) and what was predicted (second), ``rule`` says how a prediction is read from probabilities."""

    rule: str
    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


class Distribution(Part, frozen=True, kw_only=True):
    """What predictions of three classes look like: shares by class, and rows by their largest probability."""

    labels: tuple[str, ...]
    actual: tuple[float, ...]
    predicted: tuple[float, ...]
    mean_probability: tuple[float, ...]
    edges: tuple[float, ...]
    rows: tuple[int, ...]


class Day(Part, frozen=True, kw_only=True):
    """Mean precision@k of the ``days`` from ``start`` to ``end``, both inclusive."""

    start: str
    end: str
    days: int
    precision: float


class Days(Part, frozen=True, kw_only=True):
    """Precision among the ``k`` highest scores of a day; ``base`` is the share of positive rows, which a coin would reach.

    ``whole`` is the number of days that have no more than ``k`` rows: nothing is chosen there.
    """

    k: int
    base: float
    mean: float
    days: tuple[Day, ...]
    whole: int = 0


class DriftColumn(Part, frozen=True, kw_only=True):
    """PSI of one column; ``usual`` is exceeded by 5 % of stretches without drift, ``limit`` is where live drift is spoken of."""

    name: str
    psi: float
    usual: float
    limit: float


class Drift(Part, frozen=True, kw_only=True):
    """How the ``rows`` of ``window`` differ from ``against``."""

    window: str
    against: str
    rows: int
    columns: tuple[DriftColumn, ...]


class Fold(Part, frozen=True, kw_only=True, rename={"from_": "from"}):
    """One test block: when it was decided, the rows on either side, what was left out between them, and how well it did."""

    from_: str
    to: str
    train: int
    test: int
    purged: int
    embargoed: int
    auc: float | None


class Table(Part, frozen=True, kw_only=True):
    """A table that a check brings: shown as it is.

    ``name`` is its key, ``note`` says how to read it. ``units``, one a row, or ``column_units``, one a column, say what numbers are:
    ``share`` (shown in percent), ``bps`` (a share of the traded value, shown in basis points) or nothing.
    """

    name: str
    title: str
    note: str = ""
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float | None, ...], ...]
    units: tuple[str, ...] = ()
    column_units: tuple[str, ...] = ()


class Lineage(Part, frozen=True, kw_only=True):
    """Where the candidate comes from: enough to make it again."""

    retrain: str
    run: str
    recipe: str
    mode: str
    data: str
    digest: str
    as_of: str
    symbols: tuple[str, ...]
    config: str
    baseline: Baseline | None
    trials: int
    seeds: dict[str, int]
    libraries: dict[str, str]


class Report(Document, frozen=True, kw_only=True):
    """``report.json``."""

    NAME: ClassVar[str] = "report"

    lineage: Lineage
    question: dict[str, Any]
    data: dict[str, Any]
    gates: tuple[GateRecord, ...]
    failed: tuple[str, ...]
    notes: tuple[str, ...]
    metrics: dict[str, float]
    folds: tuple[Fold, ...]
    money: Money | None = None
    live: Money | None = None
    costs: CostCurve | None = None
    calibration: tuple[Calibration, ...] = ()
    confusion: tuple[Confusion, ...] = ()
    distribution: Distribution | None = None
    days: Days | None = None
    features: dict[str, float] = msgspec.field(default_factory=dict)
    drift: tuple[Drift, ...] = ()
    tables: tuple[Table, ...] = ()
