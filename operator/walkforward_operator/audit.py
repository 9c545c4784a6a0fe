"""The audit table ``ab_test_runs``: one row for each walk that was promoted or rolled back, beside the ledger and made from its entries.

The names of its fields are those that dashboards of such a table already read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from walkforward_operator.rollout.clock import millis

if TYPE_CHECKING:
    from walkforward_core.routing import RolloutRef
    from walkforward_operator.rollout.model import Record

__all__ = ["AB_TEST_RUNS", "AbTestRun", "ab_test_run"]

AB_TEST_RUNS = "ab_test_runs"


class AbTestRun(msgspec.Struct, frozen=True, kw_only=True):
    """One row; arm A is the stable model, arm B the candidate, times are UTC."""

    ts_ms: int
    ts_iso: str
    namespace: str
    rollout: str
    arm_a_version: str
    arm_b_version: str
    arm_a_trades: int
    arm_b_trades: int
    swap_recommended: bool
    swap_executed: bool
    reason: str
    seq: int


class _Model(msgspec.Struct, frozen=True):
    version: str


class _Trial(msgspec.Struct, frozen=True, rename="camel"):
    stable: str
    outcomes: int
    recommended: bool
    executed: bool


class _Entry(msgspec.Struct, frozen=True, rename="camel"):
    """The part of a ledger entry that a row is made of."""

    at: str
    kind: str
    candidate: _Model | None = None
    reason: str = ""
    ab_test: _Trial | None = None


def ab_test_run(rollout: RolloutRef, record: Record) -> tuple[str, bytes] | None:
    """Return path and bytes of the row of a ledger entry, None where no trial ended with it; the same entry makes the same bytes."""
    try:
        entry = msgspec.json.decode(record.body, type=_Entry)
    except msgspec.ValidationError:
        return None  # the ledger takes what it is given; a row needs more
    trial = entry.ab_test
    if trial is None or entry.candidate is None:
        return None
    row = AbTestRun(
        ts_ms=millis(entry.at),
        ts_iso=entry.at,
        namespace=rollout.namespace,
        rollout=rollout.name,
        arm_a_version=trial.stable,
        arm_b_version=entry.candidate.version,
        arm_a_trades=trial.outcomes,
        arm_b_trades=trial.outcomes,
        swap_recommended=trial.recommended,
        swap_executed=trial.executed,
        reason=entry.reason or entry.kind,
        seq=record.seq,
    )
    time = entry.at.replace("-", "").replace(":", "")
    return f"{AB_TEST_RUNS}/{time}-{rollout.namespace}-{rollout.name}-{record.seq}.json", msgspec.json.encode(row) + b"\n"
