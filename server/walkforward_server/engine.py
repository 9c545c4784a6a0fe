"""Answering: one pure step from request bytes to response bytes, inline on the event loop.

Whatever is not needed for the answer (counting, the other model's score) is left as :class:`Work` for after the response was written.
"""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from walkforward_core.receipts import Receipt, seal
from walkforward_core.routing import bucket as bucket_of
from walkforward_server.answer import POSITION, Body, Output, encode_answer
from walkforward_server.model import NonFiniteError
from walkforward_server.v2 import BadRequestError, InferRequest, decode_infer, read_rows
from walkforward_server.work import Failure, Scored, Work

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from walkforward_server.model import Model
    from walkforward_server.table import Arm, Columns, PairOf, Table

__all__ = ["Answer", "Engine", "NoModelError", "NotScoredError", "UnknownVersionError"]

MAX_KEYS = 65_536
MAX_NAME = 128
"""Characters of what is kept beyond the request: id, key of the split, symbol."""
MAX_FEATURES = 65_536
FIRST_TS = 100_000_000_000
"""Epoch milliseconds of March 1973: a smaller ``ts`` was given in seconds."""
AHEAD_MS = 86_400_000
"""Market time may run ahead of this machine's clock by a day; more is a mistake that would silence a symbol for good."""
_CHOICES = (b',"fallback":false', b',"fallback":true')


class NoModelError(Exception):
    """Nothing here may answer: no stable model is loaded."""


class NotScoredError(Exception):
    """Every model that may answer failed on this row; ``work`` has the failures to count."""

    def __init__(self, message: str, work: Work | None = None) -> None:
        super().__init__(message)
        self.work = work


class UnknownVersionError(LookupError):
    """The version asked for is not loaded."""


class Answer(NamedTuple):
    """A response body, and what is to be done after it was sent."""

    body: Body
    work: Work | None


class _Scores(NamedTuple):
    """All rows of one request by one model: ``p`` flat and row-major, one position a row, and the further heads that were asked for."""

    p: list[float]
    positions: list[float]
    further: tuple[Output, ...] = ()


