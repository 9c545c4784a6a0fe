"""The published model bundle: ``manifest.json``, ``reference.json``, ``golden.json`` (contracts C6, C7).

``manifest.json`` is written last, create-only, and has the sha256 of every other file: it is the commit point.
The digest of a bundle is the sha256 of the manifest's bytes, never written inside them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

import msgspec

from walkforward_core.documents import Document, Part
from walkforward_core.routing import WithoutModel

__all__ = [
    "Baseline",
    "Costs",
    "DataRecord",
    "Decision",
    "DecisionKind",
    "FeatureReference",
    "FileRecord",
    "GateRecord",
    "Golden",
    "Head",
    "Horizon",
    "Input",
    "Manifest",
    "NanPolicy",
    "Null",
    "Output",
    "Parity",
    "Reference",
    "RetrainRef",
    "ValidationRecord",
    "Verdict",
]

MODEL, REFERENCE, GOLDEN, MANIFEST = "model.onnx", "reference.json", "golden.json", "manifest.json"
REPORT_JSON, REPORT_HTML = "report.json", "report.html"


class Verdict(StrEnum):
    """What a gate says. No evidence is not a pass."""

    PASS = "Pass"
    FAIL = "Fail"
    NO_DATA = "NoData"


class DecisionKind(StrEnum):
    """What a prediction means (contract C5)."""

    SIGN = "sign"
    FILTER = "filter"
    SIZE = "size"


class NanPolicy(StrEnum):
    """Whether a request may hold NaN; infinity is always refused."""

    REFUSE = "Refuse"
    ALLOW = "Allow"


class RetrainRef(Part, frozen=True, kw_only=True):
    """The ModelRetrain and the run that published the bundle."""

    namespace: str
    name: str
    uid: str
    run: str


class FileRecord(Part, frozen=True, kw_only=True):
    """One file of the bundle; ``sha256`` in hexadecimal, ``size`` in bytes."""

    sha256: str
    size: int


class Input(Part, frozen=True, kw_only=True):
    """The one float32 tensor of the model, of shape (rows, len(features)); ``bar`` says at which end of a bar it is known."""

    features: tuple[str, ...]
    name: str = "X"
    dtype: str = "FP32"
    nan: NanPolicy = NanPolicy.REFUSE
    warmup_bars: int = 250
    bar: str = "close"


class Head(Part, frozen=True, kw_only=True):
    """A further output of the graph, of shape (rows, columns) float32."""

    name: str
    """Name of the tensor."""
    target: str
    """What it answers: Risk, Price, Momentum, Volatility, Lower, Upper."""
    columns: int = 1
    """2 for the probabilities of a yes-no question, 1 for a number."""


class Output(Part, frozen=True, kw_only=True):
    """The probability tensor, of shape (rows, len(classes)); ``positive`` and ``negative`` are the classes that the decision looks at.

    Its *score* (:func:`walkforward_core.decision.decision_score`) is p(positive) of two classes; of three it is above the threshold where
    p(positive) is, below 1 - threshold where p(negative) is above the threshold, and 1/2 where neither has half the probability.
    ``heads`` are further outputs of the graph, in no part of the decision: probabilities or estimates of other targets.
    """

    name: str = "p"
    classes: tuple[int, ...] = (0, 1)
    positive: int = 1
    negative: int = 0
    heads: tuple[Head, ...] = ()


class Decision(Part, frozen=True, kw_only=True):
    """How a probability becomes a position in [-1, 1].

    ``sign``: +1 above the threshold, -1 below 1 - threshold, else 0. ``filter``: the base position, unless the probability of the
    positive class ("risky") is above the threshold. ``size``: 2p - 1.
    """

    kind: DecisionKind
    threshold: float = 0.5
    without_model: WithoutModel = WithoutModel.ALLOW


class Horizon(Part, frozen=True, kw_only=True):
    """How far ahead the label looks, in bars and in milliseconds."""

    bars: int
    ms: int


class Costs(Part, frozen=True, kw_only=True):
    """Cost of one round trip as a fraction of the traded value, and what it follows from: 2 · (fee + slippage · multiplier) / 10,000.

    ``calibration`` is the address of the measurement that the slippage is of, empty where it was assumed; ``closed_trades`` the number
    that the multiplier follows from, if it does.
    """

    round_trip: float
    fee_bps: float = 0.0
    slippage_bps: float = 0.0
    multiplier: float = 1.0
    calibration: str = ""
    closed_trades: int | None = None


class DataRecord(Part, frozen=True, kw_only=True, rename={"as_of": "asOf", "from_": "from"}):
    """The data that the model was trained on; times RFC 3339 UTC, ``digest`` over the rows that were used."""

    as_of: str
    from_: str
    to: str
    digest: str
    symbols: tuple[str, ...]
    timeframe: str


class ValidationRecord(Part, frozen=True, kw_only=True):
    """The splits as they were applied, purge and embargo included."""

    scheme: str
    folds: int
    purge: str
    embargo_hours: float


class GateRecord(Part, frozen=True, kw_only=True):
    """One offline gate as it was judged; ``forced`` when a person asked to skip it, with the reason in the run."""

    name: str
    value: float | None
    threshold: float | None
    verdict: Verdict
    forced: bool = False
    message: str = ""
    remedy: str = ""


class Baseline(Part, frozen=True, kw_only=True):
    """The live model that the candidate was compared with."""

    uri: str
    """Folder of its bundle."""
    digest: str
    """sha256 of its manifest.json."""


class Parity(Part, frozen=True, kw_only=True):
    """Largest difference between the evaluated and the shipped model, and the rows that were compared."""

    max_abs: float
    rows: int


class Manifest(Document, frozen=True, kw_only=True):
    """What a bundle is, where it comes from and what it must satisfy before it serves."""

    NAME: ClassVar[str] = "bundle"

    version: str
    retrain: RetrainRef
    files: dict[str, FileRecord]
    input: Input
    output: Output
    decision: Decision
    horizon: Horizon
    costs: Costs
    data: DataRecord
    validation: ValidationRecord
    trials: int
    seeds: dict[str, int]
    libraries: dict[str, str]
    metrics: dict[str, float]
    gates: tuple[GateRecord, ...]
    baseline: Baseline | None
    parity: Parity


class Null(Part, frozen=True, kw_only=True):
    """Quantiles of PSI without drift, by window length in rows (`docs/reference/gates.md`, psi)."""

    q95: dict[str, float] = {}


class FeatureReference(Part, frozen=True, kw_only=True):
    """Frozen bins of one feature: 9 inner edges (float32 values), 10 counts; bin = searchsorted(edges, x, side="right").

    ``min`` and ``max`` are of the reference rows; NaN is counted in ``missing`` and has no part in PSI.
    """

    name: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    missing: int = 0
    min: float = 0.0
    max: float = 0.0
    null: Null = Null()


class Reference(Document, frozen=True, kw_only=True):
    """What the training rows looked like, for every feature and the score."""

    NAME: ClassVar[str] = "reference"

    rows: int
    null_m: dict[str, float]
    features: tuple[FeatureReference, ...]
    score: FeatureReference


class Golden(Document, frozen=True, kw_only=True):
    """Rows on and around the split thresholds with the outputs that the shipped model must give.

    ``x`` of shape (n, features), ``p`` of shape (n, classes), ``position`` of shape (n,) for a base position of 1; n ≤ 512.
    """

    NAME: ClassVar[str] = "golden"

    x: tuple[tuple[float | None, ...], ...] = msgspec.field(name="X")
    p: tuple[tuple[float, ...], ...]
    position: tuple[float, ...]
    tolerance: float = 1e-6
