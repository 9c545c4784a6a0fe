"""What the hot path reads: one routing document with the models that this pod has for it, immutable, swapped in one assignment."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from walkforward_core.documents import digest
from walkforward_core.errors import DocumentError
from walkforward_core.pods import ModelRole
from walkforward_core.routing import NO_SALT, OutcomeSource, RoutingDocument, WithoutModel
from walkforward_server.v2 import BadRequestError, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from walkforward_core.routing import Measure
    from walkforward_server.model import Model
    from walkforward_server.stats.book import Book, SeenBars
    from walkforward_server.stats.rows import PairCounters, RowCounters

__all__ = ["Arm", "Columns", "PairOf", "Routing", "Table", "build_table", "read_routing"]

MAX_COLUMN_LISTS = 256
"""Distinct ``features`` parameters that are remembered with their plan."""


@dataclass(frozen=True, slots=True)
class Routing:
    """A routing document that was understood; ``digest`` is of its bytes, ``ends`` in epoch seconds (infinite: exposure has no end)."""

    document: RoutingDocument
    digest: str
    ends: float


@dataclass(frozen=True, slots=True)
class Arm:
    """A loaded model at its place in the document, with its counters and the beginning of its answers."""

    place: ModelRole
    model: Model
    row: RowCounters
    head: bytes


@dataclass(frozen=True, slots=True)
class PairOf:
    """Both sides of all evidence: ``candidate`` is the model on trial, also after its promotion."""

    stable: Arm
    candidate: Arm
    counters: PairCounters


@dataclass(frozen=True, slots=True)
class Columns:
    """How the columns of a request become the features of every model; a missing model lacks some of them.

    ``gather`` has None where the request's order is the model's own.
    """

    spec: TensorSpec
    gather: dict[str, np.ndarray[tuple[int], np.dtype[np.intp]] | None]
    missing: dict[str, tuple[str, ...]]

    def of(self, model: Model, rows: bytes) -> bytes:
        """Return ``rows`` (float32, the request's columns) in the order of ``model``."""
        index = self.gather[model.digest]
        if index is None:
            return rows
        return np.frombuffer(rows, "<f4").reshape(-1, len(self.spec.columns))[:, index].tobytes()


@dataclass(frozen=True, slots=True)
class Table:
    """One document as this pod can serve it.

    ``limit`` is the weight in buckets; ``absent`` the row of a candidate that the document names and this pod does not have; ``waits``
    says that both sides of a pair are asked for and one is not here yet, so that drift is counted for neither.
    """

    generation: int
    limit: int
    split_by: str
    salt: bytes
    ends: float
    measure: Measure | None
    stable: Arm | None
    candidate: Arm | None
    previous: Arm | None
    pair: PairOf | None
    waits: bool
    bars: SeenBars
    bar_ms: int
    absent: RowCounters | None
    nobody: RowCounters | None
    allow_nan: bool = False
    _columns: dict[str, Columns] = field(default_factory=dict)

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Every loaded model, stable first."""
        return tuple(arm for arm in (self.stable, self.candidate, self.previous) if arm is not None)

    @property
    def on_trial(self) -> Arm | None:
        """The model that has yet to show that it may stay: the candidate, or a promoted one while the previous model is kept."""
        return next((arm for arm in self.arms if arm.row.role is ModelRole.CANDIDATE), None)

    @property
    def receipts(self) -> bool:
        """Whether answers carry a receipt."""
        return self.pair is not None and self.measure is not None and self.measure.outcomes is OutcomeSource.RECEIPT

    def columns(self, features: str | None) -> Columns:
        """Return the plan for the ``features`` parameter; absent: the order of the stable model (contract C5).

        Raises
        ------
        BadRequestError
            The stable model lacks one of the columns, or one is named twice.
        """
        plan = self._columns.get(features or "")
        if plan is None:
            plan = self._plan(features)
            if len(self._columns) < MAX_COLUMN_LISTS:
                self._columns[features or ""] = plan
        return plan

    def _plan(self, features: str | None) -> Columns:
        arm = self.stable or self.previous
        if arm is None:
            raise ValueError("columns are planned only where a model is loaded")
        given = tuple(name.strip() for name in features.split(",")) if features else arm.model.features
        at = {name: index for index, name in enumerate(given)}
        if len(at) != len(given):
            raise BadRequestError("parameter features names a column twice")
        gather, missing = {}, {}
        for other in self.arms:
            lacking = tuple(name for name in other.model.features if name not in at)
            if lacking:
                missing[other.model.digest] = lacking
            else:
                own = other.model.features == given
                gather[other.model.digest] = None if own else np.array([at[name] for name in other.model.features], np.intp)
        if arm.model.digest in missing:
            lost = ", ".join(missing[arm.model.digest][:5])
            raise BadRequestError(
                f"parameter features lacks {lost}, which model {arm.model.version} needs; send every feature of the metadata"
            )
        name = arm.model.manifest.input.name
        return Columns(spec=TensorSpec.of(name, given, allow_nan=self.allow_nan), gather=gather, missing=missing)


def read_routing(data: bytes) -> Routing:
    """Return the routing document in ``data``.

    Raises
    ------
    DocumentError
        Not a routing document, or a value that no server could act on; the message names it.
    """
    document = RoutingDocument.parse(data, source="routing.json")
    if not 0 <= document.weight <= 100:
        raise DocumentError(f"routing.json: weight is {document.weight}, expected 0 to 100 percent")
    if len(document.salt) != len(NO_SALT) or not document.salt.isascii():
        raise DocumentError(f"routing.json: salt is {document.salt!r}, expected 16 ASCII characters")
    measure = document.measure
    if measure is not None and (min(measure.latency_ms, measure.slice_ms, measure.base_ms, measure.bar_ms) <= 0 or measure.round_trip < 0):
        raise DocumentError("routing.json: measure has a duration that is not positive, or a negative cost")
    return Routing(document=document, digest=digest(data), ends=_epoch(document.exposure_not_after))


def _epoch(text: str | None) -> float:
    if text is None:
        return math.inf
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise DocumentError(f"routing.json: exposureNotAfter is {text!r}, expected RFC 3339 with a zone: {error}") from error
    if moment.tzinfo is None:
        raise DocumentError(f"routing.json: exposureNotAfter is {text!r}, expected a time zone, such as Z")
    return moment.timestamp()


def build_table(routing: Routing, models: Mapping[str, Model], book: Book, target: str, *, standing: Model | None = None) -> Table:
    """Return the table of a document with the ``models`` (by manifest digest) that this pod may serve.

    ``standing`` is the model that answered until now; it keeps answering where the document's stable model is not here yet.
    """
    document = routing.document
    on_trial, reference = document.on_trial, document.reference
    book.open(document.generation)

    def arm(place: ModelRole, digest_: str | None, model: Model | None) -> Arm | None:
        if model is None:
            return None
        trial = on_trial is not None and digest_ == on_trial.digest and on_trial != reference
        role = ModelRole.CANDIDATE if trial else ModelRole.STABLE
        row = book.row(document.generation, model.version, role, model, document.measure)
        return Arm(place=place, model=model, row=row, head=_head(target, model, document.generation, place))

    def named(place: ModelRole) -> Arm | None:
        ref = getattr(document, place.value)
        return None if ref is None else arm(place, ref.digest, models.get(ref.digest))

    stable, candidate, previous = named(ModelRole.STABLE), named(ModelRole.CANDIDATE), named(ModelRole.PREVIOUS)
    if stable is None and previous is None and document.stable is not None and standing is not None:
        stable = arm(ModelRole.STABLE, standing.digest, standing)
    first = stable or previous
    paired = document.shadow or document.previous is not None
    sides = (previous, stable) if document.previous is not None else (stable, candidate)
    complete = paired and sides[0] is not None and sides[1] is not None
    pair = _pair(sides, book, document) if complete else None
    versions = (pair.stable.model.version, pair.candidate.model.version) if pair else (first.model.version if first else "", "")
    nobody = first is None and document.stable is None and document.without_model is WithoutModel.ALLOW
    absent = document.candidate is not None and candidate is None
    return Table(
        generation=document.generation,
        limit=document.weight * 100 if document.candidate is not None else 0,
        split_by=document.split_by.value,
        salt=document.salt.encode("ascii"),
        ends=routing.ends,
        measure=document.measure,
        stable=stable,
        candidate=candidate,
        previous=previous,
        pair=pair,
        waits=paired and on_trial is not None and reference is not None and on_trial != reference and not complete,
        bars=book.bars(*versions),
        bar_ms=_bar_ms(document.measure, first),
        absent=_empty_row(book, document, document.candidate.version, ModelRole.CANDIDATE) if absent and document.candidate else None,
        nobody=_empty_row(book, document, "", ModelRole.STABLE) if nobody else None,
        allow_nan=first is not None and first.model.manifest.input.nan == "Allow",
    )


def _pair(sides: tuple[Arm | None, Arm | None], book: Book, document: RoutingDocument) -> PairOf | None:
    stable, candidate = sides
    if stable is None or candidate is None or stable.model.digest == candidate.model.digest:
        return None
    counters = book.pair(document.generation, stable.model.version, candidate.model.version)
    return PairOf(stable=stable, candidate=candidate, counters=counters)


def _empty_row(book: Book, document: RoutingDocument, version: str, role: ModelRole) -> RowCounters:
    return book.row(document.generation, version, role, None, document.measure)


def _bar_ms(measure: Measure | None, arm: Arm | None) -> int:
    if measure is not None:
        return measure.bar_ms
    if arm is None:
        return 1
    horizon = arm.model.manifest.horizon
    return max(1, horizon.ms // max(1, horizon.bars))


def _head(target: str, model: Model, generation: int, place: ModelRole) -> bytes:
    """Return the part of every answer's ``parameters`` that is the same for all of this arm's answers."""
    head = {"version": model.version, "bundle": model.digest, "generation": generation, "arm": place.value}
    named = {"model_name": target, "model_version": model.version}
    return msgspec.json.encode(named)[:-1] + b',"parameters":' + msgspec.json.encode(head)[:-1]
