"""The same rows, seed and image give the same model.onnx, byte by byte, in another process: for every base model and every recipe."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from datasets import __file__ as datasets

from walkforward_trainer.recipes.table import BUILT_IN

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


SAME = ("model.onnx", "golden.json", "reference.json")
"""Files of a bundle in which nothing of a run's own stands: the manifest has the address of the data, the report the hour."""


def environment(**changes: str) -> dict[str, str]:
    """Return the environment of a process that finds what tests share; how many threads there are is for ``changes`` to say."""
    named = ("OMP_", "OPENBLAS_", "MKL_", "POLARS_", "PYTHONHASHSEED")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(named)}
    return kept | {"PYTHONPATH": f"{Path(datasets).parent}{os.pathsep}{kept.get('PYTHONPATH', '')}"} | changes


def side_by_side(*asked: tuple[list[str], dict[str, str]]) -> list[dict[str, Any]]:
    """Return what processes of these arguments and environments print."""
    begun = [
        subprocess.Popen([sys.executable, *arguments], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for arguments, env in asked
    ]
    said = [process.communicate(timeout=600) for process in begun]
    assert [process.returncode for process in begun] == [0] * len(begun), "".join(errors for _, errors in said)
    return [json.loads(printed) for printed, _ in said]


def test_other_processes_make_the_same_bytes() -> None:
    one, other = side_by_side(
        (["-c", SCRIPT], environment(PYTHONHASHSEED="1", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", TZ="UTC")),
        (["-c", SCRIPT], environment(PYTHONHASHSEED="2", OMP_NUM_THREADS="2", OPENBLAS_NUM_THREADS="2", TZ="Asia/Tokyo", LC_ALL="C")),
    )
    assert one == other
    assert len(one) == 12
    assert len({model for model, _ in one.values()}) == 12


def test_every_recipe_makes_the_same_bytes_whatever_the_order_of_files_and_the_threads() -> None:
    """Whole runs, from files to bundle."""
    script = str(Path(datasets).parent / "recipe_digests.py")
    one, other = side_by_side(
        ([script, "abc"], environment(PYTHONHASHSEED="0", OMP_NUM_THREADS="1", POLARS_MAX_THREADS="1")),
        ([script, "cba"], environment(PYTHONHASHSEED="7", OMP_NUM_THREADS="4", OPENBLAS_NUM_THREADS="2", POLARS_MAX_THREADS="3")),
    )
    for name in BUILT_IN:
        assert {file: one[name].get(file) for file in SAME} == {file: other[name].get(file) for file in SAME}, name
        assert set(SAME) <= set(one[name]), one[name]
    assert len({found["model.onnx"] for found in one.values()}) == len(BUILT_IN)