class Engine:
    """Routes and answers requests by the current table.

    ``wall`` gives epoch seconds; ``columns_missing`` is told the digest of a candidate and the features that a request does not have.
    """

    def __init__(
        self,
        target: str,
        table: Table,
        *,
        token: bytes | None = None,
        wall: Callable[[], float] = time.time,
        columns_missing: Callable[[str, tuple[str, ...]], None] = lambda _digest, _names: None,
    ) -> None:
        self.target = target
        self.table = table
        self._token = token
        self._wall = wall
        self._columns_missing = columns_missing
        self._buckets: dict[str, int] = {}
        self._receipt_prefix = uuid.uuid4().hex[:12]
        self._receipts = 0

    def install(self, table: Table) -> None:
        """Serve by ``table`` from the next request on."""
        if table.salt != self.table.salt:
            self._buckets.clear()
        self.table = table

    def infer(self, body: bytes, header_length: int | None = None, version: str | None = None, *, repeated: bool = False) -> Answer:
        """Return the answer to one V2 inference request.

        What is ``repeated`` may have ended the process that it was sent to before: the model on trial does not get to see it.

        Raises
        ------
        BadRequestError
            The client's mistake.
        NoModelError, NotScoredError, UnknownVersionError
            Nothing can answer.
        """
        table = self.table
        first = table.stable or table.previous
        if first is None:
            return self._without_model(table, body, header_length)
        spec = table.columns(None).spec if header_length == 0 else None
        request = decode_infer(body, header_length, spec)
        parameters = request.parameters
        self._check(request)
        columns = table.columns(parameters.features)
        rows = read_rows(request, columns.spec)
        if version is not None:
            return self._explicit(table, request, columns, rows, version, repeated=repeated)
        if repeated and table.on_trial is not None:
            return self._again(table, request, columns, rows)
        return self._routed(table, request, columns, rows, first)

    def _routed(self, table: Table, request: InferRequest, columns: Columns, rows: bytes, first: Arm) -> Answer:
        """Split by key, score, and fall back where the chosen model fails."""
        if columns.missing:
            self._report_missing(table, columns)
        bucket = self._bucket(table, request)
        arm, routed = first, first.row
        if 0 <= bucket < table.limit and self._wall() < table.ends:
            if table.candidate is not None and table.candidate.model.digest in columns.gather:
                arm, routed = table.candidate, table.candidate.row
            elif table.candidate is not None or table.absent is not None:
                routed = table.candidate.row if table.candidate is not None else table.absent or routed
        work = Work(table, routed, None, bucket, request.parameters, request.id, columns, rows[-4 * len(columns.spec.columns) :])
        heads = () if request.outputs is None else _heads(request, table.arms)
        answered, scores = self._first_score((arm, table.stable, table.previous), columns, rows, work, heads)
        work.answered = answered.place
        body = encode_answer(
            request,
            answered.head,
            _CHOICES[answered.row is not routed] + self._receipt(table, work),
            _outputs(answered, scores),
        )
        return Answer(body, work)

    def _again(self, table: Table, request: InferRequest, columns: Columns, rows: bytes) -> Answer:
        """Answer without the model on trial: no score, no shadow, and no receipt, since a receipt brings the row back to be scored later.

        Where a promoted model is on trial and the previous one is not here, there is nothing else to answer with.
        """
        arms = [arm for arm in (table.stable, table.previous) if arm is not None]
        order = [arm for arm in arms if arm is not table.on_trial] or arms
        work = Work(table, order[0].row, None, self._bucket(table, request), request.parameters, request.id, None, b"")
        heads = () if request.outputs is None else _heads(request, order)
        answered, scores = self._first_score(order, columns, rows, work, heads)
        work.answered = answered.place
        return Answer(encode_answer(request, answered.head, _CHOICES[answered is not order[0]], _outputs(answered, scores)), work)

    def _first_score(
        self, order: Sequence[Arm | None], columns: Columns, rows: bytes, work: Work, heads: Sequence[str]
    ) -> tuple[Arm, _Scores]:
        """Return the first of ``order`` that can answer, further ``heads`` included."""
        base = work.parameters.base_position or 0.0
        for other in order:
            if other is None or other.place in work.scored or other.model.digest not in columns.gather:
                continue
            if any(name not in other.model.heads for name in heads):
                continue
            scores = _score(other, columns.of(other.model, rows), base, work, heads)
            if scores is not None:
                return other, scores
        if heads and not work.scored:
            raise BadRequestError(f"outputs {', '.join(heads)}: no model that may answer has all of them; ask for one at a time")
        failed = ", ".join(f"{place}: {scored.detail}" for place, scored in work.scored.items())
        raise NotScoredError(f"no model could score this row: {failed}", work)

    def _explicit(self, table: Table, request: InferRequest, columns: Columns, rows: bytes, version: str, *, repeated: bool) -> Answer:
        """Score by one version, outside of all evidence."""
        for arm in table.arms:
            if arm.model.version == version:
                break
        else:
            loaded = ", ".join(arm.model.version for arm in table.arms)
            raise UnknownVersionError(f"version {version!r} is not loaded; loaded: {loaded}")
        if repeated and arm is table.on_trial:
            raise BadRequestError(
                f"version {version} is on trial and does not see a request again that had no answer before; ask without a version"
            )
        if arm.model.digest not in columns.gather:
            raise BadRequestError(
                f"version {version} needs features that the request lacks: {', '.join(columns.missing[arm.model.digest])}"
            )
        work = Work(table, arm.row, arm.place, -1, request.parameters, request.id, columns, b"")
        heads = _heads(request, (arm,))
        scores = _score(arm, columns.of(arm.model, rows), request.parameters.base_position or 0.0, work, heads)
        if scores is None:
            raise NotScoredError(f"model {version} could not score this row: {work.scored[arm.place].detail}")
        return Answer(encode_answer(request, arm.head, _CHOICES[0], _outputs(arm, scores)), None)

    def _without_model(self, table: Table, body: bytes, header_length: int | None) -> Answer:
        """Answer with the base position where the policy is Allow; nothing is scored."""
        if table.nobody is None:
            raise NoModelError("no model is loaded that may answer; see /v1/routing on the admin port")
        request = decode_infer(body, header_length, None)
        self._check(request)
        work = Work(table, table.nobody, None, self._bucket(table, request), request.parameters, request.id, None, b"")
        head = b'{"model_name":"%s","parameters":{"generation":%d,"arm":"none"' % (self.target.encode(), table.generation)
        count = request.inputs[0].shape[0] if request.inputs and request.inputs[0].shape else 1
        position = request.parameters.base_position or 0.0
        count = min(max(count, 1), 1024)
        output = Output(POSITION, "FP64", (count,), [position] * count)
        return Answer(encode_answer(request, head, _CHOICES[1], (output,)), work)

    def _check(self, request: InferRequest) -> None:
        """Refuse parameters that would spoil the evidence."""
        parameters = request.parameters
        if request.id is not None and len(request.id) > MAX_NAME:
            raise BadRequestError(f"id has {len(request.id)} characters, at most {MAX_NAME}")
        base, price, ts = parameters.base_position, parameters.price, parameters.ts
        if base is not None and not -1.0 <= base <= 1.0:
            raise BadRequestError(f"parameter base_position is {base}, expected a number in [-1, 1]")
        if price is not None and not 0.0 < price < float("inf"):
            raise BadRequestError(f"parameter price is {price}, expected a positive number")
        if ts is not None and not FIRST_TS <= ts <= self._wall() * 1000 + AHEAD_MS:
            raise BadRequestError(f"parameter ts is {ts}, expected epoch milliseconds, at most a day ahead of the server's clock")
        if parameters.symbol is not None and len(parameters.symbol) > MAX_NAME:
            raise BadRequestError(f"parameter symbol has {len(parameters.symbol)} characters, at most {MAX_NAME}")
        if parameters.features is not None and len(parameters.features) > MAX_FEATURES:
            raise BadRequestError(f"parameter features has {len(parameters.features)} characters, at most {MAX_FEATURES}")

    def _bucket(self, table: Table, request: InferRequest) -> int:
        """Return the bucket of the request's key, -1 without one."""
        key = getattr(request.parameters, table.split_by)
        if key is None and table.split_by == "id":
            key = request.id
        if not key:
            return -1
        if len(key) > MAX_NAME:
            raise BadRequestError(f"parameter {table.split_by} has {len(key)} characters, at most {MAX_NAME}")
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = bucket_of(key, table.salt.decode("ascii"))
            if len(self._buckets) >= MAX_KEYS:
                self._buckets.clear()
            self._buckets[key] = bucket
        return bucket

    def _report_missing(self, table: Table, columns: Columns) -> None:
        candidate = table.candidate
        if candidate is not None and candidate.model.digest in columns.missing:
            self._columns_missing(candidate.model.digest, columns.missing[candidate.model.digest])

    def _receipt(self, table: Table, work: Work) -> bytes:
        """Return the receipt parameter where outcomes are measured by receipt, else nothing."""
        if not table.receipts:
            return b""
        pair, measure, parameters, columns = table.pair, table.measure, work.parameters, work.columns
        if pair is None or measure is None or columns is None or pair.candidate.model.digest in columns.missing:
            return b""
        needs_base = pair.stable.model.needs_base or pair.candidate.model.needs_base
        if needs_base and parameters.base_position is None:
            return b""
        self._receipts += 1
        receipt = Receipt(
            id=work.id or f"{self._receipt_prefix}-{self._receipts}",
            ts=parameters.ts if parameters.ts is not None else int(self._wall() * 1000),
            symbol=parameters.symbol or "",
            generation=table.generation,
            plan=measure.plan,
            stable=pair.stable.model.version,
            candidate=pair.candidate.model.version,
            base_position=parameters.base_position,
            base_ms=measure.base_ms,
            bar_ms=measure.bar_ms,
            round_trip=measure.round_trip,
            row=_pair_row(pair, columns, work.rows),
        )
        return b',"receipt":"' + seal(receipt, self._token).encode("ascii") + b'"'


