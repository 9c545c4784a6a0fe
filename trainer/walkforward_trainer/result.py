"""How a run says how it ended: ``result.json``, the termination message, the exit code (contract C8)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from walkforward_core.offline import AUC, EXPECTANCY, PRECISION_AT_K, SHARPE
from walkforward_core.runs import TERMINATION_LIMIT, ExitCode, ResultDocument, RunVerdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from walkforward_core.objectstore import ObjectStore

__all__ = ["exit_code", "put_result", "result_uri", "run_folder", "shard_uri", "termination_message", "termination_path"]

SHOWN: Final = (AUC, SHARPE, EXPECTANCY, PRECISION_AT_K, "baseRate", "outcomes", "brier", "ece")
"""The eight metrics of a termination message; a calibration has no more than eight."""
DEFAULT_PATH: Final = "/dev/termination-log"
PATH_VARIABLE: Final = "WALKFORWARD_TERMINATION_LOG"
ELLIPSIS: Final = "…"


def exit_code(result: ResultDocument, failure: ExitCode | None) -> ExitCode:
    """Return the process's exit code; ``failure`` is the code of the error that ended a failed run."""
    if result.verdict is RunVerdict.FAILED:
        return failure if failure is not None else ExitCode.BUG
    return ExitCode.REJECTED if result.verdict is RunVerdict.REJECTED else ExitCode.DONE


def termination_message(result: ResultDocument) -> bytes:
    """Return the result in at most :data:`TERMINATION_LIMIT` bytes; ``more`` says that ``result.json`` has more."""
    names = list(result.metrics)[: len(SHOWN)] if result.verdict is RunVerdict.CALIBRATED else SHOWN
    metrics = {name: float(f"{result.metrics[name]:.6g}") for name in names if name in result.metrics}
    short = replace(result, metrics=metrics, more=len(metrics) < len(result.metrics))
    if len(short.to_bytes()) <= TERMINATION_LIMIT:
        return short.to_bytes()
    text = result.message
    while text:
        # a character may take several bytes, and more when it is escaped
        excess = len(replace(short, message=text + ELLIPSIS, more=True).to_bytes()) - TERMINATION_LIMIT
        if excess <= 0:
            break
        text = text[: -max(1, excess // 6)]
    short = replace(short, message=text + ELLIPSIS, more=True)
    return short.to_bytes()


def put_result(store: ObjectStore, artifacts: str, result: ResultDocument) -> None:
    """Write the full record where the operator finds it when the pod is gone.

    Raises
    ------
    StoreError
        The store did not do as asked.
    """
    store.put(result_uri(artifacts, result.run), result.to_bytes())


def result_uri(artifacts: str, run: str) -> str:
    """Return the address of a run's record."""
    return f"{run_folder(artifacts, run)}result.json"


def shard_uri(artifacts: str, run: str, index: int) -> str:
    """Return the address of the rows of one symbol of several."""
    return f"{run_folder(artifacts, run)}shards/{index}.npz"


def run_folder(artifacts: str, run: str) -> str:
    """Return the address of a run's own folder, with its slash."""
    return f"{artifacts.rstrip('/')}/runs/{run}/"


def termination_path(env: Mapping[str, str] = os.environ) -> Path | None:
    """Return where the termination message goes; nowhere outside a container."""
    if PATH_VARIABLE in env:
        return Path(env[PATH_VARIABLE])
    path = Path(DEFAULT_PATH)
    return path if path.exists() else None
