"""The two calls of MLflow's REST API that the operator makes: which registered version is of this bundle, and to whom an alias points."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec

from walkforward_operator.champion import RegistryError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

__all__ = ["MlflowRegistry"]

_API: Final = "/api/2.0/mlflow/"
_TIMEOUT: Final = aiohttp.ClientTimeout(total=10.0, connect=3.0)
_LIMIT: Final = 4 * 1024 * 1024
_PAGES: Final = 50
_VERSION: Final = "walkforward.version"
_DIGEST: Final = "walkforward.digest"


class _Tag(msgspec.Struct):
    key: str
    value: str = ""


class _Version(msgspec.Struct):
    version: str
    tags: tuple[_Tag, ...] = ()


class _Found(msgspec.Struct):
    model_versions: tuple[_Version, ...] = ()
    next_page_token: str = ""


async def _bounded(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield a body, and no more than one chunk beyond the limit."""
    size = 0
    async for chunk in content.iter_chunked(64 * 1024):
        yield chunk
        size += len(chunk)
        if size > _LIMIT:
            return


class MlflowRegistry:
    """A :class:`walkforward_operator.champion.Registry`; ``env`` may have MLFLOW_TRACKING_TOKEN, or USERNAME and PASSWORD."""

    def __init__(self, uri: str, env: Mapping[str, str]) -> None:
        self._uri = uri.rstrip("/")
        token, user = env.get("MLFLOW_TRACKING_TOKEN", ""), env.get("MLFLOW_TRACKING_USERNAME", "")
        pair = f"{user}:{env.get('MLFLOW_TRACKING_PASSWORD', '')}"
        known = f"Basic {b64encode(pair.encode()).decode()}" if user else ""
        word = f"Bearer {token}" if token else known
        self._headers = {"Authorization": word} if word else {}
        self._session: aiohttp.ClientSession | None = None

    async def version_of(self, model: str, *, version: str, digest: str) -> str:
        """Return the number of the registered version whose tags name this bundle; of several the first that is found."""
        query = {"filter": f"name = '{model}'", "max_results": "200"}
        for _ in range(_PAGES):
            found = await self._call("GET", "model-versions/search", params=query)
            for one in found.model_versions:
                tags = {tag.key: tag.value for tag in one.tags}
                if (tags.get(_VERSION), tags.get(_DIGEST)) == (version, digest):
                    return one.version
            if not found.next_page_token:
                raise RegistryError(f"{self._uri}: registered model {model!r} has no version of bundle {version}; was its run tracked?")
            query["page_token"] = found.next_page_token
        raise RegistryError(f"{self._uri}: registered model {model!r} has more than {_PAGES * 200} versions; delete old ones")

    async def set_alias(self, model: str, alias: str, number: str) -> None:
        """Let ``alias`` name a registered version; it is no error where it does already."""
        await self._call("POST", "registered-models/alias", json={"name": model, "alias": alias, "version": number})

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _call(self, method: str, path: str, **fields: Any) -> _Found:
        if self._session is None:
            # an answer that leads elsewhere would take the credentials along
            self._session = aiohttp.ClientSession(timeout=_TIMEOUT, headers=self._headers)
        url = f"{self._uri}{_API}{path}"
        try:
            async with self._session.request(method, url, allow_redirects=False, **fields) as answer:
                data = b"".join([chunk async for chunk in _bounded(answer.content)])
        except (aiohttp.ClientError, TimeoutError) as error:
            raise RegistryError(f"{method} {url}: {type(error).__name__} {error}; look at the server and at the value mlflowUri") from error
        if answer.status != 200 or len(data) > _LIMIT:
            raise RegistryError(f"{method} {url}: answered {answer.status}: {data[:200].decode(errors='replace')}")
        try:
            return msgspec.json.decode(data or b"{}", type=_Found)
        except msgspec.DecodeError as error:
            raise RegistryError(f"{method} {url}: its answer cannot be read ({error}); is it an MLflow server?") from error
