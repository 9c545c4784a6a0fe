"""What people ask for by annotation, one verb each, as a flat JSON object (contract C1).

An action is bound to a candidate and echoed with its outcome; the last id of every verb is kept, so that none runs twice. Whoever may
not ask has been refused by admission before: ``by`` is the requester.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from walkforward_core.names import VERBS, action_annotation
from walkforward_operator.reasons import Reason
from walkforward_operator.rollout.clock import stamp
from walkforward_operator.rollout.status import ACTIONS_KEPT, ActionOutcome, ActionRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from walkforward_operator.rollout.turn import Turn

__all__ = ["Request", "answer", "parse", "request_for"]

LIMIT: Final = 1024
"""Longest value that is read, in characters; admission refuses longer ones."""
_BOUND: Final = frozenset({"approve", "promote", "retry"})
"""Verbs that open something name their candidate; those that stop something may mean whatever is on trial."""
_FIELDS: Final = ("id", "candidate", "phase", "by", "reason")


@dataclass(frozen=True, slots=True)
class Request:
    """One action as it was asked for; ``problem`` says why it cannot be understood."""

    verb: str
    id: str
    candidate: str = ""
    phase: str = ""
    by: str = ""
    reason: str = ""
    problem: str = ""


def parse(annotations: Mapping[str, str]) -> dict[str, Request]:
    """Return the actions by verb; a value that is no flat object of strings becomes a request with a problem."""
    asked = ((verb, annotations.get(action_annotation(verb), "")) for verb in VERBS)
    return {verb: _parse(verb, text) for verb, text in asked if text}


def request_for(turn: Turn, verb: str) -> Request | None:
    """Return the action ``verb`` where it is asked for and was not handled yet; one that cannot be read is None too."""
    request = parse(turn.rollout.annotations).get(verb)
    return None if request is None or request.problem or turn.status.handled.get(verb) == request.id else request


def unreadable(turn: Turn) -> Turn:
    """Answer the actions that cannot be understood."""
    for request in parse(turn.rollout.annotations).values():
        if request.problem and turn.status.handled.get(request.verb) != request.id:
            turn = answer(turn, request, ActionOutcome.REFUSED, request.problem)
    return turn


def answer(turn: Turn, request: Request, outcome: ActionOutcome, message: str) -> Turn:
    """Return the turn with the action handled: echoed, and never to be done again."""
    echo = ActionRecord(
        id=request.id,
        verb=request.verb,
        candidate=request.candidate,
        phase=request.phase,
        by=request.by,
        reason=request.reason,
        outcome=outcome,
        message=message,
        at=stamp(turn.now_ms),
    )
    actions = (*turn.status.actions, echo)[-ACTIONS_KEPT:]
    turn = turn.with_status(actions=actions, handled={**turn.status.handled, request.verb: request.id})
    if outcome is ActionOutcome.DONE:
        return turn
    return turn.tell(Reason.ACTION_REFUSED, f"{request.verb} {request.id} by {request.by or 'unknown'}: {message}", warning=True)


def _parse(verb: str, text: str) -> Request:
    # its id cannot be read, so the text itself stands for it: answered once, not at every look
    nameless = "unreadable-" + hashlib.sha256(text.encode()).hexdigest()[:16]
    if len(text) > LIMIT:
        return Request(verb, nameless, problem=f"{len(text)} characters, at most {LIMIT} are read")
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        return Request(verb, nameless, problem=f"no JSON: {error}")
    if not isinstance(found, dict):
        return Request(verb, nameless, problem='no JSON object; write {"id":"…","candidate":"…","by":"…"}')
    fields = {name: str(found.get(name, ""))[:253] for name in _FIELDS}
    needed = ("id", "candidate") if verb in _BOUND else ("id",)
    problem = next((f'"{name}" is missing' for name in needed if not fields[name]), "")
    return Request(verb=verb, problem=problem, **{**fields, "id": fields["id"] or nameless})
