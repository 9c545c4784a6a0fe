"""Writes of the routing document: the planned ones, which go through ``pending`` first, and the documents that they carry."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import structs

from walkforward_core.documents import digest
from walkforward_core.routing import NO_SALT, ModelRef, RoutingDocument
from walkforward_operator.rollout.clock import stamp
from walkforward_operator.rollout.model import SetFinalizer, WriteRouting
from walkforward_operator.rollout.status import ENTRIES_KEPT, Entry, Pending, Purpose, Written

if TYPE_CHECKING:
    from walkforward_operator.rollout.status import Model, Walk
    from walkforward_operator.rollout.turn import Turn

__all__ = ["VERDICT", "at_rest", "body", "needs_finalizer", "plan_write", "record", "ref_of", "written"]

VERDICT = "Verdict"
"""Kind of the entries that only say that a gate changed its mind: the first to go when the ledger lags far behind."""


def at_rest(document: RoutingDocument, **changes: Any) -> RoutingDocument:
    """Return the document with nothing on trial: stable serves everything."""
    return structs.replace(
        document,
        **{
            "candidate": None,
            "previous": None,
            "weight": 0,
            "shadow": False,
            "salt": NO_SALT,
            "prove_on": None,
            "exposure_not_after": None,
            "abort": None,
            "measure": None,
            **changes,
        },
    )


def ref_of(model: Model) -> ModelRef:
    """Return a model as the routing document names it."""
    return ModelRef(version=model.version, uri=model.uri, digest=model.digest, model=model.model)


def written(document: RoutingDocument) -> Written:
    """Return the document as the status keeps it."""
    text = document.to_bytes()
    return Written(generation=document.generation, digest=digest(text), weight=document.weight, document=text.decode())


def needs_finalizer(document: RoutingDocument | None) -> bool:
    """Return whether deleting the rollout under ``document`` must bring traffic back first."""
    return document is not None and (document.weight > 0 or document.previous is not None)


def plan_write(
    turn: Turn, document: RoutingDocument, purpose: Purpose, *, walk: Walk | None, entry: str = "", takeover: bool = False
) -> Turn:
    """Return the turn with a write recorded as pending, to be made once the status is written; the chain ends here.

    ``document`` has its generation already; ``walk`` is the walk as it is once the document is there.
    """
    kept, found = written(document), turn.document
    pending = Pending(
        generation=kept.generation,
        digest=kept.digest,
        weight=kept.weight,
        purpose=purpose,
        document=kept.document,
        walk=walk,
        record=entry,
    )
    guard = needs_finalizer(document) and not turn.rollout.has_finalizer and turn.rollout.deleting_since_ms is None
    if guard:
        turn = turn.do(SetFinalizer(present=True))
    write = WriteRouting(document, found.resource_version if found is not None else None, takeover)
    return turn.with_routing(pending=pending, generation=kept.generation).do(write).end()


def body(turn: Turn, kind: str, **facts: Any) -> str:
    """Return the text of a ledger entry: what was decided, about whom, on what the gates said."""
    walk, applied = turn.walk, turn.applied
    parts = {
        "kind": kind,
        "at": stamp(turn.now_ms),
        "rollout": turn.ref,
        "specGeneration": turn.rollout.generation,
        "candidate": walk.model if walk is not None else None,
        "stable": applied.stable if applied is not None else None,
        "plan": walk.plan if walk is not None else "",
        "step": walk.step if walk is not None else 0,
        "gates": [
            {
                "name": result.name,
                "verdict": result.verdict,
                "reason": result.reason,
                "value": result.value,
                "threshold": result.threshold,
                "samples": result.samples,
                "dryRun": result.dry_run,
            }
            for result in turn.results
        ],
        **facts,
    }
    return msgspec.json.encode(parts).decode()


def record(turn: Turn, kind: str, text: str) -> Turn:
    """Return the turn with an entry for the ledger; when very many wait, those that only tell a change of mind go first."""
    entries = (*turn.status.entries, Entry(seq=turn.status.sequence + 1, kind=kind, body=text))
    while len(entries) > ENTRIES_KEPT:
        spare = next((entry for entry in entries if entry.kind == VERDICT), entries[0])
        entries = tuple(entry for entry in entries if entry is not spare)
    return turn.with_status(entries=entries, sequence=turn.status.sequence + 1)


def first_write(turn: Turn, document: RoutingDocument) -> Turn:
    """Return the turn with a document to be written before anything else: only ever an abort."""
    found = turn.document
    write = WriteRouting(document, found.resource_version if found is not None else None, takeover=found is not None and not turn.mine)
    return replace(turn, first=(*turn.first, write)).with_routing(applied=written(document), pending=None, generation=document.generation)
