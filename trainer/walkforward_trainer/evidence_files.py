"""Files that people who run a linear model want beside the graph: weights, scaler, reference, manifest, offline report, result, PSI.

Each is named after the version and says in plain JSON what the bundle's own documents hold; ``eval_result_<version>.txt`` has one word,
PASS, or the gates that failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from walkforward_core.api.recipe import Scheme
from walkforward_core.bundle import Verdict
from walkforward_core.offline import blocking, explain
from walkforward_trainer.models.parts import Linear
from walkforward_trainer.report.columns import newest_drift
from walkforward_trainer.specfile import timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from walkforward_core.bundle import GateRecord, Reference
    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.fit import Fitted
    from walkforward_trainer.plan import Plan

__all__ = ["evidence_files"]

MINUTE_MS: Final = 60_000
SCHEMES: Final = {Scheme.PURGED_K_FOLD: "purged_time_series", Scheme.WALK_FORWARD: "walk_forward", Scheme.HOLDOUT: "holdout"}
"""Schemes by the name that the drift sprint has for the one of them that it knows."""
DAY_Z: Final = frozenset({"zscore_mid_24h", "spread_bp_z", "vol1m_z"})
"""Features that are themselves z-scores over a day."""


def evidence_files(
    plan: Plan,
    rows: Dataset,
    fitted: Fitted,
    version: str,
    *,
    metrics: Mapping[str, float],
    gates: Sequence[GateRecord],
    reference: Reference,
) -> dict[str, bytes]:
    """Return the files by name; weights and scaler only where the one base model is linear."""
    written: dict[str, Any] = {
        "training_manifest": _manifest(plan, rows, fitted, version),
        "reference_distributions": reference,
        "offline_report": {"model_version": version, "metrics": dict(metrics), "gates": list(gates)},
        "psi_snapshot": _psi(rows, fitted, reference, version),
    }
    part = fitted.bases[0].part
    if len(fitted.bases) == 1 and isinstance(part, Linear):
        written["model_weights"] = _weights(rows.names, part, fitted, version)
        written["scaler_params"] = _scaler(rows.names, part, plan, version)
    files = {f"{name}_{version}.json": msgspec.json.format(msgspec.json.encode(value)) for name, value in written.items()}
    failed = blocking(gates)
    lines = ["PASS"] if not failed else [f"FAIL {explain(record)}" for record in failed]
    lines += [f"forced {gate.name}: {gate.message}" for gate in gates if gate.forced and gate.verdict is not Verdict.PASS]
    return files | {f"eval_result_{version}.txt": ("\n".join(lines) + "\n").encode()}


def _manifest(plan: Plan, rows: Dataset, fitted: Fitted, version: str) -> dict[str, Any]:
    """Return the training's configuration under the names of the drift sprint, as it was applied."""
    return {
        "model_version": version,
        "data_window": {"from": timestamp(int(rows.t0[0])), "to": timestamp(int(rows.t0[-1])), "rows": len(rows)},
        "features": rows.names,
        "transform": {
            "returns": "log",
            "scaler": "rolling_zscore_24h" if DAY_Z.intersection(rows.names) else "standard",
            "winsorize_bp": plan.model.winsorise,
        },
        "cv": {"scheme": SCHEMES[plan.validation.scheme], "folds": plan.folds, "embargo_min": fitted.embargo_ms / MINUTE_MS},
        "regularization": {"kind": "L2", "strength": plan.model.l2},
        "calibration": plan.calibration,
    }


def _weights(names: Sequence[str], part: Linear, fitted: Fitted, version: str) -> dict[str, Any]:
    """Return the log-odds as a sum over plain features, (x - center) · weight + bias, and what calibrates them."""
    return {
        "model_version": version,
        "weights": dict(zip(names, part.weights[0].tolist(), strict=True)),
        "center": dict(zip(names, part.center.tolist(), strict=True)),
        "bias": float(part.bias[0]),
        "calibration": [one.describe() for one in fitted.tail.calibrators],
    }


def _scaler(names: Sequence[str], part: Linear, plan: Plan, version: str) -> dict[str, Any]:
    """Return what each column is scaled by, and the bounds that it is kept within; ``winsorize_bp`` is percent a tail."""
    found: dict[str, Any] = {
        "model_version": version,
        "winsorize_bp": plan.model.winsorise,
        "mean": dict(zip(names, part.center.tolist(), strict=True)),
        "std": dict(zip(names, part.scale.tolist(), strict=True)),
    }
    if part.bounds is not None:
        found["lower"] = dict(zip(names, map(float, part.bounds.lower), strict=True))
        found["upper"] = dict(zip(names, map(float, part.bounds.upper), strict=True))
    return found


def _psi(rows: Dataset, fitted: Fitted, reference: Reference, version: str) -> dict[str, Any]:
    """Return PSI of the newest rows of the log against those before, feature by feature, and whether all are within their limits."""
    found = newest_drift(rows.x, fitted.score, reference)
    columns = {column.name: {"psi": column.psi, "usual": column.usual, "limit": column.limit} for one in found for column in one.columns}
    worst = max((column["psi"] for column in columns.values()), default=None)
    within = all(column["psi"] <= column["limit"] for column in columns.values())
    return {
        "model_version": version,
        "window": found[0].window if found else "",
        "psi": columns,
        "psi_score": worst,
        # without a window that is long enough nothing was checked, and that is no pass
        "slo_check": {"pass": bool(columns) and within},
    }
