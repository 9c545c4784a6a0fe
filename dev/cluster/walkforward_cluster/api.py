"""The few requests that starting a cluster needs, made without kubectl: it takes a fifth of a second each time."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Api:
    """An API server and an identity to speak to it."""

    server: str
    pki: Path
    identity: str = "admin"

    def request(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """One request; (status, body). A connection that fails is an OSError."""
        url = urllib.parse.urlsplit(self.server)
        connection = http.client.HTTPSConnection(str(url.hostname), url.port, timeout=_TIMEOUT_S, context=self._tls())
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, path, payload, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ready(self) -> bool:
        """Whether the API server says that it is ready, post-start hooks included."""
        try:
            return self.request("GET", "/readyz")[0] == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False  # not listening yet, or going down: not ready is the answer

    def get(self, path: str) -> dict[str, Any] | None:
        """An object, or None where it is not there or the API server does not answer properly."""
        try:
            status, body = self.request("GET", path)
        except (OSError, http.client.HTTPException):
            return None  # callers poll
        return json.loads(body) if status == http.HTTPStatus.OK else None

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.pki / "ca.crt"))
        context.load_cert_chain(self.pki / f"{self.identity}.crt", self.pki / f"{self.identity}.key")
        return context


def condition(item: dict[str, Any] | None, kind: str) -> bool:
    """Whether an object's status condition of that type is True."""
    conditions = (item or {}).get("status", {}).get("conditions", [])
    return any(entry["type"] == kind and entry["status"] == "True" for entry in conditions)
