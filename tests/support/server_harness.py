"""A whole server on loopback, with real bundles; and a client that speaks raw HTTP."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from walkforward_core.routing import Measure, OutcomeSource, RolloutRef, RoutingDocument
from walkforward_server.child import task_of
from walkforward_server.config import Settings
from walkforward_server.node import Node
from walkforward_server.prove import report
from walkforward_server.routes import AdminRoutes, DataRoutes
from walkforward_server.transport import Front

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from walkforward_core.routing import ModelRef
    from walkforward_server.fleet import Prover
    from walkforward_server.prove import Report

HOUR = 3_600_000
T0 = 1_760_000_400_000 // HOUR * HOUR
POD = "pod-a"


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """One keep-alive connection."""

    port: int
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None

    async def send(self, data: bytes) -> None:
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writer.write(data)
        await self.writer.drain()

    async def read(self) -> Reply:
        assert self.reader is not None
        head = await self.reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Reply(int(lines[0].split()[1]), headers, body)

    async def request(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Reply:
        lines = [f"{method} {path} HTTP/1.1", "Host: test"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if method in ("POST", "PUT"):
            lines.append(f"Content-Length: {len(body)}")
        await self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return await self.read()

    async def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            await self.writer.wait_closed()
            self.writer = None


@dataclass
class Running:
    """A server in this process."""

    node: Node
    front: Front
    http: int
    admin: int
    routing: Path
    clients: list[Client] = field(default_factory=list)

    def client(self) -> Client:
        client = Client(self.http)
        self.clients.append(client)
        return client

    async def get(self, path: str, *, admin: bool = False) -> Reply:
        client = Client(self.admin if admin else self.http)
        try:
            return await client.request("GET", path)
        finally:
            await client.close()

    async def infer(self, row: list[float], *, via: Client | None = None, path: str = "/v2/models/fx/infer", **parameters: Any) -> Reply:
        body: dict[str, Any] = {"inputs": [{"name": "X", "shape": [1, len(row)], "datatype": "FP32", "data": row}]}
        if "request_id" in parameters:
            body["id"] = parameters.pop("request_id")
        if parameters:
            body["parameters"] = parameters
        return await self.post(path, body, via=via)

    async def post(self, path: str, body: Any, *, via: Client | None = None, headers: dict[str, str] | None = None) -> Reply:
        used = via or Client(self.http)
        try:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            return await used.request("POST", path, data, headers)
        finally:
            if via is None:
                await used.close()

    def write(self, document: RoutingDocument | bytes) -> None:
        """Put a document in its place in one step, as the kubelet does."""
        draft = self.routing / "routing.json.new"
        draft.write_bytes(document if isinstance(document, bytes) else document.to_bytes())
        draft.replace(self.routing / "routing.json")

    async def apply(self, document: RoutingDocument, *, settled: bool = True) -> dict[str, Any]:
        """Write a document and wait until it is in force and, if ``settled``, until every model came to its end."""
        self.write(document)
        wanted = {ref.version for ref in (document.stable, document.candidate, document.previous) if ref is not None}
        for _ in range(1500):
            report: dict[str, Any] = (await self.get("/v1/routing", admin=True)).json
            applied = report["applied"] or {}
            states = {version: report["models"].get(version, {}).get("state") for version in wanted}
            if applied.get("generation") == document.generation and (
                not settled or all(state in ("Ready", "Refused", "Tripped", "Waiting") for state in states.values())
            ):
                return report
            await asyncio.sleep(0.02)
        raise AssertionError(f"not applied: {report}")

    async def stats(self, since: int = 0) -> Any:
        return (await self.get(f"/v1/stats?from={since}", admin=True)).json


def routing(**fields: Any) -> RoutingDocument:
    """A document of generation 1 unless a test says otherwise."""
    return RoutingDocument(**{"generation": 1, "rollout": RolloutRef(namespace="test", name="fx", uid="uid"), **fields})


def measure(source: OutcomeSource = OutcomeSource.RECEIPT, **fields: Any) -> Measure:
    return Measure(
        **{
            "plan": "0123456789abcdef",
            "outcomes": source,
            "latency_ms": 80.0,
            "slice_ms": 50,
            "base_ms": 5 * HOUR,
            "bar_ms": HOUR,
            "round_trip": 0.0002,
            **fields,
        }
    )


async def prove_here(settings: Settings, ref: ModelRef, *, trial: bool) -> Report:
    """The proof in a thread instead of a child process, which costs a second to start."""
    return await asyncio.get_running_loop().run_in_executor(None, report, task_of(settings, ref, trial=trial))


@asynccontextmanager
async def running(home: Path, *, prover: Prover = prove_here, **fields: Any) -> AsyncIterator[Running]:
    """A server whose directories are below ``home``."""
    folder = home / "routing"
    folder.mkdir(parents=True, exist_ok=True)
    chosen = Settings(
        **{"target": "fx", "pod_uid": POD, "routing": folder, "state": home / "state", "allow_file": True, "host": "127.0.0.1", **fields}
    )
    loop = asyncio.get_running_loop()
    node = Node(chosen, prover)
    front, admin = Front(DataRoutes(node)), Front(AdminRoutes(node))
    servers = [await loop.create_server(side.protocol, "127.0.0.1", 0) for side in (front, admin)]
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    task = asyncio.create_task(node.run())
    run = Running(node, front, ports[0], ports[1], folder)
    try:
        yield run
    finally:
        for client in run.clients:
            await client.close()
        task.cancel()
        await asyncio.wait({task})
        for server in servers:
            server.close()
        for side in (front, admin):
            side.close_idle()
        await asyncio.sleep(0)
