"""``walkforward-server``: both listeners, until SIGTERM, then a drain in good order."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time

import uvloop

from walkforward_server.config import Settings, read_settings
from walkforward_server.logs import set_up
from walkforward_server.node import Node
from walkforward_server.routes import AdminRoutes, DataRoutes
from walkforward_server.transport import Front

__all__ = ["main", "serve"]

log = logging.getLogger(__name__)

SWEEP_S = 1.0
QUIET_S = 0.3
FINISH_S = 5.0
"""How long requests that are still arriving may take once the drain is over; chart and pod allow for it."""
SWITCH_S = 0.0005
"""A thread that opens a bundle gives the loop back after this long, instead of Python's 5 ms."""


def main() -> int:
    """Serve until told to end; the exit status is 0 after a drain."""
    settings = read_settings(sys.argv[1:], os.environ)
    set_up()
    sys.setswitchinterval(SWITCH_S)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings))
    return 0


async def serve(settings: Settings, stop: asyncio.Event | None = None) -> None:
    """Serve on both ports until SIGTERM (or ``stop``), then drain."""
    loop = asyncio.get_running_loop()
    ending = stop or asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, ending.set)
    node = Node(settings)
    data, admin = Front(DataRoutes(node)), Front(AdminRoutes(node))
    data_server = await loop.create_server(data.protocol, settings.host, settings.http_port, backlog=1024)
    admin_server = await loop.create_server(admin.protocol, settings.host, settings.admin_port)
    log.info(
        "listening",
        extra={
            "http": data_server.sockets[0].getsockname()[1],
            "admin": admin_server.sockets[0].getsockname()[1],
            "target": settings.target,
            "podUid": settings.pod_uid,
            "boot": node.boot,
        },
    )
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(node.run()), group.create_task(_sweep(data, admin))]
        await ending.wait()
        await _drain(node, data, data_server)
        for task in tasks:
            task.cancel()
    admin_server.close()
    admin.close_idle()
    log.info("ended")


async def _drain(node: Node, data: Front, server: asyncio.Server) -> None:
    """Not ready, but serving; every answer is the last one of its connection; once nothing arrives any more, close.

    A listener that closes resets whoever just connected, so it stays open until it was quiet for a moment.
    """
    log.info("draining", extra={"seconds": node.settings.drain_s})
    node.draining = data.draining = True
    node.marker.release()
    await asyncio.sleep(node.settings.drain_s)
    deadline = time.monotonic() + FINISH_S
    while data.clock() - data.last < QUIET_S and time.monotonic() < deadline:  # noqa: ASYNC110 - quiet is the absence of events
        await asyncio.sleep(0.02)
    server.close()
    data.close_idle()
    while data.connections and time.monotonic() < deadline:  # noqa: ASYNC110 - connections end in many ways, none sets an event
        await asyncio.sleep(0.02)
    node.settler.settle()


async def _sweep(*fronts: Front) -> None:
    """Close what is idle or slow, once a second."""
    while True:
        await asyncio.sleep(SWEEP_S)
        for front in fronts:
            front.sweep(front.clock())


if __name__ == "__main__":
    raise SystemExit(main())
