"""What the kubelet and Prometheus ask the operator: ``/healthz``, ``/readyz`` and ``/metrics`` on one port."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from walkforward_operator.metrics import Metrics

__all__ = ["serve"]


@asynccontextmanager
async def serve(port: int, *, metrics: Metrics, ill: Callable[[], str], unready: Callable[[], str]) -> AsyncIterator[int]:
    """Serve while the context lasts and give the port; ``ill`` and ``unready`` return why, or nothing."""

    async def health(_: web.Request) -> web.Response:
        return _answer(ill())

    async def readiness(_: web.Request) -> web.Response:
        return _answer(unready())

    async def samples(_: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    application = web.Application()
    application.add_routes([web.get("/healthz", health), web.get("/readyz", readiness), web.get("/metrics", samples)])
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port).start()
        # with port 0, IPv4 and IPv6 get one each
        yield next(int(address[1]) for address in runner.addresses if "." in address[0])
    finally:
        await runner.cleanup()


def _answer(problem: str) -> web.Response:
    return web.Response(status=500, text=f"{problem}\n") if problem else web.Response(text="ok\n")
