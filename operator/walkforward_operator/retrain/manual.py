"""The annotation that asks for a run by hand: ``walkforward.dev/run`` = one flat JSON object (contract C1).

``{"id": "1", "mode": "Full", "force": false, "skipGates": "auc", "reason": "…", "by": "alice"}``. An id runs once. What cannot be
read, or asks for something that is not there, is refused with a message and never carried out in part.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from walkforward_core.api.recipe import Recipe
from walkforward_core.names import RUN_ANNOTATION
from walkforward_core.offline import names
from walkforward_core.runs import RunMode, SkippedGate

if TYPE_CHECKING:
    from walkforward_core.api.offline import OfflineGates
    from walkforward_core.api.retrain import RetrainSpec

__all__ = ["ManualRequest", "RequestError", "parse", "request_digest"]

_EXAMPLE = '{"id": "1", "mode": "Full", "by": "<your user name>"}'
_LIMIT = 1024


class RequestError(ValueError):
    """A manual run that cannot be carried out; the message names field, value, reason and next step."""


class ManualRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A run that a person asks for; ``skip_gates`` are names with commas between them."""

    id: Annotated[str, Meta(min_length=1, max_length=128)]
    by: Annotated[str, Meta(min_length=1, max_length=253)]
    mode: RunMode = RunMode.FULL
    force: bool = False
    skip_gates: Annotated[str, Meta(max_length=256)] = ""
    reason: Annotated[str, Meta(max_length=512)] = ""

    def check(self, spec: RetrainSpec) -> None:
        """Refuse what ``spec`` has nothing for; raises :class:`RequestError`."""
        if self.mode is RunMode.CALIBRATE and spec.data.trades is None and spec.recipe != Recipe.RISK_FILTER:
            raise RequestError("mode 'Calibrate' measures executions, and spec.data.trades does not say where the log of trades is: add it")

    def skipped(self, gates: OfflineGates) -> tuple[SkippedGate, ...]:
        """Return the gates to skip, each with the reason.

        Raises
        ------
        RequestError
            A gate that the spec does not have, or no reason: publishing what was not proven must be explained.
        """
        asked = tuple(dict.fromkeys(name for name in re.split(r"[,\s]+", self.skip_gates) if name))
        known = names(gates)
        for name in asked:
            if name not in known:
                raise RequestError(f"skipGates names {name!r}, but spec.gates has only {', '.join(known)}: correct the name")
        if asked and not self.reason.strip():
            raise RequestError(f'skipGates {self.skip_gates!r} needs a reason, which is recorded in the manifest: add "reason"')
        return tuple(SkippedGate(name=name, reason=self.reason.strip()) for name in asked)


def request_digest(text: str) -> str:
    """Return what tells one annotation's text from another."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def parse(text: str) -> ManualRequest:
    """Return the request in an annotation's text.

    Raises
    ------
    RequestError
        Not one flat JSON object with the fields above.
    """
    if len(text) > _LIMIT:
        raise RequestError(f"{RUN_ANNOTATION} has {len(text)} characters, at most {_LIMIT} are read: shorten it")
    try:
        return msgspec.json.decode(text.encode(), type=ManualRequest)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise RequestError(f"{RUN_ANNOTATION} cannot be read ({error}): write {_EXAMPLE}") from error
