"""HTTP to the API server: its address, TLS and credentials, and one pool of connections.

kopf's own sign-in is used, and no client package: typed models, OAuth and cloud credentials would take 26 MB of memory and more than
half a second at the start, for objects that are plain dictionaries here. kopf imports the package by itself where it is installed.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp
import kopf
import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Answer", "Transport", "login"]

_TIMEOUT: Final = aiohttp.ClientTimeout(total=10, sock_connect=3)
_TOKEN: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_TOKEN_S: Final = 60.0
"""The kubelet renews the token when a fifth of its life is left, minutes at least: so often it is read anew."""


def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """Sign in as the pod's ServiceAccount or, outside of one, as KUBECONFIG's current context; None where there is neither.

    ``kwargs`` are those of a kopf login handler; ``settings`` is asked for.
    """
    inside = kopf.login_with_service_account(**kwargs)
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT_HTTPS", "443")
    if inside is None or not host:
        return inside or kopf.login_with_kubeconfig(**kwargs)
    # by address, as every client in a pod does: an abort must not wait for DNS
    return replace(inside, server=f"https://{f'[{host}]' if ':' in host else host}:{port}")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class Transport:
    """Made inside the running loop; ``token`` is the file with a token that is renewed, if there is one."""

    def __init__(self, info: kopf.ConnectionInfo, *, connections: int, token: Path | None, clock: Callable[[], float]) -> None:
        self.server = info.server.rstrip("/")
        self._proxy = info.proxy_url
        self._token, self._clock = token, clock
        self._headers = info.as_http_headers()
        self._read_at = clock()
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, ssl=info.as_ssl_context()),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=_TIMEOUT,
            trust_env=info.trust_env,
        )

    @classmethod
    def connect(cls, *, connections: int) -> Self:
        """Return a transport that is signed in.

        Raises
        ------
        kopf.LoginError
            There is neither a ServiceAccount nor a kubeconfig.
        """
        info = login(settings=kopf.OperatorSettings())
        if info is None:
            raise kopf.LoginError("neither a ServiceAccount's token nor a kubeconfig is here; set KUBECONFIG")
        return cls(info, connections=connections, token=_TOKEN if _TOKEN.exists() else None, clock=time.monotonic)

    async def send(
        self, method: str, path: str, *, query: Mapping[str, Any] | None = None, body: Any = None, content: str = "application/json"
    ) -> Answer:
        """Return the answer, whatever its status; raises ``TimeoutError``, ``OSError`` or ``aiohttp.ClientError`` where there is none."""
        headers = {"Accept": "application/json", **self._signed()}
        data = None
        if body is not None:
            headers["Content-Type"], data = content, msgspec.json.encode(body)
        async with self.session.request(method, self.server + path, params=query, data=data, headers=headers, proxy=self._proxy) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def close(self) -> None:
        """Close the connections."""
        await self.session.close()

    def _signed(self) -> dict[str, str]:
        now = self._clock()
        if self._token is not None and now - self._read_at >= _TOKEN_S:
            self._headers = {"Authorization": f"Bearer {self._token.read_text(encoding='utf-8').strip()}"}
            self._read_at = now
        return self._headers
