"""S3's refusals, against a scripted server on loopback."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from walkforward_core.errors import AlreadyExists, Forbidden, NotFound, StoreError, Unavailable
from walkforward_core.objectstore import S3Settings, S3Store, create, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}


class Script:
    """Answers, one a request, the last one for ever: (status, code, seconds to wait)."""

    def __init__(self, *answers: tuple[int, str, float]) -> None:
        self.answers = list(answers)
        self.seen: list[str] = []

    def next(self, request: str) -> tuple[int, str, float]:
        self.seen.append(request)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def s3_that(script: Script) -> Iterator[S3Store]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, code, wait = script.next(f"{self.command} {self.path} {self.headers.get('If-None-Match')}")
            time.sleep(wait)
            good = b"data" if self.command == "GET" else b""
            body = good if status == 200 else f"<Error><Code>{code}</Code><Message>because</Message></Error>".encode()
            with suppress(BrokenPipeError):  # a client that has given up
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("ETag", '"1"')
                self.end_headers()
                self.wfile.write(body)

        do_GET = do_PUT = answer  # noqa: N815 - named as http.server names them

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            env = {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}"}
            store = S3Store(env, S3Settings(connect_s=0.5, read_s=0.3))
            yield store
            store._client.close()
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "NoSuchKey", NotFound),
        (404, "NoSuchBucket", NotFound),
        (412, "PreconditionFailed", AlreadyExists),
        (409, "ConditionalRequestConflict", AlreadyExists),
        (403, "AccessDenied", Forbidden),
        (401, "Unauthorized", Forbidden),
        (403, "RequestTimeTooSkewed", Forbidden),
        (500, "InternalError", Unavailable),
        (503, "SlowDown", Unavailable),
        (429, "TooManyRequests", Unavailable),
        (400, "RequestTimeout", Unavailable),
        (400, "EntityTooLarge", StoreError),
    ],
)
def test_every_refusal_has_its_kind_and_says_where_and_why(status: int, code: str, kind: type[StoreError]) -> None:
    with (
        s3_that(Script((status, code, 0.0))) as store,
        pytest.raises(StoreError, match=rf"s3://models/fx/x at http://127.*{code}.*because.*; ") as caught,
    ):
        store.put("s3://models/fx/x", b"1", create_only=True)
    assert type(caught.value) is kind


def test_an_own_endpoint_is_addressed_by_path_and_create_only_is_said_to_it() -> None:
    script = Script((200, "", 0.0))
    with s3_that(script) as store:
        store.put("s3://models/fx/x", b"1", create_only=True)
        assert store.get("s3://models/fx/x") == b"data"
    assert script.seen == ["PUT /models/fx/x *", "GET /models/fx/x None"]


def test_a_failure_is_tried_twice_and_then_reported() -> None:
    script = Script((500, "InternalError", 0.0))
    with s3_that(script) as store, pytest.raises(Unavailable):
        store.get("s3://models/x")
    assert len(script.seen) == 2
    script = Script((500, "InternalError", 0.0), (200, "", 0.0))
    with s3_that(script) as store:
        assert store.get("s3://models/x") == b"data"


def test_a_store_that_hangs_is_given_up() -> None:
    started = time.monotonic()
    with s3_that(Script((200, "", 1.0))) as store, pytest.raises(Unavailable, match=r"[Tt]ime"):
        store.get("s3://models/x")
    assert time.monotonic() - started < 5


def test_a_store_that_is_not_there_is_unavailable() -> None:
    store = open_store("s3://models", allow_file=False, env={**KEYS, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
    with pytest.raises(Unavailable, match="AWS_ENDPOINT_URL"):
        store.head("s3://models/x")


def test_half_a_pair_of_keys_is_named() -> None:
    with pytest.raises(Forbidden, match="AWS_SECRET_ACCESS_KEY"):
        S3Store({"AWS_ACCESS_KEY_ID": "a", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"})


def test_the_endpoint_comes_from_the_given_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://elsewhere.invalid")
    assert "amazonaws" in S3Store(KEYS)._client.meta.endpoint_url


def test_an_own_write_whose_answer_was_lost_is_no_conflict() -> None:
    # the server holds "data" already: what an unanswered first attempt left behind
    with s3_that(Script((412, "PreconditionFailed", 0.0), (200, "", 0.0))) as store:
        assert create(store, "s3://models/x", b"data") is False
    with s3_that(Script((412, "PreconditionFailed", 0.0), (200, "", 0.0))) as store, pytest.raises(AlreadyExists):
        create(store, "s3://models/x", b"other")
    with s3_that(Script((409, "ConditionalRequestConflict", 0.0), (404, "NoSuchKey", 0.0))) as store, pytest.raises(Unavailable):
        create(store, "s3://models/x", b"other")
