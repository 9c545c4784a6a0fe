"""What an answer leaves to do once it is on its way."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from walkforward_core.pods import ModelRole
    from walkforward_server.stats.rows import RowCounters
    from walkforward_server.table import Columns, Table
    from walkforward_server.v2 import Parameters

__all__ = ["Failure", "Scored", "Work"]


class Failure(StrEnum):
    """How a score failed."""

    EXCEPTION = "Exception"
    NON_FINITE = "NonFinite"


@dataclass(slots=True)
class Scored:
    """One model on the last row of a request: ``p`` are its probabilities, None where it failed, as ``detail`` says."""

    row: bytes
    p: list[float] | None
    failure: Failure | None = None
    detail: str = ""


@dataclass(slots=True)
class Work:
    """One answered request, to be counted after the response was written.

    ``routed`` is the row of the model that should answer, ``answered`` the place of the one that did; ``bucket`` is -1 without a key.
    ``rows`` are the request's last row in its own columns; ``scored`` holds what the answer already needed, by place.
    """

    table: Table
    routed: RowCounters
    answered: ModelRole | None
    bucket: int
    parameters: Parameters
    id: str | None
    columns: Columns | None
    rows: bytes
    scored: dict[ModelRole, Scored] = field(default_factory=dict)
    seconds: float = 0.0
    ended: float = 0.0
