"""The HTTP front end: what is valid in every way of cutting it up, and what is not."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walkforward_server.transport import Front, HttpProtocol, Limits, Request, Response
from walkforward_server.v2 import BadRequestError, TensorSpec, decode_infer, read_rows

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL = Limits(header=2048, body=4096, read_s=1.0, idle_s=5.0, connections=3)


class Wire:
    """Stands for a socket: keeps what was written."""

    def __init__(self) -> None:
        self.out = b""
        self.closed = self.eof = self.paused = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.out += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof = True

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def echo(request: Request) -> Response:
    if request.path == b"/raise":
        raise ValueError("a bug")
    said = [request.method.decode(), request.path.decode("latin-1"), request.query.decode("latin-1"), request.body.decode("latin-1")]
    return Response(200, json.dumps([*said, request.tensor_header]).encode())


def connection(handle: Callable[[Request], Response] = echo, clock: Callable[[], float] | None = None, limits: Limits = SMALL) -> Any:
    front = Front(handle, limits, clock or Clock())
    protocol, wire = HttpProtocol(front), Wire()
    protocol.connection_made(wire)  # type: ignore[arg-type]
    return front, protocol, wire


def answers(raw: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """Split what was written into responses, strictly."""
    found = []
    while raw:
        head, separator, rest = raw.partition(b"\r\n\r\n")
        assert separator, raw
        first, *lines = head.decode("latin-1").split("\r\n")
        assert first.startswith("HTTP/1.1 ")
        headers = dict(line.split(": ", 1) for line in lines)
        length = int(headers.get("content-length", "0"))
        if first.split()[1] == "100":
            raw = rest
            continue
        found.append((int(first.split()[1]), headers, rest[:length]))
        raw = rest[length:]
    return found


def post(body: bytes, *headers: str, path: str = "/p?q=1") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: h", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked(parts: list[bytes]) -> bytes:
    head = b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part) + b"0\r\n\r\n"


GET = b"GET /g HTTP/1.1\r\nHost: h\r\n\r\n"


@given(
    messages=st.lists(
        st.one_of(st.binary(max_size=300).map(post), st.lists(st.binary(max_size=60), max_size=4).map(chunked), st.just(GET))
    ),
    cuts=st.lists(st.integers(0, 3000), max_size=12),
)
@settings(max_examples=150)
def test_any_cutting_of_a_pipeline_gives_the_same_answers(messages: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(messages)
    whole, pieces = connection(), connection()
    whole[1].data_received(stream)
    at = 0
    for cut in sorted({min(cut, len(stream)) for cut in cuts} | {len(stream)}):
        pieces[1].data_received(stream[at:cut])
        at = cut
    assert answers(whole[2].out) == answers(pieces[2].out)
    assert [status for status, _, _ in answers(whole[2].out)] == [200] * len(messages)
    bodies = [json.loads(body)[3] for _, _, body in answers(whole[2].out)]
    assert "".join(bodies).encode("latin-1") in (stream, b"".join(body.encode("latin-1") for body in bodies))


@given(data=st.lists(st.binary(max_size=200), max_size=5))
@settings(max_examples=150)
def test_garbage_is_answered_or_ignored_but_never_raises(data: list[bytes]) -> None:
    _, protocol, wire = connection()
    for part in data:
        protocol.data_received(part)
    statuses = [status for status, _, _ in answers(wire.out)]
    assert set(statuses) <= {200, 400, 411, 413, 415, 431}
    assert (wire.closed or wire.eof) == any(status >= 400 for status in statuses) or 200 in statuses


@given(base=st.just(post(b'{"a":1}', "X-Y: z")), place=st.integers(0, 200), value=st.integers(0, 255), cut=st.integers(1, 200))
@settings(max_examples=200)
def test_damaged_requests_are_answered_in_order_or_end_the_connection(base: bytes, place: int, value: int, cut: int) -> None:
    data = bytearray(base + GET)
    data[place % len(data)] = value
    _, protocol, wire = connection()
    protocol.data_received(bytes(data[:cut]))
    protocol.data_received(bytes(data[cut:]))
    statuses = [status for status, _, _ in answers(wire.out)]
    assert all(status == 200 for status in statuses[:-1])


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"POST /p HTTP/1.1\r\nHost: h\r\n\r\n", 411),
        (b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n", 413),
        (b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
        (chunked([b"x" * 5000]), 413),
        (b"GET /" + b"x" * 3000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000, 431),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 5000, 431),
        (post(b"{}", "Content-Encoding: gzip"), 415),
        (post(b"{}", "Inference-Header-Content-Length: -4"), 400),
    ],
)
def test_refused_with_the_right_status_and_nothing_more_is_read(data: bytes, status: int) -> None:
    _, protocol, wire = connection()
    protocol.data_received(data)
    ((given_status, headers, body),) = answers(wire.out)
    assert given_status == status
    assert headers["connection"] == "close"
    assert json.loads(body)["error"]
    # the client may still be sending: it is not cut off before it could read the answer
    assert wire.eof
    assert not wire.closed
    protocol.data_received(GET)
    assert len(answers(wire.out)) == 1


def test_connection_ends_when_asked_and_by_old_clients() -> None:
    for data in (b"GET /g HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", b"GET /g HTTP/1.0\r\n\r\n"):
        _, protocol, wire = connection()
        protocol.data_received(data)
        ((status, headers, _),) = answers(wire.out)
        assert (status, headers["connection"]) == (200, "close")
        assert wire.closed


def test_draining_answers_and_closes() -> None:
    front, protocol, wire = connection()
    protocol.data_received(GET)
    front.draining = True
    protocol.data_received(GET + GET)
    first, last = answers(wire.out)
    assert "connection" not in first[1]
    assert last[1]["connection"] == "close"
    assert wire.closed


def test_head_has_the_length_and_no_body() -> None:
    _, protocol, wire = connection()
    protocol.data_received(b"HEAD /g HTTP/1.1\r\nHost: h\r\n\r\n")
    head, _, rest = wire.out.partition(b"\r\n\r\n")
    assert b"content-length: 28" in head.lower()
    assert rest == b""


def test_a_waiting_client_is_told_to_send() -> None:
    _, protocol, wire = connection()
    request = post(b"{}", "Expect: 100-continue")
    protocol.data_received(request[:-2])
    assert wire.out == b"HTTP/1.1 100 Continue\r\n\r\n"
    protocol.data_received(request[-2:])
    assert [status for status, _, _ in answers(wire.out)] == [200]


def test_a_bug_is_a_500_and_the_connection_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    _, protocol, wire = connection()
    protocol.data_received(b"GET /raise HTTP/1.1\r\nHost: h\r\n\r\n" + GET)
    assert [status for status, _, _ in answers(wire.out)] == [500, 200]
    assert "a bug" in caplog.text
    assert b"a bug" not in wire.out


def test_slow_and_idle_connections_end() -> None:
    clock = Clock()
    front, protocol, wire = connection(clock=clock)
    protocol.data_received(GET)
    protocol.data_received(GET[:9])
    clock.now += 1.1
    front.sweep(clock.now)
    assert [status for status, _, _ in answers(wire.out)] == [200, 408]
    front, protocol, wire = connection(clock=clock)
    protocol.data_received(GET)
    front.sweep(clock.now + 4.9)
    assert not wire.closed
    front.sweep(clock.now + 5.1)
    assert wire.closed


def test_a_refused_client_does_not_linger() -> None:
    clock = Clock()
    front, protocol, wire = connection(clock=clock)
    protocol.data_received(b"nonsense\r\n\r\n")
    front.sweep(clock.now + 1.0)
    assert not wire.closed
    front.sweep(clock.now + 2.1)
    assert wire.closed


def test_too_many_connections_are_told() -> None:
    front, *_ = connection()
    others = [HttpProtocol(front) for _ in range(3)]
    wires = [Wire() for _ in others]
    for protocol, wire in zip(others, wires, strict=True):
        protocol.connection_made(wire)  # type: ignore[arg-type]
    assert [bool(wire.out) for wire in wires] == [False, False, True]
    assert answers(wires[2].out)[0][0] == 503
    others[0].connection_lost(None)
    assert len(front.connections) == 2


def test_a_client_that_does_not_read_is_not_read_either() -> None:
    _, protocol, wire = connection()
    protocol.pause_writing()
    assert wire.paused
    protocol.resume_writing()
    assert not wire.paused


def test_work_comes_after_the_write_and_is_told_how_long_it_took() -> None:
    clock, seen = Clock(), []

    def handle(_request: Request) -> Response:
        clock.now += 0.5
        return Response(200, b"{}", after=lambda seconds, ended: seen.append((seconds, ended, len(answers(wire.out)))))

    _, protocol, wire = connection(handle, clock)
    protocol.data_received(GET[:5])
    clock.now += 1.0
    protocol.data_received(GET[5:] + GET)
    assert seen == [(2.0, 102.0, 2), (1.0, 102.0, 2)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NUMBERS = st.lists(st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.none(), st.integers(-(10**50), 10**50)), max_size=7)
TENSOR = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["X", "Y"]),
        "shape": st.lists(st.integers(-1, 4), max_size=3),
        "datatype": st.sampled_from(["FP32", "INT8"]),
        "data": st.one_of(NUMBERS, st.lists(NUMBERS, max_size=3), JSON),
        "parameters": st.one_of(st.none(), st.fixed_dictionaries({"binary_data_size": st.integers(-5, 40)})),
    },
)
SPEC = TensorSpec.of("X", ("a", "b", "c"), allow_nan=False)


@given(
    value=st.one_of(JSON, st.fixed_dictionaries({"inputs": st.lists(TENSOR, max_size=2)}, optional={"id": JSON, "parameters": JSON})),
    tail=st.binary(max_size=40),
    header=st.one_of(st.none(), st.integers(0, 300)),
)
@settings(max_examples=300)
def test_every_body_is_rows_or_a_reason(value: Any, tail: bytes, header: int | None) -> None:
    body = json.dumps(value, allow_nan=False, default=str).encode() if _plain(value) else str(value).encode()
    try:
        rows = read_rows(decode_infer(body + tail, len(body) if header == 1 else header, SPEC), SPEC)
    except BadRequestError:
        return
    assert len(rows) % 12 == 0
    assert rows


def _plain(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


async def test_a_real_socket_sees_the_refusal_of_a_body_that_is_too_large() -> None:
    loop = asyncio.get_running_loop()
    front = Front(echo, SMALL)
    server = await loop.create_server(front.protocol, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
    writer.write(b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 500000\r\n\r\n" + b"x" * 500_000)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    assert head.startswith(b"HTTP/1.1 413")
    writer.close()
    server.close()
