"""Client of the model server, for the process that trades.

It keeps a few connections open so that the Service spreads them over the pods, moves off a pod that goes away, and asks again where an
answer is lost on the way: a trade must not fail because a pod was replaced. Every further attempt says that it is one, and servers answer
it by the model that has proven itself: a row that ended one server must not be carried to the next.

    ClientError
    ├── BadRequest      the server refused the request; its message names the tensor
    └── NoAnswer        no pod answered within the attempts
"""

from __future__ import annotations

import http.client
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from walkforward_core.errors import WalkforwardError
from walkforward_core.names import ATTEMPT_HEADER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["BadRequest", "Client", "ClientError", "NoAnswer", "Prediction"]

_BUSY = frozenset({502, 503, 504})


class ClientError(WalkforwardError):
    """The server did not answer as asked."""


class BadRequest(ClientError):  # noqa: N818 - named as HTTP names it
    """The server refused the request."""


class NoAnswer(ClientError):  # noqa: N818 - says what is missing
    """No pod answered within the attempts."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer. ``p`` has one probability a class; ``receipt`` is what an outcome is reported with."""

    p: tuple[float, ...]
    version: str
    bundle: str
    generation: int
    arm: str
    fallback: bool
    receipt: str
    position: float | None
    attempts: int


@dataclass(slots=True)
class _Connection:
    """One connection and when it was opened (monotonic seconds)."""

    http: http.client.HTTPConnection
    opened: float


@dataclass(slots=True)
class Client:
    """Blocking client; one per thread.

    Parameters
    ----------
    url
        Address of the Service, ``http://fx-server:8080``.
    model
        Name of the model, which is the name of the Deployment.
    connections
        Connections kept open, used in turn.
    max_age_s
        Age at which a connection is opened anew, so that pods that came later get their share.
    attempts
        How often one request is tried.
    """

    url: str
    model: str
    connections: int = 4
    max_age_s: float = 10.0
    timeout_s: float = 2.0
    attempts: int = 5
    _pool: list[_Connection | None] = field(default_factory=list, init=False, repr=False)
    _turn: int = field(default=0, init=False, repr=False)

    def infer(self, features: Mapping[str, float], *, repeated: bool = False, **parameters: str | float) -> Prediction:
        """Score one row.

        Parameters
        ----------
        features
            Value by feature name; any superset of what the models need.
        repeated
            Whether this row was asked for before and got no answer, by this client or another (:class:`NoAnswer`).
        parameters
            ``client``, ``symbol``, ``strategy``, ``id`` (what the sticky split may look at), ``ts`` (market time, epoch milliseconds, of
            the bar that the features end with), ``price``, ``base_position`` in [-1, 1].

        Raises
        ------
        BadRequest
            The server refused the row; the message names tensor, expectation and value.
        NoAnswer
            No pod answered.
        """
        names = list(features)
        body = {
            "inputs": [{"name": "X", "shape": [1, len(names)], "datatype": "FP32", "data": [features[name] for name in names]}],
            "parameters": {"features": ",".join(names), **parameters},
        }
        answer, tries = self._post(f"/v2/models/{self.model}/infer", body, before=int(repeated))
        said = answer.get("parameters", {})
        outputs = {output["name"]: output["data"] for output in answer["outputs"]}
        position = outputs.pop("position", None)
        return Prediction(
            p=tuple(float(value) for value in next(iter(outputs.values()))),
            version=str(said.get("version", "")),
            bundle=str(said.get("bundle", "")),
            generation=int(said.get("generation", 0)),
            arm=str(said.get("arm", "")),
            fallback=bool(said.get("fallback", False)),
            receipt=str(said.get("receipt", "")),
            position=None if position is None else float(position[0]),
            attempts=tries,
        )

    def report(self, outcomes: Iterable[tuple[str, float]]) -> dict[str, Any]:
        """Report outcomes as pairs of receipt and simple gross return of the instrument; return what the server counted."""
        body = {"outcomes": [{"receipt": receipt, "return": gross} for receipt, gross in outcomes]}
        return self._post("/v1/outcomes", body)[0]

    def close(self) -> None:
        """Close every connection."""
        for slot in self._pool:
            if slot is not None:
                slot.http.close()
        self._pool.clear()

    def _post(self, path: str, body: object, *, before: int = 0) -> tuple[dict[str, Any], int]:
        """Send ``body`` until it is answered, after ``before`` attempts of others; return the answer and how many it took here."""
        payload = msgspec.json.encode(body)
        trouble = ""
        for attempt in range(1, self.attempts + 1):
            try:
                status, data = self._send(path, payload, before + attempt)
            except (OSError, http.client.HTTPException) as error:
                trouble = f"{type(error).__name__}: {error}"
            else:
                if status == http.client.OK:
                    return msgspec.json.decode(data), attempt
                trouble = f"{status}: {data[:300].decode(errors='replace')}"
                if status not in _BUSY:
                    raise BadRequest(f"{self.url}{path} answered {trouble}")
            time.sleep(0.02 * 2**attempt)
        raise NoAnswer(f"{self.url}{path}: {self.attempts} attempts, the last ended with {trouble}; look at the pods of {self.model}")

    def _send(self, path: str, payload: bytes, attempt: int) -> tuple[int, bytes]:
        place, connection = self._connection()
        try:
            connection.http.request("POST", path, payload, {"Content-Type": "application/json", ATTEMPT_HEADER: str(attempt)})
            response = connection.http.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException):
            connection.http.close()
            self._pool[place] = None
            raise
        if response.will_close or response.status in _BUSY:
            connection.http.close()
            self._pool[place] = None
        return response.status, data

    def _connection(self) -> tuple[int, _Connection]:
        if not self._pool:
            self._pool.extend([None] * self.connections)
        self._turn = place = (self._turn + 1) % self.connections
        known = self._pool[place]
        if known is not None and time.monotonic() - known.opened < self.max_age_s:
            return place, known
        if known is not None:
            known.http.close()
        parts = urlsplit(self.url)
        opened = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=self.timeout_s)
        opened.connect()
        opened.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        fresh = _Connection(opened, time.monotonic())
        self._pool[place] = fresh
        return place, fresh
