"""The smallest valid object of each kind."""

from __future__ import annotations

from typing import Any

from kube import deep

API = "walkforward.dev/v1alpha1"


def retrain(namespace: str, name: str = "fx", **spec: Any) -> dict[str, Any]:
    """A ModelRetrain; ``spec`` is merged in, None removes."""
    base = {"data": {"uri": "s3://models/bars.csv", "symbols": ["EURUSD"], "windowBars": 2000}, "artifacts": {"uri": "s3://models/fx"}}
    return {"apiVersion": API, "kind": "ModelRetrain", "metadata": {"name": name, "namespace": namespace}, "spec": deep(base, spec)}


def rollout(namespace: str, name: str = "fx", **spec: Any) -> dict[str, Any]:
    """A ModelRollout; ``spec`` is merged in, None removes."""
    base = {"target": {"deployment": "fx-server"}, "source": {"retrainRef": {"name": "fx"}}}
    return {"apiVersion": API, "kind": "ModelRollout", "metadata": {"name": name, "namespace": namespace}, "spec": deep(base, spec)}
