"""Manifests and bundles made by hand, where nothing needs to be trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from walkforward_core.bundle import (
    Costs,
    DataRecord,
    Decision,
    DecisionKind,
    FileRecord,
    GateRecord,
    Horizon,
    Input,
    Manifest,
    Output,
    Parity,
    RetrainRef,
    ValidationRecord,
    Verdict,
)
from walkforward_core.objectstore import FileStore
from walkforward_trainer.bundle import Bundle
from walkforward_trainer.publish import publish

if TYPE_CHECKING:
    from pathlib import Path

VERSION = "20240102T000000Z-aaaaaaaa"


def manifest(**changes: Any) -> Manifest:
    made = Manifest(
        version=VERSION,
        retrain=RetrainRef(namespace="demo", name="fx", uid="u-1", run="fx-1"),
        files={"model.onnx": FileRecord(sha256="aa", size=5), "golden.json": FileRecord(sha256="bb", size=2)},
        input=Input(features=("ret_1",)),
        output=Output(),
        decision=Decision(kind=DecisionKind.SIGN),
        horizon=Horizon(bars=5, ms=5),
        costs=Costs(round_trip=1e-4),
        data=DataRecord(as_of="2024-01-02T00:00:00Z", from_="", to="", digest="d", symbols=("EURUSD",), timeframe="1h"),
        validation=ValidationRecord(scheme="PurgedKFold", folds=5, purge="", embargo_hours=24.0),
        trials=1,
        seeds={"model": 7},
        libraries={"python": "3.11"},
        metrics={"auc": 0.66},
        gates=(GateRecord(name="auc", value=0.66, threshold=0.62, verdict=Verdict.PASS),),
        baseline=None,
        parity=Parity(max_abs=0.0, rows=10),
    )
    return replace(made, **changes)


def bundle(at: Path, version: str = VERSION, **changes: Any) -> Bundle:
    files = {"model.onnx": b"model", "golden.json": b"{}"}
    return Bundle(version=version, uri=f"{at.as_uri()}/{version}/", files=files, manifest=manifest(version=version, **changes).to_bytes())


def by(run: str, **changes: Any) -> RetrainRef:
    return replace(manifest().retrain, run=run, **changes)


def put_bundle(at: Path, version: str, **changes: Any) -> Bundle:
    """Publish a bundle below ``at``."""
    made = bundle(at, version, **changes)
    publish(FileStore(), made, at.as_uri())
    return made
