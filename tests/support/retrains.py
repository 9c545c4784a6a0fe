"""A ModelRetrain, its runs and what its Jobs leave, as tests want them."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from walkforward_core.api.data import DataSpec
from walkforward_core.api.defaults import effective_gates
from walkforward_core.api.offline import AucGate, OfflineGates
from walkforward_core.api.retrain import Artifacts, RetrainSpec
from walkforward_core.bundle import (
    Costs,
    DataRecord,
    Decision,
    DecisionKind,
    FileRecord,
    Horizon,
    Input,
    Manifest,
    Output,
    Parity,
    RetrainRef,
    ValidationRecord,
)
from walkforward_core.documents import digest
from walkforward_core.errors import NotFound, StoreError, Unavailable
from walkforward_core.names import MANAGED_BY, RETRAIN_LABEL, RUN_LABEL
from walkforward_core.offline import judge
from walkforward_core.runs import ResultDocument, RunDocument, RunVerdict
from walkforward_operator.conditions import instant
from walkforward_operator.retrain.allowed import Installation
from walkforward_operator.retrain.model import Retrain
from walkforward_operator.retrain.schedule import epoch_ms

NOW = epoch_ms("2026-03-02T12:00:00Z")
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
INSTALLATION = Installation(
    image="registry.local/trainer:1",
    secret="walkforward-store",
    images=("registry.local/trainer:2",),
    secrets=("team-store",),
    data_roots=("s3://data",),
    bundle_roots=("s3://models",),
    metadata_prefixes=("example.com",),
)


def spec(**changes: Any) -> RetrainSpec:
    base = RetrainSpec(
        data=DataSpec(uri="s3://data/eurusd.parquet", symbols=("EURUSD",), window_bars=2000),
        artifacts=Artifacts(uri="s3://models/fx"),
        gates=OfflineGates(auc=AucGate(above_chance=2.5)),
    )
    return msgspec.structs.replace(base, **changes)


def retrain(wanted: RetrainSpec | None = None, **changes: Any) -> Retrain:
    fields: dict[str, Any] = {
        "namespace": "prod",
        "name": "fx",
        "uid": "uid-of-fx",
        "generation": 1,
        "created_ms": NOW - 10 * DAY,
        "spec": wanted or spec(),
    }
    return Retrain(**{**fields, **changes})


def manual(run_id: str = "a", **changes: Any) -> dict[str, str]:
    return {"walkforward.dev/run": json.dumps({"id": run_id, "by": "alice", **changes})}


def manifest(run: RunDocument, metrics: dict[str, float], *, version: str = "20260302T120000Z-1a2b3c4d", **changes: Any) -> Manifest:
    """The manifest of a bundle that ``run`` published, honest about its metrics."""
    skipped = {gate.name: gate.reason for gate in run.skip_gates}
    made = Manifest(
        version=version,
        retrain=RetrainRef(namespace=run.retrain.namespace, name=run.retrain.name, uid=run.retrain.uid, run=run.run),
        files={"model.onnx": FileRecord(sha256="1a2b3c4d" * 8, size=10)},
        input=Input(features=("rsi",)),
        output=Output(),
        decision=Decision(kind=DecisionKind.FILTER),
        horizon=Horizon(bars=5, ms=5 * HOUR),
        costs=Costs(round_trip=0.0001),
        data=DataRecord(as_of=run.as_of, from_=run.as_of, to=run.as_of, digest="sha256:0", symbols=("EURUSD",), timeframe="1h"),
        validation=ValidationRecord(scheme="PurgedKFold", folds=5, purge="5 bars", embargo_hours=24.0),
        trials=1,
        seeds={},
        libraries={},
        metrics=metrics,
        gates=judge(effective_gates(run.spec), metrics, baseline=run.baseline is not None, skipped=skipped),
        baseline=run.baseline,
        parity=Parity(max_abs=0.0, rows=10),
    )
    return msgspec.structs.replace(made, **changes)


def result(run: RunDocument, verdict: RunVerdict, /, *, bundle: Manifest | None = None, **changes: Any) -> ResultDocument:
    fields: dict[str, Any] = {"run": run.run, "verdict": verdict, "reason": str(verdict), "message": "as the trainer says"}
    if bundle is not None:
        fields |= {
            "version": bundle.version,
            "uri": f"{run.spec.artifacts.uri}/{bundle.version}/",
            "digest": digest(bundle.to_bytes()),
            "model": f"sha256:{bundle.files['model.onnx'].sha256}",
            "metrics": bundle.metrics,
        }
    return ResultDocument(**{**fields, **changes})


GOOD = {"auc": 0.7, "aucAboveChance": 8.0}
BAD = {"auc": 0.51, "aucAboveChance": 0.4}


class Store:
    """An object store in memory, with faults; also what the service reads by."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.away: StoreError | None = None
        self.reads = 0

    async def read(self, uri: str, *, limit: int) -> bytes:
        self.reads += 1
        if self.away is not None:
            raise self.away
        if uri not in self.objects:
            raise NotFound(f"read {uri}: no such object")
        if len(self.objects[uri]) > limit:
            raise StoreError(f"read {uri}: more than {limit} bytes")
        return self.objects[uri]

    def take_away(self) -> None:
        self.away = Unavailable("read: connection refused; look at the endpoint")


def pod(
    job: str, *, name: str = "", created_ms: int = NOW, phase: str = "Running", run: str = "", index: int | None = None, **container: Any
) -> dict[str, Any]:
    """A pod of a Job; ``container`` is the state of the trainer's container: ``waiting=…`` or ``terminated=…``."""
    state = {key: value for key, value in container.items() if key in {"waiting", "terminated", "running"}}
    return {
        "metadata": {
            "name": name or f"{job}-x7k2p",
            "namespace": "prod",
            "labels": {MANAGED_BY[0]: MANAGED_BY[1], RETRAIN_LABEL: "fx", RUN_LABEL: run or job.removesuffix("-gather")},
            "annotations": {} if index is None else {"batch.kubernetes.io/job-completion-index": str(index)},
            "creationTimestamp": instant(created_ms),
        },
        "status": {
            "phase": phase,
            "conditions": container.get("conditions", []),
            "containerStatuses": [{"name": "trainer", "image": "registry.local/trainer:1", "state": state}] if state else [],
        },
    }


def terminated(code: int, message: str = "", *, reason: str = "", at_ms: int = NOW) -> dict[str, Any]:
    return {"exitCode": code, "reason": reason or ("Completed" if code == 0 else "Error"), "message": message, "finishedAt": instant(at_ms)}


def job_condition(kind: str, reason: str = "", message: str = "") -> dict[str, Any]:
    return {"type": kind, "status": "True", "reason": reason, "message": message}
