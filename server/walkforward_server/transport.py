"""HTTP/1.1 on httptools: bytes in, one synchronous handler, bytes out. Keep-alive, pipelining, both body forms, limits.

An inference takes about 10 µs, so it runs inline: no task, no thread, no framework per request. Answers to pipelined requests leave in
order, in one write.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

import httptools
import msgspec

from walkforward_core.names import ATTEMPT_HEADER

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["JSON", "Front", "HttpProtocol", "Limits", "Request", "Response", "error_response"]

log = logging.getLogger(__name__)

JSON = b"application/json"
_ATTEMPTS = frozenset({ATTEMPT_HEADER.lower().encode(), b"x-envoy-attempt-count"})
"""Headers that number the attempts of one request from 1: our client's, and that of Envoy (Istio, Contour, Envoy Gateway, Emissary)."""
_ATTEMPT_SIZES = frozenset(map(len, _ATTEMPTS))
_FIRST = (b"1", b"0", b"")
LINGER_S = 2.0
"""How long a client may go on sending after it was refused."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds; a body or a header beyond them is refused before it is buffered."""

    header: int = 16 * 1024
    body: int = 4 * 2**20
    read_s: float = 30.0
    idle_s: float = 120.0
    connections: int = 4096


@dataclass(slots=True)
class Request:
    """One request; ``path`` and ``query`` as they were sent, ``tensor_header`` is ``Inference-Header-Content-Length``.

    ``repeated`` says that an earlier attempt got no answer: it may be what ended the process that it was sent to.
    """

    method: bytes
    path: bytes
    query: bytes
    body: bytes
    tensor_header: int | None
    began: float
    repeated: bool = False


