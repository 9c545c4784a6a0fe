"""The reference page of conditions and reasons: what each means and what a person does about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from walkforward_operator.reasons import GROUPS, ConditionType, Reason
from walkforward_operator.schema.descriptions import field_descriptions

if TYPE_CHECKING:
    from collections.abc import Iterable
    from enum import StrEnum

__all__ = ["reasons_page"]

_HEAD = """\
<!-- Made by `python -m walkforward_operator.schema` from operator/walkforward_operator/reasons.py; do not edit. -->

# Conditions and reasons of a ModelRollout

A reason is one word for programs: in `status.reason`, in conditions, in Events, in `status.history` and in the ledger it is the same.
The message beside it is one sentence for people, with the numbers and the next step.

`Ready`, `Reconciling` and `Stalled` follow kstatus: working is `Reconciling=True`, done is `Ready=True` alone, given up is `Ready=False`
with `Stalled=True`. `kubectl wait --for=condition=Ready`, Helm and Flux understand them as they are. A condition that is not there is not
true.
"""


def reasons_page() -> str:
    """Return the page as Markdown."""
    first = {reason: title for title, reason in GROUPS}
    parts = [_HEAD, "## Conditions\n", *_table("condition", ConditionType, ConditionType)]
    groups: list[tuple[str, list[Reason]]] = []
    for reason in Reason:
        if reason in first:
            groups.append((first[reason], []))
        groups[-1][1].append(reason)
    for title, reasons in groups:
        parts += [f"\n## {title}\n", *_table("reason", Reason, reasons)]
    return "\n".join(parts) + "\n"


def _table(what: str, kind: type[StrEnum], members: Iterable[StrEnum]) -> list[str]:
    described = field_descriptions(kind)
    rows = [f"| `{member.value}` | {described[member.name]} |" for member in members]
    return [f"| {what} | what it means, what to do |", "|---|---|", *rows]
