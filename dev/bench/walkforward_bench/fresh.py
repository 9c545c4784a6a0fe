"""Commands in fresh processes, as a Job starts them: what each used, and what it said."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

import yaml

from walkforward_bench.record import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["PEERS", "median", "scored", "stages", "used", "whole"]

PEERS: Final = ROOT / "dev" / "bench" / "peers"
IMAGE: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "2", "ORT_DISABLE_TELEMETRY": "1"}
"""What Dockerfile.trainer sets."""


def used(command: Sequence[str], home: Path) -> tuple[dict[str, float], str, str]:
    """Run a command in a fresh process; return wall and CPU seconds and peak memory, its output and its log.

    Raises
    ------
    RuntimeError
        It failed.
    """
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": f"{ROOT / 'core'}:{ROOT / 'trainer'}", **IMAGE}
    result = home / "usage.json"
    ended = subprocess.run(
        [sys.executable, "-I", "-S", str(PEERS / "usage.py"), str(result), *command],
        env=environ, cwd=home, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if ended.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {ended.returncode}: {ended.stderr[-2000:]}")
    return json.loads(result.read_text()), ended.stdout, ended.stderr


def scored(python: Path | str, script: str, *words: str, home: Path) -> dict[str, float]:
    """Run one of the peers' scripts; return what it used, and ``auc`` from what it printed."""
    found, said, _ = used([str(python), str(PEERS / script), *words], home)
    return {**found, "auc": float(said.split()[-1])}


def whole(python: Path, manifest: Mapping[str, Any], home: Path, number: int = 0) -> tuple[dict[str, float], dict[str, float]]:
    """Run the trainer as its image does, with a store of its own so that it publishes; return what it used, and its stages' seconds.

    Raises
    ------
    RuntimeError
        It failed, or published nothing.
    """
    name = f"{manifest['metadata']['name']}-{number}"
    spec = {**manifest["spec"], "artifacts": {**manifest["spec"]["artifacts"], "uri": (home / f"models-{name}").as_uri()}}
    path = home / f"{name}.yaml"
    path.write_text(yaml.safe_dump({**manifest, "spec": spec}))
    found, said, log = used([str(python), "-m", "walkforward_trainer", "run", "--allow-file", "--spec", str(path)], home)
    result = json.loads(said)
    if result["verdict"] != "Published":
        raise RuntimeError(f"the retrain {name} ended {result['verdict']}: {result['message']}")
    return {**found, "auc": result["metrics"]["auc"]}, stages(log)


def stages(log: str) -> dict[str, float]:
    """Return the wall seconds of each stage that the trainer's log says is over."""
    found: dict[str, float] = {}
    for line in log.splitlines():
        record = json.loads(line) if line.startswith("{") else {}
        if "ms" in record.get("fields", {}):
            found[record["stage"]] = record["fields"]["ms"] / 1_000
    return found


def median(taken: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the medians of figures of the same names."""
    return {name: statistics.median(one[name] for one in taken) for name in taken[0]}
