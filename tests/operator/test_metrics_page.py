"""The page of the metrics names every metric with its labels, and none that does not exist."""

from __future__ import annotations

import re
from pathlib import Path

from walkforward_operator.metrics import Metrics

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"


def test_the_page_is_complete() -> None:
    page = {}
    for line in PAGE.read_text().splitlines():
        row = re.match(r"\| `(walkforward_\w+)` \| (\w+) \| (.*?) \|", line)
        if row is not None:
            page[row[1]] = (row[2], tuple(re.findall(r"`(\w+)`", row[3])))
    real = {}
    for metric in Metrics().registry._collector_to_names:
        name = metric._name + ("_total" if metric._type == "counter" else "")
        real[name] = (metric._type, tuple(metric._labelnames))
    assert page == real