@dataclass(slots=True)
class Response:
    """One response; ``after`` is called with seconds and end time once it was handed to the transport."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: bytes = b""
    after: Callable[[float, float], None] | None = None


def error_response(status: int, message: str, headers: bytes = b"") -> Response:
    """Return an error as V2 has them: ``{"error": "…"}``."""
    return Response(status, msgspec.json.encode({"error": message}), headers=headers)


_REASONS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
_CLOSE = b"connection: close\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def encode_response(response: Response, *, close: bool, head_only: bool) -> bytes:
    """Return the response as it goes over the wire."""
    return b"%bcontent-type: %b\r\ncontent-length: %d\r\n%b%b\r\n%b" % (
        _REASONS[response.status],
        response.content_type,
        len(response.body),
        response.headers,
        _CLOSE if close else b"",
        b"" if head_only else response.body,
    )


@dataclass(slots=True)
class Front:
    """What all connections of one listener share; ``draining`` makes every answer the last one of its connection."""

    handle: Callable[[Request], Response]
    limits: Limits = field(default_factory=Limits)
    clock: Callable[[], float] = time.perf_counter
    connections: set[HttpProtocol] = field(default_factory=set)
    draining: bool = False
    last: float = 0.0
    """When something last arrived, by ``clock``."""

    def protocol(self) -> HttpProtocol:
        """Return the protocol of a new connection."""
        return HttpProtocol(self)

    def sweep(self, now: float) -> None:
        """Close connections that are idle for too long, and those whose request does not arrive."""
        for connection in list(self.connections):
            connection.expire(now)

    def close_idle(self) -> None:
        """Close the connections that wait for no answer."""
        for connection in list(self.connections):
            connection.close_if_idle()


class HttpProtocol(asyncio.Protocol):
    """One connection."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._done: list[tuple[Callable[[float, float], None], float]] = []
        self._close = self._failed = False
        self._last = front.last = front.clock()
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._body: list[bytes] = []
        self._length = 0
        self._header_bytes = self._pending = 0
        self._tensor_header: int | None = None
        self._posted = self._expects = self._in_body = self._repeated = False
        self._began = 0.0

    # asyncio.Protocol ---------------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take part, unless there are too many connections."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports are not of that class
        if len(self._front.connections) >= self._front.limits.connections:
            self._fail(503, "too many connections")
            self._flush()
            return
        self._front.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the reason does not matter
        """Forget the connection; its answers are lost with it."""
        self._front.connections.discard(self)
        self._transport = None

    def pause_writing(self) -> None:
        """Read no more requests from a client that does not read its answers."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on reading."""
        if self._transport is not None and not self._close:
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Parse, answer every complete request in it, write all answers at once, then let their work begin."""
        if self._close:
            return
        self._last = self._front.last = self._front.clock()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._close = True  # no other protocol is spoken here; the request itself was answered
        except httptools.HttpParserError as error:
            if not self._close:
                self._fail(400, f"malformed HTTP: {error}")
        if self._began and not self._in_body:
            # the parser reports a header once it is complete: one that never ends is seen here
            self._pending += len(data)
            if self._pending > 2 * self._front.limits.header:
                self._refuse_header()
        self._flush()

    def _flush(self) -> None:
        if self._transport is not None and self._out:
            self._transport.write(self._out[0] if len(self._out) == 1 else b"".join(self._out))
        self._out.clear()
        if self._close and self._transport is not None:
            self._end(self._transport)
        if self._done:
            ended = self._front.clock()
            for after, began in self._done:
                after(ended - began, ended)
            self._done.clear()

    # httptools ----------------------------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Start of a request: its time counts from the arrival of its first bytes, also behind others in a pipeline."""
        self._began = self._last

    def on_url(self, url: bytes) -> None:
        """Collect the target."""
        self._url += url
        self._count_header(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note the few headers that matter."""
        size = len(name)
        self._count_header(size + len(value))
        if size == 14 and name.lower() == b"content-length":
            self._posted = True
            if value.isdigit() and int(value) > self._front.limits.body:
                self._fail(413, f"body has {int(value)} bytes, at most {self._front.limits.body} are read")
        elif size == 31 and name.lower() == b"inference-header-content-length":
            if not value.isdigit():
                self._fail(400, f"Inference-Header-Content-Length is {value[:20]!r}, expected a number of bytes")
            else:
                self._tensor_header = int(value)
        elif size == 17 and name.lower() == b"transfer-encoding":
            self._posted = True
        elif size == 6 and name.lower() == b"expect":
            self._expects = value.lower() == b"100-continue"
        elif size in _ATTEMPT_SIZES and name.lower() in _ATTEMPTS:
            # whatever is no first attempt counts as a further one: that side is safe
            self._repeated = self._repeated or value not in _FIRST
        elif size == 16 and name.lower() == b"content-encoding" and value.lower() != b"identity":
            self._fail(415, f"content-encoding {value[:20]!r} is not read; send the body as it is")

    def _count_header(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > self._front.limits.header:
            self._refuse_header()

    def _refuse_header(self) -> None:
        self._fail(431, f"request header is larger than {self._front.limits.header} bytes")

    def on_headers_complete(self) -> None:
        """Refuse a body without a length, let a waiting client send its own."""
        self._in_body = True
        if self._close:
            return
        if not self._posted and self._parser.get_method() in (b"POST", b"PUT", b"PATCH"):
            self._fail(411, "a body needs Content-Length or Transfer-Encoding: chunked")
        elif self._expects and self._transport is not None:
            self._transport.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        """Collect the body, up to the limit."""
        self._length += len(body)
        if self._length > self._front.limits.body:
            if not self._close:
                self._fail(413, f"body has more than {self._front.limits.body} bytes")
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Answer."""
        if self._close:
            return
        front, parser = self._front, self._parser
        path, _, query = self._url.partition(b"?")
        method: bytes = parser.get_method()
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        request = Request(method, path, query, body, self._tensor_header, self._began, self._repeated)
        try:
            response = front.handle(request)
        except Exception:
            log.exception("handler failed", extra={"path": path.decode("latin-1")})
            response = error_response(500, "internal error; see the server's log")
        close = front.draining or not parser.should_keep_alive()
        self._out.append(encode_response(response, close=close, head_only=method == b"HEAD"))
        if response.after is not None:
            self._done.append((response.after, self._began))
        self._close = close
        self._reset()

    # ends ---------------------------------------------------------------------------------------------------------------------------

    def _end(self, transport: asyncio.Transport) -> None:
        """Close; after an error what the client still sends is read and dropped for a while, else it would never see the answer."""
        if self._failed and transport.can_write_eof():
            transport.write_eof()
        else:
            transport.close()

    def eof_received(self) -> bool:
        """The client is done sending: so is the connection."""
        return False

    def _fail(self, status: int, message: str) -> None:
        """Answer with an error and end the connection: what follows on it cannot be trusted."""
        if self._close:
            return
        self._out.append(encode_response(error_response(status, message), close=True, head_only=False))
        self._close = self._failed = True

    def expire(self, now: float) -> None:
        """Close the connection if nothing came for too long."""
        if self._failed and now - self._last > LINGER_S and self._transport is not None:
            self._transport.close()
        elif self._began and now - self._began > self._front.limits.read_s:
            self._fail(408, "the request did not arrive in time")
            self._flush()
        elif not self._began and now - self._last > self._front.limits.idle_s and self._transport is not None:
            self._transport.close()

    def close_if_idle(self) -> None:
        """Close the connection unless a request is arriving on it."""
        if not self._began and self._transport is not None:
            self._transport.close()
