"""Memory grows with the bars and with nothing else: eight GiB are enough for fifty million of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "dev" / "bench" / "walkforward_bench" / "memory.py"
BARS = 2_000_000
BYTES_A_BAR = 170
"""48 of a bar itself and 72 of its 18 features stay; 50 million of 170 bytes are 8.5e9, just under 8 GiB."""
ONCE_MIB = 280
"""What a process takes whatever the number of bars: its libraries, buffers of the reader, a block of features."""


def test_bars_quality_and_features_take_few_bytes_a_bar() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--bars", str(BARS)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    stages = found["stages"]
    assert (stages["features (18)"]["MiB"] - ONCE_MIB) * 2**20 / BARS < BYTES_A_BAR, found
    assert (stages["bars"]["MiB"] - ONCE_MIB) * 2**20 / BARS < 130, found
