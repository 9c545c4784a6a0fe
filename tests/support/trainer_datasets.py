"""Datasets and plans made by hand, for stages that need no bars."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from trainer_runs import HOUR, eurusd, run_document, spec

from walkforward_trainer.dataset import Dataset, FixedColumns
from walkforward_trainer.plan import Plan, make_plan

START = 1_700_000_000_000


def dataset(x: npt.NDArray[np.float32], y: npt.NDArray[np.float64], *, horizon: int = 1, **changes: Any) -> Dataset:
    """Return hourly rows of ``x`` (n, f) and ``y`` (n,) whose labels look ``horizon`` rows ahead; ``changes`` replace fields."""
    count, names = len(x), tuple(f"x{index}" for index in range(x.shape[1]))
    t0 = START + HOUR * np.arange(count, dtype=np.int64)
    fields: dict[str, Any] = {
        "x": x,
        "names": names,
        "y": y,
        "t0": t0,
        "t1": t0 + horizon * HOUR,
        "returns": np.where(np.isnan(y), np.nan, np.where(np.nan_to_num(y) > 0, 0.002, -0.002)),
        "base": np.ones(count),
        "weight": np.ones(count),
        "symbol": np.zeros(count, np.int16),
        "symbols": ("EURUSD",),
        "digest": "sha256:0",
        "columns": FixedColumns(x, names),
        "warmup": 0,
        "horizon_ms": horizon * HOUR,
    }
    return Dataset(**(fields | changes))


def plan_of(*, overrides: dict[str, Any] | None = None, validation: dict[str, Any] | None = None, **changes: Any) -> Plan:
    """Return the plan of the demo's retrain with ``overrides`` and ``validation`` of the spec; ``changes`` replace fields of the plan."""
    fields = spec(eurusd(), Path("/nowhere"))
    if overrides is not None:
        fields["overrides"] = overrides
    if validation is not None:
        fields["validation"] = validation
    return replace(make_plan(run_document(fields)), **changes)
