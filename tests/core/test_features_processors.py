"""A client on an older processor computes the trainer's bits: numpy's logarithm may differ there, the float32 does not."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np
import pytest
from feature_rows import random_bars

from walkforward_core.features import FEATURES, Of, compute

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import sys
import numpy as np
from walkforward_core.features import Bars, compute
bars = Bars(*np.load(sys.argv[1])["bars"])
np.save(sys.argv[2], compute(bars, sys.argv[3].split(",")))
"""


def test_the_bits_do_not_depend_on_the_processor(tmp_path: Path) -> None:
    core = import_module("numpy._core._multiarray_umath")
    extra = [feature for feature in core.__cpu_dispatch__ if core.__cpu_features__[feature]]
    if not extra:
        pytest.skip("this processor has nothing beyond what numpy takes for granted")
    names = [name for name, feature in FEATURES.items() if feature.of is Of.BARS]
    bars = random_bars(4, 4_000)
    np.savez(tmp_path / "bars.npz", bars=[bars.time, bars.open, bars.high, bars.low, bars.close, bars.volume])
    environ = {**os.environ, "NPY_DISABLE_CPU_FEATURES": " ".join(extra)}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "bars.npz"), str(tmp_path / "found.npy"), ",".join(names)]
    subprocess.run(command, env=environ, check=True, timeout=60, capture_output=True)
    assert np.load(tmp_path / "found.npy").tobytes() == compute(bars, names).tobytes()
