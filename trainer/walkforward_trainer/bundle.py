"""Stage 16, bundle: the files and the manifest over them (contracts C6, C8)."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import walkforward_core
from walkforward_core.bundle import (
    GOLDEN,
    MODEL,
    REFERENCE,
    REPORT_HTML,
    REPORT_JSON,
    Costs,
    DataRecord,
    FileRecord,
    Horizon,
    Input,
    Manifest,
    Output,
    RetrainRef,
    ValidationRecord,
)
from walkforward_core.documents import digest
from walkforward_trainer.evidence_files import evidence_files
from walkforward_trainer.heads import head_records
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from walkforward_core.bundle import GateRecord, Golden, Parity, Reference
    from walkforward_core.runs import RunDocument
    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.fit import Fitted
    from walkforward_trainer.plan import Plan

__all__ = ["Bundle", "Contents", "assemble", "libraries", "output_of", "version_of"]

LIBRARIES: Final = ("lightgbm", "numpy", "onnx", "onnxruntime", "optuna", "polars", "xgboost-cpu")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle before it is written: ``uri`` ends in a slash, ``files`` are all but the manifest."""

    version: str
    uri: str
    files: Mapping[str, bytes]
    manifest: bytes

    @property
    def digest(self) -> str:
        """The bundle's digest."""
        return digest(self.manifest)


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """What goes into a bundle; ``reports`` are the JSON and the page, ``further`` other files beside them."""

    fitted: Fitted
    metrics: dict[str, float]
    gates: tuple[GateRecord, ...]
    parity: Parity
    reference: Reference
    golden: Golden
    reports: tuple[bytes, bytes]
    trials: int
    further: Mapping[str, bytes] = field(default_factory=dict)


def version_of(as_of_ms: int, model: bytes) -> str:
    """Return ``YYYYMMDDTHHMMSSZ-<first 8 hex of the model's sha256>``."""
    stamp = datetime.fromtimestamp(as_of_ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{stamp}-{hashlib.sha256(model).hexdigest()[:8]}"


def assemble(run: RunDocument, plan: Plan, rows: Dataset, contents: Contents) -> Bundle:
    """Return the bundle. Nothing in it says when it was made, so the same run makes the same bytes."""
    files = {
        MODEL: contents.fitted.model,
        REFERENCE: contents.reference.to_bytes(),
        GOLDEN: contents.golden.to_bytes(),
        REPORT_JSON: contents.reports[0],
        REPORT_HTML: contents.reports[1],
        **contents.further,
    }
    version = version_of(plan.as_of_ms, contents.fitted.model)
    if plan.recipe.evidence_files:
        files |= evidence_files(
            plan, rows, contents.fitted, version, metrics=contents.metrics, gates=contents.gates, reference=contents.reference
        )
    manifest = Manifest(
        version=version,
        retrain=RetrainRef(namespace=run.retrain.namespace, name=run.retrain.name, uid=run.retrain.uid, run=run.run),
        files={name: FileRecord(sha256=hashlib.sha256(data).hexdigest(), size=len(data)) for name, data in files.items()},
        input=Input(features=rows.names, warmup_bars=rows.warmup),
        output=output_of(plan.classes, contents.fitted),
        decision=plan.decision,
        horizon=Horizon(bars=plan.target.horizon_bars, ms=rows.horizon_ms),
        costs=_costs(plan),
        data=_data(rows, plan),
        validation=_validation(contents.fitted, plan),
        trials=contents.trials,
        seeds={"model": plan.model.seed},
        libraries=libraries(),
        metrics=contents.metrics | {"modelBytes": float(len(contents.fitted.model))},
        gates=contents.gates,
        baseline=run.baseline,
        parity=contents.parity,
    )
    return Bundle(version=version, uri=f"{run.spec.artifacts.uri.rstrip('/')}/{version}/", files=files, manifest=manifest.to_bytes())


def output_of(classes: int, fitted: Fitted) -> Output:
    """Return what the graph answers: the last class is the positive one, the first the negative."""
    return Output(classes=tuple(range(classes)), positive=classes - 1, negative=0, heads=head_records(fitted.heads))


def _data(rows: Dataset, plan: Plan) -> DataRecord:
    return DataRecord(
        as_of=timestamp(plan.as_of_ms),
        from_=timestamp(int(rows.t0[0]) - plan.bar_ms),
        to=timestamp(int(rows.t0[-1])),
        digest=rows.digest,
        symbols=rows.symbols,
        timeframe=plan.data.timeframe,
    )


def _costs(plan: Plan) -> Costs:
    found = plan.costs
    return Costs(
        round_trip=found.round_trip,
        fee_bps=found.fee_bps,
        slippage_bps=found.slippage_bps,
        multiplier=found.multiplier,
        calibration=found.calibration,
        closed_trades=found.closed_trades,
    )


def _validation(fitted: Fitted, plan: Plan) -> ValidationRecord:
    purged, embargoed = sum(split.purged for split in fitted.splits), sum(split.embargoed for split in fitted.splits)
    return ValidationRecord(
        scheme=plan.validation.scheme,
        folds=plan.folds,
        purge=f"label interval of {plan.target.horizon_bars} bars: {purged} rows purged, {embargoed} embargoed over all folds",
        embargo_hours=fitted.embargo_ms / 3_600_000,
    )


def libraries() -> dict[str, str]:
    """Return the versions of everything that a model's bytes depend on."""
    own = {"python": platform.python_version(), "walkforward": walkforward_core.__version__}
    return own | {name: importlib.metadata.version(name) for name in LIBRARIES}
