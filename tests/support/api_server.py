"""A real API server with the project's CRDs, for integration tests."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml

from walkforward_cluster import ApiOnly

if TYPE_CHECKING:
    from collections.abc import Iterator

CRDS = Path(__file__).parents[2] / "crds"
_CRD_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
RealApi: TypeAlias = ApiOnly


@contextmanager
def real_api(*, kwok_nodes: int = 0, controllers: bool = True) -> Iterator[RealApi]:
    """Start one, with the CRDs established."""
    with ApiOnly(kwok_nodes=kwok_nodes, controllers=controllers) as running:
        for file in sorted(CRDS.glob("*.yaml")):
            crd = yaml.safe_load(file.read_text())
            status, answer = running.api.request("POST", _CRD_PATH, crd)
            assert status == 201, answer
            _wait_established(running, crd["metadata"]["name"])
        yield running


def _wait_established(running: RealApi, name: str) -> None:
    for _ in range(200):
        status, body = running.api.request("GET", f"{_CRD_PATH}/{name}")
        found: dict[str, Any] = json.loads(body)
        conditions = {entry["type"]: entry["status"] for entry in found.get("status", {}).get("conditions") or ()}
        if status == 200 and conditions.get("Established") == "True":
            return
        time.sleep(0.05)
    raise AssertionError(f"{name} was not established within 10 s")
