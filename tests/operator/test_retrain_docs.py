"""The operations page names every reason, with the remedy that stands in the code."""

from __future__ import annotations

import ast
import inspect
from itertools import pairwise
from pathlib import Path

from walkforward_operator.retrain import reasons
from walkforward_operator.retrain.status import RetrainPhase

PAGE = Path(__file__).parents[2] / "docs" / "operations-retrain.md"


def remedies() -> dict[str, str]:
    """The literal below each member is its remedy."""
    [members] = [node for node in ast.parse(inspect.getsource(reasons)).body if isinstance(node, ast.ClassDef)]
    found = {}
    for member, text in pairwise(members.body):
        if isinstance(member, ast.Assign) and isinstance(member.value, ast.Constant):
            assert isinstance(text, ast.Expr), member.value.value
            assert isinstance(text.value, ast.Constant), member.value.value
            found[str(member.value.value)] = str(text.value.value)
    return found


def test_every_reason_has_a_remedy_and_the_page_has_it() -> None:
    assert set(remedies()) == set(reasons.RetrainReason)
    lines = set(PAGE.read_text().splitlines())
    missing = [reason for reason, remedy in remedies().items() if f"| `{reason}` | {remedy} |" not in lines]
    assert missing == []


def test_the_page_has_every_phase() -> None:
    text = PAGE.read_text()
    assert [phase for phase in RetrainPhase if f"| `{phase}` |" not in text] == []