def _pair_row(pair: PairOf, columns: Columns, rows: bytes) -> bytes:
    """Return the row in the stable model's order, followed by the candidate's where that differs."""
    stable, candidate = pair.stable.model, pair.candidate.model
    own = columns.of(stable, rows)
    return own if stable.features == candidate.features else own + columns.of(candidate, rows)


def _heads(request: InferRequest, arms: Sequence[Arm]) -> tuple[str, ...]:
    """Return the further heads among the outputs that were asked for; what no arm knows is refused where the answer is written."""
    return tuple(output.name for output in request.outputs or () if any(output.name in arm.model.heads for arm in arms))


def _score(arm: Arm, rows: bytes, base: float, work: Work, heads: Sequence[str]) -> _Scores | None:
    """Score all rows by one model; None, and a failure in ``work``, where it cannot."""
    model = arm.model
    try:
        further = _further(model, rows, heads) if heads else ()
        if len(rows) == model.row_bytes:
            p = model.score(rows)
            work.scored[arm.place] = Scored(rows, p)
            return _Scores(p, [model.position(model.decisive(p), base)], further)
        answer = model.score_rows(np.frombuffer(rows, "<f4").reshape(-1, model.width))
    except NonFiniteError as error:
        work.scored[arm.place] = Scored(rows, None, Failure.NON_FINITE, str(error))
        return None
    except Exception as error:  # noqa: BLE001 - the model is foreign code: whatever it raises, another one answers
        work.scored[arm.place] = Scored(rows, None, Failure.EXCEPTION, f"{type(error).__name__}: {error}")
        return None
    work.scored[arm.place] = Scored(rows[-model.row_bytes :], answer[-1].tolist())
    positions = [model.position(value, base) for value in model.decisive_rows(answer).tolist()]
    return _Scores(answer.ravel().tolist(), positions, further)


def _further(model: Model, rows: bytes, heads: Sequence[str]) -> tuple[Output, ...]:
    answers = model.further(np.frombuffer(rows, "<f4").reshape(-1, model.width), heads)
    return tuple(Output(name, "FP32", answer.shape, answer.ravel().tolist()) for name, answer in zip(heads, answers, strict=True))


def _outputs(arm: Arm, scores: _Scores) -> tuple[Output, ...]:
    model, rows = arm.model, len(scores.positions)
    return (
        Output(model.manifest.output.name, model.datatype, (rows, model.classes), scores.p),
        Output(POSITION, "FP64", (rows,), scores.positions),
        *scores.further,
    )
