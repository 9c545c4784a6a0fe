"""What the pods say: their admin port, asked directly."""

from __future__ import annotations

from typing import Final, Protocol, TypeVar

import aiohttp

from walkforward_core.documents import Document
from walkforward_core.errors import WalkforwardError
from walkforward_core.pods import PodReport
from walkforward_core.stats import StatsDocument

__all__ = ["HttpPods", "PodSilent", "Pods"]

DocumentT = TypeVar("DocumentT", bound=Document)
_TIMEOUT: Final = aiohttp.ClientTimeout(total=2.0, connect=1.0)
_LIMIT: Final = 32 * 1024 * 1024


class PodSilent(WalkforwardError):  # noqa: N818 - says what is the case
    """A pod gave no answer, or none that can be read."""


class Pods(Protocol):
    """Asks pods by their address; both methods raise :class:`PodSilent` and nothing else."""

    async def report(self, address: str) -> PodReport:
        """Return ``GET /v1/routing``."""
        ...

    async def stats(self, address: str, *, generation: int) -> StatsDocument:
        """Return ``GET /v1/stats`` from ``generation`` on."""
        ...


class HttpPods:
    """A :class:`Pods` over HTTP, with connections that are kept."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._session: aiohttp.ClientSession | None = None

    async def report(self, address: str) -> PodReport:
        """Return the pod's own word on the routing document."""
        url = self._url(address, "/v1/routing")
        return _parsed(PodReport, await self._get(url), url)

    async def stats(self, address: str, *, generation: int) -> StatsDocument:
        """Return what the pod has counted from ``generation`` on."""
        url = self._url(address, f"/v1/stats?from={generation}")
        return _parsed(StatsDocument, await self._get(url), url)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _url(self, address: str, path: str) -> str:
        host = f"[{address}]" if ":" in address else address
        return f"http://{host}:{self._port}{path}"

    async def _get(self, url: str) -> bytes:
        if self._session is None:
            # a pod is never reached by way of a proxy, so the environment is not looked at
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=_TIMEOUT)
        try:
            async with self._session.get(url) as answer:
                if answer.status != 200:
                    raise PodSilent(f"GET {url}: {answer.status} {answer.reason}")
                data = bytearray()
                async for chunk in answer.content.iter_any():
                    data += chunk
                    if len(data) > _LIMIT:
                        raise PodSilent(f"GET {url}: more than {_LIMIT} bytes")
                return bytes(data)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise PodSilent(f"GET {url}: {type(error).__name__} {error}") from error


def _parsed(kind: type[DocumentT], data: bytes, url: str) -> DocumentT:
    try:
        return kind.parse(data, source=url)
    except WalkforwardError as error:
        raise PodSilent(str(error)) from error
