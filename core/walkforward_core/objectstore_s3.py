"""Objects in S3 or anything that speaks its protocol, by boto3.

Configuration comes from the environment alone (contract C9): ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``,
``AWS_SESSION_TOKEN``, ``AWS_REGION``, ``AWS_ENDPOINT_URL``. Without keys boto3's own chain decides (a web identity, say).
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, CredentialRetrievalError, NoCredentialsError, ParamValidationError

from walkforward_core.errors import AlreadyExists, Forbidden, NotFound, StoreError, Unavailable
from walkforward_core.objectstore_base import Location, ObjectHead

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["S3Settings", "S3Store"]

_CONFLICT = {409, 412}
_BUSY = {"RequestTimeout", "SlowDown", "Throttling", "ThrottlingException", "TooManyRequests", "RequestLimitExceeded"}


@dataclass(frozen=True, slots=True)
class S3Settings:
    """How long a request may take: seconds to connect, seconds between bytes, attempts in all; pool of connections."""

    connect_s: float = 2.0
    read_s: float = 5.0
    attempts: int = 2
    connections: int = 16


class S3Store:
    """An :class:`ObjectStore` on ``s3://`` URIs. Conditional writes need a store that honours ``If-None-Match`` and ``If-Match``.

    Raises
    ------
    Forbidden
        Half a pair of keys is set.
    """

    def __init__(self, env: Mapping[str, str], settings: S3Settings | None = None) -> None:
        settings = settings or S3Settings()
        given = [name for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if env.get(name)]
        if len(given) == 1:
            raise Forbidden(f"of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY only {given[0]} is set: set both, or neither")
        endpoint = env.get("AWS_ENDPOINT_URL") or None
        self._endpoint = endpoint or "the default S3 endpoint"
        session = boto3.session.Session(
            aws_access_key_id=env.get("AWS_ACCESS_KEY_ID") or None,
            aws_secret_access_key=env.get("AWS_SECRET_ACCESS_KEY") or None,
            aws_session_token=env.get("AWS_SESSION_TOKEN") or None,
            region_name=env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or "us-east-1",
        )
        config = Config(
            connect_timeout=settings.connect_s,
            read_timeout=settings.read_s,
            retries={"total_max_attempts": settings.attempts, "mode": "standard"},
            max_pool_connections=settings.connections,
            # a bucket of an own endpoint has no DNS name of its own
            s3={"addressing_style": "path" if endpoint else "auto"},
            # stores other than AWS need not know the newer checksum trailers; bundles carry their own sha256
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            ignore_configured_endpoint_urls=True,  # type: ignore[call-arg]  # botocore-stubs lack it
        )
        self._client: Any = session.client("s3", endpoint_url=endpoint, config=config)

    def get(self, uri: str, *, limit: int | None = None) -> bytes:
        """Return the bytes of the object."""
        location = _location(uri)
        with self._errors("read", location):
            answer = self._client.get_object(Bucket=location.place, Key=location.key)
            with answer["Body"] as body:
                size = answer["ContentLength"]
                if limit is not None and size > limit:
                    raise StoreError(f"read {uri}: {size} bytes, at most {limit} are accepted here; check what was written there")
                return bytes(body.read())

    def get_range(self, uri: str, start: int, length: int) -> bytes:
        """Return some bytes of the object."""
        location = _location(uri)
        wanted = f"bytes={start}" if start < 0 else f"bytes={start}-{start + length - 1}"
        with self._errors("read", location):
            try:
                answer = self._client.get_object(Bucket=location.place, Key=location.key, Range=wanted)
            except ClientError as error:
                # 416: the object ends before
                if int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) == 416:
                    return b""
                raise
            with answer["Body"] as body:
                return bytes(body.read())[:length]

    def put(self, uri: str, data: bytes, *, create_only: bool = False, if_match: str | None = None) -> str:
        """Write the object whole and return its etag."""
        location = _location(uri)
        condition = {"IfNoneMatch": "*"} if create_only else {}
        if if_match is not None:
            condition["IfMatch"] = if_match
        with self._errors("write", location):
            return str(self._client.put_object(Bucket=location.place, Key=location.key, Body=data, **condition)["ETag"])

    def head(self, uri: str) -> ObjectHead:
        """Return etag, size and time of the object."""
        location = _location(uri)
        with self._errors("look at", location):
            answer = self._client.head_object(Bucket=location.place, Key=location.key)
            modified = round(answer["LastModified"].timestamp() * 1000)
            return ObjectHead(etag=str(answer["ETag"]), size=int(answer["ContentLength"]), modified_ms=modified)

    def list(self, prefix: str) -> list[str]:
        """Return the URIs of the objects that start with ``prefix``."""
        location = _location(prefix, prefix=True)
        with self._errors("list", location):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=location.place, Prefix=location.key)
            keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
        return [f"s3://{location.place}/{key}" for key in sorted(keys, key=str.encode)]

    def delete(self, uri: str) -> None:
        """Remove the object, if it is there."""
        location = _location(uri)
        with self._errors("delete", location):
            self._client.delete_object(Bucket=location.place, Key=location.key)

    @contextmanager
    def _errors(self, verb: str, location: Location) -> Iterator[None]:
        """Turn botocore's errors into those of the store."""
        what = f"{verb} s3://{location.place}/{location.key} at {self._endpoint}"
        try:
            yield
        except ClientError as error:
            raise _refusal(what, error) from error
        except (NoCredentialsError, CredentialRetrievalError) as error:
            raise Forbidden(f"{what}: {error}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") from error
        except ParamValidationError as error:
            raise StoreError(f"{what}: {error}; correct the URI") from error
        except BotoCoreError as error:
            raise Unavailable(f"{what}: {error}; check AWS_ENDPOINT_URL and the network, then try again") from error


def _refusal(what: str, error: ClientError) -> StoreError:
    """Return what the store's answer means, by HTTP status first, since not all stores agree on code names."""
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    details = error.response.get("Error", {})
    code, reason = str(details.get("Code", status)), str(details.get("Message", ""))
    text = f"{what}: {status} {code}: {reason or 'no message'}"
    if status >= 500 or status == 429 or code in _BUSY:
        return Unavailable(f"{text}; the store is failing or busy, try again")
    if status in _CONFLICT:
        return AlreadyExists(f"{text}; the object exists or has changed since it was read, read it again")
    if status == 404:
        return NotFound(f"{text}; check bucket and key")
    if status in {401, 403}:
        return Forbidden(f"{text}; check the keys, their policy for this prefix, and this machine's clock")
    return StoreError(f"{text}; the store does not accept this request")


def _location(uri: str, *, prefix: bool = False) -> Location:
    location = Location.parse(uri, prefix=prefix)
    if location.scheme != "s3":
        raise StoreError(f"object URI {uri!r} is not an s3: URI; open the store for its own scheme")
    return location
