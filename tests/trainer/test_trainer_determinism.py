"""The same rows, seed and image give the same model.onnx, byte by byte, in another process, for every base model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from datasets import __file__ as datasets

SCRIPT = """
import hashlib, json
from dataclasses import replace
from datasets import KINDS, plan_of, rows_of
from walkforward_core.api.recipe import Calibration, Scheme
from walkforward_trainer.fit import fit
from walkforward_trainer.models.table import models
from walkforward_trainer.resolved import Head, Join, Model, Target, Validation

HELD = Validation(scheme=Scheme.HOLDOUT, folds=2, embargo="0s", train_share=0.6, calibration_share=0.2)
PRICE = Head("price", Target(kind="Price"), coverage=0.8)
found = {}
for classes in (2, 3):
    rows = rows_of(classes, count=240)
    rows = replace(rows, targets={"price": rows.returns})
    for name in (*models(), "all"):
        many = name == "all"
        joined = dict(join=Join.VOTE, calibration=Calibration.PLATT, heads=(PRICE,)) if many else {}
        plan = plan_of(tuple(models()) if many else (name,), KINDS[classes], model=Model(trees=6, depth=3), validation=HELD, **joined)
        fitted = fit(rows, plan)
        found[f"{name}{classes}"] = [hashlib.sha256(data).hexdigest() for data in (fitted.model, fitted.unseen_p.tobytes())]
print(json.dumps(found))
"""


def digests(**environment: str) -> dict[str, list[str]]:
    """Return the digests of models and of their answers on unseen rows, from a process of its own."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "OPENBLAS_"))} | environment
    support = f"{Path(datasets).parent}{os.pathsep}{environ.get('PYTHONPATH', '')}"
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environ | {"PYTHONPATH": support}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    found: dict[str, list[str]] = json.loads(ended.stdout)
    return found


def test_other_processes_make_the_same_bytes() -> None:
    one = digests(PYTHONHASHSEED="1", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", TZ="UTC")
    other = digests(PYTHONHASHSEED="2", OMP_NUM_THREADS="3", OPENBLAS_NUM_THREADS="2", TZ="Asia/Tokyo", LC_ALL="C")
    assert one == other
    assert len(one) == 12
    assert len({model for model, _ in one.values()}) == 12
