"""Every word that a gate may say is explained to people."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from walkforward_core import gates
from walkforward_core.gates import GateReason, SignalKind

PAGE = (Path(__file__).parents[2] / "docs/reference/gates.md").read_text()


@pytest.mark.parametrize(("title", "words"), [("Reasons", GateReason), ("Notices", SignalKind)])
def test_every_reason_is_explained_and_none_is_invented(title: str, words: type[GateReason | SignalKind]) -> None:
    section = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == sorted(word.value for word in words)


def test_every_gate_has_a_section() -> None:
    for module in (gates.psi, gates.sharpe, gates.latency, gates.error_rate, gates.offline_auc):
        assert f"\n## {module.NAME}\n" in PAGE
